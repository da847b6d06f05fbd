//! What holds axes in place, for all of them at once.

use std::collections::{BTreeMap, VecDeque};

use super::{AxisRef, Discovery};
use crate::graph::NodeId;

/// What holds an axis in place: a reason, and the axis that has it.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::symmetry::{AxisRef, discover};
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 4])?;
/// let y = g.linear("fc", x, 2)?;
/// g.output(y);
/// let found = discover(&g);
/// let held = found.held();
/// let inputs = &held[&AxisRef { value: g.param_named("fc.weight")?, axis: 1 }];
/// assert_eq!((inputs.why, inputs.at), ("an input of the network", AxisRef { value: x, axis: 1 }));
/// assert_eq!(inputs.node, None);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held<'d> {
    /// The reason, in words.
    pub why: &'d str,
    /// The axis that has this reason itself.
    pub at: AxisRef,
    /// The node whose rule gives the reason; none at the border of the network.
    pub node: Option<NodeId>,
}

impl Discovery<'_> {
    /// What holds every axis that something holds: the nearest of the reasons that it shares units with, as
    /// [`why`](Self::why) tells it for one axis. An axis that moves is held only as far as its pattern has numbers.
    ///
    /// Cost: near linear in the number of axes and of what nodes tie together.
    ///
    /// See [`Held`] for an example.
    pub fn held(&self) -> BTreeMap<AxisRef, Held<'_>> {
        let mut near: BTreeMap<AxisRef, Vec<AxisRef>> = BTreeMap::new();
        for relation in &self.relations {
            near.entry(relation.a).or_default().push(relation.b);
            near.entry(relation.b).or_default().push(relation.a);
        }
        let mut held: BTreeMap<AxisRef, Held<'_>> = BTreeMap::new();
        let mut queue = VecDeque::new();
        for (at, reason) in &self.reasons {
            held.insert(*at, Held { why: &reason.text, at: *at, node: reason.node });
            queue.push_back(*at);
        }
        while let Some(at) = queue.pop_front() {
            let reason = held[&at];
            for next in near.get(&at).into_iter().flatten() {
                if !held.contains_key(next) {
                    held.insert(*next, reason);
                    queue.push_back(*next);
                }
            }
        }
        for (first, others) in self.stacks.iter().flat_map(|s| &s.params).filter_map(|(_, all)| all.split_first()) {
            let reasons = held.range(AxisRef { value: *first, axis: 0 }..).take_while(|(at, _)| at.value == *first);
            let reasons: Vec<_> = reasons.map(|(at, reason)| (at.axis, *reason)).collect();
            let all = others
                .iter()
                .flat_map(|value| reasons.iter().map(|(axis, r)| (AxisRef { value: *value, axis: *axis }, *r)));
            held.extend(all.collect::<Vec<_>>());
        }
        held
    }
}
