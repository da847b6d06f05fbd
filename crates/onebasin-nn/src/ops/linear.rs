//! `y = x Wᵀ + b`.

use onebasin::linalg::{Mat, matmul_f32};

use super::{Call, Kernel};

pub(super) struct Linear;

impl Kernel for Linear {
    fn forward(&self, call: &Call<'_>, output: &mut [f32]) {
        let (&[x], &[w, b]) = (call.inputs, call.params) else { unreachable!("shapes are inferred before running") };
        let (out, features) = (b.len(), w.len() / b.len());
        output.chunks_exact_mut(out).for_each(|row| row.copy_from_slice(b));
        matmul_f32(output, Mat::new(x, call.batch, features), Mat::new(w, out, features).t(), true);
    }

    fn backward(
        &self,
        call: &Call<'_>,
        _output: &[f32],
        d_output: &[f32],
        d_inputs: &mut [Option<&mut [f32]>],
        d_params: &mut [&mut [f32]],
    ) {
        let (&[x], &[w, b]) = (call.inputs, call.params) else { unreachable!("shapes are inferred before running") };
        let (out, features) = (b.len(), w.len() / b.len());
        let dy = Mat::new(d_output, call.batch, out);
        matmul_f32(d_params[0], dy.t(), Mat::new(x, call.batch, features), true);
        for row in d_output.chunks_exact(out) {
            d_params[1].iter_mut().zip(row).for_each(|(db, d)| *db += d);
        }
        if let Some(dx) = &mut d_inputs[0] {
            matmul_f32(dx, dy, Mat::new(w, out, features), true);
        }
    }
}
