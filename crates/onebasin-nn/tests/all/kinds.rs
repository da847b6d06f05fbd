//! Kinds of groups: what a transformer does not notice, by function.

use std::collections::BTreeSet;
use std::ops::Range;

use onebasin_core::Params;
use onebasin_core::canonical::{Outline, balanced, canonical};
use onebasin_core::graph::Graph;
use onebasin_core::kinds::{Kind, Kinds, Motion};
use onebasin_core::matching::{
    Reading, StopReason, TurnedOptions, TurnedTold, match_by_parts, match_turned, named, parts,
};
use onebasin_core::stream::Stream;
use onebasin_nn::check::{CheckOptions, compare_graphs};
use onebasin_nn::exec::Program;
use onebasin_nn::family::family;

use crate::families::{NETWORKS, golden};

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

/// How many groups of each kind.
fn kinds_of(name: &str) -> [usize; 6] {
    let (params, _, _, config) = golden(name);
    let form = canonical(&family(&config, 16).unwrap(), &params).unwrap();
    let kinds = Kinds::discover(&form.graph, [&form.params, &form.params]).unwrap();
    let count = |kind| kinds.symmetry.groups().iter().filter(|g| kinds.named(&g.name) == Some(kind)).count();
    [Kind::Orthogonal, Kind::Centred, Kind::Phases, Kind::Signed, Kind::Permutation, Kind::Still].map(count)
}

#[test]
fn kinds_of_families_are_those_of_their_operators() {
    for (name, found) in [
        // The stream and units of values; units of queries and keys; gates; heads, and queries that share one.
        ("llama", [3, 0, 2, 2, 4, 0]),
        ("llama-yarn-scaled", [3, 0, 2, 2, 2, 0]),
        ("gemma", [3, 0, 2, 2, 2, 0]),
        // Gains behind attention and feed-forward stand in the stream itself.
        ("gemma2", [2, 0, 2, 3, 4, 0]),
        // Norms of heads tell the units of queries and keys apart beside positions.
        ("gemma3_text", [2, 0, 0, 3, 4, 2]),
        // Both parts of a gated feed-forward are one tensor.
        ("phi3-longrope", [3, 0, 2, 0, 4, 0]),
        // Units of queries and keys that positions do not turn are free beside those that they do.
        ("phi3", [5, 0, 0, 0, 4, 0]),
        ("gpt_neox", [4, 1, 0, 0, 4, 0]),
        ("gpt_neox-serial", [2, 1, 2, 0, 4, 0]),
        // Units of experts, and the stream that they read, are permuted.
        ("mixtral", [2, 0, 2, 0, 9, 0]),
        ("qwen2_moe", [2, 0, 2, 2, 9, 0]),
        ("qwen3_moe-mixed", [2, 0, 0, 1, 7, 2]),
        ("opt", [4, 1, 0, 0, 4, 0]),
        // Norms in the stream itself.
        ("opt-behind", [4, 0, 0, 0, 5, 0]),
        ("bloom", [4, 0, 0, 0, 3, 0]),
        ("starcoder2", [2, 1, 2, 0, 6, 0]),
        ("phi", [4, 1, 0, 0, 4, 0]),
        // Norms of all heads together.
        ("olmo2", [2, 0, 0, 3, 4, 2]),
    ] {
        assert_eq!(kinds_of(name), found, "{name}");
    }
}

/// One of every family, and what has kinds of its own.
const HIDDEN: [&str; 19] = [
    "gpt2",
    "llama",
    "qwen2",
    "mistral-window",
    "llama-yarn-scaled",
    "gemma",
    "gemma2",
    "gemma3_text",
    "phi3",
    "phi3-longrope",
    "gpt_neox",
    "opt",
    "bloom",
    "mixtral",
    "qwen2_moe",
    "qwen3_moe",
    "olmo2",
    "starcoder2",
    "phi",
];

#[test]
fn a_hidden_element_of_every_kind_is_undone() {
    for name in HIDDEN {
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
    let moved = found.motion.apply(&kinds, &hidden).unwrap();
    let (before, after) = (cosine(&even, &hidden), cosine(&even, &moved));
    // Where the stream is the output, it stays, and with it the embedding.
    assert!(before < 0.6 && after >= 0.99999, "{name}: {before} → {after}");
    assert!(found.stop == StopReason::Converged && (found.objective / found.size - after).abs() < 1e-6, "{name}");
}

/// The form of some tensors, balanced, as reading part by part makes it.
fn form_of(outline: &Outline, params: &Params, names: &[String]) -> Params {
    let sources: BTreeSet<String> = names.iter().map(|name| outline.source(name).to_owned()).collect();
    let own = named(params, &sources.into_iter().collect::<Vec<_>>(), None).unwrap();
    let (form, _) = outline.form(&own).unwrap();
    let even = balanced(&outline.kinds, &form).unwrap();
    let made = |name: &String| (name.clone(), even.moved(&outline.kinds, &form, name).unwrap());
    names.iter().map(made).collect()
}

#[test]
fn a_form_made_part_by_part_is_that_of_the_whole() {
    for name in NETWORKS {
        let (params, _, _, config) = golden(name);
        let graph = family(&config, 16).unwrap();
        let outline = Outline::new(&graph, &params).unwrap();
        let whole = canonical(&graph, &params).unwrap();
        let even = balanced(&outline.kinds, &whole.params).unwrap().apply(&outline.kinds, &whole.params).unwrap();
        let symmetry = &outline.kinds.symmetry;
        let mut seen = 0;
        for part in parts(&outline.kinds, &outline.together()) {
            let names = part.names.iter().flat_map(|name| symmetry.members(name)).map(str::to_owned);
            for (tensor, found) in form_of(&outline, &params, &names.collect::<Vec<_>>()).iter() {
                assert_eq!(found, even.require(tensor).unwrap(), "{name}: {tensor}");
                seen += 1;
            }
        }
        assert_eq!(seen, symmetry.names().count(), "{name}");
    }
}

/// Networks that are read part by part.
struct Parts<'a>([&'a Params; 2]);

impl Reading for Parts<'_> {
    fn together(&self) -> Vec<Vec<String>> {
        Vec::new()
    }

    fn read(&self, names: &[String], rows: Option<Range<usize>>) -> Result<[Params; 2], onebasin_core::Error> {
        Ok([named(self.0[0], names, rows.as_ref())?, named(self.0[1], names, rows.as_ref())?])
    }
}

#[test]
fn a_match_goes_on_where_it_was_stopped() {
    let (params, _, _, config) = golden("llama");
    let form = canonical(&family(&config, 16).unwrap(), &params).unwrap();
    let kinds = Kinds::discover(&form.graph, [&form.params, &form.params]).unwrap();
    let hidden = Motion::random(&kinds, &mut Stream::new(3, "hidden")).apply(&kinds, &form.params).unwrap();
    let reading = Parts([&form.params, &hidden]);
    let options = TurnedOptions::default();
    let whole = match_by_parts(&kinds, &reading, &options, None, &mut |_| Ok(true)).unwrap();
    // Stopped after every part in turn.
    let mut state = None;
    let found = loop {
        let mut kept = None;
        let found = match_by_parts(&kinds, &reading, &options, state.clone(), &mut |told| {
            if let TurnedTold::Part(_, _, _, state) = told {
                kept = Some(state.clone());
                return Ok(false);
            }
            Ok(true)
        });
        let found = found.unwrap();
        if kept.is_none() || found.stop != StopReason::Interrupted {
            break found;
        }
        state = kept;
    };
    assert_eq!(found, whole);
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
