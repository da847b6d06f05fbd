//! A symmetry is checked, not believed: random elements must leave the network's function as it was.

use std::collections::BTreeSet;

use onebasin_core::graph::op::Binary;
use onebasin_core::graph::{Graph, Op, ValueId, ValueSource};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, GroupId, Symmetry};
use onebasin_core::{Params, Perm, Tensor};

use crate::error::{Error, Result};
use crate::exec::{Program, Workspace};
use crate::samples::picked_from;

/// How to check.
///
/// ```
/// use onebasin_nn::CheckOptions;
/// let options = CheckOptions { samples: 16, ..CheckOptions::default() };
/// assert_eq!((options.seed, options.tolerance), (0, None));
/// ```
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Decides the random element, the random inputs and the random weights.
    pub seed: u64,
    /// Samples in the random batch; the graph's own batch where the graph allows no other.
    pub samples: usize,
    /// The largest relative difference that passes; none is what rounding may make, measured on the network.
    pub tolerance: Option<f64>,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { seed: 0, samples: 4, tolerance: None }
    }
}

/// What a check found. It displays as a sentence, which names the groups at fault.
///
/// ```
/// use onebasin_nn::Check;
/// let wrong = Check { difference: 0.5, tolerance: 1e-4, compared: 40, faults: vec![("h1".to_owned(), 0.5)] };
/// assert!(!wrong.passes());
/// assert!(wrong.to_string().contains("at fault: `h1`"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// `max |f(θ, x) − f(π(θ), x)| / max |f(θ, x)|` of the output where it is largest.
    pub difference: f64,
    /// What of it rounding may make.
    pub tolerance: f64,
    /// Numbers of the outputs that were compared; 0 where nothing moves, so that nothing had to be.
    pub compared: usize,
    /// Root groups that change the function when they alone are moved, with the difference each makes.
    pub faults: Vec<(String, f64)>,
}

impl Check {
    /// Whether the function stayed as it was: the difference is within the tolerance. One that is not a number is not.
    pub fn passes(&self) -> bool {
        self.difference <= self.tolerance
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { difference, tolerance, compared, faults } = self;
        if *compared == 0 && self.passes() {
            return f.write_str("nothing can move, so nothing had to be compared");
        }
        if self.passes() {
            return write!(
                f,
                "a random element of the symmetry changes the output by {difference:.1e} of its size, rounding by up to \
                 {tolerance:.0e}"
            );
        }
        if faults.is_empty() {
            return write!(
                f,
                "the output differs by {difference:.1e} of its size, where rounding makes up to {tolerance:.0e}"
            );
        }
        let faults = faults.iter().map(|(name, d)| format!("`{name}` ({d:.1e})")).collect::<Vec<_>>().join(", ");
        write!(
            f,
            "the symmetry is wrong: a random element changes the output by {difference:.1e} of its size, rounding by up to \
             {tolerance:.0e}; at fault: {faults}"
        )
    }
}

