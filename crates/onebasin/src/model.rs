//! A network as merging sees it: tensors, graph, and how to write it back.

use std::collections::BTreeSet;
use std::path::Path;

use onebasin_core::Params;
use onebasin_core::graph::{Graph, Op};
use onebasin_core::nearest;
use onebasin_core::report::Input;
use onebasin_core::symmetry::{Symmetry, SymmetrySpec, discover};
use onebasin_io::{Checkpoint, Format, Metadata, OnnxModel, PROVENANCE, Target, read};
use onebasin_nn::exec::Program;
use onebasin_nn::{Network, Samples};
use serde_json::{Value, json};

use crate::blueprint::Blueprint;
use crate::error::{Error, InFile, Result};

/// A network: its tensors, its graph where one is known, and the file it came from.
///
/// A model is opened from a file ([`Self::open`]) or made of parts ([`Self::of`], [`Self::with_graph`],
/// [`Self::with_symmetry`]). Two of the same structure make a [`Pair`](crate::Pair).
///
/// Cost: opening maps the file into memory and reads its header; tensors are read when they are used.
///
/// ```
/// use onebasin::{Model, Network};
/// let network = Network::new("mlp:16x2", &[8], 3)?;
/// let model = Model::of(&network, network.init(0)?)?;
/// let symmetry = model.symmetry()?;
/// let groups: Vec<String> = symmetry.groups().iter().map(|g| format!("{} of {}", g.size, g.name)).collect();
/// assert_eq!(groups, ["16 of fc1", "16 of fc2"]);
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Debug)]
pub struct Model {
    /// Path, header entries and digest; its tensors are those of the graph, where there is one.
    checkpoint: Checkpoint,
    graph: Option<Graph>,
    network: Option<Network>,
    /// Tensors that the graph does not use; they are carried along.
    rest: Params,
    onnx: Option<OnnxModel>,
    /// What the user says may be exchanged.
    spec: Option<SymmetrySpec>,
    /// Whether it came from a file.
    is_file: bool,
}

impl Model {
    /// Opens a file of any format that is read: safetensors, a folder of shards or its index, ONNX, torch, NumPy, Flax.
    ///
    /// Its graph is that of the file itself (ONNX), of [`Blueprint::graph`], of [`Blueprint::network`], or of the network that
    /// the header names; where there is none it can still be matched with a symmetry file.
    ///
    /// # Errors
    /// If a file cannot be read, or the tensors do not fit the graph ([`Error::Unfit`] lists all that is wrong).
    pub fn open(path: impl AsRef<Path>, blueprint: &Blueprint) -> Result<Self> {
        let path = path.as_ref();
        let (checkpoint, onnx) = if is_onnx(path) {
            let model = OnnxModel::open(path)?;
            let (params, metadata) = (model.params().clone(), model.metadata().clone());
            (Checkpoint::identified(path, params, metadata, model.digest()), Some(model))
        } else {
            (read(path)?, None)
        };
        let mut network = None;
        let graph = if let Some(file) = &blueprint.graph {
            Some(OnnxModel::open(file)?.graph(&blueprint.input_shapes)?)
        } else if let Some(model) = &onnx {
            Some(model.graph(&blueprint.input_shapes)?)
        } else {
            network = built_in(&checkpoint, blueprint.network.as_deref())?;
            network.as_ref().map(Network::graph).transpose()?
        };
        let spec = blueprint.symmetry.as_deref().map(symmetry_file).transpose()?;
        let model = Self { checkpoint, graph: None, network, rest: Params::new(), onnx, spec, is_file: true };
        match graph {
            Some(graph) => model.fitted(graph).in_file(path),
            None => Ok(model),
        }
    }

