//! A network as operators over values, independent of any file format.
//!
//! Shapes are per sample: the batch axis is not written. Every operator is known in two rooms: here, how shapes follow;
//! in the crate that runs networks, how it computes forward and backward.

use crate::error::{Error, Result};
use crate::tensor::element_count;

/// Index of a value: 0 is the input, `k + 1` the output of node `k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValueId(pub usize);

/// Index of a parameter in [`Graph::params`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParamId(pub usize);

/// What a node computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `y = x Wᵀ + b`, with `W` of shape `[out, in]` and `b` of shape `[out]`.
    Linear,
    /// `y = max(x, 0)`.
    Relu,
}

/// One operator, where its inputs come from, and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name, for errors.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Its inputs.
    pub inputs: Vec<ValueId>,
    /// Its parameters.
    pub params: Vec<ParamId>,
}

/// A named parameter and its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name of its tensor.
    pub name: String,
    /// Shape of its tensor.
    pub shape: Vec<usize>,
}

/// A network: nodes in an order in which they can run.
///
/// ```
/// use onebasin::graph::Graph;
/// let mut g = Graph::new(&[784]);
/// let mut x = g.input();
/// x = g.linear("fc1", x, 512)?;
/// x = g.relu("relu1", x)?;
/// x = g.linear("fc2", x, 10)?;
/// assert_eq!(g.shape(x), [10]);
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<Node>,
    params: Vec<Param>,
    shapes: Vec<Vec<usize>>,
}

impl Graph {
    /// A graph with an input of this shape and no node.
    pub fn new(input: &[usize]) -> Self {
        Self { nodes: Vec::new(), params: Vec::new(), shapes: vec![input.to_vec()] }
    }

    /// The input.
    pub fn input(&self) -> ValueId {
        ValueId(0)
    }

    /// The output: the value computed last.
    pub fn output(&self) -> ValueId {
        ValueId(self.nodes.len())
    }

    /// The nodes, in running order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The parameters, in order of first use.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Shape of a value, per sample.
    pub fn shape(&self, value: ValueId) -> &[usize] {
        &self.shapes[value.0]
    }

    /// Number of entries of a value, per sample.
    pub fn len(&self, value: ValueId) -> usize {
        self.shapes[value.0].iter().product()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds `y = x Wᵀ + b` with parameters `{name}.weight` and `{name}.bias`.
    pub fn linear(&mut self, name: &str, x: ValueId, out: usize) -> Result<ValueId> {
        let features = self.len(x);
        let weight = self.param(format!("{name}.weight"), &[out, features]);
        let bias = self.param(format!("{name}.bias"), &[out]);
        self.push(Node { name: name.to_owned(), op: Op::Linear, inputs: vec![x], params: vec![weight, bias] })
    }

    /// Adds `y = max(x, 0)`.
    pub fn relu(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        self.push(Node { name: name.to_owned(), op: Op::Relu, inputs: vec![x], params: Vec::new() })
    }

    fn param(&mut self, name: String, shape: &[usize]) -> ParamId {
        self.params.push(Param { name, shape: shape.to_vec() });
        ParamId(self.params.len() - 1)
    }

    fn push(&mut self, node: Node) -> Result<ValueId> {
        let shape = self.infer(&node)?;
        element_count(&shape)?;
        self.shapes.push(shape);
        self.nodes.push(node);
        Ok(self.output())
    }

    fn infer(&self, node: &Node) -> Result<Vec<usize>> {
        let fail = |why: String| Err(Error::Graph { node: node.name.clone(), why });
        let inputs: Vec<&[usize]> = node.inputs.iter().map(|v| self.shape(*v)).collect();
        let params: Vec<&[usize]> = node.params.iter().map(|p| self.params[p.0].shape.as_slice()).collect();
        match (node.op, &inputs[..], &params[..]) {
            (Op::Linear, [x], [w @ [out, features], [bias]]) => {
                if x.iter().product::<usize>() != *features || bias != out {
                    return fail(format!(
                        "a weight of shape {w:?} and a bias of {bias} do not fit an input of shape {x:?}"
                    ));
                }
                Ok(vec![*out])
            }
            (Op::Relu, [x], []) => Ok(x.to_vec()),
            (op, inputs, params) => {
                fail(format!("{op:?} does not take inputs of shape {inputs:?} and parameters of shape {params:?}"))
            }
        }
    }
}
