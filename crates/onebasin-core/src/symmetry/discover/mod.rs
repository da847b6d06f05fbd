//! Symmetries discovered from a graph: what may be permuted in a network never seen before.
//!
//! Every axis of every value begins as an unknown. `rules` says, operator by operator, which unknowns are the same
//! units, which are products or concatenations of others, and which cannot move; inputs and outputs of the network stay.
//! Whatever is still free in a parameter is a group (`groups`), and `why` tells in words why the rest is not.

mod alike;
mod cases;
mod cut;
mod families;
mod forms;
mod groups;
mod held;
mod lanes;
mod picks;
mod positions;
mod rules;
mod stacks;
mod still;
mod taps;
mod terms;
mod unite;
mod unread;
mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use crate::graph::{Graph, NodeId, ValueId, ValueSource};
use crate::symmetry::{Pattern, SymmetrySpec};
use groups::Writer;
pub use held::Held;
use lanes::{Gate, Stack};
pub use rules::AxisRef;
use still::Still;
pub use taps::Tap;
use terms::{AtomId, Conflict, Terms};

/// What discovery found: the symmetry, and what it rests on.
///
/// [`spec`](Self::spec) is the symmetry, [`value_pattern`](Self::value_pattern) tells the same of values inside the
/// network, [`taps`](Self::taps) where to look at activations, and [`why`](Self::why) explains an axis in words.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::symmetry::discover;
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 4])?;
/// let h = g.linear("fc1", x, 3)?;
/// let h = g.relu(h)?;
/// let y = g.linear("fc2", h, 2)?;
/// g.output(y);
/// let found = discover(&g);
/// assert_eq!(found.spec().sizes["fc1"], 3);
/// assert_eq!(found.why("fc1.weight", 1)?[0], "axis 1 of `fc1.weight` is `.` in `fc1 .`");
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Discovery<'g> {
    graph: &'g Graph,
    spec: SymmetrySpec,
    terms: Terms,
    axes: Vec<Vec<AtomId>>,
    writer: Writer,
    /// The patterns of values that were asked for; none where no group stands in one.
    values: Vec<OnceLock<Option<Pattern>>>,
    relations: Vec<Relation>,
    reasons: BTreeMap<AxisRef, Reason>,
    stacks: Vec<Stack>,
}

/// Two axes that share units, by what a node does.
#[derive(Debug, Clone, Copy)]
struct Relation {
    a: AxisRef,
    b: AxisRef,
    node: NodeId,
}

/// Why an axis was fixed, and by which node; by none at the border of the network.
#[derive(Debug, Clone)]
struct Reason {
    text: String,
    node: Option<NodeId>,
}

/// Finds every unit of a network that may be exchanged.
///
/// Groups are named after the first parameter they stand in. Parameters that no node uses are fixed.
///
/// Cost: near linear in the number of axes, plus the lengths of constants. Work has a limit, far above what networks need:
/// beyond it nothing may be exchanged, and [`Discovery::why`] says so.
///
/// Source: the hand-written specifications of Ainsworth et al. 2023 are special cases; the rules are ours.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::symmetry::discover;
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 784])?;
/// let h = g.linear("fc1", x, 512)?;
/// let h = g.relu(h)?;
/// let y = g.linear("fc2", h, 10)?;
/// g.output(y);
/// let found = discover(&g);
/// assert_eq!(found.spec().tensors["fc1.weight"].to_string(), "fc1 .");
/// assert_eq!(found.spec().tensors["fc2.weight"].to_string(), ". fc1");
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn discover(graph: &Graph) -> Discovery<'_> {
    discover_holding(graph, &BTreeMap::new())
}

