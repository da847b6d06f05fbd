//! Entries of parameters that every node leaves out: positions beyond a sequence, rows behind a cut.

use std::collections::BTreeMap;

use super::terms::{AtomId, State};
use super::{AxisRef, Discoverer};
use crate::graph::{ValueId, ValueSource};

/// Fixes the parts of parameters' axes that stand nowhere else. Nothing is computed from them, so any order of theirs is as
/// good as another, and none makes two networks alike.
///
/// Cost: linear in axes and parts.
pub(super) fn fix_unread(d: &mut Discoverer<'_>) {
    let is_param = |value: &ValueId| d.graph.value(*value).source == ValueSource::Param;
    let axes = |value: ValueId| (0..d.axes[value.0].len()).map(move |axis| AxisRef { value, axis });
    let params: Vec<AxisRef> = d.params().flat_map(axes).collect();
    let others: Vec<AxisRef> = d.graph.ids().filter(|value| !is_param(value)).flat_map(axes).collect();
    let mut seen: BTreeMap<AtomId, Seen> = BTreeMap::new();
    for (number, place) in others.into_iter().enumerate() {
        mark(d, &mut seen, d.atom(place), Seen::Read, number);
    }
    let mut roots: BTreeMap<AtomId, usize> = BTreeMap::new();
    for (number, place) in params.iter().copied().enumerate() {
        let root = d.terms.find(d.atom(place));
        *roots.entry(root).or_default() += 1;
        mark(d, &mut seen, root, Seen::Once(number), number);
    }
    let mut unread = Vec::new();
    for (number, place) in params.iter().copied().enumerate() {
        let root = d.terms.find(d.atom(place));
        let State::Sum(parts) = d.terms.state(root) else { continue };
        let alone = |part: &AtomId| {
            let part = d.terms.find(*part);
            matches!(d.terms.state(part), State::Free) && seen.get(&part) == Some(&Seen::Once(number))
        };
        if roots[&root] == 1 {
            unread.extend(parts.iter().filter(|part| alone(part)).map(|part| (place, *part)));
        }
    }
    for (place, part) in unread {
        d.terms.fix(part);
        d.because(place, "no node looks at some of its entries");
    }
}

/// Where an unknown stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// In what is computed or given, or in several places of parameters.
    Read,
    /// On this axis of a parameter alone.
    Once(usize),
}

/// Marks an unknown and all that it is made of.
fn mark(d: &Discoverer<'_>, seen: &mut BTreeMap<AtomId, Seen>, root: AtomId, how: Seen, number: usize) {
    let mut stack = vec![root];
    while let Some(atom) = stack.pop() {
        let atom = d.terms.find(atom);
        match seen.get(&atom) {
            None => {
                seen.insert(atom, how);
            }
            Some(Seen::Once(other)) if *other != number => {
                seen.insert(atom, Seen::Read);
                continue;
            }
            Some(_) => continue,
        }
        match d.terms.state(atom) {
            State::Product(parts) | State::Sum(parts) | State::Cases(_, parts) => stack.extend(parts),
            State::Free | State::Fixed | State::Chooser | State::Same(_) => {}
        }
    }
}
