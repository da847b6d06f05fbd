//! What every operator lets pass: which elements of a group commute with it.

use std::collections::{BTreeMap, BTreeSet};

use super::classes::{Asked, Classes};
use crate::graph::op::{Binary, Op, Reduce, Unary};
use crate::graph::{Graph, Node, ValueId};
use crate::symmetry::{Discovery, GroupId, Symmetry, Term, TermKind};

/// Where units of a group stand in a value.
#[derive(Debug, Default, Clone)]
struct Standing {
    axes: BTreeSet<usize>,
    /// The axis is nothing but these units.
    whole: bool,
    /// In parts, so that units are told apart by where they stand.
    in_parts: bool,
}

/// How a group passes through a graph.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) classes: Classes,
    places: BTreeMap<(ValueId, GroupId), usize>,
    /// Gains that are 1 everywhere, and parameters that they are made of: no element moves them.
    pub(super) ones: BTreeSet<ValueId>,
}

impl Passed {
    /// The place of a group in a value.
    pub(super) fn place(&self, value: ValueId, group: GroupId) -> Option<usize> {
        self.places.get(&(value, group)).copied()
    }

    /// What is asked of a group anywhere.
    pub(super) fn asked(&self, group: GroupId) -> impl Iterator<Item = Asked> + '_ {
        let of = move |((value, g), place): (&(ValueId, GroupId), &usize)| {
            (*g == group && !self.ones.contains(value)).then(|| self.classes.asked(*place))
        };
        self.places.iter().filter_map(of)
    }
}

/// Follows all groups through all nodes. `is_all` says of a parameter whether it is a number everywhere.
pub(super) fn pass(
    graph: &Graph,
    found: &Discovery<'_>,
    symmetry: &Symmetry,
    is_all: impl Fn(&str, f64) -> bool,
) -> Passed {
    let standing: Vec<BTreeMap<GroupId, Standing>> = graph.ids().map(|v| standing(found, symmetry, v)).collect();
    let mut walk = Walk { graph, standing: &standing, passed: Passed::default(), products: Vec::new() };
    for (value, groups) in graph.ids().zip(&standing) {
        for (group, at) in groups {
            let place = walk.passed.classes.place();
            walk.passed.places.insert((value, *group), place);
            // On two axes of one value an element would act twice.
            if at.axes.len() > 1 || at.in_parts {
                walk.passed.classes.ask(place, |asked| asked.still = true);
            }
        }
    }
    for node in graph.nodes() {
        walk.node(node, &is_all);
    }
    walk.settle();
    walk.passed
}

fn standing(found: &Discovery<'_>, symmetry: &Symmetry, value: ValueId) -> BTreeMap<GroupId, Standing> {
    let mut all: BTreeMap<GroupId, Standing> = BTreeMap::new();
    let Some(pattern) = found.value_pattern(value) else { return all };
    for (axis, term) in pattern.axes.iter().enumerate() {
        let mut seen = Vec::new();
        groups_of(term, true, &mut seen);
        for (name, whole, in_parts) in seen {
            let Ok(id) = symmetry.group_named(name) else { continue };
            let at = all.entry(id).or_default();
            at.axes.insert(axis);
            at.whole |= whole;
            at.in_parts |= in_parts;
        }
    }
    all
}

/// Groups of a term, whether they are all of it, and whether they stand in parts.
fn groups_of<'t>(term: &'t Term, whole: bool, seen: &mut Vec<(&'t str, bool, bool)>) {
    match &term.kind {
        TermKind::Group { name, slice, .. } => seen.push((name, whole, slice.is_some())),
        TermKind::Product(parts) | TermKind::Sum(parts) | TermKind::Cases(parts) => {
            for part in parts {
                groups_of(part, false, seen);
            }
        }
        TermKind::Fixed | TermKind::Number(_) | TermKind::Chooser(_) => {}
    }
}

struct Walk<'g> {
    graph: &'g Graph,
    standing: &'g [BTreeMap<GroupId, Standing>],
    passed: Passed,
    /// Products entry by entry: factors and result, by place.
    products: Vec<[usize; 3]>,
}

