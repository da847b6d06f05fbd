//! What networks are fed, and what they ought to answer: named, typed numbers, sample after sample.

mod arrays;
mod chosen;
mod feeds;
mod synthetic;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
pub use arrays::Arrays;
pub use chosen::Chosen;
pub use feeds::{Feeds, picked_from};
pub use synthetic::synthetic;

/// One thing that every sample has: an input of the network, or what the network ought to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name: that of the graph's input it goes to. Where a network has one input and samples have one, any name serves.
    pub name: String,
    /// Shape for one sample, without the batch; empty for a single number.
    pub shape: Vec<usize>,
    /// What its numbers are.
    pub kind: FieldKind,
}

/// What the numbers of a [`Field`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldKind {
    /// Real numbers: pixels, features, values to be predicted.
    Real,
    /// Whole numbers from 0 up to, and without, `below`: classes, tokens. Below 2²⁴ they are exact as `f32`.
    Index {
        /// How many there are.
        below: usize,
    },
}

/// Samples that networks are evaluated, compared and repaired on.
///
/// Nothing but what is asked for needs to be in memory: a range of one field at a time is written where it is needed, by many
/// threads at once.
pub trait Samples: Sync {
    /// What to call them in records and messages.
    fn name(&self) -> &str;

    /// Number of samples.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The inputs that every sample has.
    fn inputs(&self) -> &[Field];

    /// What a network ought to answer, if that is known.
    fn target(&self) -> Option<&Field>;

    /// Writes input number `input` of a run of samples, one after the other.
    ///
    /// Shapes: `out` has `samples.len()` times the numbers of [`Field::shape`].
    ///
    /// # Errors
    /// If what they are made of cannot be read.
    fn fill(&self, input: usize, samples: Range<usize>, out: &mut [f32]) -> Result<()>;

    /// Writes the targets of a run of samples, one after the other. Never called where [`Self::target`] is none.
    ///
    /// # Errors
    /// If what they are made of cannot be read.
    fn fill_target(&self, samples: Range<usize>, out: &mut [f32]) -> Result<()>;
}

impl Field {
    /// Numbers in one sample.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether a sample has none of it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The labels of samples whose target is one index each.
///
/// # Errors
/// If their target is none, or another; and if it cannot be read.
pub fn labels(samples: &dyn Samples) -> Result<Vec<u32>> {
    match samples.target() {
        Some(target @ Field { kind: FieldKind::Index { .. }, .. }) if target.len() == 1 => {}
        other => {
            let found = other.map_or_else(|| "there is none".to_owned(), |t| format!("`{}` has {:?}", t.name, t.shape));
            let why = format!("labels are a target of one index a sample; {found}");
            return Err(Error::Data { spec: samples.name().to_owned(), why });
        }
    }
    let mut labels = vec![0.0; samples.len()];
    samples.fill_target(0..samples.len(), &mut labels)?;
    Ok(labels.into_iter().map(|label| label as u32).collect())
}
