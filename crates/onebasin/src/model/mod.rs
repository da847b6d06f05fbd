//! A network as merging sees it: tensors, graph, and how to write it back.

mod family;
mod language;
mod memory;
mod open;
mod taps;
mod wide;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use onebasin_core::graph::{Graph, Op};
use onebasin_core::merge::cast;
use onebasin_core::report::Input;
use onebasin_core::running_statistics;
use onebasin_core::symmetry::{
    AxisRef, Discovery, Symmetry, SymmetryError, SymmetrySpec, discover_holding, discover_one_by_one,
};
use onebasin_core::{DType, Params};
use onebasin_io::{Checkpoint, Format, Metadata, OnnxModel, PROVENANCE, Target, read, tensor_digest};
use onebasin_nn::exec::Program;
use onebasin_nn::family::Config;
use onebasin_nn::{Network, Samples};
use serde_json::{Value, json};

use crate::error::{Error, InFile, Result};
use crate::names::Naming;
use crate::unused::{Differs, Likely, Rules, Unused, folded_norms};
use crate::written::ACCURACY;
pub(crate) use open::named;

/// A network: its tensors, its graph where one is known, and the file it came from.
///
/// A model is opened from a file ([`Self::open`]) or made of parts ([`Self::of`], [`Self::with_graph`],
/// [`Self::with_symmetry`]). Two of the same structure make a [`Pair`](crate::Pair).
///
/// Cost: opening reads the header; tensors of safetensors are read when they are first used, other formats at once.
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
#[derive(Debug, Clone)]
pub struct Model {
    /// Path, header entries and digest; its tensors are those of the graph, where there is one.
    checkpoint: Checkpoint,
    graph: Option<Graph>,
    network: Option<Network>,
    /// Names of a built-in network's tensors in the file.
    naming: Naming,
    /// Tensors that the network does not use.
    rest: Params,
    /// Which tensors are none of the network's, as the blueprint says.
    rules: Rules,
    /// Tensors stored twice: the copy, and what it is a copy of.
    follow: BTreeMap<String, String>,
    onnx: Option<OnnxModel>,
    /// What the user says may be exchanged.
    spec: Option<SymmetrySpec>,
    /// Axes of tensors along which all networks that it is compared with are the same.
    held: BTreeSet<(String, usize)>,
    /// Whether it came from a file.
    is_file: bool,
    /// Names that tensors have in the file, where they have others here.
    renamed_from: BTreeMap<String, String>,
    /// Bytes that running it may take, if that was said.
    memory: Option<u64>,
    /// What the user should know of how it was opened.
    remarks: Vec<String>,
    /// Where its tensors are no longer those of its file.
    remade: Option<Remade>,
    /// The configuration of a transformer whose graph that made.
    family: Option<Config>,
}

/// What a network in another form than its file is written as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remade {
    /// The element type of the file.
    pub(crate) dtype: Option<DType>,
    /// A head has become a tensor of its own.
    pub(crate) untied: bool,
}

impl Remade {
    /// The same, of a network that was remade before.
    fn and(self, before: Option<Self>) -> Self {
        Self { dtype: self.dtype, untied: self.untied || before.is_some_and(|before| before.untied) }
    }
}

impl Model {
    /// A checkpoint of which nothing more is known, such as an alignment.
    pub fn bare(checkpoint: Checkpoint) -> Self {
        Self {
            checkpoint,
            graph: None,
            network: None,
            naming: Naming::default(),
            rest: Params::new(),
            rules: Rules::default(),
            follow: BTreeMap::new(),
            onnx: None,
            spec: None,
            held: BTreeSet::new(),
            is_file: true,
            renamed_from: BTreeMap::new(),
            memory: None,
            remarks: Vec::new(),
            remade: None,
            family: None,
        }
    }

    /// A place for a network while it is elsewhere.
    pub(crate) fn nothing() -> Self {
        Self::in_memory("", Params::new())
    }

    pub(crate) fn remarked(mut self, text: String) -> Self {
        if !self.remarks.contains(&text) {
            self.remarks.push(text);
        }
        self
    }

