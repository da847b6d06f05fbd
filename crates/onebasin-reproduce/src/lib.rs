//! What came of an experiment, for people to look at: figures, and pages that hold them beside the paper's numbers.
//!
//! Read in this order: [`figure`] → [`page`].

pub mod figure;
pub mod page;

pub use figure::Figure;
pub use page::Page;
