//! What a plan is made of: steps, what they read, and the buffers they write.

use onebasin_core::graph::NodeId;

use crate::ops::batch_norm::BatchNorm;
use crate::ops::{Kernel, Layout, Real};

/// Where an input of a step lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    /// Buffer number, in the order of the plan's.
    Buffer(usize),
    /// Parameter number, in the order of [`Graph::params`].
    Param(usize),
    /// Constant number, in the order of the graph's constants.
    Constant(usize),
}

/// What a step runs.
pub(crate) enum StepWork<T> {
    /// A kernel, shard by shard.
    Kernel(Box<dyn Kernel<T>>),
    /// A kernel too, which the whole batch takes part in while training.
    BatchNorm(BatchNorm),
}

impl<T: Real> StepWork<T> {
    /// It as a kernel: what it is for one shard.
    pub(crate) fn kernel(&self) -> &dyn Kernel<T> {
        match self {
            Self::Kernel(kernel) => kernel.as_ref(),
            Self::BatchNorm(norm) => norm,
        }
    }
}

/// An input of a step.
pub(crate) struct StepInput {
    pub operand: Operand,
    pub shape: Vec<usize>,
    /// Whether something upstream is trained or asked for.
    pub wanted: bool,
}

/// One node, or one conversion from one layout to the other.
pub(crate) struct BatchStep<T> {
    /// The node it comes from; none for a conversion.
    pub node: Option<NodeId>,
    pub work: StepWork<T>,
    pub inputs: Vec<StepInput>,
    /// Buffers and their shapes in memory.
    pub outputs: Vec<(usize, Vec<usize>)>,
    /// How its outputs lie in memory.
    pub layout: Layout,
    /// Whether gradients pass through it.
    pub backward: bool,
    /// Buffers whose gradients are set to zero before it runs backward.
    pub clear: Vec<usize>,
}

/// The numbers of one value.
pub(crate) struct Buffer {
    pub len: usize,
    /// Slot of its numbers.
    pub slot: usize,
    /// Slot of its gradient, where it has one.
    pub gradient: Option<usize>,
}
