//! Numbers so large that floating-point arithmetic would lose all others beside them.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::error::Result;
use crate::params::Params;
use crate::symmetry::Symmetry;
use crate::tensor::Tensor;

/// Numbers below this are taken for weights, whatever stands beside them.
const WEIGHT: f64 = 4096.0;
/// Beside numbers so many times as large as most, products are f64.
const DOUBLE: f64 = 4096.0;
/// Beyond this, and below one over it, squares leave the range of f32.
const SINGLE: f64 = (1_u64 << 50) as f64;
/// Numbers more than so many times as large as most are brought nearer.
const FAR: f64 = 65_536.0;
/// Binades of an f64, infinities among them.
const BINADES: usize = 2048;

/// Two networks as they can be compared: themselves, unless numbers in them are so large that all others would be lost in
/// their rounding, as a mask of `-3e38` or of `-inf` does.
///
/// Formula: let `s` be the power of two at which three quarters of the numbers other than zero, of both networks and over
/// the tensors that can move, lie below `2 s`. If one is larger than `4096 s`, or the largest has no square in f32, these tensors become f64, so that products are
/// f64 too. What is larger than `T = max(65536 s, 4096)` is brought nearer, in order and with its sign:
/// `x → T (1 + log₂(x / T) / 128)`, the logarithm linear between powers of two. Everything else stays as it is, bit for bit.
///
/// Cost: a pass over both networks, and a copy of what moves only where there are such numbers.
///
/// # Errors
/// [`Error::NotFinite`](crate::Error::NotFinite) as [`Params::check_finite_beside`] for tensors that can move;
/// [`Error::NoTensor`](crate::Error::NoTensor) if one lacks a tensor of the symmetry.
///
/// ```
/// use onebasin_core::matching::{MatchOptions, comparable, match_weights};
/// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = |v: [[f32; 5]; 2]| -> Result<Params, onebasin_core::Error> {
///     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[2, 5], v.concat())?)]))
/// };
/// let units = [[-3e38, 1., 2., 3., 4.], [-3e38, 2., 5., 1., 0.]];
/// let (a, b) = (net(units)?, net([units[1], units[0]])?);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h .")])?, &a)?;
/// let [near, _] = comparable(&symmetry, &a, &b)?;
/// assert!(near.require("w")?.to_f64()?.iter().all(|v| v.abs() < 1e6));
/// let found = match_weights(&symmetry, &a, &b, None, &MatchOptions::default(), &mut |_| true)?;
/// assert_eq!(found.alignment.apply(&symmetry, &b)?, a);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn comparable<'a>(symmetry: &Symmetry, a: &'a Params, b: &'a Params) -> Result<[Cow<'a, Params>; 2]> {
    let (a, b) = (symmetry.stacked(a)?, symmetry.stacked(b)?);
    let names: Vec<&str> = symmetry.tensors().filter(|(_, layout)| layout.moves()).map(|(name, _)| name).collect();
    let moving = |net: &Params| -> Result<Params> {
        names.iter().map(|name| Ok(((*name).to_owned(), net.require(name)?.clone()))).collect()
    };
    let [own, other] = [moving(&a)?, moving(&b)?];
    own.check_finite_beside(&other)?;
    other.check_finite_beside(&own)?;
    let mut counts = [0_u64; BINADES];
    for (_, tensor) in own.iter().chain(other.iter()).filter(|(_, t)| t.dtype().is_float()) {
        counts.iter_mut().zip(binades(tensor)?).for_each(|(sum, count)| *sum += count);
    }
    let all: u64 = counts[1..].iter().sum();
    let mut below = 0;
    let usual = (1..BINADES).find(|&k| {
        below += counts[k];
        4 * below >= 3 * all
    });
    let largest = (1..BINADES).rfind(|&k| counts[k] > 0);
    let (Some(usual), Some(largest)) = (usual, largest) else { return Ok([a, b]) };
    let power = |k: usize| f64::from_bits((k as u64) << 52);
    let largest = power(largest);
    if largest <= DOUBLE * power(usual) && (1.0 / SINGLE..=SINGLE).contains(&largest) {
        return Ok([a, b]);
    }
    let far = (FAR * power(usual)).max(WEIGHT);
    let nearer = |net: &Params, moving: &Params| -> Result<Params> {
        let mut nearer = net.clone();
        for (name, tensor) in moving.iter().filter(|(_, t)| t.dtype().is_float()) {
            let values = tensor.to_f64()?.iter().map(|v| near(*v, far)).collect();
            nearer.insert(name, Tensor::from_f64(tensor.shape(), values)?);
        }
        Ok(nearer)
    };
    Ok([Cow::Owned(nearer(&a, &own)?), Cow::Owned(nearer(&b, &other)?)])
}

/// A number brought nearer if it is far.
fn near(value: f64, far: f64) -> f64 {
    let binade = |x: f64| x.to_bits() as f64 / (1_u64 << 52) as f64;
    let size = value.abs();
    if size <= far { value } else { (far * (1.0 + (binade(size) - binade(far)) / 128.0)).copysign(value) }
}

/// How many values of a tensor lie in every binade, by their biased exponent as f64; zeros in the first.
fn binades(tensor: &Tensor) -> Result<Vec<u64>> {
    const PIECE: usize = 1 << 16;
    let values = tensor.to_f64()?;
    let count = |piece: &[f64]| {
        let mut counts = vec![0_u64; BINADES];
        for value in piece {
            counts[(value.to_bits() >> 52) as usize % BINADES] += 1;
        }
        counts
    };
    let add = |mut sum: Vec<u64>, more: Vec<u64>| {
        sum.iter_mut().zip(more).for_each(|(s, m)| *s += m);
        sum
    };
    Ok(values.par_chunks(PIECE).map(count).reduce(|| vec![0; BINADES], add))
}
