//! Sums over indices, as matrix products between reorderings of axes.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::Reduce;

use super::array::ElementKind;
use super::call::{Made, NodeCall, broken, unknown};
use super::layout::to_shape;
use super::plan::PlanSlot;

/// A value and the indices of its axes.
struct Indexed {
    value: PlanSlot,
    indices: Vec<char>,
}

/// The first of the indices that stand for the axes of an ellipsis, counted from the last axis: no letter.
const ELLIPSIS: u32 = 0xE000;

/// A sum over indices of any number of tensors, taken in one after the other.
pub(super) fn einsum(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let equation: String = call.text("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
    let values = call.inputs()?;
    let (left, right) = equation.split_once("->").map_or((&equation[..], None), |(left, right)| (left, Some(right)));
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != values.len() {
        return broken(format!("Einsum `{equation}` of {} tensors", values.len()));
    }
    let mut operands = Vec::with_capacity(values.len());
    let mut widest = 0;
    for (term, value) in terms.into_iter().zip(values) {
        let rank = call.rank(value);
        let letters = term.chars().filter(|c| *c != '.').count();
        let Some(beyond) = rank.checked_sub(letters).filter(|n| *n == 0 || term.contains("...")) else {
            return broken(format!("Einsum `{equation}` does not fit shape {:?}", call.shape(value)));
        };
        widest = widest.max(beyond);
        let indices = expanded(term, beyond);
        let plain = indices.iter().enumerate().all(|(k, c)| *c != '.' && !indices[..k].contains(c));
        if !plain {
            return unknown(format!("Einsum `{equation}` has a diagonal"));
        }
        operands.push(Indexed { value, indices });
    }
    let times = |c: char| operands.iter().filter(|o| o.indices.contains(&c)).count();
    let out = if let Some(right) = right {
        expanded(right, widest)
    } else {
        let mut once: Vec<char> = operands.iter().flat_map(|o| o.indices.iter().copied()).collect();
        once.retain(|c| *c as u32 >= ELLIPSIS || times(*c) == 1);
        once.sort_unstable();
        once.dedup();
        once.retain(|c| (*c as u32) < ELLIPSIS);
        [expanded("...", widest), once].concat()
    };
    if out.iter().enumerate().any(|(k, c)| times(*c) == 0 || out[..k].contains(c)) {
        return broken(format!("Einsum `{equation}` asks for an index that no tensor has, or has twice"));
    }
    let mut rest = operands.into_iter();
    let Some(mut all) = rest.next() else { return broken("it has no input") };
    let mut rest: Vec<Indexed> = rest.collect();
    rest.reverse();
    while let Some(next) = rest.pop() {
        let needed = |c: char| out.contains(&c) || rest.iter().any(|o| o.indices.contains(&c));
        all = reduced(call, all, |c| needed(c) || next.indices.contains(&c))?;
        let next = reduced(call, next, |c| needed(c) || all.indices.contains(&c))?;
        all = multiplied(call, &all, &next, &out, needed)?;
    }
    let all = reduced(call, all, |c| out.contains(&c))?;
    let order = out.iter().filter_map(|c| all.indices.iter().position(|f| f == c)).collect();
    call.transpose(all.value, order)
}

/// The indices of a term, an ellipsis standing for this many axes.
fn expanded(term: &str, beyond: usize) -> Vec<char> {
    let axes: String = (0..beyond as u32).rev().filter_map(|k| char::from_u32(ELLIPSIS + k)).collect();
    term.replacen("...", &axes, 1).chars().collect()
}

/// Sums over the indices that are not kept.
fn reduced(call: &mut NodeCall<'_, '_>, from: Indexed, kept: impl Fn(char) -> bool) -> Made<Indexed> {
    let axes: Vec<usize> = (0..from.indices.len()).filter(|a| !kept(from.indices[*a])).collect();
    if axes.is_empty() {
        return Ok(from);
    }
    let value = call.push(Op::Reduce { kind: Reduce::Sum, axes, keep: false }, &[from.value])?;
    Ok(Indexed { value, indices: from.indices.into_iter().filter(|c| kept(*c)).collect() })
}

/// The product of two, summed over the indices that both have and nobody needs.
fn multiplied(
    call: &mut NodeCall<'_, '_>,
    a: &Indexed,
    b: &Indexed,
    out: &[char],
    needed: impl Fn(char) -> bool,
) -> Made<Indexed> {
    let both = |c: &char| a.indices.contains(c) && b.indices.contains(c);
    // In the order of the result, as far as they are in it.
    let ordered = |of: &[char], test: &dyn Fn(&char) -> bool| -> Vec<char> {
        let first = out.iter().copied().filter(|c| of.contains(c) && test(c));
        first.chain(of.iter().copied().filter(|c| !out.contains(c) && test(c))).collect()
    };
    let shared = ordered(&a.indices, &|c| both(c) && needed(*c));
    let summed = ordered(&a.indices, &|c| both(c) && !needed(*c));
    let rows = ordered(&a.indices, &|c| !both(c));
    let columns = ordered(&b.indices, &|c| !both(c));
    let order = |from: &[char], to: &[&[char]]| -> Vec<usize> {
        to.iter().flat_map(|part| part.iter()).filter_map(|c| from.iter().position(|f| f == c)).collect()
    };
    let x = call.transpose(a.value, order(&a.indices, &[&shared, &rows, &summed]))?;
    let y = call.transpose(b.value, order(&b.indices, &[&shared, &summed, &columns]))?;
    let (s, r, c) = (shared.len(), rows.len(), summed.len());
    let lengths = |call: &NodeCall<'_, '_>, slot: PlanSlot, from: usize, to: usize| {
        [0, 1].map(|k| call.pair(slot)[k][from..to].to_vec())
    };
    let (head, row) = (lengths(call, x, 0, s), lengths(call, x, s, s + r));
    let (inner, column) = (lengths(call, x, s + r, s + r + c), lengths(call, y, s + c, b.indices.len()));
    let product = |lengths: &[Vec<usize>; 2], k: usize| lengths[k].iter().product::<usize>();
    let flat = |p: &[Vec<usize>; 2], q: &[Vec<usize>; 2]| {
        [0, 1].map(|k| [&head[k][..], &[product(p, k), product(q, k)]].concat())
    };
    let x = to_shape(call, x, &flat(&row, &inner))?;
    let y = to_shape(call, y, &flat(&inner, &column))?;
    let z = call.push_as(ElementKind::Float, Op::MatMul, &[x, y])?;
    let value = to_shape(call, z, &[0, 1].map(|k| [&head[k][..], &row[k], &column[k]].concat()))?;
    Ok(Indexed { value, indices: [shared, rows, columns].concat() })
}
