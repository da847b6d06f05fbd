//! A network on a device, run forward node by node, every value as the graph says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use onebasin::Params;
use onebasin::graph::op::{Binary, Conv, PadMode, Pool, PoolKind, Reduce, Unary};
use onebasin::graph::{Graph, Node, Op, Source, ValueId};
use onebasin_nn::{Error, Result, Running};

use crate::machine::{Argument, Kernel, Machine, Sizes};

/// A graph and its tensors, in f32 on a device.
pub(crate) struct Network<M: Machine> {
    machine: Arc<M>,
    graph: Graph,
    /// Parameters.
    tensors: HashMap<ValueId, Arc<M::Memory>>,
    /// Numbers in the patches of a convolution made at a time, unless one sample has more.
    patches: usize,
    /// Held while the device computes, so that several threads do not need several times the memory.
    turn: Mutex<()>,
}

/// A node about to run: what it reads and gives, by shape.
struct Call<'a, M: Machine> {
    node: &'a Node,
    inputs: Vec<&'a Arc<M::Memory>>,
    shapes: Vec<&'a [usize]>,
    output: &'a [usize],
}

impl<M: Machine> Network<M> {
    /// Copies a network to the device, where convolutions make this many numbers of patches at a time, or those of one sample.
    ///
    /// # Errors
    /// Names a node that does not run there, a tensor that is missing or no float; says if there is too little memory.
    pub(crate) fn new(machine: Arc<M>, graph: &Graph, params: &Params, patches: usize) -> Result<Self> {
        if let Some(node) = graph.nodes().iter().find(|node| !runs(graph, node)) {
            let operator = format!("{} on the GPU", node.op.name());
            return Err(Error::Operator { node: node.name.clone(), operator });
        }
        let mut tensors = HashMap::new();
        for id in graph.ids() {
            let value = graph.value(id);
            let Source::Param = &value.source else { continue };
            let numbers = params.require(&value.name)?.to_f32()?;
            if numbers.len() != value.shape.iter().product::<usize>() {
                let why = format!("parameter of shape {:?} needed, found {} numbers", value.shape, numbers.len());
                return Err(onebasin::Error::Graph { node: value.name.clone(), why }.into());
            }
            let memory = machine.upload(bytemuck::cast_slice(&numbers)).map_err(onebasin::Error::from)?;
            tensors.insert(id, Arc::new(memory));
        }
        Ok(Self { machine, graph: graph.clone(), tensors, patches, turn: Mutex::default() })
    }

    fn run(&self, graph: &Graph, input: &[f32]) -> crate::Result<Vec<f32>> {
        let output = graph.outputs()[0];
        let mut left = vec![0; graph.values().len()];
        graph.nodes().iter().flat_map(|node| &node.inputs).chain([&output]).for_each(|v| left[v.0] += 1);
        let mut values = self.tensors.clone();
        let first = graph.inputs().next().expect("a program has an input");
        values.insert(first, Arc::new(self.machine.upload(bytemuck::cast_slice(input))?));
        for node in graph.nodes() {
            if left[node.outputs[0].0] == 0 {
                continue;
            }
            let call = Call {
                node,
                inputs: node.inputs.iter().map(|v| &values[v]).collect(),
                shapes: node.inputs.iter().map(|v| graph.shape(*v)).collect(),
                output: graph.shape(node.outputs[0]),
            };
            let made = self.node(&call)?;
            values.insert(node.outputs[0], made);
            for input in &node.inputs {
                left[input.0] -= 1;
                if left[input.0] == 0 {
                    values.remove(input);
                }
            }
        }
        let mut out = vec![0.0; graph.shape(output).iter().product()];
        self.machine.download(&values[&output], bytemuck::cast_slice_mut(&mut out))?;
        Ok(out)
    }

