//! Numbers rounded to few whole ones, and back.

use onebasin_core::DType;
use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Binary, Dim, Reduce, Unary};

use super::array::ElementKind;
use super::call::{Made, NodeCall, axis_of, broken, unknown};
use super::images;
use super::plan::PlanSlot;

/// The least and the greatest number of an element type of few bits, by its number in ONNX.
fn range(code: i64) -> Option<(f64, f64)> {
    Some(match code {
        2 => (0.0, 255.0),
        3 => (-128.0, 127.0),
        4 => (0.0, 65_535.0),
        5 => (-32_768.0, 32_767.0),
        21 => (0.0, 15.0),
        22 => (-8.0, 7.0),
        25 => (0.0, 3.0),
        26 => (-2.0, 1.0),
        _ => return None,
    })
}

/// The number of an element type that is asked for, or that of the zero point, which is input `k`.
fn code(call: &mut NodeCall<'_, '_>, k: usize) -> Made<i64> {
    const U8: i64 = 2;
    let given = call.int("output_dtype", 0)?;
    if given != 0 {
        return Ok(given);
    }
    if !call.has(k) {
        return Ok(U8);
    }
    match call.dtype(k)? {
        Some(DType::U8) => Ok(U8),
        Some(DType::I8) => Ok(3),
        Some(DType::U16) => Ok(4),
        Some(DType::I16) => Ok(5),
        Some(other) => unknown(format!("a zero point of type {other} is not known")),
        None => unknown("a zero point whose element type no tensor says is not known"),
    }
}

/// Scales or zero points along `axis` of `x`, shaped to be broadcast; one number stays one.
fn along(call: &mut NodeCall<'_, '_>, value: PlanSlot, x: PlanSlot, axis: i64) -> Made<PlanSlot> {
    let (shape, rank) = (call.shape(value), call.rank(x));
    match shape[..] {
        [] => Ok(value),
        [1] if rank > 0 => Ok(value),
        [1] => call.reshape(value, Vec::new()),
        [n] => {
            let axis = axis_of(axis, rank)?;
            if call.shape(x)[axis] != n {
                return broken(format!("{n} scales for axis {axis} of {:?}", call.shape(x)));
            }
            let behind = rank - axis - 1;
            if behind == 0 {
                return Ok(value);
            }
            call.reshape(value, std::iter::once(Dim::Same(0)).chain(vec![Dim::Size(1); behind]).collect())
        }
        _ => unknown(format!("scales of shape {shape:?} are not known")),
    }
}

/// The zero point that input `k` is, where it is not 0 throughout.
fn zero(call: &mut NodeCall<'_, '_>, x: PlanSlot, k: usize, axis: i64) -> Made<Option<PlanSlot>> {
    if !call.has(k) {
        return Ok(None);
    }
    if let Ok(Some(known)) = call.fixed(k) {
        let values = known.floats();
        if values.iter().all(|v| *v == 0.0) {
            return Ok(None);
        }
        if let Some(first) = values.first().filter(|first| values.iter().all(|v| v == *first)) {
            return call.scalar(*first).map(Some);
        }
    }
    let value = call.input(k)?;
    along(call, value, x, axis).map(Some)
}

/// Blocks that share a scale, and other ways to divide, are not known.
fn plain(call: &NodeCall<'_, '_>) -> Made<()> {
    match call.int("block_size", 0)? {
        0 => Ok(()),
        size => unknown(format!("{} in blocks of {size} is not known", call.node.op_type)),
    }
}

/// `clip(round(x / scale) + zero point)`, halves to the even neighbour, within what the element type holds.
pub(super) fn quantize(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    call.ignore(&["saturate"]);
    let axis = call.int("axis", 1)?;
    plain(call)?;
    if !matches!(call.int("precision", 0)?, 0 | 1) {
        return unknown("QuantizeLinear that divides in another element type is not known");
    }
    let code = code(call, 2)?;
    let Some((low, high)) = range(code) else {
        return unknown(format!("QuantizeLinear to element type {code} is not known"));
    };
    let x = call.input(0)?;
    let scale = call.input(1)?;
    let scale = along(call, scale, x, axis)?;
    let zero = zero(call, x, 2, axis)?;
    rounded(call, x, scale, zero, (low, high))
}

/// `clip(round(x / scale) + zero)`.
fn rounded(
    call: &mut NodeCall<'_, '_>,
    x: PlanSlot,
    scale: PlanSlot,
    zero: Option<PlanSlot>,
    (low, high): (f64, f64),
) -> Made<PlanSlot> {
    let mut y = call.push_as(ElementKind::Float, Op::Binary(Binary::Div), &[x, scale])?;
    y = call.unary(Unary::Round, y)?;
    if let Some(zero) = zero {
        y = call.binary(Binary::Add, y, zero)?;
    }
    call.push_as(ElementKind::Int, Op::Unary(Unary::Clip { low, high }), &[y])
}

