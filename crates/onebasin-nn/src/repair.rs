//! REPAIR: the activations of a merged network get the mean and spread they have between its ends.

use std::ops::Range;

use onebasin_core::graph::{Graph, Node, NodeId, Op, Value, ValueId, ValueSource};
use onebasin_core::repair::{Repaired, Site, check_lambda, factors, is_own, sites};
use onebasin_core::{Params, Tensor};

use crate::error::{Error, Result};
use crate::exec::{Program, Stages, Tap};
use crate::ops::batch_norm::Moments;
use crate::samples::{Feeds, Samples};

/// How to repair.
///
/// ```
/// use onebasin_nn::RepairOptions;
/// // A quarter of the way to B, without keeping activations between sites.
/// let options = RepairOptions { lambda: 0.25, memory: 0 };
/// assert_ne!(options, RepairOptions::default());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RepairOptions {
    /// Where the merged network lies, from A (0) to B (1).
    pub lambda: f64,
    /// Bytes of activations that may be kept between sites; samples beyond them are run again from the input for every
    /// site.
    pub memory: usize,
}

impl Default for RepairOptions {
    fn default() -> Self {
        Self { lambda: 0.5, memory: 1 << 30 }
    }
}

/// Mean and standard deviation of every unit.
#[derive(Debug)]
struct UnitSpread {
    mean: Vec<f64>,
    std: Vec<f64>,
}

/// A node to stop at in the merged network.
struct Stop {
    node: NodeId,
    tap: Tap,
    /// Index of its site, if it is one.
    site: Option<usize>,
}

/// Repairs a merged network: at every site ([`onebasin_core::repair::sites`]) each unit gets the mean and standard deviation
/// over `data` that it has between the ends.
///
/// Formula: with `μ` and `σ` of the merged network, `μ* = (1 − λ) μ_A + λ μ_B`, `σ*` likewise and `r = σ*/σ`, the unit's
/// output `y` becomes `r (y − μ) + μ*`: its gain or row of weights is multiplied by `r`, its bias becomes
/// `r (bias − μ) + μ*`. Where there is no bias, `y` becomes `r y`. Means are over samples and all other positions, sums
/// are f64. Units without spread in one of the networks stay as they are.
///
/// Sites are corrected one after the other, and each is measured behind those corrected before. On the way the running
/// statistics of every BatchNorm are set to the mean and the variance (divisor `n − 1`) of what reaches it there, so
/// that they are right behind the corrections; those of channels without spread, and statistics that two BatchNorms
/// share, stay. The ends are run with the statistics they have. All else, element types included, stays. What is an end
/// already keeps its function up to rounding.
///
/// This is no promise of accuracy: where units of A and B have no counterpart in each other, it amplifies what is noise.
/// Compare before and after on data held out.
///
/// Cost: a forward pass of each end, and at most two of the merged network, over `data`: samples wait at every site for
/// each other. For those that do not fit in `memory` it is instead one pass of the part before, for every site.
///
/// # Errors
/// If a tensor is missing or does not fit, λ lies outside [0, 1], there are no samples or they do not fit, or activations
/// are not finite.
///
/// Source: Jordan et al. 2022, "REPAIR: REnormalizing Permuted Activations for Interpolation Repair".
///
/// ```
/// use onebasin_core::merge::{Interpolation, merge};
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::samples::synthetic;
/// use onebasin_nn::{Network, RepairOptions, repair};
/// let network = Network::new("mlp:8x2", &[4], 3)?;
/// let (graph, a, b) = (network.graph()?, network.init(0)?, network.init(1)?);
/// let data = synthetic(&graph, 100, 0)?;
/// let merged = merge(&a, &b, 0.5, Interpolation::Lerp)?;
/// let repaired = repair(&Program::new(graph)?, [&a, &b], &merged, &data, &RepairOptions::default())?;
/// let sites: Vec<&str> = repaired.corrections.iter().map(|c| c.node.as_str()).collect();
/// assert_eq!(sites, ["fc1", "fc2"]);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn repair(
    program: &Program,
    ends: [&Params; 2],
    merged: &Params,
    data: &dyn Samples,
    options: &RepairOptions,
) -> Result<Repaired> {
    check_lambda(options.lambda)?;
    let graph = program.graph();
    if data.is_empty() {
        let why = "repair needs at least one sample; it has none".to_owned();
        return Err(Error::Data { spec: data.name().to_owned(), why });
    }
    let feeds = Feeds::new(graph, data)?;
    let fill = |samples: Range<usize>, inputs: &mut [&mut [f32]]| feeds.fill(data, samples, inputs);
    let mut stages = Stages::new(program, data.len(), options.memory, &fill)?;
    let mut sites = sites(graph);
    let stops = stops(graph, &stages, &mut sites)?;

    let taps: Vec<Tap> = stops.iter().filter(|s| s.site.is_some()).map(|s| s.tap.clone()).collect();
    let targets = |params: &Params, who: &str| -> Result<Vec<UnitSpread>> {
        let flat = program.flatten(params)?;
        let moments = Stages::new(program, data.len(), 0, &fill)?.all_moments(&flat, &taps)?;
        let spread = |(site, moments): (&Site, &Moments)| UnitSpread::of(graph, site.node, params, moments, who);
        sites.iter().zip(&moments).map(spread).collect()
    };
    let targets = [targets(ends[0], "A")?, targets(ends[1], "B")?];

    let mut repaired = Repaired { params: merged.clone(), corrections: Vec::new() };
    let mut flat = program.flatten(merged)?;
    for Stop { node, tap, site } in stops {
        let moments = stages.moments(&flat, &tap)?;
        let mut changed = measure(graph, node, &mut repaired.params, &moments)?;
        if let Some(index) = site {
            let site = &sites[index];
            let found = UnitSpread::of(graph, node, &repaired.params, &moments, "the merged network")?;
            let [a, b] = [&targets[0][index], &targets[1][index]];
            let factors = factors([&a.std, &b.std], &found.std, options.lambda, |unit| found.mean[unit].abs());
            let mean = |unit: usize| (1.0 - options.lambda) * a.mean[unit] + options.lambda * b.mean[unit];
            let shift = |(unit, r): (usize, &Option<f64>)| r.map_or(0.0, |r| mean(unit) - r * found.mean[unit]);
            let shift: Vec<f64> = factors.iter().enumerate().map(shift).collect();
            let scale: Vec<f64> = factors.iter().map(|r| r.unwrap_or(1.0)).collect();
            site.correct(graph, &mut repaired.params, &scale, Some(&shift))?;
            repaired.corrections.push(site.correction(graph, &factors, true));
            changed.extend([Some(site.scale), site.shift].into_iter().flatten());
        }
        program.refresh(&mut flat, &repaired.params, &changed)?;
    }
    Ok(repaired)
}

