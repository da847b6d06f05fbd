//! Coordinate ascent: group after group, each to its best element given the others.

use serde::{Deserialize, Serialize};

use super::nested::{Element, best_element};
use super::source::{Root, Source};
use super::sweep::{Better, Seat, better, grams_of, sweep};
use crate::assignment::Duals;
use crate::error::Result;
use crate::stream::Stream;
use crate::symmetry::Alignment;

/// In which order a sweep visits the groups. With serde, a word: `random`, `forward`, `alternating`.
///
/// ```
/// use onebasin_core::matching::Order;
/// assert_eq!(serde_json::from_str::<Order>(r#""alternating""#)?, Order::Alternating);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Seeded, fresh for every sweep: the paper's.
    #[default]
    Random,
    /// As the source lists them.
    Forward,
    /// Forward, then backward, in turn.
    Alternating,
}

impl Order {
    /// The visits of a sweep, numbered from 1.
    fn of(self, seed: u64, sweep: usize, roots: usize) -> Vec<usize> {
        match self {
            Self::Random => Stream::new(seed, &format!("order/{sweep}"))
                .permutation(roots)
                .as_slice()
                .iter()
                .map(|k| *k as usize)
                .collect(),
            Self::Alternating if sweep.is_multiple_of(2) => (0..roots).rev().collect(),
            Self::Forward | Self::Alternating => (0..roots).collect(),
        }
    }
}

/// How to match by coordinate ascent.
///
/// ```
/// use onebasin_core::matching::{MatchOptions, Order};
/// let options = MatchOptions { seed: 7, ..MatchOptions::default() };
/// assert_eq!((options.max_sweeps, options.order), (100, Order::Random));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchOptions {
    /// Decides the order of groups in every sweep.
    pub seed: u64,
    /// Stop after this many sweeps even if groups still change.
    pub max_sweeps: usize,
    /// In which order a sweep visits the groups.
    pub order: Order,
}

impl Default for MatchOptions {
    fn default() -> Self {
        Self { seed: 0, max_sweeps: 100, order: Order::Random }
    }
}

/// Why matching stopped.
///
/// ```
/// use onebasin_core::matching::StopReason;
/// assert_eq!(StopReason::SweepLimit.to_string(), "stopped at the limit of sweeps");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// No group can be improved while the others stay.
    Converged,
    /// The limit of sweeps was reached.
    SweepLimit,
    /// The observer asked to stop.
    Interrupted,
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Converged => "converged: no group can be improved while the others stay",
            Self::SweepLimit => "stopped at the limit of sweeps",
            Self::Interrupted => "interrupted",
        })
    }
}

/// What one sweep did: what an observer of a match is told, and what a report keeps. All sweeps over samples are told as one,
/// with the number of the last.
///
/// ```
/// use onebasin_core::matching::{MatchOptions, match_weights};
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
/// let mut gains = Vec::new();
/// match_weights(&symmetry, &a, &b, None, &MatchOptions::default(), &mut |sweep| {
///     gains.push(sweep.gain);
///     true // go on
/// })?;
/// assert_eq!(gains, [9.0]); // one hidden layer takes one sweep
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Number of the sweep, from 1.
    pub sweep: usize,
    /// The source's value after it: that of the start and all gains.
    pub objective: f64,
    /// The sum of its groups' gains.
    pub gain: f64,
    /// Groups (with their families) whose permutations changed.
    pub changed_groups: usize,
    /// Groups solved; the others were skipped because nothing they depend on had changed.
    pub solved_groups: usize,
}

/// An alignment, how it was found, and how good it is.
///
/// ```
/// use onebasin_core::matching::{MatchOptions, StopReason, match_weights};
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
/// let found = match_weights(&symmetry, &a, &b, None, &MatchOptions::default(), &mut |_| true)?;
/// assert_eq!((found.start_objective, found.objective, found.stop), (82.0, 91.0, StopReason::Converged));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The alignment that carries B into A's basin.
    pub alignment: Alignment,
    /// The source's value at the start: `⟨A, π(B)⟩` for weights.
    pub start_objective: f64,
    /// The source's value at the end; never below the start.
    pub objective: f64,
    /// One record per sweep.
    pub sweeps: Vec<Sweep>,
    /// Why it stopped.
    pub stop: StopReason,
}

