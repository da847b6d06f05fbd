//! What kind of pair two networks are, so that one knows what to expect of merging them.

use serde::{Deserialize, Serialize};

use super::ascent::{MatchOptions, Order, ascend};
use super::chance::{Draws, LEVEL};
use super::objective::squares;
use super::source::Source;
use super::start::Start;
use super::weight::Weights;
use crate::error::Result;
use crate::params::Params;
use crate::stream::Stream;
use crate::symmetry::{Alignment, GroupId, Symmetry};

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
    /// The same bits: nothing to align.
    Identical,
    /// No group stands in a weight: nothing can move, whatever they are.
    Fixed,
    /// The same bits in another numbering.
    Renumbered,
    /// They were one network once: as they came their units correspond, or they are nearly the same in another numbering.
    SameAncestor,
    /// Their units correspond to each other, in another numbering, better than chance makes them.
    Alignable,
    /// No better than a network whose weights were shuffled, at a size where it would be seen.
    Unrelated,
    /// No better than a network whose weights were shuffled, at a size where trained networks need not be.
    TooSmall,
}

/// What the kind of a pair was tested by; see [`diagnose`].
///
/// ```
/// use onebasin_core::matching::Tested;
/// let tested = Tested { level: 0.01, numbering: 1e-9, matched: 1e-12, likeness: 0.98, least: 0.1, draws: [17, 9], share: 1.0 };
/// assert!(tested.numbering <= tested.level && tested.likeness > tested.least);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// Probability up to which a result is taken for no accident.
    pub level: f64,
    /// Probability that another numbering of B makes it as alike as the one it came in.
    pub numbering: f64,
    /// Probability that B with shuffled weights is matched as well.
    pub matched: f64,
    /// What a short match gains over random numberings: 0 as much as with shuffled weights, 1 as much as a renumbered copy.
    pub likeness: f64,
    /// The smallest likeness that passes for no accident at this level: the power of the test at this size.
    pub least: f64,
    /// Random numberings, and shuffled copies, that were drawn.
    pub draws: [usize; 2],
    /// Share of the weights that can move that were looked at.
    pub share: f64,
}

/// A diagnosis, with the figures it rests on.
///
/// Similarities are cosines between the weights of A and of π(B), over the tensors of the symmetry that can move: 1 where one
/// is a multiple of the other. Printed, it is a sentence.
/// ```
/// use onebasin_core::matching::{Diagnosis, Kinship};
/// let kind = Kinship::Identical;
/// let told = Diagnosis { kind, identity: 1.0, matched: 1.0, identity_z: None, matched_z: None, moved: 0.0, tested: None };
/// assert_eq!(told.to_string(), "identical: the weights of both are the same, bit for bit; nothing moves");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What kind of pair they are.
    pub kind: Kinship,
    /// Similarity as they came.
    pub identity: f64,
    /// Similarity aligned.
    pub matched: f64,
    /// How far the similarity as they came lies above that of random numberings, in standard deviations of those; none
    /// where nothing was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_z: Option<f64>,
    /// How far a short match of the pair lies above that of A with shuffled copies of B, in standard deviations of those;
    /// none where nothing was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched_z: Option<f64>,
    /// Share of units that the alignment moves.
    pub moved: f64,
    /// What was tested; none where bits or the symmetry decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<Tested>,
}

/// Likeness, of the alignment found, from which networks are taken for one network in two numberings, changed since: a
/// convention. Copies with noise of half their spread lie below.
const ANCESTRAL: f64 = 0.95;
/// Likeness below which there is nothing in common that is worth a merge, however surely it is no accident. Independently
/// trained networks of the study in `docs/results/trust.md` lie above.
const SLIGHT: f64 = 0.02;
/// The same of a numbering, in cosine above random ones.
const NUMBERED: f64 = 0.05;
/// "Unrelated" is said where so small a likeness would have been seen.
const POWERFUL: f64 = 0.05;

