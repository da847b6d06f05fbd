//! The gradient of the mean loss over a data set.

use std::ops::Range;

use onebasin_core::Params;

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::evaluate::BATCH;
use crate::exec::{Lanes, Program};

/// The gradient of the mean cross-entropy on `data`, by parameter. BatchNorms use the statistics of batches of
/// [`BATCH`] samples.
///
/// Shapes: those of the trained parameters; running statistics are left out. Cost: one training pass over the data;
/// sums over batches are f64.
///
/// # Errors
/// If a tensor of the network is missing, its first input or output does not fit the data, or there are none.
pub fn gradient(program: &Program, params: &Params, data: &Dataset) -> Result<Params> {
    if data.is_empty() {
        return Err(Error::Options("a gradient needs at least one sample".to_owned()));
    }
    let flat = program.flatten(params)?;
    let mut lanes = Lanes::new(program, BATCH.min(data.len()), true)?;
    let samples: Vec<u32> = (0..data.len() as u32).collect();
    let mut sum = vec![0.0_f64; flat.weights.len()];
    for batch in samples.chunks(BATCH) {
        let feed =
            |shard: Range<usize>, input: &mut [f32], labels: &mut [u16]| data.gather(&batch[shard], input, labels);
        lanes.run(program, &flat, batch.len(), &feed)?;
        let share = batch.len() as f64 / data.len() as f64;
        for part in lanes.d_weights(batch.len()) {
            sum.iter_mut().zip(part).for_each(|(s, g)| *s += share * f64::from(*g));
        }
    }
    program.unflatten_weights(&sum.iter().map(|s| *s as f32).collect::<Vec<f32>>())
}
