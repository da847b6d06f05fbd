//! How symmetries pass through operators: which axes are the same units, which are parts of which, which stay.

use super::terms::{AtomId, CHOICES, State};
use super::{Discoverer, picks, positions};
use crate::graph::op::{Conv, PadMode, Pool};
use crate::graph::{Node, Op, ValueId};

const GROUPS: &str = "the groups of a convolution cut across its parts";
const PICKED: &str = "entries are picked by number";
const APART: &str = "entries are picked one by one, and go into parts of the network that differ";
const GATES: &str = "the gates of a recurrent cell cut across its parts";

/// One axis of one value of a graph.
///
/// ```
/// use onebasin_core::graph::ValueId;
/// use onebasin_core::symmetry::AxisRef;
/// assert!(AxisRef { value: ValueId(3), axis: 1 } < AxisRef { value: ValueId(4), axis: 0 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AxisRef {
    /// The value.
    pub value: ValueId,
    /// Its axis, counted from 0.
    pub axis: usize,
}

fn at(value: ValueId, axis: usize) -> AxisRef {
    AxisRef { value, axis }
}

/// Says what a node does to the axes of its inputs and outputs.
pub(super) fn apply(d: &mut Discoverer<'_>, node: &Node) {
    let inputs = &node.inputs[..];
    let x = inputs.first().copied();
    let y = node.outputs.first().copied();
    let (Some(x), Some(y)) = (x, y) else {
        return inputs.iter().chain(&node.outputs).for_each(|v| d.fix_all(*v, "an operator without input or output"));
    };
    let rank = d.rank(x);
    if positions::compared(d, node) {
        return;
    }
    positions::follow(d, node);
    match &node.op {
        Op::Linear => {
            let (weight, last) = (inputs[1], rank - 1);
            (0..last).for_each(|a| d.tie(at(x, a), at(y, a)));
            d.tie(at(x, last), at(weight, 1));
            d.tie(at(weight, 0), at(y, last));
            inputs[2..].iter().for_each(|bias| d.tie(at(*bias, 0), at(y, last)));
        }
        Op::MatMul => matmul(d, x, inputs[1], y),
        Op::Conv(conv) => convolution(d, conv, inputs, y),
        Op::ConvTranspose { conv, .. } => transposed_convolution(d, conv, inputs, y),
        Op::Pool(pool) => pooling(d, pool, x, y),
        Op::BatchNorm { .. } => {
            tie_all(d, x, y);
            inputs[1..].iter().for_each(|p| d.tie(at(*p, 0), at(y, 1)));
        }
        Op::LayerNorm { axes, .. } => {
            tie_all(d, x, y);
            d.mix(y, axes.iter().copied());
            for param in &inputs[1..] {
                axes.iter().enumerate().for_each(|(k, a)| d.tie(at(*param, k), at(y, *a)));
            }
        }
        Op::GroupNorm { groups, .. } => {
            tie_all(d, x, y);
            d.mix(y, 2..rank);
            let (outer, inner) = (d.fresh(*groups), d.fresh(d.len(x, 1) / groups));
            d.make(at(x, 1), |t| t.product(&[outer, inner]), "the groups of a GroupNorm cut across its parts");
            inputs[1..].iter().for_each(|p| d.tie(at(*p, 0), at(y, 1)));
        }
        Op::LocalResponseNorm { .. } => {
            tie_all(d, x, y);
            d.mix(y, [1]);
            d.fix(at(x, 1), "LocalResponseNorm looks at neighbouring channels");
        }
        Op::Unary(_) => tie_all(d, x, y),
        Op::Softmax { axis, .. } => {
            tie_all(d, x, y);
            d.mix(y, [*axis]);
        }
        Op::Binary(_) | Op::Where => inputs.iter().for_each(|v| broadcast(d, *v, y)),
        Op::Expand(_) => broadcast(d, x, y),
        Op::Reduce { axes, keep, .. } => {
            let mut out = 0;
            for axis in 0..rank {
                let gone = axes.contains(&axis);
                if !gone {
                    d.tie(at(x, axis), at(y, out));
                }
                out += usize::from(!gone || *keep);
            }
        }
        Op::Reshape(_) => reshape(d, x, y),
        Op::Transpose(order) => order.iter().enumerate().for_each(|(to, from)| d.tie(at(x, *from), at(y, to))),
        Op::Concat { axis } if stacks(d, *axis, inputs) => stack(d, *axis, inputs, y),
        Op::Concat { axis } => {
            for other in (0..rank).filter(|a| a != axis) {
                for v in inputs {
                    d.tie(at(*v, other), at(y, other));
                }
            }
            let parts: Vec<AtomId> = inputs.iter().map(|v| d.atom(at(*v, *axis))).collect();
            d.make(at(y, *axis), |t| t.sum(&parts), "the parts of a concatenation cut across each other");
            for v in inputs {
                d.relate(at(*v, *axis), at(y, *axis));
            }
        }
        Op::Slice { axis, start, len, step } => {
            if !picked(d, node, x, y) {
                slice(d, x, y, *axis, (*start, *len, *step));
            }
        }
        Op::Pad { before, after, mode } => pad(d, x, y, before, after, *mode),
        Op::Gather { axis } => {
            if !picked(d, node, x, y) {
                gather(d, *axis, inputs, y);
            }
        }
        Op::GatherElements { axis } => {
            beside(d, *axis, x, inputs[1], y);
            (0..rank).for_each(|a| d.tie(at(inputs[1], a), at(y, a)));
            positions::picked(d, at(x, *axis), inputs[1], PICKED);
        }
        Op::ScatterElements { axis, .. } => {
            tie_all(d, x, y);
            beside(d, *axis, y, inputs[1], inputs[1]);
            (0..rank).for_each(|a| d.tie(at(inputs[1], a), at(inputs[2], a)));
            positions::picked(d, at(y, *axis), inputs[1], PICKED);
        }
        Op::TopK { axis, .. } => {
            for output in &node.outputs {
                (0..rank).filter(|a| a != axis).for_each(|a| d.tie(at(x, a), at(*output, a)));
                d.fix(at(*output, *axis), "entries follow each other by size");
                d.mix(*output, [*axis]);
            }
            d.positions.extend(node.outputs.get(1).map(|output| (*output, at(x, *axis))));
        }
        Op::CumSum { axis, .. } => {
            tie_all(d, x, y);
            d.fix(at(x, *axis), "a running sum follows the order");
            d.mix(y, [*axis]);
        }
        Op::NonZero => {
            for value in [x, y] {
                d.fix_all(value, "entries that are not 0 are numbered");
            }
        }
        Op::Resize { .. } => {
            d.tie(at(x, 0), at(y, 0));
            d.tie(at(x, 1), at(y, 1));
            (2..rank).for_each(|a| spatial(d, at(x, a), at(y, a), d.len(x, a) == d.len(y, a)));
        }
        Op::Recurrent { cell, .. } => recurrent(d, cell.gates(), inputs, &node.outputs),
        Op::Unknown(name) => {
            let reason = format!("operator `{name}` is not known");
            inputs.iter().chain(&node.outputs).for_each(|v| d.fix_all(*v, &reason));
        }
    }
}

