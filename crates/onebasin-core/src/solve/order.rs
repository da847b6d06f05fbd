//! The order in which operators are solved.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::site::{Site, sites};
use crate::graph::{Graph, NodeId, ValueId, ValueSource};

/// The same graph with its operators in the order in which they are solved: of what is added, the part behind fewer weights
/// comes first, and uses of one weight that do not depend on each other come one after the other, once all that reaches them is
/// known.
///
/// A residual branch can then be solved with its shortcut known, wherever the branches stand in a file, and the layers of a
/// head that several levels of features share on all levels at once. Values keep their numbers.
///
/// Cost: linear in nodes and their inputs, for every weight that is used more than once.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::solve::solving_order;
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 4])?;
/// let h = g.linear("fc1", x, 4)?;
/// let h = g.relu(h)?;
/// let branch = g.linear("fc2", h, 4)?;
/// let shortcut = g.linear("shortcut", x, 4)?;
/// let y = g.add_values("add", branch, shortcut)?;
/// g.output(y);
/// let graph = solving_order(&g);
/// let names = graph.nodes().iter().map(|n| n.name.as_str());
/// assert_eq!(names.collect::<Vec<_>>(), ["shortcut", "fc1", "fc1.relu", "fc2", "add"]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[must_use]
pub fn solving_order(graph: &Graph) -> Graph {
    uses_together(&shortcuts_first(graph))
}

/// Of what is added, the part behind fewer weights comes first.
fn shortcuts_first(graph: &Graph) -> Graph {
    let from = |value: ValueId| match graph.value(value).source {
        ValueSource::Node(node, _) => Some(node.0),
        ValueSource::Input | ValueSource::Param | ValueSource::Constant(_) => None,
    };
    let mut depth = vec![0_usize; graph.nodes().len()];
    for (at, node) in graph.nodes().iter().enumerate() {
        let behind = node.inputs.iter().filter_map(|v| from(*v)).map(|n| depth[n]).max().unwrap_or(0);
        let has_weights = node.inputs.iter().any(|v| graph.value(*v).source == ValueSource::Param);
        depth[at] = behind + usize::from(has_weights);
    }
    let (mut order, mut seen) = (Vec::with_capacity(depth.len()), vec![false; depth.len()]);
    let ends = graph.outputs().iter().filter_map(|v| from(*v)).chain(0..depth.len());
    for end in ends {
        let mut open = vec![(end, false)];
        while let Some((node, ready)) = open.pop() {
            if ready {
                order.push(NodeId(node));
            } else if !std::mem::replace(&mut seen[node], true) {
                open.push((node, true));
                let mut before: Vec<usize> = graph.nodes()[node].inputs.iter().filter_map(|v| from(*v)).collect();
                before.sort_by_key(|n| std::cmp::Reverse(depth[*n]));
                open.extend(before.into_iter().filter(|n| !seen[*n]).map(|n| (n, false)));
            }
        }
    }
    graph.ordered(&order)
}

/// Uses of one weight come one after the other, wherever none of them depends on another.
fn uses_together(graph: &Graph) -> Graph {
    let mut of_weight: BTreeMap<ValueId, Vec<Vec<usize>>> = BTreeMap::new();
    for site in sites(graph).0 {
        if let Some(layer) = site.layer.filter(|layer| layer.tied) {
            of_weight.entry(layer.weight).or_default().push(nodes_of(graph, &site));
        }
    }
    let mut blocks: Vec<usize> = (0..graph.nodes().len()).collect();
    let mut order = blocks.clone();
    for uses in of_weight.into_values().filter(|uses| uses.len() > 1) {
        let mut joined = blocks.clone();
        let first = uses.iter().flatten().copied().min().unwrap_or_default();
        uses.iter().flatten().for_each(|node| joined[*node] = first);
        if let Some(found) = order_of(graph, &joined, &uses) {
            (blocks, order) = (joined, found);
        }
    }
    graph.ordered(&order.into_iter().map(NodeId).collect::<Vec<_>>())
}

/// The nodes from a site's operator to its target.
fn nodes_of(graph: &Graph, site: &Site) -> Vec<usize> {
    let mut nodes = vec![site.node.0];
    while let Some(last) = nodes.last().filter(|last| **last != site.end.0) {
        let output = graph.nodes()[*last].outputs[0];
        let Some(next) = graph.nodes().iter().position(|node| node.inputs.contains(&output)) else { break };
        nodes.push(next);
    }
    nodes
}

/// An order in which nodes of a block follow each other, first ones first; none if a use depends on another, or a block on
/// itself.
fn order_of(graph: &Graph, blocks: &[usize], uses: &[Vec<usize>]) -> Option<Vec<usize>> {
    let makers = |node: usize| {
        graph.nodes()[node].inputs.iter().filter_map(|value| match graph.value(*value).source {
            ValueSource::Node(from, _) => Some(from.0),
            ValueSource::Input | ValueSource::Param | ValueSource::Constant(_) => None,
        })
    };
    let depends = |(at, own): (usize, &Vec<usize>)| {
        let others = || uses.iter().enumerate().filter(move |(other, _)| *other != at).flat_map(|(_, nodes)| nodes);
        own.iter().any(|node| makers(*node).any(|from| others().any(|other| *other == from)))
    };
    if uses.iter().enumerate().any(depends) {
        return None;
    }
    let (mut members, mut waits, mut readers) =
        (BTreeMap::<usize, Vec<usize>>::new(), vec![0_usize; blocks.len()], vec![Vec::new(); blocks.len()]);
    for (node, block) in blocks.iter().enumerate() {
        members.entry(*block).or_default().push(node);
        for from in makers(node).map(|from| blocks[from]).filter(|from| from != block) {
            waits[*block] += 1;
            readers[from].push(*block);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        members.keys().filter(|b| waits[**b] == 0).map(|b| Reverse(*b)).collect();
    let mut order = Vec::with_capacity(blocks.len());
    while let Some(Reverse(block)) = ready.pop() {
        order.extend(&members[&block]);
        for reader in &readers[block] {
            waits[*reader] -= 1;
            if waits[*reader] == 0 {
                ready.push(Reverse(*reader));
            }
        }
    }
    (order.len() == blocks.len()).then_some(order)
}
