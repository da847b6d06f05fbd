//! Lanes of a stack as one: all have the unknowns of the first, which is searched for all of them.
//!
//! Entry `j` of a virtual axis, behind the others, is lane `j`. It is united with the axis that lanes pick their entries of,
//! and with the one along which they are put together; where they are terms of a sum it ends. Their tensors are a stack along
//! that axis.

use std::collections::{BTreeMap, BTreeSet};

use super::lanes::{Gate, Stack};
use super::terms::{AtomId, State};
use super::{AxisRef, Discoverer};
use crate::graph::{Node, NodeId, Op, ValueId};

impl Discoverer<'_> {
    /// Gives all lanes of every stack the unknowns of the first one, and a virtual axis behind the others.
    pub(super) fn enter_stacks(&mut self, stacks: Vec<Stack>) {
        for stack in &stacks {
            let lanes = self.terms.fresh(stack.lanes());
            self.lanes.push(lanes);
            for row in stack.values.iter().chain(stack.params.iter().map(|(_, tensors)| tensors)) {
                let axes = [&self.axes[row[0].0][..], &[lanes]].concat();
                for value in row {
                    self.axes[value.0].clone_from(&axes);
                }
            }
            self.silent.extend(&stack.silent);
            for gate in stack.gates.values() {
                if let Gate::Entry { from, .. } = gate {
                    self.picked.remove(from);
                }
            }
            for (name, tensors) in &stack.params {
                self.stacked.extend(tensors.iter().map(|value| (*value, None)));
                self.stacked.insert(tensors[0], Some(name.clone()));
            }
        }
        for (k, stack) in stacks.iter().enumerate() {
            self.gates.extend(stack.gates.iter().map(|(node, gate)| (*node, (k, *gate))));
            self.joined.extend(stack.joined.map(|node| (node, k)));
        }
        self.stacks = stacks;
    }

    /// Applies a rule that only a stack has; tells whether there is one for this node.
    pub(super) fn of_stack(&mut self, id: NodeId, node: &Node) -> bool {
        if self.silent.contains(&id) {
            return true;
        }
        if let Some(k) = self.joined.get(&id).copied() {
            self.join_lanes(node, k);
            return true;
        }
        let Some((k, gate)) = self.gates.get(&id).copied() else { return false };
        let output = node.outputs[0];
        let at = |value: ValueId, axis: usize| AxisRef { value, axis };
        match gate {
            Gate::Entry { from, first } => {
                let rank = self.rank(from.value);
                let gone = usize::from(self.rank(output) < rank);
                for axis in (0..rank).filter(|axis| *axis != from.axis) {
                    let to = if axis < from.axis { axis } else { axis - gone };
                    self.tie(at(from.value, axis), at(output, to));
                }
                let (lanes, len) = (self.lanes[k], self.len(from.value, from.axis));
                let (before, after) = (self.terms.piece(first), self.terms.piece(len - first - self.stacks[k].lanes()));
                self.make(from, |t| t.sum(&[before, lanes, after]), "lanes pick some of its entries");
            }
            Gate::Number { numbers, first } => {
                (0..self.rank(numbers)).for_each(|axis| self.tie(at(numbers, axis), at(output, axis)));
                let on = self.positions.get(&numbers).copied();
                let lanes = self.lanes[k];
                let all = |on: &AxisRef| first == 0 && self.len(on.value, on.axis) == self.stacks[k].lanes();
                if let Some(on) = on.filter(all) {
                    self.make(on, |_| lanes, "lanes are picked by number");
                } else {
                    self.terms.fix(lanes);
                    if let Some(on) = on {
                        self.fix(on, "positions on it are looked at as numbers");
                    }
                }
            }
        }
        true
    }

    /// Lanes become entries of one axis.
    fn join_lanes(&mut self, node: &Node, k: usize) {
        let Op::Concat { axis } = node.op else { return };
        let (first, output, lanes) = (node.inputs[0], node.outputs[0], self.lanes[k]);
        for other in (0..self.rank(output)).filter(|other| *other != axis) {
            self.tie(AxisRef { value: first, axis: other }, AxisRef { value: output, axis: other });
        }
        self.make(AxisRef { value: output, axis }, |_| lanes, "lanes are put together");
    }
}

/// Which stacks stay: those whose lanes may be permuted, and that keep no unit of theirs from moving on its own.
pub(super) fn that_stay(d: &Discoverer<'_>, parents: &BTreeMap<AtomId, AtomId>) -> Vec<bool> {
    if d.stacks.is_empty() {
        return Vec::new();
    }
    let mut outside = BTreeSet::new();
    let lone = d.graph.ids().filter(|v| d.axes[v.0].len() == d.rank(*v));
    let mut open: Vec<AtomId> = lone.flat_map(|v| d.axes[v.0].iter().copied()).collect();
    while let Some(atom) = open.pop() {
        let atom = d.terms.find(atom);
        if let (true, State::Product(parts) | State::Sum(parts) | State::Cases(_, parts)) =
            (outside.insert(atom), d.terms.state(atom))
        {
            open.extend(parts);
        }
    }
    let stays = |(stack, lanes): (&Stack, &AtomId)| {
        let lanes = d.terms.find(*lanes);
        let below = |atom: AtomId| std::iter::successors(Some(atom), |a| parents.get(a).copied()).any(|a| a == lanes);
        let mut all = matches!(d.terms.state(lanes), State::Free);
        for (_, tensors) in &stack.params {
            for form in d.terms.forms(&d.axes[tensors[0].0]) {
                form.each_free(&mut |atom| all &= d.terms.len(atom) < 2 || outside.contains(&atom) || below(atom));
            }
        }
        all
    };
    d.stacks.iter().zip(&d.lanes).map(stays).collect()
}
