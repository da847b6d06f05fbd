//! Where to start from: what can be told of a group before its neighbours are aligned.

use rayon::prelude::*;

use super::ascent::{MatchOptions, ascend, improve};
use super::objective::squares;
use super::similarity::Gram;
use super::source::{Root, Source};
use super::weight::Weights;
use crate::error::Result;
use crate::linalg::{Mat, Scalar};
use crate::params::Params;
use crate::stream::Stream;
use crate::symmetry::{Alignment, AxisLayout, GroupId, Occurrence, Symmetry, TensorLayout, for_each_index};

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
    let identity = Alignment::identity(weights.symmetry());
    Ok(ascend(&source, &identity, &MatchOptions::default(), &mut |_| true)?.alignment)
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
    let mut waiting: Vec<&Root> = weights.roots().iter().collect();
    while !waiting.is_empty() {
        let source = Signatures::new(weights, &known);
        let shares = waiting.iter().map(|r| source.known_share(r.id)).collect::<Result<Vec<f64>>>()?;
        let next = (0..shares.len()).fold(0, |best, k| if shares[k] > shares[best] { k } else { best });
        let root = waiting.remove(next);
        improve(&source, root, &source.grams(root.id, &alignment)?, &mut alignment, &mut None)?;
        known.push(root.id);
        known.extend(symmetry.descendants(root.id));
    }
    Ok(alignment)
}

/// Similarities that leave the alignment of groups that are not known out of it.
///
/// Formula: a unit's slice of a tensor falls into orbits, the entries that elements of the unknown groups can exchange;
/// `s_i` is the slice with every orbit sorted, known groups being aligned. The similarity of units i and j is
/// `Σ_sites ⟨s_i(A), s_j(B)⟩`, so that its best assignment minimises `Σ ‖s_i(A) − s_j(B)‖²`, which is zero for every
/// unit of a planted permutation. With all groups known it is the plain weight similarity.
///
/// Cost: that of [`weight_grams`](super::weight_grams), in f64, and a sort of every slice.
///
/// ```
/// use onebasin_core::matching::{Signatures, Source, Weights};
/// use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let net = |w: [f32; 4]| -> Result<Params, onebasin_core::Error> {
///     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[2, 2], w.to_vec())?)]))
/// };
/// let (a, b) = (net([1., 2., 3., 5.])?, net([5., 3., 2., 1.])?); // both axes reversed
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "g h")])?, &a)?;
/// let weights = Weights::new(&symmetry, &a, &b)?;
/// let grams = Signatures::new(&weights, &[]).grams(symmetry.group_named("g")?, &Alignment::identity(&symmetry))?;
/// assert_eq!(grams[0].data, [13., 5., 34., 13.]); // of rows sorted: (1, 2), (3, 5) with (3, 5), (1, 2)
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub struct Signatures<'a> {
    symmetry: &'a Symmetry,
    networks: [&'a Params; 2],
    known: Vec<GroupId>,
    roots: Vec<Root>,
}

