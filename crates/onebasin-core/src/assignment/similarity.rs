//! The matrix to maximise over.

use super::error::AssignmentError;
use crate::error::Result;

/// A square matrix whose entry `(i, j)` says how well unit i of A corresponds to unit j of B. It is maximised.
///
/// To minimise a cost, negate it. Rows of zeros are units that correspond to none: they take what is left.
///
/// ```
/// use onebasin_core::assignment::{Similarity, assign};
/// let costs = [3., 1., 2., 8.];
/// let similarity = Similarity::new(2, costs.iter().map(|c| -c).collect())?;
/// assert_eq!(assign(&similarity, None)?.value, -3.0);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
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
    /// ```
    /// use onebasin_core::assignment::Similarity;
    /// assert!(Similarity::new(2, vec![1., 2., 3., 4.]).is_ok());
    /// assert!(Similarity::new(2, vec![1., 2., 3.]).is_err());
    /// ```
    pub fn new(n: usize, data: Vec<f64>) -> Result<Self> {
        if n.checked_mul(n) != Some(data.len()) {
            return Err(AssignmentError::Entries { n, found: data.len() }.into());
        }
        if let Some(at) = data.iter().position(|v| !v.is_finite()) {
            return Err(AssignmentError::NotFinite { row: at / n, column: at % n, value: data[at] }.into());
        }
        Ok(Self { n, data })
    }

    /// Number of units: rows, and columns.
    ///
    /// ```
    /// use onebasin_core::assignment::Similarity;
    /// assert_eq!(Similarity::new(2, vec![1., 2., 3., 4.])?.n(), 2);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn n(&self) -> usize {
        self.n
    }

    /// The similarities of unit `i` of A with every unit of B.
    ///
    /// # Panics
    /// If there is no unit `i`.
    ///
    /// ```
    /// use onebasin_core::assignment::Similarity;
    /// assert_eq!(Similarity::new(2, vec![1., 2., 3., 4.])?.row(1), [3., 4.]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.n..][..self.n]
    }

    /// The entry `(i, j)`: unit i of A with unit j of B.
    ///
    /// # Panics
    /// If there is no such entry.
    ///
    /// ```
    /// use onebasin_core::assignment::Similarity;
    /// assert_eq!(Similarity::new(2, vec![1., 2., 3., 4.])?.at(0, 1), 2.);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.data[i * self.n + j]
    }

    /// The largest absolute entry; 0 for an empty matrix. Rounding is measured against it.
    ///
    /// Cost: one pass over the matrix.
    ///
    /// ```
    /// use onebasin_core::assignment::Similarity;
    /// assert_eq!(Similarity::new(2, vec![1., -5., 3., 4.])?.scale(), 5.);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn scale(&self) -> f64 {
        self.data.iter().fold(0.0, |m: f64, v| m.max(v.abs()))
    }
}
