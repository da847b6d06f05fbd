//! Where steps are taken: on this processor, or on a device.

use onebasin_core::Params;
use onebasin_core::graph::Graph;
use onebasin_nn::exec::{Batch, Feed, Flat, Lanes, Outcome, Program};
use onebasin_nn::optim::Optimizer;
use onebasin_nn::samples::{Feeds, Field};
use onebasin_nn::task::Task;
use onebasin_nn::{Runner, Training};
use rayon::prelude::*;

use super::{Lessons, TrainOptions, TrainState};
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
    task: &'static dyn Task,
    /// Numbers in a sample's target.
    target: usize,
}

impl Processor {
    pub(super) fn new(graph: &Graph, data: &Lessons<'_>, state: &TrainState, options: &TrainOptions) -> Result<Self> {
        let samples = data.samples();
        let program = Program::new(graph.clone())?;
        let flat = program.flatten(&state.params)?;
        let moments = if state.moments.is_empty() {
            vec![vec![0.0; flat.weights.len()]; options.optimizer.moments()]
        } else {
            state.moments.iter().map(|m| program.flatten_weights(m)).collect::<onebasin_nn::Result<_>>()?
        };
        let lanes = Lanes::new(&program, options.batch.min(samples.len()), true)?;
        let (task, target) = (data.task(), samples.target().map_or(0, Field::len));
        Ok(Self { program, flat, moments, lanes, optimizer: options.optimizer, task, target })
    }
}

impl Place for Processor {
    fn step(&mut self, batch: usize, feed: &Feed<'_, f32>, rate: f64, step: u64) -> Result<Outcome> {
        let samples = Batch { samples: batch, target: self.target, feed, task: self.task };
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
    task: &'static dyn Task,
    /// Numbers in a sample of every input, and in its target.
    lens: Vec<usize>,
    target: usize,
    inputs: Vec<Vec<f32>>,
    targets: Vec<f32>,
}

impl Elsewhere {
    pub(super) fn new(
        device: &dyn Runner,
        graph: &Graph,
        data: &Lessons<'_>,
        state: &TrainState,
        options: &TrainOptions,
    ) -> Result<Self> {
        let training = device.bring_to_train(graph, &state.params, &state.moments, options.optimizer)?;
        let feeds = Feeds::new(graph, data.samples())?;
        let lens: Vec<usize> = feeds.fields().map(|(_, len)| len).collect();
        let inputs = vec![Vec::new(); lens.len()];
        Ok(Self { training, task: data.task(), lens, target: feeds.target(), inputs, targets: Vec::new() })
    }
}

impl Place for Elsewhere {
    fn step(&mut self, batch: usize, feed: &Feed<'_, f32>, rate: f64, step: u64) -> Result<Outcome> {
        self.inputs.iter_mut().zip(&self.lens).for_each(|(input, len)| input.resize(batch * len, 0.0));
        self.targets.resize(batch * self.target, 0.0);
        let mut rows: Vec<Vec<&mut [f32]>> = (0..batch).map(|_| Vec::new()).collect();
        for (input, len) in self.inputs.iter_mut().zip(&self.lens) {
            rows.iter_mut().zip(input.chunks_mut(*len)).for_each(|(row, part)| row.push(part));
        }
        let samples = rows.into_par_iter().zip(self.targets.par_chunks_mut(self.target.max(1))).enumerate();
        let fed: Vec<_> = samples.map(|(s, (mut row, target))| feed(s..s + 1, &mut row, target)).collect();
        fed.into_iter().collect::<onebasin_nn::Result<()>>()?;
        let inputs: Vec<&[f32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let outputs = self.training.forward(batch, &inputs, MOMENTUM)?;
        let mut gradients: Vec<Vec<f32>> = outputs.iter().map(|output| vec![0.0; output.len()]).collect();
        let outputs: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
        let mut seeds: Vec<&mut [f32]> = gradients.iter_mut().map(Vec::as_mut_slice).collect();
        let found = self.task.outcome(&outputs, &self.targets, batch);
        let share = 1.0 / found.count.max(1) as f32;
        self.task.gradient(&outputs, &self.targets, batch, share, &mut seeds);
        let gradients: Vec<&[f32]> = gradients.iter().map(Vec::as_slice).collect();
        self.training.step(&gradients, rate, step)?;
        Ok(found)
    }

    fn save(&self) -> Result<(Params, Vec<Params>)> {
        Ok(self.training.save()?)
    }
}
