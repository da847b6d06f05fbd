//! Where to start from: what can be told of a group before its neighbours are aligned.

use std::collections::HashMap;

use rayon::prelude::*;

use super::objective::squares;
use super::signatures::Signatures;
use super::source::{Root, Source};
use super::sweep::better;
use super::weight::Weights;
use crate::error::Result;
use crate::stream::Stream;
use crate::symmetry::{Alignment, GroupId};

/// What a match starts from. Coordinate ascent finds the best near its start, so this decides much.
///
/// ```
/// use onebasin_core::matching::Start;
/// assert_eq!(serde_json::to_string(&Start::default())?, r#""signature""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Nothing moves: the paper's.
    Identity,
    /// Units are paired by what no permutation of their neighbours can change: [`Signatures`].
    #[default]
    Signature,
    /// Groups are aligned one after the other, next the one that shares most with what is fixed or aligned already; by
    /// signature where its neighbours are not known.
    Anchored,
    /// A uniformly random element.
    Random,
}

impl Start {
    /// The alignment to start from; `seed` matters only for [`Start::Random`].
    ///
    /// Cost: nothing for identity and random; one product per site and a sort of every slice for the others.
    ///
    /// # Errors
    /// If a tensor is missing, or a float in A and none in B.
    ///
    /// ```
    /// use onebasin_core::matching::{Start, Weights};
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
    /// let weights = Weights::new(&symmetry, &a, &b)?;
    /// assert!(Start::Identity.alignment(&weights, 0)?.is_identity());
    /// let found = Start::Signature.alignment(&weights, 0)?;
    /// assert_eq!(found.apply(&symmetry, &b)?, a); // a planted permutation is found at once
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn alignment(self, weights: &Weights<'_>, seed: u64) -> Result<Alignment> {
        let symmetry = weights.symmetry();
        match self {
            Self::Identity => Ok(Alignment::identity(symmetry)),
            Self::Random => Ok(Alignment::random(symmetry, &mut Stream::new(seed, "start"))),
            Self::Signature => signature(weights),
            Self::Anchored => anchored(weights),
        }
    }
}

/// Pairs the units of every group by their signatures: an alignment that does not depend on how B is numbered.
///
/// A planted permutation of distinct units is found exactly, at any depth; families start at the identity.
///
/// Cost: one product per site, as a sweep, and a sort of every slice.
pub(super) fn signature(weights: &Weights<'_>) -> Result<Alignment> {
    let source = Signatures::new(weights, &[]);
    let mut alignment = Alignment::identity(weights.symmetry());
    let best = |root: &Root| better(&source, root, &source.grams(root.id, &alignment)?, &alignment, &mut None);
    let found = source.roots().par_iter().map(best).collect::<Result<Vec<_>>>()?;
    for (root, found) in source.roots().iter().zip(found) {
        if let Some((element, _)) = found {
            element.store(&mut alignment, root.id);
        }
    }
    Ok(alignment)
}

/// Aligns the groups one after the other, next the one that shares most with what is fixed or aligned already.
///
/// A group is compared where its neighbours are known entry by entry, and by signature where they are not. "Shares most" is
/// the share of its squared weights that stand beside known groups only.
///
/// Cost: as [`signature`].
pub(super) fn anchored(weights: &Weights<'_>) -> Result<Alignment> {
    let symmetry = weights.symmetry();
    let mut alignment = Alignment::identity(symmetry);
    let mut known: Vec<GroupId> = Vec::new();
    let mut squared = HashMap::new();
    for (name, _) in symmetry.tensors() {
        let tensor = weights.networks()[0].require(name)?;
        squared.insert(name, if tensor.dtype().is_float() { squares(tensor) } else { 0.0 });
    }
    let mut waiting: Vec<&Root> = weights.roots().iter().collect();
    while !waiting.is_empty() {
        let source = Signatures::new(weights, &known);
        let shares: Vec<f64> = waiting.iter().map(|r| source.known_share(r.id, &squared)).collect();
        let next = (0..shares.len()).fold(0, |best, k| if shares[k] > shares[best] { k } else { best });
        let root = waiting.remove(next);
        let grams = source.grams(root.id, &alignment)?;
        if let Some((element, _)) = better(&source, root, &grams, &alignment, &mut None)? {
            element.store(&mut alignment, root.id);
        }
        known.push(root.id);
        known.extend(symmetry.descendants(root.id));
    }
    Ok(alignment)
}
