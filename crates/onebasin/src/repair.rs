//! What becomes of an average before it is used: BatchNorm statistics recomputed, activations repaired, layers solved.

use std::collections::BTreeMap;
use std::fmt;

use onebasin_core::Params;
use onebasin_core::graph::Graph;
use onebasin_core::repair::repair_weights;
use onebasin_core::solve::{LeftOut, shortcuts_first, sites};
use onebasin_core::symmetry::{Symmetry, TermKind, discover};
use onebasin_nn::evaluate::BATCH;
use onebasin_nn::exec::Program;
use onebasin_nn::samples::Chosen;
use onebasin_nn::{
    DistilOptions, Ends, RepairOptions, Samples, SiteFit, SolveOptions, distil, profile, recompute_batch_norm, repair,
    solve,
};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::observer::{Progress, Step};

/// What is done to a merged network so that it computes what its ends do, as far as it can.
///
/// Source: `data` and `weights`: Jordan et al. 2022, REPAIR; `solve`: [`onebasin_nn::solve`](onebasin_nn::solve()).
///
/// ```
/// use onebasin::{Merge, Repair};
/// assert_eq!(Merge::default().repair, Repair::None);
/// assert_eq!(Repair::Weights.name(), "weights");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// Leave the average as it is.
    #[default]
    None,
    /// Give every unit the mean and spread between the ends', measured on samples.
    Data,
    /// Give every unit's weights the length between the ends'; needs no samples.
    Weights,
    /// Refit every layer to what the ends compute, on what the merged network feeds itself; needs no labels, and where there are
    /// no samples inputs are made up.
    Solve,
    /// The same, and then a few hundred steps of training it to answer as its ends do together; needs no labels, and is no
    /// longer a merge in closed form.
    Distil,
}

impl Repair {
    /// Its name in options and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Data => "data",
            Self::Weights => "weights",
            Self::Solve => "solve",
            Self::Distil => "distil",
        }
    }

    /// Whether layers are solved.
    pub fn solves(self) -> bool {
        match self {
            Self::Solve | Self::Distil => true,
            Self::None | Self::Data | Self::Weights => false,
        }
    }

    /// Passes only if there are the samples it needs: training samples, and some of them.
    pub(crate) fn check(self, train: Option<&dyn Samples>, used: Used) -> Result<()> {
        let (what, option, needs, count) = match self {
            Self::None | Self::Weights => return Ok(()),
            Self::Data => ("repair by data", "repair by data", "batch_norm_samples above 0", used.batch_norm),
            Self::Solve => ("solving", "repair by solving", "solve_samples above 0", used.solve),
            Self::Distil => (
                "distilling",
                "repair by distilling",
                "solve_samples and batch_norm_samples above 0",
                used.solve.min(used.batch_norm),
            ),
        };
        match train {
            None => Err(Error::NeedsData { what }),
            Some(train) if train.is_empty() || count == 0 => Err(Error::Needs { option, needs }),
            Some(_) => Ok(()),
        }
    }
}

/// How many training samples are used, for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) batch_norm: usize,
    pub(crate) solve: usize,
}

/// How a merged network was solved, and how well it follows its ends.
///
/// ```
/// use onebasin::{Solving, nn::SiteFit};
/// let fit = |explained| vec![SiteFit { node: "fc1".to_owned(), explained }];
/// let (samples, name) = (1200, "cifar10".to_owned());
/// let (before, after) = (fit(0.2), fit(0.9));
/// let record = Solving { name, samples, held_out: 64, before, after, left: Vec::new(), distilled: 0 };
/// assert!(record.to_string().starts_with("1 layer solved on 1200 samples of cifar10, without labels"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Solving {
    /// What the samples are called.
    pub name: String,
    /// How many were solved on.
    pub samples: usize,
    /// How many others it was measured on; 0: there were no others, and some of the same were taken.
    pub held_out: usize,
    /// R² of every site of the plain average, BatchNorm statistics recomputed.
    pub before: Vec<SiteFit>,
    /// R² of every site of the solved network.
    pub after: Vec<SiteFit>,
    /// Operators with weights that keep the average.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftOut>,
    /// Steps that it was trained afterwards to answer as its ends do together; 0: it is what was solved.
    #[serde(default)]
    pub distilled: usize,
}

impl Solving {
    /// R² below which a merged network no longer answers as its ends do.
    const LOW: f64 = 0.5;

    /// What should be said of it before the result is trusted.
    fn warning(&self) -> Option<String> {
        let last = self.after.last().filter(|site| site.explained < Self::LOW)?;
        let first = self.after.iter().find(|site| site.explained < Self::LOW)?;
        Some(format!(
            "the merged network explains {:.0} % of what both networks answer (R² at `{}`); it loses them from `{}` on: do not \
             expect it to work",
            100.0 * last.explained.max(0.0),
            last.node,
            first.node
        ))
    }
}

