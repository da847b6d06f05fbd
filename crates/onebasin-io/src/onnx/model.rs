//! What is in a model, as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use onebasin_core::{DType, Tensor};

use super::external::Externals;
use super::fail;
use super::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};
use super::tensor::{decode, dtype};
use crate::error::Result;

/// One operator, and the names of the values it reads and makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name; may be empty.
    pub name: String,
    /// What it computes: `Conv`, `Gemm`, ….
    pub op_type: String,
    /// Whose operator it is; empty for ONNX's own.
    pub domain: String,
    /// The values it reads, in the order the operator gives them; an empty name is an input left out.
    pub inputs: Vec<String>,
    /// The values it makes; an empty name is an output left out.
    pub outputs: Vec<String>,
    /// Its attributes by name. Those left out have the operator's defaults.
    pub attributes: BTreeMap<String, Attribute>,
}

impl Node {
    /// The attribute called `name`.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.get(name)
    }

    /// The values it needs: inputs, and what its subgraphs read from outside.
    pub fn reads(&self) -> impl Iterator<Item = &str> {
        let graphs = self.attributes.values().flat_map(|attribute| match attribute {
            Attribute::Graph(graph) => std::slice::from_ref(graph),
            Attribute::Graphs(graphs) => graphs.as_slice(),
            _ => &[],
        });
        let captures = graphs.flat_map(|graph| &graph.captures);
        self.inputs.iter().chain(captures).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The values it makes, without those left out.
    pub fn makes(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Whether it is an operator of ONNX itself with this name.
    pub fn is(&self, op_type: &str) -> bool {
        self.domain.is_empty() && self.op_type == op_type
    }

    /// How errors call it.
    pub(super) fn label(&self) -> String {
        label(&self.name, &self.op_type, self.makes().next().unwrap_or_default())
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// A number.
    Float(f32),
    /// A whole number, or a choice.
    Int(i64),
    /// A word.
    String(String),
    /// A tensor.
    Tensor(Tensor),
    /// Numbers.
    Floats(Vec<f32>),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Words.
    Strings(Vec<String>),
    /// A graph that runs within the node.
    Graph(Subgraph),
    /// Several graphs that run within the node.
    Graphs(Vec<Subgraph>),
    /// Whatever the attribute of this name is where the function that the node stands in is called.
    Reference(String),
    /// Anything else, which is carried along but not looked at: what it is.
    Other(&'static str),
}

/// A graph within a node (`If`, `Loop`, `Scan`). Its tensors are no weights of the model, but for those of an `If` that
/// [`OnnxModel::params`](super::OnnxModel::params) names.
#[derive(Debug, Clone, PartialEq)]
pub struct Subgraph {
    /// Values of the graph around it that it reads.
    pub captures: Vec<String>,
    /// Tensors that it holds itself.
    pub initializers: Vec<String>,
    /// What it computes; none where that cannot be read.
    pub(super) body: Option<Body>,
}

/// What a graph within a node computes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Body {
    /// Its tensors; none stands for an element type that is no [`DType`].
    pub(super) tensors: Vec<(String, Option<Tensor>)>,
    pub(super) nodes: Vec<Node>,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
}

/// An operator that the model itself says how to compute.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) domain: String,
    pub(super) name: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    /// Names of the attributes it takes.
    pub(super) attributes: Vec<String>,
    /// Values of those that a call may leave out.
    pub(super) defaults: BTreeMap<String, Attribute>,
    pub(super) nodes: Vec<Node>,
    /// The version of ONNX's operators that its nodes use, if they use any.
    pub(super) opset: Option<i64>,
}

/// An input or output of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// Its element type; none if it is not given, or not one of [`DType`].
    pub dtype: Option<DType>,
    /// Its shape; none if it is not given, or the value is no tensor.
    pub shape: Option<Vec<Dim>>,
}

/// The length of an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A number.
    Fixed(usize),
    /// A name that stands for any length, the same wherever it appears.
    Named(String),
    /// Not given.
    Unknown,
}

pub(super) fn node(path: &Path, proto: &NodeProto, externals: &Externals) -> Result<Node> {
    let place = || label(&proto.name, &proto.op_type, proto.output.first().map_or("", String::as_str));
    if proto.op_type.is_empty() {
        return Err(fail(path, place(), "has no operator; the file is damaged"));
    }
    let mut attributes = BTreeMap::new();
    for attribute in &proto.attribute {
        let place = || format!("{}, attribute `{}`", place(), attribute.name);
        if attributes.insert(attribute.name.clone(), value(path, place, attribute, externals)?).is_some() {
            return Err(fail(path, place(), "is given twice; export the model again"));
        }
    }
    Ok(Node {
        name: proto.name.clone(),
        op_type: proto.op_type.clone(),
        domain: domain(&proto.domain).to_owned(),
        inputs: proto.input.clone(),
        outputs: proto.output.clone(),
        attributes,
    })
}

/// Both names of ONNX's own operators as one.
pub(super) fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

/// Whether axes of this name have one length: exporters write `?`, `-1` or `None` for any that is open.
fn names_an_axis(name: &str) -> bool {
    name != "None" && name.contains(char::is_alphabetic)
}

