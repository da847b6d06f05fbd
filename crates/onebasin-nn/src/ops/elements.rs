//! Entries of an array chosen, or replaced, one by one along an axis.
//!
//! Indices are read as by [`gather`](super::gather). An entry chosen by an index outside is NaN; an update at one is
//! dropped. Gradients of what cannot be told apart go to the last update of `Set`, and to the first extreme of `Min` and
//! `Max`, the entry itself before its updates.

use onebasin_core::graph::op::Scatter;

use super::gather::position;
use super::walk::Walk;
use super::{Call, Kernel, Real};

/// Entries along this axis.
pub(super) struct GatherElements(pub(super) usize);

pub(super) struct ScatterElements {
    pub(super) axis: usize,
    pub(super) function: Scatter,
}

/// Calls `f` with the place of every index and that of the entry of the data it means, if there is one.
fn visit<T: Real>(axis: usize, call: &Call<'_, T>, mut f: impl FnMut(usize, Option<usize>)) {
    let (data, shape) = (call.input_shapes[0], call.input_shapes[1]);
    let mut strides = vec![1; data.len()];
    for a in (1..data.len()).rev() {
        strides[a - 1] = strides[a] * data[a];
    }
    let stride = strides[axis];
    strides[axis] = 0;
    let walk = Walk::new(shape, &[strides]);
    walk.each(|at, [beside]| {
        for k in 0..walk.run {
            let index = position(call.inputs[1][at + k].wide(), data[axis]);
            f(at + k, index.map(|i| beside + k * walk.inner[0] + i * stride));
        }
    });
}

impl<T: Real> Kernel<T> for GatherElements {
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let (data, y) = (call.inputs[0], &mut *outputs[0]);
        visit(self.0, call, |at, from| y[at] = from.map_or(T::nan(), |from| data[from]));
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
        visit(self.0, call, |at, from| {
            if let Some(from) = from {
                d_data[from] += d_outputs[0][at];
            }
        });
    }
}

impl<T: Real> Kernel<T> for ScatterElements {
    fn shares_scratch(&self) -> bool {
        true
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let (updates, y) = (call.inputs[2], &mut *outputs[0]);
        y.copy_from_slice(call.inputs[0]);
        visit(self.axis, call, |at, to| {
            let Some(to) = to else { return };
            let (old, new) = (y[to], updates[at]);
            y[to] = match self.function {
                Scatter::Set => new,
                Scatter::Add => old + new,
                Scatter::Mul => old * new,
                Scatter::Min if new < old || new.is_nan() => new,
                Scatter::Max if new > old || new.is_nan() => new,
                Scatter::Min | Scatter::Max => old,
            };
        });
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        scratch: &mut Vec<T>,
    ) {
        let (data, updates, y, dy) = (call.inputs[0], call.inputs[2], outputs[0], d_outputs[0]);
        let (zero, one) = (T::zero(), T::one());
        let [d_data, _, d_updates] = d_inputs else { unreachable!("data, indices and updates") };
        let mut to_data = |at: usize, d: T| {
            if let Some(d_data) = d_data {
                d_data[at] += d;
            }
        };
        let mut to_update = |at: usize, d: T| {
            if let Some(d_updates) = d_updates {
                d_updates[at] += d;
            }
        };
        scratch.clear();
        match self.function {
            Scatter::Add => {
                (0..dy.len()).for_each(|at| to_data(at, dy[at]));
                visit(self.axis, call, |at, to| to_update(at, to.map_or(zero, |to| dy[to])));
            }
            Scatter::Set => {
                // The number of updates that are still to come.
                scratch.resize(y.len(), zero);
                visit(self.axis, call, |_, to| to.into_iter().for_each(|to| scratch[to] += one));
                (0..dy.len()).filter(|at| scratch[*at] == zero).for_each(|at| to_data(at, dy[at]));
                visit(self.axis, call, |at, to| {
                    let Some(to) = to else { return };
                    scratch[to] -= one;
                    if scratch[to] == zero {
                        to_update(at, dy[to]);
                    }
                });
            }
            Scatter::Min | Scatter::Max => {
                // Whether the extreme has been met.
                scratch.resize(y.len(), zero);
                for at in (0..dy.len()).filter(|at| data[*at] == y[*at]) {
                    scratch[at] = one;
                    to_data(at, dy[at]);
                }
                visit(self.axis, call, |at, to| {
                    let Some(to) = to.filter(|to| updates[at] == y[*to] && scratch[*to] == zero) else { return };
                    scratch[to] = one;
                    to_update(at, dy[to]);
                });
            }
            Scatter::Mul => {
                // Of every entry: its zero factors, and the product of the others.
                scratch.resize(y.len(), zero);
                scratch.resize(2 * y.len(), one);
                let (zeros, others) = scratch.split_at_mut(y.len());
                let mut factor = |to: usize, v: T| if v == zero { zeros[to] += one } else { others[to] *= v };
                data.iter().enumerate().for_each(|(at, v)| factor(at, *v));
                visit(self.axis, call, |at, to| to.into_iter().for_each(|to| factor(to, updates[at])));
                let (zeros, others) = (&*zeros, &*others);
                let rest = |to: usize, v: T| match (zeros[to] - if v == zero { one } else { zero }, v == zero) {
                    (left, true) if left == zero => others[to],
                    (left, false) if left == zero => others[to] / v,
                    _ => zero,
                };
                (0..dy.len()).for_each(|at| to_data(at, dy[at] * rest(at, data[at])));
                visit(self.axis, call, |at, to| {
                    if let Some(to) = to {
                        to_update(at, dy[to] * rest(to, updates[at]));
                    }
                });
            }
        }
    }
}
