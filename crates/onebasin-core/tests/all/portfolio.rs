//! Denoising, blends, the portfolio, the diagnosis, the greedy baseline, λ by group.

use std::collections::BTreeMap;

use onebasin_core::matching::denoise;
use onebasin_core::matching::{
    Blend, Fixed, Kinship, MatchOptions, Order, PortfolioOptions, Source, Start, Weights, ascend, best_of, diagnose,
    greedy,
};
use onebasin_core::merge::{Interpolation, merge, merge_by_group};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, GroupId, Symmetry, SymmetrySpec};
use onebasin_core::{Params, Tensor};

/// A multilayer perceptron of these sizes: `signal` times a product of low rank plus normal noise.
fn mlp(sizes: &[usize], signal: f64, seed: u64) -> (Params, Symmetry) {
    let (mut params, mut patterns) = (Params::new(), Vec::new());
    let last = sizes.len() - 1;
    let side = |l: usize| if l == 0 || l == last { ".".to_owned() } else { format!("h{l}") };
    for l in 1..=last {
        let name = format!("fc{l}.weight");
        let mut draw = Stream::new(seed, &name);
        let (rows, cols, rank) = (sizes[l], sizes[l - 1], 3);
        let factor = |draw: &mut Stream, n: usize| (0..n * rank).map(|_| draw.normal()).collect::<Vec<f64>>();
        let (u, v) = (factor(&mut draw, rows), factor(&mut draw, cols));
        let low = |i: usize, j: usize| (0..rank).map(|r| u[i * rank + r] * v[j * rank + r]).sum::<f64>();
        let values: Vec<f64> = (0..rows * cols).map(|at| signal * low(at / cols, at % cols) + draw.normal()).collect();
        params.insert(&name, Tensor::from_f64(&[rows, cols], values).unwrap());
        patterns.push((name, format!("{} {}", side(l), side(l - 1))));
    }
    let spec = SymmetrySpec::from_patterns(patterns.iter().map(|(n, p)| (n.as_str(), p.as_str()))).unwrap();
    let symmetry = Symmetry::resolve(&spec, &params).unwrap();
    (params, symmetry)
}

fn random(symmetry: &Symmetry, seed: u64) -> Alignment {
    Alignment::random(symmetry, &mut Stream::new(seed, "plant"))
}

fn noisy(params: &Params, size: f64, seed: u64) -> Params {
    let one = |(name, t): (&str, &Tensor)| {
        let mut draw = Stream::new(seed, &format!("noise/{name}"));
        let values = t.to_f64().unwrap().iter().map(|v| v + size * draw.normal()).collect();
        (name.to_owned(), Tensor::from_f64(t.shape(), values).unwrap())
    };
    params.iter().map(one).collect()
}

#[test]
fn denoising_keeps_the_signal_and_commutes_with_permutations() {
    let (params, symmetry) = mlp(&[120, 100, 90, 5], 1.0, 0);
    let (clean, ranks) = denoise(&symmetry, &params).unwrap();
    // The last layer has too few rows to tell noise from signal.
    let kept: Vec<(&str, usize, usize)> = ranks.iter().map(|r| (r.tensor.as_str(), r.kept, r.of)).collect();
    assert_eq!(kept, [("fc1.weight", 3, 100), ("fc2.weight", 3, 90)]);
    assert_eq!(clean.get("fc3.weight"), params.get("fc3.weight"));
    let (noise, _) = mlp(&[120, 100, 90, 5], 0.0, 0);
    assert!(denoise(&symmetry, &noise).unwrap().1.iter().all(|r| r.kept <= 1));

    let plant = random(&symmetry, 1);
    let one = plant.apply(&symmetry, &clean).unwrap();
    let other = denoise(&symmetry, &plant.apply(&symmetry, &params).unwrap()).unwrap().0;
    for (name, t) in one.iter() {
        let (x, y) = (t.to_f64().unwrap(), other.get(name).unwrap().to_f64().unwrap());
        let scale = x.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        assert!(x.iter().zip(y.iter()).all(|(x, y)| (x - y).abs() <= 1e-10 * scale), "{name}");
    }
}

