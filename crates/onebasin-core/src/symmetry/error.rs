//! What can be wrong with a symmetry: in its text, or against a network's tensors; and with an alignment.

use crate::error::Error;
use crate::names::escaped;

/// A symmetry that cannot be read, or does not fit the network.
/// ```
/// use onebasin_core::symmetry::{Symmetry, SymmetryError, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = Params::from_iter([("fc1.weight".to_owned(), Tensor::from_f32(&[4, 3], vec![0.; 12])?)]);
/// let spec = SymmetrySpec::from_patterns([("fc1.wieght", "h .")])?;
/// let error = Symmetry::resolve(&spec, &net).unwrap_err();
/// assert!(matches!(error, SymmetryError::UnknownTensors { .. }));
/// assert_eq!(error.to_string(), "the network has no tensor `fc1.wieght` (did you mean `fc1.weight`?)");
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SymmetryError {
    /// A pattern that does not follow the notation.
    #[error("{}pattern `{pattern}`, column {column}: {why}", of(.tensor.as_deref()))]
    Pattern {
        /// Tensor the pattern belongs to; none when a pattern is parsed on its own.
        tensor: Option<String>,
        /// The whole pattern.
        pattern: String,
        /// Where, counted from 1.
        column: usize,
        /// What was expected there.
        why: String,
    },
    /// A pattern with more or fewer axes than its tensor.
    #[error(
        "tensor `{tensor}`: pattern `{pattern}` has {expected} axes, the tensor has {found} (shape {shape:?})",
        tensor = escaped(.tensor)
    )]
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
        "tensor `{tensor}`, axis {axis}: pattern `{pattern}`, column {column}: `{term}` is {expected}, the axis is {found}{why}",
        tensor = escaped(.tensor)
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
    #[error("group `{group}`: {why}", group = escaped(.group))]
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
    /// A stack whose tensors do not go together.
    #[error("stack `{stack}`: {why}", stack = escaped(.stack))]
    Stack {
        /// Its name.
        stack: String,
        /// What is wrong with it.
        why: String,
    },
    /// A tensor that the symmetry does not know.
    #[error("the symmetry has no tensor `{tensor}`", tensor = escaped(.tensor))]
    NoTensor {
        /// The name asked for.
        tensor: String,
    },
    /// A group that the symmetry does not have.
    #[error("there is no group `{group}`; known: {}", .known.join(", "), group = escaped(.group))]
    NoGroup {
        /// The name asked for.
        group: String,
        /// The names of its groups, in their order.
        known: Vec<String>,
    },
    /// Two templates for one tensor.
    #[error(
        "symmetry file: templates `{}` and `{}` both fit tensor `{tensor}`; keep one",
        .templates[0], .templates[1], tensor = escaped(.tensor)
    )]
    Templates {
        /// Tensor name.
        tensor: String,
        /// The templates.
        templates: [String; 2],
    },
    /// A template, of tensors or of sizes, that fits nothing.
    #[error("symmetry file: template `{template}` fits no {what}; it would do nothing")]
    Unused {
        /// The template.
        template: String,
        /// What it should fit: `tensor` or `group`.
        what: &'static str,
    },
    /// A symmetry file that is not the TOML expected.
    #[error("symmetry file: {why}")]
    File {
        /// What the parser says, with the place.
        why: String,
    },
}

/// An alignment that is none of a symmetry.
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::Perm;
/// use onebasin_core::symmetry::{Alignment, AlignmentError};
/// let net = net(&[1., 2., 3.])?;
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net)?;
/// let error = Alignment::new(&symmetry, vec![vec![Perm::identity(2)]]).unwrap_err();
/// assert_eq!(error.to_string(), "group `h` needs 1 permutation(s) of 3 units, found 1 of sizes [2]");
/// assert_eq!(Alignment::new(&symmetry, vec![]), Err(AlignmentError::Groups { expected: 1, found: 0 }.into()));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AlignmentError {
    /// Not one entry for every group.
    #[error("the symmetry has {expected} groups, the alignment {found}")]
    Groups {
        /// Groups of the symmetry.
        expected: usize,
        /// Entries found.
        found: usize,
    },
    /// A group with another number of permutations than it has copies, or permutations of other sizes.
    #[error(
        "group `{group}` needs {copies} permutation(s) of {units} units, found {} of sizes {found:?}",
        .found.len(), group = escaped(.group)
    )]
    Permutations {
        /// Group name.
        group: String,
        /// Number of copies of the group.
        copies: usize,
        /// Number of its units.
        units: usize,
        /// Sizes of the permutations found.
        found: Vec<usize>,
    },
    /// A group with another number of indices than all its permutations have.
    #[error("group `{group}` needs {expected} indices, found {found}", group = escaped(.group))]
    Indices {
        /// Group name.
        group: String,
        /// Units of all copies.
        expected: usize,
        /// Indices found.
        found: usize,
    },
    /// An alignment that was made for other groups.
    #[error("the alignment is none of this symmetry: group `{group}` is not the same in both", group = escaped(.group))]
    Other {
        /// Name of the first group that differs.
        group: String,
    },
    /// A group whose permutations cannot be read.
    #[error("group `{group}`: {source}", group = escaped(.group))]
    Group {
        /// Group name.
        group: String,
        /// What is wrong with them.
        source: Box<Error>,
    },
}

fn of(tensor: Option<&str>) -> String {
    tensor.map_or(String::new(), |tensor| format!("tensor `{}`: ", escaped(tensor)))
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = names.iter().take(SHOWN).map(|n| format!("`{}`", escaped(n))).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text = format!("{text} and {} more tensors", names.len() - SHOWN);
    }
    text
}

fn suggestions(names: &[(String, Option<String>)]) -> String {
    names
        .iter()
        .map(|(name, near)| match near {
            Some(near) => format!("`{}` (did you mean `{}`?)", escaped(name), escaped(near)),
            None => format!("`{}`", escaped(name)),
        })
        .collect::<Vec<_>>()
        .join(", ")
}
