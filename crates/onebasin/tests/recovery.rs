//! Planted permutations: the residual stream that Algorithm 1 fails on (paper.md §7.7), with and without noise.

use onebasin::matching::{MatchOptions, Order, Start, Weights, ascend};
use onebasin::stream::Stream;
use onebasin::symmetry::{Alignment, Symmetry, SymmetrySpec};
use onebasin::{Params, Tensor};

/// Two residual blocks on a stream: Gaussian weights, a fixed input of `anchor` entries into the stream (none if 0).
fn residual(stream: usize, inner: usize, anchor: usize, seed: u64) -> (Params, Symmetry) {
    let mut params = Params::new();
    let mut patterns = Vec::new();
    let mut add = |name: String, shape: [usize; 2], pattern: &str| {
        let mut draw = Stream::new(seed, &name);
        let values = (0..shape[0] * shape[1]).map(|_| draw.normal() as f32).collect();
        params.insert(&name, Tensor::from_f32(&shape, values).unwrap());
        patterns.push((name, pattern.to_owned()));
    };
    if anchor > 0 {
        add("input".to_owned(), [stream, anchor], "s .");
    }
    for block in 1..=2 {
        add(format!("block{block}.in"), [inner, stream], &format!("h{block} s"));
        add(format!("block{block}.out"), [stream, inner], &format!("s h{block}"));
    }
    let spec = SymmetrySpec::from_patterns(patterns.iter().map(|(n, p)| (n.as_str(), p.as_str()))).unwrap();
    let symmetry = Symmetry::resolve(&spec, &params).unwrap();
    (params, symmetry)
}

/// A, and B = a random renumbering of A plus Gaussian noise.
fn planted(stream: usize, inner: usize, anchor: usize, noise: f64, seed: u64) -> (Params, Params, Symmetry, Alignment) {
    let (a, symmetry) = residual(stream, inner, anchor, seed);
    let plant = Alignment::random(&symmetry, &mut Stream::new(seed, "plant"));
    let b = plant.apply(&symmetry, &a).unwrap();
    let noisy = |(name, t): (&str, &Tensor)| {
        let mut draw = Stream::new(seed, &format!("noise/{name}"));
        let values = t.to_f32().unwrap().iter().map(|v| v + (noise * draw.normal()) as f32).collect();
        (name.to_owned(), Tensor::from_f32(t.shape(), values).unwrap())
    };
    let b = b.iter().map(noisy).collect();
    let truth = plant.inverse(&symmetry);
    (a, b, symmetry, truth)
}

#[test]
fn table() {
    for anchor in [0, 3] {
        for (stream, inner) in [(30, 50), (100, 200)] {
            let mut counts = vec![0; 6];
            for seed in 0..30 {
                let (a, b, symmetry, truth) = planted(stream, inner, anchor, 1.0, seed);
                let w = Weights::new(&symmetry, &a, &b).unwrap();
                let begin = Start::Signature.alignment(&w, seed).unwrap();
                let mut best: Option<onebasin::matching::Match> = None;
                for k in 0..6 {
                    let options = MatchOptions { seed: seed + 1000 * k, max_sweeps: 100, order: Order::Random };
                    let found = ascend(&w, &begin, &options, &mut |_| true).unwrap();
                    if best.as_ref().is_none_or(|b| found.objective > b.objective) {
                        best = Some(found);
                    }
                    counts[k as usize] += usize::from(best.as_ref().unwrap().alignment == truth);
                }
            }
            println!("anchor {anchor} {stream} {inner}: {counts:?}");
        }
    }
}
