//! What can go wrong.

use std::path::PathBuf;

/// Why an experiment could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not say what it should.
    #[error("experiment `{name}`: {why}")]
    Experiment {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the store is not what it should be.
    #[error("{path}: {why}", path = path.display())]
    Store {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The user asked to stop; what is done is kept.
    #[error("interrupted; the same command goes on from here")]
    Stopped,
    /// Networks, data, training.
    #[error(transparent)]
    Networks(#[from] onebasin_nn::Error),
    /// The mathematics.
    #[error(transparent)]
    Core(#[from] onebasin_core::Error),
    /// Files of networks.
    #[error(transparent)]
    Files(#[from] onebasin_io::Error),
    /// Figures.
    #[error(transparent)]
    Figure(#[from] crate::figure::Error),
}

/// What a function of this crate gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn store(path: impl Into<PathBuf>, why: impl std::fmt::Display) -> Self {
        Self::Store { path: path.into(), why: why.to_string() }
    }
}
