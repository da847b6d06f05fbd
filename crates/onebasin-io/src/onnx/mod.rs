//! ONNX models: their weights as [`Params`], their nodes as plain values, and the same model with other weights.
//!
//! [`OnnxModel::open`] reads, [`OnnxModel::write`] writes back. Nothing is run, and nothing is lowered: a model is
//! written by copying the bytes of the file it came from, with the data of changed tensors in place of the old. What
//! this module does not know (documentation, subgraphs, functions, training graphs, fields of later versions) is kept
//! because it is never taken apart.
//!
//! ```
//! use onebasin_io::OnnxModel;
//! # let folder = tempfile::tempdir()?;
//! # let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/raw.onnx");
//! # std::fs::copy(golden, folder.path().join("model.onnx"))?;
//! # let (path, merged) = (folder.path().join("model.onnx"), folder.path().join("merged.onnx"));
//! let model = OnnxModel::open(&path)?;
//! for node in model.nodes() {
//!     assert!(node.reads().count() > 0);
//! }
//! let mut params = model.params().clone();
//! let doubled = params.require("fc.weight")?.to_f32()?.iter().map(|w| 2.0 * w).collect();
//! params.insert("fc.weight", onebasin_core::Tensor::from_f32(&[3, 4], doubled)?);
//! model.write(&merged, &params, None)?;
//! assert_eq!(OnnxModel::open(&merged)?.params(), &params);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod branches;
mod external;
mod fill;
mod graph;
mod model;
mod proto;
mod tensor;
mod topology;
mod wide;
mod wire;
mod write;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use onebasin_core::Params;
use prost::Message;
use sha2::{Digest, Sha256};

use self::external::Externals;
pub use self::graph::{Derived, Evidence, GraphOver};
pub use self::model::{Attribute, Dim, Node, Subgraph, Value};
use self::proto::{GraphProto, ModelProto, NodeProto, TensorHead, TensorProto, tag};
use self::wire::{WireField, WireKind, fields};
use crate::error::{Error, Result};
use crate::input::InputFile;
use crate::metadata::Metadata;
pub use crate::unexplained::{Cause, Unexplained};

/// A result whose error does not know its file yet.
type Checked<T> = std::result::Result<T, String>;

/// The oldest and the newest version of ONNX's operators that is known.
pub const OPSETS: std::ops::RangeInclusive<i64> = 7..=25;

/// A model: its weights, its nodes, and the bytes it was read from.
#[derive(Debug, Clone)]
pub struct OnnxModel {
    path: PathBuf,
    bytes: Bytes,
    /// None where the bytes were handed over.
    file: Option<Arc<InputFile>>,
    externals: Externals,
    params: Params,
    carried: Vec<String>,
    metadata: Metadata,
    opsets: BTreeMap<String, i64>,
    ir_version: i64,
    nodes: Vec<Node>,
    functions: Vec<model::Function>,
    /// The modules that a node stands in, as its exporter wrote them, by the first value it makes.
    scopes: HashMap<String, String>,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    values: Vec<Value>,
    /// Where each node lies in the file; nodes that were filled are in neither list.
    positions: Vec<usize>,
    /// Where the main graph lies in the file.
    graph: usize,
    /// Names of the tensors that lie at these positions of the file and are weights.
    weights: BTreeMap<usize, String>,
    /// Those of them that stand in branches of an `If`.
    branched: HashSet<String>,
    /// Names of the tensors that replace the nodes at these positions.
    filled: BTreeMap<usize, String>,
}

impl OnnxModel {
    /// Opens a model, and the files that its external data lies in.
    ///
    /// [`params`](Self::params) then holds every initialiser of the main graph under its name, and every tensor of a
    /// `Constant` node under the name of the node's output, where the element type is one of [`DType`](onebasin_core::DType).
    /// So it does the weights that branches of an `If` hold (floats, and more than one), where no other value of the model
    /// has their name.
    ///
    /// Layout: row-major, the shape as the file has it. Cost: the files are read whole; raw and external data stay where they
    /// were read to, elements in typed fields (`float_data`, …) are copied.
    ///
    /// # Errors
    /// If the file is no ONNX model; uses operators outside [`OPSETS`]; a tensor has less or more data than its shape
    /// needs, or data outside the model's folder; a value is made twice, read but never made, or depends on itself.
    pub fn open(path: &Path) -> Result<Self> {
        let file = InputFile::open(path)?;
        let model = Self::parse(&file.all()?, path)?;
        Ok(Self { file: Some(Arc::new(file)), ..model })
    }

