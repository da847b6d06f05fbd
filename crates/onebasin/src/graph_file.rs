//! Networks that follow the graph of an ONNX file, whatever its exporter did to their tensors.

use onebasin_core::Params;
use onebasin_core::graph::Graph;
use onebasin_io::OnnxModel;
use onebasin_io::onnx::{Cause, GraphOver, Unexplained};

use crate::blueprint::Blueprint;
use crate::error::Result;
use crate::model::{Model, named};
use crate::names::{Naming, Wanted};

impl Blueprint {
    /// The graph of its ONNX file over the tensors of networks of one structure; none where it names no file.
    ///
    /// The file was exported from one of them, or from another state of the network: the graph is that over the first
    /// network whose values it has, else over the first that explains it. Its parameters have names as the file has them,
    /// without the prefixes of the networks.
    ///
    /// # Errors
    /// If the file cannot be read, or none of the networks explains it ([`onebasin_io::Error::Unexplained`]). Where it has
    /// nothing of any of them its graph stays as it is, so that the caller can say what is missing.
    pub(crate) fn graph_over(&self, networks: &[&Model]) -> Result<Option<Graph>> {
        let Some(file) = &self.graph else { return Ok(None) };
        let onnx = OnnxModel::open(file)?;
        let networks: Vec<Params> = networks.iter().map(|m| asked(&onnx, m, self.prefix.as_deref())).collect();
        let rank = |o: &GraphOver| (o.missing.is_empty(), o.same_values);
        let mut best: Option<GraphOver> = None;
        for first in 0..networks.len() {
            let mut order: Vec<&Params> = networks.iter().collect();
            order.rotate_left(first);
            let over = onnx.graph_over(&self.input_shapes, &order)?;
            if best.as_ref().is_none_or(|b| rank(&over) > rank(b)) {
                best = Some(over);
            }
            if best.as_ref().is_some_and(|b| rank(b) == (true, true)) {
                break;
            }
        }
        let Some(over) = best else { return Ok(None) };
        let absent = |m: &Unexplained| matches!(m.cause, Cause::Absent);
        let foreign = !over.same_values && over.derived.is_empty() && over.missing.iter().all(absent);
        Ok(Some(if foreign { over.graph } else { over.complete(file)?.graph }))
    }
}

/// The tensors of a network under names as the file has them.
fn asked(onnx: &OnnxModel, model: &Model, prefix: Option<&str>) -> Params {
    let weights = onnx.params().iter().filter(|(_, t)| t.dtype().is_float() && t.len() > 1);
    let wanted: Vec<Wanted<'_>> = weights.map(|(name, tensor)| (name, Some(tensor.shape()))).collect();
    let file = named(model.params());
    let naming = Naming::fit(&wanted, &file, prefix);
    let tensor = |(asked, name): (String, &str)| Some((asked, model.params().get(name)?.clone()));
    naming.asked(&file).into_iter().filter_map(tensor).collect()
}
