//! What kind of pair two networks are, so that one knows what to expect of merging them.

use serde::{Deserialize, Serialize};

use super::ascent::{MatchOptions, Order, ascend};
use super::objective::squares;
use super::source::Source;
use super::start::Start;
use super::weight::Weights;
use crate::error::Result;
use crate::params::Params;
use crate::stream::Stream;
use crate::symmetry::{Alignment, GroupId};

/// What kind of pair two networks are; see [`diagnose`] for how they are told apart.
///
/// ```
/// use onebasin_core::matching::Kinship;
/// assert_eq!(serde_json::to_string(&Kinship::SameAncestor)?, r#""same-ancestor""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kinship {
    /// They were one network once and have kept its numbering: nothing is gained by moving units.
    SameAncestor,
    /// Their units correspond to each other in another numbering.
    Alignable,
    /// No better than a network whose weights were shuffled.
    Unrelated,
}

/// A diagnosis, with the figures it rests on.
///
/// Similarities are cosines between the weights of A and of π(B), over the tensors of the symmetry: 1 where one is a
/// multiple of the other. Printed, it is a sentence.
/// ```
/// use onebasin_core::matching::{Diagnosis, Kinship};
/// let kind = Kinship::Unrelated;
/// let told = Diagnosis { kind, identity: 0.0, matched: 0.1, identity_z: 0.3, matched_z: 1.2, moved: 0.9 };
/// assert!(told.to_string().starts_with("unrelated: a short match lies 1.2 standard deviations above"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What kind of pair they are.
    pub kind: Kinship,
    /// Similarity as they came.
    pub identity: f64,
    /// Similarity aligned.
    pub matched: f64,
    /// How far the similarity as they came lies above that of random numberings, in standard deviations of those.
    pub identity_z: f64,
    /// How far a short match of the pair lies above that of A with shuffled copies of B, in standard deviations of those.
    pub matched_z: f64,
    /// Share of units that the alignment moves.
    pub moved: f64,
}

/// Random numberings, and shuffled copies, that the pair is compared with.
const RANDOM: usize = 8;
const SHUFFLED: usize = 5;
/// Standard deviations beyond which a difference is no accident; with so few draws they are known to a third at best.
const CLEAR: f64 = 8.0;

/// Tells what kind of pair two networks are, given an alignment found for them.
///
/// *Same ancestor*: as they came they are clearly more alike than under random numberings, and aligning them gains less
/// than a hundredth of that. *Unrelated*: one sweep from the signature start makes the pair no more alike than A and a copy
/// of B in which every axis of every tensor was shuffled on its own, so that nothing corresponds but each tensor still
/// holds the same numbers. *Alignable*: else. "Clearly" is by 8 standard deviations of a few draws.
///
/// Cost: 8 objectives, and 6 signature starts with one sweep each.
///
/// # Errors
/// If the alignment is none of the symmetry, or as [`Weights::new`].
///
/// ```
/// use onebasin_core::matching::{Kinship, MatchOptions, Weights, diagnose, match_weights};
/// use onebasin_core::stream::Stream;
/// use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let mut stream = Stream::new(0, "network");
/// let mut random = |n: usize| -> Vec<f64> { (0..n).map(|_| stream.normal()).collect() };
/// let (fc1, fc2) = (Tensor::from_f64(&[32, 16], random(512))?, Tensor::from_f64(&[4, 32], random(128))?);
/// let a = Params::from_iter([("fc1".to_owned(), fc1), ("fc2".to_owned(), fc2)]);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("fc1", "h ."), ("fc2", ". h")])?, &a)?;
/// let b = Alignment::random(&symmetry, &mut stream).apply(&symmetry, &a)?; // the same network, renumbered
/// let found = match_weights(&symmetry, &a, &b, None, &MatchOptions::default(), &mut |_| true)?;
/// let diagnosis = diagnose(&Weights::new(&symmetry, &a, &b)?, &found.alignment, 0)?;
/// assert_eq!(diagnosis.kind, Kinship::Alignable);
/// assert!((diagnosis.matched - 1.0).abs() < 1e-12);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn diagnose(weights: &Weights<'_>, found: &Alignment, seed: u64) -> Result<Diagnosis> {
    let symmetry = weights.symmetry();
    let [a, b] = weights.networks();
    let scale = norm(weights, a)? * norm(weights, b)?;
    let cosine = |objective: f64| if scale > 0.0 { objective / scale } else { 0.0 };
    let identity = cosine(weights.objective(&Alignment::identity(symmetry))?);
    let matched = cosine(weights.objective(found)?);
    let mut stream = Stream::new(seed, "diagnosis/random");
    let random = (0..RANDOM)
        .map(|_| Ok(cosine(weights.objective(&Alignment::random(symmetry, &mut stream))?)))
        .collect::<Result<Vec<f64>>>()?;
    let shuffled = (0..SHUFFLED)
        .map(|k| short_match(&Weights::new(symmetry, a, &shuffle(b, seed, k)?)?).map(cosine))
        .collect::<Result<Vec<f64>>>()?;
    let identity_z = z(identity, &random);
    let matched_z = z(cosine(short_match(weights)?), &shuffled);
    let above = identity - mean(&random);
    let kind = if identity_z > CLEAR && matched - identity < 0.01 * above {
        Kinship::SameAncestor
    } else if matched_z > CLEAR || identity_z > CLEAR {
        Kinship::Alignable
    } else {
        Kinship::Unrelated
    };
    let groups = (0..symmetry.groups().len()).map(GroupId);
    let units: usize = groups.clone().map(|id| found.copies(id).len() * symmetry.group(id).size).sum();
    let still: usize = groups.flat_map(|id| found.copies(id)).map(crate::Perm::fixed_points).sum();
    let moved = if units == 0 { 0.0 } else { 1.0 - still as f64 / units as f64 };
    Ok(Diagnosis { kind, identity, matched, identity_z, matched_z, moved })
}

