//! Several cheap matches instead of one, and the best of them.

use serde::{Deserialize, Serialize};

use super::ascent::{Match, MatchOptions, ascend};
use super::frank_wolfe::{FrankWolfeOptions, Origin, Progress, frank_wolfe};
use super::plan::{Budget, Candidate, Sizes};
use super::source::Source;
use super::start::Start;
use super::weight::Weights;
use crate::error::Result;
use crate::symmetry::Alignment;

/// Which matches to try: every start with every seed, and a joint climb.
///
/// ```
/// use onebasin_core::matching::{PortfolioOptions, Start};
/// let one = PortfolioOptions { starts: vec![Start::Signature], restarts: 1, ..PortfolioOptions::default() };
/// assert!(one.frank_wolfe); // two runs in all
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortfolioOptions {
    /// Where coordinate ascent starts.
    pub starts: Vec<Start>,
    /// Orders tried from every start: run k has the seed of the options plus k.
    pub restarts: usize,
    /// Whether to climb jointly from the signature start as well.
    pub frank_wolfe: bool,
    /// How coordinate ascent goes.
    pub ascent: MatchOptions,
    /// What all runs may cost together, and that they go on only while they pay; all of them are run if there is none.
    pub budget: Option<Budget>,
}

impl Default for PortfolioOptions {
    fn default() -> Self {
        let starts = vec![Start::Identity, Start::Signature, Start::Anchored];
        Self { starts, restarts: 2, frank_wolfe: true, ascent: MatchOptions::default(), budget: None }
    }
}

/// The matches that these options ask for, in the order in which they are run, with what they are predicted to cost and
/// whether that fits the budget.
///
/// The first start comes first, then the joint climb, the other starts, and all of them again in another order.
///
/// Cost: nothing but shapes is looked at.
///
/// # Errors
/// If a tensor is missing.
///
/// [`Candidate`] has an example.
pub fn plan(weights: &Weights<'_>, options: &PortfolioOptions) -> Result<Vec<Candidate>> {
    let sizes = Sizes::of(weights)?;
    let seeds = (0..options.restarts.max(1) as u64).map(|k| options.ascent.seed.wrapping_add(k));
    let ascents = seeds.flat_map(|seed| options.starts.iter().map(move |&start| (Schedule::Ascent, start, seed)));
    let mut runs: Vec<_> = ascents.collect();
    if options.frank_wolfe {
        runs.insert(runs.len().min(1), (Schedule::FrankWolfe, Start::Signature, options.ascent.seed));
    }
    let mut spent = 0.0;
    let candidates = runs.into_iter().enumerate().map(|(k, (schedule, start, seed))| {
        let cost = sizes.cost(schedule, start);
        let within = |budget: Budget| spent + cost.seconds <= budget.seconds && cost.memory <= budget.memory;
        let fits = k == 0 || options.budget.is_none_or(within);
        spent += if fits { cost.seconds } else { 0.0 };
        Candidate { schedule, start, seed, cost, fits }
    });
    Ok(candidates.collect())
}

/// Share of what was gained over the start by which a further run must raise the best value, or it is the last.
const PAYS: f64 = 1e-3;

/// How a run went about it.
///
/// ```
/// use onebasin_core::matching::Schedule;
/// assert_eq!(serde_json::to_string(&Schedule::FrankWolfe)?, r#""frank-wolfe""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Group after group.
    Ascent,
    /// All groups jointly, then group after group.
    FrankWolfe,
}

/// One match of several, with what it found.
/// ```
/// use onebasin_core::matching::{PortfolioOptions, Schedule, Start, Weights, best_of};
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
/// let options = PortfolioOptions { starts: vec![], ..PortfolioOptions::default() }; // the joint climb alone
/// let runs = best_of(&Weights::new(&symmetry, &a, &b)?, &options, &mut |_| true)?;
/// assert_eq!((runs.len(), runs[0].schedule, runs[0].start), (1, Schedule::FrankWolfe, Start::Signature));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// How it went about it.
    pub schedule: Schedule,
    /// Where it started.
    pub start: Start,
    /// The seed of its sweeps' order.
    pub seed: u64,
    /// What it found.
    pub found: Match,
}