fn tie_all(d: &mut Discoverer<'_>, x: ValueId, y: ValueId) {
    (0..d.rank(x)).for_each(|a| d.tie(at(x, a), at(y, a)));
}

/// Axes are aligned from the right; an axis of one entry is repeated and says nothing.
fn broadcast(d: &mut Discoverer<'_>, x: ValueId, y: ValueId) {
    let (short, long) = (d.rank(x), d.rank(y));
    for a in 0..short {
        let b = a + long - short;
        if d.len(x, a) == d.len(y, b) {
            d.tie(at(x, a), at(y, b));
        }
    }
}

fn matmul(d: &mut Discoverer<'_>, a: ValueId, b: ValueId, y: ValueId) {
    let (p, q, r) = (d.rank(a), d.rank(b), d.rank(y));
    d.tie(at(a, p - 1), at(b, q.max(2) - 2));
    let columns = usize::from(q > 1);
    if columns == 1 {
        d.tie(at(b, q - 1), at(y, r - 1));
        d.crossed.insert(at(b, q - 1));
    }
    if p > 1 {
        d.tie(at(a, p - 2), at(y, r - 1 - columns));
        d.crossed.insert(at(a, p - 2));
    }
    let batch = r.saturating_sub(columns + usize::from(p > 1));
    for (value, rank) in [(a, p), (b, q)] {
        for axis in 0..rank.saturating_sub(2) {
            let to = axis + batch - (rank - 2);
            if d.len(value, axis) == d.len(y, to) {
                d.tie(at(value, axis), at(y, to));
            }
        }
    }
}

/// A spatial axis: untouched where a window of one tap visits every position, fixed otherwise.
fn spatial(d: &mut Discoverer<'_>, x: AxisRef, y: AxisRef, untouched: bool) {
    if untouched {
        d.tie(x, y);
    } else {
        d.fix(x, "positions of an image (or of a sequence) have neighbours");
        d.fix(y, "positions of an image (or of a sequence) have neighbours");
    }
}

