//! An order in which the nodes of a model can run.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::Path;

use onebasin_core::nearest;

use super::fail;
use super::model::{Node, Value};
use crate::error::Result;

/// Positions of the nodes in running order: the file's own wherever that is one.
///
/// `given` are the values that no node makes: inputs and tensors of the model. Cost: `O(n log n)` for `n` names.
///
/// # Errors
/// If a value is made twice, read but never made, or depends on itself.
pub(super) fn order<'a>(
    path: &Path,
    nodes: &'a [Node],
    given: impl IntoIterator<Item = &'a str>,
    outputs: &'a [Value],
) -> Result<Vec<usize>> {
    let mut makers: HashMap<&str, Option<usize>> = given.into_iter().map(|name| (name, None)).collect();
    for (i, node) in nodes.iter().enumerate() {
        for name in node.makes() {
            if let Some(other) = makers.insert(name, Some(i)) {
                let other = other.map_or("an input or tensor of the model".to_owned(), |j| nodes[j].label());
                let why = format!("makes `{name}`, which is already made by {other}; give one of them another name");
                return Err(fail(path, node.label(), why));
            }
        }
    }
    let unknown = |place: String, name: &str| {
        let hint = nearest(name, sorted(makers.keys())).map_or(String::new(), |n| format!(" (did you mean `{n}`?)"));
        let why = format!("reads `{name}`, which no node, tensor or input of the model provides{hint}");
        fail(path, place, why + "; export the model again with its weights")
    };
    let mut missing = vec![0usize; nodes.len()];
    let mut readers = vec![Vec::new(); nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        for name in node.reads() {
            match makers.get(name) {
                None => return Err(unknown(node.label(), name)),
                Some(None) => {}
                Some(Some(maker)) => {
                    missing[i] += 1;
                    readers[*maker].push(i);
                }
            }
        }
    }
    if let Some(output) = outputs.iter().find(|v| !makers.contains_key(v.name.as_str())) {
        return Err(unknown("the list of outputs".to_owned(), &output.name));
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..nodes.len()).filter(|&i| missing[i] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for &reader in &readers[i] {
            missing[reader] -= 1;
            if missing[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    match missing.iter().position(|&m| m > 0) {
        None => Ok(order),
        Some(stuck) => {
            let (node, value) = on_cycle(nodes, &makers, &missing, stuck);
            let why = format!("reads `{value}`, which depends on the node's own output; break the cycle");
            Err(fail(path, nodes[node].label(), why))
        }
    }
}

/// A node on a cycle and the value by which it is, found by going back from a node that cannot run.
fn on_cycle<'a>(
    nodes: &'a [Node],
    makers: &HashMap<&str, Option<usize>>,
    missing: &[usize],
    stuck: usize,
) -> (usize, &'a str) {
    let mut seen = vec![false; nodes.len()];
    let mut at = stuck;
    loop {
        seen[at] = true;
        let back = nodes[at].reads().find_map(|name| {
            let maker = makers.get(name).copied().flatten()?;
            (missing[maker] > 0).then_some((maker, name))
        });
        match back {
            Some((maker, _)) if !seen[maker] => at = maker,
            back => return (at, back.map_or("", |(_, name)| name)),
        }
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.copied().collect();
    names.sort_unstable();
    names
}
