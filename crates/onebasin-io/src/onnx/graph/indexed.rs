//! Entries picked and replaced by their indices.
//!
//! Tables of indices that are known and run along the axes one by one are slices and concatenations, whatever the
//! operator: they say what the batch is, and cut units where they really are cut.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Binary, Dim, Reduce, Scatter};

use super::PerBatch;
use super::array::{Array, ElementKind};
use super::call::{Made, NodeCall, axis_of, broken, unknown};
use super::layout::{expand_to, to_shape};
use super::plan::PlanSlot;
use super::slices::run;

/// How one part of the indices in a table moves: along which axis of the table, from where, and how far each time.
struct Run {
    along: Option<usize>,
    start: i64,
    step: i64,
}

/// The runs that the last axis of a table is made of, no two along one axis; none if it is made of anything else.
fn runs(table: &Array) -> Option<Vec<Run>> {
    let (values, (&parts, axes)) = (table.whole()?, table.shape.split_last()?);
    if values.is_empty() {
        return None;
    }
    let strides: Vec<usize> = (0..axes.len()).map(|a| axes[a + 1..].iter().product::<usize>() * parts).collect();
    let mut found: Vec<Run> = Vec::with_capacity(parts);
    for part in 0..parts {
        let start = values[part];
        let step = |a: usize| if axes[a] > 1 { values[part + strides[a]].checked_sub(start) } else { Some(0) };
        let steps = (0..axes.len()).map(step).collect::<Option<Vec<_>>>()?;
        let mut moving = (0..axes.len()).filter(|a| steps[*a] != 0);
        let along = moving.next();
        if moving.next().is_some() || along.is_some_and(|a| found.iter().any(|r| r.along == Some(a))) {
            return None;
        }
        found.push(Run { along, start, step: along.map_or(0, |a| steps[a]) });
    }
    let expected = |at: usize| {
        let run = &found[at % parts];
        let place = run.along.map_or(0, |a| at / strides[a] % axes[a]);
        run.step.checked_mul(place as i64).and_then(|d| d.checked_add(run.start))
    };
    (0..values.len()).all(|at| expected(at) == Some(values[at])).then_some(found)
}

/// The positions that a known table takes of one axis: the axis of the table that it runs along, if it moves, and the first
/// position, their number and their distance.
struct Taken {
    along: Option<usize>,
    positions: (usize, usize, isize),
}

/// The positions of an axis that a run of `count` takes, as a slice; none where some lie outside.
fn positions(run: &Run, count: usize, len: usize) -> Option<(usize, usize, isize)> {
    let n = len as i64;
    let start = if run.start < 0 { run.start.checked_add(n)? } else { run.start };
    let last = run.step.checked_mul(count as i64 - 1)?.checked_add(start)?;
    let inside = |i: i64| (0..n).contains(&i);
    // Where some count from the end and some from the front it is no run.
    let one_sided = run.start >= 0 || last < n;
    (inside(start) && inside(last) && one_sided).then_some((start as usize, count, run.step as isize))
}

/// An axis all of whose positions are taken in order, the batch's however long it is.
fn whole((start, count, step): (usize, usize, isize), len: usize) -> bool {
    start == 0 && count == len && (step == 1 || count == 1)
}

/// A known table of indices as slices of the first axes of the data, each with the axis of the table that it runs along.
fn slices(call: &NodeCall<'_, '_>, data: PlanSlot, table: &Array) -> Option<Vec<Taken>> {
    let runs = runs(table)?;
    let pair = call.pair(data);
    let used = |a: usize| table.shape[a] == 1 || runs.iter().any(|r| r.along == Some(a));
    if runs.len() > pair[0].len() || !(0..table.shape.len() - 1).all(used) {
        return None;
    }
    let slice = |(axis, run): (usize, &Run)| {
        let taken = positions(run, run.along.map_or(1, |a| table.shape[a]), pair[0][axis])?;
        let open = pair[0][axis] != pair[1][axis];
        (!open || whole(taken, pair[0][axis])).then_some(Taken { along: run.along, positions: taken })
    };
    runs.iter().enumerate().map(slice).collect()
}

