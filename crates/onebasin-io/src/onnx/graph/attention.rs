//! Attention, as the products and the softmax that it is made of.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Binary, Dim, Reduce, Unary};

use super::array::{Array, ElementKind, Elements};
use super::call::{Made, NodeCall, broken, unknown};
use super::layout::{expand_to, to_shape};
use super::plan::PlanSlot;

/// `softmax(scale · Q Kᵀ + mask) V`, head by head. Rows in which all is masked are 0.
///
/// Shapes: `[batch, heads, length, size]`, or `[batch, length, heads · size]`. Outputs: the result, all keys, all values,
/// and the scores as far as they are asked for.
pub(super) fn attention(call: &mut NodeCall<'_, '_>) -> Made<Vec<PlanSlot>> {
    call.ignore(&["softmax_precision"]);
    let causal = call.flag("is_causal", false)?;
    let (scale, softcap) = (call.float("scale", 0.0)?, call.float("softcap", 0.0)?);
    let heads = [call.int("q_num_heads", 0)?, call.int("kv_num_heads", 0)?];
    let mode = call.int("qk_matmul_output_mode", 0)?;
    let mut parts = [call.input(0)?, call.input(1)?, call.input(2)?];
    let flat = call.rank(parts[0]) == 3;
    if flat {
        for (part, heads) in parts.iter_mut().zip([heads[0], heads[1], heads[1]]) {
            *part = split_heads(call, *part, heads)?;
        }
    }
    if parts.iter().any(|part| call.rank(*part) != 4) {
        return broken(format!("a query of shape {:?}, expected 3 or 4 axes", call.shape(parts[0])));
    }
    let [query, mut key, mut value] = parts;
    let past = if call.has(4) { Some([call.input(4)?, call.input(5)?]) } else { None };
    let mut before = 0;
    if let Some([keys, values]) = past {
        before = call.shape(keys).get(2).copied().unwrap_or(0);
        key = call.push(Op::Concat { axis: 2 }, &[keys, key])?;
        value = call.push(Op::Concat { axis: 2 }, &[values, value])?;
    }
    let present = [key, value];
    let (groups, own) = (call.shape(query)[1], call.shape(key)[1]);
    if own == 0 || groups % own != 0 {
        return broken(format!("{groups} heads of queries for {own} of keys"));
    }
    let (key, value) = (repeated(call, key, groups / own)?, repeated(call, value, groups / own)?);
    let turned = call.transpose(key, vec![0, 1, 3, 2])?;
    let scores = call.push_as(ElementKind::Float, Op::MatMul, &[query, turned])?;
    let size = call.shape(query)[3] as f64;
    let scale = call.scalar(if scale == 0.0 { size.sqrt().recip() } else { scale })?;
    let plain = call.binary(Binary::Mul, scores, scale)?;
    let mut scores = plain;
    if softcap > 0.0 {
        let cap = call.scalar(softcap)?;
        scores = call.binary(Binary::Div, scores, cap)?;
        scores = call.unary(Unary::Tanh, scores)?;
        scores = call.binary(Binary::Mul, scores, cap)?;
    }
    let capped = scores;
    let never = call.scalar(f64::NEG_INFINITY)?;
    if causal {
        let allowed = lower(call, scores, before)?;
        scores = call.push_as(ElementKind::Float, Op::Where, &[allowed, scores, never])?;
    }
    let masked = call.has(3);
    if masked {
        let mask = call.input(3)?;
        let (keys, known) = (call.shape(scores)[3], call.shape(mask).last().copied());
        if known != Some(keys) {
            return unknown(format!(
                "Attention with a mask of shape {:?} over {keys} keys is not known",
                call.shape(mask)
            ));
        }
        scores = match call.kind(mask) {
            ElementKind::Bool => call.push_as(ElementKind::Float, Op::Where, &[mask, scores, never])?,
            ElementKind::Float | ElementKind::Int => call.binary(Binary::Add, scores, mask)?,
        };
    }
    let mut shares = call.push(Op::Softmax { axis: 3, log: false }, &[scores])?;
    if masked {
        let top = call.push(Op::Reduce { kind: Reduce::Max, axes: vec![3], keep: true }, &[scores])?;
        let dead = Op::Unary(Unary::IsInf { negative: true, positive: false });
        let dead = call.push_as(ElementKind::Bool, dead, &[top])?;
        let nothing = call.scalar(0.0)?;
        shares = call.push_as(ElementKind::Float, Op::Where, &[dead, nothing, shares])?;
    }
    let mut result = call.push(Op::MatMul, &[shares, value])?;
    if flat {
        result = call.transpose(result, vec![0, 2, 1, 3])?;
        let lengths = call.pair(result).clone().map(|s| vec![s[0], s[1], s[2] * s[3]]);
        result = to_shape(call, result, &lengths)?;
    }
    let told = match mode {
        0 => plain,
        1 => capped,
        2 => scores,
        3 => shares,
        other => return unknown(format!("Attention with qk_matmul_output_mode {other} is not known")),
    };
    Ok([&[result][..], &present, &[told]].concat()[..call.node.outputs.len().min(4)].to_vec())
}

/// `[batch, length, heads · size]` as `[batch, heads, length, size]`.
fn split_heads(call: &mut NodeCall<'_, '_>, x: PlanSlot, heads: i64) -> Made<PlanSlot> {
    let pair = call.pair(x).clone();
    let heads = usize::try_from(heads).ok().filter(|h| *h > 0 && pair[0].len() == 3 && pair[0][2].is_multiple_of(*h));
    let Some(heads) = heads else { return broken(format!("shape {:?} does not fall into heads", pair[0])) };
    let x = to_shape(call, x, &pair.map(|s| vec![s[0], s[1], heads, s[2] / heads]))?;
    call.transpose(x, vec![0, 2, 1, 3])
}

/// Every head several times, one after the other.
fn repeated(call: &mut NodeCall<'_, '_>, x: PlanSlot, times: usize) -> Made<PlanSlot> {
    if times == 1 {
        return Ok(x);
    }
    let pair = call.pair(x).clone();
    let apart = [0, 1, 2, 3].map(Dim::Same);
    let x = call.reshape(x, vec![apart[0], apart[1], Dim::Size(1), apart[2], apart[3]])?;
    let x = expand_to(call, x, &pair.clone().map(|s| vec![s[0], s[1], times, s[2], s[3]]))?;
    to_shape(call, x, &pair.map(|s| vec![s[0], s[1] * times, s[2], s[3]]))
}

/// What a query may look at: the keys up to its own, `before` of which come before the first query.
fn lower(call: &mut NodeCall<'_, '_>, scores: PlanSlot, before: usize) -> Made<PlanSlot> {
    let shape = call.shape(scores);
    let (rows, columns) = (shape[2], shape[3]);
    let cells = (0..rows).flat_map(|r| (0..columns).map(move |c| c <= r + before)).collect();
    match Array::new(&[rows, columns], Elements::Bool(cells)) {
        Some(allowed) => call.constant(&allowed),
        None => unknown(format!("causal attention over {rows} by {columns} positions is not known")),
    }
}
