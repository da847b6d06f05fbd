//! Parts of a graph that do the same, each with tensors of its own: the experts of a mixture, held one by one.
//!
//! Such *lanes* may change places with the entries of whatever picks among them. Three things are looked for, and each is
//! proved on the graph rather than guessed:
//!
//! - lanes *meet*, as terms of one sum (product, minimum, maximum, added up in any order, or scattered into one tensor) or
//!   as entries of one axis;
//! - walked from there towards the inputs, side by side, they are the same: operators, attributes, shapes, constants, and
//!   what they share; what differs are parameters of one shape, and entries that they pick, one after the other, of one
//!   axis;
//! - nothing else looks into a lane.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use super::{AxisRef, picks};
use crate::graph::op::{Binary, Scatter};
use crate::graph::{Graph, Node, NodeId, Op, ValueId, ValueSource};
use crate::symmetry::stack;

/// Lanes, and what stands in them. Whatever is listed lane by lane is in the order of the entries that they pick.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    /// Name of the stack of every parameter, and its tensors.
    pub(super) params: Vec<(String, Vec<ValueId>)>,
    /// What is computed in them.
    pub(super) values: Vec<Vec<ValueId>>,
    /// Nodes of all lanes but the first, which speaks for all.
    pub(super) silent: Vec<NodeId>,
    /// What is picked among them, by node of the first lane.
    pub(super) gates: BTreeMap<NodeId, Gate>,
    /// Where they are entries of one axis.
    pub(super) joined: Option<NodeId>,
}

/// How a lane picks what is its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gate {
    /// Lane `j` takes entry `first + j` of an axis.
    Entry { from: AxisRef, first: usize },
    /// Lane `j` asks where a value's numbers are `first + j`.
    Number { numbers: ValueId, first: usize },
}

impl Stack {
    /// Number of lanes.
    pub(super) fn lanes(&self) -> usize {
        self.params.first().map_or(0, |(_, tensors)| tensors.len())
    }
}

/// All stacks of a graph.
///
/// Cost: near linear in nodes and in the edges between them; what would take more is not looked for.
pub(super) fn find(graph: &Graph) -> Vec<Stack> {
    let finder = Finder::new(graph);
    let (mut found, mut taken, mut left) = (Vec::<Stack>::new(), BTreeSet::new(), 64 * (graph.values().len() + 64));
    for meeting in finder.meetings() {
        let mut classes: BTreeMap<Vec<u64>, Vec<&[ValueId]>> = BTreeMap::new();
        for term in &meeting.terms {
            classes.entry(term.iter().map(|v| finder.marks[v.0]).collect()).or_default().push(term);
        }
        let all = meeting.terms.len();
        for terms in classes.into_values().filter(|terms| terms.len() > 1) {
            if meeting.joined.is_some() && terms.len() != all {
                continue;
            }
            let Some(stack) = finder.stack(&meeting, &terms, &mut left) else { continue };
            let nodes = stack.values.iter().flatten();
            if nodes.clone().all(|v| !taken.contains(v)) {
                taken.extend(nodes.copied());
                found.push(stack);
            }
        }
    }
    found
}

/// Where values meet that may come in any order, or as entries of one axis.
struct Meeting {
    /// What each term is made of: one value, or the positions and numbers that are scattered.
    terms: Vec<Vec<ValueId>>,
    nodes: BTreeSet<NodeId>,
    joined: Option<NodeId>,
}

struct Finder<'g> {
    graph: &'g Graph,
    /// Nodes that read a value.
    readers: Vec<Vec<NodeId>>,
    is_output: BTreeSet<ValueId>,
    /// Equal where values are computed alike, whatever the parameters and whichever entry is picked.
    marks: Vec<u64>,
}

