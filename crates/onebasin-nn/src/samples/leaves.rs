//! Images of things in front of each other, for networks of which there are no data.

use onebasin_core::graph::Graph;
use onebasin_core::stream::Stream;

use super::Arrays;
use super::picked::picked_from;
use super::synthetic::{made, waves};
use crate::error::Result;

/// Shapes that lie on an image.
const SHAPES: usize = 40;
/// Waves of an image's texture.
const TEXTURE: usize = 20;

/// `count` images of dead leaves for every input of a graph: discs and boxes of random colour that hide each other, as
/// things do. They have no target.
///
/// Formula: 40 shapes an image, one on top of the other: ellipses (60 %) and boxes of any direction, their long half-axis `r`
/// between 1/12 and 1/3 of the longer side with density `∝ 1/r³`, so that no size is special, the short one .4 to 1 of
/// it. What they leave bare is a texture of 20 waves as [`synthetic`](super::synthetic()) has them, which shows on shapes
/// too, .35 times; their colours lie around a shade of the image. Edges are softened by `[1 2 1] / 4` both ways.
///
/// Networks see them with mean 0 and a standard deviation near 1, the range of normalised images, in 256 steps of 1/32.
/// Image `k` has the stream `leaves/k` of the seed, of inputs after the first `leaves/INPUT/k`.
///
/// Inputs other than `[N, channels, height, width]` get standard normal numbers. Where these may be an image all the same
/// (`[N, height, width]`, or as many as one or three colours of a square, of eight pixels a side or more), every second
/// sample, drawn at random, is smooth: such numbers for every fourth pixel both ways, and straight lines between.
///
/// Cost: for every pixel and channel 20 cosines and 40 comparisons, or less.
///
/// # Errors
/// If the graph has no input, or one without numbers, or they take more memory than the machine has.
///
/// Source: Lee, Mumford and Huang 2001, "Occlusion Models for Natural Images".
///
/// ```
/// use onebasin_nn::samples::dead_leaves;
/// use onebasin_nn::{Network, Samples};
/// let graph = Network::new("resnet20-bn:1", &[3, 32, 32], 10)?.graph()?;
/// let images = dead_leaves(&graph, 4, 0)?;
/// assert_eq!((images.len(), images.inputs()[0].len()), (4, 3072));
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn dead_leaves(graph: &Graph, count: usize, seed: u64) -> Result<Arrays> {
    made("dead leaves", "leaves", graph, count, seed, &|stream, shape| match *shape {
        [channels, height, width] => leaves(stream, [channels, height, width]),
        [height, width] if height.min(width) >= 8 => noise(stream, [1, height, width]),
        [numbers] => match square(numbers) {
            Some(shape) => noise(stream, shape),
            None => white(stream, numbers),
        },
        _ => white(stream, shape.iter().product()),
    })
}

/// Whether every input of a graph is an image, `[N, channels, height, width]` of any numbers, so that [`dead_leaves`] makes
/// images of all.
///
/// ```
/// use onebasin_nn::Network;
/// use onebasin_nn::samples::of_images;
/// assert!(of_images(&Network::new("resnet20-bn:1", &[3, 32, 32], 10)?.graph()?));
/// assert!(!of_images(&Network::new("mlp:16x1", &[3072], 10)?.graph()?));
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn of_images(graph: &Graph) -> bool {
    let image = |shape: &[usize]| shape.len() == 4 && shape[2..].iter().all(|side| *side > 1);
    graph.inputs().all(|input| image(graph.shape(input)) && picked_from(graph, input).is_none())
}

/// Standard normal numbers.
fn white(stream: &mut Stream, numbers: usize) -> Vec<f64> {
    (0..numbers).map(|_| stream.normal()).collect()
}

/// Noise of what may be an image: smooth for every second stream.
fn noise(stream: &mut Stream, shape: [usize; 3]) -> Vec<f64> {
    if stream.below(2) == 0 { smooth(stream, shape) } else { white(stream, shape.iter().product()) }
}

/// The image that so many numbers may be: a square of at least eight pixels a side, of one channel or three.
fn square(numbers: usize) -> Option<[usize; 3]> {
    let side = |pixels: usize| (pixels as f64).sqrt().round() as usize;
    let of = |channels: usize| {
        let side = side(numbers / channels);
        (side >= 8 && channels * side * side == numbers).then_some([channels, side, side])
    };
    of(1).or_else(|| of(3))
}

