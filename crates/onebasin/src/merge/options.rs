//! How an aligned pair is combined: the options of a merge.

use std::collections::BTreeMap;
use std::path::PathBuf;

use onebasin_core::DType;
use onebasin_core::merge::Interpolation;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::inputs::{MANY_TEXTS, TEXTS};
use crate::repair::{Repair, Used};

/// How an aligned pair is combined.
///
/// ```
/// use onebasin::{Merge, Repair};
/// let nearer_a = Merge { lambda: 0.3, repair: Repair::Weights, ..Merge::default() };
/// assert!(nearer_a.check);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a question of its own, answered by its name")]
pub struct Merge {
    /// How far from A (0) to B (1); ½ by default.
    pub lambda: f64,
    /// The straight line, or the great circle, which has one λ: not with λ by group, and so not with a least correlation.
    pub interpolation: Interpolation,
    /// Element type of the result; none is that of A.
    pub dtype: Option<DType>,
    /// How units get back the spread that averaging takes from them.
    pub repair: Repair,
    /// Units of the result, in units of A: above 1 the pairs of units that correspond least stand side by side, up to 2, where
    /// all do. The result is a network of its own, with another graph than A's; needs [`Repair::Solve`], samples, and λ between
    /// 0 and 1.
    pub width: f64,
    /// Solve for what A computes and what B tells of it, instead of the mix of both ([`SolveOptions::lean`]): better where both do
    /// the same, and no midpoint; what only B knows is lost. Needs [`Repair::Solve`] or [`Repair::Distil`], and a width of 1.
    ///
    /// [`SolveOptions::lean`]: onebasin_nn::SolveOptions::lean
    pub lean: bool,
    /// Training samples on which BatchNorm statistics are recomputed and repair by data measures; 0 interpolates them. 5000 by
    /// default.
    pub batch_norm_samples: usize,
    /// Training samples, without their labels, on which layers are solved. 1200 by default.
    pub solve_samples: usize,
    /// Average only groups whose matched correlation exceeds this, from 0 to 1; the others stay as in A. Needs an alignment by
    /// activations.
    pub min_correlation: Option<f64>,
    /// λ of single groups, by name; weights between two groups take the smaller.
    pub group_lambda: BTreeMap<String, f64>,
    /// Test the symmetry on random inputs first, where the network runs; by default it is.
    pub check: bool,
    /// Use an alignment on networks that it was not made for.
    pub force: bool,
    /// Let the result take the place of a file that it is made from.
    pub overwrite: bool,
    /// Where the state of a solve is kept, every few layers and when it is stopped; once the result is written it is removed.
    /// Not with a width above 1.
    pub state: Option<PathBuf>,
    /// Go on from that state, to the same bits.
    pub resume: bool,
}

impl Default for Merge {
    fn default() -> Self {
        Self {
            lambda: 0.5,
            interpolation: Interpolation::Lerp,
            dtype: None,
            repair: Repair::None,
            width: 1.0,
            lean: false,
            batch_norm_samples: 5000,
            solve_samples: 1200,
            min_correlation: None,
            group_lambda: BTreeMap::new(),
            check: true,
            force: false,
            overwrite: false,
            state: None,
            resume: false,
        }
    }
}

impl Merge {
    /// How many training samples are used, for what.
    pub(crate) fn used(&self) -> Used {
        Used { batch_norm: self.batch_norm_samples, solve: self.solve_samples }
    }

    /// Whether something else than an end is asked for.
    pub(super) fn is_between(&self) -> bool {
        let is_end = |lambda: f64| lambda == self.lambda && (lambda == 0.0 || lambda == 1.0);
        !(is_end(self.lambda)
            && self.group_lambda.values().all(|lambda| is_end(*lambda))
            && self.min_correlation.is_none_or(|_| is_end(0.0)))
    }

    /// Texts that language models write for it, where they do.
    pub(super) fn texts(&self) -> usize {
        if self.repair == Repair::Distil { MANY_TEXTS } else { TEXTS }
    }

    /// Whether layers are solved on inputs that are made up.
    pub(super) fn makes_up(&self, context: &Context<'_>) -> bool {
        self.repair.solves() && context.train.is_none() && self.is_between()
    }

    /// Passes only if every number is what it may be.
    ///
    /// # Errors
    /// [`Error::Option`] names the first that is not.
    pub fn check(&self) -> Result<()> {
        let fail = |option, expected, found: f64| Err(Error::Option { option, expected, found: found.to_string() });
        let share = |l: &f64| (0.0..=1.0).contains(l);
        if !share(&self.lambda) {
            return fail("lambda", "a number from 0 (network A) to 1 (network B)", self.lambda);
        }
        if let Some(least) = self.min_correlation.filter(|r| !share(r)) {
            return fail("min_correlation", "a number from 0 to 1", least);
        }
        if let Some(lambda) = self.group_lambda.values().find(|l| !share(l)) {
            return fail("group_lambda", "a number from 0 to 1", *lambda);
        }
        if self.interpolation == Interpolation::Slerp
            && !(self.group_lambda.is_empty() && self.min_correlation.is_none())
        {
            let (option, expected) = ("interpolation", "lerp where groups have a λ of their own: a circle has one λ");
            return Err(Error::Option { option, expected, found: self.interpolation.to_string() });
        }
        if self.interpolation == Interpolation::Slerp && self.repair.solves() {
            let (option, expected) =
                ("interpolation", "lerp where layers are solved: they are solved for the straight mix of both");
            return Err(Error::Option { option, expected, found: self.interpolation.to_string() });
        }
        if self.resume && !(self.state.is_some() && self.repair.solves() && self.width == 1.0) {
            return Err(Error::Needs {
                option: "resume",
                needs: "repair by solve at a width of 1, and a file with its state",
            });
        }
        if self.lean && !self.repair.solves() {
            return Err(Error::Needs { option: "lean", needs: "repair by solve" });
        }
        self.check_width()
    }
}
