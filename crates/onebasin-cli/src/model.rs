//! The networks a verb works on: tensors, graph and symmetry opened together, and written back in their format.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use onebasin_core::graph::{Graph, Op};
use onebasin_core::symmetry::{Symmetry, SymmetrySpec, discover};
use onebasin_core::{Params, params::nearest};
use onebasin_io::{Checkpoint, Metadata, OnnxModel, PROVENANCE, Target, read};
use onebasin_nn::exec::Program;
use onebasin_nn::{Data, Network};
use serde_json::{Value, json};

use crate::args::Source;
use crate::talk::Talk;

/// A network: its tensors, and its graph where one is known.
pub struct Model {
    /// Path, header entries and digest; its tensors are those of the graph, where there is one.
    pub checkpoint: Checkpoint,
    /// Its operators.
    pub graph: Option<Graph>,
    /// The built-in network it is of.
    pub network: Option<Network>,
    /// Tensors that the graph does not use; they are carried along.
    pub rest: Params,
    onnx: Option<OnnxModel>,
}

impl Model {
    /// Opens a network to work with: as [`Self::open_unread`], and every weight must be finite.
    pub fn open(path: &Path, source: &Source, talk: Talk) -> Result<Self> {
        let model = Self::open_unread(path, source, talk)?;
        model.check_finite()?;
        Ok(model)
    }

    /// Opens a network whose weights pass by later: as [`Self::look`], and says what is not used.
    pub fn open_unread(path: &Path, source: &Source, talk: Talk) -> Result<Self> {
        let model = Self::look(path, source)?;
        if !model.rest.is_empty() {
            let names: Vec<&str> = model.rest.names().collect();
            talk.detail(&format!("{}: carried along, not used by the graph: {}", path.display(), names.join(", ")));
        }
        Ok(model)
    }

    /// Passes only if every weight is finite.
    pub fn check_finite(&self) -> Result<()> {
        self.params().check_finite().with_context(|| self.path().display().to_string())
    }

    /// Opens a file of any format. The graph is that of the file itself (ONNX), of `--graph`, of `--network`, or of the
    /// network that the header names.
    pub fn look(path: &Path, source: &Source) -> Result<Self> {
        let here = || path.display().to_string();
        let (checkpoint, onnx) = if is_onnx(path) {
            let model = OnnxModel::open(path)?;
            let (params, metadata) = (model.params().clone(), model.metadata().clone());
            (Checkpoint::identified(path, params, metadata, model.digest()), Some(model))
        } else {
            (read(path)?, None)
        };
        let mut network = None;
        let graph = if let Some(file) = &source.graph {
            Some(OnnxModel::open(file)?.graph(&shapes(source))?)
        } else if let Some(model) = &onnx {
            Some(model.graph(&shapes(source))?)
        } else {
            network = built_in(&checkpoint, source)?;
            network.as_ref().map(Network::graph).transpose()?
        };
        let mut model = Self { checkpoint, graph, network, rest: Params::new(), onnx };
        if let Some(graph) = &model.graph {
            let (used, rest) = split(graph, &model.checkpoint.params).with_context(here)?;
            (model.checkpoint.params, model.rest) = (used, rest);
        }
        Ok(model)
    }

