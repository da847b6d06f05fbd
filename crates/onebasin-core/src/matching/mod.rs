//! Finding the alignment of two networks.
//!
//! Every matcher is: where the similarity comes from × how a group is updated × in which order. A [`Source`] gives the
//! Grams of a group ([`Weights`]: from the weights; [`Fixed`]: from anything that does not depend on other groups),
//! [`best_element`] turns them into the best element (a linear assignment; families first, their parent on the values),
//! and a schedule visits the groups ([`ascend`]: coordinate ascent, the paper's Algorithm 1).

mod accelerator;
mod activation;
mod ascent;
mod cache;
mod diagnosis;
mod frank_wolfe;
mod greedy;
mod line;
mod many;
mod nested;
mod objective;
mod panels;
mod portfolio;
mod relaxed;
mod similarity;
mod source;
mod spectral;
mod start;
mod unfold;
mod values;
mod weight;

pub use accelerator::{Accelerator, Columns, RootProducts, Table};
pub use activation::{ActivationError, ActivationKind, ActivationSimilarity, TapMoments};
pub use ascent::{Match, MatchOptions, Order, StopReason, Sweep, ascend, ascend_again};
pub use diagnosis::{Diagnosis, Kinship, diagnose};
pub use frank_wolfe::{FrankWolfeOptions, Iteration, Origin, Progress, RelaxedWeights, frank_wolfe};
pub use greedy::greedy;
pub use many::sweeps::merge_many;
pub use many::tree::merge_tree;
pub use many::universe::{ManyProgress, UniverseOptions, match_cycle_consistent};
pub use many::{ManyMatch, ManyOptions, Round, pairs_objective};
pub use nested::{Best, Element, best_element};
pub use objective::objective;
pub use portfolio::{PortfolioOptions, Run, RunRecord, Schedule, Told, best_of, trusts_spectral};
pub use relaxed::Matrices;
pub use similarity::{Gram, weight_grams};
pub use source::{Blend, Fixed, GramCache, Root, Source};
pub use spectral::{Rank, denoise};
pub use start::{Signatures, Start};
pub use weight::{Weights, match_weights};