fn convolution(d: &mut Discoverer<'_>, conv: &Conv, inputs: &[ValueId], y: ValueId) {
    let (x, w) = (inputs[0], inputs[1]);
    let (channels, out) = (d.len(x, 1), d.len(y, 1));
    d.tie(at(x, 0), at(y, 0));
    if conv.groups == 1 {
        d.tie(at(x, 1), at(w, 1));
        d.tie(at(w, 0), at(y, 1));
    } else if conv.groups == channels {
        // Every channel has its own filters: the filters of a channel move with it, and among themselves. Where there is
        // but one, it is the channel.
        let filters = d.fresh(out / channels);
        let source = d.atom(at(x, 1));
        d.make(at(y, 1), |t| t.product(&[source, filters]), "filters of a depthwise convolution");
        d.relate(at(x, 1), at(y, 1));
        d.tie(at(w, 0), at(y, 1));
    } else {
        let (groups, own) = (d.fresh(conv.groups), d.fresh(out / conv.groups));
        let within = d.atom(at(w, 1));
        d.make(at(x, 1), |t| t.product(&[groups, within]), GROUPS);
        d.make(at(w, 0), |t| t.product(&[groups, own]), GROUPS);
        d.relate(at(x, 1), at(w, 1));
        d.tie(at(w, 0), at(y, 1));
    }
    inputs[2..].iter().for_each(|bias| d.tie(at(*bias, 0), at(y, 1)));
    for s in 0..conv.strides.len() {
        let tap = d.len(w, s + 2) == 1;
        spatial(d, at(x, s + 2), at(y, s + 2), tap && d.len(x, s + 2) == d.len(y, s + 2));
        d.fix(at(w, s + 2), "taps of a convolution's kernel");
    }
}

fn transposed_convolution(d: &mut Discoverer<'_>, conv: &Conv, inputs: &[ValueId], y: ValueId) {
    let (x, w) = (inputs[0], inputs[1]);
    d.tie(at(x, 0), at(y, 0));
    d.tie(at(x, 1), at(w, 0));
    if conv.groups == 1 {
        d.tie(at(w, 1), at(y, 1));
    } else {
        let groups = d.fresh(conv.groups);
        let (source, own) = (d.fresh(d.len(x, 1) / conv.groups), d.atom(at(w, 1)));
        d.make(at(x, 1), |t| t.product(&[groups, source]), GROUPS);
        d.make(at(y, 1), |t| t.product(&[groups, own]), GROUPS);
        d.relate(at(w, 1), at(y, 1));
    }
    inputs[2..].iter().for_each(|bias| d.tie(at(*bias, 0), at(y, 1)));
    for s in 0..conv.strides.len() {
        spatial(d, at(x, s + 2), at(y, s + 2), false);
        d.fix(at(w, s + 2), "taps of a convolution's kernel");
    }
}

fn pooling(d: &mut Discoverer<'_>, pool: &Pool, x: ValueId, y: ValueId) {
    d.tie(at(x, 0), at(y, 0));
    d.tie(at(x, 1), at(y, 1));
    for s in 0..pool.kernel.len() {
        let (from, to) = (at(x, s + 2), at(y, s + 2));
        let whole = pool.kernel[s] == d.len(x, s + 2) && d.len(y, s + 2) == 1;
        if !(whole && pool.before[s] + pool.after[s] == 0) {
            spatial(d, from, to, pool.kernel[s] == 1 && d.len(x, s + 2) == d.len(y, s + 2));
        }
    }
}

/// Runs of axes with the same number of entries on both sides are the same units, factored in two ways.
fn reshape(d: &mut Discoverer<'_>, x: ValueId, y: ValueId) {
    if (0..d.rank(x)).any(|a| d.len(x, a) == 0) {
        d.fix_all(x, "a reshape of nothing");
        return d.fix_all(y, "a reshape of nothing");
    }
    let axes = |d: &Discoverer<'_>, v: ValueId| -> Vec<AxisRef> {
        (0..d.rank(v)).rev().filter(|a| d.len(v, *a) > 1).map(|a| at(v, a)).collect()
    };
    let (mut from, mut to) = (axes(d, x), axes(d, y));
    while let (Some(first), Some(other)) = (from.pop(), to.pop()) {
        let (mut left, mut right) = (vec![first], vec![other]);
        let entries =
            |d: &Discoverer<'_>, run: &[AxisRef]| run.iter().map(|r| d.len(r.value, r.axis)).product::<usize>();
        loop {
            let (p, q) = (entries(d, &left), entries(d, &right));
            let next = match p.cmp(&q) {
                std::cmp::Ordering::Equal => break,
                std::cmp::Ordering::Less => from.pop().map(|a| left.push(a)),
                std::cmp::Ordering::Greater => to.pop().map(|a| right.push(a)),
            };
            if next.is_none() {
                return;
            }
        }
        let atoms = |d: &Discoverer<'_>, run: &[AxisRef]| run.iter().map(|r| d.atom(*r)).collect::<Vec<AtomId>>();
        let (a, b) = (atoms(d, &left), atoms(d, &right));
        let (a, b) = (d.terms.product(&a), d.terms.product(&b));
        d.unite(a, b, left[0], "a reshape cuts units apart");
        for l in &left {
            for r in &right {
                d.relate(*l, *r);
            }
        }
    }
}