    /// The network with these axes of its graph's parameters in their places, because all networks are the same there.
    pub(crate) fn with_held(mut self, held: BTreeSet<(String, usize)>) -> Self {
        self.held = held;
        self
    }

    /// The same network in another form.
    pub(crate) fn remade(&self, graph: &Graph, params: Params, remade: Remade) -> Self {
        let mut model =
            Self { graph: Some(graph.clone()), network: None, remade: Some(remade.and(self.remade)), ..self.clone() };
        model.checkpoint.params = params;
        if remade.untied {
            model.family = model.family.map(Config::untied);
        }
        model
    }

    /// Whether its tensors are no longer those of its file.
    pub(crate) fn is_remade(&self) -> bool {
        self.remade.is_some()
    }

    /// The element type of its file, where its tensors have another one now.
    pub(crate) fn written_as(&self) -> Option<DType> {
        self.remade.and_then(|remade| remade.dtype)
    }

    /// These tensors in that type, or in the one that is asked for.
    pub(crate) fn as_written(&self, params: Params, asked: Option<DType>) -> Result<Params> {
        Ok(match asked.or(self.written_as()) {
            Some(dtype) => cast(&params, dtype)?,
            None => params,
        })
    }

    /// What may be exchanged as the graph shows it.
    fn discovered<'g>(&self, graph: &'g Graph) -> Discovery<'g> {
        discover_holding(graph, &self.held_in(graph))
    }

    fn held_in(&self, graph: &Graph) -> BTreeMap<AxisRef, String> {
        let why = "the tensor is the same in all networks to the bit, and no weight";
        let held = self.held.iter().filter_map(|(name, axis)| {
            Some((AxisRef { value: graph.param_named(name).ok()?, axis: *axis }, why.to_owned()))
        });
        held.collect()
    }

    /// Whether a file written in its place has all tensors of the file it came from.
    pub(crate) fn keeps_all(&self) -> bool {
        self.onnx.is_some()
    }

    /// A built-in network with these weights.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn of(network: &Network, params: Params) -> Result<Self> {
        network.check(&params)?;
        let model = Self { network: Some(network.clone()), ..Self::in_memory(&network.name, params) };
        model.fitted(&network.graph()?, None)
    }

    /// Weights of a network with this graph; tensors that the graph does not use are its [`rest`](Self::rest).
    ///
    /// # Errors
    /// [`Error::Unfit`] lists the tensors that are missing or have another shape.
    #[allow(clippy::needless_pass_by_value, reason = "a graph is handed over with its tensors")]
    pub fn with_graph(name: &str, params: Params, graph: Graph) -> Result<Self> {
        Self::in_memory(name, params).fitted(&graph, None)
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

    /// The same, with tensors that are none of the network's: patterns of names in which `*` stands for anything. Those
    /// ignored are in no result; of those carried, a result has A's.
    ///
    /// ```
    /// use onebasin::{Model, Network};
    /// let network = Network::new("mlp:16x2", &[8], 3)?;
    /// let mut params = network.init(0)?;
    /// params.insert("ema.fc1.weight", params.require("fc1.weight")?.clone());
    /// let model = Model::with_graph("mine", params, network.graph()?)?.without(&["ema.*"], &[]);
    /// assert_eq!(model.rest().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn without(mut self, ignore: &[&str], carry: &[&str]) -> Self {
        let owned = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect();
        self.rules = self.rules.and(&Rules { ignore: owned(ignore), carry: owned(carry) });
        self.set_aside();
        self
    }

    /// Where it was read from, or the name it was given.
    pub fn path(&self) -> &Path {
        &self.checkpoint.path
    }

    /// The tensors that the graph uses; all of them where there is none.
    pub fn params(&self) -> &Params {
        &self.checkpoint.params
    }

    /// Tensors that the network does not use. What becomes of them is the [`Account`](crate::Account) of a pair.
    pub fn rest(&self) -> &Params {
        &self.rest
    }

    /// What the user should know of how it was opened: a network that was recognised, prefixes of names, tensors that no graph
    /// uses.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
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

    /// The files it was read from: one, or shards and their index, or an ONNX model and its external data; none where it was
    /// made in memory.
    pub fn files(&self) -> Vec<std::path::PathBuf> {
        self.onnx.as_ref().map_or_else(|| self.checkpoint.files(), OnnxModel::files)
    }

    /// Its files, and the path it was opened by: what no output may replace unless that is asked for.
    pub(crate) fn sources(&self) -> Vec<std::path::PathBuf> {
        if self.is_file { self.files().into_iter().chain([self.path().to_owned()]).collect() } else { Vec::new() }
    }

    /// Passes only if a file that was made in its place holds the tensors that it should.
    pub(crate) fn check_written(
        &self,
        made: &Path,
        expected: &BTreeMap<String, Vec<usize>>,
    ) -> std::result::Result<Params, Box<dyn std::error::Error + Send + Sync>> {
        let found = if is_onnx(made) { OnnxModel::open(made)?.params().clone() } else { read(made)?.params };
        for (name, shape) in expected {
            if found.get(name).map(onebasin_core::Tensor::shape) != Some(shape) {
                return Err(format!("`{name}` was not written as it should be; expected shape {shape:?}").into());
            }
        }
        self.unchanged()?;
        Ok(found)
    }

    /// Passes only if the files it was read from are still what they were then.
    ///
    /// # Errors
    /// Names the first that was cut short, written to or replaced.
    pub fn unchanged(&self) -> Result<()> {
        Ok(self.onnx.as_ref().map_or_else(|| self.checkpoint.unchanged(), OnnxModel::unchanged)?)
    }

    /// Whether which units may be exchanged was said by hand, and not discovered from the graph.
    pub fn symmetry_is_given(&self) -> bool {
        self.spec.is_some()
    }

    /// Number of weights, those that the graph does not use included.
    pub fn weight_count(&self) -> usize {
        self.params().element_count() + self.rest.element_count()
    }

    /// Passes only if no weight is a NaN. Infinities pass: networks hold some as constants, such as masks, and what they make
    /// of weights shows when a network runs, or beside another network.
    ///
    /// Cost: one pass over the weights.
    ///
    /// # Errors
    /// Names the tensor, how many values are not finite, and the first of them.
    pub fn check_finite(&self) -> Result<()> {
        self.params().check_finite_beside(self.params()).in_file(self.path())
    }

    /// Which units may be exchanged: as said by hand, or as the graph shows.
    ///
    /// # Errors
    /// [`Error::NoSymmetry`] if neither is known; also if what was said does not fit the tensors.
    pub fn symmetry(&self) -> Result<Symmetry> {
        let mut spec = match (&self.spec, &self.graph) {
            (Some(spec), _) => spec.expand(self.params().names())?,
            (None, Some(graph)) => self.discovered(graph).spec().clone(),
            (None, None) => return Err(Error::NoSymmetry { path: self.path().to_owned() }),
        };
        let resolved = |spec: &mut SymmetrySpec| {
            spec.copy(&self.follow)?;
            Symmetry::resolve(spec, self.params())
        };
        let found = match (resolved(&mut spec), &self.spec, &self.graph) {
            // Tensors of a stack that are of several types, or of which some are stored twice, do not change places.
            (Err(SymmetryError::Stack { .. }), None, Some(graph)) => {
                resolved(&mut discover_one_by_one(graph, &self.held_in(graph)).spec().clone())
            }
            (found, _, _) => found,
        };
        Ok(found.map_err(onebasin_core::Error::from)?)
    }

    /// Why an axis of a tensor may be permuted or not, line by line.
    ///
    /// # Errors
    /// If the graph is not known, or has no such tensor or axis.
    pub fn why(&self, tensor: &str, axis: usize) -> Result<Vec<String>> {
        let graph = self.graph.as_ref().ok_or_else(|| Error::NoGraph { path: self.path().to_owned() })?;
        Ok(self.discovered(graph).why(tensor, axis)?)
    }

    /// Names of the running statistics of BatchNorms: as the graph tells, or by how frameworks call them where there is none
    /// ([`running_statistics`]). They move with their channels but are no weights: their size would outweigh all else.
    pub fn statistics(&self) -> BTreeSet<&str> {
        match &self.graph {
            Some(graph) => graph.statistics().map(|v| graph.value(v).name.as_str()).collect(),
            None => running_statistics(self.params()),
        }
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
        Ok(self.within(Program::new(graph)?))
    }

    /// Names of a built-in network's tensors in the file.
    pub(crate) fn naming(&self) -> &Naming {
        &self.naming
    }

    /// Bytes that running it may take, where that was said.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// The program, which may take as much memory as was said.
    fn within(&self, program: Program) -> Program {
        match self.memory {
            Some(bytes) => program.within(bytes),
            None => program,
        }
    }

    /// The network, ready to run on these samples: a built-in one takes their shape.
    ///
    /// # Errors
    /// As [`Self::program`], and if the weights' shapes do not allow such samples.
    pub fn program_for(&self, samples: &dyn Samples) -> Result<Program> {
        match (&self.network, samples.inputs()) {
            (Some(network), [images]) => {
                let graph = network.with_input(&images.shape)?.graph()?;
                let graph = graph.with_param_names(|name| self.naming.in_file(name).to_owned())?;
                Ok(self.within(Program::new(graph)?))
            }
            _ => self.program(),
        }
    }

    /// What identifies its tensors, whatever files they lie in.
    pub(crate) fn tensor_digest(&self) -> String {
        tensor_digest(self.params())
    }

    /// Whether its file was made with an alignment, of which this is the digest.
    pub(crate) fn was_made_with(&self, alignment: &str) -> bool {
        let made: Option<Value> = self.checkpoint.metadata.get_json(PROVENANCE).ok().flatten();
        let inputs = made.and_then(|made| serde_json::from_value::<Vec<Input>>(made["inputs"].clone()).ok());
        inputs.is_some_and(|inputs| inputs.iter().any(|input| input.sha256 == alignment))
    }

    /// The accuracy on test samples that its file tells.
    pub(crate) fn recorded_accuracy(&self) -> Option<f64> {
        let made: Value = self.checkpoint.metadata.get_json(PROVENANCE).ok()??;
        made["options"][ACCURACY].as_f64()
    }

    /// Whether its tensors have other names here than in its file.
    pub(crate) fn is_renamed(&self) -> bool {
        !self.renamed_from.is_empty()
    }

    /// Names that tensors have in its file, where they have others here.
    pub fn own_names(&self) -> &BTreeMap<String, String> {
        &self.renamed_from
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Passes only if none of these tensors, which the network uses, is to be ignored or carried.
    ///
    /// # Errors
    /// [`Error::Used`].
    pub(crate) fn check_used<'n>(&self, mut used: impl Iterator<Item = &'n str>) -> Result<()> {
        match used.find(|name| self.rules.ignores(name) || self.rules.carries(name)) {
            Some(tensor) => Err(Error::Used { tensor: tensor.to_owned() }),
            None => Ok(()),
        }
    }

    /// Takes tensors that are none of the network's, as the rules say, out of it; where a graph is known, they are that already.
    fn set_aside(&mut self) {
        if self.graph.is_some() {
            return;
        }
        let (rest, used) = self.all().iter().map(|(n, t)| (n.to_owned(), t.clone())).partition(|(name, _)| {
            self.rest.get(name).is_some() || self.rules.ignores(name) || self.rules.carries(name)
        });
        (self.rest, self.checkpoint.params) = (rest, used);
    }

    /// All tensors.
    pub(crate) fn all(&self) -> Params {
        self.with_rest(self.params())
    }

    /// These tensors, and those that the network does not use.
    fn with_rest(&self, params: &Params) -> Params {
        let mut all = self.rest.clone();
        params.iter().for_each(|(name, tensor)| all.insert(name, tensor.clone()));
        all
    }

    /// Lets copies of tensors be tensors of the network, which move as what they are copies of.
    pub(crate) fn follow(&mut self, follow: &BTreeMap<String, String>) {
        for (copy, original) in follow {
            if let Some(tensor) = self.rest.get(copy).or_else(|| self.params().get(original)).cloned() {
                self.checkpoint.params.insert(copy, tensor);
            }
        }
        self.rest = self
            .rest
            .iter()
            .filter(|(n, _)| !follow.contains_key(*n))
            .map(|(n, t)| (n.to_owned(), t.clone()))
            .collect();
        self.follow.clone_from(follow);
    }

    /// Whether a tensor is a copy of another.
    pub(crate) fn follows(&self, name: &str) -> bool {
        self.follow.contains_key(name)
    }

    /// Gives copies the values of what they are copies of.
    pub(crate) fn copied(&self, params: &mut Params) {
        for (copy, original) in &self.follow {
            if let Some(tensor) = params.get(original).cloned() {
                params.insert(copy, tensor);
            }
        }
    }

    /// Takes tensors out of every result.
    pub(crate) fn leave_out(&mut self, names: &BTreeSet<String>) {
        self.rest =
            self.rest.iter().filter(|(n, _)| !names.contains(*n)).map(|(n, t)| (n.to_owned(), t.clone())).collect();
    }

    /// Passes only if no BatchNorm that the file holds is missing in the graph.
    ///
    /// # Errors
    /// [`Error::Unused`].
    pub(crate) fn check_folded(&self) -> Result<()> {
        let folded = if self.graph.is_some() { folded_norms(self.rest.iter()) } else { BTreeSet::new() };
        let of_norm = |name: &str| {
            let module = name.rsplit_once(['.', '/']).map_or("", |(module, _)| module);
            folded.contains(module) && !self.rules.ignores(name) && !self.rules.carries(name)
        };
        let (how, likely) = (Differs::Nowhere, Likely::FoldedNorm);
        let lost = self.rest.iter().filter(|(name, t)| t.dtype().is_float() && of_norm(name));
        let tensors: Vec<Unused> = lost.map(|(name, _)| Unused { tensor: name.to_owned(), how, likely }).collect();
        if tensors.is_empty() { Ok(()) } else { Err(Error::Unused { tensors }).in_file(self.path()) }
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
        if is_onnx(output) && self.remade.is_some_and(|remade| remade.untied) {
            return fail("its head is a tensor of its own now, which the ONNX model has none for; use .safetensors");
        }
        if Format::named(output).is_some_and(|format| !format.is_written()) {
            return fail("this format is only read; write .safetensors");
        }
        if output.extension().is_some_and(|e| e == "json") {
            return fail("an index is written with its shards; name the folder");
        }
        Ok(Target::like(output, &self.checkpoint)?.untied(self.remade.is_some_and(|remade| remade.untied)))
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
        let all = self.whole(self.params().clone());
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
        let all = self.whole(params.clone());
        let expected = shapes(all.iter());
        let check = |made: &Path| self.check_written(made, &expected).map(|_| ());
        if let (Some(onnx), true) = (&self.onnx, is_onnx(target.path())) {
            return Ok(onnx.write_while(target.path(), &all, Some(provenance), go_on, &check)?);
        }
        Ok(target.write_while(&all, &self.header(provenance), go_on, &check)?)
    }

    /// The header of a file written in this network's place.
    pub(crate) fn header(&self, provenance: &Value) -> Metadata {
        let mut metadata: Metadata = self.checkpoint.metadata.clone();
        if let Some(network) = &self.network {
            metadata.set_json(Network::HEADER, &json!(network));
        }
        metadata.set_json(PROVENANCE, provenance);
        // Without it transformers refuses the file.
        if self.path().join("config.json").is_file() && metadata.get("format").is_none() {
            metadata.set("format", "pt");
        }
        metadata
    }
}

/// A file that went in, for records.
pub(crate) fn input(role: &str, path: &Path, digest: &str) -> Input {
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    Input { role: role.to_owned(), name, sha256: digest.to_owned() }
}

/// Shapes by name.
pub(crate) fn shapes<'t>(
    tensors: impl Iterator<Item = (&'t str, &'t onebasin_core::Tensor)>,
) -> BTreeMap<String, Vec<usize>> {
    tensors.map(|(name, tensor)| (name.to_owned(), tensor.shape().to_vec())).collect()
}

/// Whether a file's name says that it is ONNX.
pub(crate) fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "onnx")
}
