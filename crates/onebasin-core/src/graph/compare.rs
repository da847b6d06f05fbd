//! Whether two graphs compute the same with other weights, and which parameter of one is which of the other.

use std::collections::BTreeMap;

use super::{Graph, NodeId, Op, ValueId, ValueSource};
use crate::error::Result;

/// The first thing in which two graphs differ, in the running order of the first.
///
/// ```
/// use onebasin_core::graph::{Difference, Graph, Op, op::Unary};
/// let net = |act: Unary| -> onebasin_core::error::Result<Graph> {
///     let mut g = Graph::new();
///     let x = g.input("x", &[1, 4])?;
///     let h = g.linear("fc1", x, 3)?;
///     let h = g.push("act", Op::Unary(act), &[h])?;
///     let y = g.linear("fc2", h, 2)?;
///     g.output(y);
///     Ok(g)
/// };
/// let difference = net(Unary::Relu)?.same_as(&net(Unary::Tanh)?).unwrap_err();
/// assert_eq!(difference.to_string(), "node `act` is Relu in A; in B it is Tanh (`act`)");
/// assert!(net(Unary::Relu)?.same_as(&net(Unary::Relu)?).is_ok());
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} is {a} in A; in B it is {b}")]
pub struct Difference {
    /// What is looked at: a node, an input, an output, a constant, by its name in A.
    pub place: String,
    /// What it is in the first graph.
    pub a: String,
    /// What it is in the second.
    pub b: String,
}

impl Graph {
    /// Whether another graph computes the same with other weights: gives the name that each of its parameters has here.
    ///
    /// Both are followed from their outputs to their inputs: operators with all attributes, constants bit for bit, shapes,
    /// and which value goes where must be equal. Names and the order of nodes do not matter; what reaches no output does not
    /// either. The batch of `other` is brought to that of this graph where it can be.
    ///
    /// Cost: linear in the number of nodes and the bytes of constants.
    ///
    /// # Errors
    /// The first [`Difference`]; two parameters that are one in the other graph are one.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let net = |name: &str| -> onebasin_core::error::Result<Graph> {
    ///     let mut g = Graph::new();
    ///     let x = g.input("x", &[1, 4])?;
    ///     let y = g.linear(name, x, 3)?;
    ///     g.output(y);
    ///     Ok(g)
    /// };
    /// let names = net("fc")?.same_as(&net("onnx::Gemm_7")?).expect("two exports of one network");
    /// assert_eq!(names["onnx::Gemm_7.weight"], "fc.weight");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn same_as(&self, other: &Self) -> Result<BTreeMap<String, String>, Difference> {
        let batch = self.inputs().next().and_then(|v| self.shape(v).first().copied());
        let rebatched = batch.and_then(|batch| other.with_batch(batch).ok());
        let mut walk = Walk { a: self, b: rebatched.as_ref().unwrap_or(other), of_a: BTreeMap::new(), first: None };
        walk.counts();
        let mut open: Vec<(ValueId, ValueId)> =
            self.outputs.iter().copied().zip(other.outputs.iter().copied()).collect();
        open.reverse();
        while let Some((a, b)) = open.pop() {
            if let Some(&known) = walk.of_a.get(&a) {
                if known != b {
                    let name = |v: ValueId| format!("`{}`", other.value(v).name);
                    walk.differ(a, format!("also what {} is in B", name(known)), format!("another value, {}", name(b)));
                }
                continue;
            }
            walk.of_a.insert(a, b);
            open.extend(walk.values(a, b));
        }
        let Walk { of_a, first, .. } = walk;
        if let Some((_, difference)) = first {
            return Err(difference);
        }
        let mut names = BTreeMap::new();
        for (a, b) in of_a.into_iter().filter(|(a, _)| self.value(*a).source == ValueSource::Param) {
            let (here, there) = (self.value(a).name.clone(), other.value(b).name.clone());
            if let Some(before) = names.insert(there.clone(), here.clone()) {
                let place = format!("parameter `{here}`");
                let (a, b) = ("one tensor".to_owned(), format!("`{there}`, which is also `{before}`"));
                return Err(Difference { place, a, b });
            }
        }
        Ok(names)
    }

    /// The same graph with other names of its parameters.
    ///
    /// # Errors
    /// If two parameters get one name.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// g.linear("fc", x, 3)?;
    /// let longer = g.with_param_names(|name| format!("model.{name}"))?;
    /// assert!(longer.param_named("model.fc.weight").is_ok());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn with_param_names(&self, name: impl Fn(&str) -> String) -> Result<Self> {
        let mut graph = Self { params: BTreeMap::new(), ..self.clone() };
        for (id, value) in graph.values.iter_mut().enumerate().filter(|(_, v)| v.source == ValueSource::Param) {
            value.name = name(&value.name);
            if graph.params.insert(value.name.clone(), ValueId(id)).is_some() {
                let why = "two parameters would have this name".to_owned();
                return Err(crate::Error::Graph { node: value.name.clone(), why });
            }
        }
        Ok(graph)
    }
}

