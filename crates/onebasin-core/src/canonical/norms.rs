//! Gains and biases of norms, folded into what reads them.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Form;
use crate::error::Result;
use crate::graph::op::{Binary, Op};
use crate::graph::{Graph, NodeId, ValueId, ValueSource};
use crate::kinds::gain;
use crate::params::Params;
use crate::tensor::Tensor;

/// What reads a norm: a linear layer, by its weight and where its bias is.
pub(super) struct Reader {
    node: NodeId,
    weight: ValueId,
    axis: usize,
    pub(super) bias: Option<ValueId>,
}

impl Reader {
    pub(super) fn weight(&self) -> ValueId {
        self.weight
    }

    /// The axis of the weight that is contracted.
    pub(super) fn axis(&self) -> usize {
        self.axis
    }
}

/// A norm whose gain, or bias, moves into what reads it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fold {
    gain: String,
    /// What the gain is beside the parameter.
    more: f64,
    bias: Option<String>,
    /// Whether the bias moves on too: all that reads the norm has a bias of its own.
    moves_on: bool,
    readers: Vec<Read>,
}

/// A linear layer behind a norm, by the names of its tensors.
#[derive(Debug, Clone, PartialEq)]
struct Read {
    weight: String,
    /// The axis that is contracted.
    axis: usize,
    bias: Option<String>,
}

/// Finds the norms of a network that are folded; weights that others use too become tensors of their own, which `untied` tells.
pub(super) fn plan(graph: &mut Graph, params: &Params, untied: &mut BTreeMap<String, String>) -> Result<Vec<Fold>> {
    let mut folds = Vec::new();
    for id in (0..graph.nodes().len()).map(NodeId) {
        let node = graph.node(id).clone();
        let Op::LayerNorm { axes, .. } = &node.op else { continue };
        let last = graph.shape(node.inputs[0]).len() - 1;
        if axes[..] != [last] || node.inputs.len() == 1 || graph.outputs().contains(&node.outputs[0]) {
            continue;
        }
        let Some(readers) = linear_readers(graph, node.outputs[0]) else { continue };
        let Some((gain, more)) = node.inputs.get(1).and_then(|value| gain(graph, *value)) else { continue };
        let is_read_once = graph.readers(node.inputs[1]).count() == 1;
        if !is_read_once || !is_own(graph, gain) || !node.inputs[2..].iter().all(|v| is_own(graph, *v)) {
            continue;
        }
        let name = |value: ValueId| graph.value(value).name.clone();
        let values = |name: &str| -> Result<Vec<f64>> { Ok(params.require(name)?.to_f64()?.into_owned()) };
        let (gain, bias) = (name(gain), node.inputs.get(2).map(|value| name(*value)));
        let all: Vec<f64> = values(&gain)?.iter().map(|g| g + more).collect();
        let is_zero = match &bias {
            Some(bias) => values(bias)?.iter().all(|b| *b == 0.0),
            None => true,
        };
        let moves_on = readers.iter().all(|reader| reader.bias.is_some_and(|bias| is_own(graph, bias)));
        let is_one = all.iter().all(|g| *g == 1.0);
        if (is_one && (is_zero || !moves_on)) || (!is_zero && !moves_on && all.contains(&0.0)) {
            continue;
        }
        let mut read = Vec::new();
        for reader in readers {
            let weight = untie(graph, &reader, untied)?;
            read.push(Read { weight, axis: reader.axis, bias: reader.bias.map(|bias| graph.value(bias).name.clone()) });
        }
        folds.push(Fold { gain, more, bias, moves_on, readers: read });
    }
    Ok(folds)
}

impl Fold {
    pub(super) fn gain(&self) -> &str {
        &self.gain
    }

    /// The gain that is left.
    pub(super) fn left(&self, params: &Params) -> Result<(String, Tensor)> {
        let tensor = params.require(&self.gain)?;
        Ok((self.gain.clone(), Tensor::from_f64(tensor.shape(), vec![1.0 - self.more; tensor.len()])?))
    }

