//! Gains of norms: a parameter, or a number more than one.

use crate::graph::op::{Binary, Op};
use crate::graph::{Graph, ValueId, ValueSource};

/// The parameter that a gain is, and how much more it is.
pub(crate) fn gain(graph: &Graph, value: ValueId) -> Option<(ValueId, f64)> {
    let source = |value: ValueId| &graph.value(value).source;
    if *source(value) == ValueSource::Param {
        return Some((value, 0.0));
    }
    let (_, node) = graph.made_by(value).filter(|(_, node)| node.op == Op::Binary(Binary::Add))?;
    let (param, more) = match (source(node.inputs[0]), source(node.inputs[1])) {
        (ValueSource::Param, ValueSource::Constant(more)) => (node.inputs[0], more),
        (ValueSource::Constant(more), ValueSource::Param) => (node.inputs[1], more),
        _ => return None,
    };
    let all = more.to_f64().ok()?;
    let first = *all.first()?;
    (graph.shape(param) == graph.shape(value) && all.iter().all(|m| *m == first)).then_some((param, first))
}
