//! The solve: every layer of a merged network refitted, from input to output, to what its ends compute.

mod gain;
mod layer;
mod lean;
mod levels;
mod profile;
mod targets;
mod tied;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use onebasin_core::graph::{Graph, NodeId, ValueId};
use onebasin_core::matching::Accelerator;
use onebasin_core::solve::{LeftOut, Site, lookups, parameters_of, sites, solving_order};
use onebasin_core::{Params, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::exec::{Flat, Lockstep, Program};
use crate::samples::{Feeds, Samples};
use levels::Measure;
pub use profile::{Profile, SiteFit, profile};
use targets::Targets;
use tied::{Step, Tied};

/// How to solve.
///
/// ```
/// use onebasin_nn::SolveOptions;
/// // A first look: few rows, and no rounds for what lies below a rectifier.
/// let options = SolveOptions { rows: 5000, rounds: 0, ..SolveOptions::default() };
/// assert_eq!(options.ridge, 1e-3);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SolveOptions {
    /// How strongly weights are held to the average, as a share of the mean square of an input.
    pub ridge: f64,
    /// Rounds in which what lies below a rectifier is left there.
    pub rounds: usize,
    /// Rows (positions of samples) that a site is solved from, about; every sample gives at least one.
    pub rows: usize,
    /// Bytes that activations and the sums of a site may take together.
    pub memory: usize,
    /// How much of the spread that mixing takes from a unit its target gets back, from 0 (none) to 1 (that between its ends).
    pub spread: f64,
    /// Decides which positions are looked at.
    pub seed: u64,
    /// Fit nothing but the scale and shift of every unit, and leave its weights where the average has them.
    pub units_only: bool,
    /// Aim at what the first network computes and what the others tell of it, instead of the mix of all.
    pub lean: bool,
}

impl Default for SolveOptions {
    fn default() -> Self {
        Self {
            ridge: 1e-3,
            rounds: 3,
            rows: 40_000,
            memory: 4 << 30,
            spread: 0.5,
            seed: 0,
            units_only: false,
            lean: false,
        }
    }
}

/// A solved network, and what was solved.
#[derive(Debug, Clone, PartialEq)]
pub struct Solved {
    /// The network.
    pub params: Params,
    /// The sites, in running order, by the name of their operator.
    pub sites: Vec<String>,
    /// Operators with parameters, in which the ends differ, that keep the average.
    pub left: Vec<LeftOut>,
}

/// A solve on its way: what a later one goes on from, to the same bits.
#[derive(Debug, Clone, PartialEq)]
pub struct SolveState {
    /// The merged network so far; once the graph was walked through, as the last whole walk left it.
    pub params: Params,
    /// How many steps are done, from the input on: sites, or all uses of one weight at once; and those of further walks, where
    /// uses of a weight depend on each other.
    pub done: usize,
}

impl SolveState {
    /// Before the first site.
    #[must_use]
    pub fn fresh(average: Params) -> Self {
        Self { params: average, done: 0 }
    }
}

/// What is merged: networks, aligned, and how much each counts, everywhere or at the units of single sites.
///
/// ```
/// use onebasin_nn::Ends;
/// use onebasin_core::Params;
/// let (a, b) = (Params::new(), Params::new());
/// assert_eq!(Ends::pair([&a, &b], 0.25).shares, [0.75, 0.25]);
/// ```
#[derive(Debug, Clone)]
pub struct Ends<'a> {
    /// The networks.
    pub networks: Vec<&'a Params>,
    /// How much each counts; they add up to 1.
    pub shares: Vec<f64>,
    /// How much each counts at the units of a site, by its [target](onebasin_core::solve::Site::target): `[networks][units]`.
    pub by_unit: BTreeMap<ValueId, Vec<Vec<f64>>>,
}