/// Finds every unit of a network that may be exchanged, some axes of parameters being held in place.
///
/// Shapes: `held` says for an axis why it stays, in words that follow `… stays: `.
///
/// A tensor that is the same in all networks that are compared and varies along an axis is no weight but part of the
/// architecture: rotary frequencies, filter banks, grids. Its units may be exchanged in each network on its own; between
/// networks they already correspond.
///
/// Cost: that of [`discover`].
///
/// ```
/// use std::collections::BTreeMap;
/// use onebasin_core::graph::Graph;
/// use onebasin_core::symmetry::{AxisRef, discover_holding};
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 4])?;
/// let h = g.linear("fc1", x, 3)?;
/// let h = g.relu(h)?;
/// let y = g.linear("fc2", h, 2)?;
/// g.output(y);
/// let bias = AxisRef { value: g.param_named("fc1.bias")?, axis: 0 };
/// let found = discover_holding(&g, &BTreeMap::from([(bias, "the same in both".to_owned())]));
/// assert_eq!(found.spec().tensors["fc2.weight"].to_string(), ". .");
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn discover_holding<'g>(graph: &'g Graph, held: &BTreeMap<AxisRef, String>) -> Discovery<'g> {
    // What all lanes share with those of other networks tells them apart; what one of them does may be chance.
    let values: BTreeSet<ValueId> = held.keys().map(|axis| axis.value).collect();
    let told_apart = |stack: &Stack| stack.params.iter().any(|(_, all)| all.iter().all(|v| values.contains(v)));
    let mut stacks: Vec<Stack> = lanes::find(graph).into_iter().filter(|stack| !told_apart(stack)).collect();
    for round in (0..ROUNDS).rev() {
        let (found, stay) = discover_with(graph, held, stacks.clone());
        if stay.iter().all(|stays| *stays) {
            return found;
        }
        let mut stay = stay.into_iter();
        stacks.retain(|_| stay.next() == Some(true) && round > 1);
    }
    discover_with(graph, held, Vec::new()).0
}

/// The same with every tensor on its own: experts that are held in separate tensors stay where they are.
///
/// Cost: that of [`discover`].
///
/// ```
/// use std::collections::BTreeMap;
/// use onebasin_core::graph::Graph;
/// use onebasin_core::symmetry::{discover, discover_one_by_one};
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 4])?;
/// let h = g.linear("fc1", x, 3)?;
/// let y = g.linear("fc2", h, 2)?;
/// g.output(y);
/// assert_eq!(discover_one_by_one(&g, &BTreeMap::new()).spec(), discover(&g).spec());
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn discover_one_by_one<'g>(graph: &'g Graph, held: &BTreeMap<AxisRef, String>) -> Discovery<'g> {
    discover_with(graph, held, Vec::new()).0
}

/// Searches at most, each with the stacks that the one before it left; the last has none.
const ROUNDS: usize = 4;

/// Finds what may be exchanged with these stacks, and which of them stay.
fn discover_with<'g>(
    graph: &'g Graph,
    held: &BTreeMap<AxisRef, String>,
    stacks: Vec<Stack>,
) -> (Discovery<'g>, Vec<bool>) {
    let mut d = Discoverer::new(graph);
    d.enter_stacks(stacks);
    search(&mut d);
    let single =
        |(axis, why): (&AxisRef, &String)| (!d.stacked.contains_key(&axis.value)).then(|| (*axis, why.clone()));
    let held: BTreeMap<AxisRef, String> = held.iter().filter_map(single).collect();
    if !held.is_empty() {
        groups::hold(&mut d, &held);
    }
    let mut found = groups::spec(&mut d);
    let mut stay = stacks::that_stay(&d, found.1.parents());
    if d.terms.gave_up() {
        stay = Vec::new();
        d = Discoverer::new(graph);
        graph.ids().for_each(|value| d.fix_all(value, "the network is too large, or nested too deep, to look through"));
        found = groups::spec(&mut d);
    }
    let (spec, writer) = found;
    let values = vec![OnceLock::new(); graph.values().len()];
    let Discoverer { terms, axes, relations, reasons, stacks, .. } = d;
    (Discovery { graph, spec, terms, axes, writer, values, relations, reasons, stacks }, stay)
}

/// Applies every rule.
fn search(d: &mut Discoverer<'_>) {
    let graph = d.graph;
    for input in graph.inputs() {
        d.fix_all(input, "an input of the network");
    }
    let still = Still::new(graph);
    let mut used = vec![false; graph.values().len()];
    for (k, node) in graph.nodes().iter().enumerate() {
        d.node = Some(NodeId(k));
        if d.terms.gave_up() {
            break;
        }
        node.inputs.iter().for_each(|v| used[v.0] = true);
        if d.of_stack(NodeId(k), node) {
            continue;
        }
        if node.outputs.iter().all(|v| still.is(*v)) {
            continue;
        }
        // Nobody permutes what is the same in every network: each node meets it anew.
        for value in node.inputs.iter().filter(|v| still.is(**v)) {
            d.renew(*value, &still);
        }
        rules::apply(d, node);
        for value in node.inputs.iter().filter(|v| still.is(**v)) {
            d.axes[value.0] = graph.shape(*value).iter().map(|n| d.terms.fixed(*n)).collect();
        }
    }
    d.node = None;
    positions::left(d);
    for output in graph.outputs() {
        d.fix_all(*output, "an output of the network");
    }
    for value in graph.ids().filter(|v| graph.value(*v).source == ValueSource::Param && !used[v.0]) {
        d.fix_all(value, "no node uses this parameter");
    }
    unread::fix_unread(d);
}

