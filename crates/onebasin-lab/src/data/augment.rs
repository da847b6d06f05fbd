//! Augmentation: the same picture elsewhere in its frame, in the mirror, nearer or further, turned.

use onebasin_core::stream::Stream;
use serde::{Deserialize, Serialize};

/// How training images are changed, anew in every epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// [`crop_and_flip`], as for the original ResNets.
    CropFlip,
    /// [`zoom_flip_rotate`], as in the paper.
    ZoomRotate,
}

impl Augment {
    /// Writes the changed image; see the function it stands for.
    pub fn apply(self, image: &[f32], shape: &[usize], stream: &mut Stream, out: &mut [f32]) {
        match self {
            Self::CropFlip => crop_and_flip(image, shape, stream, out),
            Self::ZoomRotate => zoom_flip_rotate(image, shape, stream, out),
        }
    }
}

/// Pixels of border a crop may reach into.
pub const BORDER: usize = 4;

/// Writes a random crop of a normalised image, mirrored left to right with probability 1/2.
///
/// The image gets a border of [`BORDER`] zeros, which are pixels of mean colour, and the window of its own size is put
/// anywhere in it: `out[c, y, x] = image[c, y + dy, x′ + dx]` with `dy`, `dx` uniform in `−4 ..= 4`, `x′ = x` or
/// `W − 1 − x`, zero outside. `image` and `out` are `[C, H, W]` or `[H, W]`. The stream gives `dy`, `dx`, then the
/// mirror. Source: He et al. 2016, section 4.2.
///
/// # Panics
/// If `image` and `out` are not of that shape.
pub fn crop_and_flip(image: &[f32], shape: &[usize], stream: &mut Stream, out: &mut [f32]) {
    let [.., height, width] = *shape else { panic!("an image has two axes at least, found shape {shape:?}") };
    let pixels: usize = shape.iter().product();
    assert_eq!([image.len(), out.len()], [pixels; 2], "an image of shape {shape:?}");
    let mut offset = || stream.below(2 * BORDER + 1) as isize - BORDER as isize;
    let (dy, dx) = (offset(), offset());
    let mirrored = stream.bits() >> 63 == 1;
    let from = |at: usize, by: isize, len: usize| at.checked_add_signed(by).filter(|&at| at < len);
    for (k, row) in out.chunks_exact_mut(width.max(1)).enumerate() {
        let (channel, y) = (k / height, k % height);
        let source = from(y, dy, height).map(|y| &image[(channel * height + y) * width..][..width]);
        for (x, pixel) in row.iter_mut().enumerate() {
            let x = from(if mirrored { width - 1 - x } else { x }, dx, width);
            *pixel = source.zip(x).map_or(0.0, |(row, x)| row[x]);
        }
    }
}

/// How much nearer or further [`zoom_flip_rotate`] looks, at most.
pub const ZOOM: [f64; 2] = [0.8, 1.2];
/// How far it turns to either side, at most, in degrees.
pub const TURN: f64 = 30.0;

/// Writes an image seen through a window of another size, in another place, mirrored with probability 1/2, and turned.
///
/// The window's side is the image's over a zoom, `log zoom` uniform between the logarithms of [`ZOOM`]; its centre is off
/// the image's by up to half the difference of the sides along either axis, uniform; the angle is uniform in ±[`TURN`]
/// degrees. A pixel at `(u, v)` from the middle of `out` shows the place `centre + R(angle) · (± u, v) / zoom`, bilinear
/// between the four pixels around it; beyond the border the nearest pixel of the image goes on. `image` and `out` are
/// `[C, H, W]` or `[H, W]`. The stream gives zoom, offsets down and right, mirror, angle.
///
/// Source: Ainsworth et al. 2023, A.3, whose code composes the same three changes of the `augmax` package; it rounds to
/// bytes afterwards, we do not.
///
/// # Panics
/// If `image` and `out` are not of that shape.
pub fn zoom_flip_rotate(image: &[f32], shape: &[usize], stream: &mut Stream, out: &mut [f32]) {
    let [.., height, width] = *shape else { panic!("an image has two axes at least, found shape {shape:?}") };
    let pixels: usize = shape.iter().product();
    assert_eq!([image.len(), out.len()], [pixels; 2], "an image of shape {shape:?}");
    let zoom = libm::exp(stream.range(libm::log(ZOOM[0]), libm::log(ZOOM[1])));
    let room = (1.0 / zoom - 1.0).abs() / 2.0;
    let mut offset = |len: usize| stream.range(-room, room) * len as f64;
    let (dy, dx) = (offset(height), offset(width));
    let mirror = if stream.bits() >> 63 == 1 { -1.0 } else { 1.0 };
    let angle = stream.range(-TURN, TURN).to_radians();
    let (sin, cos) = (libm::sin(angle) / zoom, libm::cos(angle) / zoom);
    let middle = [(height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0];
    let plane = height * width;
    for at in 0..plane {
        let (v, u) = ((at / width) as f64 - middle[0], mirror * ((at % width) as f64 - middle[1]));
        let y = Between::new(middle[0] + dy + sin * u + cos * v, height);
        let x = Between::new(middle[1] + dx + cos * u - sin * v, width);
        for (image, out) in image.chunks_exact(plane).zip(out.chunks_exact_mut(plane)) {
            let row = |y: usize| x.mix(image[y * width + x.low], image[y * width + x.high]);
            out[at] = y.mix(row(y.low), row(y.high));
        }
    }
}

/// A place between two neighbours on an axis.
struct Between {
    low: usize,
    high: usize,
    share: f32,
}

impl Between {
    /// The place, moved into the axis.
    fn new(at: f64, len: usize) -> Self {
        let at = at.clamp(0.0, len as f64 - 1.0);
        let low = at as usize;
        Self { low, high: (low + 1).min(len - 1), share: (at - low as f64) as f32 }
    }

    fn mix(&self, low: f32, high: f32) -> f32 {
        low + self.share * (high - low)
    }
}
