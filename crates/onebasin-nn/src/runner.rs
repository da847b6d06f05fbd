//! Networks run, and trained, somewhere else than on this processor.

use onebasin_core::Params;
use onebasin_core::graph::Graph;

use crate::error::Result;
use crate::optim::Optimizer;

/// A device that networks can be run and trained on.
pub trait Runner: Send + Sync {
    /// Brings a network there.
    ///
    /// # Errors
    /// [`Error::Operator`](crate::Error::Operator) names a node that does not run there; also if a tensor is missing, or does
    /// not fit on the device.
    fn bring(&self, graph: &Graph, params: &Params) -> Result<Box<dyn Running>>;

    /// Brings a network there to be trained. `moments` are the optimiser's state vectors, as tensors named like what is
    /// trained; none before the first step.
    ///
    /// # Errors
    /// As [`Self::bring`].
    fn bring_to_train(
        &self,
        graph: &Graph,
        params: &Params,
        moments: &[Params],
        optimizer: Optimizer,
    ) -> Result<Box<dyn Training>>;
}

/// A network on a device.
pub trait Running: Send + Sync {
    /// What the network answers, those of [`outputs`](crate::exec::outputs), for this many samples of every input, all as
    /// the graph says. BatchNorms use their running statistics.
    ///
    /// # Errors
    /// If the network's shapes do not allow this batch, inputs are not as many and as long as it takes, or the device fails.
    fn forward(&self, batch: usize, inputs: &[&[f32]]) -> Result<Vec<Vec<f32>>>;
}

/// A network on a device, being trained.
pub trait Training {
    /// The same as [`Running::forward`], keeping what [`Self::step`] needs. BatchNorms use the statistics of these samples,
    /// and running ones follow by this share.
    ///
    /// # Errors
    /// As [`Running::forward`].
    fn forward(&mut self, batch: usize, inputs: &[&[f32]], share: f64) -> Result<Vec<Vec<f32>>>;

    /// Takes the optimiser's step of this number, from 1, and rate, given the gradients of the outputs last computed.
    ///
    /// # Errors
    /// If the gradients are not as many and as long as those outputs, or the device fails.
    fn step(&mut self, gradients: &[&[f32]], rate: f64, step: u64) -> Result<()>;

    /// The parameters, and the optimiser's state vectors.
    ///
    /// # Errors
    /// If the device fails.
    fn save(&self) -> Result<(Params, Vec<Params>)>;
}
