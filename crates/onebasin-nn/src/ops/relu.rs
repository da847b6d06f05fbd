//! `y = max(x, 0)`; the gradient at 0 is 0.

use super::{Call, Kernel};

pub(super) struct Relu;

impl Kernel for Relu {
    fn forward(&self, call: &Call<'_>, output: &mut [f32]) {
        output.iter_mut().zip(call.inputs[0]).for_each(|(y, x)| *y = x.max(0.0));
    }

    fn backward(
        &self,
        _call: &Call<'_>,
        output: &[f32],
        d_output: &[f32],
        d_inputs: &mut [Option<&mut [f32]>],
        _d_params: &mut [&mut [f32]],
    ) {
        if let Some(dx) = &mut d_inputs[0] {
            for ((dx, dy), y) in dx.iter_mut().zip(d_output).zip(output) {
                *dx += if *y > 0.0 { *dy } else { 0.0 };
            }
        }
    }
}
