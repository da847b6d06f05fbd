//! Entries of an axis that are picked one by one.

use std::collections::{BTreeMap, BTreeSet};

use super::AxisRef;
use super::terms::CHOICES;
use crate::graph::{Graph, Node, Op, ValueSource};

/// The axis that a node picks a single entry of, and which.
pub(super) fn pick(graph: &Graph, node: &Node) -> Option<(AxisRef, usize)> {
    let value = *node.inputs.first()?;
    if let Op::Slice { axis, start, len: 1, .. } = &node.op {
        return Some((AxisRef { value, axis: *axis }, *start));
    }
    let Op::Gather { axis } = &node.op else { return None };
    let ValueSource::Constant(indices) = &graph.value(node.inputs[1]).source else { return None };
    let [index] = indices.to_f64().ok()?[..] else { return None };
    let len = graph.shape(value)[*axis];
    let entry = if index < 0.0 { index + len as f64 } else { index };
    let inside = entry >= 0.0 && entry < len as f64;
    inside.then_some((AxisRef { value, axis: *axis }, entry as usize))
}

/// Axes whose entries are all picked one by one.
pub(super) fn all(graph: &Graph) -> BTreeSet<AxisRef> {
    let mut entries: BTreeMap<AxisRef, BTreeSet<usize>> = BTreeMap::new();
    for node in graph.nodes() {
        if let Some((at, entry)) = pick(graph, node) {
            entries.entry(at).or_default().insert(entry);
        }
    }
    let len = |at: &AxisRef| graph.shape(at.value)[at.axis];
    entries.retain(|at, picked| picked.len() == len(at) && (2..=CHOICES).contains(&len(at)));
    entries.into_keys().collect()
}
