//! Width: a network in which units that have no partner stand side by side.
//!
//! Averaging two units that do not correspond loses both. [`Widener`] says which groups of a graph can get more units, and
//! [`Wide`] is the graph in which some of them do: a unit of A and one of B that are averaged keep one place, a pair that
//! is kept apart has two. Both networks are embedded in it ([`Wide::embed`]) and compute there what they did before, so
//! that all that works on two networks of one graph works on these.
//!
//! Source: the widths of PLeaS (Nasery et al. 2024, arXiv 2407.02447) and ZipIt! (Stoica et al. 2023), with one choice for
//! every group; Partial Fusion (arXiv 2605.22350) chooses by transport instead.

mod embed;
mod follow;
mod loosen;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, ValueId, ValueSource};
use crate::params::Params;
use crate::symmetry::{GroupId, Pattern, Symmetry, Term, TermKind, discover_one_by_one, runs};
use crate::tensor::{Tensor, element_count};
pub use embed::{End, Wide};
use loosen::Inserted;

/// A group that keeps its width, and why.
///
/// ```
/// use onebasin_core::widen::Kept;
/// let kept = Kept { group: "conv1".to_owned(), why: "LayerNorm `norm1` averages over its units".to_owned() };
/// assert_eq!(kept.to_string(), "`conv1`: LayerNorm `norm1` averages over its units");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Name of the group.
    pub group: String,
    /// What stands in the way.
    pub why: String,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", crate::names::escaped(&self.group), self.why)
    }
}

/// A graph that can be widened: which groups may get more units, and what becomes of shapes and attributes then.
///
/// Channels that padding adds to a residual stream ([`Op::Pad`](crate::graph::Op::Pad) with zeros, as "option A" shortcuts
/// have it) tie the units of two stages by number. In the graph of a widener each such padding is a convolution of one
/// tap with a parameter of its own, so that every stage is a group; [`Self::loosened`] gives that parameter its values.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::widen::Widener;
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 4])?;
/// let h = g.linear("fc1", x, 6)?;
/// let h = g.relu(h)?;
/// let y = g.linear("fc2", h, 2)?;
/// g.output(y);
/// let widener = Widener::new(&g)?;
/// let wide = widener.sized(&[("fc1".to_owned(), 9)].into())?;
/// assert_eq!(wide.shape(wide.param_named("fc2.weight")?), [2, 9]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Widener {
    graph: Graph,
    inserted: Vec<Inserted>,
    symmetry: Symmetry,
    patterns: Vec<Option<Pattern>>,
    /// Groups that may get more units.
    free: BTreeSet<GroupId>,
    kept: Vec<Kept>,
}

/// A node whose shapes do not follow, and why.
struct Misfit {
    node: NodeId,
    why: String,
}

