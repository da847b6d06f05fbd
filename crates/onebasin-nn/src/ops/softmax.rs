//! `exp x / Σ exp x` along an axis, or its logarithm. The largest entry is subtracted first, so nothing overflows.

use super::walk::{around, sum};
use super::{Call, Kernel, Layout, Real};

pub(super) struct Softmax {
    /// Counted in memory.
    pub(super) axis: usize,
    pub(super) log: bool,
}

impl Softmax {
    /// Along neighbours in memory.
    fn row<T: Real>(&self, x: &[T], y: &mut [T]) {
        let top = x.iter().fold(x[0], |top, x| if *x > top { *x } else { top });
        if self.log {
            let total = sum(x, x, |x, _| (x - top).exp()).ln();
            y.iter_mut().zip(x).for_each(|(y, x)| *y = *x - top - total);
        } else {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = (*x - top).exp());
            let share = sum(y, y, |y, _| y).recip();
            for y in y {
                *y *= share;
            }
        }
    }

    /// Adds the gradient of one row: `y (dy − Σ y dy)`, or `dy − exp y Σ dy` of its logarithm.
    fn row_back<T: Real>(&self, y: &[T], dy: &[T], dx: &mut [T]) {
        let entries = dx.iter_mut().zip(dy).zip(y);
        if self.log {
            let total = sum(dy, dy, |dy, _| dy);
            entries.for_each(|((dx, dy), y)| *dx += *dy - y.exp() * total);
        } else {
            let total = sum(y, dy, |y, dy| y * dy);
            entries.for_each(|((dx, dy), y)| *dx += *y * (*dy - total));
        }
    }
}

/// `total[j] += term(u[i, j], v[i, j])` over the rows of two arrays.
fn down<T: Real>(total: &mut [T], u: &[T], v: &[T], term: impl Fn(T, T) -> T) {
    for (u, v) in u.chunks_exact(total.len()).zip(v.chunks_exact(total.len())) {
        total.iter_mut().zip(u).zip(v).for_each(|((total, u), v)| *total += term(*u, *v));
    }
}

impl<T: Real> Kernel<T> for Softmax {
    fn layout(&self) -> Option<Layout> {
        None
    }

    fn shares_scratch(&self) -> bool {
        true
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], scratch: &mut Vec<T>) {
        let (x, y) = (call.inputs[0], &mut *outputs[0]);
        if x.is_empty() {
            return;
        }
        let (_, axis, inner) = around(call.input_shapes[0], self.axis);
        if inner == 1 {
            let rows = x.chunks_exact(axis).zip(y.chunks_exact_mut(axis));
            return rows.for_each(|(x, y)| self.row(x, y));
        }
        scratch.clear();
        scratch.resize(2 * inner, T::zero());
        let (top, total) = scratch.split_at_mut(inner);
        for (x, y) in x.chunks_exact(axis * inner).zip(y.chunks_exact_mut(axis * inner)) {
            top.copy_from_slice(&x[..inner]);
            for x in x.chunks_exact(inner) {
                top.iter_mut().zip(x).for_each(|(top, x)| *top = if *x > *top { *x } else { *top });
            }
            for (x, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
                y.iter_mut().zip(x).zip(&*top).for_each(|((y, x), top)| *y = *x - *top);
            }
            total.fill(T::zero());
            if self.log {
                down(total, y, y, |y, _| y.exp());
                for total in total.iter_mut() {
                    *total = total.ln();
                }
            } else {
                for y in y.iter_mut() {
                    *y = y.exp();
                }
                down(total, y, y, |y, _| y);
                for total in total.iter_mut() {
                    *total = total.recip();
                }
            }
            for y in y.chunks_exact_mut(inner) {
                let pairs = y.iter_mut().zip(&*total);
                if self.log {
                    pairs.for_each(|(y, total)| *y -= *total);
                } else {
                    pairs.for_each(|(y, total)| *y *= *total);
                }
            }
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
        if dx.is_empty() {
            return;
        }
        let (_, axis, inner) = around(call.input_shapes[0], self.axis);
        let block = axis * inner;
        let blocks = outputs[0].chunks_exact(block).zip(d_outputs[0].chunks_exact(block));
        if inner == 1 {
            return blocks.zip(dx.chunks_exact_mut(block)).for_each(|((y, dy), dx)| self.row_back(y, dy, dx));
        }
        for ((y, dy), dx) in blocks.zip(dx.chunks_exact_mut(block)) {
            scratch.clear();
            scratch.resize(inner, T::zero());
            down(scratch, y, dy, |y, dy| if self.log { dy } else { y * dy });
            let rows = y.chunks_exact(inner).zip(dy.chunks_exact(inner)).zip(dx.chunks_exact_mut(inner));
            for ((y, dy), dx) in rows {
                let entries = dx.iter_mut().zip(dy).zip(y).zip(&*scratch);
                if self.log {
                    entries.for_each(|(((dx, dy), y), total)| *dx += *dy - y.exp() * *total);
                } else {
                    entries.for_each(|(((dx, dy), y), total)| *dx += *y * (*dy - *total));
                }
            }
        }
    }
}
