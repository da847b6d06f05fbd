//! What networks are fed, and what they ought to answer: named, typed numbers, sample after sample.

mod arrays;
mod chosen;
mod feeds;
mod leaves;
mod picked;
mod synthetic;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
pub use arrays::Arrays;
pub use chosen::Chosen;
pub use feeds::Feeds;
pub use leaves::{dead_leaves, of_images};
pub use picked::picked_from;
pub use synthetic::synthetic;

/// One thing that every sample has: an input of the network, or what the network ought to answer.
///
/// ```
/// use onebasin_nn::{Field, FieldKind};
/// let image = Field { name: "image".to_owned(), shape: vec![3, 32, 32], kind: FieldKind::Real };
/// let class = Field { name: "class".to_owned(), shape: vec![], kind: FieldKind::Index { below: 10 } };
/// assert_eq!((image.len(), class.len()), (3072, 1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name: that of the graph's input it goes to. Where a network has one input and samples have one, any name serves.
    pub name: String,
    /// Shape for one sample, without the batch; empty for a single number.
    pub shape: Vec<usize>,
    /// What its numbers are.
    pub kind: FieldKind,
}

/// What the numbers of a [`Field`] are. All of them are held as `f32`; a target's kind says which [`Task`](crate::Task)
/// [usually](crate::task::usual) judges it.
///
/// ```
/// use onebasin_nn::FieldKind;
/// let tokens = FieldKind::Index { below: 50_257 };
/// assert_eq!(serde_json::to_string(&tokens)?, r#"{"index":{"below":50257}}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
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
/// threads at once. The same range always gives the same numbers. [`Arrays`] holds samples in memory, [`Chosen`] picks some of
/// others; what lies elsewhere, or is computed, implements this. What cannot be read is an [`Error::Samples`].
///
/// ```
/// use std::ops::Range;
/// use onebasin_nn::{Field, FieldKind, Result, Samples};
///
/// /// A point of a circle for every degree.
/// struct Circle([Field; 1]);
///
/// impl Samples for Circle {
///     fn name(&self) -> &str {
///         "circle"
///     }
///     fn len(&self) -> usize {
///         360
///     }
///     fn inputs(&self) -> &[Field] {
///         &self.0
///     }
///     fn target(&self) -> Option<&Field> {
///         None
///     }
///     fn fill(&self, _input: usize, samples: Range<usize>, out: &mut [f32]) -> Result<()> {
///         for (degree, point) in samples.zip(out.chunks_exact_mut(2)) {
///             let angle = (degree as f32).to_radians();
///             point.copy_from_slice(&[angle.cos(), angle.sin()]);
///         }
///         Ok(())
///     }
///     fn fill_target(&self, _samples: Range<usize>, _out: &mut [f32]) -> Result<()> {
///         unreachable!("there is no target")
///     }
/// }
///
/// let circle = Circle([Field { name: "point".to_owned(), shape: vec![2], kind: FieldKind::Real }]);
/// let mut points = [f32::NAN; 4];
/// circle.fill(0, 0..2, &mut points)?;
/// assert_eq!(points[..2], [1.0, 0.0]);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub trait Samples: Sync {
    /// What to call them in records and messages.
    fn name(&self) -> &str;

    /// Number of samples; it stays the same.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The inputs that every sample has. Which of them feeds which input of a network says [`Feeds`].
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
    /// Shapes: as [`Self::fill`], of the target's field.
    ///
    /// # Errors
    /// If what they are made of cannot be read.
    fn fill_target(&self, samples: Range<usize>, out: &mut [f32]) -> Result<()>;
}

impl Field {
    /// Numbers in one sample: the product of its shape, 1 for an empty one.
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
/// Cost: one pass over the targets.
///
/// # Errors
/// If their target is none, or another; and if it cannot be read.
///
/// ```
/// use onebasin_nn::samples::labels;
/// use onebasin_nn::{Arrays, Field, FieldKind};
/// let x = Field { name: "x".to_owned(), shape: vec![], kind: FieldKind::Real };
/// let class = Field { name: "class".to_owned(), shape: vec![], kind: FieldKind::Index { below: 3 } };
/// let data = Arrays::new("two", vec![(x.clone(), vec![0.5, 1.5])], Some((class, vec![2.0, 0.0])))?;
/// assert_eq!(labels(&data)?, [2, 0]);
/// assert!(labels(&Arrays::new("none", vec![(x, vec![0.5])], None)?).is_err());
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
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
