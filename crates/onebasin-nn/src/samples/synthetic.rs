//! Images that look like nothing, for comparing units where there are no data.

use onebasin_core::stream::Stream;

use super::{Arrays, Field, FieldKind};
use crate::error::Result;

/// Waves that make an image.
const WAVES: usize = 60;

/// `count` images of this shape: sums of waves of random direction and frequency, evenly in the logarithm of the frequency,
/// with random tints and a random ground. They have no target.
///
/// Networks see them with mean 0 and a standard deviation near 1, the range of normalised images, in 256 steps of 1/32.
/// Image `k` has the stream `synthetic/k` of the seed. For shapes other than `[channels, height, width]` pixels are standard
/// normal.
///
/// # Errors
/// If an image would have no pixel.
pub fn synthetic(shape: &[usize], count: usize, seed: u64) -> Result<Arrays> {
    let pixels: usize = shape.iter().product();
    let mut images = vec![0.0; pixels * count];
    for (k, image) in images.chunks_exact_mut(pixels.max(1)).enumerate() {
        let mut stream = Stream::new(seed, &format!("synthetic/{k}"));
        let values = match *shape {
            [channels, height, width] => waves(&mut stream, [channels, height, width]),
            _ => (0..pixels).map(|_| stream.normal()).collect(),
        };
        image.iter_mut().zip(values).for_each(|(seen, v)| *seen = stepped(v));
    }
    let field = Field { name: "images".to_owned(), shape: shape.to_vec(), kind: FieldKind::Real };
    Arrays::new("synthetic images", vec![(field, images)], None)
}

/// The step of 1/32 that a value lies on, of those that a byte counts.
fn stepped(value: f64) -> f32 {
    let byte = (127.5 + 32.0 * value).clamp(0.0, 255.0) as u8;
    ((f64::from(byte) - 127.5) / 32.0) as f32
}

fn waves(stream: &mut Stream, [channels, height, width]: [usize; 3]) -> Vec<f64> {
    use std::f64::consts::TAU;
    let longest = height.max(width) as f64;
    let ground = stream.normal();
    let mut field: Vec<f64> =
        (0..channels).flat_map(|_| std::iter::repeat_n(0.8 * ground + 0.4 * stream.normal(), height * width)).collect();
    for _ in 0..WAVES {
        let frequency = 0.5 * libm::pow(longest, stream.uniform());
        let (direction, phase) = (TAU * stream.uniform(), TAU * stream.uniform());
        let amplitude = 0.2 * stream.normal();
        let tints: Vec<f64> = (0..channels).map(|_| amplitude * (1.0 + 0.3 * stream.normal())).collect();
        let (fy, fx) = (frequency * libm::sin(direction) / longest, frequency * libm::cos(direction) / longest);
        for pixel in 0..height * width {
            let (y, x) = ((pixel / width) as f64, (pixel % width) as f64);
            let wave = libm::cos(TAU * (fy * y + fx * x) + phase);
            tints.iter().enumerate().for_each(|(c, tint)| field[c * height * width + pixel] += tint * wave);
        }
    }
    field
}
