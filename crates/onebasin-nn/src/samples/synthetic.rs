//! Images that look like nothing, for comparing units where there are no data.

use onebasin_core::graph::Graph;
use onebasin_core::stream::Stream;
use rayon::prelude::*;

use super::{Arrays, Field, FieldKind};
use crate::error::Result;
use crate::memory::{self, machine_memory};

/// Waves that make an image.
const WAVES: usize = 60;

/// `count` images for every input of a graph: sums of waves of random direction and frequency, evenly in the logarithm of
/// the frequency, with random tints and a random ground. They have no target.
///
/// Networks see them with mean 0 and a standard deviation near 1, the range of normalised images, in 256 steps of 1/32.
/// Image `k` has the stream `synthetic/k` of the seed, of inputs after the first `synthetic/INPUT/k`. For inputs other than
/// `[N, channels, height, width]` numbers are standard normal, in the same steps.
///
/// Cost: for every pixel and channel a cosine or less a wave, of 60 waves.
///
/// # Errors
/// If the graph has no input, or one without numbers, or they take more memory than the machine has.
///
/// ```
/// use onebasin_nn::samples::synthetic;
/// use onebasin_nn::{Network, Samples};
/// let graph = Network::new("resnet20-ln:1", &[3, 32, 32], 10)?.graph()?;
/// let images = synthetic(&graph, 4, 0)?;
/// assert_eq!((images.len(), images.inputs()[0].len()), (4, 3072));
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn synthetic(graph: &Graph, count: usize, seed: u64) -> Result<Arrays> {
    made("synthetic images", "synthetic", graph, count, seed, &|stream, shape| match *shape {
        [channels, height, width] => waves(stream, [channels, height, width], WAVES),
        _ => (0..shape.iter().product()).map(|_| stream.normal()).collect(),
    })
}

/// `count` samples for every input of a graph, each of which `one` makes of a stream of its own and the shape of a sample.
/// The stream of sample `k` is `stream/k`, of inputs after the first `stream/INPUT/k`.
///
/// # Errors
/// As [`synthetic`].
pub(super) fn made(
    called: &str,
    stream: &str,
    graph: &Graph,
    count: usize,
    seed: u64,
    one: &(dyn Fn(&mut Stream, &[usize]) -> Vec<f64> + Sync),
) -> Result<Arrays> {
    let mut inputs = Vec::new();
    for (n, input) in graph.inputs().enumerate() {
        let (name, shape) = (graph.value(input).name.clone(), graph.shape(input).get(1..).unwrap_or_default().to_vec());
        let pixels: usize = shape.iter().product();
        let bytes = 4 * pixels as u128 * count as u128;
        memory::ensure(|| format!("making {count} inputs `{name}` up"), bytes, machine_memory())?;
        let mut images = vec![0.0; pixels * count];
        images.par_chunks_exact_mut(pixels.max(1)).enumerate().for_each(|(k, image)| {
            let stream = if n == 0 { format!("{stream}/{k}") } else { format!("{stream}/{name}/{k}") };
            let values = one(&mut Stream::new(seed, &stream), &shape);
            image.iter_mut().zip(values).for_each(|(seen, v)| *seen = stepped(v));
        });
        inputs.push((Field { name, shape, kind: FieldKind::Real }, images));
    }
    Arrays::new(called, inputs, None)
}

/// The step of 1/32 that a value lies on, of those that a byte counts.
fn stepped(value: f64) -> f32 {
    let byte = (127.5 + 32.0 * value).clamp(0.0, 255.0) as u8;
    ((f64::from(byte) - 127.5) / 32.0) as f32
}

/// One image `[channels, height, width]`: a ground of one colour, and so many waves `a cos(2π (f · position) + phase)` of it
/// and the tints of its channels.
pub(super) fn waves(stream: &mut Stream, [channels, height, width]: [usize; 3], count: usize) -> Vec<f64> {
    use std::f64::consts::TAU;
    let longest = height.max(width) as f64;
    let ground = stream.normal();
    let mut field: Vec<f64> =
        (0..channels).flat_map(|_| std::iter::repeat_n(0.8 * ground + 0.4 * stream.normal(), height * width)).collect();
    for _ in 0..count {
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