/// Tells what kind of pair two networks are, given an alignment found for them.
///
/// *Identical* and *renumbered* are seen by bits: B's, or those of π(B). *Fixed*: no group of two units stands in a weight.
/// All others are tested at the level of 1 %, by what no alignment can change the share of.
///
/// *Numbering.* Statistic: `⟨A, B⟩`. Null: B's numbering says nothing, so that B in a random numbering would do as well.
/// Drawn: `⟨A, π(B)⟩` for random π.
///
/// *Matched.* Statistic: what one sweep from the signature start makes of `⟨A, π(B)⟩`, less the mean over random π, so that
/// what no alignment can change does not count. Null: units do not correspond. Drawn: the same matching of A with copies of
/// B in which every axis of every tensor was shuffled on its own, groups only among units of about the same norm: each tensor
/// holds the same numbers, large units are large everywhere, and nothing else corresponds. The *likeness* is the same on a
/// scale: 0 is the mean of these draws, 1 what a renumbered copy reaches, whose cosine is 1.
///
/// The probability of a statistic that `k` of `m` draws reach is `(1 + k) / (m + 1)`; beyond all draws it is at most that,
/// and the tail of Student's t with `m − 1` degrees of freedom, of the distance to the draws' mean in standard deviations of
/// a new draw. Of a numbering it is never less than one over the number of alignments. *Power*: the smallest likeness that
/// passes.
///
/// *Same ancestor*: the numbering passes; or the match passes, and either nothing moves, or the alignment found has a likeness
/// of .95. *Alignable*: the match passes. *Unrelated*: neither passes, though a likeness of .05 would have. *Too small*: neither
/// passes, nor would that. Below a likeness of .02, or a numbering that adds .05 to the cosine, nothing passes.
///
/// Of a large network, tensors are looked at from the cheapest on, until a sweep over them costs 1 GFLOP: a sample that holds
/// every group, and tells a likeness of 1 % as well as the whole does.
///
/// Cost: 38 objectives, and 6 signature starts with one sweep each, of that sample; more is drawn of what has fewer than
/// 400,000 weights.
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
/// assert_eq!(diagnosis.kind, Kinship::Renumbered);
/// assert!((diagnosis.matched - 1.0).abs() < 1e-12);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn diagnose(weights: &Weights<'_>, found: &Alignment, seed: u64) -> Result<Diagnosis> {
    let symmetry = weights.symmetry();
    let [a, b] = weights.networks();
    let scale = norm(symmetry, a)? * norm(symmetry, b)?;
    let cosine = |objective: f64| if scale > 0.0 { objective / scale } else { 0.0 };
    let still = Alignment::identity(symmetry);
    let (identity, matched) = (cosine(weights.objective(&still)?), cosine(weights.objective(found)?));
    let seen = |kind| Diagnosis {
        kind,
        identity,
        matched,
        identity_z: None,
        matched_z: None,
        moved: moved(symmetry, found),
        tested: None,
    };
    if same(symmetry, a, b, &still)? {
        return Ok(seen(Kinship::Identical));
    }
    if !symmetry.tensors().any(|(_, layout)| layout.moves()) {
        return Ok(seen(Kinship::Fixed));
    }
    if same(symmetry, a, b, found)? {
        return Ok(seen(Kinship::Renumbered));
    }
    let names = sample(symmetry, a)?;
    let sampled = symmetry.restrict(|name| names.contains(&symmetry.standing(name)));
    let weights = &Weights::new(&sampled, a, b)?;
    let (entries, all) = (weights_of(&sampled, a)?, weights_of(symmetry, a)?);
    let scale = norm(&sampled, a)? * norm(&sampled, b)?;
    let cosine = |objective: f64| if scale > 0.0 { objective / scale } else { 0.0 };
    let random = |weights: &Weights<'_>, of: &str, count: usize| -> Result<Draws> {
        let mut stream = Stream::new(seed, &format!("diagnosis/{of}"));
        let mut one = || weights.objective(&Alignment::random(symmetry, &mut stream));
        Ok(Draws((0..count).map(|_| one()).collect::<Result<_>>()?))
    };
    let numberings = odd(2_000_000 / entries, 17, 199);
    let copies = if entries >= MANY { 5 } else { odd(200_000 / entries, 9, 99) };
    let of_a_copy = odd(200_000 / entries, 3, 17);
    let others = random(weights, "random", numberings)?;
    let gain = |weights: &Weights<'_>, mean: f64| short_match(weights).map(|reached| cosine(reached - mean));
    let reached = gain(weights, others.mean())?;
    let classes = classes(&sampled, b)?;
    let shuffled = |k: usize| -> Result<f64> {
        let copy = shuffle(&sampled, b, &classes, seed, k)?;
        let weights = Weights::new(&sampled, a, &copy)?;
        gain(&weights, random(&weights, &format!("random/{k}"), of_a_copy)?.mean())
    };
    let nothing = Draws((0..copies).map(shuffled).collect::<Result<_>>()?);
    // A renumbered copy has cosine 1; what shuffled weights reach is the other end of the scale.
    let room = if scale > 0.0 { 1.0 - cosine(others.mean()) - nothing.mean() } else { 0.0 };
    let share = |gain: f64| if room > ROUNDING { (gain - nothing.mean()) / room } else { 0.0 };
    let objective = weights.objective(&still)?;
    let tested = Tested {
        level: LEVEL,
        numbering: others.probability(objective).max(1.0 / alignments(symmetry)),
        matched: nothing.probability(reached),
        likeness: share(reached),
        least: if room > ROUNDING { share(nothing.least()) } else { f64::MAX },
        draws: [numberings, copies],
        share: entries as f64 / all as f64,
    };
    let over_random = |objective: f64| cosine(objective) - cosine(others.mean());
    let moved = moved(symmetry, found);
    let passes = tested.matched <= LEVEL && tested.likeness >= SLIGHT;
    let near = share(over_random(weights.objective(found)?)) >= ANCESTRAL;
    let numbered = tested.numbering <= LEVEL && over_random(objective) >= NUMBERED;
    let kind = if numbered || (passes && (near || moved == 0.0)) {
        Kinship::SameAncestor
    } else if passes {
        Kinship::Alignable
    } else if tested.least <= POWERFUL {
        Kinship::Unrelated
    } else {
        Kinship::TooSmall
    };
    let (identity_z, matched_z) = (Some(others.distance(objective)), Some(nothing.distance(reached)));
    Ok(Diagnosis { identity_z, matched_z, tested: Some(tested), ..seen(kind) })
}

