//! Numbers rounded to few whole ones, and back.

use onebasin_core::DType;
use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Binary, Dim, Unary};

use super::array::ElementKind;
use super::call::{Made, NodeCall, axis_of, broken, unknown};
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

/// The number of an element type that is asked for, or that of the zero point.
fn code(call: &mut NodeCall<'_, '_>) -> Made<i64> {
    const U8: i64 = 2;
    let given = call.int("output_dtype", 0)?;
    if given != 0 {
        return Ok(given);
    }
    if !call.has(2) {
        return Ok(U8);
    }
    match call.dtype(2)? {
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

/// The zero point where it is not 0 throughout.
fn zero(call: &mut NodeCall<'_, '_>, x: PlanSlot, axis: i64) -> Made<Option<PlanSlot>> {
    if !call.has(2) {
        return Ok(None);
    }
    if let Ok(Some(known)) = call.fixed(2) {
        let values = known.floats();
        if values.iter().all(|v| *v == 0.0) {
            return Ok(None);
        }
        if let Some(first) = values.first().filter(|first| values.iter().all(|v| v == *first)) {
            return call.scalar(*first).map(Some);
        }
    }
    let value = call.input(2)?;
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
    let code = code(call)?;
    let Some((low, high)) = range(code) else {
        return unknown(format!("QuantizeLinear to element type {code} is not known"));
    };
    let x = call.input(0)?;
    let scale = call.input(1)?;
    let scale = along(call, scale, x, axis)?;
    let mut y = call.push_as(ElementKind::Float, Op::Binary(Binary::Div), &[x, scale])?;
    y = call.unary(Unary::Round, y)?;
    if let Some(zero) = zero(call, x, axis)? {
        y = call.binary(Binary::Add, y, zero)?;
    }
    call.push_as(ElementKind::Int, Op::Unary(Unary::Clip { low, high }), &[y])
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
    if let Some(zero) = zero(call, x, axis)? {
        x = call.push_as(ElementKind::Float, Op::Binary(Binary::Sub), &[x, zero])?;
    }
    let scale = call.input(1)?;
    let scale = along(call, scale, x, axis)?;
    call.push_as(ElementKind::Float, Op::Binary(Binary::Mul), &[x, scale])
}
