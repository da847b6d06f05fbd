//! A network as operators over values, independent of any file format.
//!
//! A value is an input, a parameter, a constant, or an output of a node; its shape is written with the batch as axis 0.
//! Every operator is known in three rooms: here, how shapes follow ([`shape`]); in
//! [`discover`](crate::symmetry::discover), how symmetries pass through it; in the crate that runs networks, how it
//! computes. All three are exhaustive matches over [`Op`], so the compiler refuses an operator that lacks one.
//!
//! ```
//! use onebasin_core::graph::Graph;
//! use onebasin_core::symmetry::discover;
//! let mut g = Graph::new();
//! let x = g.input("x", &[1, 4])?;
//! let h = g.linear("fc1", x, 3)?;
//! let h = g.relu(h)?;
//! let y = g.linear("fc2", h, 2)?;
//! g.output(y);
//! assert_eq!(discover(&g).spec().tensors["fc2.weight"].to_string(), ". fc1");
//! # Ok::<(), onebasin_core::Error>(())
//! ```

mod build;
mod bypass;
mod compare;
mod display;
mod numbers;
pub mod op;
pub mod shape;

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::params::nearest;
use crate::tensor::Tensor;
pub use compare::Difference;
pub use numbers::Numbers;
pub use op::Op;

/// Index of a value in [`Graph::values`]. Values are numbered as they are added; a node's outputs come after its
/// inputs.
///
/// ```
/// use onebasin_core::graph::{Graph, ValueId};
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 4])?;
/// assert_eq!((x, &g.values()[x.0].name[..]), (ValueId(0), "x"));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub usize);

/// Index of a node in [`Graph::nodes`], which is its place in running order.
///
/// ```
/// use onebasin_core::graph::{Graph, NodeId};
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 4])?;
/// g.relu(x)?;
/// assert_eq!(g.node(NodeId(0)).name, "x.relu");
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Where a value comes from.
///
/// ```
/// use onebasin_core::graph::{Graph, NodeId, ValueSource};
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 4])?;
/// let y = g.linear("fc", x, 2)?;
/// assert_eq!(g.value(x).source, ValueSource::Input);
/// assert_eq!(g.value(g.param_named("fc.weight")?).source, ValueSource::Param);
/// assert_eq!(g.value(y).source, ValueSource::Node(NodeId(0), 0));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum ValueSource {
    /// Given from outside.
    Input,
    /// The network's tensor of the value's name.
    Param,
    /// Part of the graph itself.
    Constant(Tensor),
    /// Output number `.1` of a node.
    Node(NodeId, usize),
}

/// A value: its name, where it comes from, its shape. It holds no numbers, unless it is a constant.
///
/// ```
/// use onebasin_core::graph::Graph;
/// let mut g = Graph::new();
/// let x = g.input("image", &[1, 3, 32, 32])?;
/// assert_eq!((&g.value(x).name[..], &g.value(x).shape[..]), ("image", &[1, 3, 32, 32][..]));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Name; for a parameter, that of its tensor.
    pub name: String,
    /// Where it comes from.
    pub source: ValueSource,
    /// Length of every axis, the batch as it was when the graph was built.
    pub shape: Vec<usize>,
}

/// One operator, its inputs and its outputs. Its first output has the node's name, others `name:1`, `name:2`.
///
/// ```
/// use onebasin_core::graph::{Graph, Op};
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 4])?;
/// let y = g.linear("fc", x, 2)?;
/// let node = &g.nodes()[0];
/// assert_eq!((&node.op, node.inputs.len(), &node.outputs[..]), (&Op::Linear, 3, &[y][..]));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Name, for errors and explanations.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Its inputs.
    pub inputs: Vec<ValueId>,
    /// Its outputs.
    pub outputs: Vec<ValueId>,
}

/// A network: nodes in an order in which they can run.
///
/// It is built from the inputs on, so every node's inputs exist before it; shapes are inferred and checked as nodes are
/// added. Parameters are named, and their tensors are elsewhere, in [`Params`](crate::Params). Printed, it has one line
/// a node.
///
/// ```
/// use onebasin_core::graph::Graph;
/// let mut g = Graph::new();
/// let mut x = g.input("image", &[1, 784])?;
/// x = g.linear("fc1", x, 512)?;
/// x = g.relu(x)?;
/// x = g.linear("fc2", x, 10)?;
/// g.output(x);
/// assert_eq!(g.shape(x), [1, 10]);
/// assert_eq!(g.params().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    values: Vec<Value>,
    nodes: Vec<Node>,
    outputs: Vec<ValueId>,
    /// Parameters by name.
    params: BTreeMap<String, ValueId>,
    /// Inputs and parameters that are not any numbers.
    numbers: BTreeMap<ValueId, Numbers>,
}

