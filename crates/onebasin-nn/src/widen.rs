//! Merging with more units than an end has: pairs that correspond least stand side by side.

use std::collections::{BTreeMap, BTreeSet};

use onebasin_core::Params;
use onebasin_core::graph::Graph;
use onebasin_core::matching::{ActivationKind, Fixed, MatchOptions, ascend};
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::solve::{Site, sites, solving_order};
use onebasin_core::symmetry::{Alignment, GroupId};
use onebasin_core::widen::{End, Kept, Wide, Widener};
use serde::{Deserialize, Serialize};

use crate::activations::{ActivationOptions, activation_similarity};
use crate::check::{Check, CheckOptions, compare_graphs};
use crate::error::{Error, Result};
use crate::exec::{Lockstep, Program};
use crate::samples::{Feeds, Samples};
use crate::solve::{Ends, SolveOptions, solve};

/// How wide, and how to solve.
///
/// ```
/// use onebasin_nn::WidenOptions;
/// let options = WidenOptions { width: 1.25, ..WidenOptions::default() };
/// assert_eq!(options.lambda, 0.5);
/// assert!(WidenOptions { width: f64::NAN, ..options }.check().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WidenOptions {
    /// Units of the result, in units of an end: from 1, where all pairs are averaged, to 2, where none is.
    pub width: f64,
    /// How much averaged units are those of B, between 0 and 1.
    pub lambda: f64,
    /// How the result is solved.
    pub solve: SolveOptions,
}

impl Default for WidenOptions {
    fn default() -> Self {
        Self { width: 1.0, lambda: 0.5, solve: SolveOptions::default() }
    }
}

impl WidenOptions {
    /// Passes only if every number is what it may be.
    ///
    /// # Errors
    /// [`Error::Options`] names the first that is not.
    pub fn check(&self) -> Result<()> {
        let fail = |what, found: f64| Err(Error::Options(format!("{what}, found {found}")));
        if !(1.0..=2.0).contains(&self.width) {
            return fail("a width is a number from 1 (as wide as an end) to 2 (as wide as both)", self.width);
        }
        if !(self.lambda > 0.0 && self.lambda < 1.0) {
            return fail("a wide network lies between its ends: λ is above 0 and below 1", self.lambda);
        }
        Ok(())
    }
}

/// A merged network with a graph of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Widened {
    /// Its graph.
    pub graph: Graph,
    /// Its tensors.
    pub params: Params,
    /// Number of units of every group that got more, by name.
    pub sizes: BTreeMap<String, usize>,
    /// Groups that keep their width, and why.
    pub kept: Vec<Kept>,
    /// How far each end, embedded in the wide graph, is from what it computed before; none at width 1.
    pub embedded: Option<[Check; 2]>,
}

