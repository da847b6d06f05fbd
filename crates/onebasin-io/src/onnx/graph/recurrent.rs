//! Recurrent layers.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Cell, Direction};

use super::array::ElementKind;
use super::call::{Made, NodeCall, broken, unknown};
use super::layout::expand_to;
use super::plan::PlanSlot;
use crate::onnx::model::Attribute;

/// Positions of the inputs.
const X: usize = 0;
const W: usize = 1;
const R: usize = 2;
const B: usize = 3;
const LENGTHS: usize = 4;
const H: usize = 5;
const C: usize = 6;
const PEEPHOLES: usize = 7;

pub(super) fn recurrent(call: &mut NodeCall<'_, '_>) -> Made<Vec<PlanSlot>> {
    let op_type = call.node.op_type.as_str();
    call.ignore(&["hidden_size", "output_sequence"]);
    let (cell, functions): (_, &[&str]) = match op_type {
        "LSTM" => (Cell::Lstm, &["Sigmoid", "Tanh", "Tanh"]),
        "GRU" => (Cell::Gru { reset_after: call.flag("linear_before_reset", false)? }, &["Sigmoid", "Tanh"]),
        _ => (Cell::Rnn, &["Tanh"]),
    };
    let direction = match call.text("direction", "forward")? {
        "forward" => Direction::Forward,
        "reverse" => Direction::Reverse,
        "bidirectional" => Direction::Both,
        other => return broken(format!("direction `{other}`")),
    };
    let usual = functions.repeat(direction.count());
    match call.attribute("activations") {
        None => {}
        Some(Attribute::Strings(given)) if *given == usual => {}
        Some(_) => return unknown(format!("{op_type} with other functions than {usual:?} is not known")),
    }
    if call.has(PEEPHOLES) || call.float("clip", 0.0)? != 0.0 || call.flag("input_forget", false)? {
        return unknown(format!("{op_type} with peepholes, clipping or coupled gates is not known"));
    }
    let batch_first = call.flag("layout", false)?;
    let mut x = call.input(X)?;
    if call.rank(x) != 3 {
        return broken(format!("{op_type} needs three axes, found shape {:?}", call.shape(x)));
    }
    if batch_first {
        x = call.transpose(x, vec![1, 0, 2])?;
    }
    let (w, r) = (call.input(W)?, call.input(R)?);
    if call.has(LENGTHS) {
        let time = call.shape(x)[0] as i64;
        let lengths = call.known(LENGTHS)?;
        let all = |a: &super::array::Array| a.whole().is_some_and(|l| l.iter().all(|n| *n == time));
        if !lengths.is_some_and(|pair| pair.iter().all(all)) {
            return unknown(format!("{op_type} over sequences of different lengths is not known"));
        }
    }
    let hidden = call.shape(r).last().copied().unwrap_or(0);
    let directions = direction.count();
    let states = [0, 1].map(|k| vec![directions, call.pair(x)[k][1], hidden]);
    let mut state = |k: usize| -> Made<Option<PlanSlot>> {
        if !call.has(k) || call.is_zero(k)? {
            return Ok(None);
        }
        let state = call.input(k)?;
        Ok(Some(if batch_first { call.transpose(state, vec![1, 0, 2])? } else { state }))
    };
    let (h, c) = (state(H)?, state(C)?);
    let mut inputs = vec![x, w, r];
    if call.has(B) {
        inputs.push(call.input(B)?);
    } else if h.is_some() || c.is_some() {
        inputs.push(call.filled(&[directions, 2 * cell.gates() * hidden], 0.0)?);
    }
    match (h, c) {
        (Some(h), c) => inputs.extend([Some(h), c].into_iter().flatten()),
        (None, Some(c)) => {
            let zero = call.filled(&[1, 1, 1], 0.0)?;
            inputs.extend([expand_to(call, zero, &states)?, c]);
        }
        (None, None) => {}
    }
    let mut outputs = call.push_many(ElementKind::Float, Op::Recurrent { cell, direction }, &inputs)?;
    if batch_first {
        for (k, output) in outputs.iter_mut().enumerate() {
            *output = call.transpose(*output, if k == 0 { vec![2, 0, 1, 3] } else { vec![1, 0, 2] })?;
        }
    }
    Ok(outputs)
}
