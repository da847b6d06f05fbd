//! Paddings of channels as convolutions of one tap: what is tied by number becomes a parameter.

use crate::error::Result;
use crate::graph::op::{Conv, PadMode};
use crate::graph::{Graph, NodeId, Op, ValueId, ValueSource};
use crate::tensor::{Tensor, element_count};

/// A convolution in place of a padding.
#[derive(Debug, Clone)]
pub(super) struct Inserted {
    /// The node, in the graph that it was put into.
    pub(super) node: NodeId,
    /// Name of its parameter.
    pub(super) parameter: String,
    /// Channels of zeros in front.
    before: usize,
}

impl Inserted {
    /// Ones where a channel is handed on, of a weight `[out, in, 1…]`.
    pub(super) fn tensor(&self, shape: &[usize]) -> Result<Tensor> {
        let channels = shape[1];
        let mut values = vec![0.0; element_count(shape)?];
        (0..channels).for_each(|channel| values[(self.before + channel) * channels + channel] = 1.0);
        Tensor::from_f32(shape, values)
    }
}

/// The same graph with a convolution in place of every padding of channels with zeros.
pub(super) fn loosened(graph: &Graph) -> Result<(Graph, Vec<Inserted>)> {
    let mut made = Graph::new();
    let mut ids = vec![ValueId(0); graph.values().len()];
    let mut inserted = Vec::new();
    for id in graph.ids() {
        let value = graph.value(id);
        let new = match &value.source {
            ValueSource::Input => made.input(&value.name, &value.shape)?,
            ValueSource::Param => made.param(&value.name, &value.shape)?,
            ValueSource::Constant(tensor) => made.constant(&value.name, tensor.clone())?,
            ValueSource::Node(_, 1..) => continue,
            ValueSource::Node(at, 0) => {
                let node = graph.node(*at);
                let mut inputs: Vec<ValueId> = node.inputs.iter().map(|v| ids[v.0]).collect();
                let (shape, given) = (&value.shape, graph.shape(*node.inputs.first().unwrap_or(&id)));
                let op = match padded_channels(&node.op, given) {
                    Some(before) => {
                        let parameter = unused(graph, &made, &node.name);
                        let spatial = shape.len() - 2;
                        let weight = [&[shape[1], given[1]][..], &vec![1; spatial]].concat();
                        inputs.push(made.param(&parameter, &weight)?);
                        inserted.push(Inserted { node: NodeId(made.nodes().len()), parameter, before });
                        let (ones, zeros) = (vec![1; spatial], vec![0; spatial]);
                        let (before, after) = (zeros.clone(), zeros);
                        Op::Conv(Conv { strides: ones.clone(), dilations: ones, before, after, groups: 1 })
                    }
                    None => node.op.clone(),
                };
                let outputs = match &op {
                    Op::Unknown(name) => {
                        let shapes: Vec<Vec<usize>> = node.outputs.iter().map(|v| graph.shape(*v).to_vec()).collect();
                        made.push_unknown(&node.name, name, &inputs, &shapes)?
                    }
                    known => made.push_many(&node.name, known.clone(), &inputs)?,
                };
                node.outputs.iter().zip(&outputs).for_each(|(old, new)| ids[old.0] = *new);
                outputs[0]
            }
        };
        ids[id.0] = new;
        made.set_numbers(new, graph.numbers(id));
    }
    graph.outputs().iter().for_each(|output| made.output(ids[output.0]));
    Ok((made, inserted))
}

/// Channels in front, if an operator adds channels of zeros to images and nothing else.
fn padded_channels(op: &Op, given: &[usize]) -> Option<usize> {
    let Op::Pad { before, after, mode } = op else { return None };
    let others = (0..given.len()).filter(|axis| *axis != 1);
    let fits = given.len() >= 3
        && matches!(mode, PadMode::Constant(value) if *value == 0.0)
        && before[1] + after[1] > 0
        && others.into_iter().all(|axis| before[axis] + after[axis] == 0);
    fits.then(|| before[1])
}

/// A name for the parameter of a node that no parameter has.
fn unused(graph: &Graph, made: &Graph, node: &str) -> String {
    let taken = |name: &str| graph.param_named(name).is_ok() || made.param_named(name).is_ok();
    let first = format!("{node}.weight");
    let others = (1..).map(|k| format!("{node}.{k}.weight"));
    std::iter::once(first).chain(others).find(|name| !taken(name)).unwrap_or_default()
}