impl Walk<'_> {
    fn at(&self, value: ValueId, group: GroupId) -> Option<&Standing> {
        self.standing[value.0].get(&group)
    }

    /// Whether the group stands on this axis of a value.
    fn stands(&self, value: ValueId, group: GroupId, axis: usize) -> bool {
        self.at(value, group).is_some_and(|at| at.axes.contains(&axis))
    }

    fn rank(&self, value: ValueId) -> usize {
        self.graph.shape(value).len()
    }

    /// All of these values in which the group stands move alike.
    fn alike(&mut self, group: GroupId, values: impl IntoIterator<Item = ValueId>) {
        let places: Vec<usize> = values.into_iter().filter_map(|v| self.passed.place(v, group)).collect();
        places.windows(2).for_each(|pair| self.passed.classes.unite(pair[0], pair[1], false));
    }

    fn against(&mut self, group: GroupId, a: ValueId, b: ValueId) {
        match (self.passed.place(a, group), self.passed.place(b, group)) {
            (Some(a), Some(b)) => self.passed.classes.unite(a, b, true),
            (Some(alone), None) | (None, Some(alone)) => self.passed.classes.ask(alone, |asked| asked.still = true),
            (None, None) => {}
        }
    }

    fn ask(&mut self, group: GroupId, value: ValueId, ask: impl FnOnce(&mut Asked)) {
        if let Some(place) = self.passed.place(value, group) {
            self.passed.classes.ask(place, ask);
        }
    }

    /// Entry by entry: nothing but permutations passes.
    fn entrywise(&mut self, group: GroupId, node: &Node) {
        node.inputs.iter().chain(&node.outputs).for_each(|v| self.ask(group, *v, |asked| asked.still = true));
    }

    fn node(&mut self, node: &Node, is_all: &impl Fn(&str, f64) -> bool) {
        let values = node.inputs.iter().chain(&node.outputs);
        let groups: BTreeSet<GroupId> = values.flat_map(|v| self.standing[v.0].keys().copied()).collect();
        for group in groups {
            self.group(node, group, is_all);
        }
    }

    fn group(&mut self, node: &Node, group: GroupId, is_all: &impl Fn(&str, f64) -> bool) {
        let (inputs, out) = (&node.inputs, node.outputs[0]);
        match &node.op {
            Op::Linear => {
                let (x, w) = (inputs[0], inputs[1]);
                self.contraction(group, [(x, self.rank(x) - 1), (w, 1)], &inputs[2..], out);
            }
            Op::MatMul => {
                let (x, w) = (inputs[0], inputs[1]);
                self.contraction(group, [(x, self.rank(x) - 1), (w, self.rank(w).max(2) - 2)], &[], out);
            }
            Op::Conv(conv) if conv.groups == 1 => {
                self.contraction(group, [(inputs[0], 1), (inputs[1], 1)], &inputs[2..], out);
            }
            Op::Binary(Binary::Add | Binary::Sub) => {
                if inputs.iter().all(|v| self.at(*v, group).is_some()) {
                    self.alike(group, inputs.iter().copied().chain([out]));
                } else {
                    self.entrywise(group, node);
                }
            }
            Op::Binary(Binary::Mul) => {
                let places = [inputs[0], inputs[1], out].map(|v| self.passed.place(v, group));
                match places {
                    [Some(a), Some(b), Some(c)] => self.products.push([a, b, c]),
                    _ => self.alike(group, [inputs[0], inputs[1], out]),
                }
            }
            Op::Binary(Binary::Div) if self.at(inputs[1], group).is_none() => self.alike(group, [inputs[0], out]),
            Op::Unary(Unary::Identity | Unary::Neg) => self.alike(group, [inputs[0], out]),
            Op::LayerNorm { axes, centred, .. } => self.layer_norm(group, node, axes, *centred, is_all),
            Op::Reshape(_) | Op::Transpose(_) | Op::Slice { .. } | Op::Concat { .. } | Op::Expand(_) => {
                if self.at(out, group).is_some() {
                    self.alike(group, inputs.iter().copied().chain([out]));
                }
            }
            Op::Gather { axis } if !self.stands(inputs[0], group, *axis) && self.at(inputs[1], group).is_none() => {
                self.alike(group, [inputs[0], out]);
            }
            Op::Reduce { kind: Reduce::Sum | Reduce::Mean, axes, .. }
                if !axes.iter().any(|axis| self.stands(inputs[0], group, *axis)) =>
            {
                self.alike(group, [inputs[0], out]);
            }
            Op::Conv(_)
            | Op::ConvTranspose { .. }
            | Op::Pool(_)
            | Op::BatchNorm { .. }
            | Op::GroupNorm { .. }
            | Op::LocalResponseNorm { .. }
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Where
            | Op::Reduce { .. }
            | Op::Pad { .. }
            | Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::ScatterElements { .. }
            | Op::TopK { .. }
            | Op::CumSum { .. }
            | Op::NonZero
            | Op::Resize { .. }
            | Op::Recurrent { .. }
            | Op::Softmax { .. }
            | Op::Unknown(_) => self.entrywise(group, node),
        }
    }

    /// `x · w` over one axis of each; what else they have stays in the result.
    fn contraction(&mut self, group: GroupId, [x, w]: [(ValueId, usize); 2], bias: &[ValueId], out: ValueId) {
        let over = |walk: &Self, (value, axis): (ValueId, usize)| walk.stands(value, group, axis);
        if over(self, x) || over(self, w) {
            self.against(group, x.0, w.0);
            return;
        }
        let both = self.at(x.0, group).is_some() && self.at(w.0, group).is_some();
        let factors = [x.0, w.0];
        if both {
            // Beside each other, unit by unit.
            factors.iter().chain([&out]).for_each(|v| self.ask(group, *v, |asked| asked.still = true));
        }
        self.alike(group, factors.into_iter().chain(bias.iter().copied()).chain([out]));
    }

    fn layer_norm(
        &mut self,
        group: GroupId,
        node: &Node,
        axes: &[usize],
        centred: bool,
        is_all: &impl Fn(&str, f64) -> bool,
    ) {
        let (x, gain, out) = (node.inputs[0], node.inputs.get(1).copied(), node.outputs[0]);
        let whole = self.at(x, group).is_some_and(|at| at.whole && axes.len() == 1 && at.axes.contains(&axes[0]));
        let behind = gain.and_then(|gain| super::gain(self.graph, gain));
        let ones = behind.filter(|(param, more)| is_all(&self.graph.value(*param).name, 1.0 - more));
        if !whole {
            return self.entrywise(group, node);
        }
        if gain.is_none() || ones.is_some() {
            self.passed.ones.extend(gain.into_iter().chain(ones.map(|(param, _)| param)));
            self.alike(group, [x, out].into_iter().chain(node.inputs.get(2).copied()));
        } else if centred {
            return self.entrywise(group, node);
        } else if let [Some(x), Some(gain), Some(out)] =
            [Some(x), gain, Some(out)].map(|v| v.and_then(|v| self.passed.place(v, group)))
        {
            self.passed.classes.ask(gain, |asked| asked.still = true);
            self.products.push([x, gain, out]);
        }
        self.ask(group, x, |asked| {
            asked.isometric = true;
            asked.centred |= centred;
        });
    }

    /// Products entry by entry: where one factor only passes permutations, the other moves as the result does; else both stay
    /// entries.
    fn settle(&mut self) {
        let mut open = std::mem::take(&mut self.products);
        while !open.is_empty() {
            let before = open.len();
            let classes = &mut self.passed.classes;
            open.retain(|[a, b, out]| {
                let (one, other) = (classes.asked(*a).still, classes.asked(*b).still);
                match (one, other) {
                    (true, _) => classes.unite(*b, *out, false),
                    (false, true) => classes.unite(*a, *out, false),
                    (false, false) => return true,
                }
                false
            });
            if open.len() == before {
                open.iter().take(1).flatten().for_each(|place| classes.ask(*place, |asked| asked.still = true));
            }
        }
    }
}
