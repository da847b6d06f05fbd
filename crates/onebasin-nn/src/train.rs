//! Training: mini-batches in seeded order, resumable to the same bits.

use std::ops::Range;

use onebasin::Params;
use onebasin::stream::Stream;
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::exec::{Lanes, Outcome, Program};
use crate::network::Network;
use crate::optim::{Optimizer, Schedule};

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
    /// Whether images are randomly flipped and cropped.
    pub augment: bool,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            epochs: 100,
            batch: 500,
            optimizer: Optimizer::Adam,
            rate: 1e-3,
            schedule: Schedule::Constant,
            augment: false,
        }
    }
}

/// Everything training needs to go on: weights, the optimiser's moments, and how far it got.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainState {
    /// The weights, and BatchNorm's running statistics.
    pub params: Params,
    /// Epochs done.
    pub epoch: usize,
    /// The optimiser's state vectors, each as tensors named like what is trained; empty before the first step.
    pub moments: Vec<Params>,
}

impl TrainState {
    /// Weights freshly drawn, nothing done.
    pub fn fresh(network: &Network, seed: u64) -> Result<Self> {
        Ok(Self { params: network.init(seed)?, epoch: 0, moments: Vec::new() })
    }
}

/// What the observer is told.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step is done.
    Step {
        /// Epoch, from 1.
        epoch: usize,
        /// Samples seen in this epoch.
        samples: usize,
        /// Mean training loss of this epoch so far.
        loss: f64,
        /// Training accuracy of this epoch so far.
        accuracy: f64,
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

/// How fast BatchNorm's running statistics follow those of the batches.
const MOMENTUM: f64 = 0.1;

/// Trains until `options.epochs` epochs are done, starting from `state`.
///
/// Training 4 epochs gives the same bits as training 2, saving the state, and training to 4; the number of threads
/// changes nothing. The observer returns false to stop after the current epoch (at an [`Event::Epoch`]) or at once (at an
/// [`Event::Step`]; the unfinished epoch is then dropped).
///
/// # Errors
/// If the data do not fit the network, the options make no sense, or the loss is no longer finite.
pub fn train(
    network: &Network,
    data: &Dataset,
    mut state: TrainState,
    options: &TrainOptions,
    observe: &mut dyn FnMut(Event<'_>) -> bool,
) -> Result<TrainState> {
    check(network, data, options)?;
    network.check(&state.params)?;
    let program = Program::new(network.graph()?)?;
    let mut flat = program.flatten(&state.params)?;
    let mut moments = if state.moments.is_empty() {
        vec![vec![0.0; flat.weights.len()]; options.optimizer.moments()]
    } else {
        state.moments.iter().map(|m| program.flatten_weights(m)).collect::<Result<Vec<_>>>()?
    };
    if moments.len() != options.optimizer.moments() {
        return Err(Error::Options("the saved optimiser state belongs to another optimiser".to_owned()));
    }
    let mut lanes = Lanes::new(&program, options.batch.min(data.len()), true)?;
    let per_epoch = data.len().div_ceil(options.batch) as u64;
    let total = per_epoch * options.epochs as u64;
    while state.epoch < options.epochs {
        let epoch = state.epoch + 1;
        let order = Stream::new(options.seed, &format!("epoch/{epoch}")).permutation(data.len());
        let (mut seen, mut outcome) = (0, Outcome::default());
        for (k, batch) in order.as_slice().chunks(options.batch).enumerate() {
            let step = state.epoch as u64 * per_epoch + k as u64;
            let feed = |shard: Range<usize>, input: &mut [f32], labels: &mut [u16]| {
                if options.augment {
                    data.gather_augmented(&batch[shard], options.seed, epoch, input, labels)
                } else {
                    data.gather(&batch[shard], input, labels)
                }
            };
            let found = lanes.run(&program, &flat, batch.len(), &feed)?;
            outcome = outcome + found.outcome;
            seen += batch.len();
            if !outcome.loss.is_finite() {
                return Err(Error::Diverged { epoch, step: step + 1, loss: outcome.loss });
            }
            let rate = options.schedule.rate(options.rate, step, per_epoch, total);
            let gradients = lanes.d_weights(batch.len());
            options.optimizer.step(&mut flat.weights, &gradients, &mut moments, rate, step + 1);
            program.update_statistics(&mut flat.statistics, &found.moments, MOMENTUM);
            let (loss, accuracy) = (outcome.loss / seen as f64, outcome.correct as f64 / seen as f64);
            if !observe(Event::Step { epoch, samples: seen, loss, accuracy }) {
                return Ok(state);
            }
        }
        state = TrainState {
            params: program.unflatten(&flat)?,
            epoch,
            moments: moments.iter().map(|m| program.unflatten_weights(m)).collect::<Result<_>>()?,
        };
        let (loss, accuracy) = (outcome.loss / seen as f64, outcome.correct as f64 / seen as f64);
        if !observe(Event::Epoch { state: &state, loss, accuracy }) {
            break;
        }
    }
    Ok(state)
}

fn check(network: &Network, data: &Dataset, options: &TrainOptions) -> Result<()> {
    if data.is_empty() || options.batch == 0 {
        return Err(Error::Options("training needs at least one sample and a batch of at least one".to_owned()));
    }
    if !(options.rate.is_finite() && options.rate > 0.0) {
        return Err(Error::Options(format!("the learning rate must be positive, found {}", options.rate)));
    }
    data.check_fits(network)
}
