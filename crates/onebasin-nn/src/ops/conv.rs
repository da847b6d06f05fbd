//! Convolution, channels last: patches of a tile of positions, then one matrix product.
//!
//! `y[p, o] = Σ_k Σ_c x[p·stride + k·dilation − before, c] · W[o, k, c]`. A tile's patches stay in the second cache
//! between being gathered and being multiplied. Kernels of one tap that skip nothing multiply the image itself, and
//! depthwise ones run without patches.

use onebasin_core::graph::op::Conv;
use onebasin_core::linalg::{Mat, vectorized};

use super::conv_lines::Lines;
use super::window::{Window, WindowStart};
use super::winograd::Winograd;
use super::{Call, Kernel, Layout, Real, add, pieces};

/// Numbers in a tile of patches.
const TILE: usize = 96 * 1024;
/// Rows of a tile at least: fewer make the product for the weight's gradient slow.
const ROWS: usize = 400;

/// Sizes of one call.
struct ConvSizes {
    window: Window,
    /// Output channels of a group.
    out: usize,
    /// Input channels of a group.
    channels: usize,
    groups: usize,
    /// Entries of a patch of one group.
    patch: usize,
}

impl ConvSizes {
    /// Of a call, channels last.
    fn of<T>(conv: &Conv, call: &Call<'_, T>) -> Self {
        let (x, w, y) = (call.input_shapes[0], call.input_shapes[1], call.output_shapes[0]);
        let rank = x.len();
        let kernel = &w[1..rank - 1];
        let window = Window::new(x, y, kernel, &conv.strides, &conv.dilations, &conv.before);
        let (out, channels) = (w[0] / conv.groups, w[rank - 1]);
        Self { window, out, channels, groups: conv.groups, patch: channels * kernel.iter().product::<usize>() }
    }

    /// Whether the image is its own patches.
    fn direct(&self) -> bool {
        self.groups == 1 && self.window.is_identity()
    }

    /// Whether every channel is a group of its own, with one result.
    fn depthwise(&self) -> bool {
        self.groups > 1 && self.channels == 1 && self.out == 1
    }

    /// By Winograd's filtering, where that pays.
    fn winograd(&self) -> Option<Winograd> {
        if self.groups == 1 { Winograd::of(&self.window, self.channels, self.out) } else { None }
    }

    /// By overlapping lines in place of patches, where that pays.
    fn lines(&self) -> Option<Lines> {
        if self.groups == 1 { Lines::of(&self.window, self.channels, self.out) } else { None }
    }

    /// Positions of every tile.
    fn tiles(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let all = self.window.positions();
        let rows = (TILE / self.patch.max(1)).max(ROWS).min(all.max(1));
        (0..all).step_by(rows).map(move |start| start..(start + rows).min(all))
    }

    /// Patches of group `g` at these positions.
    fn gather<T: Real>(&self, x: &[T], g: usize, tile: std::ops::Range<usize>, patches: &mut [T]) {
        self.gather_at(x, g, self.window.taps(tile), patches);
    }

    /// Patches of group `g` where these windows stand.
    fn gather_at<T: Real>(
        &self,
        x: &[T],
        g: usize,
        windows: impl Iterator<Item = (WindowStart, std::ops::Range<usize>)>,
        patches: &mut [T],
    ) {
        let (width, all) = (self.channels, self.channels * self.groups);
        let rows = patches.chunks_exact_mut(self.patch);
        let contiguous = self.groups == 1 && self.window.dilations[2] == 1;
        for ((start, inside), row) in windows.zip(rows) {
            let kernel = self.window.kernel;
            let mut at = 0;
            for kz in 0..kernel[0] {
                for ky in 0..kernel[1] {
                    let line = &mut row[at..at + kernel[2] * width];
                    at += line.len();
                    let Some(base) = self.window.line(start, kz, ky).filter(|_| !inside.is_empty()) else {
                        line.fill(T::default());
                        continue;
                    };
                    if contiguous {
                        let from = (base + inside.start as isize) as usize * all;
                        line[..inside.start * width].fill(T::default());
                        line[inside.end * width..].fill(T::default());
                        let line = &mut line[inside.start * width..inside.end * width];
                        line.copy_from_slice(&x[from..from + line.len()]);
                        continue;
                    }
                    for (kx, tap) in line.chunks_exact_mut(width).enumerate() {
                        if inside.contains(&kx) {
                            let from = (base + (kx * self.window.dilations[2]) as isize) as usize * all + g * width;
                            tap.copy_from_slice(&x[from..from + width]);
                        } else {
                            tap.fill(T::default());
                        }
                    }
                }
            }
        }
    }

