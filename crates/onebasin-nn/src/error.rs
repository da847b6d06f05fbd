//! What can go wrong when a network runs.

use std::path::PathBuf;

/// An error of running, training or feeding a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The mathematics refused.
    #[error(transparent)]
    Core(#[from] onebasin_core::Error),
    /// A network that is not known, or does not fit its samples.
    #[error("network `{name}`: {why}")]
    Network {
        /// The name asked for.
        name: String,
        /// What is wrong and what is known.
        why: String,
    },
    /// A data set that is not known, or does not fit.
    #[error("data `{spec}`: {why}")]
    Data {
        /// What was asked for.
        spec: String,
        /// What is wrong and what is known.
        why: String,
    },
    /// A file of a data set that is not what it should be.
    #[error("{}: {why}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Expected, found, what to do.
        why: String,
    },
    /// A checkpoint that does not fit the network.
    #[error(
        "the checkpoint does not fit network `{network}`: tensor `{tensor}` should have shape {expected:?}, found {found}"
    )]
    Weights {
        /// Name of the network.
        network: String,
        /// The tensor.
        tensor: String,
        /// Its shape in the network.
        expected: Vec<usize>,
        /// Its shape in the checkpoint, or that it is missing.
        found: String,
    },
    /// An operator that no kernel computes.
    #[error("node `{node}` cannot run: there is no kernel for {operator}")]
    Operator {
        /// The node.
        node: String,
        /// What it is.
        operator: String,
    },
    /// Training ran away.
    #[error("the loss became {loss} in epoch {epoch}, step {step}; a lower learning rate may help")]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Step within all of training, from 1.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// The observer asked to stop.
    #[error("stopped before it was done")]
    Stopped,
    /// Training options that cannot be.
    #[error("{0}")]
    Options(String),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
