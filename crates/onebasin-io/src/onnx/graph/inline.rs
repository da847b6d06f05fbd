//! Nodes that hold other nodes: calls of the model's own functions, and branches of an `If`.
//!
//! A call is replaced by the nodes of its function. Both branches of an `If` are laid out beside it, and which of them
//! counts is seen when its condition is. Names made within are made unique; a name that is made outside stays what it is,
//! and so does that of a weight that a branch holds, so weights of the model remain its weights.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::onnx::model::{Attribute, Body, Function, Node, Subgraph};
use crate::onnx::{OPSETS, OnnxModel, branches};

/// How deep nodes may stand within nodes.
const DEPTH: usize = 32;

/// How much may be laid out for one model, in names and numbers of attributes.
const BUDGET: usize = 1 << 20;

/// The nodes of a model with what is within them.
#[derive(Debug, Default)]
pub(super) struct Inlined {
    pub(super) nodes: Vec<PlacedNode>,
    pub(super) order: Vec<Step>,
}

/// A node, and how it is to be read.
#[derive(Debug)]
pub(super) struct PlacedNode {
    pub(super) node: Node,
    /// The version of ONNX's operators that it belongs to.
    pub(super) opset: i64,
    /// Why what is within it was not laid out.
    pub(super) why: Option<String>,
}

/// What comes next in running order, by the place of its node.
#[derive(Debug)]
pub(super) enum Step {
    Node(usize),
    /// An `If`, and the steps of its branches, which both make what it makes.
    Choice {
        node: usize,
        branches: [Vec<Step>; 2],
    },
}

impl Inlined {
    /// Lays out the nodes of a model.
    ///
    /// Cost: linear in what the file holds, and in what its functions hold for each call, up to a limit; calls beyond it
    /// stay calls.
    pub(super) fn new(model: &OnnxModel) -> Self {
        let given = model.params.names().chain(model.carried.iter().map(String::as_str));
        let given = given.chain(model.inputs.iter().map(|v| v.name.as_str()));
        let made = model.nodes.iter().flat_map(Node::makes);
        let mut functions = HashMap::new();
        for function in &model.functions {
            // Two of one name differ in what only later versions say.
            let entry = functions.entry((function.domain.as_str(), function.name.as_str()));
            entry.and_modify(|f| *f = None).or_insert(Some(function));
        }
        let taken = given.chain(made).map(str::to_owned).collect();
        let (numbers, branched, nodes) = (HashMap::new(), &model.branched, Vec::new());
        let mut layer = Inliner { functions, branched, taken, numbers, nodes, budget: BUDGET };
        let order =
            model.nodes.iter().map(|node| layer.step(node.clone(), node, &Scope::model(model.opset()))).collect();
        Self { order, nodes: layer.nodes }
    }

    /// Names that the given ones depend on, themselves included.
    pub(super) fn used<'a>(&'a self, outputs: impl Iterator<Item = &'a str>) -> HashSet<&'a str> {
        let mut used = outputs.collect();
        self.mark(&self.order, &mut used);
        used
    }

    fn mark<'a>(&'a self, steps: &'a [Step], used: &mut HashSet<&'a str>) {
        for step in steps.iter().rev() {
            let (Step::Node(index) | Step::Choice { node: index, .. }) = step;
            let node = &self.nodes[*index].node;
            if node.makes().any(|name| used.contains(name)) {
                used.extend(node.reads());
                if let Step::Choice { branches, .. } = step {
                    for branch in branches {
                        self.mark(branch, used);
                    }
                }
            }
        }
    }
}

/// What names and attributes mean within a body.
struct Scope<'s> {
    /// The unique names of what the body calls so.
    names: HashMap<String, String>,
    /// What stands around it; a function sees nothing of it.
    around: Option<&'s Scope<'s>>,
    /// Attributes of the call of a function; none where it is not in one.
    attributes: Option<&'s BTreeMap<String, Attribute>>,
    /// Whether it is a function's.
    closed: bool,
    opset: i64,
    /// What comes before the names of its nodes.
    prefix: &'s str,
    depth: usize,
}

impl Scope<'_> {
    /// The model's own: every name stands for itself.
    fn model(opset: i64) -> Self {
        Self { names: HashMap::new(), around: None, attributes: None, closed: false, opset, prefix: "", depth: 0 }
    }

    /// The name outside; none if a function reads what it was not given.
    fn name(&self, name: &str) -> Option<String> {
        match (self.names.get(name), self.around) {
            _ if name.is_empty() => Some(String::new()),
            (Some(found), _) => Some(found.clone()),
            (None, Some(around)) => around.name(name),
            (None, None) => (!self.closed).then(|| name.to_owned()),
        }
    }
}

struct Inliner<'m> {
    functions: HashMap<(&'m str, &'m str), Option<&'m Function>>,
    /// Weights of the model that stand in branches; their names are nobody else's.
    branched: &'m HashSet<String>,
    taken: HashSet<String>,
    /// The number that was last put behind a name.
    numbers: HashMap<String, usize>,
    nodes: Vec<PlacedNode>,
    budget: usize,
}

