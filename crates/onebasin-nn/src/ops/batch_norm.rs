//! BatchNorm: `y = gain · (x − μ) / √(σ² + ε) + bias`, channel by channel, over all positions of all samples.
//!
//! As a kernel it takes `μ` and `σ²` from the running statistics. While training they are those of the whole batch: every
//! shard gives its [`Moments`], the executor combines them, and every shard is normalised by the same [`Statistics`]; on
//! the way back likewise with `Σ dy` and `Σ dy · x̂`. Moments and sums are f64, and combined in a fixed order.

use super::walk::columns;
use super::{Call, Kernel, Layout, Real};

/// Normalisation of every channel.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: f64,
}

/// Count, means, and sums of squared deviations from them, per channel.
///
/// ```
/// use onebasin_nn::ops::batch_norm::Moments;
/// // Two channels of two positions, and of one more.
/// let some = Moments::of(&[1.0_f32, 10.0, 3.0, 30.0], 2);
/// let all = some.combine(&Moments::of(&[5.0_f32, 50.0], 2));
/// assert_eq!((all.count, &all.mean[..]), (3.0, &[3.0, 30.0][..]));
/// assert_eq!(all.unbiased_variance(), [4.0, 400.0]);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moments {
    /// Positions per channel.
    pub count: f64,
    /// Mean of every channel.
    pub mean: Vec<f64>,
    /// Sum of squared deviations of every channel.
    pub squares: Vec<f64>,
}

/// What every shard of a batch is normalised by.
#[derive(Debug, Clone)]
pub struct Statistics<T> {
    count: f64,
    mean: Vec<T>,
    /// `1 / √(σ² + ε)`.
    inverse: Vec<T>,
}

/// `Σ dy` and `Σ dy · x̂` per channel.
#[derive(Debug, Clone)]
pub(crate) struct Sums {
    pub(crate) dy: Vec<f64>,
    pub(crate) dy_x: Vec<f64>,
}

impl Moments {
    /// Of `x [positions, channels]`, in two passes.
    pub fn of<T: Real>(x: &[T], channels: usize) -> Self {
        let count = (x.len() / channels.max(1)) as f64;
        let [mut mean] = columns(channels, x.len(), |at, _| [x[at].wide()]);
        for m in &mut mean {
            *m /= count.max(1.0);
        }
        let [squares] = columns(channels, x.len(), |at, c| {
            let d = x[at].wide() - mean[c];
            [d * d]
        });
        Self { count, mean, squares }
    }

    /// Of the units of `x [positions, units, positions]`, in two passes; `inner` is the last of these lengths.
    pub fn within<T: Real>(x: &[T], units: usize, inner: usize) -> Self {
        if inner == 1 {
            return Self::of(x, units);
        }
        let count = (x.len() / units.max(1)) as f64;
        let (mut mean, mut squares) = (vec![0.0; units], vec![0.0; units]);
        for (k, row) in x.chunks_exact(inner.max(1)).enumerate() {
            mean[k % units] += row.iter().map(|v| v.wide()).sum::<f64>();
        }
        for m in &mut mean {
            *m /= count.max(1.0);
        }
        for (k, row) in x.chunks_exact(inner.max(1)).enumerate() {
            squares[k % units] += row.iter().map(|v| (v.wide() - mean[k % units]).powi(2)).sum::<f64>();
        }
        Self { count, mean, squares }
    }

    /// Of both together (Chan, Golub and LeVeque 1979).
    ///
    /// Formula: with `d = mean_b − mean_a` and `n = n_a + n_b`, `mean = mean_a + d n_b / n` and
    /// `squares = squares_a + squares_b + d² n_a n_b / n`.
    #[must_use]
    pub fn combine(mut self, other: &Self) -> Self {
        let count = self.count + other.count;
        if other.count == 0.0 {
            return self;
        }
        for c in 0..self.mean.len() {
            let d = other.mean[c] - self.mean[c];
            self.mean[c] += d * (other.count / count);
            self.squares[c] += other.squares[c] + d * d * (self.count * other.count / count);
        }
        self.count = count;
        self
    }

    /// Variance with divisor `n − 1`.
    pub fn unbiased_variance(&self) -> Vec<f64> {
        self.squares.iter().map(|s| s / (self.count - 1.0).max(1.0)).collect()
    }
}

impl Sums {
    /// Of no position.
    pub(crate) fn zero(channels: usize) -> Self {
        Self { dy: vec![0.0; channels], dy_x: vec![0.0; channels] }
    }

