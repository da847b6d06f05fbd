//! Repair without data: rows of merged weights get the length they have between the ends.

use onebasin_core::graph::op::Conv;
use onebasin_core::graph::{Graph, Op};
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::repair::{repair_weights, sites};
use onebasin_core::stream::Stream;
use onebasin_core::{Params, Tensor};
use onebasin_testkit::assert_close;

const LAMBDA: f64 = 0.3;

/// A convolution before a BatchNorm, one before a LayerNorm, a transposed one in two groups, a linear layer used twice,
/// one used once, and logits.
fn graph() -> Graph {
    let mut g = Graph::new();
    let x = g.input("image", &[1, 3, 8, 8]).unwrap();
    let mut x = g.conv("batch", x, 4, 3, Conv::square(1, 1), false).unwrap();
    x = g.batch_norm("batch.norm", x).unwrap();
    x = g.relu(x).unwrap();
    x = g.conv("layer", x, 4, 3, Conv::square(2, 1), true).unwrap();
    x = g.channel_norm("layer.norm", x).unwrap();
    x = g.relu(x).unwrap();
    let weight = g.param("up.weight", &[4, 3, 2, 2]).unwrap();
    let up = Op::ConvTranspose { conv: Conv::square(2, 0).grouped(2), output_padding: vec![0, 0] };
    x = g.push("up", up, &[x, weight]).unwrap();
    x = g.relu(x).unwrap();
    x = g.global_average("pool", x).unwrap();
    for _ in 0..2 {
        x = g.linear("twice", x, 6).unwrap();
        x = g.relu(x).unwrap();
    }
    x = g.linear("once", x, 5).unwrap();
    x = g.relu(x).unwrap();
    x = g.linear("logits", x, 2).unwrap();
    g.output(x);
    g
}

fn random(graph: &Graph, seed: u64) -> Params {
    let draw = |value: &onebasin_core::graph::Value| {
        let mut stream = Stream::new(seed, &value.name);
        let values = (0..value.shape.iter().product()).map(|_| stream.normal()).collect();
        (value.name.clone(), Tensor::from_f64(&value.shape, values).unwrap())
    };
    graph.params().map(draw).collect()
}

fn numbers(params: &Params, name: &str) -> Vec<f64> {
    params.get(name).unwrap().to_f64().unwrap().into_owned()
}

/// Lengths by unit, from the definition of each operator.
fn norms(params: &Params, name: &str) -> Vec<f64> {
    let values = numbers(params, name);
    let mut squares = vec![0.0; 6];
    for (at, w) in values.iter().enumerate() {
        let unit = match name {
            // `[input channel, output of its group, kernel]`: channels 0 and 1 give outputs 0–2, the others 3–5.
            "up.weight" => at / 24 * 3 + at % 12 / 4,
            "layer.weight" => at / 36,
            _ => at / 6,
        };
        squares[unit] += w * w;
    }
    squares.into_iter().map(f64::sqrt).collect()
}

#[test]
fn rows_are_as_long_as_between_the_ends() {
    let graph = graph();
    let [a, b] = [1, 2].map(|seed| random(&graph, seed));
    let merged = merge(&a, &b, LAMBDA, Interpolation::Lerp).unwrap();
    let repaired = repair_weights(&graph, [&a, &b], &merged, LAMBDA).unwrap();
    let changed: Vec<&str> = repaired.corrections.iter().map(|c| c.node.as_str()).collect();
    assert_eq!(changed, ["layer", "up", "once"]);
    for name in ["layer.weight", "up.weight", "once.weight"] {
        let [na, nb, found] = [&a, &b, &repaired.params].map(|params| norms(params, name));
        for ((na, nb), found) in na.iter().zip(&nb).zip(found) {
            assert_close(found, (1.0 - LAMBDA) * na + LAMBDA * nb, 64.0, found);
        }
    }
    for (name, tensor) in merged.iter().filter(|(n, _)| !["layer.weight", "up.weight", "once.weight"].contains(n)) {
        assert_eq!(repaired.params.get(name), Some(tensor), "{name}");
    }
}

#[test]
fn an_end_stays_and_lengths_of_merged_rows_do_not_matter() {
    let graph = graph();
    let [a, b] = [1, 2].map(|seed| random(&graph, seed));
    for (lambda, end) in [(0.0, &a), (1.0, &b)] {
        assert_eq!(&repair_weights(&graph, [&a, &b], end, lambda).unwrap().params, end);
    }
    let merged = merge(&a, &b, LAMBDA, Interpolation::Lerp).unwrap();
    let longer = numbers(&merged, "once.weight").iter().map(|w| 4.0 * w).collect();
    let mut moved = merged.clone();
    moved.insert("once.weight", Tensor::from_f64(&[5, 6], longer).unwrap());
    let repaired = |merged: &Params| repair_weights(&graph, [&a, &b], merged, LAMBDA).unwrap().params;
    assert_eq!(repaired(&moved), repaired(&merged));
}

#[test]
fn rows_of_zeros_stay() {
    let graph = graph();
    for zero_in in 0..3 {
        let [a, b] = [1, 2].map(|seed| random(&graph, seed));
        let mut networks = [a.clone(), b.clone(), merge(&a, &b, LAMBDA, Interpolation::Lerp).unwrap()];
        let mut values = numbers(&networks[zero_in], "once.weight");
        values[6..12].fill(0.0);
        networks[zero_in].insert("once.weight", Tensor::from_f64(&[5, 6], values).unwrap());
        let [a, b, merged] = networks;
        let repaired = repair_weights(&graph, [&a, &b], &merged, LAMBDA).unwrap();
        repaired.params.check_finite().unwrap();
        let once = repaired.corrections.last().unwrap();
        assert_eq!((once.units, once.still, &once.tensors[..]), (5, 1, &["once.weight".to_owned()][..]));
        assert_eq!(numbers(&repaired.params, "once.weight")[6..12], numbers(&merged, "once.weight")[6..12]);
    }
}

#[test]
fn normalisations_are_sites_in_place_of_what_they_follow() {
    let graph = graph();
    let names: Vec<&str> = sites(&graph).iter().map(|s| graph.node(s.node).name.as_str()).collect();
    assert_eq!(names, ["batch.norm", "layer.norm", "up", "once"]);
}

#[test]
fn what_does_not_fit_is_named() {
    let graph = graph();
    let a = random(&graph, 1);
    let error = |merged: &Params, lambda| repair_weights(&graph, [&a, &a], merged, lambda).unwrap_err().to_string();
    assert!(error(&a, -0.1).contains("λ must lie"));
    let mut short = a.clone();
    short.insert("once.weight", Tensor::from_f64(&[2], vec![1.0; 2]).unwrap());
    let error = error(&short, 0.5);
    assert!(error.contains("`once.weight`") && error.contains("[5, 6]") && error.contains("[2]"), "{error}");
}