impl Graph {
    /// A graph of nothing.
    ///
    /// ```
    /// assert!(onebasin_core::graph::Graph::new().nodes().is_empty());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// All values, in the order in which they were added; [`ValueId`] counts them.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// g.linear("fc", x, 2)?;
    /// assert_eq!(g.values().iter().map(|v| &v.name[..]).collect::<Vec<_>>(), ["x", "fc.weight", "fc.bias", "fc"]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// One value.
    ///
    /// # Panics
    /// If the graph has no such value.
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// assert_eq!(g.value(x).name, "x");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The nodes, in running order; [`NodeId`] counts them.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let y = g.linear("fc", x, 2)?;
    /// g.relu(y)?;
    /// assert_eq!(g.nodes().iter().map(|n| &n.name[..]).collect::<Vec<_>>(), ["fc", "fc.relu"]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One node.
    ///
    /// # Panics
    /// If the graph has no such node.
    /// ```
    /// use onebasin_core::graph::{Graph, NodeId, Op};
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// g.linear("fc", x, 2)?;
    /// assert_eq!(g.node(NodeId(0)).op, Op::Linear);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Shape of a value, outermost axis first, the batch as the graph has it.
    ///
    /// # Panics
    /// If the graph has no such value.
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let y = g.linear("fc", x, 2)?;
    /// assert_eq!(g.shape(y), [1, 2]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn shape(&self, id: ValueId) -> &[usize] {
        &self.values[id.0].shape
    }

    /// Values given from outside, in the order in which they were added.
    ///
    /// Cost: one pass over the values.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let (a, b) = (g.input("tokens", &[1, 16])?, g.input("mask", &[1, 16])?);
    /// assert_eq!(g.inputs().collect::<Vec<_>>(), [a, b]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn inputs(&self) -> impl Iterator<Item = ValueId> {
        self.ids().filter(|v| self.value(*v).source == ValueSource::Input)
    }

    /// Values that leave the network, in the order in which [`output`](Self::output) marked them.
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let (first, second) = (g.linear("head1", x, 2)?, g.linear("head2", x, 3)?);
    /// g.output(second);
    /// g.output(first);
    /// assert_eq!(g.outputs(), [second, first]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// Parameters, in the order in which they were added.
    ///
    /// Cost: one pass over the values.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 784])?;
    /// g.linear("fc", x, 10)?;
    /// assert_eq!(g.params().map(|p| p.shape.iter().product::<usize>()).sum::<usize>(), 7850);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn params(&self) -> impl Iterator<Item = &Value> {
        self.values.iter().filter(|v| v.source == ValueSource::Param)
    }

    /// The parameter called `name`.
    ///
    /// Cost: one look into a map.
    ///
    /// # Errors
    /// [`Error::NoParameter`] suggests the nearest name.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("image", &[1, 784])?;
    /// g.linear("fc1", x, 512)?;
    /// assert_eq!(g.shape(g.param_named("fc1.weight")?), [512, 784]);
    /// assert!(g.param_named("fc1.wieght").unwrap_err().to_string().ends_with("did you mean `fc1.weight`?"));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn param_named(&self, name: &str) -> Result<ValueId> {
        self.params.get(name).copied().ok_or_else(|| {
            let near = nearest(name, self.params().map(|p| p.name.as_str())).map(str::to_owned);
            Error::NoParameter { parameter: name.to_owned(), near }
        })
    }

    /// Indices of all values, in order.
    ///
    /// ```
    /// use onebasin_core::graph::{Graph, ValueId};
    /// let mut g = Graph::new();
    /// g.input("x", &[1, 4])?;
    /// assert_eq!(g.ids().collect::<Vec<_>>(), [ValueId(0)]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len()).map(ValueId)
    }

    /// Adds an input. Axis 0 is the batch.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the shape overflows.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("image", &[1, 3, 32, 32])?;
    /// assert_eq!(g.shape(x), [1, 3, 32, 32]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Result<ValueId> {
        self.add(name, ValueSource::Input, shape)
    }

    /// Adds a parameter, or gives back the one of this name, so that tied weights are one value.
    ///
    /// # Errors
    /// [`Error::Graph`] if there is one of this name with another shape, [`Error::TooLarge`] if the shape overflows.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let embedding = g.param("embedding.weight", &[1000, 64])?;
    /// assert_eq!(g.param("embedding.weight", &[1000, 64])?, embedding);
    /// assert!(g.param("embedding.weight", &[64, 1000]).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn param(&mut self, name: &str, shape: &[usize]) -> Result<ValueId> {
        let Some(&known) = self.params.get(name) else {
            let added = self.add(name, ValueSource::Param, shape)?;
            self.params.insert(name.to_owned(), added);
            return Ok(added);
        };
        if self.shape(known) != shape {
            let why = format!("parameter of shape {shape:?} asked for, it has shape {:?} elsewhere", self.shape(known));
            return Err(Error::Graph { node: name.to_owned(), why });
        }
        Ok(known)
    }

    /// Adds a constant: a tensor that belongs to the graph and is neither trained nor matched.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// use onebasin_core::graph::{Graph, Op, op::Binary};
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let half = g.constant("half", Tensor::from_f32(&[], vec![0.5])?)?;
    /// let y = g.push("scaled", Op::Binary(Binary::Mul), &[x, half])?;
    /// assert_eq!(g.shape(y), [1, 4]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> Result<ValueId> {
        let shape = tensor.shape().to_vec();
        self.add(name, ValueSource::Constant(tensor), &shape)
    }

    /// Marks a value as leaving the network: its axes stay where they are.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let y = g.linear("fc", x, 2)?;
    /// g.output(y);
    /// assert_eq!(g.outputs(), [y]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn output(&mut self, value: ValueId) {
        self.outputs.push(value);
    }

    /// Adds a node and gives its first output; shapes are inferred ([`shape::infer`]).
    ///
    /// # Errors
    /// [`Error::Graph`] names the node, the shapes it got and what it needs.
    ///
    /// ```
    /// use onebasin_core::graph::{Graph, Op};
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[2, 4])?;
    /// let y = g.push("probabilities", Op::Softmax { axis: 1, log: false }, &[x])?;
    /// assert_eq!(g.shape(y), [2, 4]);
    /// let error = g.push("bad", Op::Softmax { axis: 2, log: false }, &[x]).unwrap_err();
    /// assert_eq!(error.to_string(), "node `bad`: there is no axis [2] in shape [2, 4]");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn push(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        Ok(self.push_many(name, op, inputs)?[0])
    }

    /// Adds a node with as many outputs as its operator has: three for an LSTM, two for other cells, one for everything
    /// else.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    ///
    /// ```
    /// use onebasin_core::graph::op::{Cell, Direction};
    /// use onebasin_core::graph::{Graph, Op};
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[5, 1, 3])?; // time, batch, features
    /// let (w, r) = (g.param("W", &[1, 16, 3])?, g.param("R", &[1, 16, 4])?);
    /// let op = Op::Recurrent { cell: Cell::Lstm, direction: Direction::Forward };
    /// let outputs = g.push_many("lstm", op, &[x, w, r])?;
    /// let shapes: Vec<&[usize]> = outputs.iter().map(|v| g.shape(*v)).collect();
    /// assert_eq!(shapes, [&[5, 1, 1, 4][..], &[1, 1, 4], &[1, 1, 4]]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn push_many(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|v| self.shape(*v)).collect();
        let found = shape::infer(&op, &shapes).map_err(|why| Error::Graph { node: name.to_owned(), why })?;
        self.push_shaped(name, op, inputs, &found)
    }

    /// Adds a node whose operator is not known; the shapes of its outputs are the caller's to say.
    ///
    /// Such a graph has symmetries still: whatever the node touches stays, the rest may move.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if a shape overflows.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let y = g.push_unknown("mystery", "com.example.Mystery", &[x], &[vec![1, 7]])?[0];
    /// assert_eq!((g.shape(y), g.nodes()[0].op.name()), (&[1, 7][..], "com.example.Mystery"));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn push_unknown(
        &mut self,
        name: &str,
        operator: &str,
        inputs: &[ValueId],
        outputs: &[Vec<usize>],
    ) -> Result<Vec<ValueId>> {
        self.push_shaped(name, Op::Unknown(operator.to_owned()), inputs, outputs)
    }

    fn push_shaped(&mut self, name: &str, op: Op, inputs: &[ValueId], shapes: &[Vec<usize>]) -> Result<Vec<ValueId>> {
        let id = NodeId(self.nodes.len());
        let mut outputs = Vec::new();
        for (k, shape) in shapes.iter().enumerate() {
            let name = if k == 0 { name.to_owned() } else { format!("{name}:{k}") };
            outputs.push(self.add(&name, ValueSource::Node(id, k), shape)?);
        }
        self.nodes.push(Node { name: name.to_owned(), op, inputs: inputs.to_vec(), outputs: outputs.clone() });
        Ok(outputs)
    }

    fn add(&mut self, name: &str, source: ValueSource, shape: &[usize]) -> Result<ValueId> {
        crate::tensor::element_count(shape)?;
        self.values.push(Value { name: name.to_owned(), source, shape: shape.to_vec() });
        Ok(ValueId(self.values.len() - 1))
    }

    /// Number of samples that the graph was built for: the length of axis 0 of its first input that has axes; 1 if none has.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// g.input("rate", &[])?;
    /// g.input("sound", &[4, 512])?;
    /// assert_eq!(g.batch(), 4);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn batch(&self) -> usize {
        self.inputs().find_map(|input| self.shape(input).first().copied()).unwrap_or(1)
    }

    /// The same graph for another batch: axis 0 of every input becomes `batch`, and shapes follow. An input whose axis 0 has
    /// another length than the [batch](Self::batch) stays: it has its samples elsewhere, or none.
    ///
    /// Cost: a copy of the graph, constants shared, and one inference per node.
    ///
    /// # Errors
    /// [`Error::Graph`] names the first node whose attributes hold the old batch; [`Error::TooLarge`] if a shape overflows.
    /// Outputs of unknown operators keep the
    /// shapes they were given.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let y = g.linear("fc", x, 2)?;
    /// assert_eq!(g.with_batch(32)?.shape(y), [32, 2]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn with_batch(&self, batch: usize) -> Result<Self> {
        let (mut graph, own) = (self.clone(), self.batch());
        for value in graph.values.iter_mut().filter(|v| v.source == ValueSource::Input) {
            if let Some(first) = value.shape.first_mut().filter(|first| **first == own) {
                *first = batch;
            }
        }
        for node in self.nodes.iter().filter(|n| !matches!(n.op, Op::Unknown(_))) {
            let shapes: Vec<&[usize]> = node.inputs.iter().map(|v| graph.shape(*v)).collect();
            let found = shape::infer(&node.op, &shapes).map_err(|why| Error::Graph { node: node.name.clone(), why })?;
            node.outputs.iter().zip(found).for_each(|(v, shape)| graph.values[v.0].shape = shape);
        }
        graph.values.iter().try_for_each(|v| crate::tensor::element_count(&v.shape).map(drop))?;
        Ok(graph)
    }

    /// The same graph with its nodes in another order in which they can run; `order` names each once. Values keep their
    /// numbers.
    pub(crate) fn ordered(&self, order: &[NodeId]) -> Self {
        let mut graph = self.clone();
        graph.nodes = order.iter().map(|id| self.node(*id).clone()).collect();
        for (at, node) in graph.nodes.iter().enumerate() {
            for (k, output) in node.outputs.iter().enumerate() {
                graph.values[output.0].source = ValueSource::Node(NodeId(at), k);
            }
        }
        graph
    }

    /// Running statistics of BatchNorms, mean and variance in turn: parameters that are measured, not trained.
    ///
    /// They are permuted like weights, and do not count where weights are compared.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 3, 8, 8])?;
    /// g.batch_norm("bn", x)?;
    /// let names = g.statistics().map(|v| &g.value(v).name[..]);
    /// assert_eq!(names.collect::<Vec<_>>(), ["bn.running_mean", "bn.running_var"]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn statistics(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.nodes.iter().filter(|n| matches!(n.op, Op::BatchNorm { .. })).flat_map(|n| n.inputs[3..].iter().copied())
    }
}
