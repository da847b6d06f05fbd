//! Elements of the kinds that are not permutations: how they act, follow from a Gram, are undone and drawn.

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::linalg::{Mat, Scalar, polar, symmetric_eigen};
use crate::perm::Perm;
use crate::stream::Stream;

/// A linear map of the units of one copy of a group.
///
/// Where units are contracted with others, the others move by the inverse, transposed: see [`Side`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// Every unit times a number, such as ±1.
    Scales(Vec<f64>),
    /// Unit `f` and unit `f + half` as one complex number, times this one `[re, im]`.
    Phases(Vec<[f64; 2]>),
    /// A matrix, row-major, and its inverse, transposed, where that is another one.
    Matrix {
        /// What acts on units.
        rows: Vec<f64>,
        /// What acts on what they are contracted with; none of an orthogonal matrix.
        against: Option<Vec<f64>>,
    },
}

/// Which of the two maps of a [`Turn`] acts on a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Units themselves.
    Along,
    /// What is contracted with them.
    Against,
}

impl Turn {
    /// Units that it moves.
    pub fn len(&self) -> usize {
        match self {
            Self::Scales(scales) => scales.len(),
            Self::Phases(phases) => 2 * phases.len(),
            Self::Matrix { rows, .. } => rows.len().isqrt(),
        }
    }

    /// Whether there are no units.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As a matrix, row-major: entry `(i, j)` is what unit `j` adds to unit `i` of the result.
    pub fn matrix(&self, side: Side) -> Vec<f64> {
        let n = self.len();
        let mut all = vec![0.0; n * n];
        match self {
            Self::Scales(scales) => {
                for (k, scale) in scales.iter().enumerate() {
                    all[k * n + k] = if side == Side::Along { *scale } else { 1.0 / scale };
                }
            }
            Self::Phases(phases) => {
                let half = phases.len();
                for (f, z) in phases.iter().enumerate() {
                    let size = z[0] * z[0] + z[1] * z[1];
                    let [re, im] = if side == Side::Along { *z } else { [z[0] / size, z[1] / size] };
                    (all[f * n + f], all[(f + half) * n + f + half]) = (re, re);
                    (all[f * n + f + half], all[(f + half) * n + f]) = (-im, im);
                }
            }
            Self::Matrix { rows, against } => {
                all.clone_from(if side == Side::Along { rows } else { against.as_ref().unwrap_or(rows) });
            }
        }
        all
    }

    /// Acting with `first`, moved by `perm`, and then with this one.
    #[must_use]
    pub fn after(&self, perm: &Perm, first: &Self) -> Self {
        let n = self.len();
        match (self, first) {
            (Self::Scales(then), Self::Scales(first)) => {
                Self::Scales((0..n).map(|i| then[i] * first[perm.at(i)]).collect())
            }
            (Self::Phases(then), Self::Phases(first)) if perm.is_identity() => {
                let product = |(a, b): (&[f64; 2], &[f64; 2])| [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]];
                Self::Phases(then.iter().zip(first).map(product).collect())
            }
            _ => {
                let product = |side| {
                    let (then, first) = (self.matrix(side), first.matrix(side));
                    let moved: Vec<f64> = (0..n * n).map(|at| first[perm.at(at / n) * n + perm.at(at % n)]).collect();
                    let mut both = vec![0.0; n * n];
                    f64::matmul(&mut both, Mat::new(&then, n, n), Mat::new(&moved, n, n), false);
                    both
                };
                let keeps = |turn: &Self| matches!(turn, Self::Matrix { against: None, .. });
                let against = if keeps(self) && keeps(first) { None } else { Some(product(Side::Against)) };
                Self::Matrix { rows: product(Side::Along), against }
            }
        }
    }

    /// What undoes it, where units are moved by `perm` before.
    #[must_use]
    pub fn undone(&self, perm: &Perm) -> Self {
        let (n, back) = (self.len(), perm.inverse());
        match self {
            Self::Scales(scales) => Self::Scales((0..n).map(|i| 1.0 / scales[back.at(i)]).collect()),
            Self::Phases(phases) => {
                let inverse = |z: &[f64; 2]| {
                    let size = z[0] * z[0] + z[1] * z[1];
                    [z[0] / size, -z[1] / size]
                };
                Self::Phases(phases.iter().map(inverse).collect())
            }
            Self::Matrix { rows, against } => {
                let transposed = |of: &[f64]| -> Vec<f64> {
                    (0..n * n).map(|at| of[back.at(at % n) * n + back.at(at / n)]).collect()
                };
                let rows_back = transposed(against.as_ref().unwrap_or(rows));
                Self::Matrix { rows: rows_back, against: against.as_ref().map(|_| transposed(rows)) }
            }
        }
    }
}

impl Kind {
    /// The element that does nothing to `n` units; none where only permutations act.
    pub fn identity(self, n: usize) -> Option<Turn> {
        match self {
            Self::Permutation | Self::Still => None,
            Self::Signed => Some(Turn::Scales(vec![1.0; n])),
            Self::Phases => Some(Turn::Phases(vec![[1.0, 0.0]; n / 2])),
            Self::Orthogonal | Self::Centred => {
                let rows = (0..n * n).map(|at| if at / n == at % n { 1.0 } else { 0.0 }).collect();
                Some(Turn::Matrix { rows, against: None })
            }
        }
    }