/// Some entries of an axis whose entries are told apart: in the result they are told apart as well.
fn told_apart(d: &mut Discoverer<'_>, x: ValueId, y: ValueId, axis: usize, entries: &[usize]) {
    let (from, chooser) = (d.atom(at(x, axis)), d.terms.chooser(entries.len()));
    d.unite(chooser, d.atom(at(y, axis)), at(y, axis), "entries are picked by number");
    d.because(at(y, axis), "entries are picked by number");
    for other in (0..d.rank(x)).filter(|a| *a != axis) {
        d.relate(at(x, other), at(y, other));
        let own = d.atom(at(x, other));
        let cases = entries.iter().map(|entry| d.terms.select(own, from, *entry)).collect();
        let cases = d.terms.cases(chooser, cases);
        d.unite(
            cases,
            d.atom(at(y, other)),
            at(y, other),
            "its parts are cut in different places by what it is joined with",
        );
    }
    d.relate(at(x, axis), at(y, axis));
}

fn slice(d: &mut Discoverer<'_>, x: ValueId, y: ValueId, axis: usize, (start, len, step): (usize, usize, isize)) {
    if len > 1 && matches!(d.terms.state(d.atom(at(x, axis))), State::Chooser) {
        let entries: Vec<usize> = (0..len as isize).map(|k| (start as isize + k * step) as usize).collect();
        return told_apart(d, x, y, axis, &entries);
    }
    (0..d.rank(x)).filter(|a| *a != axis).for_each(|a| d.tie(at(x, a), at(y, a)));
    let n = d.len(x, axis);
    let kept = d.atom(at(y, axis));
    if step == 1 {
        let (before, after) = (d.terms.piece(start), d.terms.piece(n - start - len));
        d.make(at(x, axis), |t| t.sum(&[before, kept, after]), "a slice cuts units apart");
    } else if step > 1 && n == len * step as usize && start < step as usize {
        let places = d.terms.fixed(step as usize);
        d.make(at(x, axis), |t| t.product(&[kept, places]), "a strided slice cuts units apart");
    } else {
        d.fix(at(x, axis), "a slice takes positions by number");
        d.fix(at(y, axis), "a slice takes positions by number");
    }
    d.relate(at(x, axis), at(y, axis));
}

fn pad(d: &mut Discoverer<'_>, x: ValueId, y: ValueId, before: &[usize], after: &[usize], mode: PadMode) {
    for axis in 0..d.rank(x) {
        let (front, back) = (before[axis], after[axis]);
        if front + back == 0 {
            d.tie(at(x, axis), at(y, axis));
        } else if matches!(mode, PadMode::Constant(_)) {
            let (front, back) = (d.terms.piece(front), d.terms.piece(back));
            let inside = d.atom(at(x, axis));
            d.make(at(y, axis), |t| t.sum(&[front, inside, back]), "padding cuts units apart");
            d.relate(at(x, axis), at(y, axis));
        } else {
            d.fix(at(x, axis), "padding repeats positions by number");
            d.fix(at(y, axis), "padding repeats positions by number");
        }
    }
}

fn gather(d: &mut Discoverer<'_>, axis: usize, inputs: &[ValueId], y: ValueId) {
    let (data, indices) = (inputs[0], inputs[1]);
    let (rank, picked) = (d.rank(data), d.rank(indices));
    positions::picked(d, at(data, axis), indices, PICKED);
    (0..axis).for_each(|a| d.tie(at(data, a), at(y, a)));
    (0..picked).for_each(|a| d.tie(at(indices, a), at(y, axis + a)));
    (axis + 1..rank).for_each(|a| d.tie(at(data, a), at(y, a + picked - 1)));
}

/// Axes along which every index stands beside an entry of the data; where there are fewer indices, beside the first ones.
fn beside(d: &mut Discoverer<'_>, axis: usize, data: ValueId, indices: ValueId, to: ValueId) {
    for a in (0..d.rank(data)).filter(|a| *a != axis) {
        if d.len(data, a) == d.len(indices, a) {
            d.tie(at(data, a), at(to, a));
        } else {
            d.fix(at(data, a), "only the first entries are picked from");
            d.fix(at(to, a), "only the first entries are picked from");
        }
    }
}

