//! Opening a network: what its file holds, which network that is, and how names and tensors fit.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use onebasin_core::graph::Graph;
use onebasin_core::symmetry::SymmetrySpec;
use onebasin_core::{Params, nearest};
use onebasin_io::{Checkpoint, OnnxModel, read, read_part};
use onebasin_nn::Network;

use super::{Model, is_onnx};
use crate::blueprint::Blueprint;
use crate::error::{Error, InFile, Result};
use crate::graph_file::FileGraph;
use crate::names::{Naming, Wanted};
use crate::unused::{Rules, is_bookkeeping};

impl Model {
    /// Opens a file of any format that is read: safetensors, a folder of shards or its index, ONNX, torch, NumPy, Flax.
    ///
    /// Its graph is that of the file itself (ONNX), of [`Blueprint::graph`], of [`Blueprint::network`], or of the network that
    /// the header names or that names and shapes show; where there is none it can still be matched with a symmetry file. Names
    /// are fitted: what training frameworks put before them (`module.`, `model.`) is found. What was found so is in
    /// [`remarks`](Self::remarks).
    ///
    /// # Errors
    /// If a file cannot be read, or the tensors do not fit the graph ([`Error::Unfit`] lists all that is wrong).
    pub fn open(path: impl AsRef<Path>, blueprint: &Blueprint) -> Result<Self> {
        let model = Self::unfitted(path.as_ref(), blueprint)?;
        begins(std::slice::from_ref(&model), blueprint)?;
        let graph = blueprint.graph_over(&[&model])?;
        let spec = blueprint.symmetry.as_deref().map(symmetry_file).transpose()?;
        model.followed(graph.as_ref(), spec.as_ref(), blueprint)
    }

