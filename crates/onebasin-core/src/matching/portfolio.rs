//! Several cheap matches instead of one, and the best of them.

use serde::{Deserialize, Serialize};

use super::ascent::{Match, MatchOptions, ascend};
use super::frank_wolfe::{FrankWolfeOptions, Origin, Progress, frank_wolfe};
use super::source::Source;
use super::spectral::Rank;
use super::start::Start;
use super::weight::Weights;
use crate::error::Result;

/// Which matches to try: every start with every seed, and a joint climb.
///
/// ```
/// use onebasin_core::matching::{PortfolioOptions, Start};
/// let one = PortfolioOptions { starts: vec![Start::Signature], restarts: 1, ..PortfolioOptions::default() };
/// assert!(one.frank_wolfe); // two runs in all
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortfolioOptions {
    /// Where coordinate ascent starts.
    pub starts: Vec<Start>,
    /// Orders tried from every start: run k has the seed of the options plus k.
    pub restarts: usize,
    /// Whether to climb jointly from the signature start as well.
    pub frank_wolfe: bool,
    /// How coordinate ascent goes.
    pub ascent: MatchOptions,
}

impl Default for PortfolioOptions {
    fn default() -> Self {
        let starts = vec![Start::Identity, Start::Signature, Start::Anchored];
        Self { starts, restarts: 2, frank_wolfe: true, ascent: MatchOptions::default() }
    }
}

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
/// Equal values keep the order of the runs. Values of runs on one source can be compared, those of different sources
/// cannot. When the observer returns false, the run in progress is the last.
///
/// Cost: `starts.len() · restarts` coordinate ascents and, if asked for, one joint climb.
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
    let seeds = (0..options.restarts.max(1) as u64).map(|k| options.ascent.seed.wrapping_add(k));
    let runs = options.starts.iter().flat_map(|&start| seeds.clone().map(move |seed| (Schedule::Ascent, start, seed)));
    let joint = options.frank_wolfe.then_some((Schedule::FrankWolfe, Start::Signature, options.ascent.seed));
    let mut found = Vec::new();
    let mut go_on = true;
    for (schedule, start, seed) in runs.chain(joint) {
        if !go_on {
            break;
        }
        let begin = start.alignment(weights, seed)?;
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
        found.push(Run { schedule, start, seed, found: run });
    }
    found.sort_by(|x, y| y.found.objective.total_cmp(&x.found.objective));
    Ok(found)
}

/// Whether denoised weights can be trusted to compare units: every denoised matrix keeps enough directions to tell its
/// units apart (6), and few enough that the rest is noise (half); and what was denoised is most of the network's
/// weights.
///
/// `ranks` are those of A and of B, as [`denoise`](super::denoise) gives them.
///
/// # Errors
/// If a tensor is missing.
///
/// ```
/// use onebasin_core::matching::{Weights, denoise, trusts_spectral};
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
/// let (_, ranks) = denoise(&symmetry, &a)?; // two units are too few to tell noise from signal
/// assert!(!trusts_spectral(&Weights::new(&symmetry, &a, &b)?, [&ranks, &ranks])?);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn trusts_spectral(weights: &Weights<'_>, ranks: [&[Rank]; 2]) -> Result<bool> {
    const FEWEST: usize = 6;
    let apart = |r: &Rank| r.kept >= FEWEST && 2 * r.kept <= r.of;
    if ranks.iter().any(|r| r.is_empty() || !r.iter().all(apart)) {
        return Ok(false);
    }
    let [a, _] = weights.networks();
    let (mut denoised, mut all) = (0, 0);
    for (name, _) in weights.symmetry().tensors().filter(|(_, layout)| layout.moves()) {
        let len = a.require(name)?.len();
        all += len;
        denoised += if ranks[0].iter().any(|r| r.tensor == name) { len } else { 0 };
    }
    Ok(2 * denoised > all)
}
