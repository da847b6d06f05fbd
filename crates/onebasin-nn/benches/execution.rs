//! Times training steps and inference of built-in networks, a line of JSON each.
//!
//! `cargo bench -p onebasin-nn --bench execution -- NETWORK:BATCH…`; `benches/peers/execution.py` compares with PyTorch.
//! Images a second of wall time and of processor time on as many threads as rayon takes (`RAYON_NUM_THREADS`), over steps
//! of forward, cross-entropy, backward and momentum SGD, and over passes of evaluation.
#![allow(clippy::print_stdout, reason = "a benchmark talks to the terminal")]

use std::time::Instant;

use onebasin_core::stream::Stream;
use onebasin_nn::evaluate::evaluate;
use onebasin_nn::exec::{Batch, Lanes, Program};
use onebasin_nn::network::Network;
use onebasin_nn::optim::Optimizer;
use onebasin_nn::samples::{Arrays, Feeds, Field, FieldKind};
use onebasin_nn::task::Classes;

/// Seconds that each figure is measured for, at least.
const SECONDS: f64 = 5.0;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let usual = ["mlp:512x3:500", "resnet20-ln:1:100", "vgg16-ln:50"].map(str::to_owned).to_vec();
    for case in if asked.is_empty() { usual } else { asked } {
        let (name, batch) = case.rsplit_once(':').expect("NETWORK:BATCH");
        let batch: usize = batch.parse().expect("the batch is a number");
        let shape: &[usize] = if name.starts_with("mlp") { &[1, 28, 28] } else { &[3, 32, 32] };
        let network = Network::new(name, shape, 10).expect("a known network");
        let mut stream = Stream::new(0, "images");
        let count = 10 * batch;
        let pixel = |_| f32::from(stream.bits() as u8) / 255.0;
        let images = (0..count * shape.iter().product::<usize>()).map(pixel).collect();
        let labels = (0..count).map(|_| stream.below(10) as f32).collect();
        let field = |name: &str, shape: &[usize], kind| Field { name: name.to_owned(), shape: shape.to_vec(), kind };
        let images = vec![(field("images", shape, FieldKind::Real), images)];
        let labels = (field("labels", &[], FieldKind::Index { below: 10 }), labels);
        let data = Arrays::new("noise", images, Some(labels)).expect("sizes fit");
        let program = Program::new(network.graph().expect("built in")).expect("it runs");
        let feeds = Feeds::new(program.graph(), &data).expect("shapes fit");
        let params = network.init(0).expect("built in");

        let mut flat = program.flatten(&params).expect("its own weights");
        let mut lanes = Lanes::new(&program, batch, true).expect("any batch");
        let sgd = Optimizer::Sgd { momentum: 0.9, weight_decay: 1e-4 };
        let mut moments = vec![vec![0.0; flat.weights.len()]];
        let mut step = 0;
        let train = time(|| {
            let feed = feeds.feed(&data, step % 10 * batch);
            step += 1;
            let samples = Batch { samples: batch, target: feeds.target(), feed: &feed, task: &Classes };
            lanes.run(&program, &flat, &samples).expect("it runs");
            sgd.step(&mut flat.weights, &lanes.d_weights(batch), &mut moments, 1e-3, step as u64);
        });
        let inference = time(|| {
            evaluate(&program, &params, &data, &Classes).expect("it runs");
        });
        let rates = |seconds: &Seconds, samples: usize| {
            let samples = samples as f64;
            format!(r#"{{"wall": {:.1}, "cpu": {:.1}}}"#, samples / seconds.wall, samples / seconds.cpu)
        };
        let (train, inference) = (rates(&train, batch), rates(&inference, count));
        println!(r#"{{"network": {name:?}, "batch": {batch}, "train": {train}, "inference": {inference}}}"#);
    }
}

/// What runs take.
struct Seconds {
    /// Wall time, the median of runs.
    wall: f64,
    /// Processor time of all threads, the mean of runs.
    cpu: f64,
}

/// Times a run, after one to warm up.
fn time(mut run: impl FnMut()) -> Seconds {
    run();
    let (begin, busy, mut seconds) = (Instant::now(), processor_seconds(), Vec::new());
    while begin.elapsed().as_secs_f64() < SECONDS || seconds.len() < 5 {
        let start = Instant::now();
        run();
        seconds.push(start.elapsed().as_secs_f64());
    }
    let cpu = (processor_seconds() - busy) / seconds.len() as f64;
    seconds.sort_by(f64::total_cmp);
    Seconds { wall: seconds[seconds.len() / 2], cpu }
}

/// Processor time of this process so far, to hundredths, where the system says it in `/proc`; else not a number.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything; user and system time are fields 14 and 15.
    let fields = stat.rsplit(')').next().unwrap_or_default().split(' ').skip(12).take(2);
    fields.map(|ticks| ticks.parse::<f64>().unwrap_or(f64::NAN)).sum::<f64>() / 100.0
}