    /// The element worth most, and its worth: `max Σ_ij turn[i, j] · gram[i, j]`, units of A along the rows of the Gram.
    ///
    /// Formula: orthogonal, the polar factor `U Vᵀ` of `gram = U Σ Vᵀ`, worth the nuclear norm; centred, that of the part that is
    /// orthogonal to the vector of ones, which stays; phases, by pair the phase of `z = (g₀₀ + g₁₁) + i (g₁₀ − g₀₁)`, worth `|z|`;
    /// signs, entry by entry of the diagonal. None where only permutations act.
    ///
    /// Cost: one singular value decomposition for matrices, else linear in the units.
    ///
    /// Source: Schönemann 1966 (orthogonal Procrustes).
    pub fn best(self, gram: &[f64], n: usize) -> Option<(Turn, f64)> {
        match self {
            Self::Permutation | Self::Still => None,
            Self::Signed => {
                let signs: Vec<f64> = (0..n).map(|i| if gram[i * n + i] < 0.0 { -1.0 } else { 1.0 }).collect();
                let worth = (0..n).map(|i| gram[i * n + i].abs()).sum();
                Some((Turn::Scales(signs), worth))
            }
            Self::Phases => {
                let half = n / 2;
                let z = |f: usize| {
                    let at = |i: usize, j: usize| gram[i * n + j];
                    [at(f, f) + at(f + half, f + half), at(f + half, f) - at(f, f + half)]
                };
                let all: Vec<[f64; 2]> = (0..half).map(z).collect();
                let size = |z: &[f64; 2]| z[0].hypot(z[1]);
                let unit = |z: &[f64; 2]| if size(z) > 0.0 { [z[0] / size(z), z[1] / size(z)] } else { [1.0, 0.0] };
                Some((Turn::Phases(all.iter().map(unit).collect()), all.iter().map(size).sum()))
            }
            Self::Orthogonal => {
                let (rows, worth) = polar(gram, n)?;
                Some((Turn::Matrix { rows, against: None }, worth))
            }
            Self::Centred => {
                let (inner, ones) = without_ones(gram, n);
                let (rows, worth) = polar(&inner, n)?;
                // What the polar factor does with the one direction that was taken out is arbitrary: it stays.
                let (rows, _) = without_ones(&rows, n);
                let rows = rows.iter().map(|value| value + 1.0 / n as f64).collect();
                Some((Turn::Matrix { rows, against: None }, worth + ones))
            }
        }
    }

    /// A random element, for tests by function: none where only permutations act.
    pub fn random(self, n: usize, stream: &mut Stream) -> Option<Turn> {
        let gram: Vec<f64> = (0..n * n).map(|_| stream.normal()).collect();
        Some(self.best(&gram, n)?.0)
    }
}

/// A matrix without its part along the vector of ones on either side, and the worth of that vector kept.
fn without_ones(matrix: &[f64], n: usize) -> (Vec<f64>, f64) {
    let count = n as f64;
    let row = |i: usize| matrix[i * n..][..n].iter().sum::<f64>() / count;
    let rows: Vec<f64> = (0..n).map(row).collect();
    let columns: Vec<f64> = (0..n).map(|j| (0..n).map(|i| matrix[i * n + j]).sum::<f64>() / count).collect();
    let all = rows.iter().sum::<f64>() / count;
    let inner = (0..n * n).map(|at| matrix[at] - rows[at / n] - columns[at % n] + all);
    (inner.collect(), all * count)
}

/// The positive definite map that makes sums of squares equal on both sides: `M P Mᵀ = M⁻¹ N M⁻¹`, where P is the Gram of what moves
/// along and N of what moves against; none where one of them is singular.
///
/// Formula: `M² = P^{−1/2} (P^{1/2} N P^{1/2})^{1/2} P^{−1/2}`, the geometric mean of `P⁻¹` and N.
pub fn balance(along: &[f64], against: &[f64], n: usize) -> Option<Turn> {
    let power = |matrix: &[f64], to: f64| -> Option<Vec<f64>> {
        let (values, vectors) = symmetric_eigen(matrix, n)?;
        let largest = values.iter().fold(0.0_f64, |most, value| most.max(*value));
        if values.iter().any(|value| *value <= 1e-9 * largest) {
            return None;
        }
        let scaled: Vec<f64> = (0..n * n).map(|at| vectors[at] * values[at % n].powf(to)).collect();
        let mut product = vec![0.0; n * n];
        f64::matmul(&mut product, Mat::new(&scaled, n, n), Mat::new(&vectors, n, n).t(), false);
        Some(product)
    };
    let sandwiched = |outer: &[f64], inner: &[f64]| -> Vec<f64> {
        let (mut half, mut whole) = (vec![0.0; n * n], vec![0.0; n * n]);
        f64::matmul(&mut half, Mat::new(outer, n, n), Mat::new(inner, n, n), false);
        f64::matmul(&mut whole, Mat::new(&half, n, n), Mat::new(outer, n, n), false);
        whole
    };
    let (root, back) = (power(along, 0.5)?, power(along, -0.5)?);
    let square = sandwiched(&back, &power(&sandwiched(&root, against), 0.5)?);
    let rows = power(&square, 0.5)?;
    Some(Turn::Matrix { rows, against: Some(power(&square, -0.5)?) })
}