    /// The transpose of [`Sizes::gather`]: adds patches to the image.
    fn scatter<T: Real>(&self, dx: &mut [T], g: usize, tile: std::ops::Range<usize>, patches: &[T]) {
        let (width, all) = (self.channels, self.channels * self.groups);
        let rows = patches.chunks_exact(self.patch);
        let contiguous = self.groups == 1 && self.window.dilations[2] == 1;
        vectorized(
            #[inline(always)]
            || {
                for ((start, inside), row) in self.window.taps(tile).zip(rows) {
                    let kernel = self.window.kernel;
                    let lines = (0..kernel[0]).flat_map(|kz| (0..kernel[1]).map(move |ky| (kz, ky)));
                    for ((kz, ky), line) in lines.zip(row.chunks_exact(kernel[2] * width)) {
                        let Some(base) = self.window.line(start, kz, ky).filter(|_| !inside.is_empty()) else {
                            continue;
                        };
                        if contiguous {
                            let from = (base + inside.start as isize) as usize * all;
                            let line = &line[inside.start * width..inside.end * width];
                            add(&mut dx[from..from + line.len()], line);
                            continue;
                        }
                        for kx in inside.clone() {
                            let from = (base + (kx * self.window.dilations[2]) as isize) as usize * all + g * width;
                            add(&mut dx[from..from + width], &line[kx * width..][..width]);
                        }
                    }
                }
            },
        );
    }

    /// Calls `f(position, tap, pixel)` for every tap inside the image.
    fn each_tap(&self, mut f: impl FnMut(usize, usize, usize)) {
        let kernel = self.window.kernel;
        for (p, (start, inside)) in self.window.taps(0..self.window.positions()).enumerate() {
            for kz in 0..kernel[0] {
                for ky in 0..kernel[1] {
                    let Some(base) = self.window.line(start, kz, ky) else { continue };
                    for kx in inside.clone() {
                        let pixel = (base + (kx * self.window.dilations[2]) as isize) as usize;
                        f(p, (kz * kernel[1] + ky) * kernel[2] + kx, pixel);
                    }
                }
            }
        }
    }
}

impl<T: Real> Kernel<T> for Conv {
    fn layout(&self) -> Option<Layout> {
        Some(Layout::ChannelsLast)
    }

