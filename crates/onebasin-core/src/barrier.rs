//! The loss barrier between two networks: defined here and nowhere else.
//!
//! A curve is two lists of one length: λ, strictly upwards from 0 (A) to 1 (B), and the loss of the network at each,
//! such as [`merge`](fn@crate::merge::merge) makes it. Two networks lie in one basin where the barrier between them is
//! about zero.

use serde::{Deserialize, Serialize};

use crate::error::Result;

/// What keeps a curve of losses from having a barrier.
/// ```
/// use onebasin_core::barrier::{CurveError, barrier};
/// let error = barrier(&[0.0, 0.5], &[1.0, 2.0]).unwrap_err();
/// assert_eq!(error, CurveError::Ends { lambda: vec![0.0, 0.5] }.into());
/// assert_eq!(error.to_string(), "λ must run from 0 to 1, found [0.0, 0.5]");
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CurveError {
    /// Not one loss for every λ.
    #[error("a curve has {lambda} values of λ but {loss} losses")]
    Lengths {
        /// Number of values of λ.
        lambda: usize,
        /// Number of losses.
        loss: usize,
    },
    /// A λ that does not begin at 0, or does not end at 1.
    #[error("λ must run from 0 to 1, found {lambda:?}")]
    Ends {
        /// All values of λ.
        lambda: Vec<f64>,
    },
    /// A λ that turns back or stands still.
    #[error("λ must run upwards, found {lambda:?}")]
    Order {
        /// All values of λ.
        lambda: Vec<f64>,
    },
    /// A loss that is NaN or infinite.
    #[error("the loss at λ = {lambda} is {loss}")]
    Loss {
        /// The first such place.
        lambda: f64,
        /// The loss there.
        loss: f64,
    },
    /// Fewer points than a curve has ends.
    #[error("a curve needs at least its two ends, found {points} points")]
    Points {
        /// Number of points asked for.
        points: usize,
    },
}

/// How much the loss rises on the way from A (λ = 0) to B (λ = 1), in both forms in use; in the unit of the loss.
///
/// Between ends of equal loss both are the same. Otherwise `mean_ends` counts half the difference of the ends even
/// where the loss falls all the way; the two differ by no more than that half.
///
/// ```
/// use onebasin_core::barrier::barrier;
/// let falls = barrier(&[0.0, 0.5, 1.0], &[1.0, 0.5, 0.0])?;
/// assert_eq!((falls.mean_ends, falls.chord), (0.5, 0.0));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Barrier {
    /// `max_λ L(λ) − ½ (L(0) + L(1))`: the paper's. Never below `½ |L(0) − L(1)|`.
    pub mean_ends: f64,
    /// `max_λ [L(λ) − ((1 − λ) L(0) + λ L(1))]`: against the chord. Never below 0.
    pub chord: f64,
}

/// The barrier of a curve of losses.
///
/// Formula: that of [`Barrier`], the maximum over the λ given. The true barrier may lie between them.
///
/// Shapes: one loss for every λ, two at least.
///
/// # Errors
/// [`CurveError`]: λ does not run strictly upwards from 0 to 1, the lengths differ, or a loss is not finite.
///
/// Source: Ainsworth et al. 2023, Definition 2.1 (`mean_ends`); Entezari et al. 2022 (`chord`).
///
/// ```
/// use onebasin_core::barrier::barrier;
/// let b = barrier(&[0.0, 0.5, 1.0], &[0.1, 0.7, 0.3])?;
/// assert!((b.mean_ends - 0.5).abs() < 1e-15 && (b.chord - 0.5).abs() < 1e-15);
/// assert!(barrier(&[0.0, 0.5, 1.0], &[0.1, f64::NAN, 0.3]).is_err());
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn barrier(lambda: &[f64], loss: &[f64]) -> Result<Barrier> {
    if lambda.len() != loss.len() {
        return Err(CurveError::Lengths { lambda: lambda.len(), loss: loss.len() }.into());
    }
    let ([0.0, .., 1.0], [first, .., last]) = (lambda, loss) else {
        return Err(CurveError::Ends { lambda: lambda.to_vec() }.into());
    };
    if lambda.windows(2).any(|w| w[0] >= w[1]) {
        return Err(CurveError::Order { lambda: lambda.to_vec() }.into());
    }
    if let Some(at) = loss.iter().position(|l| !l.is_finite()) {
        return Err(CurveError::Loss { lambda: lambda[at], loss: loss[at] }.into());
    }
    let highest = loss.iter().fold(f64::NEG_INFINITY, |m, l| m.max(*l));
    let above = |(x, l): (&f64, &f64)| l - ((1.0 - x) * first + x * last);
    let chord = lambda.iter().zip(loss).map(above).fold(0.0, f64::max);
    Ok(Barrier { mean_ends: highest - 0.5 * (first + last), chord })
}

/// `n` values of λ from 0 to 1, evenly spaced; where `n` is even, ½ as well, which is the middle that is asked about.
///
/// # Errors
/// [`CurveError::Points`] if `n` is below 2.
/// ```
/// use onebasin_core::barrier::lambda_grid;
/// assert_eq!(lambda_grid(5)?, [0.0, 0.25, 0.5, 0.75, 1.0]);
/// assert_eq!(lambda_grid(2)?, [0.0, 0.5, 1.0]);
/// assert!(lambda_grid(1).is_err());
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn lambda_grid(n: usize) -> Result<Vec<f64>> {
    if n < 2 {
        return Err(CurveError::Points { points: n }.into());
    }
    let mut grid: Vec<f64> = (0..n).map(|i| i as f64 / (n - 1) as f64).collect();
    if n.is_multiple_of(2) {
        grid.insert(n / 2, 0.5);
    }
    Ok(grid)
}
