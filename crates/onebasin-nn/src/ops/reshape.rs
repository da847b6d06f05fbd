//! The same numbers in another shape, and numbers repeated to a larger one.

use super::walk::{Walk, sum};
use super::{Call, Kernel, Real};

pub(super) struct Reshape;

impl<T: Real> Kernel<T> for Reshape {
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        outputs[0].copy_from_slice(call.inputs[0]);
    }

    fn backward(
        &self,
        _call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        if let Some(dx) = &mut d_inputs[0] {
            dx.iter_mut().zip(d_outputs[0]).for_each(|(dx, dy)| *dx += *dy);
        }
    }
}

pub(super) struct Expand;

impl<T: Real> Kernel<T> for Expand {
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let walk = Walk::broadcast(call.output_shapes[0], [call.input_shapes[0]]);
        walk.each(|at, [from]| {
            let y = &mut outputs[0][at..at + walk.run];
            if walk.inner == [0] {
                y.fill(call.inputs[0][from]);
            } else {
                y.copy_from_slice(&call.inputs[0][from..from + walk.run]);
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
        let Some(dx) = &mut d_inputs[0] else { return };
        let walk = Walk::broadcast(call.output_shapes[0], [call.input_shapes[0]]);
        walk.each(|at, [from]| {
            let dy = &d_outputs[0][at..at + walk.run];
            if walk.inner == [0] {
                dx[from] += sum(dy, dy, |dy, _| dy);
            } else {
                dx[from..from + walk.run].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += *dy);
            }
        });
    }
}