impl<'a> Ends<'a> {
    /// Two networks, at `lambda` from the first (0) to the second (1).
    #[must_use]
    pub fn pair(ends: [&'a Params; 2], lambda: f64) -> Self {
        Self { networks: ends.to_vec(), shares: vec![1.0 - lambda, lambda], by_unit: BTreeMap::new() }
    }

    /// Networks that count the same.
    #[must_use]
    pub fn equal(networks: Vec<&'a Params>) -> Self {
        let share = 1.0 / networks.len().max(1) as f64;
        Self { shares: vec![share; networks.len()], networks, by_unit: BTreeMap::new() }
    }

    /// Passes only if there are networks, as many shares, none below zero, that add up to one.
    pub(crate) fn check(&self) -> Result<()> {
        let sum: f64 = self.shares.iter().sum();
        let fits = !self.networks.is_empty()
            && self.networks.len() == self.shares.len()
            && self.shares.iter().all(|s| *s >= 0.0)
            && (sum - 1.0).abs() < 1e-9;
        let why = || format!("shares of {} networks add up to 1, found {:?}", self.networks.len(), self.shares);
        if fits { Ok(()) } else { Err(Error::Options(why())) }
    }

    /// How much network `end` counts at each of so many units of a site.
    fn share(&self, target: ValueId, end: usize, units: usize) -> Result<Vec<f64>> {
        let Some(by_unit) = self.by_unit.get(&target) else { return Ok(vec![self.shares[end]; units]) };
        let found = by_unit.get(end).map_or(0, Vec::len);
        let why = || format!("a site of {units} units takes as many shares of every network, found {found}");
        if found == units { Ok(by_unit[end].clone()) } else { Err(Error::Options(why())) }
    }
}

/// Everything a site needs: the networks at work, and what they are.
struct Work<'a> {
    program: &'a Program,
    ends: &'a Ends<'a>,
    flats: Vec<Flat>,
    lockstep: Lockstep<'a>,
    options: &'a SolveOptions,
    /// What sums products of rows, if not this processor.
    device: Option<&'a dyn Accelerator>,
}

