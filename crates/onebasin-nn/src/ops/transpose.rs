//! Axes in another order.

use super::{Call, Kernel, Real};

pub(super) struct Transpose(pub(super) Vec<usize>);

impl<T: Real> Kernel<T> for Transpose {
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        permute(call.inputs[0], call.input_shapes[0], &self.0, outputs[0], |y, x| *y = x);
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
        let mut inverse = vec![0; self.0.len()];
        self.0.iter().enumerate().for_each(|(i, &axis)| inverse[axis] = i);
        permute(d_outputs[0], call.output_shapes[0], &inverse, dx, |dx, dy| *dx += dy);
    }
}

/// Edge of the square tiles in which two axes are exchanged: a tile of each array stays in the first cache.
const TILE: usize = 16;

/// Calls `put(&mut y[…], x[…])` for every entry, where axis `i` of `y` is axis `order[i]` of `x`.
///
/// Axes that stay behind each other are moved as one. Where the last axis stays last, whole runs are moved; otherwise
/// the last axes of the two arrays are walked in tiles.
fn permute<T: Real>(x: &[T], shape: &[usize], order: &[usize], y: &mut [T], put: impl Fn(&mut T, T)) {
    let (lens, strides) = joined(shape, order);
    if lens.contains(&0) {
        return;
    }
    let (Some(&last), Some(&stride)) = (lens.last(), strides.last()) else {
        return y.iter_mut().zip(x).for_each(|(y, x)| put(y, *x));
    };
    if stride == 1 {
        let rows = lens.len() - 1;
        let out = dense(&lens);
        return odometer(&lens[..rows], &strides[..rows], &out[..rows], |from, to| {
            y[to..to + last].iter_mut().zip(&x[from..from + last]).for_each(|(y, x)| put(y, *x));
        });
    }
    let across = strides.iter().position(|s| *s == 1).expect("one axis is the input's last");
    let out = dense(&lens);
    let (width, height, leap) = (last, lens[across], out[across]);
    let keep = |v: &[usize]| -> Vec<usize> {
        (0..lens.len() - 1).filter(|axis| *axis != across).map(|axis| v[axis]).collect()
    };
    odometer(&keep(&lens), &keep(&strides), &keep(&out), |from, to| {
        for i0 in (0..height).step_by(TILE) {
            for j0 in (0..width).step_by(TILE) {
                for i in i0..(i0 + TILE).min(height) {
                    let row = &mut y[to + i * leap..][..width];
                    for j in j0..(j0 + TILE).min(width) {
                        put(&mut row[j], x[from + j * stride + i]);
                    }
                }
            }
        }
    });
}

/// Lengths of the result's axes and their strides in the input, axes of length 1 dropped and neighbours joined.
fn joined(shape: &[usize], order: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let input = dense(shape);
    let (mut lens, mut strides): (Vec<usize>, Vec<usize>) = (vec![], vec![]);
    for &axis in order.iter().filter(|axis| shape[**axis] != 1) {
        let (len, stride) = (shape[axis], input[axis]);
        match (lens.last_mut(), strides.last_mut()) {
            (Some(before), Some(outer)) if *outer == stride * len => {
                *before *= len;
                *outer = stride;
            }
            _ => {
                lens.push(len);
                strides.push(stride);
            }
        }
    }
    (lens, strides)
}

fn dense(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Calls `f` with the offsets of every index.
fn odometer(lens: &[usize], from: &[usize], to: &[usize], mut f: impl FnMut(usize, usize)) {
    fn descend(lens: &[usize], from: &[usize], to: &[usize], at: (usize, usize), f: &mut impl FnMut(usize, usize)) {
        let ([len, lens @ ..], [a, from @ ..], [b, to @ ..]) = (lens, from, to) else { return f(at.0, at.1) };
        (0..*len).for_each(|i| descend(lens, from, to, (at.0 + i * a, at.1 + i * b), f));
    }
    descend(lens, from, to, (0, 0), &mut f);
}
