//! Biases that attention passes on as they are, or does not see.

use super::Form;
use super::norms::{is_own, linear_readers};
use crate::error::Result;
use crate::graph::op::{Binary, Op, Unary};
use crate::graph::{Graph, Node, ValueId, ValueSource};
use crate::kinds::{Kind, Side, balance};
use crate::linalg::{Mat, Scalar};
use crate::symmetry::GroupId;

pub(super) fn fold(form: &mut Form<'_>) -> Result<()> {
    for node in form.graph.nodes() {
        let Op::Softmax { axis, log: false } = node.op else { continue };
        if axis + 1 != form.graph.shape(node.inputs[0]).len() {
            continue;
        }
        drop_key_bias(form, node)?;
        even_scores(form, node)?;
        for (id, input) in form.graph.readers(node.outputs[0]) {
            let mixed = form.graph.node(id);
            if mixed.op == Op::MatMul && input == 0 {
                move_value_bias(form, mixed)?;
            }
        }
    }
    Ok(())
}

/// A bias of keys adds the same to all scores of a query.
fn drop_key_bias(form: &mut Form<'_>, softmax: &Node) -> Result<()> {
    let graph = form.graph;
    let Some(scores) = products(graph, softmax.inputs[0]) else { return Ok(()) };
    let rank = graph.shape(scores.inputs[1]).len();
    let Some((bias, run)) = bias_behind(graph, scores.inputs[1]) else { return Ok(()) };
    // Keys stand along the last axis of the second factor, their units beside it.
    let turned = graph.made_by(scores.inputs[1]).is_some_and(|(_, node)| match &node.op {
        Op::Transpose(order) => order.ends_with(&[rank - 1, rank - 2]),
        _ => false,
    });
    if !turned {
        return Ok(());
    }
    let name = graph.value(bias).name.clone();
    if !form.has(&name) {
        return Ok(());
    }
    let mut values = form.values(&name)?;
    if !run.clear(&mut values) {
        return Ok(());
    }
    form.set(&name, &values)?;
    form.changes.key_biases.push(name);
    Ok(())
}

/// Queries and keys that stand in one tensor, made the same size: as parts of one they cannot be told apart by the tensor's side, so
/// [`balanced`](super::balanced) leaves them.
fn even_scores(form: &mut Form<'_>, softmax: &Node) -> Result<()> {
    let (graph, kinds) = (form.graph, form.kinds);
    let Some(scores) = products(graph, softmax.inputs[0]) else { return Ok(()) };
    let [Some(queries), Some(keys)] = [0, 1].map(|k| bias_behind(graph, scores.inputs[k])) else { return Ok(()) };
    if queries.0 != keys.0 {
        return Ok(());
    }
    let bias = graph.value(queries.0).name.clone();
    let Some(weight) = weight_beside(graph, queries.0).map(|w| graph.value(w).name.clone()) else { return Ok(()) };
    if !form.has(&weight) || !form.has(&bias) {
        return Ok(());
    }
    let groups = (0..kinds.symmetry.groups().len()).map(GroupId);
    let inside = |(_, run): (ValueId, Run), positions: &[usize]| positions.iter().all(|p| run.contains(*p));
    let parts = |id: GroupId, run| -> Vec<(usize, usize, Vec<usize>)> {
        kinds.fibres(id, &weight).into_iter().filter(|(_, _, positions)| inside(run, positions)).collect()
    };
    let of_both = |id: &GroupId| {
        kinds.kind(*id) == Kind::Orthogonal && !parts(*id, queries).is_empty() && !parts(*id, keys).is_empty()
    };
    let Some(id) = groups.into_iter().find(|id| of_both(id)) else { return Ok(()) };
    let (mut weights, mut biases) = (form.values(&weight)?, form.values(&bias)?);
    let shape = form.params.require(&weight)?.shape().to_vec();
    for copy in 0..kinds.symmetry.copies(id) {
        // Heads that are told apart have one element for all of them.
        let of = |run| parts(id, run).into_iter().filter(|(_, c, _)| *c == copy).collect::<Vec<_>>();
        let both = [(of(queries), Side::Along), (of(keys), Side::Against)];
        let grams = both.each_ref().map(|(fibres, _)| {
            let n = fibres.first().map_or(0, |(_, _, positions)| positions.len());
            let mut gram = vec![0.0; n * n];
            for (axis, _, positions) in fibres {
                let (rows, columns) = (rows(&weights, &biases, &shape, *axis, positions), shape[1 - axis] + 1);
                let rows = Mat::new(&rows, n, columns);
                f64::matmul(&mut gram, rows, rows.t(), true);
            }
            gram
        });
        let n = grams[0].len().isqrt();
        let Some(turn) = balance(&grams[0], &grams[1], n) else { continue };
        for (fibres, side) in both {
            let turn = turn.matrix(side);
            for (axis, _, positions) in fibres {
                let (rows, columns) = (rows(&weights, &biases, &shape, axis, &positions), shape[1 - axis] + 1);
                let mut turned = vec![0.0; n * columns];
                f64::matmul(&mut turned, Mat::new(&turn, n, n), Mat::new(&rows, n, columns), false);
                for (row, p) in turned.chunks(columns).zip(&positions) {
                    row[..columns - 1]
                        .iter()
                        .enumerate()
                        .for_each(|(k, value)| weights[entry(&shape, axis, *p, k)] = *value);
                    biases[*p] = row[columns - 1];
                }
            }
        }
    }
    form.set(&weight, &weights)?;
    form.set(&bias, &biases)
}