/// The table that input `k` is in the model's own batch, where it is known.
fn table(call: &mut NodeCall<'_, '_>, k: usize) -> Option<Array> {
    call.known(k).ok().flatten().map(|pair| pair[0].clone())
}

/// Lengths for both batches, put together from parts.
fn joined(parts: &[&PerBatch<Vec<usize>>]) -> PerBatch<Vec<usize>> {
    [0, 1].map(|k| parts.iter().flat_map(|part| part[k].iter().copied()).collect())
}

fn part(pair: &PerBatch<Vec<usize>>, range: std::ops::Range<usize>) -> PerBatch<Vec<usize>> {
    [0, 1].map(|k| pair[k][range.clone()].to_vec())
}

fn product(pair: &PerBatch<Vec<usize>>) -> PerBatch<Vec<usize>> {
    [0, 1].map(|k| vec![pair[k].iter().product()])
}

pub(super) fn gather_nd(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let batch = call.int("batch_dims", 0)?;
    let data = call.input(0)?;
    let shape = call.pair(data).clone();
    let rank = shape[0].len();
    if batch == 0
        && let Some(table) = table(call, 1)
        && let Some(slices) = slices(call, data, &table)
    {
        return sliced(call, data, &table, &slices);
    }
    let indices = call.input(1)?;
    let picked = call.pair(indices).clone();
    let (Ok(batch), Some(&depth)) = (usize::try_from(batch), picked[0].last()) else {
        return broken(format!("indices of shape {:?} with {batch} axes of batches", picked[0]));
    };
    let outer = picked[0].len() - 1;
    if batch > outer || batch + depth > rank || picked[0][..batch] != shape[0][..batch] {
        return broken(format!("indices of shape {:?} do not fit data of shape {:?}", picked[0], shape[0]));
    }
    let (head, rest) = (part(&shape, 0..batch), part(&shape, batch + depth..rank));
    let flat = flat_indices(call, indices, &part(&shape, batch..batch + depth))?;
    let kind = call.kind(data);
    let result = joined(&[&part(&picked, 0..outer), &rest]);
    if batch == 0 {
        let rows = held(call, &product(&part(&shape, 0..depth)), indices);
        let data = to_shape(call, data, &joined(&[&rows, &rest]))?;
        return call.push_as(kind, Op::Gather { axis: 0 }, &[data, flat]);
    }
    let (heads, width) = (product(&head), product(&rest));
    let rows = product(&part(&shape, batch..batch + depth));
    let count = product(&part(&picked, batch..outer));
    let data = to_shape(call, data, &joined(&[&heads, &rows, &width]))?;
    let flat = to_shape(call, flat, &joined(&[&heads, &count, &[vec![1], vec![1]]]))?;
    let flat = expand_to(call, flat, &joined(&[&heads, &count, &width]))?;
    let found = call.push_as(kind, Op::GatherElements { axis: 1 }, &[data, flat])?;
    to_shape(call, found, &result)
}

/// A known table leaves the batch what it is in the model, since it counts the batch's samples.
fn held(call: &NodeCall<'_, '_>, lengths: &PerBatch<Vec<usize>>, indices: PlanSlot) -> PerBatch<Vec<usize>> {
    if call.is_constant(indices) { [lengths[0].clone(), lengths[0].clone()] } else { lengths.clone() }
}

/// Slices of the data, in the order of the table's axes.
fn sliced(call: &mut NodeCall<'_, '_>, data: PlanSlot, table: &Array, slices: &[Taken]) -> Made<PlanSlot> {
    let (depth, rank) = (slices.len(), call.rank(data));
    let mut x = data;
    for (axis, Taken { positions: taken, .. }) in slices.iter().enumerate() {
        if !whole(*taken, call.shape(data)[axis]) {
            x = run(call, x, axis, *taken)?;
        }
    }
    let mut order: Vec<usize> = (0..depth).collect();
    order.sort_by_key(|axis| slices[*axis].along.unwrap_or(usize::MAX));
    let x = call.transpose(x, order.iter().copied().chain(depth..rank).collect())?;
    let pair = call.pair(x).clone();
    let mut moved = 0..depth;
    let lengths = (0..table.shape.len() - 1).map(|a| {
        let runs = slices.iter().any(|taken| taken.along == Some(a));
        if runs { moved.next().map_or([1; 2], |m| [pair[0][m], pair[1][m]]) } else { [1; 2] }
    });
    let lengths: Vec<PerBatch<usize>> = lengths.collect();
    let head = [0, 1].map(|k| lengths.iter().map(|pair| pair[k]).collect());
    to_shape(call, x, &joined(&[&head, &part(&pair, depth..rank)]))
}