/// Below this a difference of cosines is rounding.
const ROUNDING: f64 = 1e-9;

impl std::fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { identity, matched, tested, .. } = self;
        let moved = format!("{:.0} % of units move", 100.0 * self.moved);
        match self.kind {
            Kinship::Identical => {
                return f.write_str("identical: the weights of both are the same, bit for bit; nothing moves");
            }
            Kinship::Fixed => {
                return f.write_str(
                    "nothing can move: no group of units stands in a weight, so they are merged as they came",
                );
            }
            Kinship::Renumbered => {
                return write!(
                    f,
                    "renumbered: the weights are the same, bit for bit, in another numbering (cosine {identity:.4} as they \
                     came, {moved})"
                );
            }
            Kinship::SameAncestor => write!(
                f,
                "same ancestor: the weights have cosine {identity:.4} as they came and {matched:.4} aligned ({moved})"
            )?,
            Kinship::Alignable => {
                write!(f, "alignable: the weights' cosine rises from {identity:.4} to {matched:.4} ({moved})")?;
            }
            Kinship::Unrelated => f.write_str("unrelated: expect little of the merge")?,
            Kinship::TooSmall => f.write_str("too small to tell how the networks are related")?,
        }
        let Some(Tested { level, numbering, matched, likeness, least, .. }) = tested else { return Ok(()) };
        write!(
            f,
            "; at the level of {:.0} %, the numbering they came in {} (p {}), and a match comes {:.0} % of the way from shuffled \
             weights to a renumbered copy (p {}), where {:.0} % is seen",
            100.0 * level,
            if numbering <= level { "is no accident" } else { "says nothing" },
            short(*numbering),
            100.0 * likeness,
            short(*matched),
            (100.0 * least).min(999.0),
        )
    }
}

