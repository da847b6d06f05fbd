//! Nodes of a graph on a device, one at a time, backward: what their outputs' gradients add to those of their inputs.

use std::collections::HashMap;
use std::sync::Arc;

use onebasin_core::graph::op::Conv;
use onebasin_core::graph::{Graph, ValueId, ValueSource};

use crate::machine::{KernelName, Machine, Product, ProductForm};
use crate::nodes::{DeviceCall, Nodes, bits};
use crate::operators::DeviceOp;

/// Gradients of values, made when they are first added to.
pub(crate) struct Gradients<M: Machine> {
    all: HashMap<ValueId, M::Memory>,
    /// Numbers of every value, none where no gradient is wanted: inputs and running statistics.
    counts: Vec<Option<usize>>,
}

/// Mean and variance of every channel over a batch.
pub(crate) struct DeviceStatistics<M: Machine> {
    pub(crate) mean: Arc<M::Memory>,
    pub(crate) variance: Arc<M::Memory>,
    /// Numbers that each is of.
    pub(crate) count: usize,
}

impl<M: Machine> Gradients<M> {
    pub(crate) fn new(graph: &Graph) -> Self {
        let statistics: Vec<ValueId> = graph.statistics().collect();
        let count = |id: ValueId| {
            let trained = matches!(graph.value(id).source, ValueSource::Param | ValueSource::Node(..));
            (trained && !statistics.contains(&id)).then(|| graph.shape(id).iter().product())
        };
        Self { all: HashMap::new(), counts: graph.ids().map(count).collect() }
    }

    /// Takes a gradient out, as zeros if nothing was added to it.
    pub(crate) fn take(&mut self, nodes: &Nodes<M>, value: ValueId) -> crate::Result<M::Memory> {
        let known = self.all.remove(&value);
        known.map_or_else(|| nodes.zeros(self.counts[value.0].unwrap_or(0)), Ok)
    }

    /// Puts a gradient in its place.
    pub(crate) fn put(&mut self, value: ValueId, gradient: M::Memory) {
        self.all.insert(value, gradient);
    }

    fn has(&self, value: ValueId) -> bool {
        self.all.contains_key(&value)
    }

    /// Lets `add` add to the gradient of a value, if it is wanted.
    fn add(
        &mut self,
        nodes: &Nodes<M>,
        value: ValueId,
        add: impl FnOnce(&mut M::Memory, usize) -> crate::Result<()>,
    ) -> crate::Result<()> {
        let Some(count) = self.counts[value.0] else { return Ok(()) };
        let mut gradient = self.take(nodes, value)?;
        add(&mut gradient, count)?;
        self.put(value, gradient);
        Ok(())
    }
}

impl<M: Machine> Nodes<M> {
    /// Sums over `outer` and `inner` of `x [outer, len, inner]`.
    fn sums(&self, x: &Arc<M::Memory>, [outer, len, inner]: [usize; 3]) -> crate::Result<Arc<M::Memory>> {
        /// Sums of one number at most: enough threads, whatever `len`.
        const PARTS: usize = 256;
        let parts = (outer * inner).clamp(1, PARTS);
        let some = self.make(KernelName::PartialSums, parts * len, &[x], &[outer, len, inner, parts])?;
        self.make(KernelName::PartialSums, len, &[&some], &[parts, len, 1, 1])
    }

    /// Mean and variance of every channel of a BatchNorm's input.
    pub(crate) fn statistics(&self, call: &DeviceCall<'_, M>) -> crate::Result<DeviceStatistics<M>> {
        let (x, axes @ [outer, channels, pixels]) = (call.inputs[0], call.axes());
        let count = outer * pixels;
        let share = bits(1.0 / count as f64);
        let mean = self.make(KernelName::Scale, channels, &[&self.sums(x, axes)?], &[channels, share])?;
        let sizes = [channels, pixels, call.count()];
        let squares = self.make(KernelName::CentredProduct, call.count(), &[x, x, &mean, &mean], &sizes)?;
        let variance = self.make(KernelName::Scale, channels, &[&self.sums(&squares, axes)?], &[channels, share])?;
        Ok(DeviceStatistics { mean, variance, count })
    }

