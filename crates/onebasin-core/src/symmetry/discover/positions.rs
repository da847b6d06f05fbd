//! Values whose numbers are positions on an axis: what a [`TopK`](crate::graph::Op::TopK) says of where it found its values.
//!
//! If the units on the axis are exchanged the numbers change with them. That is no matter as long as they are only moved
//! about, and in the end pick from axes of the same units; whatever else looks at them fixes the axis.

use super::{AxisRef, Discoverer};
use crate::graph::op::Unary;
use crate::graph::{Node, Op, ValueId};

const NUMBERS: &str = "positions on it are looked at as numbers";

/// Follows positions through a node.
pub(super) fn follow(d: &mut Discoverer<'_>, node: &Node) {
    let found: Vec<Option<AxisRef>> = node.inputs.iter().map(|v| d.positions.get(v).copied()).collect();
    if found.iter().all(Option::is_none) {
        return;
    }
    let (first, as_numbers) =
        (found[0], |d: &mut Discoverer<'_>| found.iter().flatten().for_each(|at| d.fix(*at, NUMBERS)));
    match &node.op {
        Op::Unary(Unary::Identity)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Slice { .. }
        | Op::Expand(_)
        | Op::Gather { .. }
        | Op::GatherElements { .. } => d.positions.extend(first.map(|at| (node.outputs[0], at))),
        Op::Concat { .. } if found.iter().all(|at| *at == first) => {
            d.positions.extend(first.map(|at| (node.outputs[0], at)));
        }
        Op::ScatterElements { .. } => [0, 2].iter().filter_map(|k| found[*k]).for_each(|at| d.fix(at, NUMBERS)),
        Op::Linear
        | Op::MatMul
        | Op::Conv(_)
        | Op::ConvTranspose { .. }
        | Op::Pool(_)
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::GroupNorm { .. }
        | Op::LocalResponseNorm { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Where
        | Op::Softmax { .. }
        | Op::Reduce { .. }
        | Op::Concat { .. }
        | Op::Pad { .. }
        | Op::TopK { .. }
        | Op::CumSum { .. }
        | Op::NonZero
        | Op::Resize { .. }
        | Op::Recurrent { .. }
        | Op::Unknown(_) => as_numbers(d),
    }
}

/// An axis that is picked from by these indices: the units that they are positions of, or one whose entries have numbers.
pub(super) fn picked(d: &mut Discoverer<'_>, from: AxisRef, indices: ValueId, reason: &str) {
    match d.positions.get(&indices).copied() {
        Some(at) if d.len(at.value, at.axis) == d.len(from.value, from.axis) => d.tie(at, from),
        Some(at) => [at, from].into_iter().for_each(|axis| d.fix(axis, reason)),
        None => d.fix(from, reason),
    }
}

/// Positions that leave the network are numbers.
pub(super) fn left(d: &mut Discoverer<'_>) {
    for output in d.graph.outputs() {
        if let Some(at) = d.positions.get(output).copied() {
            d.fix(at, NUMBERS);
        }
    }
}
