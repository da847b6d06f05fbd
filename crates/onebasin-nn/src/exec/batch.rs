//! What goes into a batch, and what comes out.

use std::ops::Range;

use onebasin_core::graph::NodeId;

use super::loss::Outcome;
use crate::error::Result;
use crate::ops::batch_norm::Moments;

/// What a batch gave.
#[derive(Debug, Clone)]
pub struct Found {
    /// Loss and correct answers.
    pub outcome: Outcome,
    /// Moments of the input of every BatchNorm over the whole batch, in running order.
    pub moments: Vec<(NodeId, Moments)>,
}

/// Writes the inputs and labels of a range of samples of the batch; an error ends the batch.
pub type Feed<'a, T> = dyn Fn(Range<usize>, &mut [T], &mut [u16]) -> Result<()> + Sync + 'a;