impl<'m> Inliner<'m> {
    /// A node that stands in a scope: with the names of the whole model, and as it was written.
    fn step(&mut self, node: Node, written: &Node, scope: &Scope<'_>) -> Step {
        let opset = scope.opset;
        let function = self.functions.get(&(node.domain.as_str(), node.op_type.as_str())).copied();
        let (branches, what) = if let Some(function) = function {
            // A call stands for its nodes: a branch that is always taken.
            let steps = self.call(&node, function, scope);
            (steps.map(|steps| [steps, Vec::new()]), format!("a call of function `{}`", node.op_type))
        } else if node.is("If") {
            (self.branches(written, &node.outputs, scope), "an If".to_owned())
        } else {
            self.nodes.push(PlacedNode { node, opset, why: None });
            return Step::Node(self.nodes.len() - 1);
        };
        let (branches, why) = match branches {
            Ok(branches) => (Some(branches), None),
            Err(reason) => (None, Some(format!("{what} {reason}"))),
        };
        self.nodes.push(PlacedNode { node, opset, why });
        let node = self.nodes.len() - 1;
        branches.map_or(Step::Node(node), |branches| Step::Choice { node, branches })
    }

    fn call(&mut self, call: &Node, function: Option<&'m Function>, around: &Scope<'_>) -> Result<Vec<Step>, String> {
        let Some(function) = function else { return Err("of which the model has more than one is not known".into()) };
        let opset = function.opset.unwrap_or(around.opset);
        if !OPSETS.contains(&opset) {
            return Err(format!("that uses operator set {opset} of ONNX is not known"));
        }
        let known = |name: &String| function.attributes.contains(name) || function.defaults.contains_key(name);
        if let Some(name) = call.attributes.keys().find(|name| !known(name)) {
            return Err(format!("with attribute `{name}`, which it does not take, is not known"));
        }
        if call.inputs.len() > function.inputs.len() || call.outputs.len() > function.outputs.len() {
            return Err("with more inputs or outputs than it has is not known".into());
        }
        let mut attributes = function.defaults.clone();
        attributes.extend(call.attributes.iter().map(|(name, value)| (name.clone(), value.clone())));
        let given = call.inputs.iter().cloned().chain(std::iter::repeat(String::new()));
        let names = function.inputs.iter().cloned().zip(given).collect();
        let label = if call.name.is_empty() { call.makes().next().unwrap_or_default() } else { &call.name };
        let (attributes, depth) = (Some(&attributes), around.depth + 1);
        let mut scope = Scope { names, around: None, attributes, closed: true, opset, prefix: label, depth };
        self.body(&mut scope, &[], &function.nodes, &function.outputs, &call.outputs)
    }

    fn branches(&mut self, node: &Node, results: &[String], around: &Scope<'_>) -> Result<[Vec<Step>; 2], String> {
        let mut branch = |name: &str| {
            let Some(Attribute::Graph(Subgraph { body: Some(body), .. })) = node.attribute(name) else {
                return Err(format!("without a `{name}` that can be read is not known"));
            };
            let Body { tensors, nodes, inputs, outputs } = body;
            if !inputs.is_empty() || outputs.len() != results.len() {
                return Err(format!("whose `{name}` has inputs, or not as many outputs, is not known"));
            }
            let Scope { attributes, opset, prefix, depth, .. } = *around;
            let (names, around, depth) = (HashMap::new(), Some(around), depth + 1);
            let mut scope = Scope { names, around, attributes, closed: false, opset, prefix, depth };
            self.body(&mut scope, tensors, nodes, outputs, results)
        };
        Ok([branch("then_branch")?, branch("else_branch")?])
    }

    /// The steps of a body, whose outputs become values of these names.
    fn body(
        &mut self,
        scope: &mut Scope<'_>,
        tensors: &[(String, Option<onebasin_core::Tensor>)],
        nodes: &[Node],
        outputs: &[String],
        results: &[String],
    ) -> Result<Vec<Step>, String> {
        if scope.depth > DEPTH {
            return Err(format!("within more than {DEPTH} others is not known"));
        }
        let mut steps = Vec::new();
        for (name, tensor) in tensors {
            if self.is_branched(scope, name) {
                scope.names.insert(name.clone(), name.clone());
                continue;
            }
            let Some(tensor) = tensor else {
                return Err(format!("that holds `{name}`, of an element type without numbers here, is not known"));
            };
            let value = BTreeMap::from([("value".to_owned(), Attribute::Tensor(tensor.clone()))]);
            let constant = Node {
                name: String::new(),
                op_type: "Constant".to_owned(),
                domain: String::new(),
                inputs: Vec::new(),
                outputs: vec![name.clone()],
                attributes: value,
            };
            steps.push(self.inner(scope, &constant)?);
        }
        for node in nodes {
            if let (true, [output]) = (node.is("Constant"), &node.outputs[..])
                && self.is_branched(scope, output)
            {
                scope.names.insert(output.clone(), output.clone());
                continue;
            }
            steps.push(self.inner(scope, node)?);
        }
        for (output, result) in outputs.iter().zip(results).filter(|(_, result)| !result.is_empty()) {
            let from = scope.name(output).filter(|name| !name.is_empty());
            let Some(from) = from else { return Err(format!("whose output `{output}` nothing makes is not known")) };
            let node = Node {
                name: String::new(),
                op_type: "Identity".to_owned(),
                domain: String::new(),
                inputs: vec![from],
                outputs: vec![result.clone()],
                attributes: BTreeMap::new(),
            };
            steps.push(self.step(node.clone(), &node, scope));
        }
        Ok(steps)
    }

