//! Entries ranked, counted and numbered.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Binary, Dim, Scatter};

use super::PerBatch;
use super::array::{Array, ElementKind, Elements};
use super::call::{Made, NodeCall, axis_of, broken, unknown};
use super::layout::{expand_to, to_shape};
use super::plan::PlanSlot;
use super::slices::run;

pub(super) fn top_k(call: &mut NodeCall<'_, '_>) -> Made<Vec<PlanSlot>> {
    // In which order entries come where they are not sorted is nobody's to say.
    call.ignore(&["sorted"]);
    let (axis, largest) = (call.int("axis", -1)?, call.flag("largest", true)?);
    let count = match call.int("k", -1)? {
        -1 => call.number(1)?.unwrap_or(-1.0) as i64,
        count => count,
    };
    let x = call.input(0)?;
    let axis = axis_of(axis, call.rank(x))?;
    match usize::try_from(count) {
        Ok(count) => ranked(call, x, axis, count, largest),
        Err(_) => broken(format!("its {count} largest entries")),
    }
}

/// The first entries and their positions.
fn ranked(call: &mut NodeCall<'_, '_>, x: PlanSlot, axis: usize, count: usize, largest: bool) -> Made<Vec<PlanSlot>> {
    let made = call.push_many(call.kind(x), Op::TopK { axis, count, largest }, &[x])?;
    call.set_kind(made[1], ElementKind::Int);
    Ok(made)
}

pub(super) fn arg_extreme(call: &mut NodeCall<'_, '_>, largest: bool) -> Made<PlanSlot> {
    let (axis, keep) = (call.int("axis", 0)?, call.flag("keepdims", true)?);
    let last = call.flag("select_last_index", false)?;
    let mut x = call.input(0)?;
    let (rank, shape) = (call.rank(x), call.shape(x));
    let axis = axis_of(axis, rank)?;
    let len = shape[axis];
    if len == 0 {
        return broken(format!("axis {axis} of {shape:?} has no entry"));
    }
    if last {
        x = run(call, x, axis, (len - 1, len, -1))?;
    }
    let mut place = ranked(call, x, axis, 1, largest)?[1];
    if last {
        let end = call.scalar((len - 1) as f64)?;
        place = call.push_as(ElementKind::Int, Op::Binary(Binary::Sub), &[end, place])?;
    }
    if keep {
        return Ok(place);
    }
    call.reshape(place, (0..rank).filter(|a| *a != axis).map(Dim::Same).collect())
}

pub(super) fn cum_sum(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let (exclusive, reverse) = (call.flag("exclusive", false)?, call.flag("reverse", false)?);
    let Some(axis) = call.number(1)? else { return broken("its axis is missing") };
    let x = call.input(0)?;
    let axis = axis_of(axis as i64, call.rank(x))?;
    call.push(Op::CumSum { axis, exclusive, reverse }, &[x])
}

pub(super) fn non_zero(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let x = call.input(0)?;
    call.push_as(ElementKind::Int, Op::NonZero, &[x])
}

/// One value at the positions that indices say, another everywhere else.
pub(super) fn one_hot(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let axis = call.int("axis", -1)?;
    let Some(depth) = call.number(1)?.filter(|d| *d >= 1.0 && *d <= super::BUDGET as f64) else {
        return broken("its depth is missing, or no length");
    };
    let (depth, indices, values) = (depth as usize, call.input(0)?, call.input(2)?);
    if call.shape(values) != [2] {
        return broken(format!("two values, found shape {:?}", call.shape(values)));
    }
    let (kind, rank) = (call.kind(values), call.rank(indices) + 1);
    let axis = axis_of(axis, rank)?;
    let own = call.pair(indices).clone();
    let beside = |len: usize| own.clone().map(|s| [&s[..axis], &[len], &s[axis..]].concat());
    let one = vec![Dim::Size(1); rank];
    let value = |call: &mut NodeCall<'_, '_>, k: usize, lengths: &PerBatch<Vec<usize>>| {
        let value = run(call, values, 0, (k, 1, 1))?;
        let value = call.reshape(value, one.clone())?;
        expand_to(call, value, lengths)
    };
    let off = value(call, 0, &beside(depth))?;
    let on = value(call, 1, &beside(1))?;
    let indices = to_shape(call, indices, &beside(1))?;
    call.push_as(kind, Op::ScatterElements { axis, function: Scatter::Set }, &[off, indices, on])
}

/// The upper or the lower triangle of matrices, 0 elsewhere.
pub(super) fn triangle(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let upper = call.flag("upper", true)?;
    let shift = call.number(1)?.unwrap_or(0.0) as i64;
    let x = call.input(0)?;
    let shape = call.shape(x);
    let Some(&[rows, columns]) = shape.last_chunk::<2>() else {
        return broken(format!("shape {shape:?} is no matrix"));
    };
    let cells = (0..rows as i64).flat_map(|r| (0..columns as i64).map(move |c| c - r));
    let kept = cells.map(|d| if upper { d >= shift } else { d <= shift }).collect();
    let Some(kept) = Array::new(&[rows, columns], Elements::Bool(kept)) else {
        return unknown(format!("triangles of {rows} rows and {columns} columns are not known"));
    };
    let (kept, zero) = (call.constant(&kept)?, call.scalar(0.0)?);
    call.push_as(call.kind(x), Op::Where, &[kept, x, zero])
}

/// Numbers that follow each other, where how many there are follows the batch.
pub(super) fn range(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let (Some(start), Some(_), Some(step)) = (call.number(0)?, call.known(1)?, call.number(2)?) else {
        return broken("its start, limit or step is missing");
    };
    let Some(lengths) = call.output_lengths() else { return unknown("a Range of that many numbers is not known") };
    let kind = call.kind_of(0)?;
    let one = call.filled(&[1], 1.0)?;
    let ones = expand_to(call, one, &lengths)?;
    let count = Op::CumSum { axis: 0, exclusive: true, reverse: false };
    let mut numbers = call.push_as(kind, count, &[ones])?;
    if step != 1.0 {
        let step = call.scalar(step)?;
        numbers = call.binary(Binary::Mul, numbers, step)?;
    }
    if start != 0.0 {
        let start = call.scalar(start)?;
        numbers = call.binary(Binary::Add, numbers, start)?;
    }
    Ok(numbers)
}
