//! Nodes of a graph on a device, one at a time, forward; `backward` has the other way.

use std::collections::HashMap;
use std::sync::Arc;

use onebasin_core::Params;
use onebasin_core::graph::op::{Conv, Pool};
use onebasin_core::graph::{Graph, Node, ValueId, ValueSource};
use onebasin_nn::exec::outputs;
use onebasin_nn::{Error, Result};

use crate::machine::{Argument, KernelName, Machine, Precision, Product};
use crate::operators::DeviceOp;

/// What runs nodes.
#[derive(Debug)]
pub(crate) struct Nodes<M> {
    pub(crate) machine: Arc<M>,
    /// Numbers in the patches of a convolution made at a time, unless one sample has more.
    pub(crate) patches: usize,
    /// How exactly products are computed.
    pub(crate) precision: Precision,
}

/// A node about to run: what it reads and gives, by shape.
pub(crate) struct DeviceCall<'a, M: Machine> {
    pub(crate) node: &'a Node,
    pub(crate) op: DeviceOp<'a>,
    pub(crate) inputs: Vec<&'a Arc<M::Memory>>,
    pub(crate) shapes: Vec<&'a [usize]>,
    pub(crate) output: &'a [usize],
}

/// Samples of a convolution that are run at once.
pub(crate) struct Slab {
    first: usize,
    samples: usize,
}

impl<'a, M: Machine> DeviceCall<'a, M> {
    /// The node's first `operands` inputs.
    ///
    /// # Errors
    /// Names a node that does not run on a device.
    pub(crate) fn new(
        graph: &'a Graph,
        node: &'a Node,
        operands: usize,
        values: &'a HashMap<ValueId, Arc<M::Memory>>,
    ) -> crate::Result<Self> {
        let inputs = &node.inputs[..operands.min(node.inputs.len())];
        let Some(op) = DeviceOp::of(graph, node) else {
            return Err(crate::Error::Operator { node: node.name.clone(), operator: node.op.name().to_owned() });
        };
        Ok(Self {
            node,
            op,
            inputs: inputs.iter().map(|v| &values[v]).collect(),
            shapes: node.inputs.iter().map(|v| graph.shape(*v)).collect(),
            output: graph.shape(node.outputs[0]),
        })
    }

    /// Numbers of the output.
    pub(crate) fn count(&self) -> usize {
        self.output.iter().product()
    }

    /// The first input as `[outer, len, inner]`, `len` being axis 1.
    pub(crate) fn axes(&self) -> [usize; 3] {
        let at = |axis: usize| self.shapes[0].get(axis).copied().unwrap_or(1);
        [at(0), at(1), self.shapes[0].iter().skip(2).product()]
    }

    /// Planes and sizes of a pooling, in the order of its kernels.
    pub(crate) fn pool(&self, pool: &Pool) -> Vec<usize> {
        let shape = self.shapes[0];
        let planes = shape[0] * shape[1];
        [&[planes, shape[2], shape[3]], &pool.kernel[..], &pool.strides, &pool.before, &self.output[2..]].concat()
    }

    /// Length of a patch of a convolution.
    pub(crate) fn patch(&self) -> usize {
        self.shapes[1][1..].iter().product()
    }

    /// Positions of a convolution's output.
    pub(crate) fn pixels(&self) -> usize {
        self.output[2] * self.output[3]
    }

    /// Sizes of a convolution, in the order of the kernels of its patches.
    pub(crate) fn windows(&self, conv: &Conv, slab: &Slab) -> Vec<usize> {
        let (x, weight) = (self.shapes[0], self.shapes[1]);
        [
            &[x[1], x[2], x[3], weight[2], weight[3]][..],
            &conv.strides,
            &conv.dilations,
            &conv.before,
            &self.output[2..],
            &slab.numbers(),
        ]
        .concat()
    }
}

impl Slab {
    /// The samples, as kernels are told them.
    pub(crate) fn numbers(&self) -> [usize; 2] {
        [self.first, self.samples]
    }

    /// Rows of its patches.
    pub(crate) fn rows(&self, pixels: usize) -> usize {
        self.samples * pixels
    }
}