/// Where to stop, in running order: at every site, and at every other BatchNorm with statistics of its own. Sites that no
/// output depends on are dropped.
fn stops(graph: &Graph, stages: &Stages<'_>, sites: &mut Vec<Site>) -> Result<Vec<Stop>> {
    let mut taps = Vec::new();
    for node in (0..graph.nodes().len()).map(NodeId) {
        let site = sites.iter().position(|s| s.node == node);
        if site.is_some() || statistics(graph, node).is_some() {
            let axes = site.map_or(1..2, |k| sites[k].axes.clone());
            taps.extend(stages.tap(node, axes)?.map(|tap| (node, tap)));
        }
    }
    sites.retain(|site| taps.iter().any(|(node, _)| *node == site.node));
    let stop = |(node, tap)| Stop { node, tap, site: sites.iter().position(|s| s.node == node) };
    Ok(taps.into_iter().map(stop).collect())
}

/// Running mean and variance of a node that is a BatchNorm and shares them with none.
fn statistics(graph: &Graph, node: NodeId) -> Option<[ValueId; 2]> {
    let Node { op: Op::BatchNorm { .. }, inputs, .. } = graph.node(node) else { return None };
    let &[_, _, _, mean, variance] = &inputs[..] else { return None };
    (is_own(graph, mean) && is_own(graph, variance)).then_some([mean, variance])
}

/// Sets a BatchNorm's running statistics to what was measured, but for channels without spread; gives what changed.
fn measure(graph: &Graph, node: NodeId, params: &mut Params, moments: &Moments) -> Result<Vec<ValueId>> {
    let Some(statistics) = statistics(graph, node) else { return Ok(Vec::new()) };
    let std = deviations(moments);
    let moves = factors([&std, &std], &std, 0.0, |c| moments.mean[c].abs());
    for (value, found) in statistics.iter().zip([moments.mean.clone(), moments.unbiased_variance()]) {
        let name = &graph.value(*value).name;
        let tensor = params.require(name)?;
        let old = tensor.to_f64()?;
        let new = moves.iter().zip(found).zip(old.iter());
        let new = new.map(|((moves, new), old)| if moves.is_some() { new } else { *old }).collect::<Vec<_>>();
        let tensor = Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &new)?;
        params.insert(name.clone(), tensor);
    }
    Ok(statistics.to_vec())
}

/// Standard deviations, with divisor `n`.
fn deviations(moments: &Moments) -> Vec<f64> {
    moments.squares.iter().map(|s| (s / moments.count.max(1.0)).sqrt()).collect()
}

impl UnitSpread {
    /// Of a node's output: what was measured there, or what its statistics make of what goes into it, for a BatchNorm.
    fn of(graph: &Graph, node: NodeId, params: &Params, moments: &Moments, who: &str) -> Result<Self> {
        let mut spread = Self { mean: moments.mean.clone(), std: deviations(moments) };
        let node = graph.node(node);
        if let (Op::BatchNorm { epsilon }, [_, affine @ ..]) = (&node.op, &node.inputs[..]) {
            let values = |value: &ValueId| {
                let Value { name, source, .. } = graph.value(*value);
                let tensor = if let ValueSource::Constant(tensor) = source { tensor } else { params.require(name)? };
                Ok(tensor.to_f64()?.into_owned())
            };
            let affine = affine.iter().map(values).collect::<Result<Vec<_>>>()?;
            for c in 0..spread.mean.len() {
                let factor = affine[0][c] / (affine[3][c] + epsilon).sqrt();
                spread.mean[c] = factor * (spread.mean[c] - affine[2][c]) + affine[1][c];
                spread.std[c] *= factor.abs();
            }
        }
        match spread.mean.iter().zip(&spread.std).position(|(m, s)| !(m.is_finite() && s.is_finite())) {
            None => Ok(spread),
            Some(unit) => Err(Error::Options(format!(
                "node `{}`: the activations of unit {unit} are not finite in {who}; nothing to repair by",
                node.name
            ))),
        }
    }
}