    /// Reads a model from bytes; `path` names it in errors, and its folder is where external data is looked for.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn parse(bytes: &Bytes, path: &Path) -> Result<Self> {
        let damaged = |why: String| fail(path, "the file", why + "; is it an ONNX model, and whole?");
        if bytes.is_empty() {
            return Err(fail(path, "the file", "is empty"));
        }
        let tensors = wire::tensors(bytes, WireKind::Model, 0..bytes.len()).map_err(damaged)?;
        let proto = ModelProto::decode(bytes.clone()).map_err(|e| damaged(e.to_string()))?;
        let opsets = opsets(path, &proto)?;
        let graphs = children(bytes, 0..bytes.len(), tag::MODEL_GRAPH).map_err(damaged)?;
        let ([graph], Some(main)) = (&graphs[..], &proto.graph) else {
            return Err(damaged(format!("expected one graph, found {}", graphs.len())));
        };
        let mut externals = Externals::default();
        for range in tensors {
            let head = TensorHead::decode(bytes.slice(range)).map_err(|e| damaged(e.to_string()))?;
            externals.open(path, &head)?;
        }
        let metadata = Metadata(proto.metadata_props.iter().map(|e| (e.key.clone(), e.value.clone())).collect());
        let mut model = Self {
            path: path.to_owned(),
            bytes: bytes.clone(),
            file: None,
            externals,
            params: Params::new(),
            carried: Vec::new(),
            metadata,
            opsets,
            ir_version: proto.ir_version,
            nodes: Vec::new(),
            functions: Vec::new(),
            scopes: HashMap::new(),
            inputs: Vec::new(),
            outputs: main.output.iter().map(model::graph_value).collect(),
            values: main.value_info.iter().map(model::graph_value).collect(),
            positions: Vec::new(),
            graph: graph.payload.start,
            weights: BTreeMap::new(),
            branched: HashSet::new(),
            filled: BTreeMap::new(),
        };
        let functions = proto.functions.iter().filter_map(|f| model::function(path, f, &model.externals).ok());
        model.functions = functions.collect();
        model.read_tensors(main, graph)?;
        model.read_nodes(main, graph)?;
        model.read_branches(main, graph)?;
        Ok(model)
    }

    fn read_tensors(&mut self, main: &GraphProto, graph: &WireField) -> Result<()> {
        let mut names = HashSet::new();
        let tensors = self.children(graph, tag::GRAPH_INITIALIZER)?;
        for (tensor, field) in main.initializer.iter().zip(tensors) {
            self.read_tensor(&tensor.name, &format!("tensor `{}`", tensor.name), tensor, field.payload.start)?;
            if tensor.name.is_empty() || !names.insert(tensor.name.as_str()) {
                let why = "needs a name of its own, found it empty or a second time; export the model again";
                return Err(fail(&self.path, format!("tensor `{}`", tensor.name), why));
            }
        }
        let sparse = main.sparse_initializer.iter().filter_map(|s| s.values.as_ref()).map(|t| t.name.as_str());
        self.carried.extend(sparse.clone().map(str::to_owned));
        names.extend(sparse);
        self.inputs = main.input.iter().filter(|v| !names.contains(v.name.as_str())).map(model::graph_value).collect();
        Ok(())
    }

    fn read_nodes(&mut self, main: &GraphProto, graph: &WireField) -> Result<()> {
        let nodes =
            main.node.iter().map(|n| model::node(&self.path, n, &self.externals)).collect::<Result<Vec<_>>>()?;
        let inputs = self.inputs.iter().map(|v| v.name.as_str());
        let given = self.params.names().chain(self.carried.iter().map(String::as_str)).chain(inputs);
        let order = topology::order(&self.path, &nodes, given, &self.outputs)?;
        let positions: Vec<WireField> = self.children(graph, tag::GRAPH_NODE)?;
        for node in &main.node {
            let scope = node.metadata_props.iter().find(|e| e.key == "pkg.torch.onnx.name_scopes");
            if let (Some(scope), Some(output)) = (scope, node.output.iter().find(|name| !name.is_empty())) {
                self.scopes.insert(output.clone(), scope.value.clone());
            }
        }
        for ((proto, node), field) in main.node.iter().zip(&nodes).zip(&positions) {
            if node.is("Constant") && proto.output.len() == 1 {
                self.read_constant(node, proto, field)?;
            }
        }
        self.positions = order.iter().map(|&i| positions[i].payload.start).collect();
        let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
        self.nodes = order.iter().filter_map(|&i| nodes[i].take()).collect();
        Ok(())
    }

    fn read_constant(&mut self, node: &Node, proto: &NodeProto, field: &WireField) -> Result<()> {
        let attributes = self.children(field, tag::NODE_ATTRIBUTE)?;
        for (attribute, field) in proto.attribute.iter().zip(attributes) {
            let Some(tensor) = attribute.t.as_ref().filter(|_| attribute.name == "value") else { continue };
            for value in self.children(&field, tag::ATTRIBUTE_TENSOR)? {
                self.read_tensor(&node.outputs[0], &node.label(), tensor, value.payload.start)?;
            }
        }
        Ok(())
    }

    fn read_tensor(&mut self, name: &str, place: &str, proto: &TensorProto, position: usize) -> Result<()> {
        if let Some(tensor) = tensor::decode(&self.path, place, proto, &self.externals)? {
            self.params.insert(name, tensor);
            self.weights.insert(position, name.to_owned());
        } else {
            self.carried.push(name.to_owned());
        }
        Ok(())
    }

    fn children(&self, field: &WireField, tag: u32) -> Result<Vec<WireField>> {
        children(&self.bytes, field.payload.clone(), tag).map_err(|why| fail(&self.path, "the file", why))
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the file and then of the files of its external data, in order of location, in lower-case hexadecimal.
    ///
    /// Cost: one pass over all of them.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        std::iter::once(&self.bytes).chain(self.externals.contents()).for_each(|bytes| digest.update(bytes));
        hex::encode(digest.finalize())
    }

    /// Passes only if its files are still what they were when they were opened: neither cut short, nor written to, nor
    /// replaced.
    ///
    /// # Errors
    /// [`Error::Changed`] names the first file that is not.
    pub fn unchanged(&self) -> Result<()> {
        self.opened().try_for_each(InputFile::unchanged)
    }

    /// The files it was read from: the model, and those of its external data.
    pub fn files(&self) -> Vec<PathBuf> {
        self.opened().map(|file| file.path().to_owned()).collect()
    }

    fn opened(&self) -> impl Iterator<Item = &InputFile> {
        self.file.iter().map(|file| &**file).chain(self.externals.files())
    }

    /// Its weights; integers and booleans (shapes, axes, counters) among them.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Tensors that are in the model but not in [`params`](Self::params), because they are sparse or of another
    /// element type (strings, complex numbers, floats of 8 bits, integers of 4): written back as they are.
    pub fn carried(&self) -> &[String] {
        &self.carried
    }

    /// Its text entries (`metadata_props`).
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The version of ONNX's own operators that it uses, within [`OPSETS`].
    pub fn opset(&self) -> i64 {
        self.opsets.get("").copied().unwrap_or_default()
    }

    /// The version of every set of operators that it uses; ONNX's own has the empty name.
    pub fn opsets(&self) -> &BTreeMap<String, i64> {
        &self.opsets
    }

    /// Its nodes in an order in which they can run: the file's own, wherever that is one.
    ///
    /// `Constant` nodes are among them; the tensor of one is also in [`params`](Self::params), under the name of its
    /// output.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Its inputs, without those that have an initialiser.
    pub fn inputs(&self) -> &[Value] {
        &self.inputs
    }

    /// Its outputs.
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }

    /// Values between its nodes whose type the file gives (`value_info`); mostly none.
    pub fn values(&self) -> &[Value] {
        &self.values
    }
}