impl Widener {
    /// Looks at a graph: which groups may get more units.
    ///
    /// A group keeps its width ([`Self::kept`]) where a unit that computes nothing would still change what others compute
    /// (a normalisation, a softmax or a reduction over the units), where it belongs to a family or stands in one product with
    /// another group or in slices, and where an attribute of an operator does not follow.
    ///
    /// Cost: that of [`discover`](crate::symmetry::discover), and one inference of shapes for every operator that stands in the way.
    ///
    /// # Errors
    /// If a shape does not fit this machine, or the symmetry cannot be resolved.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// use onebasin_core::widen::Widener;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 3, 4, 4])?;
    /// let h = g.conv("conv", x, 8, 1, onebasin_core::graph::op::Conv::square(1, 0), false)?;
    /// let h = g.channel_norm("norm", h)?;
    /// let h = g.flatten("flat", h)?;
    /// let y = g.linear("fc", h, 2)?;
    /// g.output(y);
    /// let widener = Widener::new(&g)?;
    /// assert_eq!(widener.kept()[0].to_string(), "`conv`: LayerNorm `norm` averages over its units");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn new(graph: &Graph) -> Result<Self> {
        let (graph, inserted) = loosen::loosened(graph)?;
        let (symmetry, patterns) = {
            let found = discover_one_by_one(&graph, &BTreeMap::new());
            let patterns = graph.ids().map(|value| found.value_pattern(value).cloned()).collect::<Vec<_>>();
            (Symmetry::resolve(found.spec(), &shapes_of(&graph)?)?, patterns)
        };
        let free = (0..symmetry.groups().len()).map(GroupId).collect();
        let mut widener = Self { graph, inserted, symmetry, patterns, free, kept: Vec::new() };
        widener.keep_families();
        widener.keep_written();
        widener.keep_mixed();
        widener.keep_rigid()?;
        widener.kept.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(widener)
    }

    /// The graph before it is widened, with a parameter in place of every padding of channels.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The symmetry of the parameters of [`Self::graph`].
    pub fn symmetry(&self) -> &Symmetry {
        &self.symmetry
    }

    /// What the axes of a value of [`Self::graph`] are made of, if units stand in it.
    ///
    /// # Panics
    /// If the graph has no such value.
    pub fn pattern(&self, value: ValueId) -> Option<&Pattern> {
        self.patterns[value.0].as_ref()
    }

    /// Whether units of a group that may get more stand along an axis of a value.
    pub fn is_free_along(&self, value: ValueId, axis: usize) -> bool {
        let names = self.pattern(value).and_then(|pattern| pattern.axes.get(axis)).map(groups_of).unwrap_or_default();
        let group = |name: &String| self.symmetry.group_named(name).is_ok_and(|group| self.free.contains(&group));
        names.iter().any(group)
    }

    /// Groups that may get more units.
    pub fn free(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.free.iter().copied()
    }

    /// Groups that keep their width, by name.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Nodes that stand for paddings of channels.
    pub fn shortcuts(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.inserted.iter().map(|inserted| inserted.node)
    }

    /// A network of the graph that was looked at, as one of [`Self::graph`]: the parameters that stand for paddings have ones
    /// where a channel is handed on. It computes the same.
    ///
    /// # Errors
    /// If a tensor of the graph is missing.
    pub fn loosened(&self, params: &Params) -> Result<Params> {
        let mut found = Params::new();
        for value in self.graph.params() {
            let tensor = match self.inserted.iter().find(|inserted| inserted.parameter == value.name) {
                Some(inserted) => inserted.tensor(&value.shape)?,
                None => params.require(&value.name)?.clone(),
            };
            found.insert(&value.name, tensor);
        }
        Ok(found)
    }

    /// The graph with these numbers of units, by group; groups that are not named keep theirs.
    ///
    /// Cost: one inference of shapes per node.
    ///
    /// # Errors
    /// [`Error::Graph`] if a group is not known, keeps its width, or would have fewer units than it has.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// use onebasin_core::widen::Widener;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let h = g.linear("fc1", x, 6)?;
    /// let y = g.linear("fc2", h, 2)?;
    /// g.output(y);
    /// let widener = Widener::new(&g)?;
    /// let error = widener.sized(&[("fc1".to_owned(), 5)].into()).unwrap_err();
    /// assert_eq!(error.to_string(), "node `fc1`: a group of 6 units cannot become one of 5");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn sized(&self, sizes: &BTreeMap<String, usize>) -> Result<Graph> {
        let mut wide: Vec<usize> = self.symmetry.groups().iter().map(|group| group.size).collect();
        for (name, size) in sizes {
            let group = self.symmetry.group_named(name)?;
            let narrow = wide[group.0];
            let fail = |why| Err(Error::Graph { node: name.clone(), why });
            if *size < narrow {
                return fail(format!("a group of {narrow} units cannot become one of {size}"));
            }
            if *size > narrow && !self.free.contains(&group) {
                let kept = self.kept.iter().find(|kept| kept.group == *name).map_or("", |kept| &kept.why);
                return fail(format!("a group that keeps its {narrow} units: {kept}"));
            }
            wide[group.0] = *size;
        }
        self.graph_of(&wide)?
            .map_err(|Misfit { node, why }| Error::Graph { node: self.graph.node(node).name.clone(), why })
    }

    /// Lets a group keep its width.
    fn keep(&mut self, group: GroupId, why: String) {
        if self.free.remove(&group) {
            self.kept.push(Kept { group: self.symmetry.group(group).name.clone(), why });
        }
    }

    /// Families, and what indexes them.
    fn keep_families(&mut self) {
        let groups: Vec<Option<GroupId>> = self.symmetry.groups().iter().map(|group| group.parent).collect();
        for (id, parent) in groups.into_iter().enumerate() {
            if let Some(parent) = parent {
                let family = self.symmetry.group(GroupId(id)).name.clone();
                self.keep(GroupId(id), "it is a family of groups".to_owned());
                self.keep(parent, format!("it indexes the family `{family}`"));
            }
        }
    }

    /// Groups that stand in slices, in one product with another, or in no parameter whose rows they are.
    fn keep_written(&mut self) {
        let of_params = self.symmetry.tensors().map(|(name, layout)| (name.to_owned(), layout.pattern.clone()));
        let of_values = self
            .graph
            .ids()
            .filter_map(|value| Some((self.graph.value(value).name.clone(), self.patterns[value.0].clone()?)));
        let all: Vec<(String, Pattern)> = of_params.chain(of_values).collect();
        for (place, pattern) in &all {
            let runs = runs(pattern);
            for (axis, term) in pattern.axes.iter().enumerate() {
                let (mut sliced, mut joined) = (Vec::new(), Vec::new());
                written(term, &mut sliced, &mut joined);
                if runs.iter().any(|run| run.len() > 1 && run.contains(&axis)) {
                    joined.extend(groups_of(term));
                }
                for (names, what) in [(sliced, "stands in slices"), (joined, "stands in one product with other units")]
                {
                    for name in names {
                        if let Ok(group) = self.symmetry.group_named(&name) {
                            self.keep(group, format!("it {what} in `{pattern}` of `{place}`"));
                        }
                    }
                }
            }
        }
    }

    /// Groups over which an operator of values that are computed takes sums.
    fn keep_mixed(&mut self) {
        let mut found = Vec::new();
        for node in self.graph.nodes() {
            let computed = |at: usize| {
                let source = node.inputs.get(at).map(|v| &self.graph.value(*v).source);
                matches!(source, Some(ValueSource::Node(..) | ValueSource::Input))
            };
            let ranks: Vec<usize> = node.inputs.iter().map(|v| self.graph.shape(*v).len()).collect();
            let channels = node.inputs.first().and_then(|x| self.graph.shape(*x).get(1)).copied().unwrap_or(0);
            let constant = |at: usize| {
                let source = node.inputs.get(at).map(|v| &self.graph.value(*v).source);
                matches!(source, Some(ValueSource::Constant(_)))
            };
            for (input, axis, what) in follow::mixed(&node.op, &ranks, channels, &computed, &constant) {
                let pattern = node.inputs.get(input).and_then(|v| self.patterns[v.0].as_ref());
                for name in pattern.and_then(|p| p.axes.get(axis)).map(groups_of).unwrap_or_default() {
                    found.push((name, format!("{} `{}` {what} its units", node.op.name(), node.name)));
                }
            }
        }
        for (name, why) in found {
            if let Ok(group) = self.symmetry.group_named(&name) {
                self.keep(group, why);
            }
        }
    }

    /// Groups whose lengths an operator's attributes do not follow, tried with one more unit each.
    fn keep_rigid(&mut self) -> Result<()> {
        while !self.free.is_empty() {
            let more = |(id, group): (usize, &crate::symmetry::Group)| {
                group.size + usize::from(self.free.contains(&GroupId(id)))
            };
            let sizes: Vec<usize> = self.symmetry.groups().iter().enumerate().map(more).collect();
            let Err(Misfit { node, why }) = self.graph_of(&sizes)? else { return Ok(()) };
            let node = self.graph.node(node).clone();
            let values = node.inputs.iter().chain(&node.outputs);
            let terms = values.filter_map(|v| self.patterns[v.0].as_ref()).flat_map(|p| &p.axes);
            let names: BTreeSet<String> = terms.flat_map(groups_of).collect();
            let before = self.free.len();
            for name in names {
                let group = self.symmetry.group_named(&name)?;
                self.keep(group, format!("{} `{}` does not follow: {why}", node.op.name(), node.name));
            }
            if self.free.len() == before {
                return Err(Error::Graph { node: node.name, why });
            }
        }
        Ok(())
    }

    /// The graph of so many units of every group, or the node that does not follow.
    fn graph_of(&self, sizes: &[usize]) -> Result<Result<Graph, Misfit>> {
        let shape = |value: ValueId| self.shape_of(value, sizes);
        let mut graph = Graph::new();
        for id in self.graph.ids() {
            let value = self.graph.value(id);
            let expected = shape(id);
            let made = match &value.source {
                ValueSource::Input => graph.input(&value.name, &expected)?,
                ValueSource::Param => graph.param(&value.name, &expected)?,
                ValueSource::Constant(tensor) => graph.constant(&value.name, repeated(tensor, &expected)?)?,
                ValueSource::Node(_, 1..) => continue,
                ValueSource::Node(at, 0) => {
                    let node = self.graph.node(*at);
                    let of = |values: &[ValueId]| values.iter().map(|v| self.lengths(*v, sizes)).collect::<Vec<_>>();
                    let (inputs, outputs) = (of(&node.inputs), of(&node.outputs));
                    let op = match follow::followed(&node.op, &inputs, &outputs) {
                        Ok(op) => op,
                        Err(why) => return Ok(Err(Misfit { node: *at, why })),
                    };
                    let pushed = match graph.push_many(&node.name, op, &node.inputs) {
                        Ok(pushed) => pushed,
                        Err(Error::Graph { why, .. }) => return Ok(Err(Misfit { node: *at, why })),
                        Err(other) => return Err(other),
                    };
                    for (made, wanted) in pushed.iter().zip(&node.outputs) {
                        let (found, wanted) = (graph.shape(*made), shape(*wanted));
                        if found != wanted {
                            let why = format!("it gives {found:?} where {wanted:?} are wanted");
                            return Ok(Err(Misfit { node: *at, why }));
                        }
                    }
                    pushed[0]
                }
            };
            debug_assert_eq!(made, id, "values keep their numbers");
            graph.set_numbers(made, self.graph.numbers(id));
        }
        self.graph.outputs().iter().for_each(|output| graph.output(*output));
        Ok(Ok(graph))
    }

    /// The shape of a value with so many units of every group.
    fn shape_of(&self, value: ValueId, sizes: &[usize]) -> Vec<usize> {
        self.lengths(value, sizes).axes.iter().map(|axis| axis.wide).collect()
    }

    /// How the axes of a value change with so many units of every group.
    fn lengths(&self, value: ValueId, sizes: &[usize]) -> follow::Lengths {
        let size = |name: &str| self.symmetry.group_named(name).map_or(0, |group| sizes[group.0]);
        let narrow = self.graph.shape(value);
        let axes = narrow.iter().enumerate().map(|(axis, len)| {
            let term = self.patterns[value.0].as_ref().and_then(|pattern| pattern.axes.get(axis));
            let wide = term.map_or(*len, |term| extent(term, *len, &size));
            let parts = term.map_or_else(Vec::new, |term| follow::parts(term, *len, &size, &|name| self.narrow(name)));
            follow::AxisLengths { narrow: *len, wide, parts }
        });
        follow::Lengths { axes: axes.collect() }
    }

    fn narrow(&self, name: &str) -> usize {
        self.symmetry.group_named(name).map_or(0, |group| self.symmetry.group(group).size)
    }
}

