//! Tensors as layers, in the order in which the network uses them.

use std::collections::{BTreeMap, BTreeSet};

use onebasin_core::graph::{Graph, Node, Op, ValueId, ValueSource};

use super::{SeenLayer, SeenTensor};
use crate::unused::module;

/// The first node that reads a tensor.
struct Use<'g> {
    tensor: usize,
    at: usize,
    node: Option<&'g Node>,
}

/// Tensors in layers: neighbours of one module or of one node, and those of no module with what reads their result next.
pub(super) fn layers(tensors: &[SeenTensor], graph: Option<&Graph>) -> Vec<SeenLayer> {
    let mut layers: Vec<(SeenLayer, Vec<Use<'_>>)> = Vec::new();
    for used in uses(tensors, graph) {
        let name = module(&tensors[used.tensor].name);
        let joins = layers.last().is_some_and(|(layer, before)| {
            let last = before.last().expect("a layer has a tensor");
            let is_unnamed = before.iter().all(|used| module(&tensors[used.tensor].name).is_empty());
            let by_one_node = last.node.is_some() && last.at == used.at;
            (!name.is_empty() && name == layer.name) || by_one_node || (is_unnamed && feeds(last, &used))
        });
        if joins {
            let (layer, uses) = layers.last_mut().expect("it joins one");
            if !name.is_empty() {
                name.clone_into(&mut layer.name);
            }
            layer.tensors.push(used.tensor);
            uses.push(used);
        } else {
            let node = used.node.map(|node| node.name.as_str());
            let own = if name.is_empty() { node.unwrap_or(&tensors[used.tensor].name) } else { name };
            let layer = SeenLayer { name: own.to_owned(), operators: Vec::new(), tensors: vec![used.tensor] };
            layers.push((layer, vec![used]));
        }
    }
    let named = |(mut layer, uses): (SeenLayer, Vec<Use<'_>>)| {
        for op in uses.iter().filter_map(|u| Some(operator(&u.node?.op))) {
            if !layer.operators.contains(&op) {
                layer.operators.push(op);
            }
        }
        layer
    };
    layers.into_iter().map(named).collect()
}

/// What an operator is called; of an element-wise one the function.
fn operator(op: &Op) -> String {
    if let Op::Binary(function) = op { format!("{function:?}") } else { op.name().to_owned() }
}

/// Whether the node that reads a tensor reads the result of the one that reads another.
fn feeds(before: &Use<'_>, after: &Use<'_>) -> bool {
    let (Some(a), Some(b)) = (before.node, after.node) else { return false };
    a.outputs.iter().any(|output| b.inputs.contains(output))
}

/// Every tensor with the first node that reads it, by that node and its inputs; by name, numbers as numbers, where there is no
/// graph.
fn uses<'g>(tensors: &[SeenTensor], graph: Option<&'g Graph>) -> Vec<Use<'g>> {
    let mut uses = Vec::new();
    let mut left: BTreeSet<usize> = (0..tensors.len()).collect();
    if let Some(graph) = graph {
        let place: BTreeMap<&str, usize> = tensors.iter().enumerate().map(|(k, t)| (t.name.as_str(), k)).collect();
        let of = |value: &ValueId| {
            let value = graph.value(*value);
            if value.source == ValueSource::Param { place.get(value.name.as_str()).copied() } else { None }
        };
        for (at, node) in graph.nodes().iter().enumerate() {
            for tensor in node.inputs.iter().filter_map(of).filter(|tensor| left.remove(tensor)).collect::<Vec<_>>() {
                uses.push(Use { tensor, at, node: Some(node) });
            }
        }
    }
    let mut rest: Vec<usize> = left.into_iter().collect();
    rest.sort_by_cached_key(|k| pieces(&tensors[*k].name));
    uses.extend(rest.into_iter().map(|tensor| Use { tensor, at: usize::MAX, node: None }));
    uses
}

/// A name as text and numbers in turn, numbers by their length and then their digits.
pub(super) fn pieces(name: &str) -> Vec<(String, usize, String)> {
    let mut pieces = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = &rest[..rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len())];
        let after = &rest[text.len()..];
        let digits = &after[..after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())];
        let bare = digits.trim_start_matches('0');
        pieces.push((text.to_owned(), bare.len(), digits.to_owned()));
        rest = &after[digits.len()..];
    }
    pieces
}