fn children(bytes: &[u8], range: std::ops::Range<usize>, tag: u32) -> Checked<Vec<WireField>> {
    fields(bytes, range).filter(|f| f.as_ref().map_or(true, |f| f.tag == tag)).collect()
}

fn opsets(path: &Path, proto: &ModelProto) -> Result<BTreeMap<String, i64>> {
    let mut opsets = BTreeMap::new();
    for set in &proto.opset_import {
        let domain = model::domain(&set.domain);
        if opsets.insert(domain.to_owned(), set.version).is_some_and(|other| other != set.version) {
            let why = "is imported in two versions; export the model again";
            return Err(fail(path, format!("operator set `{domain}`"), why));
        }
    }
    match opsets.get("") {
        Some(version) if OPSETS.contains(version) => Ok(opsets),
        Some(&found) => {
            Err(Error::OnnxOpset { path: path.to_owned(), found, first: *OPSETS.start(), last: *OPSETS.end() })
        }
        None => {
            let why = "expected a version of ONNX's operators, found none; is it an ONNX model, and whole?";
            Err(fail(path, "the file", why))
        }
    }
}

fn fail(path: &Path, place: impl Into<String>, why: impl Into<String>) -> Error {
    Error::Onnx { path: path.to_owned(), place: place.into(), why: why.into() }
}

/// What the mathematics refused, with its place.
fn refused(path: &Path, place: &str, why: &onebasin_core::Error) -> Error {
    fail(path, place, why.to_string())
}

/// Something handed in that does not fit the model.
fn unfit(path: &Path, place: impl std::fmt::Display, why: impl std::fmt::Display) -> Error {
    Error::Unfit { path: path.to_owned(), place: place.to_string(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_and_external_data_are_not_copied() {
        for (name, tensor) in [("raw", "fc.weight"), ("constant", "w"), ("external", "fc.weight")] {
            let path = format!("{}/tests/goldens/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
            let model = OnnxModel::open(path.as_ref()).unwrap();
            let data = model.params.require(tensor).unwrap().bytes().as_ptr_range();
            let mut files = model.externals.contents().chain([&model.bytes]).map(|file| file.as_ptr_range());
            assert!(files.any(|file| file.start <= data.start && data.end <= file.end), "{name}");
        }
    }
}