    /// Folds it, where its tensors are there.
    pub(super) fn act(&self, form: &mut Form<'_>) -> Result<()> {
        if !form.has(&self.gain) {
            return Ok(());
        }
        let gain: Vec<f64> = form.values(&self.gain)?.iter().map(|g| g + self.more).collect();
        let bias = self.bias.as_ref().map(|name| form.values(name)).transpose()?;
        let is_zero = bias.as_ref().is_none_or(|bias| bias.iter().all(|b| *b == 0.0));
        for Read { weight, axis, bias: to } in &self.readers {
            let (mut values, shape) = (form.values(weight)?, form.params.require(weight)?.shape().to_vec());
            let inner: usize = shape[axis + 1..].iter().product();
            let unit = |at: usize| at / inner % shape[*axis];
            if let (Some(bias), Some(to), true) = (&bias, to, self.moves_on && !is_zero) {
                let mut sums = form.values(to)?;
                // Of a weight `[out, in]` or `[in, out]`.
                let out = |at: usize| if *axis == 0 { at % inner } else { at / shape[*axis] };
                values.iter().enumerate().for_each(|(at, w)| sums[out(at)] += w * bias[unit(at)]);
                form.set(to, &sums)?;
            }
            let scaled = |(row, values): (usize, &mut [f64])| match axis {
                0 => values.iter_mut().for_each(|w| *w *= gain[row]),
                _ => values.iter_mut().zip(&gain).for_each(|(w, g)| *w *= g),
            };
            values.par_chunks_mut(shape[1].max(1)).enumerate().for_each(scaled);
            form.set(weight, &values)?;
        }
        if let (Some(bias), Some(to), false) = (&bias, &self.bias, is_zero) {
            let moves_on = self.moves_on;
            let left: Vec<f64> = bias.iter().zip(&gain).map(|(b, g)| if moves_on { 0.0 } else { b / g }).collect();
            form.set(to, &left)?;
            if moves_on {
                form.changes.norm_biases.push(to.clone());
            }
        }
        if gain.iter().any(|g| *g != 1.0) {
            form.set(&self.gain, &vec![1.0 - self.more; gain.len()])?;
            form.changes.gains.push(self.gain.clone());
        }
        Ok(())
    }
}

/// The weight of a reader; one that others use too becomes one of its own.
fn untie(graph: &mut Graph, reader: &Reader, untied: &mut BTreeMap<String, String>) -> Result<String> {
    let of = graph.value(reader.weight).name.clone();
    if is_own(graph, reader.weight) {
        return Ok(of);
    }
    let own = graph.node(reader.node).name.clone() + ".weight";
    *graph = graph.untied(reader.node, 1, &own)?;
    untied.insert(own.clone(), of);
    Ok(own)
}

/// Tensors of norms and of what reads them, of layers and their biases: what the canonical form looks at together.
pub(super) fn together(graph: &Graph) -> Vec<Vec<String>> {
    let param = |value: &ValueId| graph.value(*value).source == ValueSource::Param;
    let mut found = Vec::new();
    for node in graph.nodes() {
        let mut values: Vec<ValueId> = node.inputs.iter().copied().filter(param).collect();
        if let Op::LayerNorm { .. } = &node.op {
            values.extend(node.inputs.get(1).and_then(|value| gain(graph, *value)).map(|(gain, _)| gain));
            let readers = linear_readers(graph, node.outputs[0]).unwrap_or_default();
            values.extend(readers.iter().flat_map(|reader| [Some(reader.weight), reader.bias]).flatten());
        }
        if values.iter().any(|value| graph.shape(*value).len() > 1) {
            values.extend(added(graph, node.outputs[0]));
        }
        if values.len() > 1 {
            found.push(values.iter().map(|value| graph.value(*value).name.clone()).collect());
        }
    }
    found
}

/// All that reads a value, if that is linear layers over its last axis and nothing else.
pub(super) fn linear_readers(graph: &Graph, value: ValueId) -> Option<Vec<Reader>> {
    let last = graph.shape(value).len() - 1;
    let one = |(id, input): (NodeId, usize)| {
        let node = graph.node(id);
        let weight = *node.inputs.get(1).filter(|_| input == 0)?;
        let is_param = graph.value(weight).source == ValueSource::Param && graph.shape(weight).len() == 2;
        match &node.op {
            Op::Linear if is_param => Some(Reader { node: id, weight, axis: 1, bias: node.inputs.get(2).copied() }),
            Op::MatMul if is_param && last >= 1 => {
                Some(Reader { node: id, weight, axis: 0, bias: added(graph, node.outputs[0]) })
            }
            _ => None,
        }
    };
    graph.readers(value).map(one).collect()
}

/// A bias that is all that a value meets.
fn added(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let readers: Vec<_> = graph.readers(value).collect();
    let [(id, input)] = readers[..] else { return None };
    let node = graph.node(id);
    let other = *node.inputs.get(1 - input.min(1))?;
    let fits = node.op == Op::Binary(Binary::Add)
        && graph.value(other).source == ValueSource::Param
        && graph.shape(other) == &graph.shape(value)[graph.shape(value).len() - 1..]
        && !graph.outputs().contains(&value);
    fits.then_some(other)
}

/// Whether a parameter is used once.
pub(super) fn is_own(graph: &Graph, value: ValueId) -> bool {
    graph.value(value).source == ValueSource::Param && graph.readers(value).count() == 1
}
