//! A network being trained on a device.

use std::collections::HashMap;
use std::sync::Arc;

use onebasin_core::graph::{Graph, Op, ValueId};
use onebasin_core::{Params, Tensor};
use onebasin_nn::exec::outputs;
use onebasin_nn::optim::Optimizer;
use onebasin_nn::{Error, Result};

use crate::backward::{DeviceStatistics, Gradients};
use crate::machine::{KernelName, Machine, Precision};
use crate::nodes::{DeviceCall, Nodes, bits, bring, download_outputs, upload, upload_inputs};

/// Inputs of a BatchNorm before its running statistics.
const NORM_OPERANDS: usize = 3;

/// A graph, its tensors and the optimiser's, in f32 on a device.
pub(crate) struct DeviceTraining<M: Machine> {
    nodes: Nodes<M>,
    graph: Graph,
    optimizer: Optimizer,
    /// What is trained.
    weights: HashMap<ValueId, Arc<M::Memory>>,
    /// Running means and variances.
    statistics: HashMap<ValueId, M::Memory>,
    /// The optimiser's state vectors, by what is trained.
    moments: HashMap<ValueId, Vec<M::Memory>>,
    pass: Option<ForwardPass<M>>,
}

/// What the way back needs of a forward pass.
struct ForwardPass<M: Machine> {
    graph: Graph,
    values: HashMap<ValueId, Arc<M::Memory>>,
    /// By the value that a BatchNorm gave.
    norms: HashMap<ValueId, DeviceStatistics<M>>,
}

impl<M: Machine> DeviceTraining<M> {
    /// Copies a network, and the optimiser's moments if there are any yet, to the device.
    ///
    /// # Errors
    /// Those of [`bring`].
    pub(crate) fn new(
        machine: Arc<M>,
        graph: &Graph,
        params: &Params,
        moments: &[Params],
        optimizer: Optimizer,
        (patches, precision): (usize, Precision),
    ) -> Result<Self> {
        let mut weights = bring(&*machine, graph, params)?;
        let statistics = graph.statistics().map(|id| Ok((id, upload(&*machine, graph, id, params)?)));
        let statistics: HashMap<ValueId, M::Memory> = statistics.collect::<Result<_>>()?;
        weights.retain(|id, _| !statistics.contains_key(id));
        let nodes = Nodes { machine, patches, precision };
        let of = |id: ValueId| -> Result<Vec<M::Memory>> {
            let numbers = graph.shape(id).iter().product();
            let none = || (0..optimizer.moments()).map(|_| nodes.zeros(numbers));
            if moments.is_empty() {
                return Ok(none().collect::<crate::Result<_>>().map_err(onebasin_core::Error::from)?);
            }
            moments.iter().map(|m| upload(&*nodes.machine, graph, id, m)).collect()
        };
        let moments = weights.keys().map(|id| Ok((*id, of(*id)?))).collect::<Result<_>>()?;
        Ok(Self { nodes, graph: graph.clone(), optimizer, weights, statistics, moments, pass: None })
    }

    fn run(
        &mut self,
        graph: Graph,
        inputs: Vec<(ValueId, Arc<M::Memory>)>,
        share: f64,
    ) -> crate::Result<Vec<Vec<f32>>> {
        let (mut values, mut norms) = (self.weights.clone(), HashMap::new());
        values.extend(inputs);
        for node in graph.nodes() {
            let made = if let Op::BatchNorm { .. } = node.op {
                let mut call = DeviceCall::new(&graph, node, NORM_OPERANDS, &values)?;
                let found = self.nodes.statistics(&call)?;
                self.follow(&node.inputs[NORM_OPERANDS..], &found, call.axes()[1], share)?;
                call.inputs.extend([&found.mean, &found.variance]);
                let made = self.nodes.forward(&call)?;
                norms.insert(node.outputs[0], found);
                made
            } else {
                self.nodes.forward(&DeviceCall::new(&graph, node, node.inputs.len(), &values)?)?
            };
            values.insert(node.outputs[0], made);
        }
        let out = download_outputs(&*self.nodes.machine, &graph, &values)?;
        self.pass = Some(ForwardPass { graph, values, norms });
        Ok(out)
    }

    /// Moves running statistics towards a batch's, its variance taken with divisor `n − 1`.
    fn follow(
        &mut self,
        running: &[ValueId],
        found: &DeviceStatistics<M>,
        channels: usize,
        share: f64,
    ) -> crate::Result<()> {
        let count = found.count as f64;
        let unbiased = count / (count - 1.0).max(1.0);
        for ((id, now), factor) in running.iter().zip([&found.mean, &found.variance]).zip([1.0, unbiased]) {
            let numbers = [channels, bits(share), bits(factor)];
            let running = self.statistics.get_mut(id).expect("every BatchNorm has them");
            self.nodes.launch(KernelName::Follow, channels, [running], &[now], &numbers)?;
        }
        Ok(())
    }

