//! Images of bytes in another size: bilinear, antialiased where they shrink, to the bytes that Pillow makes of them.

use std::ops::Range;

use super::{Dataset, Images};
use crate::error::{Error, Result};

/// Bits of a weight after the point.
const BITS: u32 = 22;

/// An image, or a part of one, of interleaved channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// From the first pixel to the end of the whole image.
    pub bytes: &'a [u8],
    /// Bytes from a pixel to the one below it.
    pub stride: usize,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

/// What one output position adds up: weights of the input positions from `start` on.
struct Taps {
    start: usize,
    weights: Vec<i32>,
}

/// The output positions `window` of an axis of `from` positions that becomes `to`.
///
/// Output position `i` has its centre at `c = (i + ½) from/to`; input position `k` has weight
/// `max(0, 1 − |k + ½ − c| / max(1, from/to))`, all divided by their sum and rounded to 22 bits.
fn taps(from: usize, to: usize, window: Range<usize>) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    let position = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let start = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let weight = |k: usize| (1.0 - ((k as f64 - centre + 0.5) * support.recip()).abs()).max(0.0);
        let weights: Vec<f64> = (start..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |w: &f64| (0.5 + w / sum * f64::from(1 << BITS)) as i32;
        Taps { start, weights: weights.iter().map(fixed).collect() }
    };
    window.map(position).collect()
}

/// The part `window` (rows, columns) of the image in size `to` (height, width), one channel after the other.
///
/// First rows are resampled and rounded to bytes, then columns.
///
/// Cost: for an image that shrinks by `s`, about `2 s` multiply-adds per byte and pass.
///
/// Source: Pillow's `ImagingResample` with `BILINEAR`, to the bit; from version 13 on it takes columns first where that is
/// less work.
pub(super) fn resample(image: View<'_>, to: [usize; 2], window: [Range<usize>; 2]) -> Vec<u8> {
    let View { bytes, stride, channels, height, width } = image;
    let [rows, columns] = window;
    let (down, across) = (taps(height, to[0], rows), taps(width, to[1], columns));
    let (Some(first), Some(last)) = (down.first(), down.last()) else { return Vec::new() };
    let met = first.start..last.start + last.weights.len();
    let mut out = Vec::with_capacity(channels * down.len() * across.len());
    let mut plane = vec![0; met.len() * across.len()];
    let mut sums = vec![0; across.len()];
    for channel in 0..channels {
        for (y, line) in met.clone().zip(plane.chunks_exact_mut(across.len().max(1))) {
            let row = &bytes[y * stride..][..width * channels];
            for (to, taps) in line.iter_mut().zip(&across) {
                let pixels = row[taps.start * channels + channel..].iter().step_by(channels);
                *to = byte(taps.weights.iter().zip(pixels).map(|(w, &p)| w * i32::from(p)).sum());
            }
        }
        for taps in &down {
            sums.fill(0);
            for (w, line) in
                taps.weights.iter().zip(plane[(taps.start - met.start) * across.len()..].chunks_exact(across.len()))
            {
                sums.iter_mut().zip(line).for_each(|(sum, &p)| *sum += w * i32::from(p));
            }
            out.extend(sums.iter().map(|&sum| byte(sum)));
        }
    }
    out
}

/// Rounds a sum of weighted bytes.
fn byte(sum: i32) -> u8 {
    ((sum + (1 << (BITS - 1))) >> BITS).clamp(0, 255) as u8
}

impl Dataset {
    /// The same images in another size: bilinear with pixel centres at halves, antialiased where they shrink, rounded to
    /// bytes after each axis, as Pillow does. Images are `[H, W]` or `[C, H, W]`.
    ///
    /// # Errors
    /// If images have other axes or are in files, or the result would have no byte or more than 8 GiB.
    pub fn resized(&self, height: usize, width: usize) -> Result<Self> {
        /// Bytes of a result.
        const MAX: usize = 1 << 33;
        let fail = |why: String| Err(Error::Data { spec: self.name.clone(), why });
        let (Images::Held(images), [before @ .., from_height, from_width]) = (&self.images, self.shape()) else {
            return fail("only images in memory, of two axes at least, can be resized".to_owned());
        };
        let (from_height, from_width) = (*from_height, *from_width);
        let planes = self.len() * before.iter().product::<usize>();
        let pixels = height.checked_mul(width).filter(|&p| p > 0);
        let Some(len) = pixels.and_then(|p| p.checked_mul(planes)).filter(|&len| len <= MAX) else {
            return fail(format!(
                "{planes} planes of {height} × {width} are none, or more than {MAX} bytes; give another size"
            ));
        };
        let mut resized = Vec::with_capacity(len);
        for bytes in images.chunks_exact(from_height * from_width) {
            let view = View { bytes, stride: from_width, channels: 1, height: from_height, width: from_width };
            resized.extend(resample(view, [height, width], [0..height, 0..width]));
        }
        let shape = [before, &[height, width]].concat();
        Ok(Self::of(&shape, self.classes, Images::Held(resized), self.labels.clone(), self.values.clone()))
    }
}
