//! A graph made ready for one batch size: steps, layouts, buffers.

use std::collections::HashMap;

use onebasin_core::graph::{Graph, Node, NodeId, Op, ValueId, ValueSource};

use super::layout::{Convert, after, aligned, in_channels_last, memory_shape, same};
use super::step::{BatchStep, Buffer, Operand, StepInput, StepWork};
use super::{Program, outputs, slots};
use crate::error::{Error, Result};
use crate::ops::batch_norm::{BatchNorm, Sums};
use crate::ops::{Kernel, Layout, Real, kernel};

/// What a workspace is for, besides the network's outputs.
///
/// ```
/// use onebasin_nn::exec::Wants;
/// let forward_only = Wants::default();
/// assert!(!forward_only.gradients && !forward_only.input_gradients && forward_only.values.is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Wants {
    /// Whether gradients of the weights will be asked for.
    pub gradients: bool,
    /// Whether gradients of the network's inputs will be asked for.
    pub input_gradients: bool,
    /// Values inside the network that will be looked at.
    pub values: Vec<ValueId>,
}

/// The steps of one batch size, in running order.
pub(crate) struct BatchPlan<T> {
    pub batch: usize,
    pub steps: Vec<BatchStep<T>>,
    pub buffers: Vec<Buffer>,
    /// Lengths of the slots of numbers and of gradients.
    pub value_slots: Vec<usize>,
    pub gradient_slots: Vec<usize>,
    /// Buffer of every input of the graph.
    pub inputs: Vec<usize>,
    /// Buffer of every output, each of another.
    pub outputs: Vec<usize>,
    /// Values that may be looked at, in [`Layout::Plain`], with their buffer and shape; the outputs first.
    pub kept: Vec<(ValueId, usize, Vec<usize>)>,
    /// Steps that are BatchNorms.
    pub batch_norms: Vec<usize>,
    /// Where values lie, in which layout.
    places: HashMap<(ValueId, Layout), Operand>,
}

impl<T: Real> BatchPlan<T> {
    /// Makes the plan: nodes that no output depends on are left out.
    ///
    /// # Errors
    /// If the network's shapes do not allow this batch.
    pub(crate) fn new(program: &Program<T>, batch: usize, wants: &Wants) -> Result<Self> {
        let graph = program.graph().with_batch(batch)?;
        let mut builder =
            Builder { program, graph: &graph, places: HashMap::new(), steps: Vec::new(), lens: Vec::new() };
        let inputs = builder.sources();
        let outputs = outputs(&graph);
        let seen: Vec<ValueId> = outputs.iter().chain(&wants.values).copied().collect();
        let live = live(&graph, &seen);
        for (node, _) in live.into_iter().enumerate().filter(|(_, live)| *live) {
            builder.node(NodeId(node))?;
        }
        let mut kept = Vec::new();
        for value in seen {
            if let (Operand::Buffer(buffer), shape) = builder.fetch(value, Layout::Plain) {
                kept.push((value, buffer, shape));
            }
        }
        let Builder { steps, lens, places, .. } = builder;
        let mut plan = Self {
            batch,
            batch_norms: (0..steps.len()).filter(|k| matches!(steps[*k].work, StepWork::BatchNorm(_))).collect(),
            steps,
            buffers: lens.into_iter().map(|len| Buffer { len, slot: 0, gradient: None }).collect(),
            value_slots: Vec::new(),
            gradient_slots: Vec::new(),
            inputs,
            outputs: kept[..outputs.len()].iter().map(|(_, buffer, _)| *buffer).collect(),
            kept,
            places,
        };
        if wants.gradients || wants.input_gradients {
            plan.value_slots = slots::own(&mut plan.buffers);
            plan.differentiate(program, wants);
        } else {
            plan.value_slots = slots::forward(&plan.steps, &mut plan.buffers, &plan.inputs, &plan.kept);
        }
        Ok(plan)
    }

    /// Passes only if the first output has as many numbers for every sample as in the graph, so that each has its answer.
    ///
    /// # Errors
    /// If it mixes samples, or has an answer for all of them together.
    pub(crate) fn answers_every_sample(&self, graph: &Graph) -> Result<()> {
        let Some((value, _, shape)) = self.kept.first() else { return Ok(()) };
        let made_for = graph.batch();
        let (found, once) = (shape.iter().product::<usize>(), graph.shape(*value).iter().product::<usize>());
        if found * made_for == once * self.batch {
            return Ok(());
        }
        let name = &graph.value(*value).name;
        let (samples, expected) = (self.batch, once * self.batch / made_for.max(1));
        Err(Error::Options(format!(
            "output `{name}` has {found} numbers for {samples} samples, where {expected} would answer each; the network treats a \
             batch as one"
        )))
    }

    /// The step that runs a node; none if no output depends on it.
    pub(crate) fn step(&self, node: NodeId) -> Option<usize> {
        self.steps.iter().position(|s| s.node == Some(node))
    }

