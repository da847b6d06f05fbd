//! How every operator computes: forward, and backward as a vector–Jacobian product. One file each.

mod linear;
mod relu;

use onebasin::graph::Op;

/// The slices an operator works on. Values and gradients are row-major, one row per sample.
pub struct Call<'a> {
    /// Samples in this call.
    pub batch: usize,
    /// Its inputs.
    pub inputs: &'a [&'a [f32]],
    /// Its parameters.
    pub params: &'a [&'a [f32]],
}

/// An operator that runs.
pub trait Kernel: Sync {
    /// Computes the output.
    fn forward(&self, call: &Call<'_>, output: &mut [f32]);

    /// Adds `Jᵀ · d_output` to the gradients of the parameters and of those inputs that want one.
    fn backward(
        &self,
        call: &Call<'_>,
        output: &[f32],
        d_output: &[f32],
        d_inputs: &mut [Option<&mut [f32]>],
        d_params: &mut [&mut [f32]],
    );
}

/// How an operator runs.
pub fn kernel(op: Op) -> &'static dyn Kernel {
    match op {
        Op::Linear => &linear::Linear,
        Op::Relu => &relu::Relu,
    }
}