impl std::fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { identity, matched, identity_z, matched_z, moved, .. } = self;
        match self.kind {
            Kinship::SameAncestor => write!(
                f,
                "same ancestor: as they came the weights have cosine {identity:.4}, {identity_z:.0} standard deviations above \
                 random numberings, and aligning gains nothing"
            ),
            Kinship::Alignable => write!(
                f,
                "alignable: the weights' cosine rises from {identity:.4} to {matched:.4} ({:.0} % of units move), and a short \
                 match lies {matched_z:.0} standard deviations above matches with shuffled weights",
                100.0 * moved
            ),
            Kinship::Unrelated => write!(
                f,
                "unrelated: a short match lies {matched_z:.1} standard deviations above matches with shuffled weights; expect \
                 little of the merge"
            ),
        }
    }
}

/// The value that one sweep from the signature start reaches.
fn short_match(weights: &Weights<'_>) -> Result<f64> {
    let start = Start::Signature.alignment(weights, 0)?;
    let options = MatchOptions { seed: 0, max_sweeps: 1, order: Order::Forward };
    Ok(ascend(weights, &start, &options, &mut |_| true)?.objective)
}

/// Every axis of every tensor in an order of its own.
fn shuffle(params: &Params, seed: u64, copy: usize) -> Result<Params> {
    let one = |(name, tensor): (&str, &crate::Tensor)| {
        let mut stream = Stream::new(seed, &format!("diagnosis/shuffled/{copy}/{name}"));
        let mut shuffled = tensor.clone();
        for axis in 0..tensor.shape().len() {
            let order = stream.permutation(tensor.shape()[axis]);
            shuffled = shuffled.gather(axis, order.as_slice())?;
        }
        Ok((name.to_owned(), shuffled))
    };
    params.iter().map(one).collect()
}

fn norm(weights: &Weights<'_>, params: &Params) -> Result<f64> {
    let square = |(name, _): (&str, _)| -> Result<f64> {
        let tensor = params.require(name)?;
        Ok(if tensor.dtype().is_float() { squares(tensor) } else { 0.0 })
    };
    Ok(weights.symmetry().tensors().map(square).sum::<Result<f64>>()?.sqrt())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// How far a value lies above others, in their standard deviations.
fn z(value: f64, others: &[f64]) -> f64 {
    let centre = mean(others);
    let variance = others.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / (others.len() - 1) as f64;
    (value - centre) / variance.sqrt().max(1e-12)
}
