//! Finding the alignment of two networks, or of many.
//!
//! Every matcher is: where the similarity comes from × how a group is updated × in which order. A [`Source`] gives the
//! Grams of a group ([`Weights`]: from the weights; [`Fixed`]: from anything that does not depend on other groups),
//! [`best_element`] turns them into the best element (a linear assignment; families first, their parent on the values),
//! and a schedule visits the groups ([`ascend`]: coordinate ascent, the paper's Algorithm 1).
//!
//! | to align | use |
//! |---|---|
//! | two networks by their weights | [`match_weights`], or [`best_of`] for several matches and the best of them |
//! | all groups jointly | [`frank_wolfe`] |
//! | by what they do | [`TapMoments`] → [`ActivationSimilarity`] → [`Fixed`] → [`ascend`] |
//! | by a similarity of your own | a [`Source`], and [`ascend`] |
//! | many networks | [`merge_many`], [`match_reference`], [`match_cycle_consistent`], [`merge_tree`] |
//!
//! What is raised is `⟨A, π(B)⟩`, which is to lower the distance `‖A − π(B)‖`. No matcher gives back an alignment worth
//! less than the one it started from.
//!
//! ```
//! use onebasin_core::matching::{MatchOptions, match_weights};
//! # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
//! # use onebasin_core::{Params, Tensor};
//! # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
//! #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
//! #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
//! #     Ok(Params::from_iter([first, last]))
//! # };
//! let a = net([1., 2., 3., 4.], [5., 6.])?;
//! let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
//! let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
//! let symmetry = Symmetry::resolve(&spec, &a)?;
//! let found = match_weights(&symmetry, &a, &b, None, &MatchOptions::default(), &mut |_| true)?;
//! assert_eq!((found.start_objective, found.objective), (82.0, 91.0));
//! assert_eq!(found.alignment.apply(&symmetry, &b)?, a);
//! # Ok::<(), onebasin_core::Error>(())
//! ```

mod accelerator;
mod activation;
mod ascent;
mod cache;
mod chance;
mod comparable;
mod diagnosis;
mod frank_wolfe;
mod greedy;
mod line;
mod many;
mod nested;
mod objective;
mod panels;
mod plan;
mod portfolio;
mod proof;
mod relaxed;
mod signatures;
mod similarity;
mod source;
mod spectral;
mod start;
mod sweep;
mod turned;
mod unfold;
mod values;
mod weight;

pub use accelerator::{Accelerator, Columns, RootProducts, RowProducts, Table};
pub use activation::{ActivationError, ActivationKind, ActivationSimilarity, TapMoments};
pub use ascent::{Match, MatchOptions, Order, StopReason, Sweep, ascend, ascend_again};
pub use comparable::comparable;
pub use diagnosis::{Diagnosis, Kinship, Tested, diagnose};
pub use frank_wolfe::{FrankWolfeOptions, Iteration, Origin, Progress, RelaxedWeights, frank_wolfe};
pub use greedy::greedy;
pub use many::reference::match_reference;
pub use many::sweeps::{merge_many, merge_many_from};
pub use many::tree::merge_tree;
pub use many::universe::{ManyProgress, UniverseOptions, match_cycle_consistent};
pub use many::{ManyMatch, ManyOptions, Round, pairs_objective};
pub use nested::{Best, Element, best_element};
pub use objective::objective;
pub use plan::{Budget, Candidate, Cost};
pub use portfolio::{PortfolioOptions, Run, RunRecord, Schedule, Told, best_of, plan};
pub use relaxed::Matrices;
pub use signatures::Signatures;
pub use similarity::{Gram, weight_grams};
pub use source::{Blend, Fixed, GramCache, Root, Source};
pub use spectral::{Rank, denoise, trusted_spectral};
pub use start::Start;
pub use turned::{
    Everywhere, Part, Reading, TurnedMatch, TurnedNumbers, TurnedOptions, TurnedState, TurnedTold, match_by_parts,
    match_turned, match_turned_on, named, parts,
};
pub use weight::{Weights, match_weights};
