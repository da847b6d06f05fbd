//! Symmetric functions over axes.
//!
//! Over no numbers at all: 0 for sums and norms, 1 for the product, ∓∞ for the extremes, NaN for the mean. The gradient
//! of an extreme goes to the first position that attains it; that of `L2` at zero is 0.

use onebasin_core::graph::op::Reduce as Kind;

use super::walk::{Walk, sum};
use super::{Call, Kernel, Layout, Real};

/// A symmetric function of the numbers along some axes.
pub(super) struct ReduceKernel {
    pub(super) kind: Kind,
    pub(super) axes: Vec<usize>,
}

impl ReduceKernel {
    /// The input walked, with the offset in the output.
    fn walk(&self, shape: &[usize]) -> Walk<1> {
        let mut strides = vec![0; shape.len()];
        let mut stride = 1;
        for axis in (0..shape.len()).rev().filter(|axis| !self.axes.contains(axis)) {
            strides[axis] = stride;
            stride *= shape[axis];
        }
        Walk::new(shape, &[strides])
    }

    /// Over how many numbers each result goes.
    fn count<T: Real>(&self, shape: &[usize]) -> T {
        T::of(self.axes.iter().map(|&a| shape[a]).product::<usize>() as f64)
    }
}

impl<T: Real> Kernel<T> for ReduceKernel {
    fn layout(&self) -> Option<Layout> {
        None
    }

    fn shares_scratch(&self) -> bool {
        true
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let (x, shape, y) = (call.inputs[0], call.input_shapes[0], &mut *outputs[0]);
        let walk = self.walk(shape);
        match self.kind {
            Kind::Sum | Kind::Mean => add_up(&walk, x, y, |x| x),
            Kind::SumSquare | Kind::L2 => add_up(&walk, x, y, |x| x * x),
            Kind::Max => fold(&walk, x, y, T::neg_infinity(), |y, x| if x > y || x.is_nan() { x } else { y }),
            Kind::Min => fold(&walk, x, y, T::infinity(), |y, x| if x < y || x.is_nan() { x } else { y }),
            Kind::Prod => fold(&walk, x, y, T::one(), |y, x| y * x),
        }
        match self.kind {
            Kind::Mean => {
                let count = self.count::<T>(shape);
                for y in y.iter_mut() {
                    *y /= count;
                }
            }
            Kind::L2 => {
                for y in y.iter_mut() {
                    *y = y.sqrt();
                }
            }
            Kind::Sum | Kind::Max | Kind::Min | Kind::Prod | Kind::SumSquare => {}
        }
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        scratch: &mut Vec<T>,
    ) {
        let Some(dx) = &mut d_inputs[0] else { return };
        let (x, shape, y, dy) = (call.inputs[0], call.input_shapes[0], outputs[0], d_outputs[0]);
        let walk = self.walk(shape);
        let (zero, one, two) = (T::zero(), T::one(), T::of(2.0));
        match self.kind {
            Kind::Sum => visit(&walk, |at, to| dx[at] += dy[to]),
            Kind::Mean => {
                let share = self.count::<T>(shape).recip();
                visit(&walk, |at, to| dx[at] += share * dy[to]);
            }
            Kind::SumSquare => visit(&walk, |at, to| dx[at] += two * x[at] * dy[to]),
            Kind::L2 => visit(&walk, |at, to| dx[at] += if y[to] == zero { zero } else { x[at] / y[to] * dy[to] }),
            Kind::Max | Kind::Min => {
                scratch.clear();
                scratch.resize(y.len(), zero);
                visit(&walk, |at, to| {
                    if x[at] == y[to] && scratch[to] == zero {
                        scratch[to] = one;
                        dx[at] += dy[to];
                    }
                });
            }
            Kind::Prod => {
                scratch.clear();
                scratch.resize(2 * y.len(), zero);
                let (zeros, others) = scratch.split_at_mut(y.len());
                others.fill(one);
                visit(&walk, |at, to| if x[at] == zero { zeros[to] += one } else { others[to] *= x[at] });
                visit(&walk, |at, to| {
                    let alone = if x[at] == zero { one } else { zero };
                    if zeros[to] == alone {
                        dx[at] += dy[to] * if x[at] == zero { others[to] } else { others[to] / x[at] };
                    }
                });
            }
        }
    }
}

/// Calls `f` with every position of the input and the position of the output it goes to.
fn visit(walk: &Walk<1>, mut f: impl FnMut(usize, usize)) {
    walk.each(|at, [to]| {
        if walk.inner == [0] {
            (0..walk.run).for_each(|k| f(at + k, to));
        } else {
            (0..walk.run).for_each(|k| f(at + k, to + k));
        }
    });
}

fn add_up<T: Real>(walk: &Walk<1>, x: &[T], y: &mut [T], f: impl Fn(T) -> T) {
    y.fill(T::zero());
    walk.each(|at, [to]| {
        let x = &x[at..at + walk.run];
        if walk.inner == [0] {
            y[to] += sum(x, x, |x, _| f(x));
        } else {
            y[to..to + walk.run].iter_mut().zip(x).for_each(|(y, x)| *y += f(*x));
        }
    });
}

fn fold<T: Real>(walk: &Walk<1>, x: &[T], y: &mut [T], start: T, f: impl Fn(T, T) -> T) {
    y.fill(start);
    walk.each(|at, [to]| {
        let x = &x[at..at + walk.run];
        if walk.inner == [0] {
            y[to] = x.iter().fold(y[to], |y, x| f(y, *x));
        } else {
            y[to..to + walk.run].iter_mut().zip(x).for_each(|(y, x)| *y = f(*y, *x));
        }
    });
}