/// Raises a source's value by coordinate ascent from `start`.
///
/// With all groups but one held, the value is linear in that group's permutation, so its best value is a linear
/// assignment; sweeps over the groups go on until no group improves. A group is solved again only if one its Grams depend
/// on has changed, so a source of fixed Grams takes one sweep.
///
/// Where a source has samples of large Grams ([`GramCache::sample`](super::GramCache::sample)), up to six sweeps over those
/// come first, as long as each gains half of what the one before it did; where they lowered the value in the end, they are
/// forgotten. Then all groups are looked at over whole Grams, or proven the best without them
/// ([`GramCache::proves`](super::GramCache::proves)), until none improves: what is found is what an ascent over whole Grams
/// would also stop at.
///
/// Where a source keeps Grams up to date ([`Source::caches`]), those that were not made from scratch are made again once no
/// group improves, and their groups solved again: what stops is what would stop without.
///
/// A change is accepted only if it gains more than the value's rounding error; a gain that Grams in single precision cannot
/// tell from rounding is measured in double. Groups that stand on two axes of one tensor
/// are linearised around the current permutation, and a change is kept only if the true value rises.
///
/// `observe` is told every sweep; where it returns false, that sweep is the last.
///
/// Groups that do not depend on each other are solved side by side on all cores; what is found is what one after another
/// finds, to the bit.
///
/// Cost: per sweep the Grams of every group that is solved, and one `O(n³)` assignment at worst for each.
///
/// # Errors
/// Those of the source and of its assignments.
///
/// Source: Ainsworth et al. 2023, Algorithm 1, over any source.
///
/// ```
/// use onebasin_core::matching::{MatchOptions, Weights, ascend};
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
/// let weights = Weights::new(&symmetry, &a, &b)?;
/// let found = ascend(&weights, &Alignment::identity(&symmetry), &MatchOptions::default(), &mut |_| true)?;
/// assert_eq!(found.alignment.apply(&symmetry, &b)?, a);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn ascend(
    source: &dyn Source,
    start: &Alignment,
    options: &MatchOptions,
    observe: &mut dyn FnMut(&Sweep) -> bool,
) -> Result<Match> {
    climb(source, start, options, &mut Vec::new(), true, observe)
}

/// Sweeps over samples at most.
const SAMPLED: usize = 6;

/// Sweeps over samples of the Grams, while each gains at least half of what the one before it did: what all of them did
/// together. Gains of samples are not checked against the value, which tells in the end.
fn sampled<'s>(
    source: &'s dyn Source,
    seats: &mut [Seat<'s>],
    options: &MatchOptions,
    alignment: &mut Alignment,
) -> Result<Sweep> {
    let roots = source.roots();
    let visit = |root: &Root, seat: &mut Seat<'s>, alignment: &Alignment| -> Result<Better> {
        let cache = seat.cache.as_mut().filter(|cache| !root.quadratic && cache.samples());
        let Some(grams) = cache.map(|cache| cache.sample(alignment)).transpose()?.flatten() else {
            let grams = grams_of(source, root, &mut seat.cache, alignment)?;
            return better(source, root, &grams, alignment, &mut seat.duals);
        };
        let current = Element::of(source.symmetry(), alignment, root.id);
        let best = best_element(source.symmetry(), root.id, &grams, &current, seat.duals.as_ref())?;
        seat.duals = Some(best.duals);
        let gain = best.value - best.current;
        let is_better = best.element != current && gain > root.rounding.max(root.tolerance);
        Ok(is_better.then_some((best.element, gain)))
    };
    let mut stale = vec![true; roots.len()];
    let mut record = Sweep { sweep: 0, objective: 0.0, gain: 0.0, changed_groups: 0, solved_groups: 0 };
    let mut before = 0.0;
    while record.sweep < SAMPLED && stale.contains(&true) {
        record.sweep += 1;
        let order = options.order.of(options.seed, record.sweep, roots.len());
        let swept = sweep(roots, &order, &mut stale, seats, alignment, visit)?;
        record.solved_groups += swept.solved;
        record.changed_groups += swept.changed;
        if swept.gain < 0.5 * before {
            break;
        }
        before = swept.gain;
    }
    Ok(record)
}

/// The permutation of a root.
fn units(alignment: &Alignment, root: &Root) -> Vec<usize> {
    alignment.copies(root.id)[0].as_slice().iter().map(|&unit| unit as usize).collect()
}