    /// The gradients of what is trained, given those of the outputs.
    fn back(&self, pass: ForwardPass<M>, seeds: &[&[f32]]) -> crate::Result<Gradients<M>> {
        let ForwardPass { graph, mut values, mut norms } = pass;
        let mut gradients = Gradients::new(&graph);
        for (output, seed) in outputs(&graph).into_iter().zip(seeds) {
            gradients.put(output, self.nodes.machine.upload(bytemuck::cast_slice(seed))?);
        }
        for node in graph.nodes().iter().rev() {
            let output = node.outputs[0];
            let y = values.remove(&output).expect("every node has run");
            let norm = norms.remove(&output);
            let operands = if norm.is_some() { NORM_OPERANDS } else { node.inputs.len() };
            self.nodes.backward(
                &DeviceCall::new(&graph, node, operands, &values)?,
                &y,
                norm.as_ref(),
                &mut gradients,
            )?;
        }
        Ok(gradients)
    }

    fn update(&mut self, mut gradients: Gradients<M>, rate: f64, step: u64) -> crate::Result<()> {
        for (id, weights) in &mut self.weights {
            let gradient = &Arc::new(gradients.take(&self.nodes, *id)?);
            let weights = Arc::get_mut(weights).expect("no pass holds it any more");
            let moments = self.moments.get_mut(id).expect("all that is trained has them");
            let count = self.graph.shape(*id).iter().product();
            match (self.optimizer, &mut moments[..]) {
                (Optimizer::Sgd { momentum, weight_decay }, [velocity]) => {
                    let numbers = [count, bits(momentum.into()), bits(weight_decay.into()), bits(rate)];
                    self.nodes.launch(KernelName::Sgd, count, [weights, velocity], &[gradient], &numbers)?;
                }
                (Optimizer::Adam, [m, v]) => {
                    let (rate, epsilon) = Optimizer::adam_step(rate, step);
                    let numbers = [count, bits(rate), bits(epsilon)];
                    self.nodes.launch(KernelName::Adam, count, [weights, m, v], &[gradient], &numbers)?;
                }
                (Optimizer::Sgd { .. } | Optimizer::Adam, _) => unreachable!("moments are made for the optimiser"),
            }
        }
        Ok(())
    }

    fn download(&self, id: ValueId, memory: &M::Memory) -> Result<(String, Tensor)> {
        let value = self.graph.value(id);
        let mut numbers = vec![0.0_f32; value.shape.iter().product()];
        self.nodes
            .machine
            .download(memory, bytemuck::cast_slice_mut(&mut numbers))
            .map_err(onebasin_core::Error::from)?;
        Ok((value.name.clone(), Tensor::from_f32(&value.shape, numbers)?))
    }
}

impl<M: Machine> onebasin_nn::Training for DeviceTraining<M> {
    fn forward(&mut self, batch: usize, inputs: &[&[f32]], share: f64) -> Result<Vec<Vec<f32>>> {
        self.pass = None;
        let graph = self.graph.with_batch(batch)?;
        let inputs = upload_inputs(&*self.nodes.machine, &graph, inputs)?;
        Ok(self.run(graph, inputs, share).map_err(onebasin_core::Error::from)?)
    }

    fn step(&mut self, gradients: &[&[f32]], rate: f64, step: u64) -> Result<()> {
        let pass = self.pass.take();
        let numbers = |graph: &Graph| outputs(graph).iter().map(|v| graph.shape(*v).iter().product()).collect();
        let needed: Vec<usize> = pass.as_ref().map_or_else(Vec::new, |pass| numbers(&pass.graph));
        let found: Vec<usize> = gradients.iter().map(|gradient| gradient.len()).collect();
        let Some(pass) = pass.filter(|_| found == needed) else {
            let why = format!("gradients of outputs of {needed:?} numbers are needed, found {found:?}");
            return Err(Error::Options(why));
        };
        let gradients = self.back(pass, gradients).map_err(onebasin_core::Error::from)?;
        Ok(self.update(gradients, rate, step).map_err(onebasin_core::Error::from)?)
    }

    fn save(&self) -> Result<(Params, Vec<Params>)> {
        let (mut params, mut moments) = (Params::new(), vec![Params::new(); self.optimizer.moments()]);
        for id in self.graph.ids() {
            if let Some(memory) = self.weights.get(&id).map(|w| &**w).or_else(|| self.statistics.get(&id)) {
                let (name, tensor) = self.download(id, memory)?;
                params.insert(name, tensor);
            }
            for (all, memory) in moments.iter_mut().zip(self.moments.get(&id).into_iter().flatten()) {
                let (name, tensor) = self.download(id, memory)?;
                all.insert(name, tensor);
            }
        }
        Ok((params, moments))
    }
}
