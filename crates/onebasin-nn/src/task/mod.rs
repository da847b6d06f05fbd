//! What a network's outputs are worth: a loss, its gradient, and what was answered right.

mod classes;
mod own_loss;
mod values;

use onebasin_core::graph::{Graph, ValueId};

use crate::error::{Error, Result};
use crate::exec::Outcome;
use crate::ops::Real;
use crate::samples::{Field, FieldKind, Samples};
pub use classes::{Classes, Tokens};
pub use own_loss::OwnLoss;
pub use values::Values;

/// How outputs are judged against targets.
///
/// Outputs are those of [`outputs`](crate::exec::outputs), in that order.
///
/// ```
/// use onebasin_nn::task::{Classes, Task};
/// let found = Classes.outcome(&[&[2.0_f32, 0.0, 0.0, 1.0]], &[0.0, 0.0], 2);
/// assert_eq!((found.correct, found.count), (Some(1), 2));
/// assert!((found.loss - 1.440_19).abs() < 1e-5);
/// ```
pub trait Task<T: Real = f32>: Sync {
    /// Passes only if the network's outputs can be judged against these samples' targets.
    ///
    /// # Errors
    /// Names the output, what it gives and what the samples ask for.
    fn check(&self, graph: &Graph, samples: &dyn Samples) -> Result<()>;

    /// Loss and right answers, summed over `samples` samples.
    ///
    /// Shapes: every output as the graph says for that many samples; `targets` is `[samples, numbers of a target]`, empty
    /// where there are none.
    fn outcome(&self, outputs: &[&[T]], targets: &[f32], samples: usize) -> Outcome;

    /// Writes the gradient of `scale ·` the summed loss with respect to every output.
    fn gradient(&self, outputs: &[&[T]], targets: &[f32], samples: usize, scale: T, gradients: &mut [&mut [T]]);
}

/// The task that the target of samples suggests: [`Classes`] for one index a sample, [`Tokens`] for several, [`Values`] for
/// real numbers, [`OwnLoss`] where there is none.
pub fn usual(samples: &dyn Samples) -> &'static dyn Task {
    match samples.target() {
        None => &OwnLoss,
        Some(Field { kind: FieldKind::Real, .. }) => &Values,
        Some(Field { kind: FieldKind::Index { .. }, shape, .. }) if shape.is_empty() => &Classes,
        Some(Field { kind: FieldKind::Index { .. }, .. }) => &Tokens,
    }
}

/// Judges nothing: for passes of which only what they measure on the way counts.
pub(crate) struct Unjudged;

impl<T: Real> Task<T> for Unjudged {
    fn check(&self, _graph: &Graph, _samples: &dyn Samples) -> Result<()> {
        Ok(())
    }

    fn outcome(&self, _outputs: &[&[T]], _targets: &[f32], _samples: usize) -> Outcome {
        Outcome::default()
    }

    fn gradient(&self, _outputs: &[&[T]], _targets: &[f32], _samples: usize, _scale: T, gradients: &mut [&mut [T]]) {
        clear(gradients);
    }
}

/// The first output and its numbers for one sample.
fn first(graph: &Graph) -> Result<(ValueId, usize)> {
    let first = graph.outputs().first().ok_or_else(|| Error::Options("the network has no output".to_owned()))?;
    Ok((*first, graph.shape(*first).iter().skip(1).product()))
}

/// That the first output does not fit the samples.
fn misfit(graph: &Graph, output: ValueId, samples: &dyn Samples, needed: &str) -> Error {
    let value = graph.value(output);
    let why = format!("{needed}; the network's first output `{}` has shape {:?}", value.name, value.shape);
    Error::Data { spec: samples.name().to_owned(), why }
}

/// That samples lack the target that a task judges by.
fn no_target(samples: &dyn Samples, task: &str) -> Error {
    let why = match samples.target() {
        None => format!("its samples have no target, and {task}"),
        Some(Field { name, shape, .. }) => format!("its target `{name}` has shape {shape:?}, and {task}"),
    };
    Error::Data { spec: samples.name().to_owned(), why }
}

/// Sets gradients to zero.
fn clear<T: Real>(gradients: &mut [&mut [T]]) {
    for gradient in gradients {
        gradient.fill(T::default());
    }
}
