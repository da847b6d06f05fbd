//! Arrays joined, cut and padded along axes.

use onebasin_core::graph::op::PadMode;

use super::walk::around;
use super::{Call, Kernel, Layout, Real, add};

/// Inputs one after the other along an axis, counted in memory.
pub(super) struct Concat(pub(super) usize);

impl Concat {
    /// Calls `f` with every run of every input: its number, where the run starts in it and in the output, its length.
    fn runs<T>(&self, call: &Call<'_, T>, mut f: impl FnMut(usize, usize, usize, usize)) {
        let (outer, axis, inner) = around(call.output_shapes[0], self.0);
        let mut before = 0;
        for (k, shape) in call.input_shapes.iter().enumerate() {
            let run = shape[self.0] * inner;
            (0..outer).for_each(|o| f(k, o * run, o * axis * inner + before, run));
            before += run;
        }
    }
}

impl<T: Real> Kernel<T> for Concat {
    fn layout(&self) -> Option<Layout> {
        None
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        self.runs(call, |k, from, to, run| {
            outputs[0][to..to + run].copy_from_slice(&call.inputs[k][from..from + run]);
        });
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        self.runs(call, |k, from, to, run| {
            if let Some(dx) = &mut d_inputs[k] {
                add(&mut dx[from..from + run], &d_outputs[0][to..to + run]);
            }
        });
    }
}

/// A run of positions of an axis, counted in memory.
pub(super) struct Slice {
    pub(super) axis: usize,
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) step: isize,
}

impl Slice {
    /// Calls `f` with where every run starts in the input and in the output, and its length.
    fn runs(&self, shape: &[usize], mut f: impl FnMut(usize, usize, usize)) {
        let (outer, axis, inner) = around(shape, self.axis);
        for o in 0..outer {
            let (x, y) = (o * axis, o * self.len);
            if self.step == 1 {
                f((x + self.start) * inner, y * inner, self.len * inner);
            } else {
                for i in 0..self.len {
                    let position = self.start.wrapping_add_signed(i as isize * self.step);
                    f((x + position) * inner, (y + i) * inner, inner);
                }
            }
        }
    }
}

impl<T: Real> Kernel<T> for Slice {
    fn layout(&self) -> Option<Layout> {
        None
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        self.runs(call.input_shapes[0], |from, to, run| {
            outputs[0][to..to + run].copy_from_slice(&call.inputs[0][from..from + run]);
        });
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        let Some(dx) = &mut d_inputs[0] else { return };
        self.runs(call.input_shapes[0], |from, to, run| {
            add(&mut dx[from..from + run], &d_outputs[0][to..to + run]);
        });
    }
}

/// Positions added around an array. A mirror image longer than the axis is mirrored again at its other end.
pub(super) struct Pad {
    /// Added before, one number per axis as it lies in memory.
    pub(super) before: Vec<usize>,
    pub(super) mode: PadMode,
}

/// Where a run of the output comes from.
enum PadOrigin {
    /// This position of the input and those behind it.
    Input(usize),
    /// The added number.
    Added,
}

impl Pad {
    /// The position of an axis of length `len` that stands at position `i` of the result.
    fn origin(&self, i: usize, before: usize, len: usize) -> Option<usize> {
        if (before..before + len).contains(&i) {
            return Some(i - before);
        }
        match self.mode {
            PadMode::Constant(_) => None,
            PadMode::Edge => len.checked_sub(1).map(|last| i.saturating_sub(before).min(last)),
            PadMode::Reflect if len <= 1 => len.checked_sub(1),
            PadMode::Reflect => {
                let period = 2 * (len - 1);
                let i = (i as isize - before as isize).rem_euclid(period as isize) as usize;
                Some(i.min(period - i))
            }
        }
    }

    /// Calls `f` with every run of the output: where it starts, its length, where it comes from.
    fn runs(&self, input: &[usize], output: &[usize], f: &mut impl FnMut(usize, usize, PadOrigin)) {
        self.descend(input, output, 0, (Some(0), 0), f);
    }

    /// One axis after the other, until the rest is a single run: `from` is where it begins in the input, if it does.
    fn descend(
        &self,
        input: &[usize],
        output: &[usize],
        axis: usize,
        (from, to): (Option<usize>, usize),
        f: &mut impl FnMut(usize, usize, PadOrigin),
    ) {
        let unchanged = input[axis..] == output[axis..];
        let run: usize = output[axis..].iter().product();
        match from {
            None => f(to * run, run, PadOrigin::Added),
            Some(from) if unchanged => f(to * run, run, PadOrigin::Input(from * run)),
            Some(from) if axis + 1 == input.len() => {
                let (len, before) = (input[axis], self.before[axis]);
                let start = to * run;
                if len > 0 {
                    f(start + before, len, PadOrigin::Input(from * len));
                }
                for i in (0..before).chain(before + len..run) {
                    let origin = self.origin(i, before, len).map(|i| PadOrigin::Input(from * len + i));
                    f(start + i, 1, origin.unwrap_or(PadOrigin::Added));
                }
            }
            Some(from) => {
                for i in 0..output[axis] {
                    let origin = self.origin(i, self.before[axis], input[axis]).map(|i| from * input[axis] + i);
                    self.descend(input, output, axis + 1, (origin, to * output[axis] + i), f);
                }
            }
        }
    }
}

impl<T: Real> Kernel<T> for Pad {
    fn layout(&self) -> Option<Layout> {
        None
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let value = if let PadMode::Constant(value) = self.mode { T::of(value) } else { T::zero() };
        let (x, y) = (call.inputs[0], &mut *outputs[0]);
        self.runs(call.input_shapes[0], call.output_shapes[0], &mut |to, run, origin| {
            let y = &mut y[to..to + run];
            match origin {
                PadOrigin::Input(from) => y.copy_from_slice(&x[from..from + run]),
                PadOrigin::Added => y.fill(value),
            }
        });
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        let Some(dx) = &mut d_inputs[0] else { return };
        self.runs(call.input_shapes[0], call.output_shapes[0], &mut |to, run, origin| {
            if let PadOrigin::Input(from) = origin {
                add(&mut dx[from..from + run], &d_outputs[0][to..to + run]);
            }
        });
    }
}