/// Merges two aligned networks into a wider one: in every group the pairs of units that correspond least stand side by
/// side, all others are averaged, and every layer is solved ([`solve()`]).
///
/// Formula: of a group of `n` units the `round((width − 1) n)` pairs of lowest correlation ([`unit_correlations`]) have a
/// place for each end's unit. Both ends are embedded in the wide graph ([`Wide::embed`]) and compute there what they did,
/// which is tested; the result starts from [`Wide::mix`] and is solved for the shares `[1 − λ, λ]` of averaged units and
/// `[1, 0]`, `[0, 1]` of those kept apart. Where channels are padded on the way from one stage of a residual stream to the
/// next, the stages share numbers, and so do their alignments; in the wider graph they do not, and each is aligned again, by
/// the correlation of activations.
///
/// `graph` is that of both ends, `program` of the same graph gives the memory that may be taken. `observe` is told sites
/// done of all; when it returns false the work is given up. With `width` 1 it is [`solve()`] of the average, bit for bit,
/// in the graph as it came.
///
/// Cost: that of the solve of the wide network, whose weights grow with the square of its width, and one pass of both ends.
///
/// # Errors
/// If an option is out of range, no group can be widened, an embedded end computes something else, or as [`solve()`].
///
/// Source: PLeaS, arXiv 2407.02447; ZipIt!, arXiv 2305.03053; Partial Fusion, arXiv 2605.22350. Embedded ends are ours.
///
/// ```
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::samples::synthetic;
/// use onebasin_nn::{Network, WidenOptions, widen};
/// let network = Network::new("mlp:16x2", &[8], 3)?;
/// let (graph, a, b) = (network.graph()?, network.init(0)?, network.init(1)?);
/// let data = synthetic(&graph, 200, 0)?;
/// let options = WidenOptions { width: 1.5, ..WidenOptions::default() };
/// let found = widen(&Program::new(graph)?, [&a, &b], &data, &options, &mut |_, _| true)?;
/// assert_eq!(found.sizes, [("fc1".to_owned(), 24), ("fc2".to_owned(), 24)].into());
/// assert_eq!(found.params.require("fc2.weight")?.shape(), [24, 24]);
/// assert!(found.embedded.iter().flatten().all(|end| end.passes()));
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn widen(
    program: &Program,
    ends: [&Params; 2],
    data: &dyn Samples,
    options: &WidenOptions,
    observe: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Widened> {
    options.check()?;
    let widener = Widener::new(program.graph())?;
    if options.width == 1.0 {
        let average = merge(ends[0], ends[1], options.lambda, Interpolation::Lerp)?;
        let between = Ends::pair(ends, options.lambda);
        let params = solve(program, &between, &average, data, &options.solve, observe)?.params;
        let (graph, kept) = (program.graph().clone(), widener.kept().to_vec());
        return Ok(Widened { graph, params, sizes: BTreeMap::new(), kept, embedded: None });
    }
    let loose = program.of(widener.graph().clone())?;
    let mut loosened = [widener.loosened(ends[0])?, widener.loosened(ends[1])?];
    if let Some(alignment) = stages(&loose, &widener, [&loosened[0], &loosened[1]], data, observe)? {
        loosened[1] = alignment.apply(widener.symmetry(), &loosened[1])?;
    }
    let correlations = unit_correlations(&loose, &widener, [&loosened[0], &loosened[1]], data)?;
    let mut apart = BTreeMap::new();
    for group in widener.free() {
        let Some(correlation) = correlations.get(&group) else { continue };
        let count = ((options.width - 1.0) * correlation.len() as f64).round() as usize;
        apart.insert(group, lowest(correlation, count));
    }
    if apart.values().all(Vec::is_empty) {
        let kept: Vec<String> = widener.kept().iter().take(3).map(ToString::to_string).collect();
        let why = if kept.is_empty() { "its groups are too small".to_owned() } else { kept.join("; ") };
        return Err(Error::Options(format!("no group of units gets more at a width of {}: {why}", options.width)));
    }
    let wide = Wide::new(&widener, apart)?;
    let wide_program = program.of(wide.graph().clone())?;
    let [a, b] = [wide.embed(&loosened[0], End::A)?, wide.embed(&loosened[1], End::B)?];
    let check = |before: &Params, after: &Params, end: &str| -> Result<Check> {
        let found = compare_graphs((program, before), (&wide_program, after), &CheckOptions::default())?;
        if found.passes() {
            return Ok(found);
        }
        Err(Error::Options(format!("{end}, embedded in a wider graph, computes something else: {found}")))
    };
    let embedded = [check(ends[0], &a, "A")?, check(ends[1], &b, "B")?];
    let mixed = wide.mix([&a, &b], options.lambda)?;
    let mut between = Ends::pair([&a, &b], options.lambda);
    for site in sites(&solving_order(wide.graph())).0 {
        if let Some(shares) = wide.shares(site.target, site.axis, options.lambda)? {
            between.by_unit.insert(site.target, shares.to_vec());
        }
    }
    let solved = solve(&wide_program, &between, &mixed, data, &options.solve, observe)?;
    let (sizes, kept) = (wide.sizes(), widener.kept().to_vec());
    Ok(Widened { graph: wide.graph().clone(), params: solved.params, sizes, kept, embedded: Some(embedded) })
}

/// Aligns the stages of residual streams that paddings tie by number, which an alignment of the graph as it came cannot: each
/// by the correlation of its own units. All other groups stay; none where nothing is padded.
fn stages(
    program: &Program,
    widener: &Widener,
    ends: [&Params; 2],
    data: &dyn Samples,
    observe: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Option<Alignment>> {
    let (symmetry, graph) = (widener.symmetry(), widener.graph());
    let mut tied = BTreeSet::new();
    for node in widener.shortcuts() {
        let name = &graph.value(graph.node(node).inputs[1]).name;
        let digits = symmetry.tensor(name)?.axes.iter().flat_map(|axis| &axis.occurrences).flat_map(|o| &o.digits);
        tied.extend(digits.filter_map(|digit| digit.group));
    }
    if tied.is_empty() {
        return Ok(None);
    }
    let (options, all) = (ActivationOptions { kind: ActivationKind::Pearson }, sites(graph).0.len());
    let seen = activation_similarity(program, ends, symmetry, data, &options, &mut |_| observe(0, all))?;
    let source = Fixed::new(symmetry, symmetry.roots().into_iter().map(|root| (root, seen.grams(root).to_vec())));
    let still = Alignment::identity(symmetry);
    let found = ascend(&source, &still, &MatchOptions::default(), &mut |_| true)?.alignment;
    let perms = (0..symmetry.groups().len()).map(GroupId);
    let of = |group: GroupId| if tied.contains(&group) { &found } else { &still }.copies(group).to_vec();
    Ok(Some(Alignment::new(symmetry, perms.map(of).collect())?))
}

/// Positions of the lowest numbers, ascending; of equal ones the first.
fn lowest(numbers: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*a].total_cmp(&numbers[*b]));
    order.truncate(count);
    order.sort_unstable();
    order
}