/// A probability in few digits.
fn short(probability: f64) -> String {
    match probability {
        p if p >= 0.001 => format!("= {p:.3}"),
        p if p >= 1e-15 => format!("= {p:.0e}"),
        _ => "< 1e-15".to_owned(),
    }
}

/// Whether every tensor of the symmetry is A's, bit for bit, once B is aligned.
fn same(symmetry: &Symmetry, a: &Params, b: &Params, alignment: &Alignment) -> Result<bool> {
    for (name, _) in symmetry.tensors() {
        if alignment.apply_tensor(symmetry, name, b.require(name)?)? != *a.require(name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Share of units that an alignment moves.
fn moved(symmetry: &Symmetry, alignment: &Alignment) -> f64 {
    let groups = (0..symmetry.groups().len()).map(GroupId);
    let units: usize = groups.clone().map(|id| alignment.copies(id).len() * symmetry.group(id).size).sum();
    let still: usize = groups.flat_map(|id| alignment.copies(id)).map(crate::Perm::fixed_points).sum();
    if units == 0 { 0.0 } else { 1.0 - still as f64 / units as f64 }
}

/// The number of alignments, or f64's largest number.
fn alignments(symmetry: &Symmetry) -> f64 {
    let still = Alignment::identity(symmetry);
    let groups = (0..symmetry.groups().len()).map(GroupId);
    let of = |id: GroupId| still.copies(id).iter().flat_map(|perm| 2..=perm.len()).map(|n| n as f64).product::<f64>();
    groups.map(of).product::<f64>().min(f64::MAX)
}

/// Floating-point entries that can move; at least one.
fn weights_of(symmetry: &Symmetry, params: &Params) -> Result<usize> {
    let mut entries = 0;
    for (name, _) in symmetry.tensors().filter(|(_, layout)| layout.moves()) {
        let tensor = params.require(name)?;
        entries += if tensor.dtype().is_float() { tensor.len() } else { 0 };
    }
    Ok(entries.max(1))
}

/// Weights of which few draws tell enough.
const MANY: usize = 400_000;
/// Flops of one sweep over what is looked at, and weights that it has at least, where there are as many.
const SAMPLE: (f64, usize) = (1e9, 100_000);

/// The tensors that are looked at: from the cheapest on.
fn sample<'s>(symmetry: &'s Symmetry, params: &Params) -> Result<Vec<&'s str>> {
    let mut tensors = Vec::new();
    for (name, layout) in symmetry.tensors().filter(|(_, layout)| layout.moves()) {
        let tensor = params.require(name)?;
        let groups = layout.axes.iter().flat_map(|x| &x.occurrences).flat_map(|o| &o.digits).filter_map(|d| d.group);
        let units: usize = groups.map(|g| symmetry.group(g).size).sum();
        tensors.push((2.0 * units as f64 * tensor.len() as f64, name, tensor.len()));
    }
    tensors.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut flops, mut entries) = (0.0, 0);
    let within = |(cost, _, len): &(f64, &str, usize)| {
        let takes = flops + cost <= SAMPLE.0 || entries < SAMPLE.1;
        (flops, entries) = (flops + cost, entries + len);
        takes
    };
    Ok(tensors.into_iter().take_while(within).map(|(_, name, _)| name).collect())
}

