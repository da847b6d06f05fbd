//! Rotary positions: where pairs of units are turned by an angle that only their position decides.

use std::collections::BTreeMap;

use crate::graph::op::{Binary, Op, Unary};
use crate::graph::{Graph, Node, NodeId, ValueId, ValueSource};
use crate::tensor::Tensor;

/// Nodes that end a rotation `x · cos + (−x₂, x₁) · sin`, the value that each rotates, and half its units: unit `f` is turned with
/// unit `f + half`. Of units beside others that no position turns there are none: those that turn stay, the others are free.
pub(super) fn rotations(graph: &Graph) -> BTreeMap<NodeId, (ValueId, usize)> {
    let nodes = graph.nodes().iter().enumerate().filter(|(_, node)| !is_beside_others(graph, node));
    nodes.filter_map(|(id, node)| Some((NodeId(id), rotation(graph, node)?))).collect()
}

/// Whether what a node gives becomes a part of a last axis.
fn is_beside_others(graph: &Graph, node: &Node) -> bool {
    let Some(axis) = graph.shape(node.outputs[0]).len().checked_sub(1) else { return false };
    graph.readers(node.outputs[0]).any(|(reader, _)| graph.node(reader).op == Op::Concat { axis })
}

fn rotation(graph: &Graph, sum: &Node) -> Option<(ValueId, usize)> {
    let [one, other] = inputs(sum, &Op::Binary(Binary::Add))?;
    along_and_across(graph, one, other).or_else(|| along_and_across(graph, other, one))
}

fn along_and_across(graph: &Graph, along: ValueId, across: ValueId) -> Option<(ValueId, usize)> {
    let (x, cos) = scaled(graph, along)?;
    let (turned, sin) = scaled(graph, across)?;
    let axis = graph.shape(x).len().checked_sub(1)?;
    let parts = graph.made_by(turned).map(|(_, node)| node).filter(|node| node.op == Op::Concat { axis })?;
    let [minus, low] = parts.inputs[..] else { return None };
    let [high] = inputs(graph.made_by(minus)?.1, &Op::Unary(Unary::Neg))?;
    let half = graph.shape(low)[axis];
    let run = |start| Op::Slice { axis, start, len: half, step: 1 };
    let is_run = |value, start| {
        graph.made_by(value).and_then(|(_, node)| inputs::<1>(node, &run(start))).is_some_and(|[from]| from == x)
    };
    let fits = graph.shape(x)[axis] == 2 * half && is_run(low, 0) && is_run(high, half);
    (fits && repeats(cos, half) && repeats(sin, half)).then_some((x, half))
}

/// What is multiplied by a constant, and the constant.
fn scaled(graph: &Graph, product: ValueId) -> Option<(ValueId, &Tensor)> {
    let [x, y] = inputs(graph.made_by(product)?.1, &Op::Binary(Binary::Mul))?;
    match (&graph.value(x).source, &graph.value(y).source) {
        (_, ValueSource::Constant(by)) => Some((x, by)),
        (ValueSource::Constant(by), _) => Some((y, by)),
        _ => None,
    }
}

/// Whether the last axis of a table is the same twice.
fn repeats(table: &Tensor, half: usize) -> bool {
    let Ok(values) = table.to_f64() else { return false };
    table.shape().last() == Some(&(2 * half)) && values.chunks(2 * half).all(|row| row[..half] == row[half..])
}

/// The inputs of a node, if it is this operator.
fn inputs<const N: usize>(node: &Node, op: &Op) -> Option<[ValueId; N]> {
    if node.op == *op { <[ValueId; N]>::try_from(&node.inputs[..]).ok() } else { None }
}
