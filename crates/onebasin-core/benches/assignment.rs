//! Times assignment on matrices in files (square, row-major, little-endian f64), a line of JSON each.
//!
//! `cargo bench -p onebasin --bench assignment -- FILE[,EARLIER]…`; a warm start has the prices of the same matrix, or of an
//! earlier one. `benches/peers/assignment.py` writes files and compares with SciPy. Without files it runs on Gaussian
//! matrices of its own.
#![allow(clippy::print_stdout, reason = "a benchmark talks to the terminal")]

use std::time::Instant;

use onebasin_core::assignment::{Assignment, Duals, Similarity, assign};
use onebasin_core::stream::Stream;

/// Runs of which the median counts; fewer where one takes longer than a second.
const RUNS: usize = 7;

fn main() {
    let files: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if files.is_empty() {
        for n in [512, 1024, 2048] {
            let mut stream = Stream::new(n as u64, "bench");
            let matrix = (0..n * n).map(|_| stream.normal()).collect();
            time(&format!("gauss {n}"), &Similarity::new(n, matrix).expect("a finite square matrix"), None);
        }
    }
    for file in files {
        let (file, earlier) =
            file.split_once(',').map_or((file.as_str(), None), |(file, earlier)| (file, Some(earlier)));
        let earlier = earlier.map(|earlier| assign(&read(earlier), None).expect("sizes fit"));
        time(file, &read(file), earlier.as_ref());
    }
}

fn read(file: &str) -> Similarity {
    let bytes = std::fs::read(file).expect("the file is there");
    let matrix: Vec<f64> = bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
    Similarity::new(matrix.len().isqrt(), matrix).expect("a finite square matrix")
}

fn time(name: &str, similarity: &Similarity, earlier: Option<&Assignment>) {
    let run = |warm: Option<&Duals>| {
        let start = Instant::now();
        let found = assign(similarity, warm).expect("sizes fit");
        (start.elapsed().as_secs_f64(), found)
    };
    let (first, found) = run(None);
    let median = |warm: Option<&Duals>| {
        let mut seconds: Vec<f64> = (0..if first > 1.0 { 3 } else { RUNS }).map(|_| run(warm).0).collect();
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    };
    let from = earlier.unwrap_or(&found);
    let (cold, warm) = (median(None), median(Some(&from.duals)));
    let changed = (0..similarity.n()).filter(|i| from.perm.at(*i) != found.perm.at(*i)).count();
    println!(
        r#"{{"name": {name:?}, "n": {}, "cold": {cold}, "warm": {warm}, "changed": {changed}, "value": {}}}"#,
        similarity.n(),
        found.value
    );
}
