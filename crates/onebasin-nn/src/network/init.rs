//! Initial weights.

use std::collections::BTreeSet;

use onebasin_core::graph::{Graph, Op, Value, ValueId};
use onebasin_core::stream::Stream;
use onebasin_core::{Params, Tensor};
use rayon::prelude::*;

use crate::error::Result;

/// Weights of a graph as Flax's layers draw them.
pub(super) fn draw(graph: &Graph, seed: u64) -> Result<Params> {
    let (kernels, ones) = kernels_and_gains(graph);
    made(graph, |id, value, count| match (kernels.contains(&id), ones.contains(&id)) {
        (true, _) => kernel(&value.shape, count, &mut stream(seed, value)),
        (false, true) => vec![1.0; count],
        (false, false) => vec![0.0; count],
    })
}

/// Weights as transformers draw them: gains of norms are ones, vectors otherwise zeros, everything else normal.
pub(crate) fn draw_normal(graph: &Graph, deviation: f64, seed: u64) -> Result<Params> {
    let (_, ones) = kernels_and_gains(graph);
    made(graph, |id, value, count| match (ones.contains(&id), value.shape.len()) {
        (true, _) => vec![1.0; count],
        (false, 0 | 1) => vec![0.0; count],
        (false, _) => {
            let mut stream = stream(seed, value);
            (0..count).map(|_| (deviation * stream.normal()) as f32).collect()
        }
    })
}

fn stream(seed: u64, value: &Value) -> Stream {
    Stream::new(seed, &format!("init/{}", value.name))
}

/// Every parameter of a graph, its numbers by what it is.
fn made(graph: &Graph, values: impl Fn(ValueId, &Value, usize) -> Vec<f32> + Sync) -> Result<Params> {
    let params: Vec<(ValueId, &Value)> = graph.ids().map(|v| (v, graph.value(v))).filter(is_param).collect();
    let made = |&(id, value): &(ValueId, &Value)| {
        let count = onebasin_core::element_count(&value.shape)?;
        Ok((value.name.clone(), Tensor::from_f32(&value.shape, values(id, value, count))?))
    };
    params.par_iter().map(made).collect::<Result<Vec<_>>>().map(Params::from_iter)
}

/// The weights of layers that mix units, and the gains of norms with their running variances.
fn kernels_and_gains(graph: &Graph) -> (BTreeSet<ValueId>, BTreeSet<ValueId>) {
    let (mut kernels, mut ones) = (BTreeSet::new(), BTreeSet::new());
    for node in graph.nodes() {
        let parts: (&mut BTreeSet<ValueId>, &[usize]) = match node.op {
            Op::Linear | Op::Conv(_) => (&mut kernels, &[1]),
            Op::BatchNorm { .. } => (&mut ones, &[1, 4]),
            Op::LayerNorm { .. } => (&mut ones, &[1]),
            Op::MatMul
            | Op::ConvTranspose { .. }
            | Op::Pool(_)
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
            | Op::Unknown(_) => continue,
        };
        parts.0.extend(parts.1.iter().filter_map(|&k| node.inputs.get(k)));
    }
    (kernels, ones)
}

/// Whether a value is one of the network's tensors.
fn is_param(value: &(ValueId, &Value)) -> bool {
    value.1.source == onebasin_core::graph::ValueSource::Param
}

/// A normal of variance 1/fan-in, truncated at two standard deviations and rescaled to keep the variance.
fn kernel(shape: &[usize], count: usize, stream: &mut Stream) -> Vec<f32> {
    /// Standard deviation of a standard normal truncated to [−2, 2].
    const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;
    let fan_in = shape.iter().skip(1).product::<usize>() as f64;
    let scale = (1.0 / fan_in).sqrt() / TRUNCATED_STD;
    let mut draw = || loop {
        let z = stream.normal();
        if z.abs() <= 2.0 {
            break (z * scale) as f32;
        }
    };
    (0..count).map(|_| draw()).collect()
}
