//! Running a graph: forward, loss, backward, over one shard of a batch.
//!
//! Weights and gradients are one flat `f32` vector, parameters in the order of [`Graph::params`]. A [`Workspace`] holds
//! every buffer of one shard, so that steps allocate nothing; shards run side by side on threads, and their gradients
//! are added in a fixed order.

use std::ops::Range;

use onebasin::graph::{Graph, ValueId};
use onebasin::{Params, Tensor};

use crate::error::Result;
use crate::ops::{Call, Kernel, kernel};

/// Where every parameter lies in the flat vector.
#[derive(Debug, Clone)]
pub struct Program {
    graph: Graph,
    ranges: Vec<Range<usize>>,
}

/// Loss and number of correct answers, summed over samples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome {
    /// Sum of the cross-entropies, in nats.
    pub loss: f64,
    /// Samples whose largest output is the right class.
    pub correct: usize,
}

impl std::ops::Add for Outcome {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { loss: self.loss + other.loss, correct: self.correct + other.correct }
    }
}

impl Program {
    /// Prepares a graph.
    pub fn new(graph: Graph) -> Self {
        let mut end = 0;
        let range = |p: &onebasin::graph::Param| {
            let start = end;
            end += p.shape.iter().product::<usize>();
            start..end
        };
        let ranges = graph.params().iter().map(range).collect();
        Self { graph, ranges }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Length of the flat vector.
    pub fn weight_count(&self) -> usize {
        self.ranges.last().map_or(0, |r| r.end)
    }

    /// Copies a network's tensors into the flat vector.
    ///
    /// # Errors
    /// If a tensor is missing or is no float; shapes are the caller's to check.
    pub fn flatten(&self, params: &Params) -> Result<Vec<f32>> {
        let mut flat = Vec::with_capacity(self.weight_count());
        for param in self.graph.params() {
            flat.extend_from_slice(&params.require(&param.name)?.to_f32()?);
        }
        Ok(flat)
    }

    /// The tensors of the flat vector, each name preceded by `prefix`.
    pub fn unflatten(&self, flat: &[f32], prefix: &str) -> Result<Params> {
        let tensor = |(p, range): (&onebasin::graph::Param, &Range<usize>)| {
            Ok((format!("{prefix}{}", p.name), Tensor::from_f32(&p.shape, flat[range.clone()].to_vec())?))
        };
        self.graph.params().iter().zip(&self.ranges).map(tensor).collect()
    }

    fn kernels(&self) -> impl Iterator<Item = (usize, &'static dyn Kernel)> + '_ {
        self.graph.nodes().iter().map(|n| kernel(n.op)).enumerate()
    }

    /// Computes every value for the `batch` samples in the workspace's input.
    pub fn forward(&self, weights: &[f32], batch: usize, space: &mut Workspace) {
        for (k, kernel) in self.kernels() {
            let node = &self.graph.nodes()[k];
            let (before, after) = space.values.split_at_mut(k + 1);
            let inputs: Vec<&[f32]> = node.inputs.iter().map(|v| &before[v.0][..batch * self.graph.len(*v)]).collect();
            let params: Vec<&[f32]> = node.params.iter().map(|p| &weights[self.ranges[p.0].clone()]).collect();
            let len = batch * self.graph.len(ValueId(k + 1));
            kernel.forward(&Call { batch, inputs: &inputs, params: &params }, &mut after[0][..len]);
        }
    }

    /// Softmax cross-entropy of the last forward pass against `labels`.
    ///
    /// Formula: `Σ_s (log Σ_c exp z_sc − z_s,label)`, stabilised by the largest output.
    pub fn outcome(&self, labels: &[u8], space: &Workspace) -> Outcome {
        let classes = self.graph.len(self.graph.output());
        let logits = &space.values[self.graph.output().0];
        let sample = |(z, &label): (&[f32], &u8)| {
            let largest = z.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
            let sum: f64 = z.iter().map(|&v| f64::from(v - largest).exp()).sum();
            let best = z.iter().position(|v| *v == largest);
            let loss = sum.ln() + f64::from(largest) - f64::from(z[usize::from(label)]);
            Outcome { loss, correct: usize::from(best == Some(usize::from(label))) }
        };
        logits.chunks_exact(classes).zip(labels).map(sample).fold(Outcome::default(), |a, b| a + b)
    }

    /// Gradient of `scale · Σ` cross-entropy with respect to the weights, into the workspace.
    pub fn backward(&self, weights: &[f32], labels: &[u8], scale: f32, space: &mut Workspace) {
        let batch = labels.len();
        let classes = self.graph.len(self.graph.output());
        let Workspace { values, gradients, d_weights } = space;
        for gradient in gradients.iter_mut() {
            gradient.fill(0.0);
        }
        d_weights.fill(0.0);
        let output = self.graph.output().0;
        for ((d, z), &label) in
            gradients[output].chunks_exact_mut(classes).zip(values[output].chunks_exact(classes)).zip(labels)
        {
            let largest = z.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
            d.iter_mut().zip(z).for_each(|(d, z)| *d = (z - largest).exp());
            let sum: f32 = d.iter().sum();
            for d in d.iter_mut() {
                *d *= scale / sum;
            }
            d[usize::from(label)] -= scale;
        }
        for (k, kernel) in self.kernels().collect::<Vec<_>>().into_iter().rev() {
            let node = &self.graph.nodes()[k];
            let (before, after) = gradients.split_at_mut(k + 1);
            let inputs: Vec<&[f32]> = node.inputs.iter().map(|v| &values[v.0][..batch * self.graph.len(*v)]).collect();
            let params: Vec<&[f32]> = node.params.iter().map(|p| &weights[self.ranges[p.0].clone()]).collect();
            let len = batch * self.graph.len(ValueId(k + 1));
            let mut d_params = disjoint(d_weights, node.params.iter().map(|p| self.ranges[p.0].clone()));
            let [source] = node.inputs[..] else { unreachable!("every operator has one input") };
            let wanted = source != self.graph.input();
            let d_input = &mut before[source.0][..batch * self.graph.len(source)];
            kernel.backward(
                &Call { batch, inputs: &inputs, params: &params },
                &values[k + 1][..len],
                &after[0][..len],
                &mut [wanted.then_some(d_input)],
                &mut d_params,
            );
        }
    }
}

/// Disjoint ascending ranges of one slice, borrowed at once.
fn disjoint(mut slice: &mut [f32], ranges: impl Iterator<Item = Range<usize>>) -> Vec<&mut [f32]> {
    let mut from = 0;
    let mut parts = Vec::new();
    for range in ranges {
        let (_, rest) = slice.split_at_mut(range.start - from);
        let (part, rest) = rest.split_at_mut(range.len());
        (slice, from) = (rest, range.end);
        parts.push(part);
    }
    parts
}

/// All buffers one shard needs.
#[derive(Debug)]
pub struct Workspace {
    values: Vec<Vec<f32>>,
    gradients: Vec<Vec<f32>>,
    /// Gradient of the loss with respect to the weights, after [`Program::backward`].
    pub d_weights: Vec<f32>,
}

impl Workspace {
    /// Buffers for at most `batch` samples, forward only.
    pub fn inference(program: &Program, batch: usize) -> Self {
        let graph = program.graph();
        let values = (0..=graph.nodes().len()).map(|v| vec![0.0; batch * graph.len(ValueId(v))]).collect();
        Self { values, gradients: Vec::new(), d_weights: Vec::new() }
    }

    /// Buffers for at most `batch` samples, forward and backward.
    pub fn training(program: &Program, batch: usize) -> Self {
        let forward = Self::inference(program, batch);
        Self { gradients: forward.values.clone(), d_weights: vec![0.0; program.weight_count()], ..forward }
    }

    /// Where the input of `batch` samples goes.
    pub fn input(&mut self, len: usize) -> &mut [f32] {
        &mut self.values[0][..len]
    }

    /// The first `len` numbers of the last forward pass's output, one row per sample.
    pub fn output(&self, len: usize) -> &[f32] {
        self.values.last().map_or(&[], |v| &v[..len])
    }
}
