//! Convolutions of 3 × 3 in a quarter of the products: Winograd's minimal filtering.
//!
//! A tile of 4 × 4 results is `Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A`, with `g` the kernel and `d` the 6 × 6 pixels under it: 36
//! products in place of 144. Over channels each of the 36 places is a matrix product, so a convolution is two transforms and
//! 36 products. Transposing the same form gives its gradients: that of the image is the convolution with the kernel turned
//! round, that of the kernel `Gᵀ [(Bᵀ d B) ⊙ (A dY Aᵀ)] G`, summed over tiles.
//!
//! Transforms are sums with factors up to 8, so results carry a few more digits of rounding than a plain sum. Source: Lavin
//! and Gray 2016, Fast Algorithms for Convolutional Neural Networks, section 4.3 (F(4 × 4, 3 × 3), points 0, ±1, ±2, ∞).

mod lanes;

use std::ops::Range;

use onebasin_core::linalg::{Mat, vectorized};

use self::lanes::{LANES, PIXELS, TILE, fill, kernel_of, lane, lanes, pixels_of, put, results_of, spread_of, taps_of};
use super::window::Window;
use super::{Real, pieces};

/// Places of a transformed tile.
const PLACES: usize = PIXELS * PIXELS;
/// Channels below which transforms cost more than products save.
const FEWEST: usize = 32;
/// Tiles below which transforming the kernel costs more than products save.
const TILES: usize = 16;
/// Numbers of transformed tiles that are held at once.
const HELD: usize = 1 << 18;

/// Sizes of one convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Winograd {
    samples: usize,
    height: usize,
    width: usize,
    channels: usize,
    out: usize,
}

impl Winograd {
    /// If this is a convolution of 3 × 3 that keeps an image's size, wide enough, on an image that tiles cover without much
    /// waste.
    pub(super) fn of(window: &Window, channels: usize, out: usize) -> Option<Self> {
        let same = window.input == window.output && window.input[0] == 1 && window.before == [0, 1, 1];
        let plain = window.kernel == [1, 3, 3] && window.strides == [1; 3] && window.dilations == [1; 3];
        let wide = channels.min(out) >= FEWEST && channels.is_multiple_of(LANES) && out.is_multiple_of(LANES);
        let [_, height, width] = window.input;
        let found = Self { samples: window.samples, height, width, channels, out };
        let covered = found.tiles() * TILE * TILE;
        let close = 2 * covered <= 3 * window.samples * height * width;
        (same && plain && wide && close && found.tiles() >= TILES).then_some(found)
    }

    /// The convolution that takes the gradient of the result to that of the image.
    fn back(self) -> Self {
        Self { channels: self.out, out: self.channels, ..self }
    }

    /// Tiles in a row of an image.
    fn across(self) -> usize {
        self.width.div_ceil(TILE)
    }

    /// Tiles of an image.
    fn per_image(self) -> usize {
        self.height.div_ceil(TILE) * self.across()
    }

    /// Tiles of all images.
    fn tiles(self) -> usize {
        self.samples * self.per_image()
    }

    /// Runs of tiles whose transforms are held at once, of about the same length.
    fn blocks(self) -> impl Iterator<Item = Range<usize>> {
        let most = (HELD / (PLACES * (self.channels + self.out))).max(TILES);
        let len = self.tiles().div_ceil(self.tiles().div_ceil(most));
        (0..self.tiles()).step_by(len).map(move |start| start..(start + len).min(self.tiles()))
    }

    /// Numbers from one place to the next of so many transformed tiles. Places that lay a multiple of a page apart would
    /// share what little room the nearest cache has for such addresses.
    fn plane(count: usize, channels: usize) -> usize {
        let lanes = count * channels / LANES;
        (lanes | 1) * LANES
    }

    /// Tiles of the longest run.
    fn longest(self) -> usize {
        self.blocks().map(|b| b.len()).max().unwrap_or(0)
    }

