//! Augmentation: the same picture elsewhere in its frame, or in the mirror.

use onebasin::stream::Stream;

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