    /// Opens files of networks of the same structure: all follow one graph, which may have been exported from any of them.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_all<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
        blueprint: &Blueprint,
    ) -> Result<Vec<Self>> {
        let models =
            paths.into_iter().map(|path| Self::unfitted(path.as_ref(), blueprint)).collect::<Result<Vec<_>>>()?;
        begins(&models, blueprint)?;
        let graph = blueprint.graph_over(&models.iter().collect::<Vec<_>>())?;
        let spec = blueprint.symmetry.as_deref().map(symmetry_file).transpose()?;
        models.into_iter().map(|model| model.followed(graph.as_ref(), spec.as_ref(), blueprint)).collect()
    }

    /// What a file holds, before it is known how its network is built.
    fn unfitted(path: &Path, blueprint: &Blueprint) -> Result<Self> {
        let (checkpoint, onnx) = if holds_onnx(path)? {
            let model = OnnxModel::open(path)?;
            let (params, metadata) = (model.params().clone(), model.metadata().clone());
            (Checkpoint::identified(path, params, metadata, model.digest()), Some(model))
        } else {
            (read_part(path, blueprint.part.as_deref())?, None)
        };
        let rules = Rules { ignore: blueprint.ignore.clone(), carry: blueprint.carry.clone() };
        let mut model = Self { onnx, rules, memory: blueprint.memory, ..Self::bare(checkpoint) };
        model.say_what_was_taken();
        model.set_aside();
        Ok(model)
    }

    /// Remarks on which part of a training checkpoint it is, and on what cannot be used.
    fn say_what_was_taken(&mut self) {
        let Checkpoint { part, parts, passed_over, .. } = &self.checkpoint;
        if let (Some(part), true) = (part, parts.len() > 1) {
            let others: Vec<&str> = parts.iter().filter(|p| *p != part).map(String::as_str).collect();
            self.remarks.push(format!("its part `{part}` is taken; there are also {}", others.join(", ")));
        }
        if let Some((first, why)) = passed_over.first() {
            let more =
                if passed_over.len() > 1 { format!(" and {} more", passed_over.len() - 1) } else { String::new() };
            self.remarks.push(format!("passed over: `{first}` ({why}){more}"));
        }
    }

    /// The same with what says how it is built: the graph of the blueprint's file, its own, or a built-in network.
    pub(super) fn followed(
        mut self,
        graph: Option<&FileGraph>,
        spec: Option<&SymmetrySpec>,
        blueprint: &Blueprint,
    ) -> Result<Self> {
        let (path, prefix) = (self.path().to_owned(), blueprint.prefix.as_deref());
        let model = if let Some(FileGraph { graph, remark }) = graph {
            self.remarks.extend(remark.clone());
            self.fitted(graph, prefix).in_file(&path)?
        } else if let Some(onnx) = &self.onnx {
            let graph = onnx.graph(&blueprint.input_shapes)?;
            self.fitted(&graph, None).in_file(&path)?
        } else {
            self.built_in(blueprint, spec.is_some()).in_file(&path)?
        };
        match spec {
            Some(spec) => model.with_spec(spec, prefix).in_file(&path),
            None => Ok(model),
        }
    }

    /// The same with a graph whose parameters may have other prefixes than the tensors, parted into those that the
    /// graph uses and the rest.
    pub(crate) fn fitted(mut self, graph: &Graph, prefix: Option<&str>) -> Result<Self> {
        let all = self.all();
        let wanted: Vec<Wanted<'_>> = graph.params().map(|p| (p.name.as_str(), Some(p.shape.as_slice()))).collect();
        let mut naming = Naming::fit(&wanted, &named(self.params()), prefix).only()?;
        if wanted.iter().any(|(name, _)| self.params().get(naming.in_file(name)).is_none()) {
            // What was set aside may be what is missing, and is said then.
            naming = Naming::fit(&wanted, &named(&all), prefix).only()?;
        }
        let renamed = graph.with_param_names(|name| naming.in_file(name).to_owned())?;
        let (used, rest) = split(&renamed, &all, &self.checkpoint.passed_over)?;
        self.check_used(used.names())?;
        if !naming.is_same() {
            self.remarks.push(naming.said());
        }
        if let Some(spec) = &mut self.spec {
            let expanded = spec.expand(used.names().chain(rest.names())).map_err(onebasin_core::Error::from)?;
            *spec = expanded.without(&|name| rest.get(name).is_some());
        }
        (self.checkpoint.params, self.rest, self.graph, self.naming) = (used, rest, Some(renamed), naming);
        Ok(self)
    }

    /// The same as a built-in network: as asked for, as its header says, or as its names and shapes show.
    fn built_in(mut self, blueprint: &Blueprint, has_spec: bool) -> Result<Self> {
        let (name, prefix) = (blueprint.network.as_deref(), blueprint.prefix.as_deref());
        if let Some(name) = name {
            let network = fitting(name, &self.all(), prefix)?;
            return self.of_network(network, prefix);
        }
        if let Some(found) = self.checkpoint.metadata.get_json::<Network>(Network::HEADER)? {
            let network = Network::new(&found.name, &found.input, found.classes)?;
            return self
                .of_network(if found.widths.is_empty() { network } else { network.widened(&found.widths)? }, prefix);
        }
        if has_spec {
            return Ok(self);
        }
        if let Some(config) = configuration(self.path())? {
            return self.of_family(&config, blueprint);
        }
        let found = stripped(self.params(), prefix).into_iter().find_map(|params| Network::recognised(&params));
        let Some(network) = found else { return Ok(self) };
        let classes = network.classes;
        self.remarks.push(format!("its names and shapes are those of `{}` with {classes} classes", network.name));
        self.of_network(network, prefix)
    }

    fn of_network(self, network: Network, prefix: Option<&str>) -> Result<Self> {
        let graph = network.graph()?;
        Ok(Self { network: Some(network), ..self.fitted(&graph, prefix)? })
    }

    /// The same with what the user says may be exchanged. Counters that it does not mention are not the network's.
    pub(super) fn with_spec(mut self, spec: &SymmetrySpec, prefix: Option<&str>) -> Result<Self> {
        let (spec, prefix) = prefixed(spec, self.params(), prefix);
        if !prefix.is_empty() {
            self.remarks.push(format!("its names begin with `{prefix}`"));
        }
        self.check_used(spec.tensors.keys().map(String::as_str))?;
        let covered: BTreeSet<String> = spec.expand(self.params().names())?.names().collect();
        let (rest, used): (Params, Params) = self
            .all()
            .iter()
            .map(|(n, t)| (n.to_owned(), t.clone()))
            .partition(|(n, t)| self.rest.get(n).is_some() || (!covered.contains(n) && is_bookkeeping(n, t)));
        (self.rest, self.checkpoint.params) = (rest, used);
        self.spec = Some(spec.without(&|name| self.rest.get(name).is_some()));
        Ok(self)
    }

    /// The same under other names of its tensors.
    pub(crate) fn renamed(mut self, name: &BTreeMap<String, String>) -> Result<Self> {
        let new = |old: &str| name.get(old).map_or(old, String::as_str).to_owned();
        let all = |params: &Params| params.iter().map(|(n, t)| (new(n), t.clone())).collect::<Params>();
        let (params, rest) = (all(self.params()), all(&self.rest));
        self.graph = self.graph.map(|graph| graph.with_param_names(new)).transpose()?;
        let spec = self.spec.map(|spec| spec.renamed(&new)).transpose();
        self.spec = spec.map_err(onebasin_core::Error::from)?;
        if let Some(network) = &self.network {
            self.naming = self.naming.renamed(network.graph()?.params().map(|p| p.name.as_str()), &new);
        }
        (self.checkpoint.params, self.rest) = (params, rest);
        self.renamed_from.extend(name.iter().map(|(old, new)| (new.clone(), old.clone())));
        Ok(self)
    }
}

/// What the `config.json` says in the folder of a network, if there is one.
fn configuration(path: &Path) -> Result<Option<String>> {
    const LARGEST: u64 = 1 << 24;
    let folder = if path.is_dir() { path } else { return Ok(None) };
    let path = folder.join("config.json");
    if !path.exists() && folder.join("adapter_config.json").is_file() {
        return Err(Error::Adapter { path: folder.to_owned() });
    }
    if !std::fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= LARGEST) {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path);
    text.map(Some).map_err(|source| onebasin_io::Error::Io { path, action: "read", source }.into())
}