/// The same on a source that differs little from the one before, as a target that moves in small steps does.
///
/// `duals` are those of every root's last assignment, in the order of [`Source::roots`]; they come back changed. An empty
/// list stands for none. They make assignments quicker, not better: where several are worth the same, another may be found.
///
/// # Errors
/// Those of the source and of its assignments; among them, that duals are of another source.
/// ```
/// use onebasin_core::matching::{MatchOptions, Weights, ascend_again};
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
/// let (start, options, mut duals) = (Alignment::identity(&symmetry), MatchOptions::default(), Vec::new());
/// let first = ascend_again(&Weights::new(&symmetry, &a, &b)?, &start, &options, &mut duals, &mut |_| true)?;
/// let moved = net([1.1, 2., 3., 4.], [5., 6.])?;
/// let source = Weights::new(&symmetry, &moved, &b)?;
/// let second = ascend_again(&source, &first.alignment, &options, &mut duals, &mut |_| true)?;
/// assert_eq!((second.alignment, duals.len()), (first.alignment, 1));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn ascend_again(
    source: &dyn Source,
    start: &Alignment,
    options: &MatchOptions,
    duals: &mut Vec<Option<Duals>>,
    observe: &mut dyn FnMut(&Sweep) -> bool,
) -> Result<Match> {
    climb(source, start, options, duals, false, observe)
}

/// Coordinate ascent; first over samples of the Grams, if asked for.
fn climb(
    source: &dyn Source,
    start: &Alignment,
    options: &MatchOptions,
    duals: &mut Vec<Option<Duals>>,
    samples: bool,
    observe: &mut dyn FnMut(&Sweep) -> bool,
) -> Result<Match> {
    let start_objective = source.objective(start)?;
    let roots = source.roots();
    let mut alignment = start.clone();
    let mut stale = vec![true; roots.len()];
    duals.resize(roots.len(), None);
    let mut caches = source.caches().map(Vec::into_iter);
    let seat =
        |duals: &mut Option<Duals>| Seat { cache: caches.as_mut().and_then(Iterator::next), duals: duals.take() };
    let mut seats: Vec<Seat<'_>> = duals.iter_mut().map(seat).collect();
    let mut sweeps = Vec::new();
    let mut stop = StopReason::SweepLimit;
    // The value, summed anew, before the first sweep over whole Grams.
    let (mut first, mut exact) = (1, start_objective);
    if samples
        && options.max_sweeps > SAMPLED
        && seats.iter().any(|seat| seat.cache.as_ref().is_some_and(|cache| cache.samples()))
    {
        let mut record = sampled(source, &mut seats, options, &mut alignment)?;
        record.objective = source.objective(&alignment)?;
        record.gain = record.objective - start_objective;
        if record.gain >= 0.0 {
            (exact, first) = (record.objective, record.sweep + 1);
            let go_on = observe(&record);
            sweeps.push(record);
            if !go_on {
                return Ok(Match {
                    alignment,
                    start_objective,
                    objective: exact,
                    sweeps,
                    stop: StopReason::Interrupted,
                });
            }
        } else {
            alignment.clone_from(start);
        }
    }
    let visit = |root: &Root, seat: &mut Seat<'_>, alignment: &Alignment| -> Result<Better> {
        if first > 1
            && !root.quadratic
            && let Some(cache) = &mut seat.cache
            && cache.proves(alignment, &units(alignment, root))?
        {
            return Ok(None);
        }
        let grams = grams_of(source, root, &mut seat.cache, alignment)?;
        better(source, root, &grams, alignment, &mut seat.duals)
    };
    let mut reached = exact;
    for number in first..=options.max_sweeps {
        let order = options.order.of(options.seed, number, roots.len());
        let swept = sweep(roots, &order, &mut stale, &mut seats, &mut alignment, visit)?;
        reached += swept.gain;
        let record = Sweep {
            sweep: number,
            objective: reached,
            gain: swept.gain,
            changed_groups: swept.changed,
            solved_groups: swept.solved,
        };
        let go_on = observe(&record);
        sweeps.push(record);
        if !stale.contains(&true) {
            let updated = |seat: &mut Seat<'_>| seat.cache.as_mut().is_some_and(|cache| cache.forget_if_updated());
            stale = seats.iter_mut().map(updated).collect();
            if !stale.contains(&true) {
                stop = StopReason::Converged;
                break;
            }
        }
        if !go_on {
            stop = StopReason::Interrupted;
            break;
        }
    }
    duals.iter_mut().zip(seats).for_each(|(duals, seat)| *duals = seat.duals);
    let known = sweeps.iter().skip(usize::from(first > 1)).all(|s: &Sweep| s.changed_groups == 0);
    let mut objective = if known { exact } else { source.objective(&alignment)? };
    if objective < start_objective {
        (alignment, objective) = (start.clone(), start_objective);
    }
    Ok(Match { alignment, start_objective, objective, sweeps, stop })
}
