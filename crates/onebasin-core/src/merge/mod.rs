//! Combining aligned networks into one.
//!
//! [`merge`](fn@merge) goes from A to B along a line or a circle, [`merge_by_group`] with a λ of its own for every
//! group, and [`mean`] takes the middle of many. What becomes of one tensor, or of any range of its entries, is a
//! [`MergeRule`]: the same formula serves networks in memory and files that pass by in pieces.

mod agree;
mod products;
mod rule;

pub use products::Products;
pub use rule::{MergeRule, TensorRule};

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::convert::all_finite;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::params::Params;
use crate::symmetry::{Alignment, GroupId, Symmetry};
use crate::tensor::Tensor;

/// How to go from A (λ = 0) to B (λ = 1). As text: `lerp`, `slerp`.
///
/// ```
/// use onebasin_core::merge::Interpolation;
/// assert_eq!("slerp".parse(), Ok(Interpolation::Slerp));
/// let error = "line".parse::<Interpolation>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown interpolation `line`; known: lerp, slerp");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
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
            _ => Err(Error::Unknown { what: "interpolation", word: text.to_owned(), known: "lerp, slerp" }),
        }
    }
}

/// The network at `lambda` between A and an aligned B.
///
/// λ = 0 gives A and λ = 1 gives B, bit for bit. Between them the arithmetic is f64 and the result has A's element
/// types; infinities must be the same in both, and stay. Counters, which are single integers and what is
/// called `num_batches_tracked`, are A's; other tensors of integers and booleans are those of the nearer end (A's at ½),
/// but see [`merge_within`].
///
/// Formula: `lerp` is `A + λ (B − A)`. `slerp` is `sin((1−λ)ω)/sin ω · A + sin(λω)/sin ω · B`, with ω the angle between
/// the two flattened vectors; the straight line where the vectors are (anti)parallel or zero.
///
/// Cost: one pass over both networks, two for `slerp`.
///
/// # Errors
/// [`Error::Structure`] if the networks differ in structure, [`Error::Option`] if λ lies outside [0, 1],
/// [`Error::NoMean`] if infinities differ and λ is neither 0 nor 1.
///
/// Source: Ainsworth et al. 2023, §5 and footnote 3.
///
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::merge::{Interpolation, merge};
/// let (a, b) = (net(&[1., 0.])?, net(&[0., 1.])?);
/// assert_eq!(merge(&a, &b, 0.5, Interpolation::Lerp)?, net(&[0.5, 0.5])?);
/// let circle = merge(&a, &b, 0.5, Interpolation::Slerp)?; // keeps the length
/// assert!(circle.require("w")?.to_f32()?.iter().all(|w| (w - 0.5_f32.sqrt()).abs() < 1e-7));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn merge(a: &Params, b: &Params, lambda: f64, interpolation: Interpolation) -> Result<Params> {
    merge_as(&whole(a, b, lambda, interpolation)?, a, b)
}

/// The same for networks of a known symmetry: integers and booleans that it moves are weights, and have no mean.
///
/// # Errors
/// As [`merge`](fn@merge), and [`Error::NoMean`] if such a tensor differs and λ is neither 0 nor 1.
/// ```
/// use onebasin_core::merge::{Interpolation, merge_within};
/// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = |codes: [u32; 2]| Ok::<_, onebasin_core::Error>(Params::from_iter([("codes".to_owned(), Tensor::from_u32(&[2], codes.to_vec())?)]));
/// let (a, b) = (net([3, 5])?, net([4, 5])?);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("codes", "h")])?, &a)?;
/// let error = merge_within(&symmetry, &a, &b, 0.5, Interpolation::Lerp).unwrap_err().to_string();
/// assert!(error.contains("`codes` (u32) holds 3 in A and 4 in the aligned B at index [0]"));
/// assert_eq!(merge_within(&symmetry, &a, &b, 1.0, Interpolation::Lerp)?, b);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn merge_within(
    symmetry: &Symmetry,
    a: &Params,
    b: &Params,
    lambda: f64,
    interpolation: Interpolation,
) -> Result<Params> {
    merge_as(&whole(a, b, lambda, interpolation)?.within(symmetry), a, b)
}

