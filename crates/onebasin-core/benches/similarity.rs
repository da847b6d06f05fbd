//! Times weight similarities against the products alone: `cargo bench -p onebasin --bench similarity [-- --threads N]`.
//!
//! The peak is what the same kernel reaches on one large product of dense matrices in memory, by as many threads. Every
//! line is a tensor with a group on the axis named, everything else permuted, in one element type; rates count the
//! `2 n · numel` flops of the product and the time of everything, gathering included. Medians of 7.
#![allow(clippy::print_stdout, reason = "a benchmark talks to the terminal")]

use std::time::Instant;

use onebasin_core::linalg::{Mat, Scalar};
use onebasin_core::matching::weight_grams;
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
use onebasin_core::{DType, Params, Tensor};
use rayon::prelude::*;

const RUNS: usize = 7;

/// Name, shape, and the group of every axis.
const TENSORS: [(&str, &[usize], &str); 8] = [
    ("linear", &[512, 512], "x y"),
    ("linear", &[1024, 1024], "x y"),
    ("linear", &[2048, 2048], "x y"),
    ("linear", &[4096, 2048], "x y"),
    ("3 × 3", &[512, 512, 3, 3], "x y . ."),
    ("3 × 3", &[512, 512, 3, 3], "y x . ."),
    ("3 × 3", &[1024, 512, 3, 3], "x y . ."),
    ("3 × 3", &[512, 1024, 3, 3], "y x . ."),
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let threads = args.iter().position(|a| a == "--threads").map_or(1, |k| args[k + 1].parse().expect("a number"));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("no pool yet");
    let n = 2048;
    let (a, b, mut c) = (vec![0.5; n * n], vec![0.5; n * n], vec![0.5; n * n]);
    let peak = median(|| {
        let start = Instant::now();
        c.par_chunks_mut(n * n / 8).zip(a.par_chunks(n * n / 8)).for_each(|(c, a)| {
            f32::matmul(c, Mat::new(a, n / 8, n), Mat::new(&b, n, n).t(), false);
        });
        2.0 * (n as f64).powi(3) / start.elapsed().as_secs_f64()
    });
    println!(
        "{threads} thread(s), peak {:.0} GFLOP/s\n\n| tensor | group | f32 | bf16 | f16 |\n|---|---|---|---|---|",
        peak / 1e9
    );
    for (name, shape, pattern) in TENSORS {
        let spec = SymmetrySpec::from_patterns([("w", pattern)]).expect("patterns of this file");
        print!("| {name}, {shape:?} | axis {} |", pattern.split(' ').position(|g| g == "x").expect("named"));
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let draw = |salt: &str| {
                let mut stream = Stream::new(0, salt);
                let values = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
                let tensor = Tensor::from_f32(shape, values).and_then(|t| t.cast(dtype)).expect("a float type");
                Params::from_iter([("w".to_owned(), tensor)])
            };
            let (a, b) = (draw("a"), draw("b"));
            let symmetry = Symmetry::resolve(&spec, &a).expect("the patterns fit");
            let root = symmetry.roots().into_iter().find(|r| symmetry.group(*r).name == "x").expect("named");
            let current = Alignment::random(&symmetry, &mut Stream::new(0, "current"));
            let n = symmetry.group(root).size;
            let flops = 2.0 * n as f64 * shape.iter().product::<usize>() as f64;
            let rate = median(|| {
                let start = Instant::now();
                weight_grams(&symmetry, root, &current, &a, &b).expect("the networks fit");
                flops / start.elapsed().as_secs_f64()
            });
            print!(" {:.0} ({:.0} %) |", rate / 1e9, 100.0 * rate / peak);
        }
        println!();
    }
}

fn median(mut run: impl FnMut() -> f64) -> f64 {
    let mut found: Vec<f64> = (0..RUNS).map(|_| run()).collect();
    found.sort_by(f64::total_cmp);
    found[RUNS / 2]
}