impl<'a> Signatures<'a> {
    /// Signatures given that these groups are aligned; with none of them, nothing depends on how B is numbered.
    /// ```
    /// use onebasin_core::matching::{Signatures, Source, Weights};
    /// use onebasin_core::symmetry::Alignment;
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
    /// let (weights, identity) = (Weights::new(&symmetry, &a, &b)?, Alignment::identity(&symmetry));
    /// let h = symmetry.roots()[0];
    /// let source = Signatures::new(&weights, &[]); // no other group stands beside `h`: nothing is sorted
    /// assert_eq!(source.grams(h, &identity)?[0].data, weights.grams(h, &identity)?[0].data);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn new<'w: 'a>(weights: &'a Weights<'w>, known: &[GroupId]) -> Self {
        let root = |r: &Root| Root { neighbours: Vec::new(), quadratic: false, rounding: 0.0, ..r.clone() };
        Self {
            symmetry: weights.symmetry(),
            networks: weights.networks(),
            known: known.to_vec(),
            roots: weights.roots().iter().map(root).collect(),
        }
    }

    fn tensors(
        &self,
        root: GroupId,
    ) -> impl Iterator<Item = (&'a str, &'a TensorLayout, usize, &'a Occurrence, usize)> {
        let symmetry = self.symmetry;
        symmetry.tensors().flat_map(move |(name, layout)| {
            layout.axes.iter().enumerate().flat_map(move |(axis, x)| {
                x.occurrences.iter().flat_map(move |o| {
                    let digits = (0..o.digits.len()).filter(move |&d| o.digits[d].group == Some(root));
                    digits.map(move |d| (name, layout, axis, o, d))
                })
            })
        })
    }

    fn unknown(&self, group: Option<GroupId>) -> bool {
        group.is_some_and(|g| !self.known.contains(&g))
    }

    /// The share of a root's squared weights (of A) that stand beside known groups only.
    fn known_share(&self, root: GroupId) -> Result<f64> {
        let (mut beside_known, mut all) = (0.0, 0.0);
        for (name, layout, axis, occurrence, digit) in self.tensors(root) {
            let tensor = self.networks[0].require(name)?;
            let norm = if tensor.dtype().is_float() { squares(tensor) } else { 0.0 };
            let others = layout.axes.iter().enumerate().flat_map(|(x, layout)| {
                layout.occurrences.iter().flat_map(move |o| {
                    let own = x == axis && std::ptr::eq(o, occurrence);
                    let counts = x != axis || own;
                    o.digits
                        .iter()
                        .enumerate()
                        .filter(move |(d, _)| counts && !(own && *d == digit))
                        .map(|(_, d)| d.group)
                })
            });
            all += norm;
            if !others.into_iter().any(|g| self.unknown(g)) {
                beside_known += norm;
            }
        }
        Ok(if all > 0.0 { beside_known / all } else { 0.0 })
    }

    /// For every position of an axis, the first position that the unknown groups can exchange it with.
    fn orbits(&self, axis: &AxisLayout) -> Vec<u32> {
        let mut orbit: Vec<u32> = (0..axis.len as u32).collect();
        for occurrence in &axis.occurrences {
            occurrence.for_each(|values| orbit[occurrence.position(values)] = self.orbit(occurrence, values, None));
        }
        orbit
    }

    /// The position where these digits stand with the unknown ones (and `row`, the unit itself) at zero.
    fn orbit(&self, occurrence: &Occurrence, values: &[usize], row: Option<usize>) -> u32 {
        let first: Vec<usize> = values
            .iter()
            .enumerate()
            .map(|(d, &v)| if Some(d) == row || self.unknown(occurrence.digits[d].group) { 0 } else { v })
            .collect();
        occurrence.position(&first) as u32
    }

    fn add_site(
        &self,
        gram: &mut Gram,
        current: &Alignment,
        (name, layout, axis, occurrence, digit): (&str, &TensorLayout, usize, &Occurrence, usize),
    ) -> Result<()> {
        let shape = self.networks[0].require(name)?.shape().to_vec();
        let n = occurrence.digits[digit].len;
        let own = self.contexts(current, occurrence, digit);
        // Columns: (entry of the tensor with the unit's own axis at 0, context on the own axis), and their orbit.
        let (mut columns, mut contexts, mut labels) = ([vec![0_usize], vec![0_usize]], vec![0_u32], vec![0_u64]);
        for (x, axis_layout) in layout.axes.iter().enumerate() {
            let len = shape[x];
            let (positions, label) = if x == axis {
                let count = own.labels.len();
                contexts = contexts.iter().flat_map(|_| 0..count as u32).collect();
                ([vec![0; count], vec![0; count]], own.labels.clone())
            } else {
                contexts = contexts.iter().flat_map(|&c| std::iter::repeat_n(c, len)).collect();
                ([(0..len as u32).collect(), current.axis_gather(self.symmetry, axis_layout)], self.orbits(axis_layout))
            };
            for (columns, positions) in columns.iter_mut().zip(&positions) {
                *columns = columns.iter().flat_map(|&c| positions.iter().map(move |&p| c * len + p as usize)).collect();
            }
            labels = labels.iter().flat_map(|&l| label.iter().map(move |&a| l * len as u64 + u64::from(a))).collect();
        }
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by_key(|&c| labels[c]);
        let sorted_labels: Vec<u64> = order.iter().map(|&c| labels[c]).collect();
        let inner: usize = shape[axis + 1..].iter().product();
        let side = |which: usize| -> Result<Vec<f64>> {
            let values = self.networks[which].require(name)?.to_f64().map_err(|e| e.named(name))?;
            let mut rows = vec![0.0; n * order.len()];
            rows.par_chunks_mut(order.len().max(1)).enumerate().for_each(|(unit, row)| {
                let own = &own.positions[which][unit * own.labels.len()..][..own.labels.len()];
                for (v, &c) in row.iter_mut().zip(&order) {
                    *v = values[columns[which][c] + own[contexts[c] as usize] as usize * inner];
                }
                let mut rest = row;
                for run in sorted_labels.chunk_by(|x, y| x == y) {
                    let (orbit, tail) = rest.split_at_mut(run.len());
                    orbit.sort_unstable_by(f64::total_cmp);
                    rest = tail;
                }
            });
            Ok(rows)
        };
        let (a, b) = (side(0)?, side(1)?);
        let width = order.len();
        f64::matmul(&mut gram.data, Mat::new(&a, n, width), Mat::new(&b, n, width).t(), true);
        Ok(())
    }

    /// Where a unit and the other digits of its occurrence stand: by unit, then by context.
    fn contexts(&self, current: &Alignment, occurrence: &Occurrence, digit: usize) -> Contexts {
        let groups: Vec<Option<GroupId>> =
            occurrence.digits.iter().map(|d| d.group.filter(|g| self.known.contains(g))).collect();
        let lens: Vec<usize> =
            occurrence.digits.iter().enumerate().map(|(d, x)| if d == digit { 1 } else { x.len }).collect();
        let mut found = Contexts { positions: [Vec::new(), Vec::new()], labels: Vec::new() };
        for unit in 0..occurrence.digits[digit].len {
            for_each_index(&lens, |context| {
                let mut values = context.to_vec();
                values[digit] = unit;
                let source = current.source_digits(self.symmetry, &groups, &values);
                found.positions[0].push(occurrence.position(&values) as u32);
                found.positions[1].push(occurrence.position(&source) as u32);
                if unit == 0 {
                    found.labels.push(self.orbit(occurrence, &values, Some(digit)));
                }
            });
        }
        found
    }
}

/// Positions on a unit's own axis, in A and (known groups aligned) in B, by unit and context; the orbit of every context.
struct Contexts {
    positions: [Vec<u32>; 2],
    labels: Vec<u32>,
}

impl Source for Signatures<'_> {
    fn symmetry(&self) -> &Symmetry {
        self.symmetry
    }

    fn roots(&self) -> &[Root] {
        &self.roots
    }

    fn grams(&self, root: GroupId, current: &Alignment) -> Result<Vec<Gram>> {
        let n = self.symmetry.group(root).size;
        let mut gram = Gram { digits: vec![root], lens: vec![n], data: vec![0.0; n * n] };
        for site in self.tensors(root) {
            if self.networks[0].require(site.0)?.dtype().is_float() {
                self.add_site(&mut gram, current, site)?;
            }
        }
        Ok(vec![gram])
    }

    fn objective(&self, alignment: &Alignment) -> Result<f64> {
        let value = |root: &Root| -> Result<f64> {
            let grams = self.grams(root.id, alignment)?;
            let perm = &alignment.copies(root.id)[0];
            let n = grams[0].lens[0];
            Ok((0..n).map(|i| grams[0].data[i * n + perm.at(i)]).sum())
        };
        self.roots.iter().map(value).sum()
    }
}