/// A run, without its alignment: what a report keeps.
///
/// ```
/// use onebasin_core::matching::{PortfolioOptions, RunRecord, Weights, best_of};
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
/// let runs = best_of(&Weights::new(&symmetry, &a, &b)?, &PortfolioOptions::default(), &mut |_| true)?;
/// assert_eq!(RunRecord::from(&runs[0]).objective, 91.0);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// How it went about it.
    pub schedule: Schedule,
    /// Where it started.
    pub start: Start,
    /// The seed of its sweeps' order.
    pub seed: u64,
    /// The source's value at the end.
    pub objective: f64,
    /// Number of sweeps.
    pub sweeps: usize,
}

impl From<&Run> for RunRecord {
    fn from(run: &Run) -> Self {
        let Run { schedule, start, seed, found } = run;
        let (objective, sweeps) = (found.objective, found.sweeps.len());
        Self { schedule: *schedule, start: *start, seed: *seed, objective, sweeps }
    }
}

/// What is told while matching: which run it is, and what happened in it.
///
/// ```
/// use onebasin_core::matching::{PortfolioOptions, Start, Weights, best_of};
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
/// let mut starts = Vec::new();
/// best_of(&Weights::new(&symmetry, &a, &b)?, &PortfolioOptions::default(), &mut |told| {
///     starts.push(told.start);
///     false // one look is enough
/// })?;
/// assert_eq!(starts, [Start::Identity]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// How the run goes about it.
    pub schedule: Schedule,
    /// Where it started.
    pub start: Start,
    /// What happened.
    pub progress: Progress<'a>,
}

/// Several matches of one pair; the runs, best first.
///
/// Equal values keep the order of the runs, which is that of [`plan`]. Values of runs on one source can be compared, those of
/// different sources cannot. When the observer returns false, the run in progress is the last.
///
/// With a budget, what does not fit is left out; and after the first ascent and the joint climb, the first run that does not
/// raise the best value by a thousandth of what was gained over the identity is the last.
///
/// Cost: `starts.len() · restarts` coordinate ascents and, if asked for, one joint climb; with a budget, what it says.
///
/// # Errors
/// As [`ascend`] and [`frank_wolfe`].
///
/// ```
/// use onebasin_core::matching::{PortfolioOptions, Weights, best_of};
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
/// let runs = best_of(&Weights::new(&symmetry, &a, &b)?, &PortfolioOptions::default(), &mut |_| true)?;
/// assert_eq!((runs.len(), runs[0].found.objective), (7, 91.0)); // three starts, two orders, one joint climb
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn best_of(
    weights: &Weights<'_>,
    options: &PortfolioOptions,
    observe: &mut dyn FnMut(Told<'_>) -> bool,
) -> Result<Vec<Run>> {
    let mut found: Vec<Run> = Vec::new();
    let mut go_on = true;
    let mut signature = None;
    let (mut best, mut tried) = (f64::NEG_INFINITY, 0);
    let still =
        if options.budget.is_some() { weights.objective(&Alignment::identity(weights.symmetry()))? } else { 0.0 };
    for Candidate { schedule, start, seed, .. } in plan(weights, options)?.into_iter().filter(|c| c.fits) {
        if !go_on {
            break;
        }
        let begin = match start {
            // Made once, whatever is run from it.
            Start::Signature => match &signature {
                Some(begin) => Alignment::clone(begin),
                None => signature.insert(start.alignment(weights, seed)?).clone(),
            },
            Start::Identity | Start::Anchored | Start::Random => start.alignment(weights, seed)?,
        };
        let ascent = MatchOptions { seed, ..options.ascent.clone() };
        let mut tell = |progress: Progress<'_>| {
            go_on = observe(Told { schedule, start, progress });
            go_on
        };
        let run = match schedule {
            Schedule::Ascent => ascend(weights, &begin, &ascent, &mut |sweep| tell(Progress::Sweep(sweep)))?,
            Schedule::FrankWolfe => {
                let how = FrankWolfeOptions { origin: Origin::Start, polish: ascent, ..FrankWolfeOptions::default() };
                frank_wolfe(weights, &begin, &how, &mut tell)?
            }
        };
        let pays = run.objective > best + PAYS * (best - still).abs();
        best = best.max(run.objective);
        found.push(Run { schedule, start, seed, found: run });
        tried += usize::from(schedule == Schedule::Ascent);
        if options.budget.is_some() && tried > 1 && !pays {
            break;
        }
    }
    found.sort_by(|x, y| y.found.objective.total_cmp(&x.found.objective));
    Ok(found)
}
