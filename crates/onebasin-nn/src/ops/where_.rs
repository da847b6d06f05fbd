//! One of two numbers, chosen by a third.

use super::walk::Walk;
use super::{Call, Kernel, Layout, Real};

pub(super) struct Where;

impl Where {
    /// Calls `f` with the positions in the output, the condition, `a` and `b`, for every number.
    fn visit<T>(call: &Call<'_, T>, mut f: impl FnMut(usize, usize, usize, usize)) {
        let shapes = std::array::from_fn(|k| call.input_shapes[k]);
        let walk = Walk::<3>::broadcast(call.output_shapes[0], shapes);
        let [dc, da, db] = walk.inner;
        walk.each(|at, [c, a, b]| (0..walk.run).for_each(|k| f(at + k, c + k * dc, a + k * da, b + k * db)));
    }
}

impl<T: Real> Kernel<T> for Where {
    /// Any, if all operands have the same rank; operands of different rank are matched from their last axes.
    fn layout(&self) -> Option<Layout> {
        None
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let &[condition, left, right] = call.inputs else { unreachable!("a condition and two operands") };
        let y = &mut *outputs[0];
        Self::visit(call, |at, c, a, b| y[at] = if condition[c] == T::zero() { right[b] } else { left[a] });
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        let (condition, dy, zero) = (call.inputs[0], d_outputs[0], T::zero());
        let [_, left, right] = d_inputs else { unreachable!("a condition and two operands") };
        if let Some(da) = left {
            Self::visit(call, |at, c, a, _| da[a] += if condition[c] == zero { zero } else { dy[at] });
        }
        if let Some(db) = right {
            Self::visit(call, |at, c, _, b| db[b] += if condition[c] == zero { dy[at] } else { zero });
        }
    }
}