    /// Adds to the gradients of a node's inputs, and takes that of its output, `y`; nothing if it has none. A BatchNorm has
    /// used these statistics.
    pub(crate) fn backward(
        &self,
        call: &DeviceCall<'_, M>,
        y: &Arc<M::Memory>,
        norm: Option<&DeviceStatistics<M>>,
        gradients: &mut Gradients<M>,
    ) -> crate::Result<()> {
        let (node, output) = (call.node, call.node.outputs[0]);
        if !gradients.has(output) {
            return Ok(());
        }
        let dy = &Arc::new(gradients.take(self, output)?);
        let (x, count, axes @ [outer, len, inner]) = (call.inputs[0], call.count(), call.axes());
        match &call.op {
            DeviceOp::Linear => self.linear_back(call, dy, gradients),
            DeviceOp::Conv(conv) => self.conv_back(call, conv, dy, gradients),
            DeviceOp::BatchNorm { epsilon } => {
                let norm = norm.expect("every BatchNorm has used some");
                self.batch_norm_back(call, norm, *epsilon, dy, gradients)
            }
            DeviceOp::MaxPool(pool) => gradients.add(self, node.inputs[0], |dx, numbers| {
                self.launch(KernelName::MaxPoolBack, numbers, [dx], &[x, y, dy], &call.pool(pool))
            }),
            DeviceOp::LayerNorm { epsilon } => {
                let mut slopes = self.zeros(count)?;
                let mut dx = gradients.take(self, node.inputs[0])?;
                let numbers = [outer, len, inner, bits(*epsilon)];
                let inputs = [x, call.inputs[1], dy];
                self.launch(KernelName::LayerNormBack, outer * inner, [&mut dx, &mut slopes], &inputs, &numbers)?;
                gradients.put(node.inputs[0], dx);
                self.add(gradients, node.inputs[1], &self.sums(&Arc::new(slopes), axes)?)?;
                self.add(gradients, node.inputs[2], &self.sums(dy, axes)?)
            }
            DeviceOp::Rectify => gradients.add(self, node.inputs[0], |dx, numbers| {
                self.launch(KernelName::RectifyBack, numbers, [dx], &[y, dy], &[numbers])
            }),
            DeviceOp::Mean { len } => gradients.add(self, node.inputs[0], |dx, numbers| {
                self.launch(KernelName::MeanBack, numbers, [dx], &[dy], &[count, *len, 1])
            }),
            DeviceOp::Sum | DeviceOp::Reshape => {
                node.inputs.iter().try_for_each(|input| self.add(gradients, *input, dy))
            }
            DeviceOp::Shifts(shifts) => {
                let mut moved = Arc::clone(dy);
                for shift in shifts.iter().rev() {
                    let [before, after] = shift.counts();
                    let mut dx = self.zeros(before)?;
                    self.launch(KernelName::ShiftBack, after, [&mut dx], &[&moved], &shift.numbers())?;
                    moved = Arc::new(dx);
                }
                self.add(gradients, node.inputs[0], &moved)
            }
        }
    }

    /// Adds numbers to a gradient.
    fn add(&self, gradients: &mut Gradients<M>, value: ValueId, numbers: &Arc<M::Memory>) -> crate::Result<()> {
        gradients.add(self, value, |d, count| self.launch(KernelName::Add, count, [d], &[numbers], &[count]))
    }

