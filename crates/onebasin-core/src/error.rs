//! What can go wrong in the mathematics, each with the facts a reader needs to mend it.

use crate::dtype::DType;
use crate::names::escaped;

/// An error of the core crate: names the tensor, the axis, what was expected and what came.
///
/// The message is a sentence for a person; the same facts are fields, for a program. Areas with many ways to fail have
/// an enum of their own, which `?` wraps: [`SymmetryError`](crate::symmetry::SymmetryError),
/// [`AlignmentError`](crate::symmetry::AlignmentError), [`AssignmentError`](crate::assignment::AssignmentError),
/// [`ActivationError`](crate::matching::ActivationError), [`CurveError`](crate::barrier::CurveError).
///
/// ```
/// use onebasin_core::{Error, Params, Tensor};
/// let mut net = Params::new();
/// net.insert("fc1.weight", Tensor::from_f32(&[1], vec![0.5])?);
/// let error = net.require("fc1.wieght").unwrap_err();
/// assert_eq!(error.to_string(), "there is no tensor `fc1.wieght`; did you mean `fc1.weight`?");
/// let Error::NoTensor { near, .. } = error else { panic!("another error") };
/// assert_eq!(near.as_deref(), Some("fc1.weight"));
/// # Ok::<(), Error>(())
/// ```
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
    /// Rows that a tensor does not have.
    #[error("a tensor of shape {shape:?} has no rows {rows:?}")]
    Rows {
        /// Its shape.
        shape: Vec<usize>,
        /// What was asked for.
        rows: std::ops::Range<usize>,
    },
    /// Bytes of a tensor that cannot be read from where they lie.
    #[error("{why}")]
    Storage {
        /// Where they lie, and what is wrong.
        why: String,
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
    #[error(
        "tensor `{tensor}` holds {count} value(s) that are not finite, the first ({value}) at index {index:?}",
        tensor = escaped(.tensor)
    )]
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
    /// A tensor of another element type than an operation takes, where its name is not known.
    #[error("expected a {expected} tensor, found {found}")]
    DType {
        /// The element type, or the kind of it, that the operation takes.
        expected: &'static str,
        /// The element type that came.
        found: DType,
    },
    /// A tensor of integers or booleans where weights were expected.
    #[error("tensor `{tensor}` is {dtype}; {what} needs floating-point weights", tensor = escaped(.tensor))]
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
    /// A similarity, or prices to start from, that no assignment can be made of.
    #[error("similarity: {0}")]
    Assignment(#[from] crate::assignment::AssignmentError),
    /// A similarity of the caller's own that cannot be told.
    #[error("similarity of group `{group}`: {why}", group = escaped(.group))]
    Similarity {
        /// The group it was asked of.
        group: String,
        /// What is wrong.
        why: String,
    },
    /// Activations that no similarity can be made of.
    #[error(transparent)]
    Activation(#[from] crate::matching::ActivationError),
    /// An alignment that is none of this symmetry.
    #[error(transparent)]
    Alignment(#[from] crate::symmetry::AlignmentError),
    /// A curve of losses that has no barrier.
    #[error(transparent)]
    Curve(#[from] crate::barrier::CurveError),
    /// A symmetry that cannot be read, or does not fit the network.
    #[error(transparent)]
    Symmetry(#[from] crate::symmetry::SymmetryError),
    /// A graph whose shapes do not fit.
    #[error("node `{node}`: {why}", node = escaped(.node))]
    Graph {
        /// Name of the node.
        node: String,
        /// What does not fit.
        why: String,
    },
    /// A tensor that a network lacks.
    #[error("there is no tensor `{tensor}`{}", hint(.near.as_deref()), tensor = escaped(.tensor))]
    NoTensor {
        /// The name asked for.
        tensor: String,
        /// The nearest name it has, if one is near.
        near: Option<String>,
    },
    /// A parameter that a graph lacks.
    #[error("the network has no parameter `{parameter}`{}", hint(.near.as_deref()), parameter = escaped(.parameter))]
    NoParameter {
        /// The name asked for.
        parameter: String,
        /// The nearest name it has, if one is near.
        near: Option<String>,
    },
    /// An axis that a tensor lacks.
    #[error("{}", no_axis(.tensor.as_deref(), *.axis, .shape))]
    NoAxis {
        /// Name of the tensor, where it has one.
        tensor: Option<String>,
        /// The axis asked for, counted from 0.
        axis: usize,
        /// Shape of the tensor.
        shape: Vec<usize>,
    },
    /// A tensor of another shape than a graph or a symmetry has for it.
    #[error(
        "tensor `{tensor}` should have shape {expected:?} as in {place}, found {found:?}",
        tensor = escaped(.tensor)
    )]
    Shape {
        /// Tensor name.
        tensor: String,
        /// Its shape there.
        expected: Vec<usize>,
        /// Where that is said: `the graph` or `the symmetry`.
        place: &'static str,
        /// Its shape in the network.
        found: Vec<usize>,
    },
    /// A table that does not say where every position of an axis comes from.
    #[error("a gather of axis {axis} needs {len} entries below {len}")]
    Gather {
        /// The axis, counted from 0.
        axis: usize,
        /// Its length.
        len: usize,
    },
    /// An argument outside of what it may be.
    #[error("{option} must {expected}, found {found}")]
    Option {
        /// The argument.
        option: &'static str,
        /// What it must be, in words that follow "must".
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A λ of one group outside [0, 1].
    #[error("λ of group `{group}` must lie between 0 and 1, found {lambda}", group = escaped(.group))]
    GroupLambda {
        /// Group name.
        group: String,
        /// Its λ.
        lambda: f64,
    },
    /// Whole numbers, booleans or infinities that differ between A and the aligned B: nothing lies between them.
    #[error(
        "tensor `{tensor}` ({dtype}) holds {a} in A and {b} in the aligned B at index {index:?}, and there is no mean of \
         these; both must hold the same, unless λ is 0 or 1"
    )]
    NoMean {
        /// Tensor name.
        tensor: String,
        /// Its element type in A.
        dtype: DType,
        /// The first place where they differ, one number per axis.
        index: Vec<usize>,
        /// What A holds there.
        a: String,
        /// What the aligned B holds there.
        b: String,
    },
    /// A word that is none of those known.
    #[error("unknown {what} `{word}`; known: {known}")]
    Unknown {
        /// What it should name.
        what: &'static str,
        /// The word.
        word: String,
        /// The words known, separated by commas.
        known: &'static str,
    },
    /// No network where at least one is needed.
    #[error("there must be at least one network, found none")]
    NoNetworks,
    /// Networks that do not have one alignment and one weight each.
    #[error(
        "{networks} networks need one alignment and one weight each, found {alignments} alignments and {weights} weights"
    )]
    Networks {
        /// Number of networks.
        networks: usize,
        /// Number of alignments.
        alignments: usize,
        /// Number of weights; that of the networks where none are given.
        weights: usize,
    },
    /// A matrix whose eigenvectors no solver finds.
    #[error(
        "`{tensor}`: its eigenvectors cannot be found ({why}); use a method without denoising",
        tensor = escaped(.tensor)
    )]
    Eigenvectors {
        /// Tensor name.
        tensor: String,
        /// What the solver says.
        why: String,
    },
    /// What a device failed at, in the words of the crate that knows it.
    #[error("{why}")]
    Device {
        /// What failed, and what to do.
        why: String,
    },
}