/// Indices of several axes, of these lengths, as positions on the one axis that they become; those of one axis as they are.
fn flat_indices(call: &mut NodeCall<'_, '_>, indices: PlanSlot, lengths: &PerBatch<Vec<usize>>) -> Made<PlanSlot> {
    let rank = call.rank(indices);
    if lengths[0].len() == 1 {
        return call.reshape(indices, (0..rank - 1).map(Dim::Same).collect());
    }
    let numbers = |values: Vec<usize>| Array::ints(values.into_iter().map(|v| v as i64).collect());
    let strides = (0..lengths[0].len()).map(|a| lengths[0][a + 1..].iter().product()).collect();
    let (Some(lens), Some(strides)) = (numbers(lengths[0].clone()), numbers(strides)) else {
        return unknown("indices of that many axes are not known");
    };
    let (lens, strides) = (call.constant(&lens)?, call.constant(&strides)?);
    let zero = call.scalar(0.0)?;
    let below = call.push_as(ElementKind::Bool, Op::Binary(Binary::Less), &[indices, zero])?;
    let from_end = call.push_as(ElementKind::Int, Op::Binary(Binary::Mul), &[below, lens])?;
    let indices = call.push_as(ElementKind::Int, Op::Binary(Binary::Add), &[indices, from_end])?;
    let scaled = call.binary(Binary::Mul, indices, strides)?;
    call.push(Op::Reduce { kind: Reduce::Sum, axes: vec![rank - 1], keep: false }, &[scaled])
}

fn function(call: &NodeCall<'_, '_>) -> Made<Scatter> {
    Ok(match call.text("reduction", "none")? {
        "none" => Scatter::Set,
        "add" => Scatter::Add,
        "mul" => Scatter::Mul,
        "min" => Scatter::Min,
        "max" => Scatter::Max,
        other => return unknown(format!("reduction `{other}` of {} is not known", call.node.op_type)),
    })
}

pub(super) fn scatter_nd(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let function = function(call)?;
    let (data, updates) = (call.input(0)?, call.input(2)?);
    let (shape, kind) = (call.pair(data).clone(), call.kind(data));
    let rank = shape[0].len();
    if function == Scatter::Set
        && let Some(table) = table(call, 1)
        && let Some(slices) = slices(call, data, &table)
        && let Some(made) = replaced(call, data, updates, &table, &slices)?
    {
        return Ok(made);
    }
    let indices = call.input(1)?;
    let picked = call.pair(indices).clone();
    let Some(&depth) = picked[0].last().filter(|d| **d <= rank) else {
        return broken(format!("indices of shape {:?} do not fit data of shape {:?}", picked[0], shape[0]));
    };
    let flat = flat_indices(call, indices, &part(&shape, 0..depth))?;
    let rows = held(call, &product(&part(&shape, 0..depth)), indices);
    let width = product(&part(&shape, depth..rank));
    let count = product(&part(&picked, 0..picked[0].len() - 1));
    let data = to_shape(call, data, &joined(&[&rows, &width]))?;
    let updates = to_shape(call, updates, &joined(&[&count, &width]))?;
    let flat = to_shape(call, flat, &joined(&[&count, &[vec![1], vec![1]]]))?;
    let flat = expand_to(call, flat, &joined(&[&count, &width]))?;
    let made = call.push_as(kind, Op::ScatterElements { axis: 0, function }, &[data, flat, updates])?;
    to_shape(call, made, &shape)
}