/// Whether values are put beside each other as single entries, so that each entry tells which it came from.
fn stacks(d: &Discoverer<'_>, axis: usize, inputs: &[ValueId]) -> bool {
    (2..=CHOICES).contains(&inputs.len()) && inputs.iter().all(|v| d.len(*v, axis) == 1)
}

/// Values as entries of a new axis: whatever stands beside it may be another unknown for each.
fn stack(d: &mut Discoverer<'_>, axis: usize, inputs: &[ValueId], y: ValueId) {
    const WHY: &str = "entries are put together one by one";
    let chooser = d.terms.chooser(inputs.len());
    d.unite(d.atom(at(y, axis)), chooser, at(y, axis), WHY);
    d.because(at(y, axis), WHY);
    for other in (0..d.rank(y)).filter(|a| *a != axis) {
        let own: Vec<AtomId> = inputs.iter().map(|v| d.atom(at(*v, other))).collect();
        let cases = d.terms.cases(chooser, own);
        d.unite(
            d.atom(at(y, other)),
            cases,
            at(y, other),
            "its parts are cut in different places by what it is joined with",
        );
        for v in inputs {
            d.relate(at(*v, other), at(y, other));
        }
    }
}

/// One entry of an axis whose entries are told apart: whatever stands beside it may be another unknown for each.
fn picked(d: &mut Discoverer<'_>, node: &Node, x: ValueId, y: ValueId) -> bool {
    let Some((place, entry)) = picks::pick(d.graph, node) else { return false };
    let len = d.len(x, place.axis);
    let told_apart = matches!(d.terms.state(d.atom(place)), State::Chooser);
    if len < 2 || !(told_apart || d.picked.contains(&place)) {
        return false;
    }
    if !told_apart {
        let chooser = d.terms.chooser(len);
        d.unite(d.atom(place), chooser, place, APART);
    }
    d.because(place, APART);
    let chooser = d.atom(place);
    let kept: Vec<usize> = (0..d.rank(x)).filter(|a| *a != place.axis).collect();
    // What is left of the axis in the result: one entry, or none at all.
    let gone = d.rank(y) as isize - kept.len() as isize;
    for axis in kept {
        let to = if axis < place.axis { axis } else { (axis as isize - 1 + gone) as usize };
        d.relate(at(x, axis), at(y, to));
        let own = d.atom(at(x, axis));
        let own = d.terms.select(own, chooser, entry);
        d.unite(own, d.atom(at(y, to)), at(y, to), "its parts are cut in different places by what it is joined with");
    }
    true
}

fn recurrent(d: &mut Discoverer<'_>, gates: usize, inputs: &[ValueId], outputs: &[ValueId]) {
    let (x, w, r) = (inputs[0], inputs[1], inputs[2]);
    let (y, hidden) = (outputs[0], d.len(r, 2));
    // Every direction has units of its own, and stays.
    let directions = d.terms.chooser(d.len(w, 0).max(1));
    // First, since weights that are put together of those of each direction have entries that are told apart already.
    for place in inputs[1..].iter().chain(&outputs[1..]).map(|v| at(*v, 0)).chain([at(y, 1)]) {
        d.because(place, "directions of a recurrent layer");
        d.unite(d.atom(place), directions, place, "directions of a recurrent layer");
    }
    let units: Vec<AtomId> = (0..d.len(w, 0).max(1)).map(|_| d.fresh(hidden)).collect();
    let units = d.terms.cases(directions, units);
    d.unite(units, d.atom(at(r, 2)), at(r, 2), GATES);
    for (value, axis, times) in
        [(w, 1, gates), (r, 1, gates)].into_iter().chain(inputs.get(3).map(|b| (*b, 1, 2 * gates)))
    {
        let gates = d.terms.fixed(times);
        d.make(at(value, axis), |t| t.product(&[gates, units]), GATES);
        d.relate(at(r, 2), at(value, axis));
    }
    d.tie(at(x, 2), at(w, 2));
    for value in [at(x, 0), at(y, 0)] {
        d.fix(value, "steps of time follow each other");
    }
    d.tie(at(x, 1), at(y, 2));
    d.tie(at(r, 2), at(y, 3));
    for state in inputs.iter().skip(4).chain(&outputs[1..]) {
        d.tie(at(*state, 1), at(y, 2));
        d.tie(at(*state, 2), at(y, 3));
    }
}
