//! The front of the solvers: prices to start from, the solver that suits the size, the proof.

use super::certificate::{Assignment, Duals, certificate};
use super::error::AssignmentError;
use super::similarity::Similarity;
use super::{FREE, Solved, dense, sparse};
use crate::error::Result;
use crate::perm::Perm;

/// Below this size whole rows are as cheap as lists of their best columns.
const SMALL: usize = 192;

/// The permutation that maximises `Σ_i s[i, perm[i]]`.
///
/// Deterministic; where the best entries of all columns tie with the diagonal, units keep their number: a constant matrix
/// gives the identity. `warm` are duals of an earlier, similar problem: any finite column prices are valid, the result is
/// optimal whatever they are, and good ones save most of the work.
///
/// Cost: two passes over the matrix and about `O(n log n)` for every row they do not place; `O(n³)` at worst. Memory
/// beyond the matrix: at most 1 KiB a row.
///
/// # Errors
/// [`AssignmentError`]: `warm` has the wrong length or holds a price that is not finite.
///
/// Source: Jonker and Volgenant 1987 (column reduction, augmenting row reduction, shortest augmenting paths), Bertsekas
/// 1988 (auction with ε-scaling). We differ in looking at short lists of every row's best columns, with a bound on the
/// others that rising prices cannot break, and reading a row again only where its list is used up; in tie-breaking; and in
/// the warm start.
///
/// ```
/// use onebasin_core::assignment::{Similarity, assign};
/// let s = Similarity::new(2, vec![1., 5., 4., 6.])?;
/// let best = assign(&s, None)?;
/// assert_eq!((best.perm.as_slice(), best.value), ([1, 0].as_slice(), 9.0));
/// assert!(assign(&Similarity::new(3, vec![0.; 9])?, None)?.perm.is_identity());
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn assign(similarity: &Similarity, warm: Option<&Duals>) -> Result<Assignment> {
    let solved = match (similarity.n() < SMALL, warm) {
        (true, _) => dense::solve(similarity, prices(similarity, warm)?),
        (false, None) => sparse::solve(similarity),
        (false, Some(_)) => sparse::solve_from(similarity, prices(similarity, warm)?),
    };
    proved(similarity, solved)
}

/// The same by the textbook's algorithm over whole rows: the twin of [`assign`], for tests and comparisons.
///
/// The value is the same; where several assignments are worth it, another may be found.
///
/// Cost: `O(n²)` for every row that the first prices do not place, `O(n³)` at worst; memory `O(n)` beyond the matrix.
///
/// # Errors
/// Those of [`assign`].
///
/// Source: Jonker and Volgenant 1987, without augmenting row reduction.
///
/// ```
/// use onebasin_core::assignment::{Similarity, assign, assign_dense};
/// let s = Similarity::new(3, vec![7., 5., 3., 2., 8., 6., 4., 1., 9.])?;
/// assert_eq!(assign_dense(&s, None)?.value, assign(&s, None)?.value);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn assign_dense(similarity: &Similarity, warm: Option<&Duals>) -> Result<Assignment> {
    proved(similarity, dense::solve(similarity, prices(similarity, warm)?))
}

fn proved(similarity: &Similarity, solved: Solved) -> Result<Assignment> {
    let Solved { of_row, prices } = solved;
    debug_assert!(of_row.iter().all(|&j| j != FREE), "every row has a column");
    let perm = Perm::new(of_row)?;
    let worth: Vec<f64> = (0..similarity.n()).map(|i| similarity.at(i, perm.at(i))).collect();
    let row = worth.iter().enumerate().map(|(i, s)| s - prices[perm.at(i)]).collect();
    let value = worth.iter().sum();
    let assignment = Assignment { perm, value, duals: Duals { row, col: prices } };
    debug_assert!(certificate(similarity, &assignment).proves_optimal(), "{:?}", certificate(similarity, &assignment));
    Ok(assignment)
}

/// Prices no further from zero than twice the similarity: what lies far beyond says no more, and its rounding would stay in
/// the proof.
fn within(similarity: &Similarity, mut prices: Vec<f64>) -> Vec<f64> {
    let largest = |numbers: &[f64]| numbers.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let priced = largest(&prices);
    // One row tells most often that all is well, without a look at the others.
    if similarity.n() > 0 && priced > 2.0 * largest(similarity.row(0)) {
        let most = 2.0 * similarity.scale();
        for price in &mut prices {
            *price = price.clamp(-most, most);
        }
    }
    prices
}

/// Starting column prices: the warm ones, or the column maxima.
fn prices(similarity: &Similarity, warm: Option<&Duals>) -> Result<Vec<f64>> {
    let n = similarity.n();
    if let Some(duals) = warm {
        if duals.col.len() != n {
            return Err(AssignmentError::Prices { columns: n, found: duals.col.len() }.into());
        }
        if let Some(j) = duals.col.iter().position(|p| !p.is_finite()) {
            return Err(AssignmentError::Price { column: j, value: duals.col[j] }.into());
        }
        return Ok(within(similarity, duals.col.clone()));
    }
    let mut col = vec![f64::NEG_INFINITY; n];
    for i in 0..n {
        col.iter_mut().zip(similarity.row(i)).for_each(|(p, &s)| *p = p.max(s));
    }
    Ok(col)
}