/// Data of which one run of positions of one axis is replaced; none where the indices are no such run.
fn replaced(
    call: &mut NodeCall<'_, '_>,
    data: PlanSlot,
    updates: PlanSlot,
    table: &Array,
    slices: &[Taken],
) -> Made<Option<PlanSlot>> {
    let shape = call.pair(data).clone();
    let (depth, rank) = (slices.len(), shape[0].len());
    let partly: Vec<usize> = (0..depth).filter(|axis| !whole(slices[*axis].positions, shape[0][*axis])).collect();
    let consecutive = |axis: usize| {
        let (_, count, step) = slices[axis].positions;
        step == 1 || count == 1
    };
    if partly.len() > 1 || !partly.iter().all(|axis| consecutive(*axis)) {
        return Ok(None);
    }
    // The updates lie in the order of the table's axes; those along which nothing runs have length 1.
    let mut order: Vec<usize> = (0..depth).filter(|axis| slices[*axis].along.is_some()).collect();
    order.sort_by_key(|axis| slices[*axis].along);
    let taken = |axis: usize| {
        if partly.contains(&axis) { [slices[axis].positions.1; 2] } else { [shape[0][axis], shape[1][axis]] }
    };
    let moved = [0, 1].map(|k| order.iter().map(|axis| taken(*axis)[k]).collect());
    let rest = part(&shape, depth..rank);
    let count: usize = call.shape(updates).iter().product();
    if count != joined(&[&moved, &rest])[0].iter().product::<usize>() || table.data.len() == 0 {
        return broken(format!("updates of shape {:?} do not fit", call.shape(updates)));
    }
    let updates = to_shape(call, updates, &joined(&[&moved, &rest]))?;
    let mut back: Vec<usize> = (0..order.len()).collect();
    back.sort_by_key(|place| order[*place]);
    let updates = call.transpose(updates, back.into_iter().chain(order.len()..order.len() + rank - depth).collect())?;
    let full = [0, 1].map(|k| (0..depth).map(|axis| taken(axis)[k]).collect());
    let updates = to_shape(call, updates, &joined(&[&full, &rest]))?;
    let Some(&axis) = partly.first() else { return Ok(Some(updates)) };
    let (start, count, _) = slices[axis].positions;
    let mut parts = Vec::new();
    if start > 0 {
        parts.push(run(call, data, axis, (0, start, 1))?);
    }
    parts.push(updates);
    if start + count < shape[0][axis] {
        parts.push(run(call, data, axis, (start + count, shape[0][axis] - start - count, 1))?);
    }
    call.push_as(call.kind(data), Op::Concat { axis }, &parts).map(Some)
}

pub(super) fn gather_elements(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let axis = call.int("axis", 0)?;
    let (data, indices) = (call.input(0)?, call.input(1)?);
    let axis = axis_of(axis, call.rank(data))?;
    call.push_as(call.kind(data), Op::GatherElements { axis }, &[data, indices])
}

pub(super) fn scatter_elements(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let axis = call.int("axis", 0)?;
    let function = function(call)?;
    let (data, updates) = (call.input(0)?, call.input(2)?);
    let (shape, kind) = (call.pair(data).clone(), call.kind(data));
    let axis = axis_of(axis, shape[0].len())?;
    if function == Scatter::Set
        && let Some(table) = table(call, 1)
        && let Some([run]) = table.reshaped(&[&table.shape[..], &[1]].concat()).and_then(|t| runs(&t)).as_deref()
        && run.along.is_none_or(|a| a == axis)
        && (run.along.is_some() || table.shape[axis] == 1)
        && let Some(taken) = positions(run, table.shape[axis], shape[0][axis])
        && (0..shape[0].len()).all(|a| a == axis || table.shape[a] == shape[0][a])
        && (shape[0][axis] == shape[1][axis] || whole(taken, shape[0][axis]))
    {
        let slices: Vec<_> = (0..shape[0].len())
            .map(|a| Taken { along: Some(a), positions: if a == axis { taken } else { (0, shape[0][a], 1) } })
            .collect();
        if let Some(made) = replaced(call, data, updates, &table, &slices)? {
            return Ok(made);
        }
    }
    let indices = call.input(1)?;
    call.push_as(kind, Op::ScatterElements { axis, function }, &[data, indices, updates])
}
