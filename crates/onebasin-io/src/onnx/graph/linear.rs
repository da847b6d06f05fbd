//! Matrix products.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::Binary;

use super::call::{Made, NodeCall, broken};
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