impl Error {
    /// The same error with the tensor's name, where it was raised by a tensor that does not know it.
    pub(crate) fn named(self, tensor: &str) -> Self {
        match self {
            Self::DType { found: dtype, .. } => Self::NotFloat { tensor: tensor.to_owned(), dtype, what: "arithmetic" },
            other => other,
        }
    }
}

fn hint(near: Option<&str>) -> String {
    near.map_or(String::new(), |near| format!("; did you mean `{}`?", escaped(near)))
}

fn no_axis(tensor: Option<&str>, axis: usize, shape: &[usize]) -> String {
    match (tensor.map(escaped), shape.len().checked_sub(1)) {
        (Some(tensor), Some(last)) => format!("`{tensor}` has axes 0 to {last}, not {axis} (shape {shape:?})"),
        (Some(tensor), None) => format!("`{tensor}` is a single number without axes; there is no axis {axis}"),
        (None, _) => format!("there is no axis {axis} in shape {shape:?}"),
    }
}

/// Result of the core crate: its error is [`enum@Error`] unless another is named.
///
/// ```
/// use onebasin_core::error::Result;
/// fn positive(x: i32) -> Result<i32, &'static str> {
///     if x > 0 { Ok(x) } else { Err("too small") }
/// }
/// fn rank(shape: &[usize]) -> Result<usize> {
///     onebasin_core::element_count(shape).map(|_| shape.len())
/// }
/// assert_eq!((positive(1), rank(&[2, 3])), (Ok(1), Ok(2)));
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;
