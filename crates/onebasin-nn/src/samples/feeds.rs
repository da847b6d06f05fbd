//! Which field of samples feeds which input of a network.

use std::ops::Range;

use onebasin_core::graph::Graph;

use super::{Field, Samples};
use crate::error::{Error, Result};

/// Which field of samples feeds which input of a graph: the one of its name; where the graph has one input and samples
/// have one field, that one.
///
/// A field needs as many numbers a sample as its input, in whatever shape: images of `[28, 28]` feed an input of
/// `[N, 784]`. Fields that no input asks for are left out.
///
/// ```
/// use onebasin_nn::samples::Feeds;
/// use onebasin_nn::{Arrays, Field, FieldKind, Network};
/// let image = Field { name: "image".to_owned(), shape: vec![4, 4], kind: FieldKind::Real };
/// let data = Arrays::new("one image", vec![(image, vec![0.5; 16])], None)?;
/// let feeds = Feeds::new(&Network::new("mlp:8x1", &[16], 10)?.graph()?, &data)?;
/// assert_eq!(feeds.fields().collect::<Vec<_>>(), [(0, 16)]);
/// assert!(Feeds::new(&Network::new("mlp:8x1", &[9], 10)?.graph()?, &data).is_err());
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feeds {
    /// Number of the field, for every input.
    fields: Vec<usize>,
    /// Numbers in a sample of every input.
    lens: Vec<usize>,
    /// Numbers in a sample's target.
    target: usize,
}

impl Feeds {
    /// Of these samples for this graph, and of whatever has the same fields.
    ///
    /// # Errors
    /// Names an input that no field feeds, or whose field has another number of numbers a sample.
    pub fn new(graph: &Graph, samples: &dyn Samples) -> Result<Self> {
        let (inputs, fields): (Vec<_>, _) = (graph.inputs().collect(), samples.inputs());
        let fail = |why: String| Error::Data { spec: samples.name().to_owned(), why };
        let mut found = Self { fields: Vec::new(), lens: Vec::new(), target: samples.target().map_or(0, Field::len) };
        for &input in &inputs {
            let (name, shape) = (&graph.value(input).name, graph.shape(input));
            let field = match (&inputs[..], fields) {
                ([_], [_]) => Some(0),
                _ => fields.iter().position(|field| field.name == *name),
            };
            let Some(field) = field else {
                let known: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name)).collect();
                let known = known.join(", ");
                return Err(fail(format!(
                    "the network's input `{name}` is fed by the field of its name; known: {known}"
                )));
            };
            let len = shape.iter().skip(1).product::<usize>();
            let given = &fields[field];
            if given.len() != len || len == 0 {
                let (field, numbers) = (&given.name, given.len());
                return Err(fail(format!(
                    "its `{field}` have {numbers} numbers a sample, the network's input `{name}` takes {len}"
                )));
            }
            found.fields.push(field);
            found.lens.push(len);
        }
        Ok(found)
    }

    /// For every input of the graph, the number of its field, and numbers in a sample of it.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (usize, usize)> {
        self.fields.iter().copied().zip(self.lens.iter().copied())
    }

    /// Numbers in a sample's target; 0 where there is none.
    pub fn target(&self) -> usize {
        self.target
    }

    /// Writes all inputs of a run of samples.
    ///
    /// Shapes: `inputs` are the graph's, in its order, each one row per sample.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn fill(&self, samples: &dyn Samples, run: Range<usize>, inputs: &mut [&mut [f32]]) -> Result<()> {
        self.fields.iter().zip(inputs).try_for_each(|(field, input)| samples.fill(*field, run.clone(), input))
    }

    /// What feeds a [`Batch`](crate::exec::Batch) with samples, from this one on: inputs, and targets where it has room for
    /// them.
    pub fn feed<'a>(
        &'a self,
        samples: &'a dyn Samples,
        first: usize,
    ) -> impl Fn(Range<usize>, &mut [&mut [f32]], &mut [f32]) -> Result<()> + Sync + 'a {
        move |shard, inputs, targets| {
            let run = first + shard.start..first + shard.end;
            self.fill(samples, run.clone(), inputs)?;
            if targets.is_empty() { Ok(()) } else { samples.fill_target(run, targets) }
        }
    }
}
