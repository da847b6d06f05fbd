//! `digits`: a built-in data set of drawn digits, so that nothing need be downloaded.
//!
//! Every image is one digit drawn as strokes: a writing style is chosen, its control points are shaken, the whole is
//! sheared, rotated, scaled and shifted, drawn with a pen of random width and darkness, sometimes crossed by a stray
//! stroke, and speckled with noise. Image `i` of a split depends on its own named stream and on nothing else.

use onebasin_core::stream::Stream;
use rayon::prelude::*;

use super::{Data, Dataset};

/// Side of an image.
const SIDE: usize = 28;
const TRAIN: usize = 10_000;
const TEST: usize = 2_000;

pub(super) fn open() -> Data {
    Data::new("digits", split("train", TRAIN), split("test", TEST), Vec::new())
}

fn split(name: &str, count: usize) -> Dataset {
    let mut labels: Vec<u16> = (0..count).map(|i| (i % 10) as u16).collect();
    Stream::new(0, &format!("digits/{name}/labels")).shuffle(&mut labels);
    let draw = |(i, &label): (usize, &u16)| image(label, &mut Stream::new(0, &format!("digits/{name}/{i}")));
    let images: Vec<[u8; SIDE * SIDE]> = labels.par_iter().enumerate().map(draw).collect();
    Dataset::new(&[SIDE, SIDE], 10, images.concat(), labels).expect("as many images as labels")
}

type PenPoint = [f64; 2];

/// A run of points joined by straight lines; coordinates in [0, 1], y downwards.
type PenStroke = Vec<PenPoint>;

/// A quarter-degree-smooth arc of an ellipse, angles in turns, 0 to the right, clockwise on the page.
fn arc(centre: PenPoint, radius: PenPoint, from: f64, to: f64) -> PenStroke {
    const POINTS: usize = 14;
    let point = |k: usize| {
        let angle = std::f64::consts::TAU * (from + (to - from) * k as f64 / (POINTS - 1) as f64);
        [centre[0] + radius[0] * libm::cos(angle), centre[1] + radius[1] * libm::sin(angle)]
    };
    (0..POINTS).map(point).collect()
}

fn line(points: &[PenPoint]) -> PenStroke {
    points.to_vec()
}

fn joined(parts: &[PenStroke]) -> PenStroke {
    parts.concat()
}

/// The strokes of a digit in one of its styles.
fn strokes(digit: u16, style: usize) -> Vec<PenStroke> {
    match (digit, style % 2) {
        (0, 0) => vec![arc([0.5, 0.5], [0.26, 0.38], -0.25, 0.75)],
        (0, _) => vec![arc([0.5, 0.5], [0.2, 0.38], -0.2, 0.82)],
        (1, 0) => vec![line(&[[0.36, 0.28], [0.54, 0.12], [0.54, 0.88]])],
        (1, _) => vec![line(&[[0.5, 0.12], [0.5, 0.88]])],
        (2, 0) => {
            vec![joined(&[arc([0.5, 0.32], [0.23, 0.2], -0.5, 0.1), line(&[[0.26, 0.87], [0.78, 0.87]])])]
        }
        (2, _) => vec![joined(&[
            arc([0.48, 0.32], [0.22, 0.2], -0.45, 0.08),
            arc([0.36, 0.78], [0.09, 0.08], 0.2, 0.95),
            line(&[[0.55, 0.86], [0.8, 0.8]]),
        ])],
        (3, 0) => {
            vec![joined(&[arc([0.47, 0.31], [0.22, 0.19], -0.42, 0.22), arc([0.47, 0.68], [0.25, 0.2], -0.2, 0.42)])]
        }
        (3, _) => vec![joined(&[
            line(&[[0.28, 0.13], [0.72, 0.13], [0.48, 0.44]]),
            arc([0.46, 0.66], [0.25, 0.22], -0.22, 0.4),
        ])],
        (4, 0) => vec![line(&[[0.6, 0.12], [0.22, 0.62], [0.8, 0.62]]), line(&[[0.62, 0.4], [0.6, 0.9]])],
        (4, _) => vec![line(&[[0.3, 0.14], [0.26, 0.54], [0.74, 0.5]]), line(&[[0.7, 0.12], [0.66, 0.9]])],
        (5, 0) => vec![line(&[[0.72, 0.13], [0.34, 0.13], [0.31, 0.45]]), arc([0.47, 0.64], [0.25, 0.23], -0.36, 0.4)],
        (5, _) => vec![joined(&[
            line(&[[0.74, 0.12], [0.36, 0.16], [0.3, 0.48]]),
            arc([0.48, 0.66], [0.22, 0.21], -0.3, 0.38),
        ])],
        (6, 0) => {
            vec![joined(&[arc([0.62, 0.5], [0.34, 0.4], -0.3, -0.5), arc([0.49, 0.66], [0.21, 0.21], -0.5, 0.52)])]
        }
        (6, _) => vec![joined(&[line(&[[0.6, 0.1], [0.36, 0.4]]), arc([0.5, 0.66], [0.2, 0.21], -0.5, 0.55)])],
        (7, 0) => vec![line(&[[0.24, 0.14], [0.76, 0.14], [0.44, 0.88]])],
        (7, _) => vec![line(&[[0.24, 0.2], [0.76, 0.13], [0.46, 0.88]]), line(&[[0.38, 0.5], [0.74, 0.48]])],
        (8, 0) => vec![arc([0.5, 0.31], [0.19, 0.18], 0.25, 1.25), arc([0.5, 0.68], [0.23, 0.2], -0.25, 0.75)],
        (8, _) => vec![joined(&[
            arc([0.5, 0.3], [0.18, 0.18], -0.1, -0.75),
            arc([0.5, 0.69], [0.22, 0.2], -0.25, 0.75),
            arc([0.5, 0.3], [0.18, 0.18], 0.25, -0.05),
        ])],
        (9, 0) => vec![joined(&[arc([0.5, 0.33], [0.21, 0.21], 0.0, 1.0), line(&[[0.71, 0.34], [0.66, 0.88]])])],
        _ => vec![joined(&[arc([0.5, 0.34], [0.2, 0.21], -0.05, 0.95), arc([0.36, 0.5], [0.34, 0.4], -0.05, 0.22)])],
    }
}

