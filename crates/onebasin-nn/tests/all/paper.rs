//! The exact cases of Ainsworth et al. 2023, and a permutation planted in the paper's MLP.

use onebasin_core::graph::Graph;
use onebasin_core::matching::{Match, MatchOptions, match_weights};
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, GroupId, Symmetry, SymmetrySpec};
use onebasin_core::{Params, Perm, Tensor};
use onebasin_nn::Network;
use onebasin_nn::exec::{Program, Workspace};

fn params(tensors: &[(&str, &[usize], &[f32])]) -> Params {
    let tensor = |(name, shape, values): &(&str, &[usize], &[f32])| {
        ((*name).to_owned(), Tensor::from_f32(shape, values.to_vec()).unwrap())
    };
    tensors.iter().map(tensor).collect()
}

fn matched(symmetry: &Symmetry, a: &Params, b: &Params, seed: u64) -> Match {
    match_weights(symmetry, a, b, None, &MatchOptions { seed, ..MatchOptions::default() }, &mut |_| true).unwrap()
}

/// Appendix A.7.2: matching greedily from the input keeps both units where they are; Algorithm 1 swaps both layers,
/// whatever the order of its visits, and the merged network is `(1 + ε/2) x`.
#[test]
fn the_toy_of_a72() {
    let epsilon = 0.25_f32;
    let w1 = [1.0, 1.0 + epsilon];
    let a = params(&[("w1", &[2, 1], &w1), ("w2", &[2, 2], &[1., 0., 0., epsilon]), ("w3", &[1, 2], &[1., 0.])]);
    let b = params(&[("w1", &[2, 1], &w1), ("w2", &[2, 2], &[0., 0., 0., 1.]), ("w3", &[1, 2], &[0., 1.])]);
    let spec = SymmetrySpec::from_patterns([("w1", "h1 ."), ("w2", "h2 h1"), ("w3", ". h2")]).unwrap();
    let symmetry = Symmetry::resolve(&spec, &a).unwrap();
    for seed in 0..20 {
        let found = matched(&symmetry, &a, &b, seed);
        for group in 0..2 {
            assert_eq!(found.alignment.copies(GroupId(group))[0].as_slice(), [1, 0]);
        }
        let moved = found.alignment.apply(&symmetry, &b).unwrap();
        let merged = merge(&a, &moved, 0.5, Interpolation::Lerp).unwrap();
        let w = |name: &str| merged.get(name).unwrap().to_f32().unwrap().into_owned();
        let (w1, w2, w3) = (w("w1"), w("w2"), w("w3"));
        let hidden = |i: usize| w2[2 * i] * w1[0] + w2[2 * i + 1] * w1[1];
        assert_eq!(w3[0] * hidden(0) + w3[1] * hidden(1), 1.0 + epsilon / 2.0);
    }
}

/// Appendix A.6: two networks without error that no permutation joins without a barrier.
#[test]
fn the_counterexample_of_a6() {
    let mut graph = Graph::new();
    let mut x = graph.input("x", &[1, 2]).unwrap();
    for (layer, units) in [("fc1", 2), ("fc2", 2), ("fc3", 1)] {
        x = graph.linear(layer, x, units).unwrap();
        if units > 1 {
            x = graph.relu(x).unwrap();
        }
    }
    graph.output(x);
    let network = |k0: f32, b0: [f32; 2], k1: [f32; 2], b1: [f32; 2]| {
        params(&[
            ("fc1.weight", &[2, 2], &[k0, 0., 0., k0]),
            ("fc1.bias", &[2], &b0),
            ("fc2.weight", &[2, 2], &[k1[0], 0., 0., k1[1]]),
            ("fc2.bias", &[2], &b1),
            ("fc3.weight", &[1, 2], &[-1., -1.]),
            ("fc3.bias", &[1], &[0.]),
        ])
    };
    let a = network(-1., [1., 0.], [-1., 1.], [1., 0.]);
    let b = network(1., [0., 1.], [1., -1.], [0., 1.]);
    let symmetry = Symmetry::resolve(&Network::new("mlp:2-2", &[2], 1).unwrap().symmetry().unwrap(), &a).unwrap();
    let program = Program::new(graph).unwrap();

    // (swap in layer 1, swap in layer 2), then the accuracy at λ = 0, 0.1, …, 0.5; it is symmetric.
    let expected = [
        ([false, false], [1., 0.75, 0.75, 0.75, 0.75, 0.75]),
        ([true, false], [1., 0.959, 0.910, 0.856, 0.802, 0.75]),
        ([false, true], [1., 0.75, 0.75, 0.75, 0.75, 0.75]),
        ([true, true], [1., 0.973, 0.938, 0.893, 0.834, 0.75]),
    ];
    for (swaps, accuracies) in expected {
        let perms = swaps.map(|swap| vec![Perm::new(if swap { vec![1, 0] } else { vec![0, 1] }).unwrap()]);
        let moved = Alignment::new(&symmetry, perms.to_vec()).unwrap().apply(&symmetry, &b).unwrap();
        for step in 0..=10 {
            let between = merge(&a, &moved, f64::from(step) / 10.0, Interpolation::Lerp).unwrap();
            let found = accuracy_on_the_square(&program, &between);
            let expected = accuracies[step.min(10 - step) as usize];
            assert!((found - expected).abs() < 1e-3, "{swaps:?}, λ = {step}/10: found {found}, expected {expected}");
        }
    }
}