/// Solves a merged network, layer by layer from input to output, so that on what it feeds itself it gives the mix of what
/// its ends give there. Neither labels nor gradients are needed; names, shapes and element types stay.
///
/// Formula: at a [site](onebasin_core::solve::Site) with target `y` and design `x` (what the *merged* network feeds it,
/// patches of it for convolutions), `T = Σ_e share_e y_e`, `R = T − Σ added` (of the merged network, so that what went
/// wrong before a shortcut is corrected), and `W = argmin Σ |W x + b − R|² + d |W − W₀|²` with `W₀` the average of the
/// ends' weights (BatchNorms folded in) and `d = ridge · mean x²`. Where only `max(y, 0)` is used, [`SolveOptions::rounds`]
/// times `T` becomes `min(y, 0)` wherever it is not positive, and `W` is solved again: each such round lowers a majoriser
/// of `Σ |max(y, 0) − max(T, 0)|²`.
///
/// A LayerNorm or GroupNorm between gets the aim `(R − c) / g · σ̄ + μ̄` in front of it, where `μ̄`, `σ̄` are the mixed mean
/// and deviation that the ends' normalisations measure there, `g`, `c` its mixed gain and bias; rows count `1 / (σ̄ + .1 ·
/// mean σ̄)²`. Units whose gain is at most a fifth of the mean one are hardly seen behind it, and move the level of all others:
/// they get the aim `n̄ σ̄ + μ̄`, with `n̄` the mix of what the ends' normalisations make of them. Then gain and bias are fitted,
/// unit by unit, the average's counting as ten rows. So they are where a normalisation stands alone. Behind
/// a BatchNorm's folded weights its statistics are set to those of `W x` and its gain and bias so that they undo it: it gives
/// `W x + b` as it stands.
///
/// Tied weights are solved for all their uses at once, `W = argmin Σ_u Σ |W x_u + b − R_u|² / var R_u + d |W − W₀|²`, so that what
/// is minimised is the sum of `rows · (1 − R²)` over the uses. Where none of them depends on another, as in a head that all levels
/// of a pyramid share, all `x_u` are known by then. Where one does, what reaches it changes with the weights, and there is no closed
/// form: all uses are added up over a walk of the graph with the weights that the network has, the average's at first, and another
/// walk with what is solved for then solves all other sites again. Three such walks go all of the way there, half of it and a
/// quarter, each from the network that answers best so far, as R² of the output on `data` tells; that one is the result. Where units of the weights are looked up by number, as an embedding is that is the output's weights too,
/// unit `v` is held to the average by `n_v / var` besides, with `n_v` how often it is looked up: the average is what the ends'
/// embeddings mix to.
///
/// With [`SolveOptions::units_only`] the weights of a unit stay what the average has, up to a factor: of every unit `y` that an
/// operator gives on what the merged network feeds it, `a, c = argmin Σ (a y + c − R)²`, the average counting as ten rows; rounds
/// below rectifiers are the same. They go into the weights and the bias, or the gain and bias of a normalisation that follows.
/// Where there is no bias, `c = 0`. Tied weights are left as they are. This is REPAIR (Jordan et al. 2022) by regression instead of
/// moments: a unit that has lost its counterpart is turned down where REPAIR turns up what is noise.
///
/// With [`SolveOptions::lean`] the mix is `T = share_0 y_0 + Σ_{e > 0} share_e (Q_e y_e + q_e)`, but at the outputs, with `Q_e`, `q_e`
/// the least squares of the first network's units on those of network `e` (ridge .1 of the mean square of a unit). Units without a
/// partner shrink, so the result leans to the first network: it is no midpoint, and loses what only the others know.
///
/// `merged` is the average: what no site solves is taken from it. `observe` is called with the number of sites done and of
/// all; when it returns false the work is given up.
///
/// Cost: one forward pass of all ends and of the merged network over `data`, `rows · inputs² / 2` multiply-adds a site for
/// its Gram, and `rows · inputs · units · (1 + 2 rounds)` for the rest. All samples wait at every site, so memory is the
/// values alive at a time of all networks, and a Gram twice: [`SolveOptions::memory`] at most, and 256 MiB of sums side by
/// side. A site whose Gram takes more is solved in the dual form, from as many rows as fit.
///
/// # Errors
/// If a tensor is missing or does not fit, there are no samples or they do not fit, activations are not finite, no operator
/// can be solved, or [`Error::Stopped`].
///
/// Source: regression of layers on the merged model's own activations, RegMean++ ([2508.03121](https://arxiv.org/abs/2508.03121)),
/// and layer-wise least squares after permutation, PLeaS ([2407.02447](https://arxiv.org/abs/2407.02447)). We differ in
/// targets before the non-linearity, in correcting by the merged network's own shortcuts, in the rounds below rectifiers,
/// and in going through normalisations.
///
/// ```
/// use onebasin_core::merge::{Interpolation, merge};
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::samples::synthetic;
/// use onebasin_nn::{Ends, Network, SolveOptions, profile, solve};
/// let network = Network::new("mlp:16x2", &[8], 3)?;
/// let (graph, a, b) = (network.graph()?, network.init(0)?, network.init(1)?);
/// let data = synthetic(&graph, 500, 0)?;
/// let program = Program::new(graph)?;
/// let (average, ends) = (merge(&a, &b, 0.5, Interpolation::Lerp)?, Ends::pair([&a, &b], 0.5));
/// let solved = solve(&program, &ends, &average, &data, &SolveOptions::default(), &mut |_, _| true)?;
/// assert_eq!(solved.sites, ["fc1", "fc2", "fc3"]);
/// let last = |net| Ok::<_, onebasin_nn::Error>(profile(&program, &ends, net, &data)?.answered());
/// assert!(last(&solved.params)? > last(&average)?);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn solve(
    program: &Program,
    ends: &Ends<'_>,
    merged: &Params,
    data: &dyn Samples,
    options: &SolveOptions,
    observe: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Solved> {
    let state = SolveState::fresh(merged.clone());
    solve_on(program, ends, state, data, options, None, &mut |state, all| observe(state.done, all))
}

