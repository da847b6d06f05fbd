//! What a network's outputs are worth: a loss, its gradient, and what was answered right.

use onebasin_core::graph::Graph;

use crate::error::Result;
use crate::exec::Outcome;
use crate::ops::Real;
use crate::samples::Samples;

/// How outputs are judged against targets.
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
