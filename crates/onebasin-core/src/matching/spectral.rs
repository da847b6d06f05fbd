//! Weight matching without the noise: what initialisation left in a wide layer is taken out before units are compared.

use faer::{Mat, Side};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::weight::Weights;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::linalg::{self, Scalar};
use crate::params::Params;
use crate::symmetry::{Symmetry, TensorLayout};
use crate::tensor::Tensor;

/// How much of a weight matrix stands out of the noise; what [`denoise`] tells of every matrix that it cleaned.
///
/// ```
/// use onebasin_core::matching::Rank;
/// let rank = Rank { tensor: "fc1.weight".to_owned(), kept: 20, of: 512, share: 0.75 };
/// assert_eq!(serde_json::to_string(&rank)?, r#"{"tensor":"fc1.weight","kept":20,"of":512,"share":0.75}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    /// The tensor.
    pub tensor: String,
    /// Directions above the noise edge.
    pub kept: usize,
    /// Directions in all: the smaller side of the unfolded tensor.
    pub of: usize,
    /// Share of the squared weights in the directions kept.
    pub share: f64,
}

/// A smaller side below this has too few singular values to tell noise from signal; such a matrix is left as it is.
const FEW: usize = 64;

/// Keeps, of every weight matrix, the directions above the noise edge.
///
/// Formula: a tensor is unfolded along its first axis that moves, into `m × n` with `m ≤ n` (or the transpose). With
/// `β = m/n` and `μ_β` the median of the Marchenko–Pastur law, noise of any variance whose median singular value is `s`
/// has none above `(1 + √β) / √μ_β · s`; the singular directions above are kept, the others are set to zero. Since
/// permutations act orthogonally on both sides, denoising commutes with them.
///
/// The result is for comparing units only: the alignment found is applied to the full weights. Vectors, and matrices
/// whose smaller side is below 64, are left as they are.
///
/// Cost: `O(m² n)` for the product and `O(m³)` for its eigenvectors, per tensor, in f64; what is cleaned is f64 where it was,
/// else f32.
///
/// # Errors
/// If a tensor of the symmetry is missing; [`Error::Eigenvectors`] if no solver finds those of a tensor.
///
/// Source: the edge is Gavish and Donoho's (2014) estimate of an unknown noise level from the median; that weight
/// matching follows the leading singular directions is Ito et al. (ICLR 2025).
///
/// ```
/// use onebasin_core::matching::denoise;
/// use onebasin_core::stream::Stream;
/// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let mut noise = Stream::new(0, "noise");
/// let values = (0..64 * 64).map(|_| 2.0 + noise.normal()).collect(); // one direction, and noise
/// let net = Params::from_iter([("w".to_owned(), Tensor::from_f64(&[64, 64], values)?)]);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h .")])?, &net)?;
/// let (_, ranks) = denoise(&symmetry, &net)?;
/// assert_eq!((ranks[0].kept, ranks[0].of), (1, 64));
/// assert!((0.7..0.9).contains(&ranks[0].share)); // about 2² / (2² + 1)
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn denoise(symmetry: &Symmetry, params: &Params) -> Result<(Params, Vec<Rank>)> {
    let tensors: Vec<(&str, &TensorLayout)> = symmetry.tensors().collect();
    let one = |(name, layout): &(&str, &TensorLayout)| -> Result<(String, Tensor, Option<Rank>)> {
        let tensor = params.require(name)?;
        let (clean, rank) = match noisy_axis(tensor, layout) {
            Some((axis, _)) => {
                let (clean, rank) = project(name, tensor, layout, axis)?;
                (clean, Some(rank))
            }
            None => (tensor.clone(), None),
        };
        Ok(((*name).to_owned(), clean, rank))
    };
    let all = tensors.par_iter().map(one).collect::<Result<Vec<_>>>()?;
    let ranks = all.iter().filter_map(|(_, _, rank)| rank.clone()).collect();
    Ok((all.into_iter().map(|(name, tensor, _)| (name, tensor)).collect(), ranks))
}

/// The axis along which a tensor is unfolded, and its smaller side; none if noise cannot be told in it.
fn noisy_axis(tensor: &Tensor, layout: &TensorLayout) -> Option<(usize, usize)> {
    let moves =
        |axis: &usize| layout.axes[*axis].occurrences.iter().any(|o| o.digits.iter().any(|d| d.group.is_some()));
    let axis = (0..layout.axes.len()).find(moves)?;
    let rows = layout.axes[axis].len;
    let side = tensor.len().checked_div(rows).map_or(0, |cols| rows.min(cols));
    (tensor.dtype().is_float() && side >= FEW).then_some((axis, side))
}