/// Whether a file is an ONNX model, by its content, whatever it is called; a file that is called one and is something else
/// is told for what it is.
fn holds_onnx(path: &Path) -> Result<bool> {
    const HEAD: u64 = 1 << 16;
    let called = is_onnx(path);
    if !path.is_file() {
        return Ok(called);
    }
    let mut head = Vec::new();
    let read_head = std::fs::File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    if read_head.is_err() || onebasin_io::is_onnx(&head) {
        return Ok(called || read_head.is_ok());
    }
    match read(path) {
        Err(error @ onebasin_io::Error::Foreign { .. }) if called => Err(error.into()),
        _ => Ok(called),
    }
}

/// Passes only if a name of one of the networks begins with the prefix that was asked for.
fn begins(models: &[Model], blueprint: &Blueprint) -> Result<()> {
    let Some(prefix) = &blueprint.prefix else { return Ok(()) };
    if models.iter().any(|m| m.all().names().any(|name| name.starts_with(prefix.as_str()))) {
        return Ok(());
    }
    Err(Error::NoPrefix { prefix: prefix.clone() })
}

/// Names and shapes.
pub(crate) fn named(params: &Params) -> Vec<Wanted<'_>> {
    params.iter().map(|(name, tensor)| (name, Some(tensor.shape()))).collect()
}

pub(super) fn symmetry_file(path: &Path) -> Result<SymmetrySpec> {
    let text = std::fs::read_to_string(path).map_err(|source| onebasin_io::Error::Io {
        path: path.to_owned(),
        action: "read",
        source,
    })?;
    SymmetrySpec::from_toml(&text).map_err(onebasin_core::Error::from).in_file(path)
}

/// The network of this name that the tensors fit, whatever stands before their names.
fn fitting(name: &str, params: &Params, prefix: Option<&str>) -> Result<Network> {
    let mut first = None;
    for params in stripped(params, prefix) {
        match Network::fitting(name, &params) {
            Ok(network) => return Ok(network),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.map_or_else(|| Error::NoPrefix { prefix: prefix.unwrap_or_default().to_owned() }, Error::from))
}

/// The tensors as they come, and without what stands before at least half of their names.
fn stripped(params: &Params, prefix: Option<&str>) -> Vec<Params> {
    let without = |prefix: &str| -> Params {
        params.iter().filter_map(|(n, t)| Some((n.strip_prefix(prefix)?.to_owned(), t.clone()))).collect()
    };
    match prefix {
        Some(prefix) => vec![without(prefix)].into_iter().filter(|p| !p.is_empty()).collect(),
        None => common_prefixes(params).iter().map(|prefix| without(prefix)).collect(),
    }
}

/// What stands before at least half of the names, cut at dots; the empty prefix first.
fn common_prefixes(params: &Params) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in params.names() {
        let cuts = name.char_indices().filter(|(_, c)| matches!(c, '.' | '/')).map(|(i, _)| &name[..=i]);
        cuts.for_each(|prefix| *counts.entry(prefix).or_default() += 1);
    }
    let common = counts.into_iter().filter(|(_, n)| 2 * n >= params.len()).map(|(prefix, _)| prefix.to_owned());
    std::iter::once(String::new()).chain(common).collect()
}

/// A symmetry file under the names of the tensors: with the prefix under which it covers most of them.
fn prefixed(spec: &SymmetrySpec, params: &Params, prefix: Option<&str>) -> (SymmetrySpec, String) {
    let under = |prefix: &str| SymmetrySpec {
        tensors: spec.tensors.iter().map(|(name, pattern)| (format!("{prefix}{name}"), pattern.clone())).collect(),
        sizes: spec.sizes.clone(),
    };
    let prefixes = prefix.map_or_else(|| common_prefixes(params), |prefix| vec![prefix.to_owned()]);
    let mut best: Option<(usize, SymmetrySpec, String)> = None;
    for prefix in prefixes {
        let candidate = under(&prefix);
        let Ok(expanded) = candidate.expand(params.names()) else { continue };
        let covers = expanded.names().filter(|n| params.get(n).is_some()).count();
        if best.as_ref().is_none_or(|(most, ..)| covers > *most) {
            best = Some((covers, candidate, prefix));
        }
    }
    best.map_or_else(|| (spec.clone(), String::new()), |(_, spec, prefix)| (spec, prefix))
}

/// The tensors a graph uses, and the others.
fn split(graph: &Graph, params: &Params, passed_over: &[(String, String)]) -> Result<(Params, Params)> {
    let (mut used, mut wrong) = (Params::new(), Vec::new());
    let whole: BTreeSet<&str> = graph.quantized().map(|(name, _)| name).collect();
    for param in graph.params() {
        let float = !whole.contains(param.name.as_str());
        match params.get(&param.name) {
            Some(tensor) if tensor.shape() == param.shape && tensor.dtype().is_float() == float => {
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
                let why = passed_over.iter().find(|(name, _)| *name == param.name);
                let why = why.map_or_else(|| format!("missing{hint}"), |(_, why)| format!("cannot be used: {why}"));
                wrong.push(format!("`{}`: {why}", param.name));
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