/// The same, from where another solve of the same networks, samples and options stopped, to the same bits; products of rows are
/// summed on a device where one is given, and all else is done here. `observe` is called with the state before every site, and
/// once all are done.
///
/// Cost: solved sites are only run.
///
/// # Errors
/// As [`solve()`]; also if more sites are said to be done than there are.
///
/// ```
/// use onebasin_core::merge::{Interpolation, merge};
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::samples::synthetic;
/// use onebasin_nn::{Ends, Network, SolveOptions, SolveState, solve, solve_on};
/// let network = Network::new("mlp:16x2", &[8], 3)?;
/// let (graph, a, b) = (network.graph()?, network.init(0)?, network.init(1)?);
/// let (data, options) = (synthetic(&graph, 100, 0)?, SolveOptions::default());
/// let program = Program::new(graph)?;
/// let (average, ends) = (merge(&a, &b, 0.5, Interpolation::Lerp)?, Ends::pair([&a, &b], 0.5));
/// let fresh = SolveState::fresh(average.clone());
/// let mut kept = fresh.clone();
/// let mut stop_after_one = |state: &SolveState, _| {
///     kept.clone_from(state);
///     state.done < 1
/// };
/// assert!(solve_on(&program, &ends, fresh, &data, &options, None, &mut stop_after_one).is_err());
/// let found = solve_on(&program, &ends, kept, &data, &options, None, &mut |_, _| true)?;
/// assert_eq!(found, solve(&program, &ends, &average, &data, &options, &mut |_, _| true)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn solve_on(
    program: &Program,
    ends: &Ends<'_>,
    mut state: SolveState,
    data: &dyn Samples,
    options: &SolveOptions,
    device: Option<&dyn Accelerator>,
    observe: &mut dyn FnMut(&SolveState, usize) -> bool,
) -> Result<Solved> {
    ends.check()?;
    let program = program.of(solving_order(program.graph()))?;
    let (mut sites, mut left) = sites(program.graph());
    if options.units_only {
        sites.retain(|site| {
            let Some(layer) = site.layer.filter(|layer| layer.tied) else { return true };
            let why = format!("its `{}` is used more than once", program.graph().value(layer.weight).name);
            left.push(LeftOut { node: program.graph().node(site.node).name.clone(), why });
            false
        });
    }
    let mut walk = Walk { program: &program, ends, data, options, device, steps: Vec::new() };
    walk.steps = tied::steps(&walk.work(&state.params)?, sites);
    if walk.steps.is_empty() {
        let named: Vec<String> = left.iter().take(3).map(ToString::to_string).collect();
        return Err(Error::Options(format!("no operator of the network can be solved; {}", named.join("; "))));
    }
    left.retain(|left| differ(program.graph(), left, &ends.networks));
    let (each, rounds) = (walk.steps.len(), if walk.steps.iter().any(|s| s.depends) { tied::ROUNDS } else { 0 });
    let all = each * (1 + rounds);
    if state.done > all {
        let done = state.done;
        return Err(Error::Options(format!("{done} sites are said to be solved, and the network has {all}")));
    }
    let mut walked = state.done.max(each) / each;
    let mut tied = walk.through(&mut state.params, state.done.min(each), &mut |params, done| {
        observe(&SolveState { params: params.clone(), done }, all)
    })?;
    let mut answered = if rounds > 0 { walk.answered(&state.params)? } else { 1.0 };
    while walked < 1 + rounds {
        let mut next = state.params.clone();
        tied.solve(&walk, tied::step(walked), &mut next)?;
        let before = walked * each;
        let again = walk.through(&mut next, 0, &mut |_, done| {
            observe(&SolveState { params: state.params.clone(), done: before + done }, all)
        })?;
        let found = walk.answered(&next)?;
        if found > answered {
            (state.params, answered, tied) = (next, found, again);
        }
        walked += 1;
    }
    left.extend(tied.left(&walk, &state.params)?);
    state.done = all;
    observe(&state, all);
    let name = |site: &Site| program.graph().node(site.node).name.clone();
    let sites = walk.steps.iter().flat_map(|step| &step.sites).map(name).collect();
    Ok(Solved { params: state.params, sites, left })
}