/// How alike the units of two aligned networks are: for every group that can be widened, the correlation of unit `i` of A
/// with unit `i` of B.
///
/// Formula: `cov(a_i, b_i) / (σ_a σ_b)` of what a site gives before its rectifier, over samples and positions; the mean over
/// the sites that compute the group, which for a residual stream is every block. 1 where both units are still, 0 where one
/// is.
///
/// `program` runs [`Widener::graph`], and `ends` are networks of it. Cost: a forward pass of both, whose values wait for all
/// samples, in the memory that the program may take.
///
/// # Errors
/// If a tensor is missing or does not fit, there are no samples or they do not fit, or activations are not finite.
///
/// ```
/// use onebasin_core::widen::Widener;
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::samples::synthetic;
/// use onebasin_nn::{Network, unit_correlations};
/// let network = Network::new("mlp:16x2", &[8], 3)?;
/// let (graph, a) = (network.graph()?, network.init(0)?);
/// let (data, widener) = (synthetic(&graph, 50, 0)?, Widener::new(&graph)?);
/// let found = unit_correlations(&Program::new(graph)?, &widener, [&a, &a], &data)?;
/// assert!(found.values().flatten().all(|r| (r - 1.0).abs() < 1e-6));
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn unit_correlations(
    program: &Program,
    widener: &Widener,
    ends: [&Params; 2],
    data: &dyn Samples,
) -> Result<BTreeMap<GroupId, Vec<f64>>> {
    if data.is_empty() {
        let why = "correlations need at least one sample; it has none".to_owned();
        return Err(Error::Data { spec: data.name().to_owned(), why });
    }
    let program = program.of(solving_order(program.graph()))?;
    let graph = program.graph();
    let skipped: Vec<&str> = widener.shortcuts().map(|node| widener.graph().node(node).name.as_str()).collect();
    let shortcut = |site: &Site| {
        let inputs = &graph.node(site.node).inputs;
        let node = widener.graph().nodes().iter().find(|node| node.inputs == *inputs);
        node.is_some_and(|node| skipped.contains(&node.name.as_str()))
    };
    let feeds = Feeds::new(graph, data)?;
    let fill = |samples: std::ops::Range<usize>, inputs: &mut [&mut [f32]]| feeds.fill(data, samples, inputs);
    let flats = [program.flatten(ends[0])?, program.flatten(ends[1])?];
    let mut lockstep = Lockstep::new(&program, 2, data.len(), usize::MAX, &fill)?;
    let mut found: BTreeMap<GroupId, Vec<(f64, f64)>> = BTreeMap::new();
    for site in sites(graph).0.iter().filter(|site| !shortcut(site)) {
        let along = widener.is_free_along(site.target, site.axis);
        let Some(pattern) = widener.pattern(site.target).filter(|_| along) else { continue };
        let Some(end) = lockstep.step(site.end) else { continue };
        lockstep.run(0..2, &flats, end + 1);
        let value = graph.value(site.target);
        let layout = widener.symmetry().layout(&value.name, pattern, &value.shape);
        let layout = layout.map_err(onebasin_core::Error::from)?;
        let correlations = correlations(&lockstep, site, &value.name)?;
        for occurrence in &layout.axes[site.axis].occurrences {
            occurrence.for_each(|digits| {
                let at = correlations[occurrence.position(digits)];
                for (digit, unit) in occurrence.digits.iter().zip(digits) {
                    if let Some(group) = digit.group {
                        let units = found.entry(group).or_insert_with(|| vec![(0.0, 0.0); digit.len]);
                        units[*unit].0 += at;
                        units[*unit].1 += 1.0;
                    }
                }
            });
        }
    }
    let mean = |(sum, count): &(f64, f64)| sum / count.max(1.0);
    let free: Vec<GroupId> = widener.free().collect();
    let means = found.iter().filter(|(group, _)| free.contains(group));
    Ok(means.map(|(group, units)| (*group, units.iter().map(mean).collect())).collect())
}

