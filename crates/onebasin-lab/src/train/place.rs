//! Where steps are taken: on this processor, or on a device.

use onebasin_core::Params;
use onebasin_nn::exec::{Batch, Feed, Flat, Lanes, Outcome, Program};
use onebasin_nn::optim::Optimizer;
use onebasin_nn::task::{Classes, Task};
use onebasin_nn::{Network, Runner, Training};
use rayon::prelude::*;

use super::{TrainOptions, TrainState};
use crate::data::Dataset;
use crate::error::Result;

/// How fast BatchNorm's running statistics follow those of the batches.
const MOMENTUM: f64 = 0.1;

/// A network being trained, somewhere.
pub(super) trait Place {
    /// One step, numbered from 1, on a batch of so many samples; its loss and correct answers, before the update.
    fn step(&mut self, batch: usize, feed: &Feed<'_, f32>, rate: f64, step: u64) -> Result<Outcome>;

    /// The parameters, and the optimiser's moments.
    fn save(&self) -> Result<(Params, Vec<Params>)>;
}

/// This processor.
pub(super) struct Processor {
    program: Program,
    flat: Flat,
    moments: Vec<Vec<f32>>,
    lanes: Lanes,
    optimizer: Optimizer,
}

impl Processor {
    pub(super) fn new(network: &Network, data: &Dataset, state: &TrainState, options: &TrainOptions) -> Result<Self> {
        let program = Program::new(network.graph()?)?;
        let flat = program.flatten(&state.params)?;
        let moments = if state.moments.is_empty() {
            vec![vec![0.0; flat.weights.len()]; options.optimizer.moments()]
        } else {
            state.moments.iter().map(|m| program.flatten_weights(m)).collect::<onebasin_nn::Result<_>>()?
        };
        let lanes = Lanes::new(&program, options.batch.min(data.len()), true)?;
        Ok(Self { program, flat, moments, lanes, optimizer: options.optimizer })
    }
}

impl Place for Processor {
    fn step(&mut self, batch: usize, feed: &Feed<'_, f32>, rate: f64, step: u64) -> Result<Outcome> {
        let samples = Batch { samples: batch, target: 1, feed, task: &Classes };
        let found = self.lanes.run(&self.program, &self.flat, &samples)?;
        let gradients = self.lanes.d_weights(batch);
        self.optimizer.step(&mut self.flat.weights, &gradients, &mut self.moments, rate, step);
        self.program.update_statistics(&mut self.flat.statistics, &found.moments, MOMENTUM);
        Ok(found.outcome)
    }

    fn save(&self) -> Result<(Params, Vec<Params>)> {
        let moments = self.moments.iter().map(|m| self.program.unflatten_weights(m));
        Ok((self.program.unflatten(&self.flat)?, moments.collect::<onebasin_nn::Result<_>>()?))
    }
}

/// A device.
pub(super) struct Elsewhere {
    training: Box<dyn Training>,
    /// Numbers in a sample.
    sample: usize,
    input: Vec<f32>,
    labels: Vec<f32>,
}

impl Elsewhere {
    pub(super) fn new(
        device: &dyn Runner,
        network: &Network,
        state: &TrainState,
        options: &TrainOptions,
    ) -> Result<Self> {
        let training = device.bring_to_train(&network.graph()?, &state.params, &state.moments, options.optimizer)?;
        let sample = network.input.iter().product();
        Ok(Self { training, sample, input: Vec::new(), labels: Vec::new() })
    }
}

impl Place for Elsewhere {
    fn step(&mut self, batch: usize, feed: &Feed<'_, f32>, rate: f64, step: u64) -> Result<Outcome> {
        self.input.resize(batch * self.sample, 0.0);
        self.labels.resize(batch, 0.0);
        let samples = self.input.par_chunks_mut(self.sample).zip(self.labels.par_chunks_mut(1)).enumerate();
        let fed: Vec<_> = samples.map(|(s, (input, labels))| feed(s..s + 1, &mut [input], labels)).collect();
        fed.into_iter().collect::<onebasin_nn::Result<()>>()?;
        let outputs = self.training.forward(batch, &[&self.input], MOMENTUM)?;
        let mut gradients: Vec<Vec<f32>> = outputs.iter().map(|output| vec![0.0; output.len()]).collect();
        let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
        let mut seeds: Vec<&mut [f32]> = gradients.iter_mut().map(Vec::as_mut_slice).collect();
        Classes.gradient(&outputs, &self.labels, batch, 1.0 / batch as f32, &mut seeds);
        let gradients: Vec<&[f32]> = gradients.iter().map(Vec::as_slice).collect();
        self.training.step(&gradients, rate, step)?;
        Ok(Classes.outcome(&outputs, &self.labels, batch))
    }

    fn save(&self) -> Result<(Params, Vec<Params>)> {
        Ok(self.training.save()?)
    }
}
