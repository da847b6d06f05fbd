//! What can go wrong in the mathematics, each with the facts a reader needs to mend it.

use crate::dtype::DType;

/// An error of the core crate: names the tensor, the axis, what was expected and what came.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes handed over do not fill the shape.
    #[error("a {dtype} tensor of shape {shape:?} needs {expected} bytes, found {found}")]
    Bytes {
        /// Element type asked for.
        dtype: DType,
        /// Shape asked for.
        shape: Vec<usize>,
        /// Bytes the shape needs.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// A shape whose number of bytes does not fit the address space.
    #[error("shape {shape:?} is too large for this machine")]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
    },
    /// An index vector that is not a permutation.
    #[error("not a permutation of 0..{len}: {why}")]
    NotAPermutation {
        /// Number of units.
        len: usize,
        /// The first offence found.
        why: String,
    },
    /// A value that is NaN or infinite where only finite numbers make sense.
    #[error("tensor `{tensor}` holds {count} value(s) that are not finite, the first ({value}) at index {index:?}")]
    NotFinite {
        /// Tensor name.
        tensor: String,
        /// How many values are NaN or infinite.
        count: usize,
        /// The first such value.
        value: f64,
        /// Its index, one number per axis.
        index: Vec<usize>,
    },
    /// A tensor of integers or booleans where weights were expected.
    #[error("tensor `{tensor}` is {dtype}; {what} needs floating-point weights")]
    NotFloat {
        /// Tensor name.
        tensor: String,
        /// Its element type.
        dtype: DType,
        /// What was asked of it.
        what: &'static str,
    },
    /// Two networks that are not the same network.
    #[error("the two networks differ in structure:\n{0}")]
    Structure(crate::structure::StructureDiff),
    /// A similarity that cannot be solved.
    #[error("similarity: {0}")]
    Similarity(String),
    /// A symmetry that cannot be read, or does not fit the network.
    #[error(transparent)]
    Symmetry(#[from] crate::symmetry::SymmetryError),
    /// A graph whose shapes do not fit.
    #[error("node `{node}`: {why}")]
    Graph {
        /// Name of the node.
        node: String,
        /// What does not fit.
        why: String,
    },
    /// Anything else that an argument can be, said in words.
    #[error("{0}")]
    Invalid(String),
}

/// Result of the core crate.
pub type Result<T> = std::result::Result<T, Error>;