impl<'g> Finder<'g> {
    fn new(graph: &'g Graph) -> Self {
        let mut readers = vec![Vec::new(); graph.values().len()];
        for (k, node) in graph.nodes().iter().enumerate() {
            node.inputs.iter().for_each(|v| readers[v.0].push(NodeId(k)));
        }
        let mut marks = vec![0; graph.values().len()];
        for value in graph.ids() {
            marks[value.0] = match &graph.value(value).source {
                ValueSource::Param => hash(&("parameter", graph.shape(value))),
                ValueSource::Constant(tensor) if tensor.len() <= 16 => {
                    hash(&("constant", graph.shape(value), tensor.bytes().as_ref()))
                }
                ValueSource::Constant(_) => hash(&("constant", graph.shape(value))),
                ValueSource::Input | ValueSource::Node(..) => hash(&("value", value)),
            };
        }
        for node in graph.nodes() {
            let inputs: Vec<u64> = node.inputs.iter().map(|v| marks[v.0]).collect();
            let own = if let Some((from, _)) = picks::pick(graph, node) {
                hash(&("entry", marks[from.value.0], from.axis))
            } else if let Some((numbers, _)) = number(graph, node) {
                hash(&("number", marks[numbers.0]))
            } else {
                hash(&(format!("{:?}", node.op), inputs))
            };
            for (k, output) in node.outputs.iter().enumerate() {
                marks[output.0] = hash(&(own, k, graph.shape(*output)));
            }
        }
        Self { graph, readers, is_output: graph.outputs().iter().copied().collect(), marks }
    }

    /// Whether one node reads a value, and nothing else looks at it.
    fn read_once(&self, value: ValueId) -> bool {
        self.readers[value.0].len() == 1 && !self.is_output.contains(&value)
    }

    /// Largest sums of each kind, and concatenations of single entries, in the order of their last nodes.
    fn meetings(&self) -> Vec<Meeting> {
        let inner = |value: ValueId, how: Binary| match self.graph.value(value).source {
            ValueSource::Node(node, 0) if self.read_once(value) => {
                Some(node).filter(|node| sums(&self.graph.node(*node).op) == Some(how))
            }
            _ => None,
        };
        let mut found = Vec::new();
        for (k, node) in self.graph.nodes().iter().enumerate() {
            if let Op::Concat { axis } = &node.op {
                if node.inputs.len() > 1 && node.inputs.iter().all(|v| self.graph.shape(*v)[*axis] == 1) {
                    let terms = node.inputs.iter().map(|v| vec![*v]).collect();
                    found.push(Meeting { terms, nodes: BTreeSet::from([NodeId(k)]), joined: Some(NodeId(k)) });
                }
                continue;
            }
            let Some(how) = sums(&node.op) else { continue };
            let output = node.outputs[0];
            if let [reader] = self.readers[output.0][..]
                && !self.is_output.contains(&output)
                && sums(&self.graph.node(reader).op) == Some(how)
                && accumulated(self.graph.node(reader)).contains(&output)
            {
                continue;
            }
            let mut meeting = Meeting { terms: Vec::new(), nodes: BTreeSet::new(), joined: None };
            let mut open = vec![NodeId(k)];
            while let Some(id) = open.pop() {
                meeting.nodes.insert(id);
                let node = self.graph.node(id);
                for value in accumulated(node) {
                    match inner(*value, how) {
                        Some(node) => open.push(node),
                        None => meeting.terms.push(vec![*value]),
                    }
                }
                let scattered = &node.inputs[accumulated(node).len()..];
                if !scattered.is_empty() {
                    meeting.terms.push(scattered.to_vec());
                }
            }
            meeting.terms.reverse();
            found.push(meeting);
        }
        found
    }

