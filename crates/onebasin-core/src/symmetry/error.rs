//! What can be wrong with a symmetry: in its text, or against a network's tensors.

/// A symmetry that cannot be read, or does not fit the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SymmetryError {
    /// A pattern that does not follow the notation.
    #[error("{}pattern `{pattern}`, column {column}: {why}", of(.tensor))]
    Pattern {
        /// Tensor the pattern belongs to; empty when a pattern is parsed on its own.
        tensor: String,
        /// The whole pattern.
        pattern: String,
        /// Where, counted from 1.
        column: usize,
        /// What was expected there.
        why: String,
    },
    /// A pattern with more or fewer axes than its tensor.
    #[error("tensor `{tensor}`: pattern `{pattern}` has {expected} axes, the tensor has {found} (shape {shape:?})")]
    Rank {
        /// Tensor name.
        tensor: String,
        /// Its pattern.
        pattern: String,
        /// Axes of the pattern.
        expected: usize,
        /// Axes of the tensor.
        found: usize,
        /// Shape of the tensor.
        shape: Vec<usize>,
    },
    /// An axis whose length is not what its term adds up to.
    #[error(
        "tensor `{tensor}`, axis {axis}: pattern `{pattern}`, column {column}: `{term}` is {expected}, the axis is {found}{why}"
    )]
    Axis {
        /// Tensor name.
        tensor: String,
        /// Axis, counted from 0.
        axis: usize,
        /// The whole pattern.
        pattern: String,
        /// Where the term stands, counted from 1.
        column: usize,
        /// The term of this axis.
        term: String,
        /// The length the term adds up to, or what is known of it.
        expected: String,
        /// Length of the axis.
        found: usize,
        /// Where the sizes came from, or what to do.
        why: String,
    },
    /// A group used in two ways that contradict each other.
    #[error("group `{group}`: {why}")]
    Group {
        /// Group name.
        group: String,
        /// The contradiction, and what to do.
        why: String,
    },
    /// Tensors of the network that no pattern names.
    #[error("no pattern covers {}; give each one a pattern (`.` per axis keeps it fixed)", list(.tensors))]
    Uncovered {
        /// Their names.
        tensors: Vec<String>,
    },
    /// Patterns for tensors the network does not have.
    #[error("the network has no tensor {}", suggestions(.tensors))]
    UnknownTensors {
        /// Names, each with the nearest name the network has.
        tensors: Vec<(String, Option<String>)>,
    },
    /// A symmetry file that is not the TOML expected.
    #[error("symmetry file: {0}")]
    File(String),
}

fn of(tensor: &str) -> String {
    if tensor.is_empty() { String::new() } else { format!("tensor `{tensor}`: ") }
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text = format!("{text} and {} more tensors", names.len() - SHOWN);
    }
    text
}

fn suggestions(names: &[(String, Option<String>)]) -> String {
    names
        .iter()
        .map(|(name, near)| match near {
            Some(near) => format!("`{name}` (did you mean `{near}`?)"),
            None => format!("`{name}`"),
        })
        .collect::<Vec<_>>()
        .join(", ")
}