    /// Runs one node: a list of those that [`runs`] lets pass.
    fn node(&self, call: &Call<'_, M>) -> crate::Result<Arc<M::Memory>> {
        let (x, shape) = (call.inputs[0], call.shapes[0]);
        let count = call.output.iter().product::<usize>();
        let (outer, inner) = (shape.first().copied().unwrap_or(1), shape.iter().skip(2).product::<usize>());
        match &call.node.op {
            Op::Linear => self.linear(call),
            Op::Conv(conv) => self.conv(call, conv),
            Op::Pool(pool) => {
                let [planes, height, width] = [shape[0] * shape[1], shape[2], shape[3]];
                let (kernel, strides, before) = (&pool.kernel, &pool.strides, &pool.before);
                let numbers =
                    [planes, height, width, kernel[0], kernel[1], strides[0], strides[1], before[0], before[1]];
                self.make(Kernel::MaxPool, count, &[x], &[&numbers[..], &call.output[2..]].concat())
            }
            Op::BatchNorm { epsilon } => {
                let numbers = [shape[1], inner, count, bits(*epsilon)];
                self.make(Kernel::BatchNorm, count, &call.inputs, &numbers)
            }
            Op::LayerNorm { epsilon, .. } => {
                let numbers = [outer, shape[1], inner, bits(*epsilon)];
                self.make(Kernel::LayerNorm, count, &call.inputs, &numbers)
            }
            Op::Unary(_) => self.make(Kernel::Rectify, count, &[x], &[count]),
            Op::Binary(_) => self.make(Kernel::Sum, count, &call.inputs, &[count]),
            Op::Reduce { axes, .. } => {
                let len = axes.iter().map(|a| shape[*a]).product();
                self.make(Kernel::Mean, count, &[x], &[count, len, 1])
            }
            Op::Slice { axis, start, step, .. } => {
                self.shift(x, shape, (*axis, call.output[*axis]), *start as isize, *step)
            }
            Op::Pad { before, .. } => {
                let (mut made, mut shape) = (Arc::clone(x), shape.to_vec());
                for (axis, &to) in call.output.iter().enumerate().filter(|(axis, to)| **to != call.shapes[0][*axis]) {
                    made = self.shift(&made, &shape, (axis, to), -(before[axis] as isize), 1)?;
                    shape[axis] = to;
                }
                Ok(made)
            }
            _ => Ok(Arc::clone(x)),
        }
    }

    /// Runs a kernel that writes `count` numbers, all of them.
    fn make(
        &self,
        kernel: Kernel,
        count: usize,
        inputs: &[&Arc<M::Memory>],
        numbers: &[usize],
    ) -> crate::Result<Arc<M::Memory>> {
        let mut made = self.machine.zeros(4 * count)?;
        self.launch(kernel, count, &mut made, inputs, numbers)?;
        Ok(Arc::new(made))
    }

    fn launch(
        &self,
        kernel: Kernel,
        count: usize,
        output: &mut M::Memory,
        inputs: &[&Arc<M::Memory>],
        numbers: &[usize],
    ) -> crate::Result<()> {
        let mut arguments = vec![Argument::Out(output)];
        arguments.extend(inputs.iter().map(|memory| Argument::In(&***memory, 0)));
        arguments.extend(numbers.iter().map(|n| Argument::Number(*n as u64)));
        self.machine.launch(kernel, count, &mut arguments)
    }

    /// Positions `start + k · step` of an axis, `to` of them.
    fn shift(
        &self,
        x: &Arc<M::Memory>,
        shape: &[usize],
        (axis, to): (usize, usize),
        start: isize,
        step: isize,
    ) -> crate::Result<Arc<M::Memory>> {
        let (outer, inner) = (shape[..axis].iter().product::<usize>(), shape[axis + 1..].iter().product::<usize>());
        let numbers = [outer, to, shape[axis], inner, start as usize, step as usize];
        self.make(Kernel::Shift, outer * to * inner, &[x], &numbers)
    }

    fn linear(&self, call: &Call<'_, M>) -> crate::Result<Arc<M::Memory>> {
        let (outputs, width) = (call.shapes[1][0], call.shapes[1][1]);
        let rows = call.output.iter().product::<usize>() / outputs;
        let mut product = self.machine.zeros(4 * rows * outputs)?;
        self.machine.multiply(&mut product, call.inputs[0], call.inputs[1], Sizes { rows, columns: outputs, width })?;
        let product = Arc::new(product);
        let Some(bias) = call.inputs.get(2) else { return Ok(product) };
        self.make(Kernel::Place, rows * outputs, &[&product, bias], &[1, outputs, 1, 0, rows])
    }

