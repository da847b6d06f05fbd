//! Pooling, channels last: a function of every window, channel by channel.
//!
//! The gradient of a maximum goes to the first position that attains it. A mean divides by the number of positions inside
//! the image, or where padding counts, inside the image and its padding.

use onebasin_core::graph::op::{Pool, PoolKind};

use super::window::{Window, WindowStart};
use super::{Call, Kernel, Layout, Real};

/// One window: its output position, the pixels it covers, and what a mean divides by.
struct Covered<'a> {
    position: usize,
    pixels: &'a [usize],
    count: usize,
}

/// Calls `f` for every window.
fn each(pool: &Pool, x: &[usize], y: &[usize], mut f: impl FnMut(Covered<'_>)) {
    let ones = vec![1; pool.kernel.len()];
    let window = Window::new(x, y, &pool.kernel, &pool.strides, &ones, &pool.before);
    let after = {
        let mut after = [0; 3];
        after[3 - pool.after.len()..].copy_from_slice(&pool.after);
        after
    };
    // Positions of one axis inside the image and its padding.
    let padded = |axis: usize, start: WindowStart| {
        let end = (window.input[axis] + after[axis]) as isize - start.at[axis];
        end.clamp(0, window.kernel[axis] as isize) as usize
    };
    let mut pixels = Vec::new();
    for (position, (start, inside)) in window.taps(0..window.positions()).enumerate() {
        pixels.clear();
        for kz in window.inside(0, start.at[0]) {
            for ky in window.inside(1, start.at[1]) {
                let Some(base) = window.line(start, kz, ky) else { continue };
                pixels.extend(inside.clone().map(|kx| (base + kx as isize) as usize));
            }
        }
        let count = match pool.kind {
            PoolKind::AverageWithPadding => (0..3).map(|axis| padded(axis, start)).product(),
            PoolKind::Max | PoolKind::Average => pixels.len(),
        };
        f(Covered { position, pixels: &pixels, count });
    }
}

impl<T: Real> Kernel<T> for Pool {
    fn layout(&self) -> Option<Layout> {
        Some(Layout::ChannelsLast)
    }

    fn shares_scratch(&self) -> bool {
        true
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let (x, shape, y) = (call.inputs[0], call.input_shapes[0], &mut *outputs[0]);
        let channels = shape[shape.len() - 1];
        each(self, shape, call.output_shapes[0], |window| {
            let y = &mut y[window.position * channels..][..channels];
            let rows = window.pixels.iter().map(|p| &x[p * channels..][..channels]);
            if self.kind == PoolKind::Max {
                y.fill(T::neg_infinity());
                for row in rows {
                    y.iter_mut().zip(row).for_each(|(y, x)| *y = if *x > *y || x.is_nan() { *x } else { *y });
                }
            } else {
                let share = T::of(1.0 / window.count.max(1) as f64);
                y.fill(T::zero());
                for row in rows {
                    y.iter_mut().zip(row).for_each(|(y, x)| *y += *x);
                }
                for y in y.iter_mut() {
                    *y *= share;
                }
            }
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
        let Some(dx) = &mut d_inputs[0] else { return };
        let (x, shape, y, dy) = (call.inputs[0], call.input_shapes[0], outputs[0], d_outputs[0]);
        let channels = shape[shape.len() - 1];
        each(self, shape, call.output_shapes[0], |window| {
            let at = window.position * channels;
            let (y, dy) = (&y[at..][..channels], &dy[at..][..channels]);
            if self.kind == PoolKind::Max {
                // What of the gradient has not found its position yet.
                scratch.clear();
                scratch.extend_from_slice(dy);
                for p in window.pixels {
                    let (x, dx) = (&x[p * channels..][..channels], &mut dx[p * channels..][..channels]);
                    for c in 0..channels {
                        let found = if x[c] == y[c] { scratch[c] } else { T::zero() };
                        dx[c] += found;
                        scratch[c] = if x[c] == y[c] { T::zero() } else { scratch[c] };
                    }
                }
            } else {
                let share = T::of(1.0 / window.count.max(1) as f64);
                for p in window.pixels {
                    let dx = &mut dx[p * channels..][..channels];
                    dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += share * *dy);
                }
            }
        });
    }
}
