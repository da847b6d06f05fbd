//! What keeps an assignment from being made.

/// A similarity, or prices to start from, that no assignment can be made of.
/// ```
/// use onebasin_core::assignment::{AssignmentError, Similarity};
/// let error = Similarity::new(2, vec![1., f64::NAN, 0., 1.]).unwrap_err();
/// assert_eq!(error.to_string(), "similarity: row 0, column 1 is NaN; every entry must be finite");
/// assert_eq!(Similarity::new(2, vec![1.; 3]), Err(AssignmentError::Entries { n: 2, found: 3 }.into()));
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignmentError {
    /// A matrix that is not square, or not filled.
    #[error("a matrix of {n} × {n} needs {n}² entries, found {found}")]
    Entries {
        /// Number of units.
        n: usize,
        /// Number of entries.
        found: usize,
    },
    /// An entry that is NaN or infinite.
    #[error("row {row}, column {column} is {value}; every entry must be finite")]
    NotFinite {
        /// Unit of A.
        row: usize,
        /// Unit of B.
        column: usize,
        /// The entry.
        value: f64,
    },
    /// A warm start of another size.
    #[error("the warm start has {found} column prices, the matrix {columns} columns")]
    Prices {
        /// Columns of the matrix.
        columns: usize,
        /// Prices of the warm start.
        found: usize,
    },
    /// A price of a warm start that is NaN or infinite.
    #[error("the warm start's price of column {column} is {value}")]
    Price {
        /// The first such column.
        column: usize,
        /// Its price.
        value: f64,
    },
}
