//! What can go wrong when a network runs.

use crate::memory::gibibytes;

/// An error of running, training or feeding a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The mathematics refused.
    #[error(transparent)]
    Core(#[from] onebasin_core::Error),
    /// A name that no built-in network has.
    #[error("there is no network `{name}`{}; known are{known}", near.as_ref().map_or_else(String::new, |n| format!("; did you mean `{n}`?")))]
    NoNetwork {
        /// The name asked for.
        name: String,
        /// The nearest name there is, if one is near.
        near: Option<String>,
        /// The names there are, a line a family.
        known: String,
    },
    /// A network that cannot be built, or does not fit its samples.
    #[error("network `{name}`: {why}")]
    Network {
        /// The name asked for.
        name: String,
        /// What is wrong and what is known.
        why: String,
    },
    /// A `config.json` of which no network can be built.
    #[error("config.json: {why}")]
    Family {
        /// What is missing or not known.
        why: String,
    },
    /// Samples that do not fit.
    #[error("data `{spec}`: {why}")]
    Data {
        /// What they are called.
        spec: String,
        /// What is wrong, and what is needed.
        why: String,
    },
    /// Samples that cannot be read; said by what they are made of.
    #[error(transparent)]
    Samples(Box<dyn std::error::Error + Send + Sync>),
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
    /// A checkpoint that lacks tensors of the network.
    #[error("the checkpoint lacks {} of the {all} tensors of network `{network}`: {}", .missing.len(), few(.missing))]
    Missing {
        /// Name of the network.
        network: String,
        /// Number of its tensors.
        all: usize,
        /// Those that are missing.
        missing: Vec<String>,
    },
    /// An operator that no kernel computes.
    #[error("node `{node}` cannot run: there is no kernel for {operator}")]
    Operator {
        /// The node.
        node: String,
        /// What it is.
        operator: String,
    },
    /// A check that would not see a fault.
    #[error("nothing can be told by running the network: {why}")]
    NothingToCompare {
        /// What stands in the way.
        why: String,
    },
    /// More memory than there may be.
    #[error(
        "{what} takes {} of memory, and {} may be taken; run fewer samples at a time, give its inputs smaller shapes, or \
         allow more", gibibytes(*.needed), gibibytes(*.limit)
    )]
    Memory {
        /// What asks for it.
        what: String,
        /// Bytes it takes.
        needed: u64,
        /// Bytes it may take.
        limit: u64,
    },
    /// A loss ran away.
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
    /// Options that cannot be.
    #[error("{0}")]
    Options(String),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The first of many names.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
    if names.len() > SHOWN { format!("{}, …", shown.join(", ")) } else { shown.join(", ") }
}
