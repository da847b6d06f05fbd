//! Networks made of another one: of other weights, or wider.

use std::collections::BTreeMap;

use onebasin_core::Params;
use onebasin_core::graph::Graph;
use onebasin_io::{Checkpoint, OnnxModel};
use onebasin_nn::exec::Program;
use onebasin_nn::{Network, Samples};

use super::Model;
use crate::error::{Error, Result};

impl Model {
    /// The network, ready to run on these samples, under its own names: those of the built-in network where it is one; and what
    /// gives tensors these names.
    pub(crate) fn named_program_for(&self, samples: &dyn Samples) -> Result<(Program, OwnNames)> {
        let Some(network) = &self.network else { return Ok((self.program()?, OwnNames(BTreeMap::new()))) };
        let network = match samples.inputs() {
            [images] => network.with_input(&images.shape)?,
            _ => network.clone(),
        };
        Ok((self.within(Program::new(network.graph()?)?), OwnNames(self.naming.back())))
    }

    /// The same network with other weights.
    pub(crate) fn holding(&self, params: Params) -> Self {
        let made = Self::in_memory(&self.path().to_string_lossy(), params);
        Self {
            graph: self.graph.clone(),
            network: self.network.clone(),
            naming: self.naming.clone(),
            rest: self.rest.clone(),
            follow: self.follow.clone(),
            spec: self.spec.clone(),
            memory: self.memory,
            ..made
        }
    }

    /// Another built-in network made of the same file, with tensors of its own.
    pub(crate) fn as_network(&self, network: Network, graph: Graph, checkpoint: Checkpoint) -> Self {
        Self {
            graph: Some(graph),
            network: Some(network),
            naming: self.naming.clone(),
            rest: self.rest.clone(),
            rules: self.rules.clone(),
            follow: self.follow.clone(),
            is_file: self.is_file,
            renamed_from: self.renamed_from.clone(),
            memory: self.memory,
            remarks: self.remarks.clone(),
            ..Self::bare(checkpoint)
        }
    }

    /// A wider network made of this one, with this many units of groups, and the tensors that the network does not use.
    pub(crate) fn widened(&self, sizes: &BTreeMap<String, usize>, params: Params, graph: Graph) -> Result<Self> {
        if let (None, Some(onnx)) = (&self.network, &self.onnx) {
            return self.widened_onnx(onnx.widened(&graph, &params)?, &graph, sizes);
        }
        let names = OwnNames(if self.network.is_some() { self.naming.back() } else { BTreeMap::new() });
        let mut rest = self.rest.clone();
        for (copy, original) in &self.follow {
            if let Some(tensor) = params.get(names.of(original)) {
                rest.insert(copy, tensor.clone());
            }
        }
        let mut made = match &self.network {
            Some(network) => Self::of(&network.widened(sizes)?, params)?,
            None => Self::with_graph(&self.path().to_string_lossy(), params, graph)?,
        };
        made.checkpoint.metadata = self.checkpoint.metadata.clone();
        Ok(Self { rest, memory: self.memory, ..made })
    }
}

impl Model {
    /// A wider ONNX model made of this one, once its units are found again in as many places as they should have.
    fn widened_onnx(&self, onnx: OnnxModel, graph: &Graph, sizes: &BTreeMap<String, usize>) -> Result<Self> {
        let (params, metadata) = (onnx.params().clone(), onnx.metadata().clone());
        let checkpoint = Checkpoint::identified(self.path(), params, metadata, String::new());
        let bare = Self { rules: self.rules.clone(), memory: self.memory, is_file: false, ..Self::bare(checkpoint) };
        let made = Self { onnx: Some(onnx), ..bare }.fitted(graph, None)?;
        let symmetry = made.symmetry()?;
        for (name, size) in sizes {
            let found = symmetry.group_named(name).map(|group| symmetry.group(group).size);
            if found.as_ref().ok() != Some(size) {
                let why = "the units of the wider ONNX model are not found again as those that were widened; merge at width 1";
                return Err(Error::Unwritable { path: self.path().to_owned(), why });
            }
        }
        Ok(made)
    }
}

/// A network's own names, by those of its file.
pub(crate) struct OwnNames(BTreeMap<String, String>);

impl OwnNames {
    fn of<'n>(&'n self, name: &'n str) -> &'n str {
        self.0.get(name).map_or(name, String::as_str)
    }

    /// Tensors under the network's own names.
    pub(crate) fn params(&self, params: &Params) -> Params {
        params.iter().map(|(name, tensor)| (self.of(name).to_owned(), tensor.clone())).collect()
    }
}
