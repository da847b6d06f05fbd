//! Samples in memory.

use std::ops::Range;

use super::{Field, FieldKind, Samples};
use crate::error::{Error, Result};

/// Samples whose numbers are held, one array a field.
///
/// Cost: 4 bytes a number; filling is a copy.
///
/// ```
/// use onebasin_nn::samples::{Arrays, Field, FieldKind, Samples};
/// let x = Field { name: "x".to_owned(), shape: vec![2], kind: FieldKind::Real };
/// let class = Field { name: "class".to_owned(), shape: vec![], kind: FieldKind::Index { below: 3 } };
/// let points = Arrays::new("points", vec![(x, vec![0.0, 0.5, 1.0, 1.5])], Some((class, vec![2.0, 0.0])))?;
/// let mut second = [0.0; 2];
/// points.fill(0, 1..2, &mut second)?;
/// assert_eq!((points.len(), second), (2, [1.0, 1.5]));
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Arrays {
    name: String,
    samples: usize,
    inputs: Vec<Field>,
    /// Numbers of every input, then those of the target.
    numbers: Vec<Vec<f32>>,
    target: Option<Field>,
}

impl Arrays {
    /// Takes every field with its numbers. `name` is what records and messages call them.
    ///
    /// Shapes: `[samples, shape of the field]`, sample after sample; as many samples in every field. Cost: one look at every
    /// number that is an index.
    ///
    /// # Errors
    /// Names the field that has no numbers a sample, another number of samples than the first, or a number that is no
    /// index; and if there is no input.
    pub fn new(
        name: impl Into<String>,
        inputs: Vec<(Field, Vec<f32>)>,
        target: Option<(Field, Vec<f32>)>,
    ) -> Result<Self> {
        let name = name.into();
        let fail = |why: String| Error::Data { spec: name.clone(), why };
        let mut samples = None;
        for (field, numbers) in inputs.iter().chain(&target) {
            let count = check(field, numbers).map_err(fail)?;
            let (first, all) = samples.get_or_insert((&field.name, count));
            if *all != count {
                let why = format!("field `{first}` has {all} samples, field `{}` has {count}", field.name);
                return Err(fail(why));
            }
        }
        if inputs.is_empty() {
            return Err(fail("samples need at least one input field".to_owned()));
        }
        let samples = samples.map_or(0, |(_, count)| count);
        let (inputs, mut numbers): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
        let (target, targets) = target.unzip();
        numbers.extend(targets);
        Ok(Self { name, samples, inputs, numbers, target })
    }

    /// These samples, and behind them those of another set with the same fields, turn by turn as far as both go.
    ///
    /// # Errors
    /// [`Error::Data`] if their fields differ.
    ///
    /// ```
    /// use onebasin_nn::{Arrays, Field, FieldKind, Samples};
    /// let field = Field { name: "x".to_owned(), shape: vec![1], kind: FieldKind::Real };
    /// let of = |numbers: Vec<f32>| Arrays::new("numbers", vec![(field.clone(), numbers)], None);
    /// let both = of(vec![1., 2., 3.])?.and(&of(vec![7., 8.])?)?;
    /// let mut all = [0.; 5];
    /// both.fill(0, 0..5, &mut all)?;
    /// assert_eq!(all, [1., 7., 2., 8., 3.]);
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn and(&self, other: &Self) -> Result<Self> {
        if (&self.inputs, &self.target) != (&other.inputs, &other.target) {
            let why = format!("its fields are not those of `{}`", other.name);
            return Err(Error::Data { spec: self.name.clone(), why });
        }
        let mixed = |(k, (own, theirs)): (usize, (&Vec<f32>, &Vec<f32>))| {
            let len = self.inputs.get(k).or(self.target.as_ref()).map_or(1, Field::len).max(1);
            let (mut one, mut two, mut all) = (own.chunks(len), theirs.chunks(len), Vec::new());
            for _ in 0..self.samples.max(other.samples) {
                one.next().into_iter().chain(two.next()).for_each(|sample| all.extend_from_slice(sample));
            }
            all
        };
        let numbers = self.numbers.iter().zip(&other.numbers).enumerate().map(mixed).collect();
        Ok(Self { samples: self.samples + other.samples, numbers, ..self.clone() })
    }

    /// Copies a run of samples of the array of this number, of `len` numbers a sample.
    fn copy(&self, field: usize, len: usize, samples: Range<usize>, out: &mut [f32]) {
        out.copy_from_slice(&self.numbers[field][samples.start * len..samples.end * len]);
    }
}

impl Samples for Arrays {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.samples
    }

    fn inputs(&self) -> &[Field] {
        &self.inputs
    }

    fn target(&self) -> Option<&Field> {
        self.target.as_ref()
    }

    fn fill(&self, input: usize, samples: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.copy(input, self.inputs[input].len(), samples, out);
        Ok(())
    }

    fn fill_target(&self, samples: Range<usize>, out: &mut [f32]) -> Result<()> {
        let len = self.target.as_ref().map_or(0, Field::len);
        self.copy(self.inputs.len(), len, samples, out);
        Ok(())
    }
}

/// How many samples these numbers are; the error says why they are none.
fn check(field: &Field, numbers: &[f32]) -> std::result::Result<usize, String> {
    let (name, shape, len) = (&field.name, &field.shape, field.len());
    if len == 0 || !numbers.len().is_multiple_of(len) {
        return Err(format!("field `{name}` has shape {shape:?}, and {} numbers are no whole samples", numbers.len()));
    }
    if let FieldKind::Index { below } = field.kind {
        let index = |v: &f32| *v >= 0.0 && *v < below as f32 && v.fract() == 0.0;
        if let Some(at) = numbers.iter().position(|v| !index(v)) {
            let (value, sample) = (numbers[at], at / len);
            return Err(format!("field `{name}` has {value} in sample {sample}, not a whole number below {below}"));
        }
    }
    Ok(numbers.len() / len)
}