/// What a walk of the graph, from its input to its outputs, is made of.
struct Walk<'a> {
    program: &'a Program,
    ends: &'a Ends<'a>,
    data: &'a dyn Samples,
    options: &'a SolveOptions,
    device: Option<&'a dyn Accelerator>,
    steps: Vec<Step>,
}

impl Walk<'_> {
    /// All networks at their inputs.
    fn work(&self, merged: &Params) -> Result<Work<'_>> {
        let work = Work::new(self.program, self.ends, merged, self.data, self.options)?;
        Ok(Work { device: self.device, ..work })
    }

    /// Solves all steps from number `from` on, and adds up the uses of weights that are solved behind the walk. `observe` is
    /// called before every step that is solved, with the network and the number of steps done.
    fn through(
        &self,
        params: &mut Params,
        from: usize,
        observe: &mut dyn FnMut(&Params, usize) -> bool,
    ) -> Result<Tied> {
        let mut work = self.work(params)?;
        let (mut tied, graph) = (Tied::default(), self.program.graph());
        let weights: BTreeSet<ValueId> =
            self.steps.iter().filter(|step| step.depends).filter_map(Step::weight).collect();
        let found = |weight: &ValueId| lookups(graph, *weight).map(|node| (node, *weight)).collect::<Vec<_>>();
        let mut open: BTreeMap<NodeId, ValueId> = weights.iter().flat_map(found).collect();
        for (at, step) in self.steps.iter().enumerate() {
            if at >= from && !observe(params, at) {
                return Err(Error::Stopped);
            }
            let first = step.sites[0].node;
            let ahead = open.split_off(&first);
            for (node, weight) in std::mem::replace(&mut open, ahead) {
                tied.count(&mut work, weight, node)?;
            }
            match &step.sites[..] {
                [site] if step.depends => tied.add(&mut work, site, params)?,
                [site] if at >= from => work.site(site, params)?,
                sites if at >= from => work.together(sites, params)?,
                _ => {}
            }
        }
        Ok(tied)
    }

    /// R² of what a network answers.
    fn answered(&self, params: &Params) -> Result<f64> {
        Ok(profile(self.program, self.ends, params, self.data)?.answered())
    }
}

/// Whether the ends differ in what an operator uses: where they do not, there is nothing to be solved.
fn differ(graph: &Graph, left: &LeftOut, networks: &[&Params]) -> bool {
    let mut nodes = (0..graph.nodes().len()).map(NodeId).filter(|node| graph.node(*node).name == left.node);
    nodes.any(|node| {
        let mut names = parameters_of(graph, node).into_iter().map(|value| graph.value(value).name.as_str());
        names.any(|name| networks.iter().any(|network| network.get(name) != networks[0].get(name)))
    })
}

impl<'a> Work<'a> {
    fn new(
        program: &'a Program,
        ends: &'a Ends<'a>,
        merged: &Params,
        data: &dyn Samples,
        options: &'a SolveOptions,
    ) -> Result<Self> {
        if data.is_empty() {
            let why = "solving needs at least one sample; it has none".to_owned();
            return Err(Error::Data { spec: data.name().to_owned(), why });
        }
        let feeds = Feeds::new(program.graph(), data)?;
        let fill = |samples: Range<usize>, inputs: &mut [&mut [f32]]| feeds.fill(data, samples, inputs);
        let networks = ends.networks.iter().copied().chain([merged]);
        let flats = networks.map(|params| program.flatten(params)).collect::<Result<Vec<_>>>()?;
        let lockstep = Lockstep::new(program, flats.len(), data.len(), options.memory, &fill)?;
        Ok(Self { program, ends, flats, lockstep, options, device: None })
    }

    /// Number of the merged network: the one behind the ends.
    fn merged(&self) -> usize {
        self.ends.networks.len()
    }

    /// Runs all ends until so many steps are done.
    fn run_ends(&mut self, end: usize) {
        let merged = self.merged();
        self.lockstep.run(0..merged, &self.flats[..merged], end);
    }