    /// A checkpoint of which nothing more is known, such as an alignment.
    pub fn bare(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, graph: None, network: None, rest: Params::new(), onnx: None, spec: None, is_file: true }
    }

    /// A built-in network with these weights.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn of(network: &Network, params: Params) -> Result<Self> {
        network.check(&params)?;
        let model = Self { network: Some(network.clone()), ..Self::in_memory(&network.name, params) };
        model.fitted(network.graph()?)
    }

    /// Weights of a network with this graph; tensors that the graph does not use are carried along.
    ///
    /// # Errors
    /// [`Error::Unfit`] lists the tensors that are missing or have another shape.
    pub fn with_graph(name: &str, params: Params, graph: Graph) -> Result<Self> {
        Self::in_memory(name, params).fitted(graph)
    }

    /// Weights of a network of which only is known which units may be exchanged. It cannot run, so the symmetry is believed.
    ///
    /// ```
    /// use onebasin::{Model, Params, SymmetrySpec, Tensor};
    /// let mut params = Params::new();
    /// params.insert("in", Tensor::from_f32(&[4, 3], vec![0.0; 12])?);
    /// params.insert("out", Tensor::from_f32(&[2, 4], vec![0.0; 8])?);
    /// let model = Model::with_symmetry("mine", params, SymmetrySpec::from_patterns([("in", "h ."), ("out", ". h")])?);
    /// assert_eq!(model.symmetry()?.groups()[0].size, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_symmetry(name: &str, params: Params, spec: SymmetrySpec) -> Self {
        Self { spec: Some(spec), ..Self::in_memory(name, params) }
    }

    fn in_memory(name: &str, params: Params) -> Self {
        let checkpoint = Checkpoint::identified(Path::new(name), params, Metadata::default(), String::new());
        Self { is_file: false, ..Self::bare(checkpoint) }
    }

    /// The same with a graph, its tensors parted into those that the graph uses and the rest.
    fn fitted(mut self, graph: Graph) -> Result<Self> {
        let (used, rest) = split(&graph, &self.checkpoint.params)?;
        if let Some(spec) = &mut self.spec {
            spec.tensors.retain(|name, _| rest.get(name).is_none());
        }
        (self.checkpoint.params, self.rest, self.graph) = (used, rest, Some(graph));
        Ok(self)
    }

    /// Where it was read from, or the name it was given.
    pub fn path(&self) -> &Path {
        &self.checkpoint.path
    }

    /// The tensors that the graph uses; all of them where there is none.
    pub fn params(&self) -> &Params {
        &self.checkpoint.params
    }

    /// Tensors that the graph does not use: they are carried along as they are.
    pub fn rest(&self) -> &Params {
        &self.rest
    }

    /// Its operators, where they are known.
    pub fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    /// The built-in network it is of, if it is of one.
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// The file: path, header entries, digest, tensors.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Whether which units may be exchanged was said by hand, and not discovered from the graph.
    pub fn symmetry_is_given(&self) -> bool {
        self.spec.is_some()
    }

    /// Number of weights, those that the graph does not use included.
    pub fn weight_count(&self) -> usize {
        self.params().element_count() + self.rest.element_count()
    }

    /// Passes only if every weight is finite.
    ///
    /// Cost: one pass over the weights.
    ///
    /// # Errors
    /// Names the tensor, how many values are not finite, and the first of them.
    pub fn check_finite(&self) -> Result<()> {
        self.params().check_finite().in_file(self.path())
    }

    /// Which units may be exchanged: as said by hand, or as the graph shows.
    ///
    /// # Errors
    /// [`Error::NoSymmetry`] if neither is known; also if what was said does not fit the tensors.
    pub fn symmetry(&self) -> Result<Symmetry> {
        let spec = match (&self.spec, &self.graph) {
            (Some(spec), _) => spec.clone(),
            (None, Some(graph)) => discover(graph).spec().clone(),
            (None, None) => return Err(Error::NoSymmetry { path: self.path().to_owned() }),
        };
        Ok(Symmetry::resolve(&spec, self.params()).map_err(onebasin_core::Error::from)?)
    }

    /// Why an axis of a tensor may be permuted or not, line by line.
    ///
    /// # Errors
    /// If the graph is not known, or has no such tensor or axis.
    pub fn why(&self, tensor: &str, axis: usize) -> Result<Vec<String>> {
        let graph = self.graph.as_ref().ok_or_else(|| Error::NoGraph { path: self.path().to_owned() })?;
        Ok(discover(graph).why(tensor, axis)?)
    }

    /// Names of the running statistics of BatchNorms, as far as a graph tells. They move with their channels but are no
    /// weights: their size would outweigh all else.
    pub fn statistics(&self) -> BTreeSet<&str> {
        self.graph.iter().flat_map(|graph| graph.statistics().map(|v| graph.value(v).name.as_str())).collect()
    }

    /// Whether the network can run here.
    pub fn runs(&self) -> bool {
        self.graph.as_ref().is_some_and(|g| g.nodes().iter().all(|n| !matches!(n.op, Op::Unknown(_))))
    }

    /// The network, ready to run.
    ///
    /// # Errors
    /// [`Error::NoGraph`], and [`Error::Network`] naming an operator that does not run.
    pub fn program(&self) -> Result<Program> {
        let graph = self.graph.clone().ok_or_else(|| Error::NoGraph { path: self.path().to_owned() })?;
        Ok(Program::new(graph)?)
    }

    /// The network, ready to run on these samples: a built-in one takes their shape.
    ///
    /// # Errors
    /// As [`Self::program`], and if the weights' shapes do not allow such samples.
    pub fn program_for(&self, samples: &dyn Samples) -> Result<Program> {
        match (&self.network, samples.inputs()) {
            (Some(network), [images]) => Ok(Program::new(network.with_input(&images.shape)?.graph()?)?),
            _ => self.program(),
        }
    }

    /// The file for records: its role, name and digest; none where it was made in memory.
    pub(crate) fn input(&self, role: &str) -> Option<Input> {
        self.is_file.then(|| self.checkpoint.digest()).and_then(|digest| self.input_as(role, digest))
    }

    /// The same, with a digest that is already known.
    pub(crate) fn input_as(&self, role: &str, digest: &str) -> Option<Input> {
        self.is_file.then(|| input(role, self.path(), digest))
    }

    /// Where `output` is written: as what this network is, one file or a folder of shards.
    ///
    /// # Errors
    /// If the format of that name is only read, or the place cannot be written to.
    pub fn target(&self, output: &Path) -> Result<Target> {
        let fail = |why| Err(Error::Unwritable { path: output.to_owned(), why });
        if is_onnx(output) && self.onnx.is_none() {
            return fail("ONNX files are written from ONNX files; use .safetensors");
        }
        if Format::named(output).is_some_and(|format| !format.is_written()) {
            return fail("this format is only read; write .safetensors");
        }
        if output.extension().is_some_and(|e| e == "json") {
            return fail("an index is written with its shards; name the folder");
        }
        Ok(Target::like(output, &self.checkpoint)?)
    }

    /// Writes the network as it is, in its own format (safetensors where it was made in memory).
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn save(&self, output: impl AsRef<Path>) -> Result<()> {
        let target = self.target(output.as_ref())?;
        let mut metadata = self.checkpoint.metadata.clone();
        if let Some(network) = &self.network {
            metadata.set_json(Network::HEADER, &json!(network));
        }
        let mut all = self.rest.clone();
        self.params().iter().for_each(|(name, tensor)| all.insert(name, tensor.clone()));
        match (&self.onnx, is_onnx(target.path())) {
            (Some(onnx), true) => Ok(onnx.write(target.path(), &all, None)?),
            (Some(_) | None, _) => Ok(target.write(&all, &metadata)?),
        }
    }

    /// Writes other tensors in this network's place: the same ONNX model, or safetensors with the same header, whose entry
    /// `onebasin.provenance` says how they came to be. Files appear whole or not at all.
    ///
    /// # Errors
    /// If they cannot be written; what was there before is then untouched.
    pub fn write(&self, target: &Target, params: &Params, provenance: &Value) -> Result<()> {
        self.write_while(target, params, provenance, &|| true)
    }

    /// The same, given up as soon as `go_on` says so.
    pub(crate) fn write_while(
        &self,
        target: &Target,
        params: &Params,
        provenance: &Value,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<()> {
        let mut all: Params = self.rest.clone();
        params.iter().for_each(|(name, tensor)| all.insert(name, tensor.clone()));
        if let (Some(onnx), true) = (&self.onnx, is_onnx(target.path())) {
            return Ok(onnx.write_while(target.path(), &all, Some(provenance), go_on)?);
        }
        Ok(target.write_while(&all, &self.header(provenance), go_on)?)
    }

    /// The header of a file written in this network's place.
    pub(crate) fn header(&self, provenance: &Value) -> Metadata {
        let mut metadata: Metadata = self.checkpoint.metadata.clone();
        if let Some(network) = &self.network {
            metadata.set_json(Network::HEADER, &json!(network));
        }
        metadata.set_json(PROVENANCE, provenance);
        metadata
    }
}

