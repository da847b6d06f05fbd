//! Taps: where inside a network units of a group show themselves.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{AxisRef, Discovery};
use crate::graph::{Node, Op, Source, ValueId};
use crate::symmetry::{GroupId, Symmetry};

/// Which values inside a network are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Taps {
    /// What layers read: the data of every operator that contracts the group's axis with a parameter (after the
    /// nonlinearity, and for a residual stream at every block).
    #[default]
    Inputs,
    /// What layers write: outputs of affine operators, after the normalisation or bias that follows, if one does (before
    /// the nonlinearity and, for a residual stream, before the sum).
    Outputs,
}

impl Discovery<'_> {
    /// The axes of values where the units of each group are looked at, every axis once, in the graph's order.
    ///
    /// A group that none of them shows (attention heads whose queries and keys meet each other, not a weight) is looked at
    /// in the last computed value in which it stands, for a family in one product with its parent. Groups that stand in no
    /// such value have no tap. `symmetry` must have the groups of [`Self::spec`].
    ///
    /// Cost: linear in the number of values, times the groups that need another place.
    ///
    /// ```
    /// use onebasin::graph::Graph;
    /// use onebasin::symmetry::{Symmetry, Taps, discover};
    /// use onebasin::{Params, Tensor};
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 6])?;
    /// let h = g.linear("fc1", x, 4)?;
    /// let h = g.relu(h)?;
    /// let y = g.linear("fc2", h, 2)?;
    /// g.output(y);
    /// let zeros = |p: &onebasin::graph::Value| Tensor::from_f32(&p.shape, vec![0.0; p.shape.iter().product()]);
    /// let net = g.params().map(|p| Ok((p.name.clone(), zeros(p)?))).collect::<Result<Params, onebasin::Error>>()?;
    /// let found = discover(&g);
    /// let symmetry = Symmetry::resolve(found.spec(), &net)?;
    /// let taps = found.taps(&symmetry, Taps::Inputs);
    /// assert_eq!(taps.iter().map(|t| (t.value, t.axis)).collect::<Vec<_>>(), [(h, 1)]);
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    pub fn taps(&self, symmetry: &Symmetry, which: Taps) -> Vec<AxisRef> {
        let varies = self.varying();
        let mut taps: BTreeSet<AxisRef> = match which {
            Taps::Inputs => self.graph.nodes().iter().flat_map(|node| self.reads(node, &varies)).collect(),
            Taps::Outputs => self.writes(&varies),
        };
        let computed = |v: ValueId| varies[v.0] && matches!(self.graph.value(v).source, Source::Node(..));
        taps.retain(|t| computed(t.value) && !self.groups_at(symmetry, *t).is_empty());
        let shown: BTreeSet<GroupId> = taps.iter().flat_map(|t| self.groups_at(symmetry, *t)).collect();
        let mut hidden: BTreeSet<GroupId> = (0..symmetry.groups().len()).map(GroupId).collect();
        hidden.retain(|g| !shown.contains(g));
        let mut values: Vec<ValueId> = self.graph.ids().filter(|v| computed(*v)).collect();
        while let (false, Some(value)) = (hidden.is_empty(), values.pop()) {
            for axis in 0..self.graph.shape(value).len() {
                let here = self.groups_at(symmetry, AxisRef { value, axis });
                if here.iter().any(|g| hidden.contains(g)) {
                    hidden.retain(|g| !here.contains(g));
                    taps.insert(AxisRef { value, axis });
                }
            }
        }
        taps.into_iter().collect()
    }

    /// The groups in one axis of a value; none where its pattern has no layout.
    fn groups_at(&self, symmetry: &Symmetry, at: AxisRef) -> BTreeSet<GroupId> {
        let Some(pattern) = self.value_pattern(at.value) else { return BTreeSet::new() };
        let value = self.graph.value(at.value);
        let Ok(layout) = symmetry.layout(&value.name, pattern, &value.shape) else { return BTreeSet::new() };
        layout.axes[at.axis].occurrences.iter().flat_map(|o| &o.digits).filter_map(|d| d.group).collect()
    }

    /// Whether a value depends on the network's inputs.
    fn varying(&self) -> Vec<bool> {
        let mut varies: Vec<bool> = self.graph.values().iter().map(|v| v.source == Source::Input).collect();
        for node in self.graph.nodes() {
            let any = node.inputs.iter().any(|v| varies[v.0]);
            node.outputs.iter().for_each(|v| varies[v.0] = any);
        }
        varies
    }

    /// The axes that a node contracts with weights.
    fn reads(&self, node: &Node, varies: &[bool]) -> Vec<AxisRef> {
        let rank = |v: ValueId| self.graph.shape(v).len();
        let [x, w, ..] = node.inputs[..] else { return Vec::new() };
        match &node.op {
            Op::Linear if !varies[w.0] => vec![AxisRef { value: x, axis: rank(x) - 1 }],
            Op::MatMul if !varies[w.0] => vec![AxisRef { value: x, axis: rank(x) - 1 }],
            Op::MatMul if !varies[x.0] => vec![AxisRef { value: w, axis: rank(w).max(2) - 2 }],
            Op::Conv(conv) | Op::ConvTranspose { conv, .. }
                if !varies[w.0] && (conv.groups == 1 || conv.groups < self.graph.shape(x)[1]) =>
            {
                vec![AxisRef { value: x, axis: 1 }]
            }
            Op::Recurrent { .. } if !varies[w.0] => {
                vec![AxisRef { value: x, axis: 2 }, AxisRef { value: node.outputs[0], axis: 3 }]
            }
            _ => Vec::new(),
        }
    }

    /// The axes of what affine operators give, seen after the last one before something else.
    fn writes(&self, varies: &[bool]) -> BTreeSet<AxisRef> {
        let mut last: BTreeSet<ValueId> = BTreeSet::new();
        for node in self.graph.nodes() {
            let mut data = node.inputs.iter().filter(|v| varies[v.0]);
            let (Some(x), None) = (data.next(), data.next()) else { continue };
            let affine = match &node.op {
                Op::Linear | Op::MatMul | Op::Conv(_) | Op::ConvTranspose { .. } | Op::Recurrent { .. } => true,
                Op::BatchNorm { .. } | Op::GroupNorm { .. } | Op::LayerNorm { .. } | Op::Binary(_) => last.remove(x),
                _ => false,
            };
            if affine {
                last.insert(node.outputs[0]);
            }
        }
        let axes = |value: ValueId| (0..self.graph.shape(value).len()).map(move |axis| AxisRef { value, axis });
        last.into_iter().flat_map(axes).collect()
    }
}
