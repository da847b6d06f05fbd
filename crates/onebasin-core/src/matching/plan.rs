//! What matches cost, told from shapes before any of them runs.
//!
//! Seconds are those of one core of a fixed machine ([`SPEEDS`]), never of the one that runs: what is chosen by them is then
//! chosen everywhere, and on a busy machine too.

use serde::{Deserialize, Serialize};

use super::portfolio::Schedule;
use super::start::Start;
use super::weight::Weights;
use crate::error::Result;

/// What something is predicted to cost.
///
/// ```
/// use onebasin_core::matching::Cost;
/// let cost = Cost { flops: 9e10, memory: 1 << 20, seconds: 1.5 };
/// assert_eq!(cost.to_string(), "90.0 GFLOP, 1.0 MiB, 1.50 s");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Multiplications and additions of matrix products.
    pub flops: f64,
    /// Bytes of memory at a time, the two networks not counted.
    pub memory: u64,
    /// Seconds of one core of the machine that the speeds here were measured on.
    pub seconds: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { flops, memory, seconds } = self;
        write!(f, "{:.1} GFLOP, {:.1} MiB, {seconds:.2} s", flops / 1e9, *memory as f64 / 1_048_576.0)
    }
}

/// What matches of a pair may cost together.
///
/// ```
/// use onebasin_core::matching::Budget;
/// assert!(Budget { seconds: 60.0, memory: 4 << 30 }.memory > Budget::default().memory / 4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Predicted seconds of all matches together.
    pub seconds: f64,
    /// Predicted bytes of any of them.
    pub memory: u64,
}

impl Default for Budget {
    /// A minute, and 4 GiB.
    fn default() -> Self {
        Self { seconds: 60.0, memory: 4 << 30 }
    }
}

/// A match that could be run, what it is predicted to cost, and whether that fits.
///
/// ```
/// use onebasin_core::matching::{Budget, PortfolioOptions, Weights, plan};
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
/// let options = PortfolioOptions { budget: Some(Budget::default()), ..PortfolioOptions::default() };
/// let candidates = plan(&Weights::new(&symmetry, &a, &b)?, &options)?;
/// assert!(candidates.len() == 7 && candidates.iter().all(|c| c.fits));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// How it goes about it.
    pub schedule: Schedule,
    /// Where it starts.
    pub start: Start,
    /// The seed of its sweeps' order.
    pub seed: u64,
    /// What it is predicted to cost.
    pub cost: Cost,
    /// Whether it fits the budget beside those before it; the first one always does, since one match there must be.
    pub fits: bool,
}

/// How fast one core of the machine of `docs/results/performance.md` is.
struct Speeds {
    /// Multiplications and additions a second, in f32; half of that in f64.
    products: f64,
    /// Seconds for an entry of a similarity that is assigned.
    assigned: f64,
    /// Seconds for an entry of a tensor that is read, permuted.
    read: f64,
    /// Seconds for an entry of a slice that is sorted.
    sorted: f64,
}

const SPEEDS: Speeds = Speeds { products: 8e10, assigned: 5e-9, read: 3e-9, sorted: 1.2e-8 };

/// Full sweeps that an ascent takes, by its products: later ones find most Grams unchanged.
const SWEEPS: f64 = 3.0;
/// Sweeps that it takes by its assignments.
const ASSIGNED: f64 = 6.0;
/// Iterations of a joint climb; an assignment in one takes twice as long as in a sweep, since nothing is known of it.
const ITERATIONS: f64 = 18.0;
/// Bytes of Grams that an ascent keeps at most.
pub(super) const KEPT: u64 = 1 << 30;

/// The sizes that costs follow from.
pub(super) struct Sizes {
    /// Flops of the products of one sweep.
    products: f64,
    /// Entries of all similarities.
    similarities: f64,
    /// Entries of all tensors that move, and of the largest.
    entries: [f64; 2],
    /// Entries of all tensors, once for every group that stands in one.
    slices: f64,
}

impl Sizes {
    pub(super) fn of(weights: &Weights<'_>) -> Result<Self> {
        let symmetry = weights.symmetry_of();
        let mut sizes = Self { products: 0.0, similarities: 0.0, entries: [0.0; 2], slices: 0.0 };
        for (flops, similarities, slices) in weights.shapes() {
            sizes.products += flops;
            sizes.similarities += similarities;
            sizes.slices += slices;
        }
        for (name, _) in symmetry.tensors().filter(|(_, layout)| layout.moves()) {
            let entries = weights.networks()[0].require(name)?.len() as f64;
            sizes.entries = [sizes.entries[0] + entries, sizes.entries[1].max(entries)];
        }
        Ok(sizes)
    }

    /// What one sweep's products and assignments take.
    fn sweep(&self) -> f64 {
        self.products / SPEEDS.products + self.similarities * SPEEDS.assigned
    }

    fn start(&self, start: Start) -> f64 {
        match start {
            Start::Identity | Start::Random => 0.0,
            Start::Signature | Start::Anchored => 2.0 * self.slices * SPEEDS.sorted + 0.3 * self.sweep(),
        }
    }

    /// What a match costs.
    pub(super) fn cost(&self, schedule: Schedule, start: Start) -> Cost {
        let assigned = self.similarities * SPEEDS.assigned;
        let objective = 2.0 * self.entries[0] * SPEEDS.read;
        let kept = ((8.0 * self.similarities) as u64).min(KEPT);
        let (flops, memory, seconds) = match schedule {
            Schedule::Ascent => {
                let flops = SWEEPS * self.products;
                (flops, kept, flops / SPEEDS.products + ASSIGNED * assigned + 2.0 * objective)
            }
            Schedule::FrankWolfe => {
                // Value and gradient at the start are f64, over matrices; later ones are Grams of permutations.
                let flops = (ITERATIONS + 4.0) * self.products;
                let each = self.products / SPEEDS.products + 2.0 * assigned + objective;
                let matrices = (32.0 * self.similarities) as u64 + (24.0 * self.entries[1]) as u64;
                (flops, kept + matrices, ITERATIONS * each + 8.0 * self.products / SPEEDS.products)
            }
        };
        Cost { flops, memory, seconds: seconds + self.start(start) }
    }
}