/// A file that went in, for records.
pub(crate) fn input(role: &str, path: &Path, digest: &str) -> Input {
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    Input { role: role.to_owned(), name, sha256: digest.to_owned() }
}

/// Whether a file's name says that it is ONNX.
pub(crate) fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "onnx")
}

fn symmetry_file(path: &Path) -> Result<SymmetrySpec> {
    let text = std::fs::read_to_string(path).map_err(|source| onebasin_io::Error::Io {
        path: path.to_owned(),
        action: "read",
        source,
    })?;
    SymmetrySpec::from_toml(&text).map_err(onebasin_core::Error::from).in_file(path)
}

/// The built-in network a checkpoint is of: as asked for, or as its header says.
fn built_in(checkpoint: &Checkpoint, name: Option<&str>) -> Result<Option<Network>> {
    let path = &checkpoint.path;
    let network = match name {
        Some(name) => Some(Network::fitting(name, &checkpoint.params).in_file(path)?),
        None => checkpoint.metadata.get_json::<Network>(Network::HEADER)?,
    };
    let Some(found) = network else { return Ok(None) };
    let network = Network::new(&found.name, &found.input, found.classes).in_file(path)?;
    network.check(&checkpoint.params).in_file(path)?;
    Ok(Some(network))
}

/// The tensors a graph uses, and the others.
fn split(graph: &Graph, params: &Params) -> Result<(Params, Params)> {
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
    Err(Error::Unfit { matched: used.len(), unused: rest.names().map(str::to_owned).collect(), wrong })
}