pub(super) fn graph_value(proto: &ValueInfoProto) -> Value {
    let tensor = proto.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let dim = |d: &super::proto::Dimension| match (d.dim_value.map(usize::try_from), &d.dim_param) {
        (Some(Ok(n)), _) => Dim::Fixed(n),
        (_, Some(name)) if names_an_axis(name) => Dim::Named(name.clone()),
        _ => Dim::Unknown,
    };
    Value {
        name: proto.name.clone(),
        dtype: tensor.and_then(|t| dtype(t.elem_type)),
        shape: tensor.and_then(|t| t.shape.as_ref()).map(|s| s.dim.iter().map(dim).collect()),
    }
}

fn value(path: &Path, place: impl Fn() -> String, proto: &AttributeProto, externals: &Externals) -> Result<Attribute> {
    let text = |bytes: &bytes::Bytes| std::str::from_utf8(bytes).map(str::to_owned).ok();
    if !proto.ref_attr_name.is_empty() {
        return Ok(Attribute::Reference(proto.ref_attr_name.clone()));
    }
    Ok(match proto.r#type {
        1 => Attribute::Float(proto.f),
        2 => Attribute::Int(proto.i),
        3 => text(&proto.s).map_or(Attribute::Other("bytes that are no text"), Attribute::String),
        4 => {
            let tensor = proto.t.as_ref().ok_or_else(|| fail(path, place(), "is a tensor, but holds none"))?;
            let tensor = decode(path, &place(), tensor, externals)?;
            tensor.map_or(Attribute::Other("a tensor of another element type"), Attribute::Tensor)
        }
        5 => {
            let graph = proto.g.as_ref().ok_or_else(|| fail(path, place(), "is a graph, but holds none"))?;
            Attribute::Graph(subgraph(path, graph, externals))
        }
        6 => Attribute::Floats(proto.floats.clone()),
        7 => Attribute::Ints(proto.ints.clone()),
        8 => {
            let texts = proto.strings.iter().map(text).collect::<Option<_>>();
            texts.map_or(Attribute::Other("bytes that are no text"), Attribute::Strings)
        }
        9 => Attribute::Other("tensors"),
        10 => Attribute::Graphs(proto.graphs.iter().map(|g| subgraph(path, g, externals)).collect()),
        11 | 12 => Attribute::Other("sparse tensors"),
        13 | 14 => Attribute::Other("types"),
        found => return Err(fail(path, place(), format!("is of kind {found}; known are 1 to 14"))),
    })
}

fn subgraph(path: &Path, graph: &GraphProto, externals: &Externals) -> Subgraph {
    Subgraph {
        captures: captures(graph).into_iter().collect(),
        initializers: graph.initializer.iter().map(|t| t.name.clone()).collect(),
        body: body(path, graph, externals).ok(),
    }
}

fn body(path: &Path, graph: &GraphProto, externals: &Externals) -> Result<Body> {
    let tensor = |t: &TensorProto| Ok((t.name.clone(), decode(path, &t.name, t, externals)?));
    Ok(Body {
        tensors: graph.initializer.iter().map(tensor).collect::<Result<_>>()?,
        nodes: graph.node.iter().map(|n| node(path, n, externals)).collect::<Result<_>>()?,
        inputs: graph.input.iter().map(|v| v.name.clone()).collect(),
        outputs: graph.output.iter().map(|v| v.name.clone()).collect(),
    })
}

/// A function of the model; an error where its nodes cannot be read.
pub(super) fn function(path: &Path, proto: &FunctionProto, externals: &Externals) -> Result<Function> {
    let default = |a: &AttributeProto| Ok((a.name.clone(), value(path, || a.name.clone(), a, externals)?));
    let opset = proto.opset_import.iter().find(|set| domain(&set.domain).is_empty());
    Ok(Function {
        domain: domain(&proto.domain).to_owned(),
        name: proto.name.clone(),
        inputs: proto.input.clone(),
        outputs: proto.output.clone(),
        attributes: proto.attribute.clone(),
        defaults: proto.attribute_proto.iter().map(default).collect::<Result<_>>()?,
        nodes: proto.node.iter().map(|n| node(path, n, externals)).collect::<Result<_>>()?,
        opset: opset.map(|set| set.version),
    })
}

/// Values that a subgraph, and the subgraphs within it, read from outside.
fn captures(graph: &GraphProto) -> BTreeSet<String> {
    let attributes = || graph.node.iter().flat_map(|n| &n.attribute);
    let inner = attributes().flat_map(|a| a.g.iter().chain(&a.graphs)).flat_map(captures);
    let mut reads: BTreeSet<String> = inner.collect();
    reads.extend(graph.node.iter().flat_map(|n| &n.input).cloned());
    reads.extend(graph.output.iter().map(|v| v.name.clone()));
    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref()).map(|t| &t.name);
    let made = graph.node.iter().flat_map(|n| &n.output).chain(graph.initializer.iter().map(|t| &t.name));
    for name in made.chain(graph.input.iter().map(|v| &v.name)).chain(sparse) {
        reads.remove(name);
    }
    reads.remove("");
    reads
}

fn label(name: &str, op_type: &str, output: &str) -> String {
    if name.is_empty() { format!("node {op_type} that makes `{output}`") } else { format!("node `{name}` ({op_type})") }
}