    /// The pixel of the first result of a tile: sample, row, column.
    fn corner(self, tile: usize) -> [usize; 3] {
        let (sample, at) = (tile / self.per_image(), tile % self.per_image());
        [sample, at / self.across() * TILE, at % self.across() * TILE]
    }

    /// Where a pixel of an image of so many channels starts, if it is in the image.
    fn pixel(self, [sample, row, column]: [usize; 3], [down, right]: [usize; 2], channels: usize) -> Option<usize> {
        // One pixel of zeros lies above and left of the image.
        let (y, x) = ((row + down).checked_sub(1)?, (column + right).checked_sub(1)?);
        (y < self.height && x < self.width).then(|| ((sample * self.height + y) * self.width + x) * channels)
    }

    /// Where the pixels under a tile start, of an image of so many channels, as far as they are in the image.
    #[inline(always)]
    fn under(self, tile: usize, channels: usize) -> [[Option<usize>; PIXELS]; PIXELS] {
        let corner = self.corner(tile);
        let mut starts = [[None; PIXELS]; PIXELS];
        for (i, row) in starts.iter_mut().enumerate() {
            for (j, start) in row.iter_mut().enumerate() {
                *start = self.pixel(corner, [i, j], channels);
            }
        }
        starts
    }

    /// `Bᵀ d B` of a run of tiles: `[places, tiles, channels]`.
    #[inline(always)]
    fn pixels<T: Real>(self, x: &[T], tiles: Range<usize>, to: &mut [T]) {
        let (plane, channels) = (Self::plane(tiles.len(), self.channels), self.channels);
        for (t, tile) in tiles.enumerate() {
            let starts = self.under(tile, channels);
            for c in (0..channels).step_by(LANES) {
                let mut rows = [[[T::zero(); LANES]; PIXELS]; PIXELS];
                for (row, starts) in rows.iter_mut().zip(&starts) {
                    *row = pixels_of(&lanes(x, starts, c));
                }
                for j in 0..PIXELS {
                    let column = pixels_of(&[rows[0][j], rows[1][j], rows[2][j], rows[3][j], rows[4][j], rows[5][j]]);
                    for (i, value) in column.iter().enumerate() {
                        put(to, (i * PIXELS + j) * plane + t * channels + c, value);
                    }
                }
            }
        }
    }

    /// `Aᵀ m A` of a run of tiles, added to the image or written over it; `m` is `[places, tiles, out]`.
    #[inline(always)]
    fn results<T: Real>(self, m: &[T], tiles: Range<usize>, onto: bool, y: &mut [T]) {
        let (plane, out) = (Self::plane(tiles.len(), self.out), self.out);
        for (t, tile) in tiles.enumerate() {
            let starts = self.under(tile, out);
            for o in (0..out).step_by(LANES) {
                let mut rows = [[[T::zero(); LANES]; TILE]; PIXELS];
                for (i, row) in rows.iter_mut().enumerate() {
                    let mut places = [[T::zero(); LANES]; PIXELS];
                    for (j, place) in places.iter_mut().enumerate() {
                        *place = lane(m, (i * PIXELS + j) * plane + t * out + o);
                    }
                    *row = results_of(&places);
                }
                for j in 0..TILE {
                    let column = results_of(&[rows[0][j], rows[1][j], rows[2][j], rows[3][j], rows[4][j], rows[5][j]]);
                    for (i, value) in column.iter().enumerate() {
                        let Some(start) = starts[i + 1][j + 1] else { continue };
                        if onto {
                            let old = lane(y, start + o);
                            put(y, start + o, &fill(|k| old[k] + value[k]));
                        } else {
                            put(y, start + o, value);
                        }
                    }
                }
            }
        }
    }