    /// Whether a buffer has its numbers once the first `done` steps have run.
    pub(crate) fn is_written(&self, buffer: usize, done: usize) -> bool {
        let writes = |step: &BatchStep<T>| step.outputs.iter().any(|(output, _)| *output == buffer);
        self.inputs.contains(&buffer) || self.steps[..done].iter().any(writes)
    }

    /// Where a value lies once the first `done` steps have run: in a place that is written and not yet free.
    pub(crate) fn lying(&self, value: ValueId, done: usize) -> Option<(Operand, Layout)> {
        let reads = |step: &BatchStep<T>, b| step.inputs.iter().any(|i| i.operand == Operand::Buffer(b));
        let lives = |b: usize| {
            let (is_source, written) = (self.inputs.contains(&b), self.is_written(b, done));
            let kept = is_source || self.kept.iter().any(|(_, k, _)| *k == b);
            written && (kept || self.steps[done..].iter().any(|s| reads(s, b)))
        };
        [Layout::ChannelsLast, Layout::Plain].into_iter().find_map(|layout| {
            let operand = *self.places.get(&(value, layout))?;
            match operand {
                Operand::Buffer(b) => lives(b).then_some((operand, layout)),
                Operand::Param(_) | Operand::Constant(_) => Some((operand, layout)),
            }
        })
    }

    /// The BatchNorm that is step `k`.
    pub(crate) fn norm(&self, k: usize) -> Option<BatchNorm> {
        match self.steps[k].work {
            StepWork::BatchNorm(norm) => Some(norm),
            StepWork::Kernel(_) => None,
        }
    }

    /// Adds the gradients of gain and bias of the BatchNorm that is step `k`, given the batch's sums.
    pub(crate) fn add_norm_gradients(&self, k: usize, program: &Program<T>, sums: &Sums, d_weights: &mut [T]) {
        for (input, sum) in self.steps[k].inputs[1..].iter().zip([&sums.dy_x, &sums.dy]) {
            if let (Operand::Param(p), true) = (input.operand, input.wanted) {
                let range = program.params[p].range.clone();
                d_weights[range].iter_mut().zip(sum).for_each(|(d, s)| *d += T::of(*s));
            }
        }
    }

    /// Marks what gradients pass through, from the outputs back to what is trained or asked for.
    fn differentiate(&mut self, program: &Program<T>, wants: &Wants) {
        let mut needs = vec![false; self.buffers.len()];
        self.inputs.iter().for_each(|b| needs[*b] = wants.input_gradients);
        for step in &mut self.steps {
            for input in &mut step.inputs {
                input.wanted = match input.operand {
                    Operand::Buffer(b) => needs[b],
                    Operand::Param(p) => wants.gradients && program.params[p].trained,
                    Operand::Constant(_) => false,
                };
            }
            let any = step.inputs.iter().any(|i| i.wanted);
            step.outputs.iter().for_each(|(b, _)| needs[*b] = any);
        }
        let mut reaches = vec![false; self.buffers.len()];
        self.outputs.iter().for_each(|b| reaches[*b] = true);
        for step in self.steps.iter_mut().rev() {
            step.backward = step.outputs.iter().any(|(b, _)| reaches[*b]) && step.inputs.iter().any(|i| i.wanted);
            for input in &mut step.inputs {
                input.wanted &= step.backward;
                if let (Operand::Buffer(b), true) = (input.operand, input.wanted) {
                    reaches[b] = true;
                }
            }
        }
        self.gradient_slots = slots::backward(&mut self.steps, &mut self.buffers, &self.outputs);
    }
}

/// Nodes that lead to one of the values.
fn live(graph: &Graph, values: &[ValueId]) -> Vec<bool> {
    let mut wanted = vec![false; graph.values().len()];
    for value in values {
        wanted[value.0] = true;
    }
    let mut live = vec![false; graph.nodes().len()];
    for (node, live) in graph.nodes().iter().zip(&mut live).rev() {
        *live = node.outputs.iter().any(|v| wanted[v.0]);
        if *live {
            node.inputs.iter().for_each(|v| wanted[v.0] = true);
        }
    }
    live
}

/// A plan on the way, node by node.
struct Builder<'a, T: Real> {
    program: &'a Program<T>,
    graph: &'a Graph,
    /// Where values lie, in which layout.
    places: HashMap<(ValueId, Layout), Operand>,
    steps: Vec<BatchStep<T>>,
    /// Lengths of the buffers.
    lens: Vec<usize>,
}

