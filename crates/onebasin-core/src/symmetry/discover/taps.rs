//! Taps: where inside a network units of a group show themselves.

use std::collections::BTreeSet;

use super::{AxisRef, Discovery};
use crate::graph::{Node, Op, ValueId, ValueSource};
use crate::symmetry::{GroupId, Pattern, Symmetry};

/// What is looked at along one axis of a value.
///
/// A value of a stack is looked at with those of the other tensors, which stand side by side along the axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// What the axes are made of.
    pub pattern: Pattern,
    /// Lengths of the axes, at the graph's batch.
    pub shape: Vec<usize>,
    /// The values that stand side by side.
    pub values: Vec<ValueId>,
}

impl Discovery<'_> {
    /// The axes of values where the units of each group show themselves, every axis once, in the graph's order.
    ///
    /// They are what layers read: the data of every operator that contracts the axis with weights, so that a hidden layer
    /// shows after its nonlinearity, a residual stream at every block, and the state of a recurrent cell at every step.
    /// A group that none of them shows (attention heads whose queries and keys meet each other, not a weight) shows in
    /// the last computed value in which it stands, for a family in one product with its parent. Groups that stand in no
    /// such value have no tap. `symmetry` must have the groups of [`Self::spec`].
    ///
    /// Cost: linear in the number of values, times the groups that need another place.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// use onebasin_core::symmetry::{Symmetry, discover};
    /// use onebasin_core::{Params, Tensor};
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 6])?;
    /// let h = g.linear("fc1", x, 4)?;
    /// let h = g.relu(h)?;
    /// let y = g.linear("fc2", h, 2)?;
    /// g.output(y);
    /// let zeros = |p: &onebasin_core::graph::Value| Tensor::from_f32(&p.shape, vec![0.0; p.shape.iter().product()]);
    /// let net = g.params().map(|p| Ok((p.name.clone(), zeros(p)?))).collect::<Result<Params, onebasin_core::Error>>()?;
    /// let found = discover(&g);
    /// let symmetry = Symmetry::resolve(found.spec(), &net)?;
    /// let taps = found.taps(&symmetry);
    /// assert_eq!(taps.iter().map(|t| (t.value, t.axis)).collect::<Vec<_>>(), [(h, 1)]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn taps(&self, symmetry: &Symmetry) -> Vec<AxisRef> {
        let varies = self.varying();
        let mut taps: BTreeSet<AxisRef> =
            self.graph.nodes().iter().flat_map(|node| self.reads(node, &varies)).collect();
        let computed = |v: ValueId| varies[v.0] && matches!(self.graph.value(v).source, ValueSource::Node(..));
        taps.retain(|t| computed(t.value) && !self.groups_at(symmetry, *t).is_empty());
        let shown: BTreeSet<GroupId> = taps.iter().flat_map(|t| self.groups_at(symmetry, *t)).collect();
        let mut hidden: BTreeSet<GroupId> = (0..symmetry.groups().len()).map(GroupId).collect();
        hidden.retain(|g| !shown.contains(g));
        // Families first: where one shows, so does its parent.
        for families in [true, false] {
            if hidden.is_empty() {
                break;
            }
            for value in (0..self.graph.values().len()).rev().map(ValueId).filter(|v| computed(*v)) {
                for axis in 0..self.graph.shape(value).len() {
                    let here = self.groups_at(symmetry, AxisRef { value, axis });
                    let new = |g: &GroupId| hidden.contains(g) && symmetry.group(*g).parent.is_some() == families;
                    if here.iter().any(new) {
                        hidden.retain(|g| !here.contains(g));
                        taps.insert(AxisRef { value, axis });
                    }
                }
            }
        }
        taps.into_iter().collect()
    }

    /// The groups in one axis of a value; none where its pattern has no layout.
    /// What is looked at along an axis of a value; nothing where no group stands in it.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// use onebasin_core::symmetry::{AxisRef, discover};
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let h = g.linear("fc1", x, 3)?;
    /// let y = g.linear("fc2", h, 2)?;
    /// g.output(y);
    /// let tap = discover(&g).tap(AxisRef { value: h, axis: 1 }).expect("units of `fc1`");
    /// assert_eq!((tap.pattern.to_string(), tap.shape, tap.values), (". fc1".to_owned(), vec![1, 3], vec![h]));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn tap(&self, at: AxisRef) -> Option<Tap> {
        let shape = self.graph.shape(at.value);
        if let Some(pattern) = self.value_pattern(at.value) {
            return Some(Tap { pattern: pattern.clone(), shape: shape.to_vec(), values: vec![at.value] });
        }
        let lanes = *self.axes[at.value.0].get(shape.len())?;
        let mut rows = self.stacks.iter().flat_map(|stack| &stack.values);
        let values = rows.find(|row| row[0] == at.value)?.clone();
        let own = &self.axes[at.value.0][..shape.len()];
        let pattern = self.writer.beside(&self.terms, own, (at.axis, lanes));
        let mut shape = shape.to_vec();
        shape[at.axis] *= values.len();
        Some(Tap { pattern, shape, values })
    }

    fn groups_at(&self, symmetry: &Symmetry, at: AxisRef) -> BTreeSet<GroupId> {
        let Some(tap) = self.tap(at) else { return BTreeSet::new() };
        let name = &self.graph.value(at.value).name;
        let Ok(layout) = symmetry.layout(name, &tap.pattern, &tap.shape) else { return BTreeSet::new() };
        layout.axes[at.axis].occurrences.iter().flat_map(|o| &o.digits).filter_map(|d| d.group).collect()
    }

    /// Whether a value depends on the network's inputs.
    fn varying(&self) -> Vec<bool> {
        let mut varies: Vec<bool> = self.graph.values().iter().map(|v| v.source == ValueSource::Input).collect();
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
            Op::Linear | Op::MatMul if !varies[w.0] => vec![AxisRef { value: x, axis: rank(x) - 1 }],
            Op::MatMul if !varies[x.0] => vec![AxisRef { value: w, axis: rank(w).max(2) - 2 }],
            Op::Conv(conv) | Op::ConvTranspose { conv, .. }
                if !varies[w.0] && (conv.groups == 1 || conv.groups < self.graph.shape(x)[1]) =>
            {
                vec![AxisRef { value: x, axis: 1 }]
            }
            Op::Recurrent { .. } if !varies[w.0] => {
                vec![AxisRef { value: x, axis: 2 }, AxisRef { value: node.outputs[0], axis: 3 }]
            }
            Op::Linear
            | Op::MatMul
            | Op::Conv(_)
            | Op::ConvTranspose { .. }
            | Op::Pool(_)
            | Op::BatchNorm { .. }
            | Op::LayerNorm { .. }
            | Op::GroupNorm { .. }
            | Op::LocalResponseNorm { .. }
            | Op::Unary(_)
            | Op::Binary(_)
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
            | Op::ScatterElements { .. }
            | Op::TopK { .. }
            | Op::CumSum { .. }
            | Op::NonZero
            | Op::Resize { .. }
            | Op::Recurrent { .. }
            | Op::Unknown(_) => Vec::new(),
        }
    }
}
