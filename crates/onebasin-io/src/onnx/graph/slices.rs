//! Parts of tensors, and tensors put together.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Dim, PadMode};

use super::array::{Array, ElementKind, Elements};
use super::call::{LONGEST, Made, NodeCall, axis_of, broken, unknown};
use super::fold;
use super::plan::PlanSlot;
use super::strided::Strided;

pub(super) fn concat(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let axis = call.int("axis", 1)?;
    let mut inputs = call.inputs()?;
    let Some(first) = inputs.first() else { return broken("it has no input") };
    let axis = axis_of(axis, call.rank(*first))?;
    // Nothing is added by a tensor without elements.
    if inputs.iter().any(|x| call.shape(*x).get(axis) != Some(&0)) {
        inputs.retain(|x| call.shape(*x).get(axis) != Some(&0));
    }
    if let [only] = inputs[..] { Ok(only) } else { call.push(Op::Concat { axis }, &inputs) }
}

/// A run of positions of one axis, unless that is all of it.
pub(super) fn run(
    call: &mut NodeCall<'_, '_>,
    x: PlanSlot,
    axis: usize,
    (start, len, step): (usize, usize, isize),
) -> Made<PlanSlot> {
    if start == 0 && step == 1 && call.pair(x).iter().all(|s| s.get(axis) == Some(&len)) {
        return Ok(x);
    }
    // A distance that is never walked is of no matter.
    let step = if len <= 1 { 1 } else { step };
    call.push(Op::Slice { axis, start, len, step }, &[x])
}

pub(super) fn split(call: &mut NodeCall<'_, '_>) -> Made<Vec<PlanSlot>> {
    let axis = call.int("axis", 0)?;
    let parts = call.int("num_outputs", call.node.outputs.len() as i64)?;
    let sizes = call.whole("split", 1)?;
    let x = call.input(0)?;
    let axis = axis_of(axis, call.rank(x))?;
    let len = call.shape(x)[axis];
    if call.pair(x)[1][axis] != len {
        return unknown("a Split of the batch is not known");
    }
    let sizes: Vec<usize> = if let Some(sizes) = sizes {
        sizes.iter().filter_map(|&s| usize::try_from(s).ok()).collect()
    } else {
        let Some(parts) = usize::try_from(parts).ok().filter(|p| *p > 0 && *p == call.node.outputs.len()) else {
            return broken(format!("{parts} parts for {} outputs", call.node.outputs.len()));
        };
        let each = len.div_ceil(parts);
        (0..parts).map(|k| each.min(len.saturating_sub(k * each))).collect()
    };
    if sizes.len() != call.node.outputs.len() || sizes.iter().try_fold(0_usize, |n, s| n.checked_add(*s)) != Some(len) {
        return broken(format!("an axis of length {len} does not split into {sizes:?}"));
    }
    let mut start = 0;
    let parts = sizes.into_iter().map(|size| {
        start += size;
        run(call, x, axis, (start - size, size, 1))
    });
    parts.collect()
}

pub(super) fn slice(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let mut x = call.input(0)?;
    let rank = call.rank(x);
    let mut pair = |name: &str, k: usize| -> Made<Option<[Vec<i64>; 2]>> {
        if let Some(values) = call.ints(name)? {
            return Ok(Some([values.clone(), values]));
        }
        let Some(arrays) = call.known(k)? else { return Ok(None) };
        match [arrays[0].whole(), arrays[1].whole()] {
            [Some(a), Some(b)] if a.len() == b.len() => Ok(Some([a, b])),
            _ => broken(format!("input {k} holds no whole numbers")),
        }
    };
    let (Some(starts), Some(ends)) = (pair("starts", 1)?, pair("ends", 2)?) else {
        return broken("its starts or ends are missing");
    };
    let count = starts[0].len();
    let (axes, steps) = (call.whole("axes", 3)?, call.whole("steps", 4)?);
    let axes = axes.unwrap_or_else(|| (0..count as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; count]);
    if [ends[0].len(), axes.len(), steps.len()].iter().any(|n| *n != count) {
        return broken(format!("it has {count} starts, and not as many ends, axes or steps"));
    }
    for k in 0..count {
        let axis = axis_of(axes[k], rank)?;
        let part = |p: usize| fold::slice(call.pair(x)[p][axis], starts[p][k], ends[p][k], steps[k]);
        let (Some(first), second) = (part(0), part(1)) else { return broken("it has a step of 0") };
        let lengths = [0, 1].map(|p| call.pair(x)[p][axis]);
        let whole = |(start, len, step): (usize, usize, isize), n: usize| start == 0 && step == 1 && len == n;
        if whole(first, lengths[0]) && second.is_some_and(|second| whole(second, lengths[1])) {
            continue;
        }
        if second != Some(first) {
            return unknown(format!("a Slice of axis {axis} that changes with the batch is not known"));
        }
        x = run(call, x, axis, first)?;
    }
    Ok(x)
}