/// Moves a network by a random element of a symmetry and compares what both compute on a random batch, with its own
/// weights and with random ones.
///
/// Formula: `max |f(θ, x) − f(π(θ), x)| / max |f(θ, x)|` over one output, and the largest of that over all outputs, with `x`
/// standard normal, or whole numbers in range where the network takes indices. Random weights (normal, of variance 1/fan-in)
/// let units be seen that the network's own have silenced. The tolerance is what rounding does: the difference that factors
/// `1 ± ε √n` on weights that are summed `n` at a time make, four times, and `16 ε √(number of operators)`. When the
/// difference exceeds it, groups (with their families) are bisected: sets of groups that move the output are halved until
/// single groups remain.
///
/// All groups move together by two random elements, each with a batch of its own. With the first, each group moves alone
/// as well: units that were taken apart may by chance have moved alike, as two pairs always do. Where a network is too large
/// for as many passes, a few sets of groups move, such that of any two groups one moves without the other.
///
/// Entries of outputs that are not finite must be so in both.
///
/// Cost: twelve forward passes, one for every group or for every bit of their number, and two for every halving.
///
/// # Errors
/// If the network cannot run, a tensor is missing, or nothing can be told: no output has a finite number, no output depends
/// on the weights, or rounding alone changes them by a tenth.
///
/// ```
/// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::{CheckOptions, Network, check};
/// let network = Network::new("mlp:8x1", &[4], 3)?;
/// let (program, params) = (Program::new(network.graph()?)?, network.init(0)?);
/// let symmetry = Symmetry::resolve(&network.symmetry()?, &params).map_err(onebasin_core::Error::from)?;
/// assert!(check(&program, &params, &symmetry, &CheckOptions::default())?.passes());
/// // Where the second layer is forgotten, exchanged units change the function.
/// let patterns = [("fc1.weight", "h ."), ("fc1.bias", "h"), ("fc2.weight", ". ."), ("fc2.bias", ".")];
/// let spec = SymmetrySpec::from_patterns(patterns).map_err(onebasin_core::Error::from)?;
/// let wrong = Symmetry::resolve(&spec, &params).map_err(onebasin_core::Error::from)?;
/// assert_eq!(check(&program, &params, &wrong, &CheckOptions::default())?.faults[0].0, "h");
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn check(program: &Program, params: &Params, symmetry: &Symmetry, options: &CheckOptions) -> Result<Check> {
    let roots = symmetry.roots();
    if roots.is_empty() {
        Batch::new(program, options)?;
        return Ok(Check {
            difference: 0.0,
            tolerance: options.tolerance.unwrap_or(0.0),
            compared: 0,
            faults: Vec::new(),
        });
    }
    let (mut worst, mut useless): (Option<Check>, Option<Error>) = (None, None);
    // Groups move alone with weights at which no unit is silent, or else with the network's own.
    let mut alone = true;
    for round in 0..ELEMENTS {
        let options = CheckOptions { seed: options.seed.wrapping_add(round), ..options.clone() };
        let batch = Batch::new(program, &options)?;
        let element = element(symmetry, options.seed);
        let random = random_weights(program, params, options.seed);
        for weights in [&random, params] {
            let checker =
                Checker { symmetry, element: &element, params: weights, run: Run::new(&batch, weights, &options) };
            let mut sets = vec![roots.clone()];
            if alone {
                sets.extend(apart(&roots, program.multiply_adds() * batch.len as f64));
            }
            match checker.check(&sets) {
                Ok(found) => {
                    alone = false;
                    // Tolerances differ: what counts is how much of its own each difference takes up.
                    let share = |c: &Check| if c.tolerance > 0.0 { c.difference / c.tolerance } else { c.difference };
                    if worst.as_ref().is_none_or(|w| w.passes() && (!found.passes() || share(&found) > share(w))) {
                        worst = Some(found);
                    }
                }
                Err(error @ Error::NothingToCompare { .. }) => useless = useless.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        if worst.as_ref().is_some_and(|w| !w.passes()) {
            break;
        }
    }
    worst.ok_or_else(|| useless.unwrap_or_else(|| nothing("no weights were tried")))
}

/// Random elements that are tried, each on a batch of its own.
const ELEMENTS: u64 = 2;

/// Sets of groups, one for every group, or so that of any two groups one is in a set without the other.
fn apart(roots: &[GroupId], multiply_adds: f64) -> Vec<Vec<GroupId>> {
    /// Multiply-adds that may be spent on groups one by one.
    const MOST: f64 = (1_u64 << 34) as f64;
    match roots {
        [] | [_] => Vec::new(),
        _ if multiply_adds * roots.len() as f64 <= MOST => roots.iter().map(|root| vec![*root]).collect(),
        _ => {
            let with = |bit: u32| (0..roots.len()).filter(|k| k >> bit & 1 == 1).map(|k| roots[k]).collect();
            (0..usize::BITS - (roots.len() - 1).leading_zeros()).map(with).collect()
        }
    }
}

/// Whether a network with other tensors computes what it does with these: compares both on a random batch, as [`check`]
/// does, where an alignment has moved them.
///
/// Cost: three forward passes.
///
/// # Errors
/// As [`check`].
///
/// ```
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::{CheckOptions, Network, compare};
/// let network = Network::new("mlp:8x1", &[4], 3)?;
/// let (program, a, b) = (Program::new(network.graph()?)?, network.init(0)?, network.init(1)?);
/// assert!(compare(&program, &a, &a, &CheckOptions::default())?.passes());
/// assert!(!compare(&program, &a, &b, &CheckOptions::default())?.passes());
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn compare(program: &Program, before: &Params, after: &Params, options: &CheckOptions) -> Result<Check> {
    let batch = Batch::new(program, options)?;
    let run = Run::new(&batch, before, options)?;
    let difference = run.difference(after)?;
    Ok(Check { difference, tolerance: run.tolerance, compared: run.compared, faults: Vec::new() })
}

/// Whether a network of one graph computes what a network of another one does: compares both on a random batch, as [`check`]
/// does. Their inputs and outputs have the same shapes.
///
/// Cost: three forward passes.
///
/// # Errors
/// As [`check`], and if inputs or outputs differ in shape.
///
/// ```
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::{CheckOptions, Network, compare_graphs};
/// let [narrow, wide] = ["mlp:8x1", "mlp:12x1"].map(|name| Network::new(name, &[4], 3).unwrap());
/// let [a, b] = [&narrow, &wide].map(|network| Program::new(network.graph().unwrap()).unwrap());
/// let found = compare_graphs((&a, &narrow.init(0)?), (&b, &wide.init(0)?), &CheckOptions::default())?;
/// assert!(!found.passes());
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn compare_graphs(
    before: (&Program, &Params),
    after: (&Program, &Params),
    options: &CheckOptions,
) -> Result<Check> {
    let (batch, other) = (Batch::new(before.0, options)?, Batch::new(after.0, options)?);
    let run = Run::new(&batch, before.1, options)?;
    let found = other.run(after.1)?;
    let sizes = |of: &[Vec<f32>]| of.iter().map(Vec::len).collect::<Vec<_>>();
    let (inputs, outputs) = ((sizes(&batch.inputs), sizes(&other.inputs)), (sizes(&run.expected), sizes(&found)));
    if inputs.0 != inputs.1 || outputs.0 != outputs.1 {
        let why =
            format!("two graphs whose inputs ({inputs:?}) or outputs ({outputs:?}) differ in number are not compared");
        return Err(Error::Options(why));
    }
    let difference = run.difference_of(&found);
    Ok(Check { difference, tolerance: run.tolerance, compared: run.compared, faults: Vec::new() })
}

/// A random element that moves every group of more than one unit.
fn element(symmetry: &Symmetry, seed: u64) -> Alignment {
    let random = Alignment::random(symmetry, &mut Stream::new(seed, "check/element"));
    let moving = |perm: &Perm| {
        let len = perm.len();
        if perm.fixed_points() < len || len < 2 {
            return perm.clone();
        }
        Perm::new((0..len as u32).map(|i| (i + 1) % len as u32).collect()).expect("a rotation is a permutation")
    };
    let copies = |id| random.copies(GroupId(id)).iter().map(moving).collect();
    let perms = (0..symmetry.groups().len()).map(copies).collect();
    Alignment::new(symmetry, perms).expect("every group keeps its size")
}

/// Weights at which no unit is silent: normal numbers of variance 1/fan-in, of variance 1 where a tensor is only added to
/// something, running variances between ½ and 1½. A number that stands alone may be a small one that is added below a root, so it is made smaller or larger by up to a half.
///
/// Numbers come from a ring whose length is prime, so that no two units of a network get the same ones.
fn random_weights(program: &Program, params: &Params, seed: u64) -> Params {
    let graph = program.graph();
    let variances: BTreeSet<&str> =
        graph.statistics().skip(1).step_by(2).map(|v| graph.value(v).name.as_str()).collect();
    let mut stream = Stream::new(seed, "check/weights");
    let ring: Vec<f32> = (0..RING).map(|_| stream.normal() as f32).collect();
    let mut weights = params.clone();
    let added = only_added(graph);
    let is_float = |name: &str| params.get(name).is_none_or(|tensor| tensor.dtype().is_float());
    for param in graph.params().filter(|param| is_float(&param.name)) {
        let scale = if added.contains(param.name.as_str()) { 1.0 } else { (1.0 / fan_in(&param.shape).sqrt()) as f32 };
        let is_variance = variances.contains(param.name.as_str());
        let count = param.shape.iter().product();
        let alone = params.get(&param.name).filter(|_| count == 1).and_then(|tensor| Some(tensor.to_f32().ok()?[0]));
        let value = |v: &f32| match alone.filter(|own| *own != 0.0) {
            _ if is_variance => 0.5 + v.abs().min(1.0),
            Some(own) => own * (0.5 + v.abs().min(1.0)),
            None => scale * v,
        };
        let values = ring.iter().cycle().skip(stream.below(RING)).take(count).map(value).collect();
        if let Ok(tensor) = Tensor::from_f32(&param.shape, values) {
            weights.insert(&param.name, tensor);
        }
    }
    weights
}

/// Parameters that every node which reads them adds to something: tables of positions, not matrices.
fn only_added(graph: &Graph) -> BTreeSet<&str> {
    let mut added: BTreeSet<&str> = BTreeSet::new();
    let mut others: BTreeSet<&str> = BTreeSet::new();
    for node in graph.nodes() {
        let adds = matches!(node.op, Op::Binary(Binary::Add | Binary::Sub));
        let read = node.inputs.iter().map(|v| graph.value(*v)).filter(|v| v.source == ValueSource::Param);
        (if adds { &mut added } else { &mut others }).extend(read.map(|v| v.name.as_str()));
    }
    added.retain(|name| !others.contains(name));
    added
}

/// Numbers of a ring that random weights are taken from.
const RING: usize = 65_537;

/// How many entries of a weight are summed for one result, as far as its shape tells.
fn fan_in(shape: &[usize]) -> f64 {
    shape.iter().skip(1).product::<usize>().max(1) as f64
}

fn nothing(why: &str) -> Error {
    Error::NothingToCompare { why: why.to_owned() }
}

/// A network and a random batch.
struct Batch<'a> {
    program: &'a Program,
    inputs: Vec<Vec<f32>>,
    len: usize,
}

impl<'a> Batch<'a> {
    fn new(program: &'a Program, options: &CheckOptions) -> Result<Self> {
        let own = program.graph();
        let batched = own.with_batch(options.samples);
        let len = if batched.is_ok() { options.samples } else { own.batch() };
        let graph = batched.unwrap_or_else(|_| own.clone());
        program.ensure_memory(len)?;
        Ok(Self { program, inputs: random_inputs(&graph, options.seed), len })
    }

    /// What the network of these tensors answers, output after output.
    fn run(&self, params: &Params) -> Result<Vec<Vec<f32>>> {
        let mut space = Workspace::inference(self.program, self.len)?;
        space.inputs().into_iter().zip(&self.inputs).for_each(|(to, input)| to.copy_from_slice(input));
        self.program.forward(&self.program.flatten(params)?, &mut space);
        Ok(space.outputs().into_iter().map(<[f32]>::to_vec).collect())
    }
}

/// What a network answers, the largest number of each output, and what of it rounding may change.
struct Run<'a> {
    batch: &'a Batch<'a>,
    expected: Vec<Vec<f32>>,
    scales: Vec<f64>,
    compared: usize,
    tolerance: f64,
}