    fn shares_scratch(&self) -> bool {
        true
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], scratch: &mut Vec<T>) {
        let sizes = ConvSizes::of(self, call);
        let &[x, w, ref bias @ ..] = call.inputs else { unreachable!("shapes are inferred before running") };
        let y = &mut *outputs[0];
        let ConvSizes { out, patch, groups, .. } = sizes;
        let biased = match bias {
            [bias] => {
                y.chunks_exact_mut(bias.len().max(1)).for_each(|row| row.copy_from_slice(bias));
                true
            }
            _ => false,
        };
        if sizes.direct() {
            T::matmul(y, Mat::new(x, sizes.window.positions(), patch), Mat::new(w, out, patch).t(), biased);
        } else if sizes.depthwise() {
            if !biased {
                y.fill(T::default());
            }
            let taps = by_tap(w, groups, patch, scratch);
            sizes.each_tap(|p, tap, pixel| {
                let y = &mut y[p * groups..][..groups];
                let (x, w) = (&x[pixel * groups..][..groups], &taps[tap * groups..][..groups]);
                for c in 0..groups {
                    y[c] += x[c] * w[c];
                }
            });
        } else if let Some(winograd) = sizes.winograd() {
            winograd.forward(x, w, biased, y, scratch);
        } else if let Some(lines) = sizes.lines() {
            lines.forward(x, w, biased, y, scratch);
        } else {
            for tile in sizes.tiles() {
                let rows = tile.len();
                let [patches, part] = pieces(scratch, [rows * patch, if groups > 1 { rows * out } else { 0 }]);
                let y = &mut y[tile.start * out * groups..tile.end * out * groups];
                for g in 0..groups {
                    sizes.gather(x, g, tile.clone(), patches);
                    let w = Mat::new(&w[g * out * patch..][..out * patch], out, patch);
                    let patches = Mat::new(patches, rows, patch);
                    if groups == 1 {
                        T::matmul(y, patches, w.t(), biased);
                        continue;
                    }
                    T::matmul(part, patches, w.t(), false);
                    for (y, part) in y.chunks_exact_mut(out * groups).zip(part.chunks_exact(out)) {
                        let y = &mut y[g * out..][..out];
                        if biased {
                            add(y, part);
                        } else {
                            y.copy_from_slice(part);
                        }
                    }
                }
            }
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
        let sizes = ConvSizes::of(self, call);
        let &[x, w, ..] = call.inputs else { unreachable!("shapes are inferred before running") };
        let dy = d_outputs[0];
        let ConvSizes { out, patch, groups, .. } = sizes;
        let [dx, dw, rest @ ..] = d_inputs else { unreachable!("a convolution has a weight") };
        if let [Some(db)] = rest {
            vectorized(
                #[inline(always)]
                || dy.chunks_exact(db.len().max(1)).for_each(|row| add(db, row)),
            );
        }
        if sizes.direct() {
            let rows = sizes.window.positions();
            let dy = Mat::new(dy, rows, out);
            if let Some(dw) = dw {
                T::matmul(dw, dy.t(), Mat::new(x, rows, patch), true);
            }
            if let Some(dx) = dx {
                T::matmul(dx, dy, Mat::new(w, out, patch), true);
            }
        } else if sizes.depthwise() {
            if let Some(dx) = dx {
                let taps = by_tap(w, groups, patch, scratch);
                sizes.each_tap(|p, tap, pixel| {
                    let dx = &mut dx[pixel * groups..][..groups];
                    let (dy, w) = (&dy[p * groups..][..groups], &taps[tap * groups..][..groups]);
                    for c in 0..groups {
                        dx[c] += dy[c] * w[c];
                    }
                });
            }
            if let Some(dw) = dw {
                scratch.clear();
                scratch.resize(groups * patch, T::default());
                sizes.each_tap(|p, tap, pixel| {
                    let sum = &mut scratch[tap * groups..][..groups];
                    let (dy, x) = (&dy[p * groups..][..groups], &x[pixel * groups..][..groups]);
                    for c in 0..groups {
                        sum[c] += dy[c] * x[c];
                    }
                });
                for (c, dw) in dw.chunks_exact_mut(patch).enumerate() {
                    for (tap, dw) in dw.iter_mut().enumerate() {
                        *dw += scratch[tap * groups + c];
                    }
                }
            }
        } else if let Some(winograd) = sizes.winograd() {
            winograd.backward([x, w, dy], dx.as_deref_mut(), dw.as_deref_mut(), scratch);
        } else if let Some(lines) = sizes.lines() {
            lines.backward([x, w, dy], dx.as_deref_mut(), dw.as_deref_mut(), scratch);
        } else {
            for tile in sizes.tiles() {
                let rows = tile.len();
                let [patches, part] = pieces(scratch, [rows * patch, if groups > 1 { rows * out } else { 0 }]);
                let dy = &dy[tile.start * out * groups..tile.end * out * groups];
                for g in 0..groups {
                    let dy = if groups == 1 {
                        dy
                    } else {
                        for (part, dy) in part.chunks_exact_mut(out).zip(dy.chunks_exact(out * groups)) {
                            part.copy_from_slice(&dy[g * out..][..out]);
                        }
                        &*part
                    };
                    let dy = Mat::new(dy, rows, out);
                    let weights = g * out * patch..(g + 1) * out * patch;
                    if let Some(dw) = dw {
                        sizes.gather(x, g, tile.clone(), patches);
                        T::matmul(&mut dw[weights.clone()], dy.t(), Mat::new(patches, rows, patch), true);
                    }
                    if let Some(dx) = dx {
                        T::matmul(patches, dy, Mat::new(&w[weights], out, patch), false);
                        sizes.scatter(dx, g, tile.clone(), patches);
                    }
                }
            }
        }
    }
}

/// What a convolution multiplies its weights with, position by position.
pub(crate) struct Patches(ConvSizes);

impl Patches {
    /// Of a convolution between values of these channels-last shapes.
    pub(crate) fn new(conv: &Conv, [x, w, y]: [&[usize]; 3]) -> Self {
        Self(ConvSizes::of::<f32>(conv, &Call { inputs: &[], input_shapes: &[x, w], output_shapes: &[y] }))
    }

    /// The patches of a group at these positions, one after the other, each `[kernel…, channels]`.
    pub(crate) fn gather(&self, x: &[f32], group: usize, positions: &[u32], patches: &mut [f32]) {
        let windows = positions.iter().map(|p| self.0.window.tap(*p as usize));
        self.0.gather_at(x, group, windows, patches);
    }
}

/// A depthwise weight `[channels, taps]` as `[taps, channels]`.
fn by_tap<'a, T: Real>(w: &[T], channels: usize, taps: usize, scratch: &'a mut Vec<T>) -> &'a [T] {
    scratch.clear();
    scratch.extend((0..taps).flat_map(|tap| (0..channels).map(move |c| w[c * taps + tap])));
    scratch
}
