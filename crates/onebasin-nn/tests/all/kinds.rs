//! Kinds of groups: what a transformer does not notice, by function.

use onebasin_core::Params;
use onebasin_core::canonical::{balanced, canonical};
use onebasin_core::graph::Graph;
use onebasin_core::kinds::{Kind, Kinds, Motion};
use onebasin_core::matching::{StopReason, TurnedOptions, match_turned};
use onebasin_core::stream::Stream;
use onebasin_nn::check::{CheckOptions, compare_graphs};
use onebasin_nn::exec::Program;
use onebasin_nn::family::family;

use crate::families::golden;

const NETWORKS: [&str; 7] = ["gpt2", "gpt2-plain", "llama", "llama-bias", "mistral", "qwen2", "qwen3"];

fn same(what: &str, before: (&Graph, &Params), after: (&Graph, &Params)) {
    let program = |graph: &Graph| Program::new(graph.clone()).unwrap();
    let (one, other) = (program(before.0), program(after.0));
    let found = compare_graphs((&one, before.1), (&other, after.1), &CheckOptions::default()).unwrap();
    assert!(found.passes(), "{what}: {found}");
}

#[test]
fn canonical_form_computes_the_same() {
    for name in NETWORKS {
        let (params, _, _, config) = golden(name);
        every_form_computes_the_same(name, &family(&config, 16).unwrap(), &params);
    }
}

/// The canonical form, balanced, moved, and moved back.
pub(crate) fn every_form_computes_the_same(name: &str, graph: &Graph, params: &Params) {
    let form = canonical(graph, params).unwrap();
    same(name, (graph, params), (&form.graph, &form.params));
    let kinds = Kinds::discover(&form.graph, [&form.params, &form.params]).unwrap();
    let balance = balanced(&kinds, &form.params).unwrap().apply(&kinds, &form.params).unwrap();
    same(name, (&form.graph, &form.params), (&form.graph, &balance));
    let turned = Motion::random(&kinds, &mut Stream::new(1, "turned"));
    let moved = turned.apply(&kinds, &form.params).unwrap();
    same(name, (&form.graph, &form.params), (&form.graph, &moved));
    let then = Motion::random(&kinds, &mut Stream::new(2, "turned"));
    let both = then.after(&kinds, &turned).apply(&kinds, &form.params).unwrap();
    let twice = then.apply(&kinds, &moved).unwrap();
    let back = turned.inverse(&kinds).apply(&kinds, &moved).unwrap();
    for (what, one, other) in [("composed", &both, &twice), ("undone", &back, &form.params)] {
        for (tensor, value) in one.iter() {
            let (x, y) = (value.to_f64().unwrap(), other.require(tensor).unwrap().to_f64().unwrap());
            let size = y.iter().fold(1e-9_f64, |m, v| m.max(v.abs()));
            let far = x.iter().zip(&*y).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            assert!(far < 1e-5 * size, "{name} {what} {tensor}: {far} of {size}");
        }
    }
}

#[test]
fn kinds_of_a_llama_are_those_of_its_operators() {
    let (params, _, _, config) = golden("llama");
    let form = canonical(&family(&config, 16).unwrap(), &params).unwrap();
    let kinds = Kinds::discover(&form.graph, [&form.params, &form.params]).unwrap();
    let count = |kind| kinds.symmetry.groups().iter().filter(|g| kinds.named(&g.name) == Some(kind)).count();
    // The stream and units of values; units of queries and keys; gates; heads, and queries that share one.
    assert_eq!([Kind::Orthogonal, Kind::Phases, Kind::Signed, Kind::Permutation].map(count), [3, 2, 2, 4]);
}

#[test]
fn a_hidden_element_of_every_kind_is_undone() {
    for name in ["gpt2", "llama", "qwen2"] {
        let (params, _, _, config) = golden(name);
        hidden_is_undone(name, &family(&config, 16).unwrap(), &params);
    }
}

pub(crate) fn hidden_is_undone(name: &str, graph: &Graph, params: &Params) {
    let form = canonical(graph, params).unwrap();
    let kinds = Kinds::discover(&form.graph, [&form.params, &form.params]).unwrap();
    let even = balanced(&kinds, &form.params).unwrap().apply(&kinds, &form.params).unwrap();
    let hidden = Motion::random(&kinds, &mut Stream::new(3, "hidden")).apply(&kinds, &even).unwrap();
    let found = match_turned(&kinds, &even, &hidden, &TurnedOptions::default(), &mut |_| true).unwrap();
    let (before, after) = (cosine(&even, &hidden), cosine(&even, &found.moved));
    // Where the stream is the output, it stays, and with it the embedding.
    assert!(before < 0.6 && after >= 0.99999, "{name}: {before} → {after}");
    assert!(
        found.stop == StopReason::Converged && found.motion.apply(&kinds, &hidden).unwrap() == found.moved,
        "{name}"
    );
}

fn cosine(a: &Params, b: &Params) -> f64 {
    let dot = |x: &Params, y: &Params| -> f64 {
        let of = |(name, tensor): (&str, &onebasin_core::Tensor)| -> f64 {
            let (x, y) = (tensor.to_f64().unwrap(), y.require(name).unwrap().to_f64().unwrap());
            x.iter().zip(&*y).map(|(x, y)| x * y).sum()
        };
        x.iter().map(of).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