/// Rows of a matrix along an axis, each with its bias behind it.
fn rows(weights: &[f64], biases: &[f64], shape: &[usize], axis: usize, positions: &[usize]) -> Vec<f64> {
    let row = |p: &usize| {
        let (p, columns) = (*p, shape[1 - axis]);
        (0..columns).map(move |k| weights[entry(shape, axis, p, k)]).chain([biases[p]]).collect::<Vec<_>>()
    };
    positions.iter().flat_map(row).collect()
}

/// Where entry `k` of row `p` along an axis of a matrix lies.
fn entry(shape: &[usize], axis: usize, p: usize, k: usize) -> usize {
    if axis == 0 { p * shape[1] + k } else { k * shape[1] + p }
}

/// The weight of the layer that a bias belongs to.
fn weight_beside(graph: &Graph, bias: ValueId) -> Option<ValueId> {
    let (id, input) = graph.readers(bias).next()?;
    let node = graph.node(id);
    let weight = match (&node.op, input) {
        (Op::Linear, 2) => node.inputs[1],
        (Op::Binary(Binary::Add), _) => {
            let (_, product) = graph.made_by(node.inputs[1 - input.min(1)])?;
            *product.inputs.get(1).filter(|_| product.op == Op::MatMul)?
        }
        _ => return None,
    };
    is_own(graph, weight).then_some(weight).filter(|w| graph.shape(*w).len() == 2)
}

/// What is computed of queries and keys, behind scales and masks that depend on neither.
fn products(graph: &Graph, mut value: ValueId) -> Option<&Node> {
    loop {
        let (_, node) = graph.made_by(value)?;
        let apart = |v: &ValueId| matches!(graph.value(*v).source, ValueSource::Constant(_));
        match &node.op {
            Op::MatMul => return Some(node),
            Op::Binary(Binary::Add | Binary::Mul) => value = *node.inputs.iter().find(|v| !apart(v))?,
            Op::Binary(Binary::Div | Binary::Sub) if apart(&node.inputs[1]) => value = node.inputs[0],
            _ => return None,
        }
        if node.inputs.iter().filter(|v| !apart(v)).count() != 1 {
            return None;
        }
    }
}

