//! Some of the samples there are.

use std::ops::Range;

use super::{Field, Samples};
use crate::error::{Error, Result};

/// Chosen samples of others, in an order of their own and as often as they are named; nothing is copied.
///
/// Cost: 4 bytes a sample. Neighbours that lie beside each other there too are filled in one call.
///
/// ```
/// use onebasin_nn::samples::{Arrays, Chosen, Field, FieldKind, Samples};
/// let x = Field { name: "x".to_owned(), shape: vec![], kind: FieldKind::Real };
/// let all = Arrays::new("numbers", vec![(x, vec![0.0, 1.0, 2.0, 3.0])], None)?;
/// let mut found = [0.0; 3];
/// Chosen::new(&all, vec![3, 0, 1])?.fill(0, 0..3, &mut found)?;
/// assert_eq!(found, [3.0, 0.0, 1.0]);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub struct Chosen<'a> {
    of: &'a dyn Samples,
    order: Vec<u32>,
}

impl<'a> Chosen<'a> {
    /// The samples of these numbers, counted from 0, in this order.
    ///
    /// # Errors
    /// [`Error::Data`] names the first number of which there is no sample.
    pub fn new(of: &'a dyn Samples, order: Vec<u32>) -> Result<Self> {
        match order.iter().find(|s| **s as usize >= of.len()) {
            None => Ok(Self { of, order }),
            Some(sample) => {
                let why = format!("there is no sample {sample}; it has {}, counted from 0", of.len());
                Err(Error::Data { spec: of.name().to_owned(), why })
            }
        }
    }

    /// The first `n` samples, or all where there are fewer.
    ///
    /// ```
    /// use onebasin_nn::{Arrays, Chosen, Field, FieldKind, Samples};
    /// let x = Field { name: "x".to_owned(), shape: vec![], kind: FieldKind::Real };
    /// let all = Arrays::new("numbers", vec![(x, vec![0.0, 1.0, 2.0])], None)?;
    /// assert_eq!([Chosen::first(&all, 2).len(), Chosen::first(&all, 9).len()], [2, 3]);
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn first(of: &'a dyn Samples, n: usize) -> Self {
        Self { of, order: (0..n.min(of.len()) as u32).collect() }
    }

    /// Calls for every run of neighbours, with where it lies here and there.
    fn runs(
        &self,
        samples: Range<usize>,
        mut look: impl FnMut(Range<usize>, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let mut start = samples.start;
        let chosen = &self.order[samples];
        for run in chosen.chunk_by(|a, b| a + 1 == *b) {
            let first = run[0] as usize;
            look(start..start + run.len(), first..first + run.len())?;
            start += run.len();
        }
        Ok(())
    }
}

impl Samples for Chosen<'_> {
    fn name(&self) -> &str {
        self.of.name()
    }

    fn len(&self) -> usize {
        self.order.len()
    }

    fn inputs(&self) -> &[Field] {
        self.of.inputs()
    }

    fn target(&self) -> Option<&Field> {
        self.of.target()
    }

    fn fill(&self, input: usize, samples: Range<usize>, out: &mut [f32]) -> Result<()> {
        let (from, len) = (samples.start, self.inputs()[input].len());
        self.runs(samples, |here, there| {
            self.of.fill(input, there, &mut out[(here.start - from) * len..(here.end - from) * len])
        })
    }

    fn fill_target(&self, samples: Range<usize>, out: &mut [f32]) -> Result<()> {
        let (from, len) = (samples.start, self.target().map_or(0, Field::len));
        self.runs(samples, |here, there| {
            self.of.fill_target(there, &mut out[(here.start - from) * len..(here.end - from) * len])
        })
    }
}
