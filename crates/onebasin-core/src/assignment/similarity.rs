//! The matrix to maximise over.

use crate::error::{Error, Result};

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
    /// If there are not `n × n` entries, or one is NaN or infinite (its row and column are named).
    pub fn new(n: usize, data: Vec<f64>) -> Result<Self> {
        if n.checked_mul(n) != Some(data.len()) {
            return Err(Error::Similarity(format!("a matrix of {n} × {n} needs {n}² entries, found {}", data.len())));
        }
        if let Some(at) = data.iter().position(|v| !v.is_finite()) {
            let (row, column) = (at / n, at % n);
            return Err(Error::Similarity(format!(
                "row {row}, column {column} is {}; every entry must be finite",
                data[at]
            )));
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