/// Tensors of nothing, in the shapes of a graph's parameters: they share their bytes.
fn shapes_of(graph: &Graph) -> Result<Params> {
    let counts = graph.params().map(|p| element_count(&p.shape)).collect::<Result<Vec<_>>>()?;
    let zeros = Bytes::from(vec![0; counts.iter().copied().max().unwrap_or(0)]);
    let tensor = |(param, count): (&crate::graph::Value, usize)| {
        Ok((param.name.clone(), Tensor::new(DType::U8, &param.shape, zeros.slice(..count))?))
    };
    graph.params().zip(counts).map(tensor).collect()
}

/// Length of an axis made of a term, fixed axes being `fixed` long.
fn extent(term: &Term, fixed: usize, size: &dyn Fn(&str) -> usize) -> usize {
    match &term.kind {
        TermKind::Fixed => fixed,
        TermKind::Number(n) | TermKind::Chooser(n) => *n,
        TermKind::Cases(cases) => extent(&cases[0], fixed, size),
        TermKind::Group { name, slice, .. } => slice.map_or_else(|| size(name), |(start, end)| end - start),
        TermKind::Product(factors) => factors.iter().map(|f| extent(f, fixed, size)).fold(1, usize::saturating_mul),
        TermKind::Sum(parts) => parts.iter().map(|p| extent(p, fixed, size)).fold(0, usize::saturating_add),
    }
}