impl<T: Real> Builder<'_, T> {
    /// Places inputs, parameters and constants; gives the buffers of the inputs.
    fn sources(&mut self) -> Vec<usize> {
        let (mut params, mut constants, mut inputs) = (0, 0, Vec::new());
        for value in self.graph.ids() {
            let place = match &self.graph.value(value).source {
                ValueSource::Input => {
                    inputs.push(self.buffer(self.graph.shape(value)));
                    (Layout::Plain, Operand::Buffer(self.lens.len() - 1))
                }
                ValueSource::Param => {
                    params += 1;
                    (self.program.params[params - 1].layout, Operand::Param(params - 1))
                }
                ValueSource::Constant(_) => {
                    constants += 1;
                    (Layout::Plain, Operand::Constant(constants - 1))
                }
                ValueSource::Node(..) => continue,
            };
            self.places.insert((value, place.0), place.1);
        }
        inputs
    }

    /// A new buffer for a value of this shape.
    fn buffer(&mut self, shape: &[usize]) -> usize {
        self.lens.push(shape.iter().product());
        self.lens.len() - 1
    }

    /// Where a value lies in this layout and its shape there; it is converted if it does not lie so yet.
    fn fetch(&mut self, value: ValueId, layout: Layout) -> (Operand, Vec<usize>) {
        let graph = self.graph;
        let shape = graph.shape(value);
        let wanted = memory_shape(shape, layout);
        if let Some(&operand) = self.places.get(&(value, layout)) {
            return (operand, wanted);
        }
        let other = if layout == Layout::Plain { Layout::ChannelsLast } else { Layout::Plain };
        let source = self.places[&(value, other)];
        let operand = if same(shape) {
            source
        } else {
            let output = self.buffer(shape);
            self.steps.push(BatchStep {
                node: None,
                work: StepWork::Kernel(Box::new(Convert::new(shape, layout))),
                inputs: vec![StepInput { operand: source, shape: memory_shape(shape, other), wanted: false }],
                outputs: vec![(output, wanted.clone())],
                layout,
                backward: false,
                clear: Vec::new(),
            });
            Operand::Buffer(output)
        };
        self.places.insert((value, layout), operand);
        (operand, wanted)
    }

    /// Adds the step of a node, behind the conversions that it needs.
    fn node(&mut self, id: NodeId) -> Result<()> {
        let graph = self.graph;
        let node = graph.node(id);
        let shapes: Vec<&[usize]> = node.inputs.iter().map(|v| graph.shape(*v)).collect();
        let moved = self.channels_last(node, &shapes);
        let (layout, op) = match &moved {
            Some(op) => (Layout::ChannelsLast, op),
            None => (Layout::Plain, &node.op),
        };
        let rank = shapes[0].len().max(graph.shape(node.outputs[0]).len());
        let broadcast = layout == Layout::ChannelsLast && matches!(op, Op::Binary(_) | Op::Where);
        let mut inputs = Vec::new();
        for &value in &node.inputs {
            let (operand, shape) = if broadcast && graph.shape(value).len() < rank {
                let (operand, shape) = self.fetch(value, Layout::Plain);
                (operand, memory_shape(&aligned(&shape, rank), layout))
            } else {
                self.fetch(value, layout)
            };
            inputs.push(StepInput { operand, shape, wanted: false });
        }
        let given = if layout == Layout::ChannelsLast { after(&node.op) } else { Layout::Plain };
        let mut outputs = Vec::new();
        for &value in &node.outputs {
            let buffer = self.buffer(graph.shape(value));
            self.places.insert((value, given), Operand::Buffer(buffer));
            outputs.push((buffer, memory_shape(graph.shape(value), given)));
        }
        let work = match op {
            Op::BatchNorm { epsilon } => StepWork::BatchNorm(BatchNorm { epsilon: *epsilon }),
            op => StepWork::Kernel(runnable(node, op)?),
        };
        self.steps.push(BatchStep {
            node: Some(id),
            work,
            inputs,
            outputs,
            layout: given,
            backward: false,
            clear: Vec::new(),
        });
        Ok(())
    }

    /// The operator in channels-last memory, where it has to run there, or may and its images lie so.
    fn channels_last(&self, node: &Node, shapes: &[&[usize]]) -> Option<Op> {
        let wish = match &node.op {
            Op::BatchNorm { .. } => Some(Layout::ChannelsLast),
            op => kernel::<T>(op)?.layout(),
        };
        let op = in_channels_last(&node.op, shapes)?;
        let rank = self.graph.shape(node.outputs[0]).len().max(shapes[0].len());
        let lies_so =
            |v: &ValueId| self.graph.shape(*v).len() == rank && self.places.contains_key(&(*v, Layout::ChannelsLast));
        let fits = |shape: &&[usize]| shape.len() == rank || same(&aligned(shape, rank));
        let may = || {
            let broadcast = matches!(op, Op::Binary(_) | Op::Where);
            rank >= 3 && node.inputs.iter().any(lies_so) && (!broadcast || shapes.iter().all(fits))
        };
        wish.map_or_else(may, |layout| layout == Layout::ChannelsLast).then_some(op)
    }
}

/// The kernel of a node.
pub(crate) fn runnable<T: Real>(node: &Node, op: &Op) -> Result<Box<dyn Kernel<T>>> {
    kernel(op).ok_or_else(|| Error::Operator { node: node.name.clone(), operator: op.name().to_owned() })
}