/// Two graphs followed side by side.
struct Walk<'g> {
    a: &'g Graph,
    b: &'g Graph,
    /// What every value of A is in B.
    of_a: BTreeMap<ValueId, ValueId>,
    /// The difference at the lowest value of A.
    first: Option<(ValueId, Difference)>,
}

impl Walk<'_> {
    /// As many inputs and outputs.
    fn counts(&mut self) {
        let inputs = [self.a, self.b].map(|g| g.inputs().count());
        let outputs = [self.a, self.b].map(|g| g.outputs.len());
        for (what, [a, b]) in [("inputs", inputs), ("outputs", outputs)] {
            if a != b {
                let difference =
                    Difference { place: format!("the number of {what}"), a: a.to_string(), b: b.to_string() };
                self.first.get_or_insert((ValueId(0), difference));
            }
        }
    }

    fn differ(&mut self, at: ValueId, a: String, b: String) {
        if self.first.as_ref().is_none_or(|(first, _)| at < *first) {
            let place = match &self.a.value(at).source {
                ValueSource::Node(id, _) => format!("node `{}`", self.a.node(*id).name),
                ValueSource::Input => format!("input `{}`", self.a.value(at).name),
                ValueSource::Param => format!("parameter `{}`", self.a.value(at).name),
                ValueSource::Constant(_) => format!("constant `{}`", self.a.value(at).name),
            };
            self.first = Some((at, Difference { place, a, b }));
        }
    }

    /// Compares two values; gives the pairs of values they are made of.
    fn values(&mut self, a: ValueId, b: ValueId) -> Vec<(ValueId, ValueId)> {
        let (of_a, of_b) = (self.a.value(a), self.b.value(b));
        match (&of_a.source, &of_b.source) {
            (ValueSource::Node(node_a, k), ValueSource::Node(node_b, m)) => {
                return self.nodes(a, (*node_a, *k), (*node_b, *m));
            }
            (ValueSource::Input, ValueSource::Input) => {
                let place = |g: &Graph, v: ValueId| g.inputs().position(|i| i == v).unwrap_or(0);
                let (i, k) = (place(self.a, a), place(self.b, b));
                if i != k {
                    self.differ(a, format!("input number {i}"), format!("input number {k}, `{}`", of_b.name));
                }
            }
            (ValueSource::Constant(x), ValueSource::Constant(y)) if x != y => {
                let b = format!("of other values (`{}`)", of_b.name);
                self.differ(a, format!("a constant of {} and shape {:?}", x.dtype(), x.shape()), b);
            }
            (ValueSource::Param, ValueSource::Param) | (ValueSource::Constant(_), ValueSource::Constant(_)) => {}
            (
                x @ (ValueSource::Node(..) | ValueSource::Input | ValueSource::Param | ValueSource::Constant(_)),
                y @ (ValueSource::Node(..) | ValueSource::Input | ValueSource::Param | ValueSource::Constant(_)),
            ) => self.differ(a, kind(x).to_owned(), format!("{}, `{}`", kind(y), of_b.name)),
        }
        if of_a.shape != of_b.shape {
            self.differ(
                a,
                format!("of shape {:?}", of_a.shape),
                format!("of shape {:?} (`{}`)", of_b.shape, of_b.name),
            );
        }
        Vec::new()
    }

    /// Compares what makes two values.
    fn nodes(&mut self, at: ValueId, (a, k): (NodeId, usize), (b, m): (NodeId, usize)) -> Vec<(ValueId, ValueId)> {
        let (node_a, node_b) = (self.a.node(a), self.b.node(b));
        let text = |op: &Op| op.to_string();
        if node_a.op != node_b.op || k != m {
            let number = |k: usize| if k == 0 { String::new() } else { format!(", output {k}") };
            let b = format!("{}{} (`{}`)", text(&node_b.op), number(m), node_b.name);
            self.differ(at, format!("{}{}", text(&node_a.op), number(k)), b);
            return Vec::new();
        }
        if node_a.inputs.len() != node_b.inputs.len() {
            let (a, b) = (node_a.inputs.len(), node_b.inputs.len());
            self.differ(at, format!("of {a} inputs"), format!("of {b} inputs (`{}`)", node_b.name));
            return Vec::new();
        }
        let (shape_a, shape_b) = (self.a.shape(at), self.b.shape(node_b.outputs[m]));
        if shape_a != shape_b {
            let b = format!("of shape {shape_b:?} (`{}`)", node_b.name);
            self.differ(at, format!("of shape {shape_a:?}"), b);
        }
        node_a.inputs.iter().copied().zip(node_b.inputs.iter().copied()).collect()
    }
}

fn kind(source: &ValueSource) -> &'static str {
    match source {
        ValueSource::Input => "an input",
        ValueSource::Param => "a parameter",
        ValueSource::Constant(_) => "a constant",
        ValueSource::Node(..) => "computed",
    }
}
