//! Combining aligned networks into one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::params::Params;
use crate::symmetry::layout::AxisLayout;
use crate::symmetry::{Alignment, GroupId, Symmetry};
use crate::tensor::Tensor;

/// How to go from A (λ = 0) to B (λ = 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interpolation {
    /// The straight line `A + λ (B − A)`.
    #[default]
    Lerp,
    /// The great circle between the two weight vectors, all tensors flattened into one.
    Slerp,
}

impl fmt::Display for Interpolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lerp => "lerp",
            Self::Slerp => "slerp",
        })
    }
}

impl FromStr for Interpolation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "lerp" => Ok(Self::Lerp),
            "slerp" => Ok(Self::Slerp),
            _ => Err(Error::Invalid(format!("unknown interpolation `{text}`; known: lerp, slerp"))),
        }
    }
}

/// The network at `lambda` between A and an aligned B.
///
/// λ = 0 gives A and λ = 1 gives B, bit for bit. Between them the arithmetic is f64 and the result has A's element
/// types; tensors of integers and booleans are those of the nearer end (A's at ½).
///
/// `slerp`: with ω the angle between the two flattened vectors, `sin((1−λ)ω)/sin ω · A + sin(λω)/sin ω · B`; the straight
/// line where the vectors are (anti)parallel or zero. Cost: one pass over both networks, two for `slerp`.
///
/// # Errors
/// If the networks differ in structure or λ lies outside [0, 1].
///
/// Source: Ainsworth et al. 2023, §5 and footnote 3.
///
/// ```
/// use onebasin::merge::{Interpolation, merge};
/// use onebasin::{Params, Tensor};
/// let net = |w: [f32; 2]| Ok::<_, onebasin::Error>(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[2], w.to_vec())?)]));
/// let middle = merge(&net([0., 2.])?, &net([4., 2.])?, 0.5, Interpolation::Lerp)?;
/// assert_eq!(middle, net([2., 2.])?);
/// # Ok::<(), onebasin::Error>(())
/// ```
pub fn merge(a: &Params, b: &Params, lambda: f64, interpolation: Interpolation) -> Result<Params> {
    a.check_same_structure(b)?;
    if !(0.0..=1.0).contains(&lambda) {
        return Err(Error::Invalid(format!("λ must lie between 0 (network A) and 1 (network B), found {lambda}")));
    }
    if lambda == 0.0 {
        return Ok(a.clone());
    }
    if lambda == 1.0 {
        return Ok(b.clone());
    }
    let weights = match interpolation {
        Interpolation::Lerp => None,
        Interpolation::Slerp => slerp_weights(a, b, lambda)?,
    };
    let mut merged = Params::new();
    for (name, ta) in a.iter() {
        let tb = b.require(name)?;
        let tensor = if ta.dtype().is_float() && tb.dtype().is_float() {
            let (va, vb) = (ta.to_f64()?, tb.to_f64()?);
            let values = va.iter().zip(vb.iter());
            let values = match weights {
                None => values.map(|(x, y)| x + lambda * (y - x)).collect(),
                Some((wa, wb)) => values.map(|(x, y)| wa * x + wb * y).collect(),
            };
            Tensor::from_f64_as(ta.dtype(), ta.shape(), values)?
        } else if lambda <= 0.5 {
            ta.clone()
        } else {
            tb.clone()
        };
        merged.insert(name, tensor);
    }
    Ok(merged)
}

/// The network between A and an aligned B with a λ of its own for some groups.
///
/// Formula: every entry lies at the smallest λ of the groups it stands in, `lambda` where it stands in none or in none that
/// `of_group` names; families go with their root. So a group at λ = 0 follows A with all its weights, those to and from
/// other groups included: a weight between two units is averaged only if both are.
///
/// Cost and rounding are those of [`merge`] along the straight line.
///
/// # Errors
/// If the networks differ in structure, a tensor of the symmetry is missing, or a λ lies outside [0, 1].
pub fn merge_by_group(
    symmetry: &Symmetry,
    a: &Params,
    b: &Params,
    lambda: f64,
    of_group: &BTreeMap<GroupId, f64>,
) -> Result<Params> {
    if let Some((id, l)) = of_group.iter().find(|(_, l)| !(0.0..=1.0).contains(*l)) {
        let name = &symmetry.group(*id).name;
        return Err(Error::Invalid(format!("λ of group `{name}` must lie between 0 and 1, found {l}")));
    }
    let mut merged = merge(a, b, lambda, Interpolation::Lerp)?;
    for (name, layout) in symmetry.tensors() {
        let (ta, tb) = (a.require(name)?, b.require(name)?);
        let by_axis: Vec<Vec<f64>> = layout.axes.iter().map(|axis| lambdas(symmetry, axis, of_group)).collect();
        if !ta.dtype().is_float() || by_axis.iter().flatten().all(|l| l.is_infinite()) {
            continue;
        }
        let mut at = vec![f64::INFINITY];
        for axis in &by_axis {
            at = at.iter().flat_map(|&outer| axis.iter().map(move |&l| outer.min(l))).collect();
        }
        let (va, vb) = (ta.to_f64()?, tb.to_f64()?);
        let values = va.iter().zip(vb.iter()).zip(&at).map(|((x, y), &l)| {
            let l = if l.is_infinite() { lambda } else { l };
            if l == 1.0 { *y } else { x + l * (y - x) }
        });
        merged.insert(name, Tensor::from_f64_as(ta.dtype(), ta.shape(), values.collect())?);
    }
    Ok(merged)
}