impl Discovery<'_> {
    /// The symmetry: a pattern for every parameter, and the size of every group.
    /// ```
    /// use onebasin_core::graph::{Graph, op::Conv};
    /// use onebasin_core::symmetry::discover;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 3, 4, 4])?;
    /// let h = g.conv("conv", x, 8, 3, Conv::square(1, 1), true)?;
    /// let h = g.relu(h)?;
    /// let h = g.flatten("flat", h)?;
    /// let y = g.linear("fc", h, 2)?;
    /// g.output(y);
    /// let found = discover(&g);
    /// assert_eq!(found.spec().tensors["conv.weight"].to_string(), "conv . . .");
    /// assert_eq!(found.spec().tensors["fc.weight"].to_string(), ". (conv 16)"); // every channel has 16 pixels
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn spec(&self) -> &SymmetrySpec {
        &self.spec
    }

    /// What the axes of a value are made of, in the groups of [`Self::spec`]; none where no unit of a group stands in it, or
    /// where units of a family do whose copies stand in other values: those of the other tensors of a stack.
    ///
    /// Numbers in products hold for the graph's batch alone. A family may stand on another axis than its parent, which
    /// [`Symmetry::layout`](crate::symmetry::Symmetry::layout) refuses.
    ///
    /// # Panics
    /// If the graph has no such value.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// use onebasin_core::symmetry::discover;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 784])?;
    /// let h = g.linear("fc1", x, 512)?;
    /// let h = g.relu(h)?;
    /// let y = g.linear("fc2", h, 10)?;
    /// g.output(y);
    /// let found = discover(&g);
    /// assert_eq!(found.value_pattern(h).map(ToString::to_string).as_deref(), Some(". fc1"));
    /// assert_eq!(found.value_pattern(y), None);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn value_pattern(&self, value: ValueId) -> Option<&Pattern> {
        let rank = self.graph.shape(value).len();
        let (own, lanes) = self.axes[value.0].split_at(rank);
        if lanes.iter().any(|lanes| self.writer.is_below(&self.terms, own, self.terms.find(*lanes))) {
            return None;
        }
        let written = || self.writer.value(&self.terms, own);
        self.values[value.0].get_or_init(written).as_ref()
    }

    /// Nodes whose operators are not known; everything they touch is fixed.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// use onebasin_core::symmetry::discover;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let y = g.push_unknown("mystery", "com.example.Mystery", &[x], &[vec![1, 4]])?[0];
    /// g.output(y);
    /// assert_eq!(discover(&g).unknown().map(|n| &n.name[..]).collect::<Vec<_>>(), ["mystery"]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn unknown(&self) -> impl Iterator<Item = &crate::graph::Node> {
        self.graph.nodes().iter().filter(|n| matches!(n.op, crate::graph::Op::Unknown(_)))
    }
}

/// The state of discovery, as rules see it.
struct Discoverer<'g> {
    graph: &'g Graph,
    terms: Terms,
    /// The unknown of every axis of every value.
    axes: Vec<Vec<AtomId>>,
    /// The node whose rule is being applied.
    node: Option<NodeId>,
    relations: Vec<Relation>,
    reasons: BTreeMap<AxisRef, Reason>,
    /// The axes that the numbers of values are positions on.
    positions: BTreeMap<ValueId, AxisRef>,
    /// Axes of values along which an operator mixes entries that it gives back.
    mixed: BTreeMap<ValueId, BTreeSet<usize>>,
    /// Rows of the left and columns of the right factor of a product of matrices: each meets each, so what stands beside them is the
    /// same for all.
    crossed: BTreeSet<AxisRef>,
    /// Axes of values whose entries are all picked one by one.
    picked: BTreeSet<AxisRef>,
    stacks: Vec<Stack>,
    /// The stack that a parameter stands for; none where another one does.
    stacked: BTreeMap<ValueId, Option<String>>,
    /// The virtual axis of every stack.
    lanes: Vec<AtomId>,
    /// Nodes that the first lane of their stack speaks for.
    silent: BTreeSet<NodeId>,
    gates: BTreeMap<NodeId, (usize, Gate)>,
    joined: BTreeMap<NodeId, usize>,
}