/// An odd number between two odd ones.
fn odd(number: usize, least: usize, most: usize) -> usize {
    (number | 1).clamp(least, most)
}

/// The value that one sweep from the signature start reaches.
fn short_match(weights: &Weights<'_>) -> Result<f64> {
    let start = Start::Signature.alignment(weights, 0)?;
    let options = MatchOptions { seed: 0, max_sweeps: 1, order: Order::Forward };
    Ok(ascend(weights, &start, &options, &mut |_| true)?.objective)
}

/// Every axis of every tensor that can move in an order of its own; a group's units change places only with those of about
/// the same norm.
fn shuffle(symmetry: &Symmetry, params: &Params, classes: &[Vec<Vec<u32>>], seed: u64, copy: usize) -> Result<Params> {
    let mut shuffled = params.clone();
    for (name, layout) in symmetry.tensors().filter(|(_, layout)| layout.moves()) {
        let mut stream = Stream::new(seed, &format!("diagnosis/shuffled/{copy}/{name}"));
        let mut tensor = params.require(name)?.shaped(&layout.laid_out())?;
        for (axis, axis_layout) in layout.axes.iter().enumerate() {
            let len = axis_layout.len;
            let order = match plain(axis_layout) {
                None => stream.permutation(len).as_slice().to_vec(),
                Some(group) => {
                    let mut order = vec![0; len];
                    for class in &classes[group.0] {
                        let within = stream.permutation(class.len());
                        (0..class.len()).for_each(|k| order[class[k] as usize] = class[within.at(k)]);
                    }
                    order
                }
            };
            tensor = tensor.gather(axis, &order)?;
        }
        shuffled.insert(name, tensor.shaped(&layout.shape)?);
    }
    Ok(shuffled)
}

/// The group whose units are the entries of an axis, one each.
fn plain(axis: &crate::symmetry::AxisLayout) -> Option<GroupId> {
    match &axis.occurrences[..] {
        [occurrence] => match occurrence.digits[..] {
            [digit] => digit.group,
            _ => None,
        },
        _ => None,
    }
}

/// By group, its units in classes of about the same norm: eight of them at most, of eight units at least.
fn classes(symmetry: &Symmetry, params: &Params) -> Result<Vec<Vec<Vec<u32>>>> {
    let mut norms: Vec<Vec<f64>> = symmetry.groups().iter().map(|g| vec![0.0; g.size]).collect();
    for (name, layout) in symmetry.tensors() {
        let tensor = params.require(name)?;
        if !tensor.dtype().is_float() {
            continue;
        }
        let values = tensor.to_f64()?;
        for (axis, axis_layout) in layout.axes.iter().enumerate() {
            let Some(group) = plain(axis_layout) else { continue };
            let inner: usize = layout.axes[axis + 1..].iter().map(|axis| axis.len).product();
            let len = axis_layout.len;
            for (at, value) in values.iter().enumerate() {
                norms[group.0][at / inner % len] += value * value;
            }
        }
    }
    let cut = |norms: &Vec<f64>| {
        let mut order: Vec<u32> = (0..norms.len() as u32).collect();
        order.sort_by(|i, j| norms[*j as usize].total_cmp(&norms[*i as usize]));
        let classes = (norms.len() / 8).clamp(1, 8);
        order.chunks(norms.len().div_ceil(classes).max(1)).map(<[u32]>::to_vec).collect()
    };
    Ok(norms.iter().map(cut).collect())
}

fn norm(symmetry: &Symmetry, params: &Params) -> Result<f64> {
    let square = |(name, _): (&str, _)| -> Result<f64> {
        let tensor = params.require(name)?;
        Ok(if tensor.dtype().is_float() { squares(tensor) } else { 0.0 })
    };
    Ok(symmetry.tensors().filter(|(_, layout)| layout.moves()).map(square).sum::<Result<f64>>()?.sqrt())
}
