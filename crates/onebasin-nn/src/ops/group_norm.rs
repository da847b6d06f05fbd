//! GroupNorm, channels last: `y = gain · (x − μ) / √(σ² + ε) + bias` over the pixels and channels of a group, each sample
//! on its own.

use super::walk::columns;
use super::{Call, Kernel, Layout, Real};

pub(super) struct GroupNorm {
    pub(super) groups: usize,
    pub(super) epsilon: f64,
}

impl GroupNorm {
    /// Means of sums over channels, group by group, for every channel.
    fn spread(&self, sums: &[f64], pixels: usize) -> Vec<f64> {
        let size = (sums.len() / self.groups).max(1);
        let count = (size * pixels).max(1) as f64;
        let mean = |group: &[f64]| group.iter().sum::<f64>() / count;
        sums.chunks_exact(size).flat_map(|group| std::iter::repeat_n(mean(group), size)).collect()
    }
}

impl<T: Real> Kernel<T> for GroupNorm {
    fn layout(&self) -> Option<Layout> {
        Some(Layout::ChannelsLast)
    }

    /// The scratch keeps `μ` and `1/σ` of every sample and channel for the backward pass.
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], scratch: &mut Vec<T>) {
        let &[x, gain, bias] = call.inputs else { unreachable!("shapes are inferred before running") };
        let channels = gain.len();
        let sample = (x.len() / call.input_shapes[0][0].max(1)).max(1);
        let pixels = sample / channels.max(1);
        scratch.clear();
        for (x, y) in x.chunks_exact(sample).zip(outputs[0].chunks_exact_mut(sample)) {
            let [sums] = columns(channels, sample, |at, _| [x[at].wide()]);
            let mean = self.spread(&sums, pixels);
            let [sums] = columns(channels, sample, |at, c| {
                let d = x[at].wide() - mean[c];
                [d * d]
            });
            let inverse = self.spread(&sums, pixels).into_iter().map(|v| T::of(1.0 / (v + self.epsilon).sqrt()));
            let start = scratch.len();
            scratch.extend(mean.iter().map(|m| T::of(*m)));
            scratch.extend(inverse);
            let (mean, inverse) = scratch[start..].split_at(channels);
            for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                for c in 0..channels {
                    y[c] = (x[c] - mean[c]) * inverse[c] * gain[c] + bias[c];
                }
            }
        }
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        scratch: &mut Vec<T>,
    ) {
        let (x, dy, gain) = (call.inputs[0], d_outputs[0], call.inputs[1]);
        let channels = gain.len();
        let sample = (x.len() / call.input_shapes[0][0].max(1)).max(1);
        let pixels = sample / channels.max(1);
        let samples =
            x.chunks_exact(sample).zip(dy.chunks_exact(sample)).zip(scratch.chunks_exact(2 * channels.max(1)));
        for (s, ((x, dy), statistics)) in samples.enumerate() {
            let (mean, inverse) = statistics.split_at(channels);
            let [dy_sum, dy_x_sum] =
                columns(channels, sample, |at, c| [dy[at].wide(), (dy[at] * ((x[at] - mean[c]) * inverse[c])).wide()]);
            for (k, sum) in [(1, &dy_x_sum), (2, &dy_sum)] {
                if let Some(d) = &mut d_inputs[k] {
                    d.iter_mut().zip(sum).for_each(|(d, s)| *d += T::of(*s));
                }
            }
            let Some(dx) = &mut d_inputs[0] else { continue };
            let weighted = |sums: &[f64]| -> Vec<T> {
                let weighted: Vec<f64> = sums.iter().zip(gain).map(|(s, g)| s * g.wide()).collect();
                self.spread(&weighted, pixels).into_iter().map(T::of).collect()
            };
            let (level, slope) = (weighted(&dy_sum), weighted(&dy_x_sum));
            let rows = dx[s * sample..][..sample].chunks_exact_mut(channels);
            for ((dx, x), dy) in rows.zip(x.chunks_exact(channels)).zip(dy.chunks_exact(channels)) {
                for c in 0..channels {
                    let normal = (x[c] - mean[c]) * inverse[c];
                    dx[c] += inverse[c] * (dy[c] * gain[c] - level[c] - normal * slope[c]);
                }
            }
        }
    }
}
