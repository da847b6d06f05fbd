//! `y_c = x_c · s_c^{−β}` with `s_c = bias + α / size · Σ x_j²` over the channels next to `c`.
//!
//! The window reaches `⌊(size − 1) / 2⌋` channels back and `⌈(size − 1) / 2⌉` ahead, as ONNX defines it.

use super::walk::around;
use super::{Call, Kernel, Real};

pub(super) struct LocalResponseNorm {
    pub(super) size: usize,
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) bias: f64,
}

impl LocalResponseNorm {
    /// The channels whose squares stand in `s_c`.
    fn window(&self, c: usize, channels: usize) -> std::ops::Range<usize> {
        let reach = self.size.saturating_sub(1);
        c.saturating_sub(reach / 2)..channels.min(c.saturating_add(reach.div_ceil(2)).saturating_add(1))
    }

    /// `s` of one sample.
    fn scales<T: Real>(&self, x: &[T], inner: usize, s: &mut [T]) {
        let channels = x.len() / inner;
        let factor = T::of(self.alpha / self.size as f64);
        s.fill(T::of(self.bias));
        for (c, s) in s.chunks_exact_mut(inner).enumerate() {
            for j in self.window(c, channels) {
                s.iter_mut().zip(&x[j * inner..(j + 1) * inner]).for_each(|(s, x)| *s += factor * *x * *x);
            }
        }
    }
}

impl<T: Real> Kernel<T> for LocalResponseNorm {
    fn shares_scratch(&self) -> bool {
        true
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], scratch: &mut Vec<T>) {
        let (x, y) = (call.inputs[0], &mut *outputs[0]);
        if x.is_empty() {
            return;
        }
        let (_, channels, inner) = around(call.input_shapes[0], 1);
        let (sample, exponent) = (channels * inner, T::of(-self.beta));
        scratch.clear();
        scratch.resize(sample, T::zero());
        for (x, y) in x.chunks_exact(sample).zip(y.chunks_exact_mut(sample)) {
            self.scales(x, inner, scratch);
            y.iter_mut().zip(x).zip(&*scratch).for_each(|((y, x), s)| *y = *x * s.powf(exponent));
        }
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        scratch: &mut Vec<T>,
    ) {
        let Some(dx) = &mut d_inputs[0] else { return };
        if dx.is_empty() {
            return;
        }
        let (samples, channels, inner) = around(call.input_shapes[0], 1);
        let (sample, exponent) = (channels * inner, T::of(-self.beta));
        let factor = T::of(-2.0 * self.beta * self.alpha / self.size as f64);
        scratch.clear();
        scratch.resize(2 * sample, T::zero());
        let (s, weight) = scratch.split_at_mut(sample);
        for n in 0..samples {
            let here = n * sample..(n + 1) * sample;
            let (x, y, dy) = (&call.inputs[0][here.clone()], &outputs[0][here.clone()], &d_outputs[0][here.clone()]);
            let dx = &mut dx[here];
            self.scales(x, inner, s);
            for k in 0..sample {
                dx[k] += dy[k] * s[k].powf(exponent);
                weight[k] = factor * dy[k] * y[k] / s[k];
            }
            for (c, weight) in weight.chunks_exact(inner).enumerate() {
                for j in self.window(c, channels) {
                    for k in 0..inner {
                        dx[j * inner + k] += weight[k] * x[j * inner + k];
                    }
                }
            }
        }
    }
}