pub(super) fn gather(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let axis = call.int("axis", 0)?;
    let data = call.input(0)?;
    let axis = axis_of(axis, call.rank(data))?;
    let kind = call.kind(data);
    let Ok(Some(indices)) = call.fixed(1) else {
        let indices = call.input(1)?;
        return call.push_as(kind, Op::Gather { axis }, &[data, indices]);
    };
    let positions = |k: usize| {
        let len = call.pair(data)[k][axis];
        indices.whole()?.into_iter().map(|i| fold::axis(i, len)).collect::<Option<Vec<_>>>()
    };
    let Some(chosen) = positions(0) else {
        return broken(format!("an index lies outside axis {axis} of {:?}", call.shape(data)));
    };
    if positions(1).as_ref() != Some(&chosen) {
        return unknown("indices from the end of the batch are not known");
    }
    let step = match chosen[..] {
        [first, second, ..] => second as isize - first as isize,
        _ => 1,
    };
    let even = step != 0 && chosen.windows(2).all(|w| w[1] as isize - w[0] as isize == step);
    if !even || chosen.is_empty() || indices.shape.len() > 1 {
        if let Some(view) = Strided::of(&indices.shape, &chosen, call.shape(data)[axis]) {
            return view.take(call, data, axis);
        }
        let positions = chosen.iter().map(|&c| c as i64).collect();
        let Some(positions) = Array::new(&indices.shape, Elements::Int(positions)) else {
            return broken("its indices do not fill their shape");
        };
        let positions = call.constant(&positions)?;
        return call.push_as(kind, Op::Gather { axis }, &[data, positions]);
    }
    let part = run(call, data, axis, (chosen[0], chosen.len(), step))?;
    if indices.shape.is_empty() {
        let kept = (0..call.rank(data)).filter(|a| *a != axis).map(Dim::Same);
        return call.reshape(part, kept.collect());
    }
    Ok(part)
}

pub(super) fn pad(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let mode = call.text("mode", "constant")?;
    let value = call.float("value", 0.0)?;
    let Some(pads) = call.whole("pads", 1)? else { return broken("its pads are missing") };
    let value = call.number(2)?.unwrap_or(value);
    let axes = call.whole("axes", 3)?;
    let mut x = call.input(0)?;
    let rank = call.rank(x);
    let axes = match axes {
        Some(axes) => axes.iter().map(|&a| axis_of(a, rank)).collect::<Made<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if pads.iter().any(|p| p.unsigned_abs() > LONGEST as u64) {
        return broken(format!("pads {pads:?}, expected numbers up to {LONGEST}"));
    }
    if pads.len() != 2 * axes.len() {
        return broken(format!("it has {} pads for {} axes", pads.len(), axes.len()));
    }
    let mode = match mode {
        "constant" => PadMode::Constant(value),
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        other => return unknown(format!("Pad in mode `{other}` is not known")),
    };
    let mut sides = [vec![0; rank], vec![0; rank]];
    for (k, &axis) in axes.iter().enumerate() {
        let ends = [pads[k], pads[k + axes.len()]];
        let gone = ends.map(|p| usize::try_from(p.saturating_neg()).unwrap_or(0));
        if gone != [0, 0] {
            let len = call.shape(x)[axis];
            let left = len.checked_sub(gone[0]).and_then(|n| n.checked_sub(gone[1]));
            let Some(left) = left else { return broken(format!("pads {ends:?} leave nothing of {len}")) };
            x = run(call, x, axis, (gone[0], left, 1))?;
        }
        (0..2).for_each(|side| sides[side][axis] = usize::try_from(ends[side]).unwrap_or(0));
    }
    let [before, after] = sides;
    if before.iter().chain(&after).all(|p| *p == 0) {
        return Ok(x);
    }
    call.push_as(ElementKind::Float, Op::Pad { before, after, mode }, &[x])
}