    fn linear_back(
        &self,
        call: &DeviceCall<'_, M>,
        dy: &Arc<M::Memory>,
        gradients: &mut Gradients<M>,
    ) -> crate::Result<()> {
        let (outputs, width) = (call.shapes[1][0], call.shapes[1][1]);
        let (rows, node) = (call.count() / outputs, call.node);
        gradients.add(self, node.inputs[1], |d, _| {
            self.multiply(d, dy, call.inputs[0], Product::new(outputs, width, rows).adds(ProductForm::Tn))
        })?;
        gradients.add(self, node.inputs[0], |dx, _| {
            self.multiply(dx, dy, call.inputs[1], Product::new(rows, width, outputs).adds(ProductForm::Nn))
        })?;
        let Some(bias) = node.inputs.get(2) else { return Ok(()) };
        self.add(gradients, *bias, &self.sums(dy, [rows, outputs, 1])?)
    }

    /// The products of patches, the other way round; patches are made again.
    fn conv_back(
        &self,
        call: &DeviceCall<'_, M>,
        conv: &Conv,
        dy: &Arc<M::Memory>,
        gradients: &mut Gradients<M>,
    ) -> crate::Result<()> {
        let (outputs, pixels, width) = (call.shapes[1][0], call.pixels(), call.patch());
        let (node, slabs) = (call.node, self.slabs(call));
        let most = slabs.first().map_or(0, |slab| slab.rows(pixels));
        let mut product = self.zeros(most * outputs)?;
        let mut patches = Arc::new(self.zeros(most * width)?);
        for slab in slabs {
            let (rows, windows) = (slab.rows(pixels), call.windows(conv, &slab));
            let [first, samples] = slab.numbers();
            self.launch(KernelName::Take, rows * outputs, [&mut product], &[dy], &[outputs, pixels, first, samples])?;
            let own = Arc::get_mut(&mut patches).expect("nothing else holds it");
            self.launch(KernelName::Im2Col, rows * width, [&mut *own], &call.inputs[..1], &windows)?;
            gradients.add(self, node.inputs[1], |d, _| {
                self.multiply(d, &product, own, Product::new(outputs, width, rows).adds(ProductForm::Tn))
            })?;
            let back = Product { form: ProductForm::Nn, ..Product::new(rows, width, outputs) };
            self.multiply(own, &product, call.inputs[1], back)?;
            gradients.add(self, node.inputs[0], |dx, numbers| {
                self.launch(KernelName::Im2ColBack, numbers, [dx], &[&patches], &windows)
            })?;
        }
        let Some(bias) = node.inputs.get(2) else { return Ok(()) };
        self.add(gradients, *bias, &self.sums(dy, [call.output[0], outputs, pixels])?)
    }

    fn batch_norm_back(
        &self,
        call: &DeviceCall<'_, M>,
        norm: &DeviceStatistics<M>,
        epsilon: f64,
        dy: &Arc<M::Memory>,
        gradients: &mut Gradients<M>,
    ) -> crate::Result<()> {
        let (x, node, count) = (call.inputs[0], call.node, call.count());
        let (axes @ [_, channels, pixels], DeviceStatistics { mean, variance, .. }) = (call.axes(), norm);
        let none = Arc::new(self.zeros(channels)?);
        let slopes = self.make(KernelName::CentredProduct, count, &[dy, x, &none, mean], &[channels, pixels, count])?;
        let (levels, slopes) = (self.sums(dy, axes)?, self.sums(&slopes, axes)?);
        self.add(gradients, node.inputs[2], &levels)?;
        gradients.add(self, node.inputs[1], |d, _| {
            self.launch(KernelName::GainBack, channels, [d], &[&slopes, variance], &[channels, bits(epsilon)])
        })?;
        let share = bits(1.0 / norm.count as f64);
        let levels = self.make(KernelName::Scale, channels, &[&levels], &[channels, share])?;
        let slopes = self.make(KernelName::Scale, channels, &[&slopes], &[channels, share])?;
        gradients.add(self, node.inputs[0], |dx, _| {
            let inputs = [dy, x, call.inputs[1], mean, variance, &levels, &slopes];
            self.launch(KernelName::BatchNormBack, count, [dx], &inputs, &[channels, pixels, count, bits(epsilon)])
        })
    }
}
