//! Running sums along an axis, added up one by one in their order.

use super::walk::around;
use super::{Call, Kernel, Real};

pub(super) struct CumSum {
    pub(super) axis: usize,
    /// Whether an entry is left out of its own sum.
    pub(super) exclusive: bool,
    /// Whether sums begin at the end.
    pub(super) reverse: bool,
}

impl CumSum {
    /// Calls `put(position, sum)` with the running sums of `x`, from the end if `reverse`.
    fn sums<T: Real>(&self, x: &[T], shape: &[usize], reverse: bool, mut put: impl FnMut(usize, T)) {
        let (outer, axis, inner) = around(shape, self.axis);
        for o in 0..outer {
            for i in 0..inner {
                let mut sum = T::zero();
                for step in 0..axis {
                    let at = (o * axis + if reverse { axis - 1 - step } else { step }) * inner + i;
                    let through = sum + x[at];
                    put(at, if self.exclusive { sum } else { through });
                    sum = through;
                }
            }
        }
    }
}

impl<T: Real> Kernel<T> for CumSum {
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let y = &mut *outputs[0];
        self.sums(call.inputs[0], call.input_shapes[0], self.reverse, |at, sum| y[at] = sum);
    }

    /// An entry is in all sums from its own on: the gradient is summed the other way.
    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        let Some(dx) = &mut d_inputs[0] else { return };
        self.sums(d_outputs[0], call.input_shapes[0], !self.reverse, |at, sum| dx[at] += sum);
    }
}
