//! Normalisation, and functions over whole axes.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Binary, Dim, Reduce, Unary};

use super::array::ElementKind;
use super::call::EVALUATION;
use super::call::{Made, NodeCall, axes_of, axis_of, broken, unknown};
use super::layout::to_shape;
use super::plan::PlanSlot;

pub(super) fn batch(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    call.ignore(&["momentum"]);
    let epsilon = call.float("epsilon", 1e-5)?;
    // Before version 14 more than one output says that it is training.
    let outputs = call.node.makes().count();
    if call.flag("training_mode", false)? || (call.opset() < 14 && outputs > 1) {
        let x = call.input(0)?;
        let [first, second] = call.pair(x);
        // What does not follow the batch is a weight that is standardised, channel by channel.
        if first == second && first.first() == Some(&1) {
            let (groups, inputs) = (call.shape(x).get(1).copied().unwrap_or(0), [x, call.input(1)?, call.input(2)?]);
            (3..5).for_each(|statistic| call.skip(statistic));
            return call.push(Op::GroupNorm { groups, epsilon }, &inputs);
        }
        return unknown(format!("BatchNormalization in training is not known ({EVALUATION})"));
    }
    if !call.flag("spatial", true)? {
        return unknown("BatchNormalization of every position is not known");
    }
    let inputs = call.inputs()?;
    call.push(Op::BatchNorm { epsilon }, &inputs)
}

pub(super) fn layer(call: &mut NodeCall<'_, '_>, centred: bool) -> Made<PlanSlot> {
    call.ignore(&["stash_type"]);
    let (axis, epsilon) = (call.int("axis", -1)?, call.float("epsilon", 1e-5)?);
    let inputs = call.inputs()?;
    let Some(&x) = inputs.first() else { return broken("it has no input") };
    let shape = call.shape(x);
    let first = axis_of(axis, shape.len())?;
    if inputs[1..].iter().any(|p| call.shape(*p) != shape[first..]) {
        return unknown(format!("a gain or bias that is not of shape {:?} is not known", &shape[first..]));
    }
    call.push(Op::LayerNorm { axes: (first..shape.len()).collect(), epsilon, centred }, &inputs)
}

pub(super) fn group(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    call.ignore(&["stash_type"]);
    let (groups, epsilon) = (call.int("num_groups", 0)?, call.float("epsilon", 1e-5)?);
    let mut inputs = [call.input(0)?, call.input(1)?, call.input(2)?];
    let channels = call.shape(inputs[0]).get(1).copied().unwrap_or(0);
    let Some(groups) = usize::try_from(groups).ok().filter(|g| *g > 0 && channels.is_multiple_of(*g)) else {
        return broken(format!("{channels} channels do not fall into {groups} groups"));
    };
    // Up to version 20 there is one gain and one bias a group.
    for param in &mut inputs[1..] {
        if call.shape(*param) == [groups] && groups != channels {
            let column = call.reshape(*param, vec![Dim::Same(0), Dim::Size(1)])?;
            let each = call.push(Op::Expand(vec![Dim::Size(groups), Dim::Size(channels / groups)]), &[column])?;
            *param = call.reshape(each, vec![Dim::Size(channels)])?;
        }
    }
    call.push(Op::GroupNorm { groups, epsilon }, &inputs)
}

pub(super) fn instance(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let epsilon = call.float("epsilon", 1e-5)?;
    let inputs = call.inputs()?;
    let groups = inputs.first().and_then(|x| call.shape(*x).get(1).copied()).unwrap_or(0);
    call.push(Op::GroupNorm { groups, epsilon }, &inputs)
}

pub(super) fn lp(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let (axis, p) = (call.int("axis", -1)?, call.int("p", 2)?);
    let x = call.input(0)?;
    let axes = vec![axis_of(axis, call.rank(x))?];
    let (kind, of) = match p {
        1 => (Reduce::Sum, call.unary(Unary::Abs, x)?),
        2 => (Reduce::L2, x),
        p => return unknown(format!("LpNormalization with p = {p} is not known")),
    };
    let norm = call.push(Op::Reduce { kind, axes, keep: true }, &[of])?;
    call.binary(Binary::Div, x, norm)
}

pub(super) fn response(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let size = call.int("size", 0)?;
    let Some(size) = usize::try_from(size).ok().filter(|s| *s > 0) else {
        return broken(format!("LRN over {size} channels"));
    };
    let (alpha, beta, bias) = (call.float("alpha", 1e-4)?, call.float("beta", 0.75)?, call.float("bias", 1.0)?);
    let x = call.input(0)?;
    call.push(Op::LocalResponseNorm { size, alpha, beta, bias }, &[x])
}

pub(super) fn softmax(call: &mut NodeCall<'_, '_>, log: bool) -> Made<PlanSlot> {
    let old = call.opset() < 13;
    let axis = call.int("axis", if old { 1 } else { -1 })?;
    let x = call.input(0)?;
    let (shape, whole) = (call.shape(x), call.pair(x).clone());
    let axis = axis_of(axis, shape.len())?;
    if !old || shape[axis + 1..].iter().all(|n| *n == 1) {
        return call.push(Op::Softmax { axis, log }, &[x]);
    }
    // Before version 13 everything from the axis on sums to one.
    let flat = whole.clone().map(|s| vec![s[..axis].iter().product(), s[axis..].iter().product()]);
    let x = to_shape(call, x, &flat)?;
    let y = call.push(Op::Softmax { axis: 1, log }, &[x])?;
    to_shape(call, y, &whole)
}

pub(super) fn reduce(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let keep = call.flag("keepdims", true)?;
    let idle = call.flag("noop_with_empty_axes", false)?;
    let numbers = call.whole("axes", 1)?.unwrap_or_default();
    let mut x = call.input(0)?;
    let kind = match call.node.op_type.as_str() {
        "ReduceSum" | "ReduceL1" | "ReduceLogSum" => Reduce::Sum,
        "ReduceMean" if call.kind(x) == ElementKind::Float => Reduce::Mean,
        "ReduceMax" => Reduce::Max,
        "ReduceMin" => Reduce::Min,
        "ReduceProd" => Reduce::Prod,
        "ReduceSumSquare" => Reduce::SumSquare,
        "ReduceL2" => Reduce::L2,
        other => return unknown(format!("operator {other} is not known")),
    };
    if numbers.is_empty() && idle {
        return Ok(x);
    }
    let rank = call.rank(x);
    let axes = if numbers.is_empty() { (0..rank).collect() } else { axes_of(&numbers, rank)? };
    if call.node.is("ReduceL1") {
        x = call.unary(Unary::Abs, x)?;
    }
    let y = call.push(Op::Reduce { kind, axes, keep }, &[x])?;
    if call.node.is("ReduceLogSum") { call.unary(Unary::Log, y) } else { Ok(y) }
}
