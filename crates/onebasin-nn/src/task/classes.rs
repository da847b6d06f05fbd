//! Softmax cross-entropy, stabilised by the largest output: of one label a sample, or one at every position.

use onebasin_core::graph::Graph;

use super::{Task, clear, first, misfit, no_target};
use crate::error::Result;
use crate::exec::Outcome;
use crate::ops::Real;
use crate::samples::{Field, FieldKind, Samples};

/// One label a sample: softmax cross-entropy, in nats, of the first output `[samples, classes]`.
///
/// Formula: `Σ_s (log Σ_c exp z_sc − z_s,label)`; right is a sample whose largest output, the first of equally large ones,
/// is that of its label. Other outputs count for nothing: their gradients are zero. The gradient of the first is
/// `softmax z − 1_label`. Losses are summed in f64.
///
/// Errors of [`Task::check`]: a target that is not one index a sample, and an output of another number of classes.
///
/// ```
/// use onebasin_nn::task::{Classes, Task};
/// let found = Classes.outcome(&[&[2.0_f32, 0.0, 0.0, 1.0]], &[0.0, 0.0], 2);
/// assert_eq!((found.correct, found.count), (Some(1), 2));
/// assert!((found.loss - 1.440_19).abs() < 1e-5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classes;

/// One label at every position: softmax cross-entropy, in nats, over the last axis of the first output
/// `[samples, positions, vocabulary]`; positions may have any shape, that of the target.
///
/// Formula: that of [`Classes`], position by position. Every position is an answer, so that losses and accuracies are means
/// over positions. Other outputs (states, attention) count for nothing: their gradients are zero.
///
/// Errors of [`Task::check`]: a target that is no index, an output of another vocabulary or of other positions.
///
/// ```
/// use onebasin_nn::task::{Task, Tokens};
/// // One sample of two positions, a vocabulary of three.
/// let found = Tokens.outcome(&[&[0.0_f32, 5.0, 0.0, 0.0, 0.0, 5.0]], &[1.0, 0.0], 1);
/// assert_eq!((found.correct, found.count), (Some(1), 2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens;

impl<T: Real> Task<T> for Classes {
    fn check(&self, graph: &Graph, samples: &dyn Samples) -> Result<()> {
        let (output, answers) = first(graph)?;
        match samples.target() {
            Some(Field { kind: FieldKind::Index { below }, shape, .. }) if shape.iter().all(|n| *n == 1) => {
                let needed = || format!("its {below} classes need an output of as many numbers a sample");
                if answers == *below { Ok(()) } else { Err(misfit(graph, output, samples, &needed())) }
            }
            None | Some(Field { kind: FieldKind::Real | FieldKind::Index { .. }, .. }) => {
                Err(no_target(samples, "classification judges by one index a sample"))
            }
        }
    }

    fn outcome(&self, outputs: &[&[T]], targets: &[f32], _samples: usize) -> Outcome {
        cross_entropy(outputs[0], targets)
    }

    fn gradient(&self, outputs: &[&[T]], targets: &[f32], _samples: usize, scale: T, gradients: &mut [&mut [T]]) {
        cross_entropy_gradient(outputs[0], targets, scale, gradients);
    }
}

impl<T: Real> Task<T> for Tokens {
    fn check(&self, graph: &Graph, samples: &dyn Samples) -> Result<()> {
        let (output, answers) = first(graph)?;
        match samples.target() {
            Some(target @ Field { kind: FieldKind::Index { below }, shape, .. }) => {
                let answer = [&shape[..], &[*below]].concat();
                let needed = || format!("its target of shape {shape:?} needs an output of shape {answer:?} a sample");
                let fits =
                    graph.shape(output).last() == Some(below) && Some(answers) == target.len().checked_mul(*below);
                if fits { Ok(()) } else { Err(misfit(graph, output, samples, &needed())) }
            }
            None | Some(Field { kind: FieldKind::Real, .. }) => {
                Err(no_target(samples, "tokens are judged by one index at every position"))
            }
        }
    }

    fn outcome(&self, outputs: &[&[T]], targets: &[f32], _samples: usize) -> Outcome {
        cross_entropy(outputs[0], targets)
    }

    fn gradient(&self, outputs: &[&[T]], targets: &[f32], _samples: usize, scale: T, gradients: &mut [&mut [T]]) {
        cross_entropy_gradient(outputs[0], targets, scale, gradients);
    }
}

/// `Σ_s (log Σ_c exp z_sc − z_s,label)` of `logits [labels, classes]`.
fn cross_entropy<T: Real>(logits: &[T], labels: &[f32]) -> Outcome {
    let answer = |(z, &label): (&[T], &f32)| {
        let largest = z.iter().fold(T::neg_infinity(), |m, &v| m.max(v));
        let sum: f64 = z.iter().map(|&v| (v - largest).wide().exp()).sum();
        let best = z.iter().position(|v| *v == largest);
        let loss = sum.ln() + largest.wide() - z[label as usize].wide();
        Outcome { loss, correct: Some(usize::from(best == Some(label as usize))), count: 1 }
    };
    logits.chunks_exact((logits.len() / labels.len().max(1)).max(1)).zip(labels).map(answer).sum()
}

/// Writes the gradient of `scale ·` [`cross_entropy`] of the first output, `scale · (softmax z − 1_label)`, and zeros for
/// the others.
fn cross_entropy_gradient<T: Real>(logits: &[T], labels: &[f32], scale: T, gradients: &mut [&mut [T]]) {
    let [gradient, others @ ..] = gradients else { return };
    clear(others);
    let classes = (logits.len() / labels.len().max(1)).max(1);
    for ((d, z), &label) in gradient.chunks_exact_mut(classes).zip(logits.chunks_exact(classes)).zip(labels) {
        let largest = z.iter().fold(T::neg_infinity(), |m, &v| m.max(v));
        d.iter_mut().zip(z).for_each(|(d, z)| *d = (*z - largest).exp());
        let sum: T = d.iter().copied().sum();
        for d in d.iter_mut() {
            *d *= scale / sum;
        }
        let at = &mut d[label as usize];
        *at -= scale;
    }
}
