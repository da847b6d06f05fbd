//! Training: mini-batches in seeded order, resumable to the same bits.

mod lessons;
mod place;
mod state;

use std::ops::Range;

use onebasin_core::graph::Graph;
use onebasin_core::stream::Stream;
use onebasin_nn::Runner;
use onebasin_nn::optim::{Optimizer, Schedule};
use onebasin_nn::samples::Feeds;
use serde::{Deserialize, Serialize};

use crate::data::Augment;
use crate::error::{Error, Result};
pub use lessons::Lessons;
use place::{Elsewhere, Place, Processor};
pub use state::{Begun, TrainState};

/// How to train. The default is the paper's recipe for MLPs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainOptions {
    /// Decides initial weights and the order of samples.
    pub seed: u64,
    /// Passes over the data.
    pub epochs: usize,
    /// Samples in a step; the last step of an epoch may have fewer.
    pub batch: usize,
    /// How gradients become steps.
    pub optimizer: Optimizer,
    /// Peak learning rate.
    pub rate: f64,
    /// Learning rate over time.
    pub schedule: Schedule,
    /// How images are changed at random, if they are.
    pub augment: Option<Augment>,
}

/// What the observer is told.
pub enum Event<'a> {
    /// A step is done, not the last one of its epoch.
    Step {
        /// Epoch, from 1.
        epoch: usize,
        /// Samples seen in this epoch.
        samples: usize,
        /// Mean training loss of this epoch so far.
        loss: f64,
        /// Training accuracy of this epoch so far.
        accuracy: f64,
        /// Makes the state after this step, to be saved; it copies all weights.
        state: &'a dyn Fn() -> Result<TrainState>,
    },
    /// An epoch is done.
    Epoch {
        /// The state after it.
        state: &'a TrainState,
        /// Mean loss over the epoch's steps, each before its update.
        loss: f64,
        /// Accuracy over the epoch's steps, each before its update.
        accuracy: f64,
    },
}

/// Trains until `options.epochs` epochs are done, starting from `state`.
///
/// Training on from a saved state, of whatever step, gives the same bits as never having stopped; the number of threads
/// changes nothing. The observer returns false to stop where it is; the state then returned is that of its last step.
///
/// # Errors
/// If the data do not fit the network, the options make no sense, the state is not one of these options, or the loss is
/// no longer finite.
pub fn train<'a>(
    graph: &Graph,
    lessons: impl Into<Lessons<'a>>,
    state: &TrainState,
    options: &TrainOptions,
    observe: &mut dyn FnMut(Event<'_>) -> bool,
) -> Result<TrainState> {
    train_on(None, graph, lessons, state, options, observe)
}

/// The same on a device, if one is given; samples are drawn, and losses computed, on this processor.
///
/// # Errors
/// As [`train`], and those of the device.
pub fn train_on<'a>(
    device: Option<&dyn Runner>,
    graph: &Graph,
    lessons: impl Into<Lessons<'a>>,
    state: &TrainState,
    options: &TrainOptions,
    observe: &mut dyn FnMut(Event<'_>) -> bool,
) -> Result<TrainState> {
    let data = lessons.into();
    let feeds = check(graph, &data, options)?;
    if ![0, options.optimizer.moments()].contains(&state.moments.len()) {
        return Err(Error::Options("the saved optimiser state belongs to another optimiser".to_owned()));
    }
    let count = data.samples().len();
    let per_epoch = count.div_ceil(options.batch);
    if state.begun.steps >= per_epoch {
        let why = format!("the saved state is {} steps into an epoch of {per_epoch}", state.begun.steps);
        return Err(Error::Options(why));
    }
    let mut place: Box<dyn Place> = match device {
        None => Box::new(Processor::new(graph, &data, state, options)?),
        Some(device) => Box::new(Elsewhere::new(device, graph, &data, state, options)?),
    };
    let total = (per_epoch * options.epochs) as u64;
    let (mut done, mut begun) = (state.epoch, state.begun);
    let saved = |place: &dyn Place, epoch: usize, begun: Begun| {
        let (params, moments) = place.save()?;
        Ok(TrainState { params, epoch, begun, moments })
    };
    while done < options.epochs {
        let epoch = done + 1;
        let order = Stream::new(options.seed, &format!("epoch/{epoch}")).permutation(count);
        for batch in order.as_slice().chunks(options.batch).skip(begun.steps) {
            let step = (done * per_epoch + begun.steps) as u64;
            let feed = |shard: Range<usize>, inputs: &mut [&mut [f32]], targets: &mut [f32]| {
                let seen = options.augment.map(|augment| (augment, options.seed, epoch));
                Ok(data.gather(&feeds, &batch[shard], seen, inputs, targets)?)
            };
            let rate = options.schedule.rate(options.rate, step, per_epoch as u64, total);
            let outcome = place.step(batch.len(), &feed, rate, step + 1)?;
            begun = begun.after(outcome, batch.len());
            if !begun.loss.is_finite() {
                return Err(Error::Diverged { epoch, step: step + 1, loss: begun.loss });
            }
            if begun.steps == per_epoch {
                break;
            }
            let (loss, accuracy) = begun.means();
            let state = || saved(&*place, done, begun);
            if !observe(Event::Step { epoch, samples: begun.samples, loss, accuracy, state: &state }) {
                return state();
            }
        }
        let (loss, accuracy) = begun.means();
        (done, begun) = (epoch, Begun::default());
        let state = saved(&*place, done, begun)?;
        if !observe(Event::Epoch { state: &state, loss, accuracy }) {
            return Ok(state);
        }
    }
    saved(&*place, done, begun)
}

/// Passes only if all of it makes sense; says which field of the data feeds which input.
fn check(graph: &Graph, data: &Lessons<'_>, options: &TrainOptions) -> Result<Feeds> {
    let samples = data.samples();
    if samples.is_empty() || options.batch == 0 {
        return Err(Error::Options("training needs at least one sample and a batch of at least one".to_owned()));
    }
    if !(options.rate.is_finite() && options.rate > 0.0) {
        return Err(Error::Options(format!("the learning rate must be positive, found {}", options.rate)));
    }
    if options.augment.is_some() && !data.are_images() {
        return Err(Error::Options(format!("{} are no images, and nothing else is augmented", samples.name())));
    }
    data.task().check(graph, samples)?;
    Ok(Feeds::new(graph, samples)?)
}
