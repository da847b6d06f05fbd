//! The same numbers in another shape, another order, or several times.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Binary, Dim};
use onebasin_core::graph::shape::broadcast;

use super::PerBatch;
use super::array::{Array, ElementKind};
use super::call::{Made, NodeCall, axes_of, axis_of, broken, unknown};
use super::fold;
use super::plan::PlanSlot;
use crate::onnx::model::Attribute;

/// Most copies that a repetition is written out as.
const COPIES: usize = 256;

/// What a reshape's target is made of: lengths for both batches, axes that are kept, and the axis that is the rest.
struct WantedShape {
    lengths: PerBatch<Vec<usize>>,
    kept: Vec<bool>,
    rest: Option<usize>,
}

/// The axes of a target, by what they follow from; those of the first batch if the second has no such shape.
fn dims(from: &PerBatch<Vec<usize>>, target: &WantedShape) -> Vec<Dim> {
    let WantedShape { lengths, kept, rest } = target;
    let same = |axis: usize, pair: PerBatch<usize>| {
        let is = |&k: &usize| from[0].get(k) == Some(&pair[0]) && from[1].get(k) == Some(&pair[1]);
        Some(axis).filter(is).or_else(|| (0..from[0].len()).find(is))
    };
    let dim = |axis: usize| {
        let pair = [lengths[0][axis], lengths[1][axis]];
        match (kept[axis], same(axis, pair)) {
            (true, _) => Dim::Same(axis),
            _ if pair[0] == pair[1] => Dim::Size(pair[0]),
            (_, Some(k)) => Dim::Same(k),
            (_, None) => Dim::Rest,
        }
    };
    let mut dims: Vec<Dim> = (0..lengths[0].len()).map(dim).collect();
    let open = |dims: &[Dim]| dims.iter().filter(|d| **d == Dim::Rest).count();
    if let Some(rest) = rest.filter(|r| open(&dims) == usize::from(dims[*r] == Dim::Rest)) {
        dims[rest] = Dim::Rest;
    } else if open(&dims) > 1 {
        let fixed = |(axis, d): (usize, Dim)| if d == Dim::Rest { Dim::Size(lengths[0][axis]) } else { d };
        dims = dims.into_iter().enumerate().map(fixed).collect();
    }
    dims
}

/// The same numbers in a shape that is given for both batches.
pub(super) fn to_shape(call: &mut NodeCall<'_, '_>, x: PlanSlot, lengths: &PerBatch<Vec<usize>>) -> Made<PlanSlot> {
    if call.pair(x) == lengths {
        return Ok(x);
    }
    let target = WantedShape { lengths: lengths.clone(), kept: vec![false; lengths[0].len()], rest: None };
    let dims = dims(call.pair(x), &target);
    call.reshape(x, dims)
}

pub(super) fn reshape(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let literal = call.flag("allowzero", false)?;
    let x = call.input(0)?;
    let from = call.pair(x).clone();
    let attribute = call.ints("shape")?;
    let wanted: PerBatch<Vec<i64>> = match (attribute, call.known(1)?) {
        (Some(shape), _) => [shape.clone(), shape],
        (None, Some(pair)) => match [pair[0].whole(), pair[1].whole()] {
            [Some(a), Some(b)] if a.len() == b.len() => [a, b],
            _ => return broken("its shape holds no whole numbers, or changes in length with the batch"),
        },
        (None, None) => return broken("its shape is missing"),
    };
    let Some(first) = fold::reshape_target(&from[0], &wanted[0], literal) else {
        return broken(format!("shape {:?} cannot become {:?}", from[0], wanted[0]));
    };
    let at = |value: i64| wanted[0].iter().position(|w| *w == value);
    let mut kept: Vec<bool> = wanted[0].iter().map(|w| *w == 0 && !literal).collect();
    let rest = at(-1);
    let lengths = |second: Vec<usize>| [first.clone(), second];
    // A model that was made for one batch holds its length as a number in front.
    if let ([len, ..], [more, ..]) = (&from[0][..], &from[1][..])
        && len != more
        && call.batch([*len, *more]).is_some()
        && wanted[0] == wanted[1]
        && wanted[0].first() == Some(&(*len as i64))
    {
        let follows = [&[*more as i64], &wanted[0][1..]].concat();
        if let Some(second) = fold::reshape_target(&from[1], &follows, literal) {
            kept[0] = true;
            let dims = dims(&from, &WantedShape { lengths: lengths(second), kept, rest });
            return call.reshape(x, dims);
        }
    }
    let second = fold::reshape_target(&from[1], &wanted[1], literal).unwrap_or_else(|| first.clone());
    let dims = dims(&from, &WantedShape { lengths: lengths(second), kept, rest });
    call.reshape(x, dims)
}

