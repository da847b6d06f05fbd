//! Which operators of a graph can be solved, and for which of its values.

use serde::{Deserialize, Serialize};

use crate::graph::op::{Binary, Unary};
use crate::graph::{Graph, Node, NodeId, Op, ValueId, ValueSource};
use crate::repair::is_own;

/// A place of a graph where weights are solved: an operator with weights together with what follows it up to the next
/// non-linearity, or a normalisation that stands alone.
///
/// With `x` what reaches the operator, the site's *target* is `norm(W x + b) + Σ added`, each part where it has one.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::solve::sites;
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 8])?;
/// let h = g.linear("fc1", x, 8)?;
/// let sum = g.add_values("add", h, x)?;
/// let y = g.relu(sum)?;
/// g.output(y);
/// let (found, _) = sites(&g);
/// assert_eq!((found[0].target, &found[0].added[..], found[0].rectified), (sum, &[x][..], true));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// The operator with the weights, or the normalisation.
    pub node: NodeId,
    /// Its weights; none where a normalisation stands alone.
    pub layer: Option<Layer>,
    /// The normalisation that follows the weights, or stands alone.
    pub norm: Option<Norm>,
    /// Values that are added behind that: shortcuts.
    pub added: Vec<ValueId>,
    /// What the site is solved for.
    pub target: ValueId,
    /// The operator that gives the target.
    pub end: NodeId,
    /// Axis of the target, and of the operator's output, that counts units.
    pub axis: usize,
    /// Whether nothing but `max(target, 0)` is used, so that what lies below zero need only stay there.
    pub rectified: bool,
}

/// The weights of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// The weights.
    pub weight: ValueId,
    /// What is added to every unit: the operator's bias, or a parameter added behind it.
    pub bias: Option<ValueId>,
    /// How the weights lie.
    pub form: Form,
    /// Whether they are tied: used elsewhere too, by layers of the same form and bias, or by what looks units up by number
    /// ([`lookups`]). All uses are solved for at once.
    pub tied: bool,
}

/// How the weights of a unit lie in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `[units, inputs]`, of a linear layer.
    Rows,
    /// `[inputs, units]`, on the right of a matrix product.
    Columns,
    /// `[units, inputs / groups, kernel…]`, of a convolution in this many groups.
    Conv {
        /// Number of groups.
        groups: usize,
    },
}

impl Form {
    /// Groups, inputs of a group, and units of all groups, of weights of this shape.
    pub fn sizes(self, shape: &[usize]) -> [usize; 3] {
        match self {
            Self::Rows => [1, shape[1], shape[0]],
            Self::Columns => [1, shape[0], shape[1]],
            Self::Conv { groups } => [groups.max(1), shape[1..].iter().product(), shape[0]],
        }
    }
}

/// A normalisation whose parameters are all its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// The operator.
    pub node: NodeId,
    /// Its gain, if it has one.
    pub gain: Option<ValueId>,
    /// Its bias, if it has one.
    pub bias: Option<ValueId>,
    /// Running mean and variance of a BatchNorm; none for those that measure every sample.
    pub statistics: Option<[ValueId; 2]>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// An operator with parameters that is not solved: it keeps the average of the ends'.
///
/// ```
/// use onebasin_core::solve::LeftOut;
/// let left = LeftOut { node: "lstm".to_owned(), why: "recurrent layers are not solved".to_owned() };
/// assert_eq!(left.to_string(), "`lstm`: recurrent layers are not solved");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Name of the operator.
    pub node: String,
    /// What stands in the way.
    pub why: String,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", self.node, self.why)
    }
}

