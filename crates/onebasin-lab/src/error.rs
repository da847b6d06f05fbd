//! What can go wrong.

use std::path::PathBuf;

/// Why data could not be opened, a network not trained, or an experiment not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that is none of those known.
    #[error("there is no {what} `{name}`{}; known: {known}", near.as_ref().map_or_else(String::new, |n| format!("; did you mean `{n}`?")))]
    Unknown {
        /// What it should name.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// The nearest name there is, if one is near.
        near: Option<String>,
        /// The names there are.
        known: String,
    },
    /// A data set that does not fit.
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
    /// Options that cannot be.
    #[error("{0}")]
    Options(String),
    /// An experiment does not say what it should.
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
    /// Matching and merging.
    #[error(transparent)]
    Library(#[from] onebasin::Error),
    /// Networks.
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

/// Of samples that cannot be read.
impl From<Error> for onebasin_nn::Error {
    fn from(why: Error) -> Self {
        match why {
            Error::Networks(why) => why,
            other => Self::Samples(Box::new(other)),
        }
    }
}
