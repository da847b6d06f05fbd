//! Solving a merged network layer by layer, in closed form: what is mathematics of it.
//!
//! [`sites`] tells which operators of a graph can be solved and what for; [`NormalSums`] adds up what least squares needs,
//! and [`Normal`] solves. The crate that runs networks feeds them.
//!
//! A site is solved so that the merged network, on what it feeds itself, gives the mix of what its ends give there.

mod normal;
mod order;
mod site;

pub use normal::{Normal, NormalSums, Rows, Solution};
pub use order::solving_order;
pub use site::{Form, Layer, LeftOut, Norm, Site, lookups, parameters_of, sites};