fn whole<'a>(a: &Params, b: &Params, lambda: f64, interpolation: Interpolation) -> Result<MergeRule<'a>> {
    a.check_same_structure(b)?;
    match interpolation {
        Interpolation::Slerp if lambda > 0.0 && lambda < 1.0 => MergeRule::slerp(lambda, Products::of(a, b)?),
        Interpolation::Lerp | Interpolation::Slerp => MergeRule::lerp(lambda),
    }
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
/// If the networks differ in structure, a tensor of the symmetry is missing, a λ lies outside [0, 1], or integers that
/// move, or infinities, differ where λ is neither 0 nor 1 ([`Error::NoMean`]).
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::merge::merge_by_group;
/// let (a, b) = (net(&[0., 0.])?, net(&[4., 4.])?);
/// let mut spec = SymmetrySpec::from_patterns([("w", "(first + second)")])?;
/// spec.sizes.insert("first".to_owned(), 1);
/// let symmetry = Symmetry::resolve(&spec, &a)?;
/// let of_group = [(symmetry.group_named("first")?, 0.25)].into();
/// assert_eq!(merge_by_group(&symmetry, &a, &b, 0.5, &of_group)?, net(&[1., 2.])?);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn merge_by_group(
    symmetry: &Symmetry,
    a: &Params,
    b: &Params,
    lambda: f64,
    of_group: &BTreeMap<GroupId, f64>,
) -> Result<Params> {
    a.check_same_structure(b)?;
    symmetry.names().try_for_each(|name| a.require(name).map(drop))?;
    merge_as(&MergeRule::by_group(symmetry, lambda, of_group)?, a, b)
}

/// The network that `rule` makes of A and `π(B)`, tensor after tensor: memory is the result and one tensor of B.
///
/// Bits are those of [`merge_within`] and [`merge_by_group`] after [`Alignment::apply`].
///
/// # Errors
/// As those.
///
/// ```
/// use onebasin_core::merge::{MergeRule, merge_aligned};
/// use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Perm, Tensor};
/// let net = |w: [f32; 2]| Ok::<_, onebasin_core::Error>(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[2], w.to_vec())?)]));
/// let (a, b) = (net([1., 2.])?, net([4., 3.])?);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &a)?;
/// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
/// let rule = MergeRule::lerp(0.5)?.within(&symmetry);
/// assert_eq!(merge_aligned(&symmetry, &swap, &a, &b, &rule)?.require("w")?.to_f32()?[..], [2., 3.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn merge_aligned(
    symmetry: &Symmetry,
    alignment: &Alignment,
    a: &Params,
    b: &Params,
    rule: &MergeRule<'_>,
) -> Result<Params> {
    a.check_same_structure(b)?;
    symmetry.names().try_for_each(|name| a.require(name).map(drop))?;
    let merged = |(name, ta): (&str, &Tensor)| {
        let moved = alignment.moved(symmetry, b, name)?;
        Ok((name.to_owned(), rule.tensor(name, ta.shape(), ta.dtype(), moved.dtype()).apply(name, ta, &moved)?))
    };
    a.iter().map(merged).collect()
}

fn merge_as(rule: &MergeRule<'_>, a: &Params, b: &Params) -> Result<Params> {
    let merged = |(name, ta): (&str, &Tensor)| {
        let tb = b.require(name)?;
        Ok((name.to_owned(), rule.tensor(name, ta.shape(), ta.dtype(), tb.dtype()).apply(name, ta, tb)?))
    };
    a.iter().map(merged).collect()
}

