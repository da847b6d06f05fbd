//! Spatial axes scaled, one after the other: linear interpolation over several axes is that over each.

use onebasin_core::graph::op::ResizeMode;

use super::walk::around;
use super::{Call, Kernel, Layout, Real};

/// Scales to the shape of the output.
pub(super) struct Resize(pub(super) ResizeMode);

/// A position of the result: `(1 − share) x[low] + share x[high]`.
struct Mix<T> {
    low: usize,
    high: usize,
    share: T,
}

impl<T: Real> Mix<T> {
    /// It, of the values at its two positions.
    fn of(&self, low: T, high: T) -> T {
        if self.share == T::zero() { low } else { low + self.share * (high - low) }
    }
}

impl Resize {
    /// For every position of an axis that becomes `to` long.
    fn mixes<T: Real>(&self, from: usize, to: usize) -> Vec<Mix<T>> {
        let last = from - 1;
        let ratio = from as f64 / to as f64;
        let at = |i: usize| match self.0 {
            ResizeMode::Nearest => (i * from / to) as f64,
            ResizeMode::LinearHalfPixel => (i as f64 + 0.5) * ratio - 0.5,
            ResizeMode::LinearAlignCorners if to == 1 => 0.0,
            ResizeMode::LinearAlignCorners => (i * last) as f64 / (to - 1) as f64,
            ResizeMode::LinearAsymmetric => i as f64 * ratio,
        };
        let mix = |i| {
            let x = at(i).clamp(0.0, last as f64);
            let low = (x as usize).min(last);
            Mix { low, high: (low + 1).min(last), share: T::of(x - low as f64) }
        };
        (0..to).map(mix).collect()
    }
}

/// The axes that change, each with the shape it finds, and the most numbers in between.
fn passes(input: &[usize], output: &[usize]) -> (Vec<(usize, Vec<usize>)>, usize) {
    let (mut shape, mut passes, mut most) = (input.to_vec(), vec![], 0);
    for axis in (0..input.len()).filter(|axis| input[*axis] != output[*axis]) {
        passes.push((axis, shape.clone()));
        shape[axis] = output[axis];
        most = most.max(shape.iter().product());
    }
    (passes, most)
}

/// Calls `f` with every row along the axis and where it lies: the mix, the two rows of the input, the row of the output.
fn rows<T: Real>(
    mixes: &[Mix<T>],
    (outer, axis, inner): (usize, usize, usize),
    mut f: impl FnMut(&Mix<T>, [std::ops::Range<usize>; 2], std::ops::Range<usize>),
) {
    for o in 0..outer {
        for (i, mix) in mixes.iter().enumerate() {
            let [low, high] = [mix.low, mix.high].map(|k| (o * axis + k) * inner);
            let to = (o * mixes.len() + i) * inner;
            f(mix, [low..low + inner, high..high + inner], to..to + inner);
        }
    }
}

impl<T: Real> Kernel<T> for Resize {
    fn layout(&self) -> Option<Layout> {
        None
    }

    fn shares_scratch(&self) -> bool {
        true
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], scratch: &mut Vec<T>) {
        let (passes, most) = passes(call.input_shapes[0], call.output_shapes[0]);
        if outputs[0].is_empty() {
            return;
        }
        if passes.is_empty() {
            return outputs[0].copy_from_slice(call.inputs[0]);
        }
        scratch.clear();
        scratch.resize(2 * most, T::zero());
        let (mut x, mut y) = scratch.split_at_mut(most);
        for (k, (axis, shape)) in passes.iter().enumerate() {
            let from: &[T] = if k == 0 { call.inputs[0] } else { x };
            let to: &mut [T] = if k + 1 == passes.len() { outputs[0] } else { y };
            let mixes = self.mixes::<T>(shape[*axis], call.output_shapes[0][*axis]);
            if axis + 1 == shape.len() {
                for (x, y) in from.chunks_exact(shape[*axis]).zip(to.chunks_exact_mut(mixes.len())) {
                    y.iter_mut().zip(&mixes).for_each(|(y, mix)| *y = mix.of(x[mix.low], x[mix.high]));
                }
            } else {
                rows(&mixes, around(shape, *axis), |mix, [low, high], out| {
                    let sources = from[low].iter().zip(&from[high]);
                    to[out].iter_mut().zip(sources).for_each(|(y, (low, high))| *y = mix.of(*low, *high));
                });
            }
            std::mem::swap(&mut x, &mut y);
        }
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        scratch: &mut Vec<T>,
    ) {
        let Some(dx) = &mut d_inputs[0] else { return };
        let (passes, most) = passes(call.input_shapes[0], call.output_shapes[0]);
        if d_outputs[0].is_empty() {
            return;
        }
        if passes.is_empty() {
            return dx.iter_mut().zip(d_outputs[0]).for_each(|(dx, dy)| *dx += *dy);
        }
        scratch.clear();
        scratch.resize(2 * most, T::zero());
        let (mut a, mut b) = scratch.split_at_mut(most);
        for (k, (axis, shape)) in passes.iter().enumerate().rev() {
            let from: &[T] = if k + 1 == passes.len() { d_outputs[0] } else { a };
            let to: &mut [T] = if k == 0 { dx } else { b };
            if k > 0 {
                to.fill(T::zero());
            }
            let mixes = self.mixes::<T>(shape[*axis], call.output_shapes[0][*axis]);
            if axis + 1 == shape.len() {
                for (dx, dy) in to.chunks_exact_mut(shape[*axis]).zip(from.chunks_exact(mixes.len())) {
                    for (mix, dy) in mixes.iter().zip(dy) {
                        dx[mix.low] += (T::one() - mix.share) * *dy;
                        dx[mix.high] += mix.share * *dy;
                    }
                }
            } else {
                rows(&mixes, around(shape, *axis), |mix, [low, high], out| {
                    let dy = &from[out];
                    to[low].iter_mut().zip(dy).for_each(|(d, dy)| *d += (T::one() - mix.share) * *dy);
                    to[high].iter_mut().zip(dy).for_each(|(d, dy)| *d += mix.share * *dy);
                });
            }
            std::mem::swap(&mut a, &mut b);
        }
    }
}