/// Numbers from 0 to 255, their scale and their zero point, so that the least and the greatest of `x` and 0 are in range.
pub(super) fn quantize_all(call: &mut NodeCall<'_, '_>) -> Made<Vec<PlanSlot>> {
    const HIGH: f64 = 255.0;
    let x = call.input(0)?;
    let (none, most) = (call.scalar(0.0)?, call.scalar(HIGH)?);
    let mut end = |kind: Reduce, function: Binary| {
        let axes = (0..call.rank(x)).collect();
        let end = call.push(Op::Reduce { kind, axes, keep: false }, &[x])?;
        call.binary(function, end, none)
    };
    let (low, high) = (end(Reduce::Min, Binary::Min)?, end(Reduce::Max, Binary::Max)?);
    let span = call.binary(Binary::Sub, high, low)?;
    let step = call.binary(Binary::Div, span, most)?;
    // Of nothing but zeros any scale does.
    let (flat, one) = (call.push_as(ElementKind::Bool, Op::Unary(Unary::Not), &[step])?, call.scalar(1.0)?);
    let scale = call.push_as(ElementKind::Float, Op::Where, &[flat, one, step])?;
    let below = call.unary(Unary::Neg, low)?;
    let zero = rounded(call, below, scale, None, (0.0, HIGH))?;
    let y = rounded(call, x, scale, Some(zero), (0.0, HIGH))?;
    Ok(vec![y, scale, zero])
}

/// Whole numbers less their zero point: an input, which the model may hold as weights.
fn centred(call: &mut NodeCall<'_, '_>, k: usize, point: usize, axis: i64) -> Made<PlanSlot> {
    let x = call.quantized(k)?;
    match zero(call, x, point, axis)? {
        Some(zero) => call.push_as(ElementKind::Float, Op::Binary(Binary::Sub), &[x, zero]),
        None => Ok(x),
    }
}

/// A product of matrices of whole numbers.
pub(super) fn matmul_integer(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let (a, b) = (centred(call, 0, 2, -2)?, centred(call, 1, 3, -1)?);
    call.push_as(ElementKind::Int, Op::MatMul, &[a, b])
}

/// A convolution of whole numbers.
pub(super) fn conv_integer(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let (x, w) = (centred(call, 0, 2, 1)?, centred(call, 1, 3, 0)?);
    let y = images::conv_of(call, &[x, w])?;
    call.set_kind(y, ElementKind::Int);
    Ok(y)
}

/// Input `k` as the floats it stands for, with the scale and the zero point that follow it.
fn scaled(call: &mut NodeCall<'_, '_>, k: usize, axis: i64) -> Made<PlanSlot> {
    let x = centred(call, k, k + 2, axis)?;
    let scale = call.input(k + 1)?;
    let scale = along(call, scale, x, axis)?;
    call.push_as(ElementKind::Float, Op::Binary(Binary::Mul), &[x, scale])
}

/// A result rounded to the scale and the zero point that are inputs `k` and `k + 1`.
fn rounded_to(call: &mut NodeCall<'_, '_>, y: PlanSlot, k: usize) -> Made<PlanSlot> {
    let code = code(call, k + 1)?;
    let Some(range) = range(code) else { return unknown(format!("a result of element type {code} is not known")) };
    let scale = call.input(k)?;
    let scale = along(call, scale, y, 1)?;
    let zero = zero(call, y, k + 1, 1)?;
    rounded(call, y, scale, zero, range)
}

/// A product of matrices that are all rounded to whole numbers.
pub(super) fn qlinear_matmul(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let (a, b) = (scaled(call, 0, -2)?, scaled(call, 3, -1)?);
    let y = call.push(Op::MatMul, &[a, b])?;
    rounded_to(call, y, 6)
}

/// A convolution of images and weights that are rounded to whole numbers, its bias in units of both scales.
pub(super) fn qlinear_conv(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let (x, w) = (scaled(call, 0, 1)?, scaled(call, 3, 0)?);
    let mut y = images::conv_of(call, &[x, w])?;
    if call.has(8) {
        let bias = call.quantized(8)?;
        let (first, second) = (call.input(1)?, call.input(4)?);
        let scale = call.push_as(ElementKind::Float, Op::Binary(Binary::Mul), &[first, second])?;
        let bias = call.push_as(ElementKind::Float, Op::Binary(Binary::Mul), &[bias, scale])?;
        let bias = along(call, bias, y, 1)?;
        y = call.binary(Binary::Add, y, bias)?;
    }
    rounded_to(call, y, 6)
}

/// `(x − zero point) · scale`. Whole numbers that the model holds are then quantised weights: parameters, not constants.
pub(super) fn dequantize(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let axis = call.int("axis", 1)?;
    plain(call)?;
    let code = call.int("output_dtype", 0)?;
    if code != 0 && ElementKind::of_code(code) != Some(ElementKind::Float) {
        return unknown(format!("DequantizeLinear to element type {code} is not known"));
    }
    let mut x = call.quantized(0)?;
    if let Some(zero) = zero(call, x, 2, axis)? {
        x = call.push_as(ElementKind::Float, Op::Binary(Binary::Sub), &[x, zero])?;
    }
    let scale = call.input(1)?;
    let scale = along(call, scale, x, axis)?;
    call.push_as(ElementKind::Float, Op::Binary(Binary::Mul), &[x, scale])
}