/// The sites of a graph, in running order, and the operators with parameters that are none.
///
/// From an operator with weights on, a site takes in what follows as long as nothing else reads the value: a parameter that
/// is added to every unit, a normalisation over the units with parameters of its own, values that are added and known before
/// the operator runs. It ends before everything else.
///
/// Cost: one pass over the inputs of all nodes for every parameter.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::solve::sites;
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 8])?;
/// let h = g.linear("tied", x, 8)?;
/// let h = g.relu(h)?;
/// let y = g.linear("tied", h, 8)?;
/// g.output(y);
/// let (found, left) = sites(&g);
/// assert!(left.is_empty() && found.iter().all(|site| site.layer.is_some_and(|layer| layer.tied)));
/// // A use of another kind stands in the way.
/// let weight = g.param_named("tied.weight")?;
/// let other = g.push("other", onebasin_core::graph::Op::MatMul, &[x, weight])?;
/// g.output(other);
/// let (found, left) = sites(&g);
/// assert!(found.is_empty());
/// assert_eq!(left[0].to_string(), "`tied`: its `tied.weight` is also used by `other`, in another way");
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn sites(graph: &Graph) -> (Vec<Site>, Vec<LeftOut>) {
    let finder = Finder::new(graph);
    let (mut found, mut left, mut taken) = (Vec::<Site>::new(), Vec::new(), Vec::new());
    for node in (0..graph.nodes().len()).map(NodeId) {
        let role = finder.role(node);
        let site = match role {
            Ok(Role::Layer(layer)) => finder.site(node, Some(layer), None).map(Some),
            Ok(Role::Norm(norm)) if !taken.contains(&node) && norm.values().next().is_some() => {
                finder.site(node, None, Some(norm)).map(Some)
            }
            Ok(Role::Norm(_)) => Ok(None),
            Ok(Role::Other) => match finder.averaged(node) {
                Some(value) if !found.iter().any(|site| site.bias() == Some(value)) => {
                    Err(format!("its `{}` is no weight, gain or bias of a layer", graph.value(value).name))
                }
                Some(_) | None => Ok(None),
            },
            Err(why) => Err(why),
        };
        let site = site.unwrap_or_else(|why| {
            left.push(LeftOut { node: graph.node(node).name.clone(), why });
            finder.statistics(node).and_then(|norm| finder.site(node, None, Some(norm)).ok())
        });
        if let Some(site) = site {
            taken.extend(site.norm.map(|norm| norm.node));
            found.push(site);
        }
    }
    let torn: Vec<ValueId> = finder.torn(&found);
    found.retain(|site| {
        let Some(layer) = site.layer.filter(|layer| torn.contains(&layer.weight)) else { return true };
        let weight = &graph.value(layer.weight).name;
        let why = format!("its `{weight}` is used more than once, and not everywhere with what can be solved");
        left.push(LeftOut { node: graph.node(site.node).name.clone(), why });
        false
    });
    // What looks units up in weights that are solved elsewhere is solved with them.
    let looks_up = |node: &NodeId| {
        let weights = found.iter().filter_map(|site| site.layer).map(|layer| layer.weight);
        weights.into_iter().any(|weight| is_lookup(graph.node(*node), weight))
    };
    let solved: Vec<&str> =
        (0..graph.nodes().len()).map(NodeId).filter(looks_up).map(|node| &graph.node(node).name[..]).collect();
    left.retain(|left| !solved.contains(&&left.node[..]));
    (found, left)
}

/// Nodes that pick units of a `[units, inputs]` weight by number, as an embedding does.
///
/// ```
/// use onebasin_core::graph::{Graph, Op};
/// use onebasin_core::solve::lookups;
/// let mut g = Graph::new();
/// let tokens = g.input("tokens", &[1, 8])?;
/// let table = g.param("embedding", &[50, 16])?;
/// let x = g.push("tokens.embedding", Op::Gather { axis: 0 }, &[table, tokens])?;
/// g.output(x);
/// let names = lookups(&g, table).map(|node| &g.node(node).name);
/// assert_eq!(names.collect::<Vec<_>>(), ["tokens.embedding"]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn lookups(graph: &Graph, weight: ValueId) -> impl Iterator<Item = NodeId> + '_ {
    (0..graph.nodes().len()).map(NodeId).filter(move |node| is_lookup(graph.node(*node), weight))
}

/// Whether a node picks entries of the first axis of a parameter, and does nothing else with it.
fn is_lookup(node: &Node, weight: ValueId) -> bool {
    node.op == Op::Gather { axis: 0 } && node.inputs[0] == weight && node.inputs[1..].iter().all(|v| *v != weight)
}