impl fmt::Display for Solving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = |fits: &[SiteFit]| fits.iter().map(|s| s.explained).fold(f64::INFINITY, f64::min);
        let last = |fits: &[SiteFit]| fits.last().map_or(f64::NAN, |s| s.explained);
        let (count, layers) = (self.after.len(), if self.after.len() == 1 { "layer" } else { "layers" });
        write!(f, "{count} {layers} solved on {} samples of {}, without labels; ", self.samples, self.name)?;
        if self.distilled > 0 {
            write!(f, "then trained for {} steps to answer as both do together (distilled); ", self.distilled)?;
        }
        let on = if self.held_out > 0 { "other samples" } else { "some of the same samples" };
        write!(
            f,
            "share of what both networks compute that it explains (R², on {on}): at the output {:.2} (average {:.2}), in the \
             worst layer {:.2} ({:.2})",
            last(&self.after),
            last(&self.before),
            least(&self.after),
            least(&self.before)
        )?;
        if !self.left.is_empty() {
            let left: Vec<String> = self.left.iter().map(ToString::to_string).collect();
            write!(f, "; averaged only: {}", left.join("; "))?;
        }
        Ok(())
    }
}

/// What is done to averages.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub(crate) program: &'a Program,
    /// Samples to measure on; none leaves BatchNorm statistics interpolated.
    pub(crate) train: Option<&'a dyn Samples>,
    pub(crate) used: Used,
    pub(crate) repair: Repair,
    pub(crate) context: &'a Context<'a>,
}

/// What became of an average.
pub(crate) struct Finished {
    pub(crate) params: Params,
    pub(crate) left: Vec<LeftOut>,
}

impl Finish<'_> {
    /// The average of a pair at `lambda`, made ready.
    pub(crate) fn apply(&self, ends: [&Params; 2], average: &Params, lambda: f64) -> Result<Params> {
        Ok(match self.repair {
            Repair::Data => {
                let options = RepairOptions { lambda, ..RepairOptions::default() };
                match self.first(self.used.batch_norm) {
                    Some(samples) => repair(self.program, ends, average, &samples, &options)?.params,
                    None => average.clone(),
                }
            }
            Repair::Weights => self.measured(&repair_weights(self.program.graph(), ends, average, lambda)?.params)?,
            Repair::Solve | Repair::Distil => {
                let (ends, observer) = (Ends::pair(ends, lambda), self.context.observer);
                let solved = self.solve(&ends, average, &mut |_, _| !observer.stops())?.params;
                self.distilled(&ends, average, solved, &mut |_, _, _| !observer.stops())?
            }
            Repair::None => self.measured(average)?,
        })
    }

    /// The first training samples, if there are any.
    fn first(&self, count: usize) -> Option<Chosen<'_>> {
        let chosen = self.train.map(|train| Chosen::first(train, count));
        chosen.filter(|chosen| !chosen.is_empty())
    }

    /// A network with its BatchNorm statistics recomputed.
    pub(crate) fn measured(&self, params: &Params) -> Result<Params> {
        let samples = self.first(self.used.batch_norm);
        Ok(match samples {
            Some(samples) => recompute_batch_norm(self.program, params, &samples, BATCH)?,
            None => params.clone(),
        })
    }

    /// The average of ends, solved; what is an end already stays.
    pub(crate) fn solve(
        &self,
        ends: &Ends<'_>,
        average: &Params,
        observe: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Finished> {
        let is_end = ends.by_unit.is_empty() && ends.shares.contains(&1.0);
        match self.first(self.used.solve) {
            Some(samples) if !is_end => {
                let solved = solve(self.program, ends, average, &samples, &SolveOptions::default(), observe)?;
                Ok(Finished { params: solved.params, left: solved.left })
            }
            Some(_) | None => Ok(Finished { params: average.clone(), left: Vec::new() }),
        }
    }

    /// What was solved, trained to answer as its ends do together where that is asked for.
    fn distilled(
        &self,
        ends: &Ends<'_>,
        average: &Params,
        solved: Params,
        observe: &mut dyn FnMut(usize, usize, f64) -> bool,
    ) -> Result<Params> {
        match (self.repair, self.first(self.used.batch_norm)) {
            (Repair::Distil, Some(samples)) if solved != *average => {
                Ok(distil(self.program, ends, &solved, &samples, &DistilOptions::default(), observe)?)
            }
            (Repair::None | Repair::Data | Repair::Weights | Repair::Solve | Repair::Distil, _) => Ok(solved),
        }
    }

    /// Solves an average, says how it goes, and measures what it brought.
    pub(crate) fn solve_and_tell(&self, ends: &Ends<'_>, average: &Params) -> Result<(Params, Option<Solving>)> {
        let context = self.context;
        let Finished { params, left } = self.solve(ends, average, &mut |done, all| {
            let (done, total) = (done as u64, all as u64);
            context.observer.progress(&Progress { step: Step::Solving, done, total, how: "" });
            !context.observer.stops()
        })?;
        let params = self.distilled(ends, average, params, &mut |done, all, loss| {
            let (done, total, how) = (done as u64, all as u64, format!("KL {loss:.4}"));
            context.observer.progress(&Progress { step: Step::Distilling, done, total, how: &how });
            !context.observer.stops()
        })?;
        let Some(train) = self.train.filter(|_| params != *average) else { return Ok((params, None)) };
        for operator in &left {
            context.note(&format!("{operator}; it keeps the average of its weights"));
        }
        context.go_on()?;
        let samples = self.used.solve.min(train.len());
        let held_out = Self::HELD_OUT.min(train.len() - samples);
        let first = if held_out > 0 { samples } else { 0 };
        let seen = (first..first + if held_out > 0 { held_out } else { samples.min(Self::HELD_OUT) }).map(|s| s as u32);
        let seen = Chosen::new(train, seen.collect())?;
        let average = recompute_batch_norm(self.program, average, &seen, BATCH)?;
        let before = profile(self.program, ends, &average, &seen)?;
        let after = profile(self.program, ends, &params, &seen)?;
        let (name, trained) = (train.name().to_owned(), self.repair == Repair::Distil);
        let distilled = if trained { DistilOptions::default().steps } else { 0 };
        let record = Solving { name, samples, held_out, before, after, left, distilled };
        if let Some(warning) = record.warning() {
            context.note(&warning);
        }
        Ok((params, Some(record)))
    }

    /// Samples on which is measured what solving brought.
    const HELD_OUT: usize = 64;
}