    /// Patches of some samples, a product, and its numbers where they belong.
    fn conv(&self, call: &Call<'_, M>, conv: &Conv) -> crate::Result<Arc<M::Memory>> {
        let (x, weight) = (call.shapes[0], call.shapes[1]);
        let (samples, outputs, pixels) = (x[0], weight[0], call.output[2] * call.output[3]);
        let width: usize = weight[1..].iter().product();
        let most = (self.patches / (pixels * width).max(1)).clamp(1, samples.max(1));
        let mut made = self.machine.zeros(4 * samples * outputs * pixels)?;
        let mut product = self.machine.zeros(4 * most * pixels * outputs)?;
        let mut patches = Arc::new(self.machine.zeros(4 * most * pixels * width)?);
        for first in (0..samples).step_by(most) {
            let some = most.min(samples - first);
            let numbers = [
                &[x[1], x[2], x[3], weight[2], weight[3]][..],
                &conv.strides,
                &conv.dilations,
                &conv.before,
                &call.output[2..],
                &[first, some],
            ]
            .concat();
            let own = Arc::get_mut(&mut patches).expect("nothing else holds it");
            self.launch(Kernel::Im2Col, some * pixels * width, own, &[call.inputs[0]], &numbers)?;
            let sizes = Sizes { rows: some * pixels, columns: outputs, width };
            self.machine.multiply(&mut product, &patches, call.inputs[1], sizes)?;
            let bias = call.inputs.get(2);
            let mut arguments = vec![Argument::Out(&mut made), Argument::In(&product, 0)];
            arguments.push(bias.map_or(Argument::In(&product, 0), |bias| Argument::In(&***bias, 0)));
            let numbers = [usize::from(bias.is_some()), outputs, pixels, first, some];
            arguments.extend(numbers.map(|n| Argument::Number(n as u64)));
            self.machine.launch(Kernel::Place, some * outputs * pixels, &mut arguments)?;
        }
        Ok(Arc::new(made))
    }
}

impl<M: Machine> Running for Network<M> {
    fn forward(&self, batch: usize, input: &[f32]) -> Result<Vec<f32>> {
        let graph = self.graph.with_batch(batch)?;
        let needed = graph.inputs().next().map_or(0, |v| graph.shape(v).iter().product::<usize>());
        if input.len() != needed || needed == 0 {
            return Err(Error::Options(format!("{batch} samples are {needed} numbers, found {}", input.len())));
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.run(&graph, input).map_err(onebasin::Error::from)?)
    }
}

/// The bits of a number of a kernel, as single precision.
fn bits(value: f64) -> usize {
    (value as f32).to_bits() as usize
}

/// Whether a node runs on a device: those of the built-in networks, images having two spatial axes.
fn runs(graph: &Graph, node: &Node) -> bool {
    let shape = graph.shape(node.inputs[0]);
    let computed = |v: &ValueId| !matches!(graph.value(*v).source, Source::Constant(_));
    let image = shape.len() == 4;
    node.inputs.iter().all(computed)
        && match &node.op {
            Op::Linear | Op::Reshape(_) | Op::Slice { .. } | Op::Unary(Unary::Relu) => true,
            Op::Conv(conv) => image && conv.groups == 1,
            Op::Pool(Pool { kind: PoolKind::Max, .. }) => image,
            Op::BatchNorm { .. } => shape.len() >= 2,
            Op::LayerNorm { axes, centred: true, .. } => axes[..] == [1] && node.inputs.len() == 3,
            Op::Binary(Binary::Add) => graph.shape(node.inputs[1]) == shape,
            Op::Reduce { kind: Reduce::Mean, axes, .. } => {
                axes.iter().copied().eq(shape.len() - axes.len()..shape.len())
            }
            Op::Pad { mode: PadMode::Constant(value), .. } => *value == 0.0,
            _ => false,
        }
}