impl<'a> Run<'a> {
    fn new(batch: &'a Batch<'a>, params: &Params, options: &CheckOptions) -> Result<Self> {
        const MOST: f64 = 0.1;
        let expected = batch.run(params)?;
        let finite = || expected.iter().flatten().filter(|v| v.is_finite());
        let compared = finite().count();
        if compared == 0 {
            return Err(nothing("no number that the network answers to a random batch is finite"));
        }
        let largest = |output: &Vec<f32>| {
            output.iter().filter(|v| v.is_finite()).fold(0.0, |m: f64, v| m.max(f64::from(v.abs())))
        };
        let scales: Vec<f64> = expected.iter().map(largest).collect();
        let mut run = Self { batch, expected, scales, compared, tolerance: 0.0 };
        let disturbed = run.difference(&disturbed(params, options.seed)?)?;
        if disturbed == 0.0 {
            return Err(nothing("what the network answers does not depend on its weights"));
        }
        let operators = batch.program.graph().nodes().len() as f64;
        let measured = 16.0 * f64::from(f32::EPSILON) * operators.sqrt() + 4.0 * disturbed;
        if measured >= MOST {
            let why = format!("rounding alone may change what the network answers by {measured:.1e} of its size");
            return Err(Error::NothingToCompare { why });
        }
        run.tolerance = options.tolerance.unwrap_or(measured);
        Ok(run)
    }

