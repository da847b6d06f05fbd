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
/// Outputs are those of [`outputs`](crate::exec::outputs), in that order. Of one batch many threads judge parts, and what they
/// find is added in the order of the samples: a loss has to be a sum over samples, and every sample has as many answers. There
/// are [`Classes`], [`Tokens`], [`Values`] and [`OwnLoss`]; [`usual`] says which fits a target.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_nn::exec::Outcome;
/// use onebasin_nn::task::{Task, Values};
/// use onebasin_nn::{Result, Samples};
///
/// /// The absolute error, summed over the numbers of the first output.
/// struct Absolute;
///
/// impl Task for Absolute {
///     fn check(&self, graph: &Graph, samples: &dyn Samples) -> Result<()> {
///         Task::<f32>::check(&Values, graph, samples)
///     }
///     fn outcome(&self, outputs: &[&[f32]], targets: &[f32], samples: usize) -> Outcome {
///         let loss = outputs[0].iter().zip(targets).map(|(y, t)| f64::from((y - t).abs())).sum();
///         Outcome { loss, correct: None, count: samples }
///     }
///     fn gradient(&self, outputs: &[&[f32]], targets: &[f32], _: usize, scale: f32, gradients: &mut [&mut [f32]]) {
///         for ((d, y), t) in gradients[0].iter_mut().zip(outputs[0]).zip(targets) {
///             *d = scale * (y - t).signum();
///         }
///     }
/// }
///
/// assert_eq!(Absolute.outcome(&[&[1.0, -2.0]], &[0.0, 0.5], 2).loss, 3.5);
/// ```
pub trait Task<T: Real = f32>: Sync {
    /// Passes only if the network's outputs can be judged against these samples' targets; asked once, before any are.
    ///
    /// # Errors
    /// Names the output, what it gives and what the samples ask for.
    fn check(&self, graph: &Graph, samples: &dyn Samples) -> Result<()>;

    /// Loss and right answers, summed over `samples` samples.
    ///
    /// Shapes: every output as the graph says for that many samples; `targets` is `[samples, numbers of a target]`, empty
    /// where there are none.
    fn outcome(&self, outputs: &[&[T]], targets: &[f32], samples: usize) -> Outcome;

    /// Writes the gradient of `scale ·` the summed loss with respect to every output, zeros where it does not matter.
    ///
    /// Shapes: `gradients` are as the outputs; what is in them before is arbitrary.
    fn gradient(&self, outputs: &[&[T]], targets: &[f32], samples: usize, scale: T, gradients: &mut [&mut [T]]);
}

/// The task that the target of samples suggests: [`Classes`] for one index a sample, [`Tokens`] for several, [`Values`] for
/// real numbers, [`OwnLoss`] where there is none.
///
/// ```
/// use onebasin_nn::task::usual;
/// use onebasin_nn::{Arrays, Field, FieldKind};
/// let x = Field { name: "x".to_owned(), shape: vec![], kind: FieldKind::Real };
/// let y = Field { name: "y".to_owned(), ..x.clone() };
/// let data = Arrays::new("pairs", vec![(x, vec![1.0, 2.0])], Some((y, vec![3.0, 4.0])))?;
/// // Mean squared error: (5 − 3)² and (4 − 4)².
/// assert_eq!(usual(&data).outcome(&[&[5.0, 4.0]], &[3.0, 4.0], 2).loss, 4.0);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
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