/// The parameters that an operator uses, as they stand or computed without any input.
///
/// Cost: one pass over the graph.
///
/// ```
/// use onebasin_core::graph::op::Unary;
/// use onebasin_core::graph::{Graph, NodeId, Op};
/// use onebasin_core::solve::parameters_of;
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 8])?;
/// let weight = g.param("weight", &[8, 8])?;
/// let weight = g.push("exp", Op::Unary(Unary::Exp), &[weight])?;
/// let y = g.push("product", Op::MatMul, &[x, weight])?;
/// g.output(y);
/// let names = parameters_of(&g, NodeId(1)).into_iter().map(|v| &g.value(v).name);
/// assert_eq!(names.collect::<Vec<_>>(), ["weight"]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn parameters_of(graph: &Graph, node: NodeId) -> Vec<ValueId> {
    let finder = Finder::new(graph);
    let mut open = graph.node(node).inputs.clone();
    let (mut found, mut seen) = (Vec::new(), vec![false; graph.values().len()]);
    while let Some(value) = open.pop() {
        if std::mem::replace(&mut seen[value.0], true) {
            continue;
        }
        match graph.value(value).source {
            ValueSource::Param => found.push(value),
            ValueSource::Node(from, _) if finder.weighs(value) => open.extend(&graph.node(from).inputs),
            ValueSource::Node(..) | ValueSource::Input | ValueSource::Constant(_) => {}
        }
    }
    found
}

impl Site {
    /// What is added to every unit.
    fn bias(&self) -> Option<ValueId> {
        self.layer.and_then(|layer| layer.bias)
    }
}

impl Norm {
    /// Its parameters.
    fn values(&self) -> impl Iterator<Item = ValueId> {
        [self.gain, self.bias].into_iter().chain(self.statistics.into_iter().flatten().map(Some)).flatten()
    }
}

/// What an operator is to a solve.
enum Role {
    /// It has weights.
    Layer(Layer),
    /// It normalises.
    Norm(Norm),
    /// It has nothing to be solved.
    Other,
}

/// A graph being looked through.
struct Finder<'g> {
    graph: &'g Graph,
    /// Nodes that read every value; outputs of the graph count as one more than there are nodes.
    readers: Vec<Vec<usize>>,
    /// The parameter that every value is, or is computed from without any input.
    parameter: Vec<Option<ValueId>>,
}

impl<'g> Finder<'g> {
    fn new(graph: &'g Graph) -> Self {
        let mut readers = vec![Vec::new(); graph.values().len()];
        for (at, node) in graph.nodes().iter().enumerate() {
            node.inputs.iter().for_each(|v| readers[v.0].push(at));
        }
        graph.outputs().iter().for_each(|v| readers[v.0].push(graph.nodes().len()));
        let mut parameter = vec![None; graph.values().len()];
        let mut of_inputs = vec![false; graph.values().len()];
        for at in 0..graph.values().len() {
            match graph.values()[at].source {
                ValueSource::Param => parameter[at] = Some(ValueId(at)),
                ValueSource::Input => of_inputs[at] = true,
                ValueSource::Node(..) | ValueSource::Constant(_) => {}
            }
        }
        for node in graph.nodes() {
            let from_inputs = node.inputs.iter().any(|v| of_inputs[v.0]);
            let first = node.inputs.iter().find_map(|v| parameter[v.0]).filter(|_| !from_inputs);
            for output in &node.outputs {
                (of_inputs[output.0], parameter[output.0]) = (from_inputs, first);
            }
        }
        Self { graph, readers, parameter }
    }

    /// Whether a value is a parameter, or computed from some without any input.
    fn weighs(&self, value: ValueId) -> bool {
        self.parameter[value.0].is_some()
    }

    /// The first parameter that a node uses on what comes from inputs.
    fn averaged(&self, node: NodeId) -> Option<ValueId> {
        let Node { inputs, outputs, .. } = self.graph.node(node);
        let on_inputs = !outputs.iter().any(|v| self.weighs(*v));
        inputs.iter().find_map(|v| self.parameter[v.0]).filter(|_| on_inputs)
    }