/// Groups in a term.
fn groups_of(term: &Term) -> Vec<String> {
    match &term.kind {
        TermKind::Fixed | TermKind::Number(_) | TermKind::Chooser(_) => Vec::new(),
        TermKind::Group { name, .. } => vec![name.clone()],
        TermKind::Product(terms) | TermKind::Sum(terms) | TermKind::Cases(terms) => {
            terms.iter().flat_map(groups_of).collect()
        }
    }
}

/// Groups of a term that stand in slices, and that stand in one product with others.
fn written(term: &Term, sliced: &mut Vec<String>, joined: &mut Vec<String>) {
    match &term.kind {
        TermKind::Fixed | TermKind::Number(_) | TermKind::Chooser(_) => {}
        TermKind::Group { name, slice, .. } => sliced.extend(slice.map(|_| name.clone())),
        TermKind::Product(factors) => {
            let with: Vec<Vec<String>> = factors.iter().map(groups_of).filter(|names| !names.is_empty()).collect();
            if with.len() > 1 {
                joined.extend(with.into_iter().flatten());
            }
            for factor in factors {
                written(factor, sliced, joined);
            }
        }
        TermKind::Sum(parts) | TermKind::Cases(parts) => {
            for part in parts {
                written(part, sliced, joined);
            }
        }
    }
}

/// A constant that is the same along every axis whose length changes, with that length.
fn repeated(tensor: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let mut found = tensor.clone();
    for (axis, len) in shape.iter().enumerate() {
        if found.shape()[axis] != *len {
            found = found.gather(axis, &vec![0; *len])?;
        }
    }
    Ok(found)
}