/// Of a unit: the number of its rows, and sums over them of A, of B, of their squares and of their product.
type Sums = [f64; 6];

/// The correlation of every unit of a site's target, where both networks stand.
fn correlations(lockstep: &Lockstep<'_>, site: &Site, name: &str) -> Result<Vec<f64>> {
    let all = lockstep.add_up(|shard| {
        let view = |network| lockstep.view(shard, network, site.target, site.axis);
        let (a, b) = (view(0)?, view(1)?);
        let mut sums: Vec<Sums> = vec![[0.0; 6]; a.units()];
        for position in 0..a.positions() {
            for ((x, y), sums) in a.row(position).zip(b.row(position)).zip(&mut sums) {
                let (x, y) = (f64::from(x), f64::from(y));
                let terms = [1.0, x, y, x * x, y * y, x * y];
                sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
            }
        }
        Ok(sums)
    })?;
    if !all.iter().flatten().all(|sum| sum.is_finite()) {
        return Err(Error::Options(format!("value `{name}`: activations are not finite; nothing to compare")));
    }
    Ok(all.iter().map(correlation).collect())
}

fn correlation([rows, a, b, a_squares, b_squares, products]: &Sums) -> f64 {
    /// Share of its mean square up to which the variance of a unit is rounding.
    const STILL: f64 = 1e-9;
    let spread = |sum: f64, squares: f64| {
        let variance = squares - sum * sum / rows;
        if variance > STILL * squares { variance.sqrt() } else { 0.0 }
    };
    match (spread(*a, *a_squares), spread(*b, *b_squares)) {
        (0.0, 0.0) => 1.0,
        (0.0, _) | (_, 0.0) => 0.0,
        (x, y) => (products - a * b / rows) / (x * y),
    }
}
