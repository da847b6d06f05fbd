//! A network on a device, run forward node by node, every value as the graph says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use onebasin_core::Params;
use onebasin_core::graph::{Graph, ValueId};
use onebasin_nn::exec::outputs;
use onebasin_nn::{Result, Running};

use crate::machine::{Machine, Precision};
use crate::nodes::{DeviceCall, Nodes, bring, download_outputs, upload_inputs};

/// A graph and its tensors, in f32 on a device.
pub(crate) struct DeviceNetwork<M: Machine> {
    nodes: Nodes<M>,
    graph: Graph,
    /// Parameters.
    tensors: HashMap<ValueId, Arc<M::Memory>>,
    /// Held while the device computes, so that several threads do not need several times the memory.
    turn: Mutex<()>,
}

impl<M: Machine> DeviceNetwork<M> {
    /// Copies a network to the device, where convolutions make this many numbers of patches at a time, or those of one sample.
    ///
    /// # Errors
    /// Those of [`bring`].
    pub(crate) fn new(machine: Arc<M>, graph: &Graph, params: &Params, patches: usize) -> Result<Self> {
        let tensors = bring(&*machine, graph, params)?;
        let nodes = Nodes { machine, patches, precision: Precision::F32 };
        Ok(Self { nodes, graph: graph.clone(), tensors, turn: Mutex::default() })
    }

    fn run(&self, graph: &Graph, inputs: Vec<(ValueId, Arc<M::Memory>)>) -> crate::Result<Vec<Vec<f32>>> {
        let mut left = vec![0; graph.values().len()];
        graph.nodes().iter().flat_map(|node| &node.inputs).chain(&outputs(graph)).for_each(|v| left[v.0] += 1);
        let mut values = self.tensors.clone();
        values.extend(inputs);
        for node in graph.nodes() {
            if left[node.outputs[0].0] == 0 {
                continue;
            }
            let made = self.nodes.forward(&DeviceCall::new(graph, node, node.inputs.len(), &values)?)?;
            values.insert(node.outputs[0], made);
            for input in &node.inputs {
                left[input.0] -= 1;
                if left[input.0] == 0 {
                    values.remove(input);
                }
            }
        }
        download_outputs(&*self.nodes.machine, graph, &values)
    }
}

impl<M: Machine> Running for DeviceNetwork<M> {
    fn forward(&self, batch: usize, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        let graph = self.graph.with_batch(batch)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let inputs = upload_inputs(&*self.nodes.machine, &graph, inputs)?;
        Ok(self.run(&graph, inputs).map_err(onebasin_core::Error::from)?)
    }
}
