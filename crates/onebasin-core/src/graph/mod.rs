//! A network as operators over values, independent of any file format.
//!
//! A value is an input, a parameter, a constant, or an output of a node; its shape is written with the batch as axis 0.
//! Every operator is known in three rooms: here, how shapes follow ([`shape`]); in
//! `symmetry::discover`, how symmetries pass through it; in the crate that runs networks, how it
//! computes. All three are exhaustive matches over [`Op`], so the compiler refuses an operator that lacks one.

mod build;
mod display;
pub mod op;
pub mod shape;

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::params::nearest;
use crate::tensor::Tensor;
pub use op::Op;

/// Index of a value in [`Graph::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub usize);

/// Index of a node in [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Where a value comes from.
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

/// A value: its name, where it comes from, its shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Name; for a parameter, that of its tensor.
    pub name: String,
    /// Where it comes from.
    pub source: ValueSource,
    /// Length of every axis, the batch as it was when the graph was built.
    pub shape: Vec<usize>,
}

/// One operator, its inputs and its outputs.
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
}

impl Graph {
    /// A graph of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// All values.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// One value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The nodes, in running order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Shape of a value.
    pub fn shape(&self, id: ValueId) -> &[usize] {
        &self.values[id.0].shape
    }

    /// Values given from outside, in order.
    pub fn inputs(&self) -> impl Iterator<Item = ValueId> {
        self.ids().filter(|v| self.value(*v).source == ValueSource::Input)
    }

    /// Values that leave the network, in order.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// Parameters, in the order in which they were added.
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

    /// Indices of all values.
    pub fn ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len()).map(ValueId)
    }

    /// Adds an input. Axis 0 is the batch.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the shape overflows.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Result<ValueId> {
        self.add(name, ValueSource::Input, shape)
    }

    /// Adds a parameter, or gives back the one of this name, so that tied weights are one value.
    ///
    /// # Errors
    /// If there is one of this name with another shape.
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

    /// Adds a constant.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> Result<ValueId> {
        let shape = tensor.shape().to_vec();
        self.add(name, ValueSource::Constant(tensor), &shape)
    }

    /// Marks a value as leaving the network.
    pub fn output(&mut self, value: ValueId) {
        self.outputs.push(value);
    }

    /// Adds a node with one output; its shape is inferred.
    ///
    /// # Errors
    /// [`Error::Graph`] names the node, the shapes it got and what it needs.
    pub fn push(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId> {
        Ok(self.push_many(name, op, inputs)?[0])
    }

    /// Adds a node with as many outputs as its operator has.
    pub fn push_many(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|v| self.shape(*v)).collect();
        let found = shape::infer(&op, &shapes).map_err(|why| Error::Graph { node: name.to_owned(), why })?;
        self.push_shaped(name, op, inputs, &found)
    }

    /// Adds a node whose operator is not known; the shapes of its outputs are the caller's to say.
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

    /// The same graph for another batch: axis 0 of every input becomes `batch`, and shapes follow.
    ///
    /// # Errors
    /// [`Error::Graph`] names the first node whose attributes hold the old batch. Outputs of unknown operators keep the
    /// shapes they were given.
    pub fn with_batch(&self, batch: usize) -> Result<Self> {
        let mut graph = self.clone();
        for value in graph.values.iter_mut().filter(|v| v.source == ValueSource::Input) {
            if let Some(first) = value.shape.first_mut() {
                *first = batch;
            }
        }
        for node in self.nodes.iter().filter(|n| !matches!(n.op, Op::Unknown(_))) {
            let shapes: Vec<&[usize]> = node.inputs.iter().map(|v| graph.shape(*v)).collect();
            let found = shape::infer(&node.op, &shapes).map_err(|why| Error::Graph { node: node.name.clone(), why })?;
            node.outputs.iter().zip(found).for_each(|(v, shape)| graph.values[v.0].shape = shape);
        }
        Ok(graph)
    }

    /// Running statistics of BatchNorms: parameters that are measured, not trained.
    pub fn statistics(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.nodes.iter().filter(|n| matches!(n.op, Op::BatchNorm { .. })).flat_map(|n| n.inputs[3..].iter().copied())
    }
}
