//! A symmetry is checked, not believed: random elements must leave the network's function as it was.

use onebasin_core::graph::{Graph, ValueId};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, GroupId, Symmetry};
use onebasin_core::{Params, Perm};

use crate::error::{Error, Result};
use crate::exec::{Program, Workspace};
use crate::samples::picked_from;

/// How to check.
///
/// ```
/// use onebasin_nn::CheckOptions;
/// // Rounding grows with depth.
/// let options = CheckOptions { tolerance: 1e-3, ..CheckOptions::default() };
/// assert_eq!((options.seed, options.samples), (0, 4));
/// ```
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Decides the random element and the random inputs.
    pub seed: u64,
    /// Samples in the random batch; the graph's own batch where the graph allows no other.
    pub samples: usize,
    /// The largest relative difference that rounding may make.
    pub tolerance: f64,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { seed: 0, samples: 4, tolerance: 1e-4 }
    }
}

/// What a check found. It displays as a sentence, which names the groups at fault.
///
/// ```
/// use onebasin_nn::Check;
/// let wrong = Check { difference: 0.5, tolerance: 1e-4, faults: vec![("h1".to_owned(), 0.5)] };
/// assert!(!wrong.passes());
/// assert!(wrong.to_string().contains("at fault: `h1`"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// `max |f(θ, x) − f(π(θ), x)| / max |f(θ, x)|` for a random element π of the whole symmetry, of the output where it is
    /// largest.
    pub difference: f64,
    /// What of it rounding may make.
    pub tolerance: f64,
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
        let Self { difference, tolerance, faults } = self;
        if self.passes() {
            return write!(
                f,
                "a random element of the symmetry changes the output by {difference:.1e} of its size, rounding by up to \
                 {tolerance:.0e}"
            );
        }
        let faults = faults.iter().map(|(name, d)| format!("`{name}` ({d:.1e})")).collect::<Vec<_>>().join(", ");
        write!(
            f,
            "the symmetry is wrong: a random element changes the output by {difference:.1e} of its size; at fault: {faults}"
        )
    }
}

/// Moves a network by a random element of a symmetry and compares what both compute on a random batch.
///
/// Formula: `max |f(θ, x) − f(π(θ), x)| / max |f(θ, x)|` over one output, and the largest of that over all
/// outputs, with `x` standard normal, or whole numbers in range where the network takes indices. When that exceeds the
/// tolerance, groups (with their families) are bisected: sets of groups that move the output are halved until single groups
/// remain.
///
/// Cost: two forward passes, and two for every halving.
///
/// # Errors
/// If the network cannot run, a tensor is missing, or an output is not finite.
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
    let checker = Checker::new(program, params, symmetry, options)?;
    let roots = symmetry.roots();
    let difference = checker.difference(&roots)?;
    let mut faults = Vec::new();
    if difference > options.tolerance {
        let mut sets = vec![roots];
        while let Some(set) = sets.pop() {
            let difference = checker.difference(&set)?;
            match &set[..] {
                _ if difference <= options.tolerance => {}
                [] => {}
                [root] => faults.push((symmetry.group(*root).name.clone(), difference)),
                many => {
                    let (left, right) = many.split_at(many.len() / 2);
                    sets.push(right.to_vec());
                    sets.push(left.to_vec());
                }
            }
        }
    }
    Ok(Check { difference, tolerance: options.tolerance, faults })
}

/// A network, a random element and a random batch, and what it answers unmoved.
struct Checker<'a> {
    program: &'a Program,
    params: &'a Params,
    symmetry: &'a Symmetry,
    element: Alignment,
    inputs: Vec<Vec<f32>>,
    batch: usize,
    /// What the network answers, output after output, and the largest number of each.
    expected: Vec<Vec<f32>>,
    scales: Vec<f64>,
}

impl<'a> Checker<'a> {
    /// Draws element and batch, and runs the network as it is.
    ///
    /// # Errors
    /// If it cannot run, or an output is not finite.
    fn new(program: &'a Program, params: &'a Params, symmetry: &'a Symmetry, options: &CheckOptions) -> Result<Self> {
        let own = program.graph();
        let input = own.inputs().next();
        let built = input.and_then(|v| own.shape(v).first().copied()).unwrap_or(1);
        let batched = own.with_batch(options.samples);
        let batch = if batched.is_ok() { options.samples } else { built };
        let graph = batched.unwrap_or_else(|_| own.clone());
        let inputs = random_inputs(&graph, options.seed);
        let element = Alignment::random(symmetry, &mut Stream::new(options.seed, "check/element"));
        let mut checker =
            Self { program, params, symmetry, element, inputs, batch, expected: Vec::new(), scales: Vec::new() };
        checker.expected = checker.run(params)?;
        if let Some(value) = checker.expected.iter().flatten().find(|v| !v.is_finite()) {
            return Err(Error::Options(format!(
                "the network's output on a random batch is {value}; nothing to compare"
            )));
        }
        let largest = |output: &Vec<f32>| output.iter().fold(0.0, |m: f64, v| m.max(f64::from(v.abs())));
        checker.scales = checker.expected.iter().map(largest).collect();
        Ok(checker)
    }

    /// What the network of these tensors answers to the batch, output after output.
    fn run(&self, params: &Params) -> Result<Vec<Vec<f32>>> {
        let mut space = Workspace::inference(self.program, self.batch)?;
        space.inputs().into_iter().zip(&self.inputs).for_each(|(to, input)| to.copy_from_slice(input));
        self.program.forward(&self.program.flatten(params)?, &mut space);
        Ok(space.outputs().into_iter().map(<[f32]>::to_vec).collect())
    }

    /// The difference that the element makes when only these groups and their families move.
    fn difference(&self, roots: &[GroupId]) -> Result<f64> {
        let symmetry = self.symmetry;
        let copies = |id: GroupId| {
            let moves = roots.contains(&symmetry.root(id));
            let still = || vec![Perm::identity(symmetry.group(id).size); symmetry.copies(id)];
            if moves { self.element.copies(id).to_vec() } else { still() }
        };
        let perms = (0..symmetry.groups().len()).map(|id| copies(GroupId(id))).collect();
        let moved = Alignment::new(symmetry, perms)?.apply(symmetry, self.params)?;
        let found = self.run(&moved)?;
        let apart = |(x, y): (&f32, &f32)| f64::from(x - y).abs();
        // A NaN is the largest difference there is.
        let worst = |m: f64, d: f64| if d.is_nan() { f64::INFINITY } else { m.max(d) };
        let output = |((expected, found), scale): ((&Vec<f32>, &Vec<f32>), &f64)| {
            let largest = expected.iter().zip(found).map(apart).fold(0.0, worst);
            if largest == 0.0 { 0.0 } else { largest / scale }
        };
        Ok(self.expected.iter().zip(&found).zip(&self.scales).map(output).fold(0.0, worst))
    }
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