    /// What an operator is; an error if it has parameters that cannot be solved.
    fn role(&self, node: NodeId) -> Result<Role, String> {
        let Node { op, inputs, .. } = self.graph.node(node);
        let is_param = |v: &ValueId| self.graph.value(*v).source == ValueSource::Param;
        let norm = |epsilon: f64, statistics: Option<[ValueId; 2]>| {
            let (gain, bias) = (inputs.get(1).copied(), inputs.get(2).copied());
            Role::Norm(Norm { node, gain, bias, statistics, epsilon })
        };
        let role = match (self.layer(node), op) {
            (Some(layer), _) => Role::Layer(layer),
            (None, Op::BatchNorm { epsilon }) => norm(*epsilon, Some([inputs[3], inputs[4]])),
            (None, Op::GroupNorm { epsilon, .. } | Op::LayerNorm { epsilon, .. }) => norm(*epsilon, None),
            (None, Op::MatMul) if self.weighs(inputs[0]) != self.weighs(inputs[1]) => {
                return Err("its weights are computed, stand on the left of a product, or are many matrices".to_owned());
            }
            (None, Op::ConvTranspose { .. }) if inputs[1..].iter().any(|v| self.weighs(*v)) => {
                return Err("transposed convolutions are not solved".to_owned());
            }
            (None, Op::Recurrent { .. }) if inputs[1..].iter().any(|v| self.weighs(*v)) => {
                return Err("recurrent layers are not solved".to_owned());
            }
            (
                None,
                Op::Linear
                | Op::Conv(_)
                | Op::MatMul
                | Op::ConvTranspose { .. }
                | Op::Recurrent { .. }
                | Op::Pool(_)
                | Op::LocalResponseNorm { .. }
                | Op::Unary(_)
                | Op::Binary(_)
                | Op::Where
                | Op::Softmax { .. }
                | Op::Reduce { .. }
                | Op::Reshape(_)
                | Op::Transpose(_)
                | Op::Concat { .. }
                | Op::Slice { .. }
                | Op::Pad { .. }
                | Op::Expand(_)
                | Op::Gather { .. }
                | Op::GatherElements { .. }
                | Op::ScatterElements { .. }
                | Op::TopK { .. }
                | Op::CumSum { .. }
                | Op::NonZero
                | Op::Resize { .. }
                | Op::Unknown(_),
            ) => return Ok(Role::Other),
        };
        let values: Vec<ValueId> = match &role {
            Role::Layer(layer) if is_param(&inputs[0]) => {
                let weight = &self.graph.value(layer.weight).name;
                return Err(format!("what it multiplies `{weight}` with is a parameter too"));
            }
            Role::Layer(layer) => [Some(layer.weight), layer.bias].into_iter().flatten().collect(),
            Role::Norm(norm) => norm.values().collect(),
            Role::Other => Vec::new(),
        };
        if !values.is_empty() && !values.iter().any(|v| self.weighs(*v)) {
            return Ok(Role::Other);
        }
        for value in values {
            let name = &self.graph.value(value).name;
            if !is_param(&value) {
                return Err(match self.parameter[value.0] {
                    Some(of) => format!("its `{name}` is computed from `{}`", self.graph.value(of).name),
                    None => format!("its `{name}` is no parameter"),
                });
            }
            let tied = matches!(role, Role::Layer(layer) if layer.tied);
            if !tied && !is_own(self.graph, value) {
                return Err(format!("its `{name}` is used more than once"));
            }
        }
        if let Role::Layer(layer) = &role
            && layer.tied
        {
            self.check_tied(layer)?;
        }
        Ok(role)
    }

    /// The weights of an operator that multiplies what reaches it with them.
    fn layer(&self, node: NodeId) -> Option<Layer> {
        let Node { op, inputs, .. } = self.graph.node(node);
        let made = |bias: Option<ValueId>, form| {
            let weight = inputs[1];
            let is_param = self.graph.value(weight).source == ValueSource::Param;
            Layer { weight, bias, form, tied: is_param && self.readers[weight.0].len() > 1 }
        };
        match op {
            Op::Linear => Some(made(inputs.get(2).copied(), Form::Rows)),
            Op::Conv(conv) => Some(made(inputs.get(2).copied(), Form::Conv { groups: conv.groups })),
            Op::MatMul => {
                let weight = inputs[1];
                let is_matrix = self.graph.shape(weight).len() == 2;
                let is_param = self.graph.value(weight).source == ValueSource::Param;
                (is_param && is_matrix).then(|| made(None, Form::Columns))
            }
            Op::ConvTranspose { .. }
            | Op::Recurrent { .. }
            | Op::BatchNorm { .. }
            | Op::GroupNorm { .. }
            | Op::LayerNorm { .. }
            | Op::Pool(_)
            | Op::LocalResponseNorm { .. }
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Where
            | Op::Softmax { .. }
            | Op::Reduce { .. }
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Expand(_)
            | Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::ScatterElements { .. }
            | Op::TopK { .. }
            | Op::CumSum { .. }
            | Op::NonZero
            | Op::Resize { .. }
            | Op::Unknown(_) => None,
        }
    }