    /// Tensors of which nothing more is known.
    pub fn bare(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, graph: None, network: None, rest: Params::new(), onnx: None }
    }

    /// Opens two networks of the same structure.
    pub fn open_pair(a: &Path, b: &Path, source: &Source, talk: Talk) -> Result<(Self, Self)> {
        let (a, b) = Self::open_pair_unread(a, b, source, talk)?;
        a.check_finite()?;
        b.check_finite()?;
        Ok((a, b))
    }

    /// The same, as [`Self::open_unread`].
    pub fn open_pair_unread(a: &Path, b: &Path, source: &Source, talk: Talk) -> Result<(Self, Self)> {
        let (a, b) = (Self::open_unread(a, source, talk)?, Self::open_unread(b, source, talk)?);
        let names = || format!("A is {}, B is {}", a.path().display(), b.path().display());
        a.params().check_same_structure(b.params()).with_context(names)?;
        Ok((a, b))
    }

    /// The tensors that the graph uses; all of them where there is none.
    pub fn params(&self) -> &Params {
        &self.checkpoint.params
    }

    /// Number of weights, those that the graph does not use included.
    pub fn weights(&self) -> usize {
        self.params().element_count() + self.rest.element_count()
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.checkpoint.path
    }

    /// What may be exchanged: as the user's file says, or as its graph shows.
    pub fn symmetry(&self, source: &Source) -> Result<Symmetry> {
        let spec = if let Some(path) = &source.symmetry {
            let text = std::fs::read_to_string(path).with_context(|| format!("{}: cannot read", path.display()))?;
            let mut spec = SymmetrySpec::from_toml(&text).with_context(|| path.display().to_string())?;
            spec.tensors.retain(|name, _| self.rest.get(name).is_none());
            spec
        } else if let Some(graph) = &self.graph {
            discover(graph).spec().clone()
        } else {
            bail!(
                "{} does not say what network it is, so which units may be exchanged is not known\n\
                 hint: name a built-in network (--network resnet20-ln:1), give an ONNX file of the same network (--graph \
                 net.onnx), or a symmetry file (--symmetry FILE), such as\n  \
                 [tensors]\n  \"fc1.weight\" = \"h1 .\"\n  \"fc1.bias\" = \"h1\"\n  \"fc2.weight\" = \". h1\"\n  \"fc2.bias\" = \".\"",
                self.path().display()
            );
        };
        Ok(Symmetry::resolve(&spec, self.params())?)
    }

    /// The network, ready to run.
    pub fn program(&self) -> Result<Program> {
        let graph = self.graph.clone().with_context(|| {
            format!("{} does not say what network it is; name it with --network or --graph", self.path().display())
        })?;
        Ok(Program::new(graph)?)
    }

    /// The network, ready to run on these data: a built-in one takes their images' shape.
    pub fn program_for(&self, data: &Data) -> Result<Program> {
        let Some(network) = &self.network else { return self.program() };
        let network = network.with_input(data.test.shape())?;
        data.test.check_fits(&network)?;
        Ok(Program::new(network.graph()?)?)
    }

    /// Names of the running statistics of BatchNorms, as far as a graph tells.
    pub fn statistics(&self) -> BTreeSet<&str> {
        self.graph.iter().flat_map(|graph| graph.statistics().map(|v| graph.value(v).name.as_str())).collect()
    }

    /// Whether every operator is known, so that the network can run.
    pub fn runs(&self) -> bool {
        self.graph.as_ref().is_some_and(|g| g.nodes().iter().all(|n| !matches!(n.op, Op::Unknown(_))))
    }

    /// Where `output` is written: as what this network is, one file or a folder of shards.
    pub fn target(&self, output: &Path) -> Result<Target> {
        if is_onnx(output) && self.onnx.is_none() {
            bail!("{}: ONNX files are written from ONNX files; use .safetensors", output.display());
        }
        let ends_in = |ends: &[&str]| output.extension().is_some_and(|x| ends.iter().any(|e| x == *e));
        if ends_in(&["pt", "pth", "th", "bin", "npz", "msgpack", "flax"]) {
            bail!("{}: this format is only read; write .safetensors", output.display());
        }
        if ends_in(&["json"]) {
            bail!("{}: an index is written with its shards; name the folder", output.display());
        }
        Ok(Target::like(output, &self.checkpoint)?)
    }

    /// Writes other tensors in this network's place: the same ONNX model, or safetensors with the same header.
    pub fn write(&self, target: &Target, params: &Params, provenance: &Value) -> Result<()> {
        let mut all: Params = self.rest.clone();
        params.iter().for_each(|(name, tensor)| all.insert(name, tensor.clone()));
        if let (Some(onnx), true) = (&self.onnx, is_onnx(target.path())) {
            return Ok(onnx.write(target.path(), &all, Some(provenance))?);
        }
        Ok(target.write(&all, &self.header(provenance))?)
    }

    /// The header of a file written in this network's place.
    pub fn header(&self, provenance: &Value) -> Metadata {
        let mut metadata: Metadata = self.checkpoint.metadata.clone();
        if let Some(network) = &self.network {
            metadata.set_json(Network::HEADER, &json!(network));
        }
        metadata.set_json(PROVENANCE, provenance);
        metadata
    }
}

pub fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "onnx")
}

fn shapes(source: &Source) -> BTreeMap<String, Vec<usize>> {
    source.input_shape.iter().cloned().collect()
}

/// The built-in network a checkpoint is of: as the user says, or as its header says.
fn built_in(checkpoint: &Checkpoint, source: &Source) -> Result<Option<Network>> {
    let path = || checkpoint.path.display().to_string();
    let network = match &source.network {
        Some(name) => Some(Network::fitting(name, &checkpoint.params).with_context(path)?),
        None => checkpoint.metadata.get_json::<Network>(Network::HEADER)?,
    };
    let Some(found) = network else { return Ok(None) };
    let network = Network::new(&found.name, &found.input, found.classes).with_context(path)?;
    network.check(&checkpoint.params).with_context(path)?;
    Ok(Some(network))
}

/// The tensors a graph uses, and the others.
///
/// # Errors
/// If a parameter is missing or has another shape: all of them are listed, with what was matched and what is unused.
fn split(graph: &Graph, params: &Params) -> Result<(Params, Params)> {
    const SHOWN: usize = 12;
    let (mut used, mut wrong) = (Params::new(), Vec::new());
    for param in graph.params() {
        match params.get(&param.name) {
            Some(tensor) if tensor.shape() == param.shape && tensor.dtype().is_float() => {
                used.insert(&param.name, tensor.clone());
            }
            Some(tensor) => wrong.push(format!(
                "`{}`: {} {:?}, the graph has {:?}",
                param.name,
                tensor.dtype(),
                tensor.shape(),
                param.shape
            )),
            None => {
                let hint = nearest(&param.name, params.names()).map_or(String::new(), |n| format!(" (nearest: `{n}`)"));
                wrong.push(format!("`{}`: missing{hint}", param.name));
            }
        }
    }
    let rest: Params =
        params.iter().filter(|(n, _)| used.get(n).is_none()).map(|(n, t)| (n.to_owned(), t.clone())).collect();
    if wrong.is_empty() {
        return Ok((used, rest));
    }
    let more = wrong.len().saturating_sub(SHOWN);
    wrong.truncate(SHOWN);
    let more = if more > 0 { format!("\n  … and {more} more") } else { String::new() };
    let unused: Vec<&str> = rest.names().take(SHOWN).collect();
    bail!(
        "the tensors do not fit the graph: {} matched, {} unused ({}), and\n  {}{more}",
        used.len(),
        rest.len(),
        unused.join(", "),
        wrong.join("\n  ")
    )
}