    /// `A dY Aᵀ` of a run of tiles: `[places, tiles, out]`.
    #[inline(always)]
    fn spread<T: Real>(self, dy: &[T], tiles: Range<usize>, to: &mut [T]) {
        let (plane, out) = (Self::plane(tiles.len(), self.out), self.out);
        for (t, tile) in tiles.enumerate() {
            let starts = self.under(tile, out);
            for o in (0..out).step_by(LANES) {
                let mut rows = [[[T::zero(); LANES]; PIXELS]; TILE];
                for (row, starts) in rows.iter_mut().zip(&starts[1..]) {
                    let [_, from @ .., _] = &lanes(dy, starts, o);
                    *row = spread_of(from);
                }
                for j in 0..PIXELS {
                    let column = spread_of(&[rows[0][j], rows[1][j], rows[2][j], rows[3][j]]);
                    for (i, value) in column.iter().enumerate() {
                        put(to, (i * PIXELS + j) * plane + t * out + o, value);
                    }
                }
            }
        }
    }

    /// The convolution with a transformed kernel `[places, out, channels]`, added to `y` or written over it.
    fn convolve<T: Real>(self, x: &[T], kernel: &[T], onto: bool, y: &mut [T], [v, m]: [&mut [T]; 2]) {
        let Self { channels, out, .. } = self;
        for tiles in self.blocks() {
            let count = tiles.len();
            let [of_v, of_m] = [channels, out].map(|width| Self::plane(count, width));
            vectorized(
                #[inline(always)]
                || self.pixels(x, tiles.clone(), v),
            );
            let products = m.chunks_exact_mut(of_m).zip(v.chunks_exact(of_v));
            for ((m, v), u) in products.zip(kernel.chunks_exact(Self::plane(out, channels))) {
                let v = Mat::new(&v[..count * channels], count, channels);
                T::matmul(&mut m[..count * out], v, Mat::new(&u[..out * channels], out, channels).t(), false);
            }
            vectorized(
                #[inline(always)]
                || self.results(m, tiles.clone(), onto, y),
            );
        }
    }

    /// The result, added to `y` or written over it; `w` is `[out, 3, 3, channels]`.
    pub(super) fn forward<T: Real>(self, x: &[T], w: &[T], onto: bool, y: &mut [T], scratch: &mut Vec<T>) {
        let [of_v, of_m] = [self.channels, self.out].map(|width| PLACES * Self::plane(self.longest(), width));
        let of_kernel = PLACES * Self::plane(self.out, self.channels);
        let [kernel, v, m] = pieces(scratch, [of_kernel, of_v, of_m]);
        transform(w, [self.out, self.channels], kernel);
        self.convolve(x, kernel, onto, y, [v, m]);
    }

    /// Adds the gradients of the image and of the weight that are wanted.
    pub(super) fn backward<T: Real>(
        self,
        [x, w, dy]: [&[T]; 3],
        dx: Option<&mut [T]>,
        dw: Option<&mut [T]>,
        scratch: &mut Vec<T>,
    ) {
        let Self { channels, out, .. } = self;
        let of_kernel = Self::plane(out, channels);
        let [of_v, of_m] = [channels, out].map(|width| PLACES * Self::plane(self.longest(), width));
        let sizes = [9 * out * channels, PLACES * of_kernel, of_v, of_m];
        let [turned, kernel, v, m] = pieces(scratch, sizes);
        if let Some(dw) = dw {
            for (k, tiles) in self.blocks().enumerate() {
                let count = tiles.len();
                let [of_v, of_m] = [channels, out].map(|width| Self::plane(count, width));
                vectorized(
                    #[inline(always)]
                    || {
                        self.pixels(x, tiles.clone(), v);
                        self.spread(dy, tiles.clone(), m);
                    },
                );
                let products = m.chunks_exact(of_m).zip(v.chunks_exact(of_v));
                for ((m, v), sum) in products.zip(kernel.chunks_exact_mut(of_kernel)) {
                    let (m, v) =
                        (Mat::new(&m[..count * out], count, out), Mat::new(&v[..count * channels], count, channels));
                    T::matmul(&mut sum[..out * channels], m.t(), v, k > 0);
                }
            }
            gather(kernel, [out, channels], dw);
        }
        if let Some(dx) = dx {
            turn(w, [out, channels], turned);
            transform(turned, [channels, out], kernel);
            self.back().convolve(dy, kernel, true, dx, [m, v]);
        }
    }
}