    /// The layers that use the weights of one.
    fn uses(&self, weight: ValueId) -> impl Iterator<Item = NodeId> + '_ {
        let readers = self.readers[weight.0].iter().map(|at| NodeId(*at));
        readers.filter(move |node| self.graph.nodes().get(node.0).is_some_and(|node| !is_lookup(node, weight)))
    }

    /// Passes only if all uses of a layer's weights can be solved together.
    fn check_tied(&self, layer: &Layer) -> Result<(), String> {
        let name = &self.graph.value(layer.weight).name;
        if self.readers[layer.weight.0].contains(&self.graph.nodes().len()) {
            return Err(format!("its `{name}` is an output of the network as well"));
        }
        let is_rows = layer.form == Form::Rows;
        if let Some(lookup) = lookups(self.graph, layer.weight).find(|_| !is_rows) {
            return Err(format!("its `{name}` is also used by `{}`, in another way", self.graph.node(lookup).name));
        }
        let mut uses = 0;
        for node in self.uses(layer.weight) {
            uses += 1;
            let Node { name: other, inputs, .. } = self.graph.node(node);
            let own = self.graph.value(inputs[0]).source == ValueSource::Param;
            match self.layer(node) {
                Some(found) if found.weight == layer.weight && found.form == layer.form && !own => {
                    if found.bias != layer.bias {
                        return Err(format!("its `{name}` is also used by `{other}`, with another bias"));
                    }
                }
                Some(_) | None => return Err(format!("its `{name}` is also used by `{other}`, in another way")),
            }
        }
        match layer.bias {
            Some(bias) if self.readers[bias.0].len() != uses => {
                let bias = &self.graph.value(bias).name;
                Err(format!("its `{bias}` is used more often than its `{name}`"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a parameter is added behind all uses of weights, and used nowhere else.
    fn is_tied_bias(&self, bias: ValueId, layer: &Layer) -> bool {
        let adds = |at: &usize| {
            let node = self.graph.nodes().get(*at).filter(|node| node.op == Op::Binary(Binary::Add));
            let of_layer = |value: &ValueId| match self.graph.value(*value).source {
                ValueSource::Node(from, _) => self.layer(from).is_some_and(|found| found.weight == layer.weight),
                ValueSource::Input | ValueSource::Param | ValueSource::Constant(_) => false,
            };
            node.is_some_and(|node| node.inputs.iter().any(of_layer))
        };
        let readers = &self.readers[bias.0];
        layer.tied && readers.len() == self.uses(layer.weight).count() && readers.iter().all(adds)
    }

    /// Tied weights of which not all uses are sites, or not with the same bias.
    fn torn(&self, sites: &[Site]) -> Vec<ValueId> {
        let tied: Vec<Layer> = sites.iter().filter_map(|site| site.layer).filter(|layer| layer.tied).collect();
        let is_torn = |layer: &&Layer| {
            let same = tied.iter().filter(|other| other.weight == layer.weight && other.bias == layer.bias);
            same.count() != self.uses(layer.weight).count()
        };
        tied.iter().filter(is_torn).map(|layer| layer.weight).collect()
    }

    /// A BatchNorm of which only the statistics are its own: they can be measured, and nothing else.
    fn statistics(&self, node: NodeId) -> Option<Norm> {
        let Node { op: Op::BatchNorm { epsilon }, inputs, .. } = self.graph.node(node) else { return None };
        let statistics = [inputs[3], inputs[4]];
        let own = statistics.iter().all(|v| is_own(self.graph, *v));
        own.then_some(Norm { node, gain: None, bias: None, statistics: Some(statistics), epsilon: *epsilon })
    }

    /// The axis that counts units in what an operator gives, for a layer of this form or a normalisation; none where units
    /// are counted by several.
    fn units(&self, node: NodeId, form: Option<Form>) -> Option<usize> {
        let Node { op, outputs, .. } = self.graph.node(node);
        match (form, op) {
            (Some(Form::Rows | Form::Columns), _) => self.graph.shape(outputs[0]).len().checked_sub(1),
            (None, Op::LayerNorm { axes, .. }) => axes.first().copied().filter(|_| axes.len() == 1),
            (Some(Form::Conv { .. }) | None, _) => Some(1),
        }
    }

    /// The one node that reads a value, if there is just one and it reads it once.
    fn reader(&self, value: ValueId) -> Option<NodeId> {
        match self.readers[value.0][..] {
            [node] if node < self.graph.nodes().len() => Some(NodeId(node)),
            _ => None,
        }
    }

    /// Whether a value is known before a node runs, without being one of a later one.
    fn is_before(&self, value: ValueId, node: NodeId) -> bool {
        match self.graph.value(value).source {
            ValueSource::Node(from, _) => from.0 < node.0,
            ValueSource::Input => true,
            ValueSource::Param | ValueSource::Constant(_) => false,
        }
    }

    /// The site that starts at a node with weights, or at a normalisation.
    fn site(&self, node: NodeId, mut layer: Option<Layer>, mut norm: Option<Norm>) -> Result<Site, String> {
        let graph = self.graph;
        let mut target = graph.node(node).outputs[0];
        let shape = graph.shape(target).to_vec();
        let axis = self.units(node, layer.map(|layer| layer.form)).filter(|axis| (1..shape.len()).contains(axis));
        let axis = axis.ok_or("its units are not counted by one axis behind the batch")?;
        let units = shape[axis];
        let (mut end, mut added) = (node, Vec::new());
        while let Some(next) = self.reader(target) {
            let Node { op, inputs, outputs, .. } = graph.node(next);
            if let Ok(Role::Norm(found)) = self.role(next) {
                let fits = inputs[0] == target && self.units(next, None) == Some(axis);
                let is_tied = layer.is_some_and(|layer| layer.tied);
                if is_tied || norm.is_some() || !added.is_empty() || !fits {
                    break;
                }
                norm = Some(found);
            } else if *op == Op::Binary(Binary::Add) {
                let other = if inputs[0] == target { inputs[1] } else { inputs[0] };
                let fits = graph.shape(outputs[0]) == shape;
                let is_bias = graph.value(other).source == ValueSource::Param
                    && (is_own(graph, other) || layer.is_some_and(|layer| self.is_tied_bias(other, &layer)))
                    && along(graph.shape(other), shape.len(), axis, units);
                let may_be = added.is_empty() && norm.is_none();
                if let (true, Some(layer)) = (is_bias && fits && may_be, &mut layer)
                    && layer.bias.is_none()
                {
                    layer.bias = Some(other);
                } else if fits && graph.shape(other) == shape && self.is_before(other, node) {
                    added.push(other);
                } else {
                    break;
                }
            } else if *op != Op::Unary(Unary::Identity) {
                break;
            }
            (target, end) = (outputs[0], next);
        }
        let rectifies = |reader: &usize| graph.nodes().get(*reader).is_some_and(|n| n.op == Op::Unary(Unary::Relu));
        let rectified = !self.readers[target.0].is_empty() && self.readers[target.0].iter().all(rectifies);
        Ok(Site { node, layer, norm, added, target, end, axis, rectified })
    }
}

/// Whether a shape, broadcast to this rank, has `units` entries along `axis` and one along all others.
fn along(shape: &[usize], rank: usize, axis: usize, units: usize) -> bool {
    let Some(first) = rank.checked_sub(shape.len()) else { return false };
    let len = |at: usize| at.checked_sub(first).map_or(1, |at| shape[at]);
    (0..rank).all(|at| len(at) == if at == axis { units } else { 1 })
}
