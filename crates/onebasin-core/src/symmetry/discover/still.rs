//! Values that neither an input nor a parameter decides: the same in every network of this graph.

use crate::graph::{Graph, Node, Op, ValueId, ValueSource};

/// Which values are still, and along which of their axes they are the same.
pub(super) struct Still {
    /// By axis, of every value that is still.
    uniform: Vec<Option<Vec<bool>>>,
}

impl Still {
    /// Looks at every constant, and at what nodes make of constants alone.
    ///
    /// Cost: one pass over the constants and the nodes.
    pub(super) fn new(graph: &Graph) -> Self {
        let mut still = Self { uniform: vec![None; graph.values().len()] };
        for value in graph.ids() {
            if let ValueSource::Constant(tensor) = &graph.value(value).source {
                let rank = tensor.shape().len();
                still.uniform[value.0] = Some((0..rank).map(|axis| tensor.is_uniform(axis)).collect());
            }
        }
        for node in graph.nodes() {
            if !node.inputs.is_empty() && node.inputs.iter().all(|v| still.is(*v)) {
                for output in &node.outputs {
                    still.uniform[output.0] = Some(still.made(graph, node, *output));
                }
            }
        }
        still
    }

    pub(super) fn is(&self, value: ValueId) -> bool {
        self.uniform[value.0].is_some()
    }

    /// Whether a still value is the same all along an axis.
    pub(super) fn uniform(&self, value: ValueId, axis: usize) -> bool {
        self.uniform[value.0].as_ref().is_some_and(|axes| axes[axis])
    }

    fn all(&self, value: ValueId) -> bool {
        self.uniform[value.0].as_ref().is_some_and(|axes| axes.iter().all(|u| *u))
    }

    /// Along which axes what a node makes of still values is the same.
    fn made(&self, graph: &Graph, node: &Node, output: ValueId) -> Vec<bool> {
        let rank = graph.shape(output).len();
        let of = |v: &ValueId, axis: usize| {
            let shape = graph.shape(*v);
            let own = (axis + shape.len()).checked_sub(rank);
            own.is_none_or(|own| shape[own] == 1 || self.uniform(*v, own))
        };
        if let Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Expand(_) = &node.op {
            (0..rank).map(|axis| node.inputs.iter().all(|v| of(v, axis))).collect()
        } else if let Op::Transpose(order) = &node.op {
            order.iter().map(|from| self.uniform(node.inputs[0], *from)).collect()
        } else if let Op::Reshape(_) | Op::Slice { .. } | Op::Reduce { .. } = &node.op {
            vec![self.all(node.inputs[0]); rank]
        } else {
            // What else there is may make anything of what is the same everywhere.
            vec![false; rank]
        }
    }
}