/// `G g Gᵀ` of a kernel `[out, 3, 3, channels]`: `[places, out, channels]`.
fn transform<T: Real>(w: &[T], [out, channels]: [usize; 2], to: &mut [T]) {
    let plane = Winograd::plane(out, channels);
    vectorized(
        #[inline(always)]
        || {
            for (o, w) in w.chunks_exact(9 * channels).enumerate() {
                for c in (0..channels).step_by(LANES) {
                    let tap = |i: usize, j: usize| lane(w, (3 * i + j) * channels + c);
                    let mut rows = [[[T::zero(); LANES]; PIXELS]; 3];
                    for (i, row) in rows.iter_mut().enumerate() {
                        *row = kernel_of(&[tap(i, 0), tap(i, 1), tap(i, 2)]);
                    }
                    for j in 0..PIXELS {
                        let column = kernel_of(&[rows[0][j], rows[1][j], rows[2][j]]);
                        for (i, value) in column.iter().enumerate() {
                            put(to, (i * PIXELS + j) * plane + o * channels + c, value);
                        }
                    }
                }
            }
        },
    );
}

/// Adds `Gᵀ u G` of sums `[places, out, channels]` to the gradient of a kernel `[out, 3, 3, channels]`.
fn gather<T: Real>(u: &[T], [out, channels]: [usize; 2], dw: &mut [T]) {
    let plane = Winograd::plane(out, channels);
    vectorized(
        #[inline(always)]
        || {
            for (o, dw) in dw.chunks_exact_mut(9 * channels).enumerate() {
                for c in (0..channels).step_by(LANES) {
                    let mut rows = [[[T::zero(); LANES]; 3]; PIXELS];
                    for (i, row) in rows.iter_mut().enumerate() {
                        let mut places = [[T::zero(); LANES]; PIXELS];
                        for (j, place) in places.iter_mut().enumerate() {
                            *place = lane(u, (i * PIXELS + j) * plane + o * channels + c);
                        }
                        *row = taps_of(&places);
                    }
                    for j in 0..3 {
                        let column = taps_of(&[rows[0][j], rows[1][j], rows[2][j], rows[3][j], rows[4][j], rows[5][j]]);
                        for (i, value) in column.iter().enumerate() {
                            let at = (3 * i + j) * channels + c;
                            let old = lane(dw, at);
                            put(dw, at, &fill(|k| old[k] + value[k]));
                        }
                    }
                }
            }
        },
    );
}