    /// Of `x` and `dy`, both `[positions, channels]`.
    pub(crate) fn of<T: Real>(x: &[T], dy: &[T], norm: &Statistics<T>) -> Self {
        let [dy, dy_x] = columns(norm.mean.len(), x.len(), |at, c| {
            [dy[at].wide(), (dy[at] * ((x[at] - norm.mean[c]) * norm.inverse[c])).wide()]
        });
        Self { dy, dy_x }
    }

    /// Of both together.
    pub(crate) fn combine(mut self, other: &Self) -> Self {
        self.dy.iter_mut().zip(&other.dy).for_each(|(a, b)| *a += b);
        self.dy_x.iter_mut().zip(&other.dy_x).for_each(|(a, b)| *a += b);
        self
    }
}

impl BatchNorm {
    /// What a batch with these moments is normalised by; the variance has divisor `n`.
    pub fn statistics<T: Real>(self, moments: &Moments) -> Statistics<T> {
        let inverse = moments.squares.iter().map(|s| T::of(1.0 / (s / moments.count + self.epsilon).sqrt()));
        let mean = moments.mean.iter().map(|m| T::of(*m)).collect();
        Statistics { count: moments.count, mean, inverse: inverse.collect() }
    }

    /// What running statistics normalise by.
    fn running<T: Real>(self, mean: &[T], variance: &[T]) -> Statistics<T> {
        let inverse = variance.iter().map(|v| T::of(1.0 / (v.wide() + self.epsilon).sqrt())).collect();
        Statistics { count: 0.0, mean: mean.to_vec(), inverse }
    }
}

impl<T: Real> Statistics<T> {
    /// Writes `y = gain · (x − μ) / √(σ² + ε) + bias`.
    pub(crate) fn normalise(&self, x: &[T], gain: &[T], bias: &[T], y: &mut [T]) {
        let channels = gain.len().max(1);
        let factor: Vec<T> = gain.iter().zip(&self.inverse).map(|(g, i)| *g * *i).collect();
        let (mean, factor, bias) = (&self.mean[..gain.len()], &factor[..gain.len()], &bias[..gain.len()]);
        for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            for c in 0..gain.len() {
                y[c] = (x[c] - mean[c]) * factor[c] + bias[c];
            }
        }
    }

    /// Adds the gradient with respect to `x` where `μ` and `σ²` depend on the whole batch:
    /// `gain/σ · (dy − Σdy/n − x̂ · Σ(dy · x̂)/n)`.
    pub(crate) fn backward_batch(&self, x: &[T], dy: &[T], sums: &Sums, gain: &[T], dx: &mut [T]) {
        let channels = gain.len().max(1);
        // dx += a · dy + b · (x − μ) + c
        let terms = |k: usize| {
            let factor = gain[k].wide() * self.inverse[k].wide();
            let slope = -factor * self.inverse[k].wide() * sums.dy_x[k] / self.count;
            [factor, slope, -factor * sums.dy[k] / self.count].map(T::of)
        };
        let terms: Vec<[T; 3]> = (0..gain.len()).map(terms).collect();
        let [a, b, c] = [0, 1, 2].map(|part| terms.iter().map(|t| t[part]).collect::<Vec<T>>());
        let mean = &self.mean[..gain.len()];
        let [a, b, c] = [&a[..gain.len()], &b[..gain.len()], &c[..gain.len()]];
        let rows = dx.chunks_exact_mut(channels).zip(x.chunks_exact(channels)).zip(dy.chunks_exact(channels));
        for ((dx, x), dy) in rows {
            for k in 0..gain.len() {
                dx[k] += a[k] * dy[k] + b[k] * (x[k] - mean[k]) + c[k];
            }
        }
    }
}

impl<T: Real> Kernel<T> for BatchNorm {
    fn layout(&self) -> Option<Layout> {
        Some(Layout::ChannelsLast)
    }

    fn shares_scratch(&self) -> bool {
        true
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let &[x, gain, bias, mean, variance] = call.inputs else { unreachable!("shapes are inferred before running") };
        self.running(mean, variance).normalise(x, gain, bias, outputs[0]);
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        let &[x, gain, _, mean, variance] = call.inputs else { unreachable!("shapes are inferred before running") };
        let (dy, norm) = (d_outputs[0], self.running(mean, variance));
        let sums = Sums::of(x, dy, &norm);
        for (k, sum) in [(1, &sums.dy_x), (2, &sums.dy)] {
            if let Some(d) = &mut d_inputs[k] {
                d.iter_mut().zip(sum).for_each(|(d, s)| *d += T::of(*s));
            }
        }
        if let Some(dx) = &mut d_inputs[0] {
            let channels = gain.len().max(1);
            for (dx, dy) in dx.chunks_exact_mut(channels).zip(dy.chunks_exact(channels)) {
                for c in 0..channels {
                    dx[c] += gain[c] * norm.inverse[c] * dy[c];
                }
            }
        }
    }
}