impl<'g> Discoverer<'g> {
    fn new(graph: &'g Graph) -> Self {
        let mut terms = Terms::default();
        let axes = graph.values().iter().map(|v| v.shape.iter().map(|n| terms.fresh(*n)).collect()).collect();
        let (relations, reasons, mixed) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (positions, picked) = (BTreeMap::new(), picks::all(graph));
        let (stacks, stacked, lanes, silent) = (Vec::new(), BTreeMap::new(), Vec::new(), BTreeSet::new());
        let (gates, joined) = (BTreeMap::new(), BTreeMap::new());
        Self {
            graph,
            terms,
            axes,
            node: None,
            relations,
            reasons,
            positions,
            mixed,
            crossed: BTreeSet::new(),
            picked,
            stacks,
            stacked,
            lanes,
            silent,
            gates,
            joined,
        }
    }

    /// What a parameter is called in patterns: by the name of its stack, if it is the first of one. Of the others of a stack
    /// nothing is written.
    fn param_name(&self, value: ValueId) -> Option<&str> {
        match self.stacked.get(&value) {
            Some(stack) => stack.as_deref(),
            None => Some(&self.graph.value(value).name),
        }
    }

    /// Parameters of which something is written.
    fn params(&self) -> impl Iterator<Item = ValueId> + use<'_, 'g> {
        let is_param = |value: &ValueId| self.graph.value(*value).source == ValueSource::Param;
        self.graph.ids().filter(move |value| is_param(value) && self.param_name(*value).is_some())
    }

    fn rank(&self, value: ValueId) -> usize {
        self.graph.shape(value).len()
    }

    fn len(&self, value: ValueId, axis: usize) -> usize {
        self.graph.shape(value)[axis]
    }

    fn atom(&self, at: AxisRef) -> AtomId {
        self.axes[at.value.0][at.axis]
    }

    fn fresh(&mut self, len: usize) -> AtomId {
        self.terms.fresh(len)
    }

    /// Two axes are the same units.
    fn tie(&mut self, a: AxisRef, b: AxisRef) {
        self.relate(a, b);
        let (x, y) = (self.atom(a), self.atom(b));
        self.unite(x, y, b, "its parts are cut in different places by what it is joined with");
    }

    /// An axis is made of these parts.
    fn make(&mut self, at: AxisRef, build: impl FnOnce(&mut Terms) -> AtomId, conflict: &str) {
        let made = build(&mut self.terms);
        let atom = self.atom(at);
        self.unite(atom, made, at, conflict);
    }

    fn unite(&mut self, a: AtomId, b: AtomId, at: AxisRef, conflict: &str) {
        if self.terms.unite(a, b) == Err(Conflict) {
            self.because(at, conflict);
        }
    }

    /// Two axes share units, as [`Discovery::why`] tells.
    fn relate(&mut self, a: AxisRef, b: AxisRef) {
        if let Some(node) = self.node {
            self.relations.push(Relation { a, b, node });
        }
    }

    /// An axis stays.
    fn fix(&mut self, at: AxisRef, reason: &str) {
        self.terms.fix(self.atom(at));
        self.because(at, reason);
    }

    fn because(&mut self, at: AxisRef, reason: &str) {
        let node = self.node;
        self.reasons.entry(at).or_insert_with(|| Reason { text: reason.to_owned(), node });
    }

    fn fix_all(&mut self, value: ValueId, reason: &str) {
        (0..self.rank(value)).for_each(|axis| self.fix(AxisRef { value, axis }, reason));
    }

    /// An operator mixes the entries along these axes of a value, and gives back as many: two copies of a family that
    /// stand along them would meet.
    fn mix(&mut self, value: ValueId, axes: impl IntoIterator<Item = usize>) {
        self.mixed.entry(value).or_default().extend(axes);
    }

    /// Unknowns of its own for a value that no input and no parameter decides. Where it is the same all along an axis it
    /// says nothing about it; else the axis stays.
    fn renew(&mut self, value: ValueId, still: &Still) {
        for axis in 0..self.rank(value) {
            let len = self.len(value, axis);
            self.axes[value.0][axis] = self.terms.fresh(len);
            if !still.uniform(value, axis) {
                self.fix(AxisRef { value, axis }, "a constant of the graph");
            }
        }
    }
}
