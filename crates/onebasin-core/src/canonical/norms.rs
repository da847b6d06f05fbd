//! Gains and biases of norms, folded into what reads them.

use super::Form;
use crate::error::Result;
use crate::graph::op::{Binary, Op};
use crate::graph::{Graph, NodeId, ValueId, ValueSource};

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

pub(super) fn fold(form: &mut Form) -> Result<()> {
    for id in (0..form.graph.nodes().len()).map(NodeId) {
        let node = form.graph.node(id).clone();
        let Op::LayerNorm { axes, .. } = &node.op else { continue };
        let last = form.graph.shape(node.inputs[0]).len() - 1;
        if axes[..] != [last] || node.inputs.len() == 1 || form.graph.outputs().contains(&node.outputs[0]) {
            continue;
        }
        let Some(readers) = linear_readers(&form.graph, node.outputs[0]) else { continue };
        let own = |value: &ValueId| is_own(&form.graph, *value);
        if !node.inputs[1..].iter().all(own) {
            continue;
        }
        fold_one(form, &node.inputs[1..], readers)?;
    }
    Ok(())
}

fn fold_one(form: &mut Form, norm: &[ValueId], mut readers: Vec<Reader>) -> Result<()> {
    let name = |form: &Form, value: ValueId| form.graph.value(value).name.clone();
    let gain_name = name(form, norm[0]);
    let gain = form.values(&gain_name)?;
    let bias_name = norm.get(1).map(|value| name(form, *value));
    let bias = bias_name.as_ref().map(|name| form.values(name)).transpose()?;
    let is_zero = bias.as_ref().is_none_or(|bias| bias.iter().all(|b| *b == 0.0));
    let moves_on = readers.iter().all(|reader| reader.bias.is_some_and(|bias| is_own(&form.graph, bias)));
    let is_one = gain.iter().all(|g| *g == 1.0);
    if (is_one && (is_zero || !moves_on)) || (!is_zero && !moves_on && gain.contains(&0.0)) {
        return Ok(());
    }
    for reader in &mut readers {
        untie(form, reader)?;
        let weight = name(form, reader.weight);
        let (mut values, shape) = (form.values(&weight)?, form.graph.shape(reader.weight).to_vec());
        let inner: usize = shape[reader.axis + 1..].iter().product();
        let unit = |at: usize| at / inner % shape[reader.axis];
        if let (Some(bias), Some(to), true) = (&bias, reader.bias, moves_on && !is_zero) {
            let to = name(form, to);
            let mut sums = form.values(&to)?;
            // Of a weight `[out, in]` or `[in, out]`.
            let out = |at: usize| if reader.axis == 0 { at % inner } else { at / shape[reader.axis] };
            values.iter().enumerate().for_each(|(at, w)| sums[out(at)] += w * bias[unit(at)]);
            form.set(&to, &sums)?;
        }
        values.iter_mut().enumerate().for_each(|(at, w)| *w *= gain[unit(at)]);
        form.set(&weight, &values)?;
    }
    if let (Some(bias), Some(to), false) = (&bias, &bias_name, is_zero) {
        let left: Vec<f64> = bias.iter().zip(&gain).map(|(b, g)| if moves_on { 0.0 } else { b / g }).collect();
        form.set(to, &left)?;
        if moves_on {
            form.changes.norm_biases.push(to.clone());
        }
    }
    if !is_one {
        form.set(&gain_name, &vec![1.0; gain.len()])?;
        form.changes.gains.push(gain_name);
    }
    Ok(())
}

/// A weight that others use too becomes one of its own.
fn untie(form: &mut Form, reader: &mut Reader) -> Result<()> {
    if is_own(&form.graph, reader.weight) {
        return Ok(());
    }
    let (of, own) =
        (form.graph.value(reader.weight).name.clone(), form.graph.node(reader.node).name.clone() + ".weight");
    form.graph = form.graph.untied(reader.node, 1, &own)?;
    reader.weight = form.graph.param_named(&own)?;
    form.params.insert(&own[..], form.params.require(&of)?.clone());
    form.changes.untied.insert(own, of);
    Ok(())
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