/// The smallest λ that a group names at every position of an axis; infinite where none does.
fn lambdas(symmetry: &Symmetry, axis: &AxisLayout, of_group: &BTreeMap<GroupId, f64>) -> Vec<f64> {
    let mut found = vec![f64::INFINITY; axis.len];
    for occurrence in &axis.occurrences {
        let groups = occurrence.digits.iter().filter_map(|d| d.group);
        let named = groups.filter_map(|g| of_group.get(&symmetry.root(g)));
        let smallest = named.fold(f64::INFINITY, |m, l| m.min(*l));
        occurrence.for_each(|values| found[occurrence.position(values)] = smallest);
    }
    found
}

/// The mean of aligned networks: `Σ_p w_p · π_p(θ_p) / Σ_p w_p`, every network counting the same where no weights are given.
///
/// The arithmetic is f64 and the result has the first network's element types; tensors of integers and booleans are the
/// first network's, aligned. Cost: one pass over all networks, tensor by tensor; memory is the result and two copies of
/// one tensor, in f64.
///
/// # Errors
/// If there is no network, there is not one alignment (and weight) for each, the networks differ in structure, or the
/// weights are not finite numbers of positive sum.
///
/// Source: Ainsworth et al. 2023, Algorithm 3; weights as in Wortsman et al. 2022 (model soups).
///
/// ```
/// use onebasin::merge::mean;
/// use onebasin::symmetry::{Alignment, Symmetry, SymmetrySpec};
/// use onebasin::{Params, Tensor};
/// let net = |w: [f32; 2]| Ok::<_, onebasin::Error>(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[2], w.to_vec())?)]));
/// let (a, b) = (net([0., 3.])?, net([4., 7.])?);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &a)?;
/// let still = vec![Alignment::identity(&symmetry); 2];
/// assert_eq!(mean(&symmetry, &[&a, &b], &still, None)?, net([2., 5.])?);
/// assert_eq!(mean(&symmetry, &[&a, &b], &still, Some(&[3., 1.]))?, net([1., 4.])?);
/// # Ok::<(), onebasin::Error>(())
/// ```
pub fn mean(
    symmetry: &Symmetry,
    models: &[&Params],
    alignments: &[Alignment],
    weights: Option<&[f64]>,
) -> Result<Params> {
    let n = models.len();
    let Some(first) = models.first() else {
        return Err(Error::Invalid("a mean needs at least one network, found none".to_owned()));
    };
    let found = weights.map_or(n, <[f64]>::len);
    if alignments.len() != n || found != n {
        let counts = format!("{} alignments and {found} weights", alignments.len());
        return Err(Error::Invalid(format!("{n} networks need one alignment and one weight each, found {counts}")));
    }
    let weights = weights.map_or_else(|| vec![1.0; n], <[f64]>::to_vec);
    let total: f64 = weights.iter().sum();
    if !(total > 0.0 && weights.iter().all(|w| w.is_finite()) && total.is_finite()) {
        return Err(Error::Invalid(format!("weights must be finite numbers of positive sum, found {weights:?}")));
    }
    models.iter().try_for_each(|model| first.check_same_structure(model))?;
    let mut mean = Params::new();
    for (name, _) in symmetry.tensors() {
        let reference = first.require(name)?;
        if !reference.dtype().is_float() {
            mean.insert(name, alignments[0].apply_tensor(symmetry, name, reference)?);
            continue;
        }
        let mut sum = vec![0.0; reference.len()];
        for ((model, alignment), weight) in models.iter().zip(alignments).zip(&weights) {
            let moved = alignment.apply_tensor(symmetry, name, model.require(name)?)?;
            sum.iter_mut().zip(moved.to_f64()?.iter()).for_each(|(s, v)| *s += weight * v);
        }
        let values = sum.iter().map(|s| s / total).collect();
        mean.insert(name, Tensor::from_f64_as(reference.dtype(), reference.shape(), values)?);
    }
    Ok(mean)
}

/// Every floating-point tensor in another element type.
pub fn cast(params: &Params, dtype: DType) -> Result<Params> {
    let cast = |t: &Tensor| if t.dtype().is_float() { t.cast(dtype) } else { Ok(t.clone()) };
    params.iter().map(|(name, t)| Ok((name.to_owned(), cast(t)?))).collect()
}

/// The coefficients of A and B on the great circle, or none where it is a line.
fn slerp_weights(a: &Params, b: &Params, lambda: f64) -> Result<Option<(f64, f64)>> {
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (name, ta) in a.iter().filter(|(_, t)| t.dtype().is_float()) {
        let (va, vb) = (ta.to_f64()?, b.require(name)?.to_f64()?);
        aa += crate::matching::similarity::dot(&va, &va);
        bb += crate::matching::similarity::dot(&vb, &vb);
        ab += crate::matching::similarity::dot(&va, &vb);
    }
    let omega = (ab / (aa * bb).sqrt()).clamp(-1.0, 1.0).acos();
    let sin = omega.sin();
    if sin.is_nan() || sin < 1e-8 {
        return Ok(None);
    }
    Ok(Some((((1.0 - lambda) * omega).sin() / sin, (lambda * omega).sin() / sin)))
}
