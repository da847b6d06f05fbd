//! How much work a graph is, by which batches are cut.

use onebasin_core::graph::{Graph, Op, ValueId, ValueSource};

/// How much work one sample is.
#[derive(Debug, Clone, Copy)]
pub(super) struct SampleWork {
    /// Numbers in all values of a sample.
    pub numbers: f64,
    /// Multiply-adds of products.
    pub multiply_adds: f64,
    /// Multiply-adds per weight.
    pub reuse: f64,
}

impl SampleWork {
    /// Of a sample of a graph that was built for `batch` samples.
    pub(super) fn of(graph: &Graph, batch: usize) -> Self {
        let count = |v: ValueId| graph.shape(v).iter().map(|n| *n as f64).product::<f64>();
        let computed = |v: &ValueId| matches!(graph.value(*v).source, ValueSource::Input | ValueSource::Node(..));
        let numbers = graph.ids().filter(computed).map(count).sum::<f64>() / batch as f64;
        let products = graph.nodes().iter().map(|node| {
            let [x, w, ..] = node.inputs[..] else { return 0.0 };
            let output = count(node.outputs[0]);
            match &node.op {
                Op::Linear => output * graph.shape(w)[1] as f64,
                Op::Conv(_) => output * count(w) / graph.shape(w)[0] as f64,
                Op::ConvTranspose { .. } => count(x) * count(w) / graph.shape(w)[0] as f64,
                Op::MatMul => output * graph.shape(x).last().map_or(1.0, |n| *n as f64),
                Op::Recurrent { .. } => {
                    let steps: usize = graph.shape(x).iter().take(2).product();
                    steps as f64 * (count(w) + count(node.inputs[2]))
                }
                Op::Pool(_)
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
                | Op::Unknown(_) => 0.0,
            }
        });
        let weights: f64 = graph.params().map(|p| p.shape.iter().product::<usize>() as f64).sum();
        let multiply_adds = products.sum::<f64>() / batch as f64;
        Self { numbers, multiply_adds, reuse: (multiply_adds / weights.max(1.0)).max(f64::EPSILON) }
    }
}
