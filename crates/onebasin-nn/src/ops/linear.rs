//! `y = x Wᵀ (+ b)` over the last axis.

use onebasin_core::linalg::Mat;

use super::{Call, Kernel, Real};

/// `y = x Wᵀ (+ b)`.
pub(super) struct Linear;

impl<T: Real> Kernel<T> for Linear {
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let &[x, w, ref bias @ ..] = call.inputs else { unreachable!("shapes are inferred before running") };
        let (rows, out, features) = sizes(call);
        if let [bias] = bias {
            outputs[0].chunks_exact_mut(out.max(1)).for_each(|row| row.copy_from_slice(bias));
        }
        let (x, w) = (Mat::new(x, rows, features), Mat::new(w, out, features));
        T::matmul(outputs[0], x, w.t(), !bias.is_empty());
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        let (rows, out, features) = sizes(call);
        let dy = Mat::new(d_outputs[0], rows, out);
        if let Some(dw) = &mut d_inputs[1] {
            T::matmul(dw, dy.t(), Mat::new(call.inputs[0], rows, features), true);
        }
        if let Some(Some(db)) = d_inputs.get_mut(2) {
            for row in d_outputs[0].chunks_exact(out.max(1)) {
                db.iter_mut().zip(row).for_each(|(db, d)| *db += *d);
            }
        }
        if let Some(dx) = &mut d_inputs[0] {
            T::matmul(dx, dy, Mat::new(call.inputs[1], out, features), true);
        }
    }
}

/// Rows of `x`, units, features.
fn sizes<T>(call: &Call<'_, T>) -> (usize, usize, usize) {
    let (out, features) = (call.input_shapes[1][0], call.input_shapes[1][1]);
    let rows = call.input_shapes[0].iter().rev().skip(1).product();
    (rows, out, features)
}
