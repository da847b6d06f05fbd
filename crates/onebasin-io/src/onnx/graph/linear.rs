//! Matrix products.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::Binary;

use super::array::ElementKind;
use super::call::{Made, NodeCall, broken, unknown};
use super::layout::to_shape;
use super::plan::PlanSlot;

/// `alpha · A B + beta · C`: the layer `x Wᵀ + b` where it is one.
pub(super) fn gemm(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let (alpha, beta) = (call.float("alpha", 1.0)?, call.float("beta", 1.0)?);
    let (flip_a, flip_b) = (call.flag("transA", false)?, call.flag("transB", false)?);
    call.ignore(&["broadcast"]);
    let (mut a, mut b) = (call.input(0)?, call.input(1)?);
    let bias = if call.has(2) { Some(call.input(2)?) } else { None };
    let bias = bias.filter(|_| beta != 0.0);
    if flip_a {
        a = call.transpose(a, vec![1, 0])?;
    }
    let out = call.shape(b).first().copied().unwrap_or(0);
    let joined = alpha == 1.0 && beta == 1.0 && flip_b && bias.is_some_and(|c| call.shape(c) == [out]);
    let mut y = match (flip_b, bias) {
        (true, Some(bias)) if joined => return call.push(Op::Linear, &[a, b, bias]),
        (true, _) => call.push(Op::Linear, &[a, b])?,
        (false, _) => {
            if call.rank(b) != 2 {
                return broken("its second input is no matrix");
            }
            call.push(Op::MatMul, &[a, b])?
        }
    };
    y = scaled(call, y, alpha)?;
    let Some(bias) = bias else { return Ok(y) };
    b = scaled(call, bias, beta)?;
    call.binary(Binary::Add, y, b)
}

fn scaled(call: &mut NodeCall<'_, '_>, x: PlanSlot, factor: f64) -> Made<PlanSlot> {
    if factor == 1.0 {
        return Ok(x);
    }
    let factor = call.scalar(factor)?;
    call.binary(Binary::Mul, x, factor)
}

/// A product with a transposed matrix, as exporters write layers over more than one axis, is a layer.
pub(super) fn matmul(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    match call.transposed(b) {
        Some(weight) if call.rank(a) >= 2 => call.push(Op::Linear, &[a, weight]),
        _ => call.push(Op::MatMul, &[a, b]),
    }
}

/// A sum over indices of two tensors, as one matrix product between two reorderings of axes.
pub(super) fn einsum(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let equation: String = call.text("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
    let outside = |why: &str| unknown(format!("Einsum `{equation}` {why}"));
    let Some((left, out)) = equation.split_once("->") else { return outside("does not say its result") };
    let Some((a, b)) = left.split_once(',').filter(|_| call.node.inputs.len() == 2) else {
        return outside("is not of two tensors");
    };
    let [a, b, out]: [Vec<char>; 3] = [a, b, out].map(|s| s.chars().collect());
    let plain = |s: &[char]| s.iter().enumerate().all(|(k, c)| c.is_alphabetic() && !s[..k].contains(c));
    if ![&a, &b, &out].into_iter().all(|s| plain(s)) {
        return outside("has a diagonal or an ellipsis");
    }
    let of = |test: &dyn Fn(&char) -> bool, from: &[char]| from.iter().copied().filter(|c| test(c)).collect::<Vec<_>>();
    let shared = of(&|c| a.contains(c) && b.contains(c), &out);
    let summed = of(&|c| b.contains(c) && !out.contains(c), &a);
    let (rows, columns) =
        (of(&|c| a.contains(c) && !b.contains(c), &out), of(&|c| b.contains(c) && !a.contains(c), &out));
    let (in_a, in_b) = ([&shared[..], &rows, &summed].concat(), [&shared[..], &summed, &columns].concat());
    if in_a.len() != a.len() || in_b.len() != b.len() || shared.len() + rows.len() + columns.len() != out.len() {
        return outside("sums over an index of one tensor");
    }
    let (x, y) = (call.input(0)?, call.input(1)?);
    if call.rank(x) != a.len() || call.rank(y) != b.len() {
        return broken(format!("Einsum `{equation}` does not fit shapes {:?} and {:?}", call.shape(x), call.shape(y)));
    }
    let order = |from: &[char], to: &[char]| to.iter().filter_map(|c| from.iter().position(|f| f == c)).collect();
    let x = call.transpose(x, order(&a, &in_a))?;
    let y = call.transpose(y, order(&b, &in_b))?;
    let lengths = |call: &NodeCall<'_, '_>, slot: PlanSlot, from: usize, to: usize| {
        [0, 1].map(|k| call.pair(slot)[k][from..to].to_vec())
    };
    let (s, r, c) = (shared.len(), rows.len(), summed.len());
    let (head, row) = (lengths(call, x, 0, s), lengths(call, x, s, s + r));
    let (inner, column) = (lengths(call, x, s + r, a.len()), lengths(call, y, s + c, b.len()));
    let product = |lengths: &[Vec<usize>; 2], k: usize| lengths[k].iter().product::<usize>();
    let flat = |p: &[Vec<usize>; 2], q: &[Vec<usize>; 2]| {
        [0, 1].map(|k| [&head[k][..], &[product(p, k), product(q, k)]].concat())
    };
    let x = to_shape(call, x, &flat(&row, &inner))?;
    let y = to_shape(call, y, &flat(&inner, &column))?;
    let z = call.push_as(ElementKind::Float, Op::MatMul, &[x, y])?;
    let z = to_shape(call, z, &[0, 1].map(|k| [&head[k][..], &row[k], &column[k]].concat()))?;
    call.transpose(z, order(&[&shared[..], &rows, &columns].concat(), &out))
}