#[test]
fn denoising_a_constant_or_empty_network_fails_nowhere() {
    let (params, symmetry) = mlp(&[70, 70, 70], 0.0, 0);
    let still =
        |(name, t): (&str, &Tensor)| (name.to_owned(), Tensor::from_f64(t.shape(), vec![0.0; t.len()]).unwrap());
    let zero: Params = params.iter().map(still).collect();
    assert_eq!(denoise(&symmetry, &zero).unwrap().0, zero);
}

#[test]
fn the_portfolio_is_never_worse_than_any_of_its_runs() {
    let (a, symmetry) = mlp(&[20, 30, 30, 5], 0.3, 2);
    let (b, _) = mlp(&[20, 30, 30, 5], 0.3, 3);
    let weights = Weights::new(&symmetry, &a, &b).unwrap();
    let runs = best_of(&weights, &PortfolioOptions::default(), &mut |_| true).unwrap();
    assert_eq!(runs.len(), 7);
    let published = ascend(&weights, &Alignment::identity(&symmetry), &MatchOptions::default(), &mut |_| true).unwrap();
    for run in &runs {
        assert!(run.found.objective <= runs[0].found.objective);
        assert_eq!(run.found.objective, weights.objective(&run.found.alignment).unwrap());
    }
    assert!(runs[0].found.objective >= published.objective);
    let stopped = best_of(&weights, &PortfolioOptions::default(), &mut |_| false).unwrap();
    assert_eq!(stopped.len(), 1);
}

#[test]
fn forward_order_follows_the_names_given() {
    let (a, symmetry) = mlp(&[4, 5, 6, 7, 2], 0.0, 0);
    let weights = Weights::new(&symmetry, &a, &a).unwrap().in_order(["fc3.weight", "fc1.weight"]);
    let names: Vec<&str> = weights.roots().iter().map(|r| symmetry.group(r.id).name.as_str()).collect();
    assert_eq!(names, ["h2", "h3", "h1"]);
    for order in [Order::Forward, Order::Alternating, Order::Random] {
        let b = random(&symmetry, 3).apply(&symmetry, &a).unwrap();
        let weights = Weights::new(&symmetry, &a, &b).unwrap();
        let options = MatchOptions { order, ..MatchOptions::default() };
        let start = Start::Signature.alignment(&weights, 0).unwrap();
        assert_eq!(
            ascend(&weights, &start, &options, &mut |_| true).unwrap().alignment.apply(&symmetry, &b).unwrap(),
            a
        );
    }
}

#[test]
fn pairs_are_told_apart() {
    let (a, symmetry) = mlp(&[30, 40, 40, 10], 0.5, 4);
    let kind = |b: &Params| {
        let weights = Weights::new(&symmetry, &a, b).unwrap();
        let found = best_of(&weights, &PortfolioOptions::default(), &mut |_| true).unwrap().remove(0).found;
        diagnose(&weights, &found.alignment, 0).unwrap()
    };
    let tuned = kind(&noisy(&a, 0.3, 5));
    assert_eq!(tuned.kind, Kinship::SameAncestor, "{tuned}");
    assert_eq!(tuned.moved, 0.0);
    let renumbered = kind(&noisy(&random(&symmetry, 6).apply(&symmetry, &a).unwrap(), 0.5, 7));
    assert_eq!(renumbered.kind, Kinship::Alignable, "{renumbered}");
    assert!(renumbered.matched > 0.8 && renumbered.identity < 0.3, "{renumbered}");
    let strangers = kind(&mlp(&[30, 40, 40, 10], 0.0, 8).0);
    assert_eq!(strangers.kind, Kinship::Unrelated, "{strangers}");
}