    /// The stack of these terms, if they are lanes.
    fn stack(&self, meeting: &Meeting, terms: &[&[ValueId]], left: &mut usize) -> Option<Stack> {
        let (place, shared) = (BTreeMap::new(), BTreeSet::new());
        let mut walk = Walk { finder: self, place, shared, rows: Vec::new(), params: Vec::new(), left };
        walk.side_by_side(terms)?;
        let Walk { rows, params, place, shared, .. } = walk;
        if params.is_empty() || shared.iter().any(|v| place.contains_key(v)) {
            return None;
        }
        // Lanes are numbered as the entries that they pick.
        let entries = rows.iter().find_map(|row| row.gate.as_ref()).map(|(_, entries)| entries.clone());
        let entries = entries.or_else(|| meeting.joined.map(|_| (0..terms.len()).collect()))?;
        let mut order: Vec<usize> = (0..terms.len()).collect();
        order.sort_by_key(|lane| entries[*lane]);
        let follow = |entries: &[usize]| {
            order.windows(2).all(|pair| entries[pair[0]] + 1 == entries[pair[1]]).then(|| entries[order[0]])
        };
        if meeting.joined.is_some() && order.iter().enumerate().any(|(k, lane)| k != *lane) {
            return None;
        }
        let in_order = |row: &[ValueId]| -> Vec<ValueId> { order.iter().map(|lane| row[*lane]).collect() };
        let mut stack = Stack {
            params: Vec::new(),
            values: Vec::new(),
            silent: Vec::new(),
            gates: BTreeMap::new(),
            joined: meeting.joined,
        };
        let nodes: BTreeSet<NodeId> = rows.iter().flat_map(|row| row.nodes.iter().copied()).collect();
        for row in &rows {
            let in_turn: Vec<NodeId> = order.iter().map(|lane| row.nodes[*lane]).collect();
            if let Some((from, entries)) = &row.gate {
                let gate = match (*from, follow(entries)?) {
                    (Gate::Entry { from, .. }, first) => Gate::Entry { from, first },
                    (Gate::Number { numbers, .. }, first) => Gate::Number { numbers, first },
                };
                stack.gates.insert(in_turn[0], gate);
            }
            stack.silent.extend(&in_turn[1..]);
            stack.values.extend(row.outputs.iter().map(|outputs| in_order(outputs)));
        }
        for row in params {
            let row = in_order(&row);
            let names: Vec<&str> = row.iter().map(|v| self.graph.value(*v).name.as_str()).collect();
            stack.params.push((stack::named(&names)?, row));
        }
        // What stands in a lane is looked at there alone, or where lanes meet.
        let ends: BTreeSet<ValueId> = terms.iter().flat_map(|term| term.iter().copied()).collect();
        let inside = |value: &ValueId| {
            let own = |node: &NodeId| nodes.contains(node) || (ends.contains(value) && meeting.nodes.contains(node));
            !self.is_output.contains(value) && self.readers[value.0].iter().all(own)
        };
        let once =
            |value: &ValueId| self.readers[value.0].iter().filter(|node| meeting.nodes.contains(node)).count() == 1;
        (place.keys().all(inside) && ends.iter().all(once)).then_some(stack)
    }
}

/// Nodes that are the same in all lanes.
struct Row {
    nodes: Vec<NodeId>,
    /// By output, then by lane.
    outputs: Vec<Vec<ValueId>>,
    /// What they pick, and which entry each.
    gate: Option<(Gate, Vec<usize>)>,
}

struct Walk<'w, 'g> {
    finder: &'w Finder<'g>,
    /// Which value of which lane: what stands in one lane stands in no other.
    place: BTreeMap<ValueId, (ValueId, usize)>,
    /// What all lanes look at.
    shared: BTreeSet<ValueId>,
    rows: Vec<Row>,
    params: Vec<Vec<ValueId>>,
    left: &'w mut usize,
}

impl Walk<'_, '_> {
    /// Walks from where lanes meet towards the inputs; none where they differ.
    fn side_by_side(&mut self, terms: &[&[ValueId]]) -> Option<()> {
        let transposed = |of: &[&[ValueId]]| -> Vec<Vec<ValueId>> {
            (0..of[0].len()).map(|k| of.iter().map(|lane| lane[k]).collect()).collect()
        };
        let mut open = transposed(terms);
        while let Some(values) = open.pop() {
            *self.left = self.left.checked_sub(values.len())?;
            let (graph, first) = (self.finder.graph, values[0]);
            if values.iter().all(|v| *v == first) {
                self.shared.insert(first);
                continue;
            }
            if values.iter().any(|v| self.place.contains_key(v)) {
                let known = |(lane, v): (usize, &ValueId)| self.place.get(v) == Some(&(first, lane));
                values.iter().enumerate().all(known).then_some(())?;
                continue;
            }
            if values.iter().any(|v| graph.shape(*v) != graph.shape(first)) {
                return None;
            }
            let sources: Vec<&ValueSource> = values.iter().map(|v| &graph.value(*v).source).collect();
            if sources.iter().all(|s| matches!(s, ValueSource::Constant(_))) {
                sources.iter().all(|s| *s == sources[0]).then_some(())?;
                continue;
            }
            if sources.iter().all(|s| matches!(s, ValueSource::Param)) {
                self.enter(&values)?;
                self.params.push(values);
                continue;
            }
            let node = |source: &&ValueSource| match source {
                ValueSource::Node(node, _) => Some(*node),
                ValueSource::Input | ValueSource::Param | ValueSource::Constant(_) => None,
            };
            let ids: Vec<NodeId> = sources.iter().map(node).collect::<Option<_>>()?;
            let nodes: Vec<&Node> = ids.iter().map(|id| graph.node(*id)).collect();
            let outputs: Vec<&[ValueId]> = nodes.iter().map(|node| &node.outputs[..]).collect();
            if outputs.iter().any(|own| own.len() != outputs[0].len()) {
                return None;
            }
            let outputs = transposed(&outputs);
            outputs.contains(&values).then_some(())?;
            outputs.iter().try_for_each(|row| self.enter(row))?;
            let gate = gate(graph, &nodes);
            if let Some((Gate::Entry { from: AxisRef { value, .. }, .. } | Gate::Number { numbers: value, .. }, _)) =
                gate
            {
                self.shared.insert(value);
            } else {
                let same = |node: &&Node| node.op == nodes[0].op && node.inputs.len() == nodes[0].inputs.len();
                nodes.iter().all(same).then_some(())?;
                open.extend(transposed(&nodes.iter().map(|node| &node.inputs[..]).collect::<Vec<_>>()));
            }
            self.rows.push(Row { nodes: ids, outputs, gate });
        }
        Some(())
    }