pub(super) fn flatten(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let axis = call.int("axis", 1)?;
    let x = call.input(0)?;
    let rank = call.rank(x);
    let axis = if axis == rank as i64 { rank } else { axis_of(axis, rank)? };
    let lengths = call.pair(x).clone().map(|s| vec![s[..axis].iter().product(), s[axis..].iter().product()]);
    let rest = if axis <= 1 { Some(1) } else { None };
    let dims = dims(call.pair(x), &WantedShape { lengths, kept: vec![axis == 1, false], rest });
    call.reshape(x, dims)
}

pub(super) fn squeeze(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let numbers = call.whole("axes", 1)?;
    let x = call.input(0)?;
    let shape = call.shape(x);
    let kept = match &numbers {
        Some(numbers) => fold::kept(&shape, Some(numbers)),
        // The batch stays, whatever its length.
        None => Some((0..shape.len()).filter(|&a| shape[a] != 1 || call.pair(x)[1][a] != 1).collect()),
    };
    let Some(kept) = kept else { return broken(format!("axes {numbers:?} of {shape:?} are not of length 1")) };
    call.reshape(x, kept.into_iter().map(Dim::Same).collect())
}

pub(super) fn unsqueeze(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let Some(numbers) = call.whole("axes", 1)? else { return broken("its axes are missing") };
    let x = call.input(0)?;
    let added = axes_of(&numbers, call.rank(x) + numbers.len())?;
    let mut from = 0..call.rank(x);
    let dims = (0..call.rank(x) + added.len())
        .map(|a| if added.contains(&a) { Dim::Size(1) } else { from.next().map_or(Dim::Rest, Dim::Same) });
    call.reshape(x, dims.collect())
}

pub(super) fn transpose(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let order = call.ints("perm")?;
    let x = call.input(0)?;
    let rank = call.rank(x);
    let order = match order {
        None => (0..rank).rev().collect(),
        Some(order) => order.iter().map(|&o| axis_of(o, rank)).collect::<Made<Vec<_>>>()?,
    };
    call.transpose(x, order)
}

/// As many ones as a length that is fixed, or a multiple of the batch.
fn ones(call: &mut NodeCall<'_, '_>, lengths: PerBatch<usize>) -> Made<PlanSlot> {
    if lengths[0] == lengths[1] {
        return call.filled(&[lengths[0]], 1.0);
    }
    let Some((batch, times)) = call.multiple(lengths) else {
        return unknown(format!("an expansion to {} that is no multiple of the batch is not known", lengths[0]));
    };
    let one = call.filled(&[1, 1], 1.0)?;
    let ones = call.push(Op::Expand(vec![Dim::Same(0), Dim::Size(times)]), &[one, batch])?;
    call.reshape(ones, vec![Dim::Rest])
}

/// Repeats axes of length 1, and adds axes in front, to a shape that is given for both batches.
pub(super) fn expand_to(call: &mut NodeCall<'_, '_>, x: PlanSlot, lengths: &PerBatch<Vec<usize>>) -> Made<PlanSlot> {
    if call.pair(x) == lengths {
        return Ok(x);
    }
    let pairs: Vec<PerBatch<usize>> = lengths[0].iter().zip(&lengths[1]).map(|(&a, &b)| [a, b]).collect();
    let own = |axis: usize| {
        let axis = (axis + call.rank(x)).checked_sub(pairs.len())?;
        Some((axis, [call.pair(x)[0][axis], call.pair(x)[1][axis]]))
    };
    let own = pairs.iter().enumerate().map(|(axis, pair)| match own(axis) {
        Some((axis, found)) if found == *pair && pair[0] != pair[1] => Some(Dim::Same(axis)),
        _ => (pair[0] == pair[1]).then_some(Dim::Size(pair[0])),
    });
    if let Some(dims) = own.collect() {
        return call.push(Op::Expand(dims), &[x]);
    }
    let like = pairs.iter().find(|pair| pair[0] != pair[1]).and_then(|pair| call.batch(*pair));
    if let Some(like) = like
        && pairs.iter().all(|pair| pair[0] == pair[1] || call.batch(*pair) == Some(like))
    {
        let dims = pairs.iter().map(|pair| if pair[0] == pair[1] { Dim::Size(pair[0]) } else { Dim::Same(0) });
        return call.push(Op::Expand(dims.collect()), &[x, like]);
    }
    // Lengths that no single value has: what is repeated is multiplied by ones, axis by axis.
    let mut x = x;
    for (axis, pair) in pairs.iter().enumerate().rev() {
        let behind = pairs.len() - 1 - axis;
        let own = call.rank(x).checked_sub(behind + 1).map(|a| [call.pair(x)[0][a], call.pair(x)[1][a]]);
        if own == Some(*pair) {
            continue;
        }
        let ones = ones(call, *pair)?;
        let ones = call.reshape(ones, std::iter::once(Dim::Same(0)).chain(vec![Dim::Size(1); behind]).collect())?;
        x = call.push(Op::Binary(Binary::Mul), &[x, ones])?;
    }
    Ok(x)
}

