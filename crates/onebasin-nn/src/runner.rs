//! Networks run forward somewhere else than on this processor.

use onebasin::Params;
use onebasin::graph::Graph;

use crate::error::Result;

/// A device that networks can be run on.
pub trait Runner: Send + Sync {
    /// Brings a network there.
    ///
    /// # Errors
    /// [`Error::Operator`](crate::Error::Operator) names a node that does not run there; also if a tensor is missing, or does
    /// not fit on the device.
    fn bring(&self, graph: &Graph, params: &Params) -> Result<Box<dyn Running>>;
}

/// A network on a device.
pub trait Running: Send + Sync {
    /// The first output for this many samples of the first input, both as the graph says. BatchNorms use their running
    /// statistics.
    ///
    /// # Errors
    /// If the network's shapes do not allow this batch, or the device fails.
    fn forward(&self, batch: usize, input: &[f32]) -> Result<Vec<f32>>;
}