    /// Whether a name of a body is that of a weight of the model; in a function it is only what the function calls so.
    fn is_branched(&self, scope: &Scope<'_>, name: &str) -> bool {
        scope.attributes.is_none() && self.branched.contains(name)
    }

    /// A node of a body, in names of the whole model.
    fn inner(&mut self, scope: &mut Scope<'_>, node: &Node) -> Result<Step, String> {
        let cost = 1 + node.inputs.len() + node.outputs.len() + node.attributes.values().map(cost).sum::<usize>();
        self.budget = self.budget.checked_sub(cost).ok_or("that makes the model too large is not known")?;
        if let (true, Some(name)) = (node.is("Constant"), node.makes().next())
            && node.attributes.values().any(is_weight)
        {
            return Err(format!("that holds weights of its own, as `{name}`, is not known"));
        }
        let unmade = |name: &str| format!("that reads `{name}`, which nothing within or around it makes, is not known");
        let rename = |scope: &Scope<'_>, name: &String| scope.name(name).ok_or_else(|| unmade(name));
        let mut attributes = BTreeMap::new();
        for (name, value) in &node.attributes {
            let mut value = match (value, scope.attributes) {
                (Attribute::Reference(outer), Some(given)) => match given.get(outer) {
                    Some(value) => value.clone(),
                    None => continue,
                },
                (value, _) => value.clone(),
            };
            let graphs = match &mut value {
                Attribute::Graph(graph) => std::slice::from_mut(graph),
                Attribute::Graphs(graphs) => graphs.as_mut_slice(),
                _ => &mut [],
            };
            for graph in graphs {
                graph.captures = graph.captures.iter().map(|n| rename(scope, n)).collect::<Result<_, _>>()?;
                graph.body = None;
            }
            attributes.insert(name.clone(), value);
        }
        let inputs = node.inputs.iter().map(|n| rename(scope, n)).collect::<Result<_, _>>()?;
        let mut outputs = Vec::new();
        for name in &node.outputs {
            if name.is_empty() {
                outputs.push(String::new());
                continue;
            }
            let unique = self.unique(scope.prefix, name);
            if scope.names.insert(name.clone(), unique.clone()).is_some() {
                return Err(format!("that makes `{name}` twice is not known"));
            }
            outputs.push(unique);
        }
        let name = match (node.name.is_empty(), scope.prefix) {
            (true, _) | (_, "") => node.name.clone(),
            (false, prefix) => format!("{prefix}/{}", node.name),
        };
        let (op_type, domain) = (node.op_type.clone(), node.domain.clone());
        Ok(self.step(Node { name, op_type, domain, inputs, outputs, attributes }, node, scope))
    }

    /// A name that no other value has.
    fn unique(&mut self, prefix: &str, name: &str) -> String {
        let stem = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let mut unique = stem.clone();
        while !self.taken.insert(unique.clone()) {
            let number = self.numbers.entry(stem.clone()).or_insert(1);
            *number += 1;
            unique = format!("{stem}.{number}");
        }
        unique
    }
}

/// Whether a constant is one that is trained: floats, and more than one.
fn is_weight(value: &Attribute) -> bool {
    match value {
        Attribute::Tensor(tensor) => branches::is_weight(tensor),
        Attribute::Floats(values) => values.len() > 1,
        _ => false,
    }
}

/// How much copying an attribute is.
fn cost(value: &Attribute) -> usize {
    match value {
        Attribute::Float(_)
        | Attribute::Int(_)
        | Attribute::Tensor(_)
        | Attribute::Reference(_)
        | Attribute::Other(_) => 1,
        Attribute::String(text) => 1 + text.len() / 8,
        Attribute::Floats(values) => values.len(),
        Attribute::Ints(values) => values.len(),
        Attribute::Strings(values) => values.iter().map(|text| 1 + text.len() / 8).sum(),
        Attribute::Graph(graph) => graph_cost(graph),
        Attribute::Graphs(graphs) => graphs.iter().map(graph_cost).sum(),
    }
}

fn graph_cost(graph: &Subgraph) -> usize {
    let node = |n: &Node| 1 + n.inputs.len() + n.outputs.len() + n.attributes.values().map(cost).sum::<usize>();
    let body = graph.body.as_ref().map_or(0, |body| body.nodes.iter().map(node).sum());
    1 + graph.captures.len() + graph.initializers.len() + body
}
