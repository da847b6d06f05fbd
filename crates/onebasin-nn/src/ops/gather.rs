//! Slices of an array, chosen by indices.
//!
//! Indices are whole numbers held as the network's numbers, so in `f32` exact up to 2²⁴. Negative ones count from the
//! end. A slice whose index lies outside, or is no whole number, is NaN, and gives no gradient to `data`.

use super::walk::around;
use super::{Call, Kernel, Real};

/// Slices along this axis.
pub(super) struct GatherKernel(pub(super) usize);

impl GatherKernel {
    /// Calls `f` with where every chosen slice starts in `data`, if it does, where in the output, and its length.
    fn runs<T: Real>(&self, call: &Call<'_, T>, mut f: impl FnMut(Option<usize>, usize, usize)) {
        let (outer, axis, inner) = around(call.input_shapes[0], self.0);
        let indices = call.inputs[1];
        for o in 0..outer {
            for (k, index) in indices.iter().enumerate() {
                let from = position(index.wide(), axis).map(|i| (o * axis + i) * inner);
                f(from, (o * indices.len() + k) * inner, inner);
            }
        }
    }
}

/// The position that an index means; none if it lies outside or is no whole number.
pub(super) fn position(index: f64, len: usize) -> Option<usize> {
    let index = if index < 0.0 { index + len as f64 } else { index };
    (index >= 0.0 && index < len as f64 && index.fract() == 0.0).then_some(index as usize)
}

impl<T: Real> Kernel<T> for GatherKernel {
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        self.runs(call, |from, to, run| {
            let y = &mut outputs[0][to..to + run];
            match from {
                Some(from) => y.copy_from_slice(&call.inputs[0][from..from + run]),
                None => y.fill(T::nan()),
            }
        });
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        let Some(d_data) = &mut d_inputs[0] else { return };
        self.runs(call, |from, to, run| {
            if let Some(from) = from {
                d_data[from..from + run].iter_mut().zip(&d_outputs[0][to..to + run]).for_each(|(d, dy)| *d += *dy);
            }
        });
    }
}