/// Numbers for every fourth pixel, and straight lines between, with variance 1 on average over an image.
fn smooth(stream: &mut Stream, [channels, height, width]: [usize; 3]) -> Vec<f64> {
    /// Between knots of variance 1 a line has (1 − t)² + t², 11/16 on average of four, and so in the other direction.
    const SCALE: f64 = 16.0 / 11.0;
    let (rows, columns) = (height.div_ceil(4) + 1, width.div_ceil(4) + 1);
    let mut image = Vec::with_capacity(channels * height * width);
    for _ in 0..channels {
        let knots = white(stream, rows * columns);
        for y in 0..height {
            for x in 0..width {
                let (fy, fx) = ((y % 4) as f64 / 4.0, (x % 4) as f64 / 4.0);
                let at = |dy: usize, dx: usize| knots[(y / 4 + dy) * columns + x / 4 + dx];
                let line = |dy: usize| (1.0 - fx) * at(dy, 0) + fx * at(dy, 1);
                image.push(SCALE * ((1.0 - fy) * line(0) + fy * line(1)));
            }
        }
    }
    image
}

/// An ellipse or a box.
struct Leaf {
    centre: [f64; 2],
    direction: [f64; 2],
    half: [f64; 2],
    round: bool,
}

impl Leaf {
    fn drawn(stream: &mut Stream, height: usize, width: usize) -> Self {
        /// How far beyond the edges a leaf may have its centre, as a share of the longer side.
        const BEYOND: f64 = 0.125;
        let longest = height.max(width) as f64;
        // P(r) ∝ 1/r³ between the two: 1/r² is uniform.
        let [least, most] = [longest / 12.0, longest / 3.0].map(|r: f64| 1.0 / (r * r));
        let half = 1.0 / (most + (least - most) * stream.uniform()).sqrt();
        let at = |stream: &mut Stream, len: usize| {
            let beyond = BEYOND * longest;
            stream.range(-beyond, len as f64 + beyond)
        };
        let centre = [at(stream, height), at(stream, width)];
        let angle = std::f64::consts::PI * stream.uniform();
        let half = [half, half * stream.range(0.4, 1.0)];
        Self { centre, direction: [libm::sin(angle), libm::cos(angle)], half, round: stream.uniform() >= 0.4 }
    }

    /// Whether it hides this pixel.
    fn hides(&self, y: usize, x: usize) -> bool {
        let (dy, dx) = (y as f64 - self.centre[0], x as f64 - self.centre[1]);
        let [sin, cos] = self.direction;
        let (u, v) = ((dy * sin + dx * cos) / self.half[0], (dy * cos - dx * sin) / self.half[1]);
        if self.round { u * u + v * v < 1.0 } else { u.abs().max(v.abs()) < 1.0 }
    }
}

fn leaves(stream: &mut Stream, [channels, height, width]: [usize; 3]) -> Vec<f64> {
    /// How much of the texture is seen on a leaf.
    const SHEEN: f64 = 0.35;
    let pixels = height * width;
    let texture = waves(stream, [channels, height, width], TEXTURE);
    let ground = 0.35 * stream.normal();
    let mut image = texture.clone();
    for _ in 0..SHAPES {
        let leaf = Leaf::drawn(stream, height, width);
        let shade = ground + 0.9 * stream.normal();
        let colour: Vec<f64> = (0..channels).map(|_| shade + 0.35 * stream.normal()).collect();
        for pixel in (0..pixels).filter(|p| leaf.hides(p / width.max(1), p % width.max(1))) {
            for (c, colour) in colour.iter().enumerate() {
                let at = c * pixels + pixel;
                image[at] = colour + SHEEN * texture[at];
            }
        }
    }
    for plane in image.chunks_exact_mut(pixels.max(1)) {
        soften(plane, height, width);
        soften(plane, width, height);
    }
    image
}

/// Softens columns by `[1 2 1] / 4`, edges repeated, and exchanges rows and columns; twice is both ways.
fn soften(plane: &mut [f64], height: usize, width: usize) {
    let old = plane.to_vec();
    for y in 0..height {
        for x in 0..width {
            let at = |y: usize| old[y * width + x];
            plane[x * height + y] = 0.25 * at(y.saturating_sub(1)) + 0.5 * at(y) + 0.25 * at((y + 1).min(height - 1));
        }
    }
}
