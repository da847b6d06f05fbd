//! Values whose numbers are positions on an axis: what a [`TopK`](crate::graph::Op::TopK) says of where it found its values.
//!
//! If the units on the axis are exchanged the numbers change with them. That is no matter as long as they are only moved
//! about, and in the end pick from axes of the same units; whatever else looks at them fixes the axis.

use super::{AxisRef, Discoverer};
use crate::graph::op::{Binary, Unary};
use crate::graph::{Node, Op, ValueId, ValueSource};

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

/// Positions that are compared with those of all entries in turn: what is found for each entry stands where the entry does.
pub(super) fn compared(d: &mut Discoverer<'_>, node: &Node) -> bool {
    let (Op::Binary(Binary::Equal), [x, y]) = (&node.op, &node.inputs[..]) else { return false };
    let output = node.outputs[0];
    for (positions, all) in [(*x, *y), (*y, *x)] {
        let Some(on) = d.positions.get(&positions).copied() else { continue };
        let Some(axis) = in_turn(d, all, d.len(on.value, on.axis)) else { continue };
        let axis = axis + d.rank(output) - d.rank(all);
        let before = d.rank(output) - d.rank(positions);
        if axis >= before && d.len(positions, axis - before) > 1 {
            continue;
        }
        d.tie(on, AxisRef { value: output, axis });
        for own in (0..d.rank(positions)).filter(|own| own + before != axis) {
            d.tie(AxisRef { value: positions, axis: own }, AxisRef { value: output, axis: own + before });
        }
        return true;
    }
    false
}

/// The axis along which a constant holds 0, 1, 2, … up to `count`, if it is the only one.
fn in_turn(d: &Discoverer<'_>, value: ValueId, count: usize) -> Option<usize> {
    let ValueSource::Constant(tensor) = &d.graph.value(value).source else { return None };
    let axis = tensor.shape().iter().position(|len| *len == count).filter(|_| tensor.len() == count)?;
    let values = tensor.to_f64().ok()?;
    values.iter().enumerate().all(|(k, value)| *value == k as f64).then_some(axis)
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
