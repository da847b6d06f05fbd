//! Finding the alignment of two networks.
//!
//! Every matcher is: where the similarity comes from × how a group is updated × in which order. A [`Source`] gives the
//! Grams of a group ([`weight`]: from the weights; [`Fixed`]: from anything that does not depend on other groups),
//! [`nested`] turns them into the best element (a linear assignment; families first, their parent on the values), and a
//! schedule visits the groups ([`ascent`]: coordinate ascent, the paper's Algorithm 1).

pub mod accelerator;
pub mod activation;
pub mod ascent;
mod cache;
pub mod diagnosis;
pub mod frank_wolfe;
pub mod greedy;
mod line;
pub mod many;
pub mod nested;
mod objective;
mod panels;
pub mod portfolio;
pub mod relaxed;
pub mod similarity;
pub mod source;
pub mod spectral;
pub mod start;
mod unfold;
mod values;
pub mod weight;

pub use accelerator::Accelerator;
pub use ascent::{Match, MatchOptions, Order, StopReason, Sweep, ascend, ascend_again};
pub use diagnosis::{Diagnosis, Kinship, diagnose};
pub use frank_wolfe::{FrankWolfeOptions, Iteration, Origin, Progress, RelaxedWeights, frank_wolfe};
pub use greedy::greedy;
pub use many::sweeps::merge_many;
pub use many::tree::merge_tree;
pub use many::universe::{ManyProgress, UniverseOptions, match_cycle_consistent};
pub use many::{ManyMatch, ManyOptions, Round};
pub use objective::objective;
pub use portfolio::{PortfolioOptions, Run, RunRecord, Schedule, Told, best_of, trusts_spectral};
pub use source::{Blend, Fixed, GramCache, Root, Source};
pub use start::{Signatures, Start};
pub use weight::{Weights, match_weights};
