//! The experiments of *Git Re-Basin*, each run by its name: what is planned, computed, kept, drawn and written.
//!
//! Read in this order: [`setting`] → [`experiment`] → [`kind`] → [`plan`] → [`shelf`] → [`store`] → [`stage`] → [`mod@run`] → [`report`] →
//! [`figure`] → [`page`].

pub mod error;
pub mod experiment;
pub mod figure;
pub mod kind;
pub mod page;
pub mod plan;
pub mod report;
pub mod run;
pub mod setting;
pub mod shelf;
pub mod stage;
pub mod store;

pub use error::{Error, Result};
pub use experiment::{Experiment, Scale, built_in};
pub use figure::Figure;
pub use page::Page;
pub use report::{Outcome, write};
pub use run::{Observer, RunOptions, run};
pub use shelf::Shelf;
pub use stage::Device;
pub use store::Store;