/// Both networks denoised, with the ranks of A, if units can be trusted to be compared by them: every matrix keeps enough
/// directions to tell its units apart (6), and few enough that the rest is noise (half), in both; and what is denoised is
/// most of the network's weights.
///
/// Shapes are looked at first, then matrices one after the other, the cheapest first, until one cannot be trusted.
///
/// Cost: that of [`denoise`] for both networks where they are trusted, of one matrix or two where they are not. Memory is that
/// of both networks where they are trusted.
///
/// # Errors
/// As [`denoise`].
///
/// ```
/// use onebasin_core::matching::{Weights, trusted_spectral};
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
/// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
/// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
/// #     Ok(Params::from_iter([first, last]))
/// # };
/// let a = net([1., 2., 3., 4.], [5., 6.])?;
/// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
/// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
/// let symmetry = Symmetry::resolve(&spec, &a)?;
/// assert!(trusted_spectral(&Weights::new(&symmetry, &a, &b)?)?.is_none()); // two units tell no noise from signal
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn trusted_spectral(weights: &Weights<'_>) -> Result<Option<([Params; 2], Vec<Rank>)>> {
    const FEWEST: usize = 6;
    let nets = weights.networks();
    let (mut denoised, mut all, mut noisy) = (0, 0, Vec::new());
    for (name, layout) in weights.symmetry_of().tensors().filter(|(_, layout)| layout.moves()) {
        let tensor = nets[0].require(name)?;
        all += tensor.len();
        if let Some((axis, side)) = noisy_axis(tensor, layout) {
            denoised += tensor.len();
            noisy.push((side * side * (side + tensor.len() / side), name, layout, axis));
        }
    }
    if noisy.is_empty() || 2 * denoised <= all {
        return Ok(None);
    }
    noisy.sort_unstable_by_key(|(cost, name, _, axis)| (*cost, *name, *axis));
    let (mut clean, mut ranks) = (nets.map(Params::clone), Vec::new());
    for (_, name, layout, axis) in noisy {
        let [a, b] = [nets[0].require(name)?, nets[1].require(name)?];
        let (a, b) = rayon::join(|| project(name, a, layout, axis), || project(name, b, layout, axis));
        let ((a, own), (b, other)) = (a?, b?);
        if [&own, &other].iter().any(|r| r.kept < FEWEST || 2 * r.kept > r.of) {
            return Ok(None);
        }
        clean[0].insert(name, a);
        clean[1].insert(name, b);
        ranks.push(own);
    }
    Ok(Some((clean, ranks)))
}

/// The tensor without its noise, and how much of it that is.
fn project(name: &str, tensor: &Tensor, layout: &TensorLayout, axis: usize) -> Result<(Tensor, Rank)> {
    let shape = layout.laid_out();
    let values = tensor.to_f64().map_err(|e| e.named(name))?;
    let (outer, rows, inner): (usize, usize, usize) =
        (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product());
    let cols = outer * inner;
    // The smaller side first: `x` is m × n.
    let tall = rows > cols;
    let (m, n) = (rows.min(cols), rows.max(cols));
    let at = |r: usize, c: usize| (c / inner * rows + r) * inner + c % inner;
    let entry = |i: usize, j: usize| if tall { at(j, i) } else { at(i, j) };
    let x: Vec<f64> = (0..m).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| values[entry(i, j)]).collect();
    let view = linalg::Mat::new(&x, m, n);
    let mut gram = vec![0.0; m * m];
    f64::matmul(&mut gram, view, view.t(), false);
    let found = Mat::from_fn(m, m, |i, j| gram[i * m + j])
        .self_adjoint_eigen(Side::Lower)
        .map_err(|e| Error::Eigenvectors { tensor: name.to_owned(), why: format!("{e:?}") })?;
    let squares: Vec<f64> = (0..m).map(|k| found.S()[k].max(0.0)).collect();
    let beta = m as f64 / n as f64;
    let edge = (1.0 + beta.sqrt()).powi(2) / marchenko_pastur_median(beta) * squares[m / 2];
    let kept = squares.iter().filter(|s| **s > edge).count();
    let share = squares[m - kept..].iter().sum::<f64>() / squares.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let top: Vec<f64> =
        (0..m).flat_map(|i| (m - kept..m).map(move |k| (i, k))).map(|(i, k)| found.U()[(i, k)]).collect();
    let top = linalg::Mat::new(&top, m, kept);
    let (mut coordinates, mut clean) = (vec![0.0; kept * n], vec![0.0; m * n]);
    f64::matmul(&mut coordinates, top.t(), view, false);
    f64::matmul(&mut clean, top, linalg::Mat::new(&coordinates, kept, n), false);
    let mut back = vec![0.0; values.len()];
    for i in 0..m {
        for j in 0..n {
            back[entry(i, j)] = clean[i * n + j];
        }
    }
    let clean = match tensor.dtype() {
        DType::F64 => Tensor::from_f64(tensor.shape(), back)?,
        _ => Tensor::from_f32(tensor.shape(), back.iter().map(|v| *v as f32).collect())?,
    };
    Ok((clean, Rank { tensor: name.to_owned(), kept, of: m, share }))
}

/// The median eigenvalue of `X Xᵀ / n` for `m × n` noise of unit variance, `β = m/n ≤ 1`.
fn marchenko_pastur_median(beta: f64) -> f64 {
    const STEPS: usize = 4000;
    let (low, high) = ((1.0 - beta.sqrt()).powi(2), (1.0 + beta.sqrt()).powi(2));
    // With x = mid − half · cos θ the density is smooth in θ, even where β = 1.
    let (mid, half) = (f64::midpoint(low, high), f64::midpoint(high, -low));
    let step = std::f64::consts::PI / STEPS as f64;
    let mass = |k: usize| {
        let theta = (k as f64 + 0.5) * step;
        let x = mid - half * theta.cos();
        (half * theta.sin()).powi(2) / (std::f64::consts::TAU * beta * x) * step
    };
    let mut sum = 0.0;
    for k in 0..STEPS {
        let next = sum + mass(k);
        if next >= 0.5 {
            let theta = (k as f64 + (0.5 - sum) / (next - sum)) * step;
            return mid - half * theta.cos();
        }
        sum = next;
    }
    mid
}

#[cfg(test)]
mod tests {
    use super::marchenko_pastur_median;

    #[test]
    fn the_median_is_that_of_gavish_and_donoho() {
        // 0.6528 for square matrices (their Table IV: λ*(1)/ω(1) = (4/√3)/2.858, squared); 1 as the matrix grows flat.
        assert!((marchenko_pastur_median(1.0) - 0.6528).abs() < 1e-3);
        assert!((marchenko_pastur_median(1e-4) - 1.0).abs() < 1e-3);
    }
}