/// Weights of attention sum to 1, so a bias of values is one of what attention gives.
fn move_value_bias(form: &mut Form<'_>, mixed: &Node) -> Result<()> {
    let (graph, kinds) = (form.graph, form.kinds);
    let Some((bias, run)) = bias_behind(graph, mixed.inputs[1]) else { return Ok(()) };
    let Some(joined) = joined(graph, mixed.outputs[0]) else { return Ok(()) };
    let Some(readers) = linear_readers(graph, joined) else { return Ok(()) };
    let [reader] = &readers[..] else { return Ok(()) };
    let Some(to) = reader.bias.filter(|to| is_own(graph, *to)) else { return Ok(()) };
    let [name, weight, to] = [bias, reader.weight(), to].map(|v| graph.value(v).name.clone());
    if ![&name, &weight, &to].into_iter().all(|name| form.has(name)) {
        return Ok(());
    }
    let groups = (0..kinds.symmetry.groups().len()).map(GroupId);
    let between = |id: &GroupId| {
        let sides = [kinds.side(*id, &name), kinds.side(*id, &weight)];
        kinds.kind(*id) == Kind::Orthogonal && matches!(sides, [Some(one), Some(other)] if one != other)
    };
    let Some(id) = groups.into_iter().find(|id| between(id)) else { return Ok(()) };
    let (mut biases, weights, mut sums) = (form.values(&name)?, form.values(&weight)?, form.values(&to)?);
    let before = biases.clone();
    if !run.clear(&mut biases) {
        return Ok(());
    }
    let (own, read) = (kinds.fibres(id, &name), kinds.fibres(id, &weight));
    // Where heads are told apart, one copy has units of all of them.
    if (0..kinds.symmetry.copies(id)).any(|copy| own.iter().filter(|(_, c, _)| *c == copy).count() > 1) {
        return Ok(());
    }
    let shape = form.graph.shape(reader.weight()).to_vec();
    for (axis, copy, positions) in read {
        for (unit, at) in positions.iter().enumerate() {
            let bias: f64 = own.iter().filter(|(_, c, _)| *c == copy).map(|(_, _, p)| before[p[unit]]).sum();
            for (out, sum) in sums.iter_mut().enumerate() {
                *sum += bias * weights[if axis == 0 { at * shape[1] + out } else { out * shape[1] + at }];
            }
        }
    }
    form.set(&name, &biases)?;
    form.set(&to, &sums)?;
    form.changes.value_biases.push(name);
    Ok(())
}

/// Entries of a bias: a run of every `period` of them.
#[derive(Debug, Clone, Copy)]
struct Run {
    start: usize,
    len: usize,
    period: usize,
}

impl Run {
    fn contains(self, at: usize) -> bool {
        (self.start..self.start + self.len).contains(&(at % self.period))
    }

    /// Makes these entries 0; whether any was not.
    fn clear(self, values: &mut [f64]) -> bool {
        let mut any = false;
        for (_, value) in values.iter_mut().enumerate().filter(|(at, _)| self.contains(*at)) {
            any |= *value != 0.0;
            *value = 0.0;
        }
        any
    }
}

/// The bias that is added last before a value takes its shape, and which of its entries stand there.
fn bias_behind(graph: &Graph, mut value: ValueId) -> Option<(ValueId, Run)> {
    let mut run: Option<Run> = None;
    loop {
        let (_, node) = graph.made_by(value)?;
        let input = node.inputs[0];
        let len = *graph.shape(input).last()?;
        match &node.op {
            // The last axis cut into pieces, of each of which a run is taken.
            Op::Reshape(_) if run.is_none_or(|run| len.is_multiple_of(run.period)) => value = input,
            Op::Transpose(order) if run.is_none() || order.last() == Some(&(order.len() - 1)) => value = input,
            Op::Expand(_) | Op::Unary(Unary::Identity) => value = input,
            Op::Slice { axis, start, len: taken, step: 1 } if run.is_none() && axis + 1 == graph.shape(input).len() => {
                run = Some(Run { start: *start, len: *taken, period: len });
                value = input;
            }
            Op::Linear => return whole(graph, *node.inputs.get(2)?, run),
            Op::Binary(Binary::Add) => {
                let bias = *node.inputs.iter().find(|v| graph.value(**v).source == ValueSource::Param)?;
                return whole(graph, bias, run);
            }
            _ => return None,
        }
    }
}

fn whole(graph: &Graph, bias: ValueId, run: Option<Run>) -> Option<(ValueId, Run)> {
    let [len] = graph.shape(bias)[..] else { return None };
    let run = run.unwrap_or(Run { start: 0, len, period: len });
    (is_own(graph, bias) && len.is_multiple_of(run.period)).then_some((bias, run))
}

/// Heads beside each other: what is behind changes of shape alone.
fn joined(graph: &Graph, mut value: ValueId) -> Option<ValueId> {
    loop {
        let readers: Vec<_> = graph.readers(value).collect();
        let [(id, 0)] = readers[..] else { return None };
        let node = graph.node(id);
        match &node.op {
            Op::Reshape(_) | Op::Transpose(_) => value = node.outputs[0],
            _ => return Some(value),
        }
    }
}