/// The mean of aligned networks: `Σ_p w_p · π_p(θ_p) / Σ_p w_p`, every network counting the same where no weights are given.
///
/// The arithmetic is f64 and the result has the first network's element types. Integers and booleans are the first network's,
/// aligned: those that move must be the same in all, and so must infinities, which stay as they are. Cost: one pass over all networks, tensor by tensor; memory is the result and two copies of
/// one tensor, in f64.
///
/// # Errors
/// If there is no network, there is not one alignment (and weight) for each, the networks differ in structure, the weights
/// are not finite numbers of positive sum, or integers that move, or infinities, differ ([`Error::NoMean`]).
///
/// Source: Ainsworth et al. 2023, Algorithm 3; weights as in Wortsman et al. 2022 (model soups).
///
/// ```
/// use onebasin_core::merge::mean;
/// use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = |w: [f32; 2]| Ok::<_, onebasin_core::Error>(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[2], w.to_vec())?)]));
/// let (a, b) = (net([0., 3.])?, net([4., 7.])?);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &a)?;
/// let still = vec![Alignment::identity(&symmetry); 2];
/// assert_eq!(mean(&symmetry, &[&a, &b], &still, None)?, net([2., 5.])?);
/// assert_eq!(mean(&symmetry, &[&a, &b], &still, Some(&[3., 1.]))?, net([1., 4.])?);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn mean(
    symmetry: &Symmetry,
    models: &[&Params],
    alignments: &[Alignment],
    weights: Option<&[f64]>,
) -> Result<Params> {
    let n = models.len();
    let Some(first) = models.first() else { return Err(Error::NoNetworks) };
    let found = weights.map_or(n, <[f64]>::len);
    if alignments.len() != n || found != n {
        return Err(Error::Networks { networks: n, alignments: alignments.len(), weights: found });
    }
    let weights = weights.map_or_else(|| vec![1.0; n], <[f64]>::to_vec);
    let total: f64 = weights.iter().sum();
    if !(total > 0.0 && weights.iter().all(|w| w.is_finite()) && total.is_finite()) {
        let found = format!("{weights:?}");
        return Err(Error::Option { option: "weights", expected: "be finite numbers of positive sum", found });
    }
    models.iter().try_for_each(|model| first.check_same_structure(model))?;
    let mut mean = Params::new();
    for name in symmetry.names() {
        let reference = first.require(name)?;
        let own = alignments[0].moved(symmetry, first, name)?;
        for (model, alignment) in models.iter().zip(alignments).skip(1) {
            let other = model.require(name)?;
            let rule = MergeRule::lerp(0.5)?.within(symmetry).tensor(name, own.shape(), own.dtype(), other.dtype());
            if !own.dtype().is_float() || !all_finite(own.dtype(), own.bytes()) || other.check_finite(name).is_err() {
                rule.check(name, 0, own.bytes(), alignment.moved(symmetry, model, name)?.bytes())?;
            }
        }
        if !reference.dtype().is_float() {
            mean.insert(name, own);
            continue;
        }
        let mut sum = vec![0.0; reference.len()];
        for ((model, alignment), weight) in models.iter().zip(alignments).zip(&weights) {
            let moved = alignment.moved(symmetry, model, name)?;
            sum.iter_mut().zip(moved.to_f64().map_err(|e| e.named(name))?.iter()).for_each(|(s, v)| *s += weight * v);
        }
        for s in &mut sum {
            *s /= total;
        }
        mean.insert(name, Tensor::from_f64_as(reference.dtype(), reference.shape(), &sum)?);
    }
    Ok(mean)
}

/// Every floating-point tensor in another element type, rounded to nearest even; integers and booleans stay.
///
/// # Errors
/// [`Error::DType`] if `dtype` is no float and a tensor is.
///
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::DType;
/// use onebasin_core::merge::cast;
/// let half = cast(&net(&[1., 2.])?, DType::BF16)?;
/// assert_eq!(half.require("w")?.bytes()[..], [0x80, 0x3f, 0x00, 0x40]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn cast(params: &Params, dtype: DType) -> Result<Params> {
    let cast = |t: &Tensor| if t.dtype().is_float() { t.cast(dtype) } else { Ok(t.clone()) };
    params.iter().map(|(name, t)| Ok((name.to_owned(), cast(t)?))).collect()
}