    /// How far the network with other tensors answers otherwise.
    fn difference(&self, params: &Params) -> Result<f64> {
        Ok(self.difference_of(&self.batch.run(params)?))
    }

    /// How far these answers lie from the expected ones.
    fn difference_of(&self, found: &[Vec<f32>]) -> f64 {
        let apart = |(x, y): (&f32, &f32)| match (x.is_finite(), y.is_finite()) {
            (true, true) => f64::from(x - y).abs(),
            (false, false) if x == y || (x.is_nan() && y.is_nan()) => 0.0,
            (true | false, true | false) => f64::INFINITY,
        };
        let output = |((expected, found), scale): ((&Vec<f32>, &Vec<f32>), &f64)| {
            let largest = expected.iter().zip(found).map(apart).fold(0.0, f64::max);
            if largest == 0.0 { 0.0 } else { largest / scale }
        };
        self.expected.iter().zip(found).zip(&self.scales).map(output).fold(0.0, f64::max)
    }
}

/// Every weight times `1 ± ε √n`, where `n` of them are summed: as if the sums had been rounded. What that would take beyond
/// all numbers, as the number that a mask puts in the place of −∞, stays.
fn disturbed(params: &Params, seed: u64) -> Result<Params> {
    let mut stream = Stream::new(seed, "check/rounding");
    let signs: Vec<f32> = (0..RING).map(|_| if stream.bits() & 1 == 0 { 1.0 } else { -1.0 }).collect();
    let mut other = params.clone();
    for (name, tensor) in params.iter().filter(|(_, t)| t.dtype().is_float()) {
        let step = f32::EPSILON * fan_in(tensor.shape()).sqrt() as f32;
        let signs = signs.iter().cycle().skip(stream.below(RING));
        let moved = |(v, sign): (&f32, &f32)| Some(v * (1.0 + sign * step)).filter(|w| w.is_finite()).unwrap_or(*v);
        let values = tensor.to_f32()?.iter().zip(signs).map(moved).collect();
        other.insert(name, Tensor::from_f32(tensor.shape(), values)?);
    }
    Ok(other)
}

