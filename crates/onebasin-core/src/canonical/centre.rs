//! Means over a stream that only LayerNorms read.

use std::collections::BTreeSet;

use super::Form;
use super::norms::linear_readers;
use crate::error::Result;
use crate::graph::op::Op;
use crate::graph::{NodeId, ValueId};
use crate::kinds::{Kind, Kinds, Side};
use crate::symmetry::GroupId;

pub(super) fn centre(form: &mut Form<'_>) -> Result<()> {
    let kinds = form.kinds;
    for id in (0..kinds.symmetry.groups().len()).map(GroupId) {
        if kinds.kind(id) == Kind::Centred {
            centre_group(form, kinds, id)?;
        }
    }
    Ok(())
}

fn centre_group(form: &mut Form<'_>, kinds: &Kinds, id: GroupId) -> Result<()> {
    // Norms of the stream, and the biases that they add.
    let mut biases = BTreeSet::new();
    let (mut normed, mut raw): (BTreeSet<ValueId>, BTreeSet<ValueId>) = (BTreeSet::new(), BTreeSet::new());
    let is_turned = |form: &Form<'_>, value: &ValueId| kinds.side(id, &form.graph.value(*value).name).is_some();
    let mut heads = Vec::new();
    for at in (0..form.graph.nodes().len()).map(NodeId) {
        let node = form.graph.node(at).clone();
        let out = node.outputs[0];
        match &node.op {
            Op::LayerNorm { centred: true, .. } if raw.contains(&node.inputs[0]) => {
                normed.insert(out);
                if let Some(bias) = node.inputs.get(2).filter(|bias| is_turned(form, bias)) {
                    biases.insert(form.graph.value(*bias).name.clone());
                    heads.push((form.graph.value(*bias).name.clone(), out));
                }
            }
            Op::Linear | Op::MatMul => {
                // Read without a norm, the mean counts.
                if node.inputs.iter().any(|v| raw.contains(v)) {
                    return Ok(());
                }
                let writes = |v: &ValueId| kinds.side(id, &form.graph.value(*v).name) == Some(Side::Along);
                let [x, w] = [node.inputs[0], node.inputs[1]];
                if !normed.contains(&x) && [x, w].iter().any(|v| is_turned(form, v)) && writes(&w) {
                    raw.insert(out);
                }
            }
            Op::LayerNorm { .. } => {
                if raw.contains(&node.inputs[0]) {
                    return Ok(());
                }
            }
            _ => {
                if node.inputs.iter().any(|v| normed.contains(v)) {
                    // Normed and then mixed with what is not: its mean may come back.
                    return Ok(());
                }
                if node.inputs.iter().any(|v| raw.contains(v) || is_turned(form, v)) {
                    raw.insert(out);
                }
            }
        }
    }
    for (bias, out) in heads.into_iter().filter(|(bias, _)| form.has(bias)).collect::<Vec<_>>() {
        if !keep_what_biases_add(form, kinds, id, &bias, out)? {
            return Ok(());
        }
    }
    let names: Vec<String> = form.graph.params().map(|p| p.name.clone()).collect();
    for name in names.into_iter().filter(|name| kinds.side(id, name).is_some() && !biases.contains(name)) {
        if !form.has(&name) || form.changes.centred.contains(&name) {
            continue;
        }
        let mut values = form.values(&name)?;
        if take_means(form, kinds, id, &name, &mut values) {
            form.set(&name, &values)?;
            form.changes.centred.push(name);
        }
    }
    Ok(())
}

/// Takes the mean of every fibre; whether there was one beyond rounding.
fn take_means(form: &Form<'_>, kinds: &Kinds, id: GroupId, name: &str, values: &mut [f64]) -> bool {
    let Ok(tensor) = form.params.require(name) else { return false };
    let shape = tensor.shape();
    let mut found = false;
    for (axis, _, positions) in kinds.fibres(id, name) {
        let inner: usize = shape[axis + 1..].iter().product();
        let outer: usize = shape[..axis].iter().product();
        for o in 0..outer {
            for i in 0..inner {
                let at = |p: &usize| (o * shape[axis] + p) * inner + i;
                let mean = positions.iter().map(|p| values[at(p)]).sum::<f64>() / positions.len() as f64;
                let size = positions.iter().map(|p| values[at(p)].abs()).fold(0.0, f64::max);
                found |= mean.abs() > 1e-6 * size;
                for p in &positions {
                    values[at(p)] -= mean;
                }
            }
        }
    }
    found
}

/// What a bias `b` of a norm adds behind readers `U` that have none of their own, `U b`, kept while both are centred: it is written
/// along the vector of ones, `U ← U_c + (U b − U_c b_c) 1ᵀ / n`, `b ← b_c + 1`, which nothing else there sees. Whether the readers are
/// such.
fn keep_what_biases_add(form: &mut Form<'_>, kinds: &Kinds, id: GroupId, bias: &str, out: ValueId) -> Result<bool> {
    let mut own = form.values(bias)?;
    if own.iter().all(|b| *b == 0.0) {
        form.changes.centred.push(bias.to_owned());
        return Ok(true);
    }
    let Some(readers) = linear_readers(form.graph, out) else { return Ok(false) };
    let count = own.len() as f64;
    let mean = own.iter().sum::<f64>() / count;
    for reader in &readers {
        let name = form.graph.value(reader.weight()).name.clone();
        let shape = form.params.require(&name)?.shape().to_vec();
        let before = form.values(&name)?;
        let mut after = before.clone();
        take_means(form, kinds, id, &name, &mut after);
        let entries = |out: usize, k: usize| if reader.axis() == 1 { out * shape[1] + k } else { k * shape[1] + out };
        for out in 0..shape[1 - reader.axis()] {
            let added: f64 = (0..own.len())
                .map(|k| before[entries(out, k)] * own[k] - after[entries(out, k)] * (own[k] - mean))
                .sum();
            (0..own.len()).for_each(|k| after[entries(out, k)] += added / count);
        }
        form.set(&name, &after)?;
        form.changes.centred.push(name);
    }
    for b in &mut own {
        *b += 1.0 - mean;
    }
    form.set(bias, &own)?;
    Ok(true)
}