/// Two ends at `lambda`, and at λ of its own at the units of every site that are of a group which has one.
pub(crate) fn ends_by_group<'a>(
    graph: &Graph,
    symmetry: &Symmetry,
    ends: [&'a Params; 2],
    lambda: f64,
    by_group: &BTreeMap<&str, f64>,
) -> Result<Ends<'a>> {
    let mut ends = Ends::pair(ends, lambda);
    if by_group.is_empty() {
        return Ok(ends);
    }
    let of = ByGroup { symmetry, usual: lambda, own: by_group };
    let graph = shortcuts_first(graph);
    let found = discover(&graph);
    for site in sites(&graph).0 {
        let Some(term) = found.value_pattern(site.target).and_then(|pattern| pattern.axes.get(site.axis)) else {
            continue;
        };
        if !of.names_any(&term.kind) {
            continue;
        }
        let (units, node) = (graph.shape(site.target)[site.axis], &graph.node(site.node).name);
        let lambda = of.units(&term.kind).filter(|found| found.len() == units).ok_or_else(|| Error::Option {
            option: "group_lambda",
            expected: "groups that are no families, where layers are solved",
            found: format!("`{term}` at layer `{node}`"),
        })?;
        ends.by_unit.insert(site.target, vec![lambda.iter().map(|l| 1.0 - l).collect(), lambda]);
    }
    Ok(ends)
}

/// λ of single groups, as units of an axis have it.
struct ByGroup<'a> {
    symmetry: &'a Symmetry,
    /// λ of the others.
    usual: f64,
    own: &'a BTreeMap<&'a str, f64>,
}

impl ByGroup<'_> {
    /// Whether a term names a group that has a λ of its own.
    fn names_any(&self, term: &TermKind) -> bool {
        match term {
            TermKind::Fixed | TermKind::Number(_) => false,
            TermKind::Group { name, parent, .. } => {
                [Some(name), parent.as_ref()].into_iter().flatten().any(|n| self.own.contains_key(n.as_str()))
            }
            TermKind::Product(terms) | TermKind::Sum(terms) => terms.iter().any(|term| self.names_any(&term.kind)),
        }
    }

    /// λ of every unit of a term, the smaller one where it is of two groups; none where its units are not known here.
    fn units(&self, term: &TermKind) -> Option<Vec<f64>> {
        match term {
            TermKind::Fixed | TermKind::Group { parent: Some(_), .. } => None,
            TermKind::Number(count) => Some(vec![self.usual; *count]),
            TermKind::Group { name, parent: None, slice } => {
                let size = self.symmetry.groups().iter().find(|group| group.name == *name)?.size;
                let count = slice.map_or(size, |(start, end)| end - start);
                Some(vec![self.own.get(name.as_str()).copied().unwrap_or(self.usual); count])
            }
            TermKind::Sum(terms) => {
                Some(terms.iter().map(|term| self.units(&term.kind)).collect::<Option<Vec<_>>>()?.concat())
            }
            TermKind::Product(terms) => terms.iter().try_fold(vec![1.0], |outer, term| {
                let inner = match &term.kind {
                    TermKind::Number(count) => vec![1.0; *count],
                    other => self.units(other)?,
                };
                Some(outer.iter().flat_map(|o| inner.iter().map(move |i| f64::min(*o, *i))).collect())
            }),
        }
    }
}
