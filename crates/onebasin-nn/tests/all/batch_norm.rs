//! BatchNorm over a whole batch, however it is cut.

use std::ops::Range;

use onebasin_core::graph::Graph;
use onebasin_core::graph::op::{Conv, Unary};
use onebasin_core::stream::Stream;
use onebasin_nn::exec::{Batch, BatchOutcome, Flat, Lanes, Program};
use onebasin_nn::ops::Real;
use onebasin_nn::task::Classes;
use onebasin_nn::{Arrays, Field, FieldKind, recompute_batch_norm};

const PIXELS: usize = 36;

/// Two convolutions with BatchNorm behind each, and a BatchNorm on a shortcut.
fn network() -> Graph {
    let mut g = Graph::new();
    let x = g.input("image", &[1, 1, 6, 6]).unwrap();
    let mut y = g.conv("conv1", x, 3, 3, Conv::square(1, 1), false).unwrap();
    y = g.batch_norm("norm1", y).unwrap();
    y = g.unary("silu", Unary::Silu, y).unwrap();
    let mut z = g.conv("conv2", y, 4, 3, Conv::square(2, 1), false).unwrap();
    z = g.batch_norm("norm2", z).unwrap();
    let short = g.conv("short", y, 4, 1, Conv::square(2, 0), false).unwrap();
    let short = g.batch_norm("short.norm", short).unwrap();
    y = g.add_values("sum", z, short).unwrap();
    y = g.unary("silu", Unary::Silu, y).unwrap();
    y = g.global_average("pool", y).unwrap();
    y = g.linear("fc", y, 3).unwrap();
    g.output(y);
    g
}

fn images(batch: usize) -> (Vec<f64>, Vec<f32>) {
    let mut stream = Stream::new(1, "images");
    ((0..batch * PIXELS).map(|_| stream.normal() + 0.5).collect(), (0..batch).map(|k| (k * k % 3) as f32).collect())
}

fn flat<T: Real>(program: &Program<T>) -> Flat<T> {
    let mut stream = Stream::new(2, "weights");
    let weights = (0..program.weight_count()).map(|_| T::of(0.5 * stream.normal())).collect();
    Flat { weights, statistics: vec![T::one(); program.statistic_count()] }
}

/// One batch: what it gave, and the gradient.
fn batch<T: Real>(program: &Program<T>, flat: &Flat<T>, batch: usize) -> (BatchOutcome, Vec<T>) {
    let (images, labels) = images(batch);
    let mut lanes = Lanes::new(program, batch, true).unwrap();
    let feed = |shard: Range<usize>, inputs: &mut [&mut [T]], to: &mut [f32]| {
        let images = &images[shard.start * PIXELS..shard.end * PIXELS];
        inputs[0].iter_mut().zip(images).for_each(|(i, x)| *i = T::of(*x));
        to.copy_from_slice(&labels[shard]);
        Ok(())
    };
    let found = lanes.run(program, flat, &Batch { samples: batch, target: 1, feed: &feed, task: &Classes }).unwrap();
    let mut sum = vec![T::zero(); program.weight_count()];
    for lane in lanes.d_weights(batch) {
        sum.iter_mut().zip(lane).for_each(|(s, d)| *s += *d);
    }
    (found, sum)
}

#[test]
fn gradients_through_the_statistics_agree_with_central_differences() {
    const STEP: f64 = 1e-5;
    let program = Program::<f64>::new(network()).unwrap();
    let mut flat = flat(&program);
    let (_, gradient) = batch(&program, &flat, 23);
    let scale = gradient.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    for k in 0..gradient.len() {
        let kept = flat.weights[k];
        let mut at = |w: f64| {
            flat.weights[k] = w;
            batch(&program, &flat, 23).0.outcome.loss / 23.0
        };
        let expected = (at(kept + STEP) - at(kept - STEP)) / (2.0 * STEP);
        flat.weights[k] = kept;
        assert!((gradient[k] - expected).abs() < 1e-6 * scale, "weight {k}: {} against {expected}", gradient[k]);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let program = Program::<f32>::new(network()).unwrap();
    let flat = flat(&program);
    for samples in [1, 7, 300, 1001] {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| batch(&program, &flat, samples))
        };
        let ((one, gradient_one), (three, gradient_three)) = (on(1), on(3));
        assert_eq!((one.outcome, one.moments), (three.outcome, three.moments));
        assert_eq!(gradient_one, gradient_three);
    }
}

/// The first BatchNorm's moments against the definition, over a batch of one shard and a batch of many.
#[test]
fn moments_are_those_of_the_whole_batch() {
    let program = Program::<f64>::new(network()).unwrap();
    let flat = flat(&program);
    for samples in [3, 1000] {
        let (found, _) = batch(&program, &flat, samples);
        let (images, _) = images(samples);
        let params = program.unflatten(&flat).unwrap();
        let w = params.get("conv1.weight").unwrap().to_f64().unwrap().into_owned();
        let (_, moments) = &found.moments[0];
        assert_eq!(found.moments.len(), 3);
        for c in 0..3 {
            let mut values = Vec::new();
            for image in images.chunks_exact(PIXELS) {
                for p in 0..PIXELS {
                    let tap = |k: usize| {
                        let (i, j) = ((p / 6 + k / 3).checked_sub(1)?, (p % 6 + k % 3).checked_sub(1)?);
                        (i < 6 && j < 6).then(|| w[c * 9 + k] * image[i * 6 + j])
                    };
                    values.push((0..9).filter_map(tap).sum::<f64>());
                }
            }
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
            assert_eq!(moments.count, n);
            assert!((moments.mean[c] - mean).abs() < 1e-12 * (1.0 + mean.abs()));
            assert!((moments.unbiased_variance()[c] - variance).abs() < 1e-12 * (1.0 + variance));
        }
    }
}

#[test]
fn recomputed_statistics_are_averages_over_batches() {
    let program = Program::<f32>::new(network()).unwrap();
    let params = program.unflatten(&flat(&program)).unwrap();
    let mut stream = Stream::new(5, "bytes");
    let images = (0..50 * PIXELS).map(|_| (0.5 + 0.16 * stream.normal()).clamp(0.0, 1.0) as f32).collect();
    let field = Field { name: "image".to_owned(), shape: vec![6, 6], kind: FieldKind::Real };
    let data = Arrays::new("noise", vec![(field, images)], None).unwrap();
    let whole = recompute_batch_norm(&program, &params, &data, 1000).unwrap();
    let value = |params: &onebasin_core::Params, name: &str| params.get(name).unwrap().to_f32().unwrap().into_owned();
    let halves = recompute_batch_norm(&program, &params, &data, 25).unwrap();
    assert_ne!(value(&whole, "norm1.running_mean"), value(&params, "norm1.running_mean"));
    for (name, tensor) in params.iter() {
        if !name.contains("running") {
            assert_eq!(Some(tensor), whole.get(name));
        }
    }
    // Means of equal halves average to the mean of the whole.
    for (h, w) in value(&halves, "norm1.running_mean").iter().zip(value(&whole, "norm1.running_mean")) {
        assert!((h - w).abs() < 16.0 * f32::EPSILON * (1.0 + w.abs()), "{h} against {w}");
    }
    assert_eq!(recompute_batch_norm(&program, &whole, &data, 1000).unwrap(), whole);
}
