//! Planted permutations of built-in networks: found exactly from the weights alone.

use onebasin_core::Params;
use onebasin_core::matching::{MatchOptions, Start, Weights, ascend};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, Symmetry};
use onebasin_nn::Network;

/// How many of these seeds' planted alignments are found, exactly, from the signature start.
fn recovered(network: &Network, params: &Params, seeds: std::ops::Range<u64>) -> usize {
    let symmetry = Symmetry::resolve(&network.symmetry().unwrap(), params).unwrap();
    let graph = network.graph().unwrap();
    let statistics: Vec<&str> = graph.statistics().map(|v| graph.value(v).name.as_str()).collect();
    let weights = symmetry.restrict(|name| !statistics.contains(&name));
    let finds = |seed: u64| {
        let plant = Alignment::random(&symmetry, &mut Stream::new(seed, "plant"));
        let b = plant.apply(&symmetry, params).unwrap();
        let source = Weights::new(&weights, params, &b).unwrap();
        let start = Start::Signature.alignment(&source, seed).unwrap();
        let options = MatchOptions { seed, ..MatchOptions::default() };
        ascend(&source, &start, &options, &mut |_| true).unwrap().alignment == plant.inverse(&symmetry)
    };
    seeds.filter(|seed| finds(*seed)).count()
}

fn fresh(name: &str, input: &[usize]) -> (Network, Params) {
    let network = Network::new(name, input, 10).unwrap();
    let params = network.init(7).unwrap();
    (network, params)
}

#[test]
fn small_networks_are_recovered() {
    for (name, input) in [("mlp:64x3", vec![28, 28]), ("resnet20-ln:1", vec![3, 32, 32])] {
        let (network, params) = fresh(name, &input);
        assert_eq!(recovered(&network, &params, 0..2), 2, "{name}");
    }
}

/// The numbers of docs/results/matching.md.
#[test]
#[allow(clippy::print_stdout, reason = "it prints a table")]
#[ignore = "minutes: cargo test -p onebasin-nn --test all recovery -- --ignored --nocapture"]
fn large_networks_are_recovered() {
    for (name, size) in [("resnet20-ln:1", 32), ("vgg16-ln", 32), ("resnet50-bn", 64)] {
        let (network, params) = fresh(name, &[3, size, size]);
        let found = recovered(&network, &params, 0..10);
        println!("{name}: {found} of 10");
        assert_eq!(found, 10, "{name}");
    }
}

/// Trained networks: a checkpoint of a built-in network in `ONEBASIN_TRAINED`, its name in `ONEBASIN_TRAINED_NETWORK`.
#[test]
#[allow(clippy::print_stdout, reason = "it prints a table")]
#[ignore = "needs a checkpoint: ONEBASIN_TRAINED=r.safetensors ONEBASIN_TRAINED_NETWORK=resnet20-ln:1"]
fn trained_networks_are_recovered() {
    let [file, name] = ["ONEBASIN_TRAINED", "ONEBASIN_TRAINED_NETWORK"].map(|key| std::env::var(key).expect(key));
    let read = onebasin_io::read(std::path::Path::new(&file)).unwrap().params;
    let network = Network::fitting(&name, &read).unwrap();
    let names: Vec<String> = network.graph().unwrap().params().map(|p| p.name.clone()).collect();
    let params: Params =
        read.iter().filter(|(n, _)| names.iter().any(|k| k == n)).map(|(n, t)| (n.to_owned(), t.clone())).collect();
    let found = recovered(&network, &params, 0..10);
    println!("{name}: {found} of 10");
    assert_eq!(found, 10);
}
