//! An assignment, and the proof that it is optimal, checked without solving anything.

use super::similarity::Similarity;
use crate::perm::Perm;

/// Prices that prove an assignment optimal: `row[i] + col[j] ≥ s[i, j]` everywhere, with equality where `perm[i] = j`.
///
/// They are a solution of the dual linear programme. As a warm start only the column prices are read: they say which
/// columns were in demand.
///
/// Shapes: `n` numbers each, in the unit of the similarity.
///
/// ```
/// use onebasin_core::assignment::{Similarity, assign};
/// let first = Similarity::new(2, vec![1., 5., 4., 6.])?;
/// let duals = assign(&first, None)?.duals;
/// let changed = Similarity::new(2, vec![1.1, 5.0, 4.0, 6.2])?; // little has changed
/// assert_eq!(assign(&changed, Some(&duals))?.perm, assign(&changed, None)?.perm);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Duals {
    /// One price per unit of A.
    pub row: Vec<f64>,
    /// One price per unit of B.
    pub col: Vec<f64>,
}

/// An optimal assignment with its proof.
///
/// ```
/// use onebasin_core::assignment::{Similarity, assign};
/// let similarity = Similarity::new(3, vec![0., 2., 1., 1., 0., 2., 2., 1., 0.])?;
/// let best = assign(&similarity, None)?;
/// assert_eq!((best.perm.as_slice(), best.value), ([1, 2, 0].as_slice(), 6.0));
/// assert_eq!(best.duals.row.iter().chain(&best.duals.col).sum::<f64>(), best.value);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// `perm[i] = j`: unit i of A corresponds to unit j of B.
    pub perm: Perm,
    /// `Σ_i s[i, perm[i]]`.
    pub value: f64,
    /// The proof, and the warm start of a similar problem.
    pub duals: Duals,
}

/// How far duals are from proving an assignment optimal; all three in the unit of the similarity.
///
/// ```
/// use onebasin_core::assignment::{Assignment, Similarity, assign, certificate};
/// use onebasin_core::Perm;
/// let similarity = Similarity::new(2, vec![1., 5., 4., 6.])?;
/// let best = assign(&similarity, None)?;
/// let worse = Assignment { perm: Perm::identity(2), ..best };
/// let found = certificate(&similarity, &worse);
/// assert!(!found.proves_optimal());
/// assert_eq!(found.gap, 2.0); // 9 − 7
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certificate {
    /// `Σ row + Σ col − value`: no assignment is worth more than the value plus this.
    pub gap: f64,
    /// The largest `s[i, j] − row[i] − col[j]`: positive where the duals fail to bound an entry.
    pub violation: f64,
    /// What rounding alone can make of the gap and (divided by n) of a violation.
    pub tolerance: f64,
}

impl Certificate {
    /// Whether the assignment is optimal up to rounding: neither gap nor violation exceeds the tolerance.
    ///
    /// ```
    /// use onebasin_core::assignment::Certificate;
    /// assert!(Certificate { gap: 1e-16, violation: 0.0, tolerance: 1e-14 }.proves_optimal());
    /// assert!(!Certificate { gap: 0.0, violation: 0.1, tolerance: 1e-14 }.proves_optimal());
    /// ```
    pub fn proves_optimal(&self) -> bool {
        self.gap.abs() <= self.tolerance && self.violation <= self.tolerance
    }
}

/// Checks the proof of an assignment: by weak duality every assignment is worth at most `Σ row + Σ col` if
/// `row[i] + col[j] ≥ s[i, j]` everywhere.
///
/// The value is summed anew from the matrix; [`Assignment::value`] is not believed. The tolerance is
/// `8 ε n √n · max(|s|, |row|, |col|)`: the gap sums 3n numbers of that size, each of which gathered rounding over the
/// searches that changed it.
///
/// Cost: one pass over the matrix.
///
/// # Panics
/// If the assignment is not of as many units as the matrix.
///
/// Source: Kuhn 1955, the dual of the assignment problem.
///
/// ```
/// use onebasin_core::assignment::{Similarity, assign, certificate};
/// let similarity = Similarity::new(2, vec![1., 5., 4., 6.])?;
/// let found = certificate(&similarity, &assign(&similarity, None)?);
/// assert!(found.gap.abs() <= found.tolerance && found.violation <= found.tolerance);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn certificate(similarity: &Similarity, assignment: &Assignment) -> Certificate {
    let n = similarity.n();
    let (row, col) = (&assignment.duals.row, &assignment.duals.col);
    let mut violation = f64::NEG_INFINITY;
    for i in 0..n {
        let worst = similarity.row(i).iter().zip(col).fold(f64::NEG_INFINITY, |m, (s, c)| m.max(s - row[i] - c));
        violation = violation.max(worst);
    }
    let value: f64 = (0..n).map(|i| similarity.at(i, assignment.perm.at(i))).sum();
    let gap = row.iter().sum::<f64>() + col.iter().sum::<f64>() - value;
    let scale = row.iter().chain(col).fold(similarity.scale(), |m, v| m.max(v.abs()));
    Certificate { gap, violation, tolerance: 8.0 * f64::EPSILON * n as f64 * (n as f64).sqrt() * scale }
}
