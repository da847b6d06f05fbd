//! The experiments of *Git Re-Basin*: data sets, training, and what is planned, computed, kept, drawn and written.
//!
//! Read in this order: [`data`] → [`mod@train`] → [`recipe`] → [`trainee`] → [`setting`] → [`experiment`] → [`kind`] → [`plan`] →
//! [`shelf`] → [`store`] → [`stage`] → [`mod@run`] → [`report`] → [`figure`] → [`page`].

pub mod data;
pub mod error;
pub mod experiment;
pub mod figure;
pub mod kind;
pub mod page;
pub mod plan;
pub mod recipe;
pub mod report;
pub mod run;
pub mod setting;
pub mod shelf;
pub mod stage;
pub mod store;
pub mod train;
pub mod trainee;

/// The README's example, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use data::{Data, Dataset};
pub use error::{Error, Result};
pub use experiment::{Experiment, Scale, built_in};
pub use figure::Figure;
pub use page::Page;
pub use recipe::{RECIPES, Recipe};
pub use report::{ExperimentOutcome, write};
pub use run::{RunOptions, Watcher, run};
pub use shelf::Shelf;
pub use store::Store;
pub use train::{Event, Lessons, TrainOptions, TrainState, train, train_on};
pub use trainee::Trainee;