/// Share of a 1001 × 1001 grid on [−1, 1]² where "output ≥ 0" says rightly whether x₁ ≤ 0 and x₂ ≥ 0.
fn accuracy_on_the_square(program: &Program, params: &Params) -> f64 {
    const SIDE: usize = 1001;
    let at = |k: usize| (2 * k) as f32 / (SIDE - 1) as f32 - 1.0;
    let weights = program.flatten(params).unwrap();
    let mut space = Workspace::inference(program, SIDE).unwrap();
    let mut correct = 0;
    for i in 0..SIDE {
        for (j, x) in space.input(0).chunks_exact_mut(2).enumerate() {
            (x[0], x[1]) = (at(i), at(j));
        }
        program.forward(&weights, &mut space);
        let right = |(j, y): (usize, &f32)| (*y >= 0.0) == (at(i) <= 0.0 && at(j) >= 0.0);
        correct += space.output().iter().enumerate().filter(|(j, y)| right((*j, y))).count();
    }
    correct as f64 / (SIDE * SIDE) as f64
}

#[test]
#[allow(clippy::print_stdout, reason = "docs/results quotes this line")]
fn a_permutation_planted_in_the_papers_mlp_is_recovered() {
    let network = Network::new("mlp:512x3", &[784], 10).unwrap();
    let mut sweeps = Vec::new();
    for seed in 0..20 {
        let a = network.init(seed).unwrap();
        let symmetry = Symmetry::resolve(&network.symmetry().unwrap(), &a).unwrap();
        let plant = Alignment::random(&symmetry, &mut Stream::new(seed, "plant"));
        let b = plant.apply(&symmetry, &a).unwrap();
        let found = matched(&symmetry, &a, &b, seed);
        assert_eq!(found.alignment, plant.inverse(&symmetry), "seed {seed}");
        let changing = found.sweeps.iter().filter(|s| s.changed_groups > 0).count();
        assert!(changing < 4, "seed {seed}: {changing} sweeps changed something");
        sweeps.push(changing + 1);
    }
    println!("planted in mlp:512x3: recovered {} of 20, sweeps {sweeps:?}", sweeps.len());
}

/// Law 1: a permuted network computes the same function.
#[test]
fn an_aligned_network_computes_the_same() {
    for (name, input) in [("mlp:512x3", 784), ("mlp:33-1-70", 5), ("mlp:1x1", 3072)] {
        let network = Network::new(name, &[input], 10).unwrap();
        let net = network.init(7).unwrap();
        let symmetry = Symmetry::resolve(&network.symmetry().unwrap(), &net).unwrap();
        let moved = Alignment::random(&symmetry, &mut Stream::new(7, "law")).apply(&symmetry, &net).unwrap();
        let program = Program::new(network.graph().unwrap()).unwrap();
        let outputs = |net: &Params| {
            const BATCH: usize = 16;
            let mut space = Workspace::inference(&program, BATCH).unwrap();
            let mut stream = Stream::new(7, "input");
            space.input(0).iter_mut().for_each(|x| *x = stream.normal() as f32);
            program.forward(&program.flatten(net).unwrap(), &mut space);
            space.output().to_vec()
        };
        let (before, after) = (outputs(&net), outputs(&moved));
        let scale = before.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let worst = before.iter().zip(&after).fold(0.0_f32, |m, (x, y)| m.max((x - y).abs()));
        assert!(worst <= 64.0 * f32::EPSILON * (input as f32).sqrt() * scale, "{name}: {worst} of {scale}");
    }
}