    /// Runs the merged network until so many steps are done.
    fn run_merged(&mut self, end: usize) {
        let merged = self.merged();
        self.lockstep.run(merged..merged + 1, &self.flats[merged..], end);
    }

    /// The step of a node that is known to run.
    fn step(&self, node: NodeId) -> Result<usize> {
        let name = || self.program.graph().node(node).name.clone();
        self.lockstep.step(node).ok_or_else(|| Error::Options(format!("node `{}` is never run", name())))
    }

    /// Solves a site: the ends run to its target, the merged network to its operator, and its tensors change.
    fn site(&mut self, site: &Site, params: &mut Params) -> Result<()> {
        let (start, end) = (self.step(site.node)?, self.step(site.end)?);
        let measured = site.norm.and_then(|norm| Some((norm, Measure::of(&self.program.graph().node(norm.node).op)?)));
        let levels = match measured {
            Some((norm, measure)) if site.layer.is_some() && !self.options.units_only => {
                self.run_ends(self.step(norm.node)?);
                let gain = match norm.gain {
                    Some(gain) => params.require(&self.program.graph().value(gain).name)?.to_f32()?.into_owned(),
                    None => Vec::new(),
                };
                Some(levels::mixed(self, site, &norm, measure, &gain)?)
            }
            Some(_) | None => None,
        };
        self.run_ends(end + 1);
        self.run_merged(start);
        let mut targets = Targets::new(self, site)?;
        let mut changed = Vec::new();
        let only = self.options.units_only;
        match site.layer {
            Some(layer) if !only => {
                targets.levels = levels;
                changed.extend(layer::solve(self, &[(site, &targets)], &layer, params)?);
            }
            Some(layer) if site.norm.is_none() => changed.extend(layer::scale(self, site, &layer, &targets, params)?),
            Some(_) | None => {}
        }
        if let Some(norm) = site.norm.filter(|norm| only || norm.statistics.is_none() || site.layer.is_none()) {
            if site.layer.is_some() {
                self.refresh(params, &changed)?;
                self.run_merged(self.step(norm.node)?);
            }
            changed.extend(gain::fit(self, site, &norm, &targets, params)?);
        }
        self.refresh(params, &changed)
    }

    /// Solves sites that share their weights and of which none depends on another: the ends run to the last target, the merged
    /// network to the first operator.
    fn together(&mut self, sites: &[Site], params: &mut Params) -> Result<()> {
        let Some(layer) = sites.first().and_then(|site| site.layer) else { return Ok(()) };
        let (mut start, mut end) = (usize::MAX, 0);
        for site in sites {
            (start, end) = (start.min(self.step(site.node)?), end.max(self.step(site.end)?));
        }
        self.run_ends(end + 1);
        self.run_merged(start);
        let targets = sites.iter().map(|site| Targets::new(self, site)).collect::<Result<Vec<_>>>()?;
        let uses: Vec<(&Site, &Targets)> = sites.iter().zip(&targets).collect();
        let changed = layer::solve(self, &uses, &layer, params)?;
        self.refresh(params, &changed)
    }

    /// Takes the merged network's tensors over into its numbers.
    fn refresh(&mut self, params: &Params, changed: &[ValueId]) -> Result<()> {
        let merged = self.merged();
        self.program.refresh(&mut self.flats[merged], params, changed)
    }
}

/// Writes a tensor of the merged network; gives which it is.
///
/// # Errors
/// If its element type does not hold a number.
fn put(graph: &Graph, params: &mut Params, value: ValueId, numbers: &[f64]) -> Result<ValueId> {
    let name = &graph.value(value).name;
    let tensor = params.require(name)?;
    let tensor = Tensor::from_f64_as(tensor.dtype(), tensor.shape(), numbers)?;
    if let Some(at) = tensor.to_f64()?.iter().position(|x| !x.is_finite()) {
        let (dtype, found) = (tensor.dtype(), numbers[at]);
        let why = format!("`{name}`: what was solved for is {found:e}, which {dtype} does not hold; use a wider type");
        return Err(Error::Options(why));
    }
    params.insert(name.clone(), tensor);
    Ok(value)
}