    fn enter(&mut self, values: &[ValueId]) -> Option<()> {
        for (lane, value) in values.iter().enumerate() {
            if self.place.insert(*value, (values[0], lane)).is_some() {
                return None;
            }
        }
        Some(())
    }
}

/// What these nodes pick of one thing, an entry each; none where all pick the same.
fn gate(graph: &Graph, nodes: &[&Node]) -> Option<(Gate, Vec<usize>)> {
    let picked = nodes.iter().map(|node| picks::pick(graph, node)).collect::<Option<Vec<_>>>();
    if let Some(picked) = picked
        && picked.iter().all(|(from, _)| *from == picked[0].0)
        && picked.iter().any(|(_, entry)| *entry != picked[0].1)
    {
        return Some((
            Gate::Entry { from: picked[0].0, first: 0 },
            picked.into_iter().map(|(_, entry)| entry).collect(),
        ));
    }
    let asked = nodes.iter().map(|node| number(graph, node)).collect::<Option<Vec<_>>>()?;
    let (numbers, _) = asked[0];
    let one = asked.iter().all(|(own, _)| *own == numbers) && asked.iter().any(|(_, number)| *number != asked[0].1);
    one.then(|| (Gate::Number { numbers, first: 0 }, asked.into_iter().map(|(_, number)| number).collect()))
}

/// The value that a node compares with one whole number, and that number.
fn number(graph: &Graph, node: &Node) -> Option<(ValueId, usize)> {
    let (Op::Binary(Binary::Equal), [x, y]) = (&node.op, &node.inputs[..]) else { return None };
    let whole = |value: ValueId| {
        let ValueSource::Constant(tensor) = &graph.value(value).source else { return None };
        let [number] = tensor.to_f64().ok()?[..] else { return None };
        (number >= 0.0 && number.fract() == 0.0 && number < 1e9).then_some(number as usize)
    };
    match (whole(*x), whole(*y)) {
        (None, Some(number)) => Some((*x, number)),
        (Some(number), None) => Some((*y, number)),
        (None, None) | (Some(_), Some(_)) => None,
    }
}

/// The function whose terms may come in any order, if a node is one of it.
fn sums(op: &Op) -> Option<Binary> {
    match op {
        Op::Binary(how @ (Binary::Add | Binary::Mul | Binary::Min | Binary::Max)) => Some(*how),
        Op::ScatterElements { function, .. } => match function {
            Scatter::Set => None,
            Scatter::Add => Some(Binary::Add),
            Scatter::Mul => Some(Binary::Mul),
            Scatter::Min => Some(Binary::Min),
            Scatter::Max => Some(Binary::Max),
        },
        Op::Binary(
            Binary::Sub
            | Binary::Div
            | Binary::Pow
            | Binary::PRelu
            | Binary::Equal
            | Binary::Less
            | Binary::LessOrEqual
            | Binary::Greater
            | Binary::GreaterOrEqual
            | Binary::And
            | Binary::Or,
        )
        | Op::Linear
        | Op::MatMul
        | Op::Conv(_)
        | Op::ConvTranspose { .. }
        | Op::Pool(_)
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::GroupNorm { .. }
        | Op::LocalResponseNorm { .. }
        | Op::Unary(_)
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
        | Op::TopK { .. }
        | Op::CumSum { .. }
        | Op::NonZero
        | Op::Resize { .. }
        | Op::Recurrent { .. }
        | Op::Unknown(_) => None,
    }
}

/// The inputs of such a node that are terms, or sums of them.
fn accumulated(node: &Node) -> &[ValueId] {
    if matches!(node.op, Op::ScatterElements { .. }) { &node.inputs[..1] } else { &node.inputs }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