pub(super) fn expand(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let x = call.input(0)?;
    let Some(wanted) = call.known(1)? else { return broken("its shape is missing") };
    let from = call.pair(x).clone();
    let result = |k: usize| broadcast(&from[k], &wanted[k].lengths()?).ok();
    let Some(first) = result(0) else { return broken(format!("shape {:?} does not expand", from[0])) };
    let second = result(1).filter(|s| s.len() == first.len()).unwrap_or_else(|| first.clone());
    expand_to(call, x, &[first, second])
}

pub(super) fn constant_of_shape(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let value = match call.attribute("value") {
        None => Array::new(&[1], super::array::Elements::Float(vec![0.0])),
        Some(Attribute::Tensor(tensor)) => Array::of(tensor),
        Some(_) => None,
    };
    let Some(value) = value.filter(|v| v.data.len() == 1) else { return unknown("its value is not one number") };
    let Some(wanted) = call.known(0)? else { return broken("its shape is missing") };
    let (Some(first), Some(second)) = (wanted[0].lengths(), wanted[1].lengths()) else {
        return broken("its shape has a length that is negative");
    };
    let Some(value) = value.reshaped(&vec![1; first.len()]) else { return broken("its value has no number") };
    let value = call.constant(&value)?;
    expand_to(call, value, &[first, second])
}

pub(super) fn tile(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let mut x = call.input(0)?;
    let Some(repeats) = call.known(1)? else { return broken("its repeats are missing") };
    let from = call.pair(x).clone();
    let (Some(first), Some(second)) = (repeats[0].lengths(), repeats[1].lengths()) else {
        return broken("its repeats are negative");
    };
    if first.len() != from[0].len() || second.len() != from[0].len() {
        return broken(format!("it has {} repeats for shape {:?}", first.len(), from[0]));
    }
    let spread = |k: usize, repeats: &[usize]| from[k].iter().zip(repeats).all(|(n, r)| *n == 1 || *r == 1);
    if spread(0, &first) && spread(1, &second) {
        let times = |k: usize, repeats: &[usize]| from[k].iter().zip(repeats).map(|(n, r)| n * r).collect();
        return expand_to(call, x, &[times(0, &first), times(1, &second)]);
    }
    for (axis, (&count, &more)) in first.iter().zip(&second).enumerate() {
        if count == 1 && more == 1 {
            continue;
        }
        if count == more && (1..=COPIES).contains(&count) {
            x = call.push(Op::Concat { axis }, &vec![x; count])?;
            continue;
        }
        // Copies along an axis of their own, which then becomes part of this one.
        let pair = call.pair(x).clone();
        let apart = |times: [usize; 2]| [0, 1].map(|k| [&pair[k][..axis], &[times[k]], &pair[k][axis..]].concat());
        x = to_shape(call, x, &apart([1, 1]))?;
        x = expand_to(call, x, &apart([count, more]))?;
        let joined = [(0, count), (1, more)].map(|(k, times)| {
            let mut shape = pair[k].clone();
            shape[axis] *= times;
            shape
        });
        x = to_shape(call, x, &joined)?;
    }
    Ok(x)
}

/// Batch, channels, height and width of an image, and the size of a block.
fn blocks(call: &mut NodeCall<'_, '_>) -> Made<(PlanSlot, [usize; 3], usize)> {
    let block = call.int("blocksize", 0)?;
    let x = call.input(0)?;
    match (call.shape(x).as_slice(), usize::try_from(block)) {
        (&[_, c, h, w], Ok(block @ 1..=1024)) => Ok((x, [c, h, w], block)),
        _ => broken(format!("blocks of {block} in shape {:?}", call.shape(x))),
    }
}

fn sizes(lengths: &[usize]) -> Vec<Dim> {
    std::iter::once(Dim::Same(0)).chain(lengths.iter().map(|&n| Dim::Size(n))).collect()
}

pub(super) fn depth_to_space(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let mode = call.text("mode", "DCR")?;
    let (x, [c, h, w], b) = blocks(call)?;
    let depth = c / (b * b);
    let (split, order) = match mode {
        "DCR" => ([b, b, depth, h, w], vec![0, 3, 4, 1, 5, 2]),
        "CRD" => ([depth, b, b, h, w], vec![0, 1, 4, 2, 5, 3]),
        other => return unknown(format!("DepthToSpace in mode `{other}` is not known")),
    };
    let x = call.reshape(x, sizes(&split))?;
    let x = call.transpose(x, order)?;
    call.reshape(x, sizes(&[depth, h * b, w * b]))
}

pub(super) fn space_to_depth(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let (x, [c, h, w], b) = blocks(call)?;
    let x = call.reshape(x, sizes(&[c, h / b, b, w / b, b]))?;
    let x = call.transpose(x, vec![0, 3, 5, 1, 2, 4])?;
    call.push_as(ElementKind::Float, Op::Reshape(sizes(&[c * b * b, h / b, w / b])), &[x])
}
