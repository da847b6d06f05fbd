//! Graphs made of another one: with nodes passed by, with a parameter of its own for a node.

use std::collections::{BTreeMap, BTreeSet};

use super::{Graph, NodeId, ValueId, ValueSource};
use crate::error::{Error, Result};

impl Graph {
    /// The same graph where the output of each of these nodes is a value that stands before it. What nothing needs any more is
    /// left out; inputs and parameters stay.
    pub(crate) fn bypass(&self, nodes: &BTreeMap<NodeId, ValueId>) -> Self {
        let behind = |mut value: ValueId| loop {
            let ValueSource::Node(id, 0) = self.value(value).source else { return value };
            let Some(before) = nodes.get(&id) else { return value };
            value = *before;
        };
        let outputs: Vec<ValueId> = self.outputs.iter().map(|v| behind(*v)).collect();
        let (mut needed, mut left) = (BTreeSet::new(), outputs.clone());
        while let Some(value) = left.pop() {
            let ValueSource::Node(id, _) = self.value(value).source else {
                needed.insert(value);
                continue;
            };
            let node = self.node(id);
            if node.outputs.iter().filter(|v| needed.insert(**v)).count() > 0 {
                left.extend(node.inputs.iter().map(|v| behind(*v)));
            }
        }
        let stays = |id: &ValueId| match self.value(*id).source {
            ValueSource::Input | ValueSource::Param => true,
            ValueSource::Constant(_) | ValueSource::Node(..) => needed.contains(id),
        };
        let kept: Vec<ValueId> = self.ids().filter(stays).collect();
        let place: BTreeMap<ValueId, ValueId> = kept.iter().enumerate().map(|(k, old)| (*old, ValueId(k))).collect();
        let mut graph = Self { values: kept.iter().map(|v| self.value(*v).clone()).collect(), ..Self::default() };
        for node in self.nodes.iter().filter(|node| needed.contains(&node.outputs[0])) {
            let mut node = node.clone();
            let id = NodeId(graph.nodes.len());
            node.inputs.iter_mut().for_each(|v| *v = place[&behind(*v)]);
            for (k, output) in node.outputs.iter_mut().enumerate() {
                *output = place[output];
                graph.values[output.0].source = ValueSource::Node(id, k);
            }
            graph.nodes.push(node);
        }
        graph.outputs = outputs.iter().map(|v| place[v]).collect();
        graph.params = self.params.iter().map(|(name, v)| (name.clone(), place[v])).collect();
        graph.numbers = self.numbers.iter().filter_map(|(v, n)| Some((*place.get(v)?, *n))).collect();
        graph
    }

    /// The same graph where this input of a node, a parameter, is one of its own, of the same shape.
    ///
    /// # Errors
    /// If the name is taken.
    pub(crate) fn untied(&self, node: NodeId, input: usize, name: &str) -> Result<Self> {
        if self.params.contains_key(name) {
            return Err(Error::Graph { node: name.to_owned(), why: "there is a parameter of this name".to_owned() });
        }
        let mut graph = self.clone();
        let shape = self.shape(self.node(node).inputs[input]).to_vec();
        graph.nodes[node.0].inputs[input] = graph.param(name, &shape)?;
        Ok(graph)
    }

    /// Parameters that are used more than once, and how often.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 2])?;
    /// let h = g.linear("fc", x, 2)?;
    /// let y = g.linear("fc", h, 2)?;
    /// g.output(y);
    /// assert_eq!(g.uses()["fc.weight"], 2);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn uses(&self) -> BTreeMap<String, usize> {
        let counted = self.params.iter().map(|(name, value)| (name.clone(), self.readers(*value).count()));
        counted.filter(|(_, count)| *count > 1).collect()
    }

    /// Nodes that take a value, and as which of their inputs.
    pub(crate) fn readers(&self, value: ValueId) -> impl Iterator<Item = (NodeId, usize)> + '_ {
        let of = move |(id, node): (usize, &'_ super::Node)| {
            let places = node.inputs.iter().enumerate().filter(move |(_, v)| **v == value);
            places.map(move |(k, _)| (NodeId(id), k)).collect::<Vec<_>>()
        };
        self.nodes.iter().enumerate().flat_map(of)
    }

    /// The node that makes a value, and which of its outputs that is.
    pub(crate) fn made_by(&self, value: ValueId) -> Option<(NodeId, &super::Node)> {
        match self.value(value).source {
            ValueSource::Node(id, 0) => Some((id, self.node(id))),
            ValueSource::Node(..) | ValueSource::Input | ValueSource::Param | ValueSource::Constant(_) => None,
        }
    }
}