impl<M: Machine> Nodes<M> {
    /// Runs one node.
    pub(crate) fn forward(&self, call: &DeviceCall<'_, M>) -> crate::Result<Arc<M::Memory>> {
        let (x, count, [outer, len, inner]) = (call.inputs[0], call.count(), call.axes());
        match &call.op {
            DeviceOp::Linear => self.linear(call),
            DeviceOp::Conv(conv) => self.conv(call, conv),
            DeviceOp::MaxPool(pool) => self.make(KernelName::MaxPool, count, &[x], &call.pool(pool)),
            DeviceOp::BatchNorm { epsilon } => {
                self.make(KernelName::BatchNorm, count, &call.inputs, &[len, inner, count, bits(*epsilon)])
            }
            DeviceOp::LayerNorm { epsilon } => {
                self.make(KernelName::LayerNorm, count, &call.inputs, &[outer, len, inner, bits(*epsilon)])
            }
            DeviceOp::Rectify => self.make(KernelName::Rectify, count, &[x], &[count]),
            DeviceOp::Sum => self.make(KernelName::Sum, count, &call.inputs, &[count]),
            DeviceOp::Mean { len } => self.make(KernelName::Mean, count, &[x], &[count, *len, 1]),
            DeviceOp::Reshape => Ok(Arc::clone(x)),
            DeviceOp::Shifts(shifts) => {
                let mut made = Arc::clone(x);
                for shift in shifts {
                    made = self.make(KernelName::Shift, shift.counts()[1], &[&made], &shift.numbers())?;
                }
                Ok(made)
            }
        }
    }

    /// Runs a kernel that writes `count` numbers, all of them.
    pub(crate) fn make(
        &self,
        kernel: KernelName,
        count: usize,
        inputs: &[&Arc<M::Memory>],
        numbers: &[usize],
    ) -> crate::Result<Arc<M::Memory>> {
        let mut made = self.zeros(count)?;
        self.launch(kernel, count, [&mut made], inputs, numbers)?;
        Ok(Arc::new(made))
    }

    pub(crate) fn zeros(&self, count: usize) -> crate::Result<M::Memory> {
        self.machine.zeros(4 * count)
    }

    pub(crate) fn launch<const N: usize>(
        &self,
        kernel: KernelName,
        count: usize,
        outputs: [&mut M::Memory; N],
        inputs: &[&Arc<M::Memory>],
        numbers: &[usize],
    ) -> crate::Result<()> {
        let mut arguments: Vec<_> = outputs.into_iter().map(Argument::Out).collect();
        arguments.extend(inputs.iter().map(|memory| Argument::In(&***memory, 0)));
        arguments.extend(numbers.iter().map(|n| Argument::Number(*n as u64)));
        self.machine.launch(kernel, count, &mut arguments)
    }

    pub(crate) fn multiply(
        &self,
        out: &mut M::Memory,
        a: &M::Memory,
        b: &M::Memory,
        product: Product,
    ) -> crate::Result<()> {
        self.machine.multiply(out, a, b, Product { precision: self.precision, ..product })
    }

    fn linear(&self, call: &DeviceCall<'_, M>) -> crate::Result<Arc<M::Memory>> {
        let (outputs, width) = (call.shapes[1][0], call.shapes[1][1]);
        let rows = call.count() / outputs;
        let mut product = self.zeros(rows * outputs)?;
        self.multiply(&mut product, call.inputs[0], call.inputs[1], Product::new(rows, outputs, width))?;
        let product = Arc::new(product);
        let Some(bias) = call.inputs.get(2) else { return Ok(product) };
        self.make(KernelName::Place, rows * outputs, &[&product, bias], &[1, outputs, 1, 0, rows])
    }

    /// The samples of a convolution, as many at once as there is room for patches; the first slab is the largest.
    pub(crate) fn slabs(&self, call: &DeviceCall<'_, M>) -> Vec<Slab> {
        let all = call.shapes[0][0];
        let most = (self.patches / (call.pixels() * call.patch()).max(1)).clamp(1, all.max(1));
        (0..all).step_by(most).map(|first| Slab { first, samples: most.min(all - first) }).collect()
    }

