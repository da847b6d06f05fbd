//! The matrix to maximise over.

use super::error::AssignmentError;
use crate::error::Result;

/// A square matrix whose entry `(i, j)` says how well unit i of A corresponds to unit j of B. It is maximised.
#[derive(Debug, Clone, PartialEq)]
pub struct Similarity {
    n: usize,
    data: Vec<f64>,
}

impl Similarity {
    /// Takes `n × n` entries, row-major.
    ///
    /// # Errors
    /// [`AssignmentError::Entries`] if there are not `n × n` entries; [`AssignmentError::NotFinite`] names the first that
    /// is NaN or infinite.
    pub fn new(n: usize, data: Vec<f64>) -> Result<Self> {
        if n.checked_mul(n) != Some(data.len()) {
            return Err(AssignmentError::Entries { n, found: data.len() }.into());
        }
        if let Some(at) = data.iter().position(|v| !v.is_finite()) {
            return Err(AssignmentError::NotFinite { row: at / n, column: at % n, value: data[at] }.into());
        }
        Ok(Self { n, data })
    }

    /// Number of units.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The similarities of unit `i` of A.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.n..][..self.n]
    }

    /// The entry `(i, j)`.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.data[i * self.n + j]
    }

    /// The largest absolute entry; 0 for an empty matrix.
    pub fn scale(&self) -> f64 {
        self.data.iter().fold(0.0, |m: f64, v| m.max(v.abs()))
    }
}
