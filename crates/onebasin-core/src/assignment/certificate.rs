//! An assignment, and the proof that it is optimal, checked without solving anything.

use super::similarity::Similarity;
use crate::perm::Perm;

/// Prices that prove an assignment optimal: `row[i] + col[j] ≥ s[i, j]` everywhere, with equality where `perm[i] = j`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Duals {
    /// One price per unit of A.
    pub row: Vec<f64>,
    /// One price per unit of B.
    pub col: Vec<f64>,
}

/// An optimal assignment with its proof.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// `perm[i] = j`: unit i of A corresponds to unit j of B.
    pub perm: Perm,
    /// `Σ_i s[i, perm[i]]`.
    pub value: f64,
    /// The proof, and the warm start of a similar problem.
    pub duals: Duals,
}

/// How far duals are from proving an assignment optimal.
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
    /// Whether the assignment is optimal up to rounding.
    pub fn proves_optimal(&self) -> bool {
        self.gap.abs() <= self.tolerance && self.violation <= self.tolerance
    }
}

/// Weak duality: every assignment is worth at most `Σ row + Σ col` if `row[i] + col[j] ≥ s[i, j]` everywhere.
///
/// Cost: one pass over the matrix. The tolerance is `8 ε n √n · max(|s|, |row|, |col|)`: the gap sums 3n numbers of that
/// size, each of which gathered rounding over the searches that changed it.
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