/// A kernel `[out, 3, 3, channels]` turned round, inputs and outputs exchanged.
fn turn<T: Real>(w: &[T], [out, channels]: [usize; 2], to: &mut [T]) {
    for (o, w) in w.chunks_exact(9 * channels).enumerate() {
        for (tap, w) in w.chunks_exact(channels).enumerate() {
            for (c, w) in w.iter().enumerate() {
                to[(c * 9 + 8 - tap) * out + o] = *w;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onebasin_core::stream::Stream;

    /// Against the sum over taps, in f64; and in f32, where rounding is that of sums with factors up to 64.
    #[test]
    fn transforms_are_the_sum_over_taps() {
        for [samples, height, width, channels, out] in
            [[16, 4, 4, 32, 48], [3, 8, 12, 48, 32], [5, 7, 8, 32, 32], [1, 32, 32, 64, 32], [70, 6, 8, 32, 32]]
        {
            let (x, y) = ([samples, height, width, channels], [samples, height, width, out]);
            let window = Window::new(&x, &y, &[3, 3], &[1, 1], &[1, 1], &[1, 1]);
            let winograd = Winograd::of(&window, channels, out).unwrap();
            let mut stream = Stream::new(0, "winograd");
            let mut normal = |len: usize| (0..len).map(|_| stream.normal()).collect::<Vec<f64>>();
            let [image, w] = [normal(samples * height * width * channels), normal(9 * out * channels)];
            let dy = normal(samples * height * width * out);
            let mut expected = [vec![0.5; dy.len()], vec![0.25; image.len()], vec![0.125; w.len()]];
            for s in 0..samples {
                for (at, tap) in (0..height * width).flat_map(|at| (0..9).map(move |tap| (at, tap))) {
                    let (iy, ix) = ((at / width + tap / 3).wrapping_sub(1), (at % width + tap % 3).wrapping_sub(1));
                    if iy >= height || ix >= width {
                        continue;
                    }
                    let (from, to) = ((s * height + iy) * width + ix, s * height * width + at);
                    for o in 0..out {
                        for c in 0..channels {
                            let [xi, yi, wi] = [from * channels + c, to * out + o, (o * 9 + tap) * channels + c];
                            expected[0][yi] += image[xi] * w[wi];
                            expected[1][xi] += dy[yi] * w[wi];
                            expected[2][wi] += dy[yi] * image[xi];
                        }
                    }
                }
            }
            let mut scratch = Vec::new();
            let mut found = [vec![0.5; dy.len()], vec![0.25; image.len()], vec![0.125; w.len()]];
            winograd.forward(&image, &w, true, &mut found[0], &mut scratch);
            let [_, dx, dw] = &mut found;
            winograd.backward([&image, &w, &dy], Some(dx), Some(dw), &mut scratch);
            let error = |found: &[f64], expected: &[f64]| {
                let largest = expected.iter().fold(0.0_f64, |m, e| m.max(e.abs()));
                found.iter().zip(expected).fold(0.0_f64, |m, (f, e)| m.max((f - e).abs())) / largest
            };
            for (found, expected) in found.iter().zip(&expected) {
                assert!(error(found, expected) < 256.0 * f64::EPSILON, "{winograd:?}: {}", error(found, expected));
            }

            let single = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<f32>>();
            let (image, w) = (single(&image), single(&w));
            let mut y = vec![f32::NAN; dy.len()];
            winograd.forward(&image, &w, false, &mut y, &mut Vec::new());
            let y: Vec<f64> = y.iter().map(|v| f64::from(*v) + 0.5).collect();
            let (found, most) = (error(&y, &expected[0]), 256.0 * f64::from(f32::EPSILON));
            assert!(found < most, "{winograd:?} in f32: {found}");
        }
    }

    #[test]
    fn what_does_not_suit_is_refused() {
        let of = |x: [usize; 4], y: [usize; 4], stride: usize, before: usize| {
            Winograd::of(&Window::new(&x, &y, &[3, 3], &[stride; 2], &[1, 1], &[before; 2]), x[3], y[3]).is_some()
        };
        assert!(of([4, 8, 8, 32], [4, 8, 8, 32], 1, 1));
        assert!(!of([4, 8, 8, 32], [4, 4, 4, 32], 2, 1), "strides");
        assert!(!of([4, 8, 8, 32], [4, 6, 6, 32], 1, 0), "no border");
        assert!(!of([4, 8, 8, 16], [4, 8, 8, 32], 1, 1), "few channels");
        assert!(!of([4, 8, 8, 40], [4, 8, 8, 32], 1, 1), "channels that fill no lane");
        assert!(!of([99, 2, 2, 32], [99, 2, 2, 32], 1, 1), "tiles mostly empty");
        assert!(!of([1, 4, 4, 32], [1, 4, 4, 32], 1, 1), "few tiles");
    }
}