/// Weights, a random element, and what the network answers with them unmoved.
struct Checker<'a> {
    symmetry: &'a Symmetry,
    element: &'a Alignment,
    params: &'a Params,
    run: Result<Run<'a>>,
}

impl Checker<'_> {
    /// Moves these sets of groups, one after the other, until one changes what the network answers.
    fn check(self, sets: &[Vec<GroupId>]) -> Result<Check> {
        let Self { symmetry, element, params, run } = self;
        let run = run?;
        let difference = |roots: &[GroupId]| run.difference(&moved(symmetry, element, params, roots)?);
        let tolerance = run.tolerance;
        let (mut worst, mut faults) = (0.0_f64, Vec::new());
        for set in sets {
            let found = difference(set)?;
            worst = worst.max(found);
            if found <= tolerance {
                continue;
            }
            let mut sets = vec![set.clone()];
            while let Some(set) = sets.pop() {
                let difference = difference(&set)?;
                match &set[..] {
                    _ if difference <= tolerance => {}
                    [] => {}
                    [root] => faults.push((symmetry.group(*root).name.clone(), difference)),
                    many => {
                        let (left, right) = many.split_at(many.len() / 2);
                        sets.push(right.to_vec());
                        sets.push(left.to_vec());
                    }
                }
            }
            break;
        }
        Ok(Check { difference: worst, tolerance, compared: run.compared, faults })
    }
}

/// The tensors when only these groups and their families move.
fn moved(symmetry: &Symmetry, element: &Alignment, params: &Params, roots: &[GroupId]) -> Result<Params> {
    let copies = |id: GroupId| {
        let still = || vec![Perm::identity(symmetry.group(id).size); symmetry.copies(id)];
        if roots.contains(&symmetry.root(id)) { element.copies(id).to_vec() } else { still() }
    };
    let perms = (0..symmetry.groups().len()).map(|id| copies(GroupId(id))).collect();
    Ok(Alignment::new(symmetry, perms)?.apply(symmetry, params)?)
}

/// A random batch for every input: whole numbers where a node picks by them, normal numbers elsewhere.
fn random_inputs(graph: &Graph, seed: u64) -> Vec<Vec<f32>> {
    let mut stream = Stream::new(seed, "check/inputs");
    let batch = |input: ValueId| {
        let count = graph.shape(input).iter().product::<usize>();
        match picked_from(graph, input) {
            Some(n) if n > 0 => (0..count).map(|_| stream.below(n) as f32).collect(),
            _ => (0..count).map(|_| stream.normal() as f32).collect(),
        }
    };
    graph.inputs().map(batch).collect()
}
