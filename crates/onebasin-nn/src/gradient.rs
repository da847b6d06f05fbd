//! The gradient of the mean loss over samples.

use onebasin_core::Params;

use crate::error::{Error, Result};
use crate::evaluate::BATCH;
use crate::exec::{Batch, Lanes, Program};
use crate::samples::{Feeds, Samples};
use crate::task::Task;

/// The gradient of the mean loss on `data`, by parameter. BatchNorms use the statistics of batches of
/// [`BATCH`] samples.
///
/// Formula: `∇_θ 1/n Σ loss`, with `n` answers.
///
/// Shapes: those of the trained parameters; running statistics are left out. Cost: one training pass over the data;
/// sums over batches are f64.
///
/// # Errors
/// If a tensor of the network is missing, its inputs or outputs do not fit samples and task, or there are none.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::{Params, Tensor};
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::task::Values;
/// use onebasin_nn::{Arrays, Field, FieldKind, gradient};
/// // y = w x + b at w = 2, b = 0, of one sample x = 3 that should be 5: the loss is (6 − 5)².
/// let mut graph = Graph::new();
/// let x = graph.input("x", &[1, 1])?;
/// let y = graph.linear("fc", x, 1)?;
/// graph.output(y);
/// let weights = [("fc.weight", Tensor::from_f32(&[1, 1], vec![2.0])?), ("fc.bias", Tensor::from_f32(&[1], vec![0.0])?)];
/// let params: Params = weights.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
/// let x = Field { name: "x".to_owned(), shape: vec![1], kind: FieldKind::Real };
/// let y = Field { name: "y".to_owned(), ..x.clone() };
/// let data = Arrays::new("one", vec![(x, vec![3.0])], Some((y, vec![5.0])))?;
/// let found = gradient(&Program::new(graph)?, &params, &data, &Values)?;
/// assert_eq!(found.require("fc.weight")?.to_f32()?[0], 6.0);
/// assert_eq!(found.require("fc.bias")?.to_f32()?[0], 2.0);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn gradient(program: &Program, params: &Params, data: &dyn Samples, task: &dyn Task) -> Result<Params> {
    if data.is_empty() {
        return Err(Error::Options("a gradient needs at least one sample".to_owned()));
    }
    task.check(program.graph(), data)?;
    let feeds = Feeds::new(program.graph(), data)?;
    let flat = program.flatten(params)?;
    let mut lanes = Lanes::new(program, BATCH.min(data.len()), true)?;
    let mut sum = vec![0.0_f64; flat.weights.len()];
    for start in (0..data.len()).step_by(BATCH) {
        let samples = BATCH.min(data.len() - start);
        let feed = feeds.feed(data, start);
        lanes.run(program, &flat, &Batch { samples, target: feeds.target(), feed: &feed, task })?;
        let share = samples as f64 / data.len() as f64;
        for part in lanes.d_weights(samples) {
            sum.iter_mut().zip(part).for_each(|(s, g)| *s += share * f64::from(*g));
        }
    }
    program.unflatten_weights(&sum.iter().map(|s| *s as f32).collect::<Vec<f32>>())
}
