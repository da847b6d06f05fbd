//! Entries picked, replaced, ranked and counted.
//!
//! Tables of indices that are known and run along the axes one by one are slices and concatenations, whatever the
//! operator: they say what the batch is, and cut units where they really are cut.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Binary, Dim, Reduce, Scatter};

use super::PerBatch;
use super::array::{Array, ElementKind, Elements};
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
fn slices(
    call: &NodeCall<'_, '_>,
    data: PlanSlot,
    table: &Array,
) -> Option<Vec<(Option<usize>, (usize, usize, isize))>> {
    let runs = runs(table)?;
    let pair = call.pair(data);
    let used = |a: usize| table.shape[a] == 1 || runs.iter().any(|r| r.along == Some(a));
    if runs.len() > pair[0].len() || !(0..table.shape.len() - 1).all(used) {
        return None;
    }
    let slice = |(axis, run): (usize, &Run)| {
        let taken = positions(run, run.along.map_or(1, |a| table.shape[a]), pair[0][axis])?;
        let open = pair[0][axis] != pair[1][axis];
        (!open || whole(taken, pair[0][axis])).then_some((run.along, taken))
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
fn sliced(
    call: &mut NodeCall<'_, '_>,
    data: PlanSlot,
    table: &Array,
    slices: &[(Option<usize>, (usize, usize, isize))],
) -> Made<PlanSlot> {
    let (depth, rank) = (slices.len(), call.rank(data));
    let mut x = data;
    for (axis, (_, taken)) in slices.iter().enumerate() {
        if !whole(*taken, call.shape(data)[axis]) {
            x = run(call, x, axis, *taken)?;
        }
    }
    let mut order: Vec<usize> = (0..depth).collect();
    order.sort_by_key(|axis| slices[*axis].0.unwrap_or(usize::MAX));
    let x = call.transpose(x, order.iter().copied().chain(depth..rank).collect())?;
    let pair = call.pair(x).clone();
    let mut moved = 0..depth;
    let lengths = (0..table.shape.len() - 1).map(|a| {
        let runs = slices.iter().any(|(along, _)| *along == Some(a));
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
    slices: &[(Option<usize>, (usize, usize, isize))],
) -> Made<Option<PlanSlot>> {
    let shape = call.pair(data).clone();
    let (depth, rank) = (slices.len(), shape[0].len());
    let partly: Vec<usize> = (0..depth).filter(|axis| !whole(slices[*axis].1, shape[0][*axis])).collect();
    let consecutive = |axis: usize| slices[axis].1.2 == 1 || slices[axis].1.1 == 1;
    if partly.len() > 1 || !partly.iter().all(|axis| consecutive(*axis)) {
        return Ok(None);
    }
    // The updates lie in the order of the table's axes; those along which nothing runs have length 1.
    let mut order: Vec<usize> = (0..depth).filter(|axis| slices[*axis].0.is_some()).collect();
    order.sort_by_key(|axis| slices[*axis].0);
    let taken = |axis: usize| {
        if partly.contains(&axis) { [slices[axis].1.1; 2] } else { [shape[0][axis], shape[1][axis]] }
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
    let (start, count, _) = slices[axis].1;
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
        let slices: Vec<_> =
            (0..shape[0].len()).map(|a| (Some(a), if a == axis { taken } else { (0, shape[0][a], 1) })).collect();
        if let Some(made) = replaced(call, data, updates, &table, &slices)? {
            return Ok(made);
        }
    }
    let indices = call.input(1)?;
    call.push_as(kind, Op::ScatterElements { axis, function }, &[data, indices, updates])
}

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
