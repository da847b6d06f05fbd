//! Planted permutations: the residual stream that Algorithm 1 fails on (paper.md §7.7), with and without noise.

use onebasin_core::assignment::Duals;
use onebasin_core::matching::{MatchOptions, PortfolioOptions, Start, Weights, ascend, ascend_again, best_of};
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
use onebasin_core::{Params, Tensor};

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

/// How many of ten planted alignments coordinate ascent finds exactly from this start, through noise of half the weights' size.
fn recovered(start: Start, stream: usize, inner: usize, anchor: usize) -> usize {
    let finds = |seed: u64| {
        let (a, b, symmetry, truth) = planted(stream, inner, anchor, 0.5, seed);
        let weights = Weights::new(&symmetry, &a, &b).unwrap();
        let begin = start.alignment(&weights, seed).unwrap();
        let options = MatchOptions { seed, ..MatchOptions::default() };
        ascend(&weights, &begin, &options, &mut |_| true).unwrap().alignment == truth
    };
    (0..10).filter(|seed| finds(*seed)).count()
}

#[test]
fn signatures_recover_streams_that_the_identity_does_not() {
    for (stream, inner, anchor) in [(30, 50, 0), (30, 50, 3), (64, 64, 0)] {
        assert_eq!(recovered(Start::Signature, stream, inner, anchor), 10, "{stream}, {inner}, {anchor}");
        assert!(recovered(Start::Identity, stream, inner, anchor) < 3, "{stream}, {inner}, {anchor}");
    }
}

/// The table of docs/results/matching.md.
#[test]
#[allow(clippy::print_stdout, reason = "it prints a table")]
#[ignore = "minutes: cargo test -p onebasin-core --test all recovery -- --ignored --nocapture"]
fn the_portfolio_recovers_every_stream() {
    for noise in [0.0, 1.0] {
        for anchor in [0, 3, 27] {
            for (stream, inner) in [(30, 50), (64, 64), (100, 200)] {
                let (mut published, mut portfolio) = (0, 0);
                for seed in 0..30 {
                    let (a, b, symmetry, truth) = planted(stream, inner, anchor, noise, seed);
                    let weights = Weights::new(&symmetry, &a, &b).unwrap();
                    let ascent = MatchOptions { seed, ..MatchOptions::default() };
                    let identity = Alignment::identity(&symmetry);
                    let found = ascend(&weights, &identity, &ascent, &mut |_| true).unwrap();
                    published += usize::from(found.alignment == truth);
                    let options = PortfolioOptions { ascent, ..PortfolioOptions::default() };
                    let runs = best_of(&weights, &options, &mut |_| true).unwrap();
                    portfolio += usize::from(runs[0].found.alignment == truth);
                }
                println!("noise {noise} anchor {anchor} ({stream}, {inner}): {published} {portfolio}");
                assert_eq!(portfolio, 30, "noise {noise}, anchor {anchor}, ({stream}, {inner})");
            }
        }
    }
}

#[test]
fn a_moving_target_is_followed_from_the_prices_of_the_step_before() {
    let (from, symmetry) = residual(30, 40, 3, 0);
    let ([to, b], options) = ([1, 2].map(|seed| residual(30, 40, 3, seed).0), MatchOptions::default());
    let (mut current, mut duals) = (Alignment::identity(&symmetry), Vec::new());
    for step in 0..10 {
        let target = merge(&from, &to, 0.1 * f64::from(step), Interpolation::Lerp).unwrap();
        let weights = Weights::new(&symmetry, &target, &b).unwrap();
        let cold = ascend(&weights, &current, &options, &mut |_| true).unwrap();
        let warm = ascend_again(&weights, &current, &options, &mut duals, &mut |_| true).unwrap();
        assert_eq!(warm, cold, "step {step}");
        current = warm.alignment;
    }
    assert!(duals.len() == 3 && duals.iter().all(Option::is_some));
    let weights = Weights::new(&symmetry, &from, &b).unwrap();
    let mut others = vec![Some(Duals { row: vec![], col: vec![0.0; 7] }); 3];
    let refused = ascend_again(&weights, &current, &options, &mut others, &mut |_| true).unwrap_err().to_string();
    assert!(refused.contains("7 column prices"), "{refused}");
}