fn image(digit: u16, stream: &mut Stream) -> [u8; SIDE * SIDE] {
    let mut strokes = strokes(digit, stream.below(2));
    shake(&mut strokes, stream);
    transform(&mut strokes, stream);
    if stream.uniform() < 0.25 {
        strokes.push(stray(stream));
    }
    let pen = stream.range(0.028, 0.062);
    let ink = stream.range(0.6, 1.0);
    let noise = stream.range(0.02, 0.2);
    let mut image = [0; SIDE * SIDE];
    for (at, pixel) in image.iter_mut().enumerate() {
        let centre = [((at % SIDE) as f64 + 0.5) / SIDE as f64, ((at / SIDE) as f64 + 0.5) / SIDE as f64];
        let distance = strokes.iter().map(|s| distance(centre, s)).fold(f64::INFINITY, f64::min);
        let edge = 0.6 / SIDE as f64;
        let cover = ((pen + edge - distance) / (2.0 * edge)).clamp(0.0, 1.0);
        *pixel = (255.0 * (ink * cover + noise * stream.normal()).clamp(0.0, 1.0)).round() as u8;
    }
    image
}

/// Moves every stroke by a slow random wave, so that lines bend and loops open or close.
fn shake(strokes: &mut [PenStroke], stream: &mut Stream) {
    let waves: [f64; 8] = std::array::from_fn(|_| stream.range(-1.0, 1.0));
    for point in strokes.iter_mut().flatten() {
        let [x, y] = *point;
        let wave = |k: usize| {
            let phase = std::f64::consts::PI * waves[k + 2];
            waves[k] * libm::sin(5.0 * y + phase) + waves[k + 1] * libm::sin(5.0 * x - phase)
        };
        *point = [x + 0.035 * wave(0) + 0.008 * stream.normal(), y + 0.035 * wave(4) + 0.008 * stream.normal()];
    }
}

/// Rotates, shears, scales and shifts the drawing about its middle.
fn transform(strokes: &mut [PenStroke], stream: &mut Stream) {
    let angle = stream.range(-0.35, 0.35);
    let shear = stream.range(-0.35, 0.35);
    let (sx, sy) = (stream.range(0.62, 1.1), stream.range(0.68, 1.02));
    let (dx, dy) = (stream.range(-0.1, 0.1), stream.range(-0.08, 0.08));
    let (cos, sin) = (libm::cos(angle), libm::sin(angle));
    for point in strokes.iter_mut().flatten() {
        let (x, y) = ((point[0] - 0.5) * sx, (point[1] - 0.5) * sy);
        let x = x - shear * y;
        *point = [0.5 + dx + cos * x - sin * y, 0.5 + dy + sin * x + cos * y];
    }
}

/// A short stroke that belongs to no digit.
fn stray(stream: &mut Stream) -> PenStroke {
    let from = [stream.uniform(), stream.uniform()];
    vec![from, [from[0] + stream.range(-0.22, 0.22), from[1] + stream.range(-0.22, 0.22)]]
}

/// Distance from a point to a stroke.
fn distance(p: PenPoint, stroke: &[PenPoint]) -> f64 {
    let segment = |pair: &[PenPoint]| {
        let ([ax, ay], [bx, by]) = (pair[0], pair[1]);
        let (dx, dy) = (bx - ax, by - ay);
        let length = dx * dx + dy * dy;
        let t = if length > 0.0 { (((p[0] - ax) * dx + (p[1] - ay) * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
        let (x, y) = (p[0] - ax - t * dx, p[1] - ay - t * dy);
        x * x + y * y
    };
    stroke.windows(2).map(segment).fold(f64::INFINITY, f64::min).sqrt()
}
