//! Why an axis may or may not move, in words.

use std::collections::{BTreeMap, VecDeque};

use super::{AxisRef, Discovery, Reason};
use crate::error::{Error, Result};
use crate::graph::{NodeId, ValueId};
use crate::symmetry::pattern::{Term, TermKind};

impl Discovery<'_> {
    /// Explains one axis of one parameter, step by step: which groups stand in it and where else they stand, or the chain
    /// of nodes that leads to what holds it in place.
    ///
    /// # Errors
    /// [`Error::NoParameter`] suggests the nearest name; [`Error::NoAxis`] if the parameter has no such axis.
    /// ```
    /// use onebasin_core::graph::Graph;
    /// use onebasin_core::symmetry::discover;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let h = g.linear("fc1", x, 3)?;
    /// let h = g.relu(h)?;
    /// let y = g.linear("fc2", h, 2)?;
    /// g.output(y);
    /// let told = discover(&g).why("fc1.weight", 1)?;
    /// assert_eq!(told[1], "axis 1 of `fc1.weight` shares units with axis 1 of `x` through `fc1` (Linear)");
    /// assert_eq!(told[2], "axis 1 of `x` stays: an input of the network");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn why(&self, tensor: &str, axis: usize) -> Result<Vec<String>> {
        let value = self.graph.param_named(tensor)?;
        let (name, virtual_axis, value) = match self.stack_of(value) {
            Some((name, first)) => (name, 1, first),
            None => (tensor, 0, value),
        };
        let pattern = &self.spec.tensors[name];
        let Some(term) = pattern.axes.get(axis + virtual_axis) else {
            let shape = self.graph.shape(value).to_vec();
            return Err(Error::NoAxis { tensor: Some(tensor.to_owned()), axis, shape });
        };
        let whole = if virtual_axis > 0 { format!(" of `{name}`") } else { String::new() };
        let own = format!("axis {axis} of `{tensor}`");
        let mut lines = vec![format!("{own} is `{term}` in `{pattern}`{whole}")];
        let mut groups = Vec::new();
        collect(term, &mut groups);
        for group in &groups {
            lines.push(format!("`{group}`, {} units, may be permuted; it stands in", self.spec.sizes[group]));
            for (name, pattern) in &self.spec.tensors {
                for (a, term) in pattern.axes.iter().enumerate() {
                    let mut here = Vec::new();
                    collect(term, &mut here);
                    if here.contains(group) {
                        lines.push(format!("  {name}, axis {a}: `{term}`"));
                    }
                }
            }
        }
        if groups.is_empty() || has_number(term) {
            lines.extend(self.chain(AxisRef { value, axis }));
        }
        Ok(lines)
    }

    /// The stack that a parameter is part of, and the parameter that stands for all of it.
    fn stack_of(&self, value: ValueId) -> Option<(&str, ValueId)> {
        let mut stacks = self.stacks.iter().flat_map(|stack| &stack.params);
        stacks.find(|(_, tensors)| tensors.contains(&value)).map(|(name, tensors)| (name.as_str(), tensors[0]))
    }

    /// The shortest chain of nodes from an axis to one with a reason of its own.
    fn chain(&self, start: AxisRef) -> Vec<String> {
        let mut near: BTreeMap<AxisRef, Vec<(AxisRef, NodeId)>> = BTreeMap::new();
        for r in &self.relations {
            near.entry(r.a).or_default().push((r.b, r.node));
            near.entry(r.b).or_default().push((r.a, r.node));
        }
        let mut from: BTreeMap<AxisRef, Option<(AxisRef, NodeId)>> = BTreeMap::from([(start, None)]);
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            if let Some(reason) = self.reasons.get(&at) {
                return self.tell(start, at, &from, reason);
            }
            for (next, node) in near.get(&at).into_iter().flatten() {
                if !from.contains_key(next) {
                    from.insert(*next, Some((at, *node)));
                    queue.push_back(*next);
                }
            }
        }
        vec!["one entry: there is nothing to permute".to_owned()]
    }

    fn tell(
        &self,
        start: AxisRef,
        end: AxisRef,
        from: &BTreeMap<AxisRef, Option<(AxisRef, NodeId)>>,
        reason: &Reason,
    ) -> Vec<String> {
        let mut steps = Vec::new();
        let mut at = end;
        while let Some(Some((before, node))) = from.get(&at) {
            let node = self.graph.node(*node);
            steps.push(format!(
                "{} shares units with {} through `{}` ({})",
                self.name(*before),
                self.name(at),
                node.name,
                node.op.name()
            ));
            at = *before;
        }
        steps.reverse();
        let node = reason.node.map_or(String::new(), |n| format!(" (node `{}`)", self.graph.node(n).name));
        let held = if end == start { "it".to_owned() } else { self.name(end) };
        steps.push(format!("{held} stays: {}{node}", reason.text));
        steps
    }

    fn name(&self, at: AxisRef) -> String {
        let ValueId(index) = at.value;
        format!("axis {} of `{}`", at.axis, self.graph.values()[index].name)
    }
}

fn collect(term: &Term, groups: &mut Vec<String>) {
    match &term.kind {
        TermKind::Group { name, .. } if !groups.contains(name) => groups.push(name.clone()),
        TermKind::Product(terms) | TermKind::Sum(terms) | TermKind::Cases(terms) => {
            for term in terms {
                collect(term, groups);
            }
        }
        TermKind::Group { .. } | TermKind::Fixed | TermKind::Number(_) | TermKind::Chooser(_) => {}
    }
}

fn has_number(term: &Term) -> bool {
    match &term.kind {
        TermKind::Number(_) | TermKind::Chooser(_) => true,
        TermKind::Product(terms) | TermKind::Sum(terms) | TermKind::Cases(terms) => terms.iter().any(has_number),
        TermKind::Group { .. } | TermKind::Fixed => false,
    }
}
