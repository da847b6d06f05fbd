//! Positions of the entries that are not 0.

use super::{Call, Kernel, Real};

pub(super) struct NonZero;

impl<T: Real> Kernel<T> for NonZero {
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let (x, shape, y) = (call.inputs[0], call.input_shapes[0], &mut *outputs[0]);
        y.fill(T::nan());
        for (column, at) in (0..x.len()).filter(|at| x[*at] != T::zero()).enumerate() {
            let mut rest = at;
            for (axis, len) in shape.iter().enumerate().rev() {
                y[axis * x.len() + column] = T::of((rest % len) as f64);
                rest /= len;
            }
        }
    }

    /// Positions are whole numbers, whose gradient is 0.
    fn backward(
        &self,
        _call: &Call<'_, T>,
        _outputs: &[&[T]],
        _d_outputs: &[&[T]],
        _d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
    }
}
