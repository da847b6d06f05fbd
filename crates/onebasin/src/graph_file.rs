//! Networks that follow the graph of an ONNX file, whatever its exporter did to their tensors.

use onebasin_core::Params;
use onebasin_core::graph::Graph;
use onebasin_io::OnnxModel;
use onebasin_io::onnx::{Cause, GraphOver, Unexplained};

use crate::blueprint::Blueprint;
use crate::error::Result;
use crate::model::{Model, named};
use crate::names::{Naming, Wanted};

/// The graph of an ONNX file over the tensors of networks.
pub(crate) struct FileGraph {
    pub(crate) graph: Graph,
    /// What the user should know of it.
    pub(crate) remark: Option<String>,
}

/// Constants of more than one number that no tensor of a network explains, in words.
fn said(constants: &[String]) -> Option<String> {
    const SHOWN: usize = 4;
    let shown: Vec<String> = constants.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = if constants.len() > SHOWN { format!(" and {} more", constants.len() - SHOWN) } else { String::new() };
    let text = format!("the graph's own numbers stand for {}{more}, which are no tensors of it", shown.join(", "));
    (!shown.is_empty()).then_some(text)
}

/// Passes only if no tensor that is to be ignored or carried is one of the graph.
///
/// # Errors
/// [`Error::Used`].
fn check_set_aside(onnx: &OnnxModel, model: &Model, prefix: Option<&str>) -> Result<()> {
    let all = model.all();
    let weights = onnx.params().iter().filter(|(_, t)| t.dtype().is_float());
    let wanted: Vec<Wanted<'_>> = weights.map(|(name, tensor)| (name, Some(tensor.shape()))).collect();
    let naming = Naming::fit(&wanted, &named(&all), prefix);
    model.check_used(wanted.iter().map(|(name, _)| naming.in_file(name)).filter(|name| all.get(name).is_some()))
}

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
    pub(crate) fn graph_over(&self, networks: &[&Model]) -> Result<Option<FileGraph>> {
        let Some(file) = &self.graph else { return Ok(None) };
        let onnx = OnnxModel::open(file)?;
        networks.iter().try_for_each(|model| check_set_aside(&onnx, model, self.prefix.as_deref()))?;
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
        let remark = (!foreign).then(|| said(&over.constants)).flatten();
        let graph = if foreign { over.graph } else { over.complete(file)?.graph };
        Ok(Some(FileGraph { graph, remark }))
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