#[test]
fn greedy_fails_where_algorithm_1_succeeds() {
    // Ainsworth et al. 2023, A.7.2.
    let epsilon = 0.1;
    let net = |out: [f64; 2], middle: [f64; 4], input: [f64; 2]| -> Params {
        let tensors =
            [("w1", vec![2, 1], input.to_vec()), ("w2", vec![2, 2], middle.to_vec()), ("w3", vec![1, 2], out.to_vec())];
        tensors.into_iter().map(|(n, s, v)| (n.to_owned(), Tensor::from_f64(&s, v).unwrap())).collect()
    };
    let a = net([1.0, 0.0], [1.0, 0.0, 0.0, epsilon], [1.0, 1.0 + epsilon]);
    let b = net([0.0, 1.0], [0.0, 0.0, 0.0, 1.0], [1.0, 1.0 + epsilon]);
    let spec = SymmetrySpec::from_patterns([("w1", "p ."), ("w2", "q p"), ("w3", ". q")]).unwrap();
    let symmetry = Symmetry::resolve(&spec, &a).unwrap();
    let weights = Weights::new(&symmetry, &a, &b).unwrap();
    let once = weights.objective(&greedy(&weights).unwrap()).unwrap();
    let runs = best_of(&weights, &PortfolioOptions::default(), &mut |_| true).unwrap();
    assert!(runs[0].found.objective > once, "{} {once}", runs[0].found.objective);
}

#[test]
fn greedy_recovers_a_planted_perceptron() {
    let (a, symmetry) = mlp(&[30, 20, 20, 5], 0.0, 9);
    let b = random(&symmetry, 10).apply(&symmetry, &a).unwrap();
    let weights = Weights::new(&symmetry, &a, &b).unwrap();
    assert_eq!(greedy(&weights).unwrap().apply(&symmetry, &b).unwrap(), a);
}

#[test]
fn a_blend_lies_between_its_parts() {
    let (a, symmetry) = mlp(&[10, 8, 8, 3], 0.0, 11);
    let (b, _) = mlp(&[10, 8, 8, 3], 0.0, 12);
    let weights = Weights::new(&symmetry, &a, &b).unwrap();
    let identity = Alignment::identity(&symmetry);
    let grams = symmetry.roots().into_iter().map(|r| (r, weights.grams(r, &identity).unwrap()));
    let fixed = Fixed::new(&symmetry, grams);
    for at in [&identity, &random(&symmetry, 13)] {
        let (x, y) = (weights.objective(at).unwrap(), fixed.objective(at).unwrap());
        let blend = |beta| Blend::new(&weights, &fixed, beta, [2.0, -4.0]).objective(at).unwrap();
        assert_eq!((blend(0.0), blend(1.0)), (x / 2.0, y / 4.0));
        assert!((blend(0.5) - 0.5 * (x / 2.0 + y / 4.0)).abs() < 1e-12);
    }
    let blend = Blend::new(&weights, &fixed, 0.3, [1.0, 1.0]);
    let found = ascend(&blend, &identity, &MatchOptions::default(), &mut |_| true).unwrap();
    assert!(found.objective >= blend.objective(&identity).unwrap());
    assert_eq!(ascend(&fixed, &identity, &MatchOptions::default(), &mut |_| true).unwrap().sweeps.len(), 1);
}

#[test]
fn lambda_by_group_takes_the_smaller_of_two() {
    let (a, symmetry) = mlp(&[2, 3, 4, 2], 0.0, 14);
    let (b, _) = mlp(&[2, 3, 4, 2], 0.0, 15);
    let ends = |name: &str| {
        let of = |p: &Params| p.get(name).unwrap().to_f64().unwrap().into_owned();
        of(&a).into_iter().zip(of(&b)).collect::<Vec<_>>()
    };
    let by_group = BTreeMap::from([(GroupId(0), 0.0), (GroupId(1), 0.25)]);
    let merged = merge_by_group(&symmetry, &a, &b, 0.5, &by_group).unwrap();
    for (name, lambda) in [("fc1.weight", 0.0), ("fc2.weight", 0.0), ("fc3.weight", 0.25)] {
        let expected: Vec<f64> = ends(name).iter().map(|(x, y)| x + lambda * (y - x)).collect();
        assert_eq!(*merged.get(name).unwrap().to_f64().unwrap(), expected, "{name}");
    }
    let plain = merge(&a, &b, 0.5, Interpolation::Lerp).unwrap();
    assert_eq!(merge_by_group(&symmetry, &a, &b, 0.5, &BTreeMap::new()).unwrap(), plain);
    let wrong = merge_by_group(&symmetry, &a, &b, 0.5, &BTreeMap::from([(GroupId(1), 1.5)])).unwrap_err();
    assert!(wrong.to_string().contains("`h2`"), "{wrong}");
}