    /// Patches of some samples, a product, and its numbers where they belong.
    fn conv(&self, call: &DeviceCall<'_, M>, conv: &Conv) -> crate::Result<Arc<M::Memory>> {
        let (outputs, pixels, width) = (call.shapes[1][0], call.pixels(), call.patch());
        let slabs = self.slabs(call);
        let most = slabs.first().map_or(0, |slab| slab.rows(pixels));
        let mut made = self.zeros(call.count())?;
        let (mut product, mut patches) = (self.zeros(most * outputs)?, self.zeros(most * width)?);
        for slab in slabs {
            let rows = slab.rows(pixels);
            let windows = call.windows(conv, &slab);
            self.launch(KernelName::Im2Col, rows * width, [&mut patches], &call.inputs[..1], &windows)?;
            self.multiply(&mut product, &patches, call.inputs[1], Product::new(rows, outputs, width))?;
            let bias = call.inputs.get(2);
            let mut arguments = vec![Argument::Out(&mut made), Argument::In(&product, 0)];
            arguments.push(bias.map_or(Argument::In(&product, 0), |bias| Argument::In(&***bias, 0)));
            let [first, samples] = slab.numbers();
            let numbers = [usize::from(bias.is_some()), outputs, pixels, first, samples];
            arguments.extend(numbers.map(|n| Argument::Number(n as u64)));
            self.machine.launch(KernelName::Place, rows * outputs, &mut arguments)?;
        }
        Ok(Arc::new(made))
    }
}

/// Copies the parameters of a graph to a device.
///
/// # Errors
/// Names a node that does not run there, a tensor that is missing or no float; says if there is too little memory.
pub(crate) fn bring<M: Machine>(
    machine: &M,
    graph: &Graph,
    params: &Params,
) -> Result<HashMap<ValueId, Arc<M::Memory>>> {
    if let Some(node) = graph.nodes().iter().find(|node| DeviceOp::of(graph, node).is_none()) {
        let operator = format!("{} on the GPU", node.op.name());
        return Err(Error::Operator { node: node.name.clone(), operator });
    }
    let params_of = graph.ids().filter(|id| graph.value(*id).source == ValueSource::Param);
    params_of.map(|id| Ok((id, Arc::new(upload(machine, graph, id, params)?)))).collect()
}

/// Copies the tensor of this value.
pub(crate) fn upload<M: Machine>(machine: &M, graph: &Graph, id: ValueId, params: &Params) -> Result<M::Memory> {
    let value = graph.value(id);
    let tensor = params.require(&value.name)?;
    let numbers = tensor.to_f32()?;
    if tensor.shape() != value.shape {
        let why = format!("parameter of shape {:?} needed, found {:?}", value.shape, tensor.shape());
        return Err(onebasin_core::Error::Graph { node: value.name.clone(), why }.into());
    }
    Ok(machine.upload(bytemuck::cast_slice(&numbers)).map_err(onebasin_core::Error::from)?)
}

/// Copies samples, which must be as many as every input of the graph takes.
pub(crate) fn upload_inputs<M: Machine>(
    machine: &M,
    graph: &Graph,
    inputs: &[&[f32]],
) -> Result<Vec<(ValueId, Arc<M::Memory>)>> {
    let ids: Vec<ValueId> = graph.inputs().collect();
    if ids.is_empty() || ids.len() != inputs.len() {
        return Err(Error::Options(format!("the network has {} inputs, found {}", ids.len(), inputs.len())));
    }
    let upload = |(id, input): (ValueId, &&[f32])| {
        let (name, shape) = (&graph.value(id).name, graph.shape(id));
        let needed = shape.iter().product::<usize>();
        if input.len() != needed || needed == 0 {
            let batch = shape.first().copied().unwrap_or(0);
            let why = format!("{batch} samples of input `{name}` are {needed} numbers, found {}", input.len());
            return Err(Error::Options(why));
        }
        Ok((id, Arc::new(machine.upload(bytemuck::cast_slice(input)).map_err(onebasin_core::Error::from)?)))
    };
    ids.into_iter().zip(inputs).map(upload).collect()
}

/// Copies outputs back.
pub(crate) fn download_outputs<M: Machine>(
    machine: &M,
    graph: &Graph,
    values: &HashMap<ValueId, Arc<M::Memory>>,
) -> crate::Result<Vec<Vec<f32>>> {
    let download = |id: ValueId| {
        let mut numbers = vec![0.0_f32; graph.shape(id).iter().product()];
        machine.download(&values[&id], bytemuck::cast_slice_mut(&mut numbers))?;
        Ok(numbers)
    };
    outputs(graph).into_iter().map(download).collect()
}

/// The bits of a number of a kernel, as single precision.
pub(crate) fn bits(value: f64) -> usize {
    (value as f32).to_bits() as usize
}
