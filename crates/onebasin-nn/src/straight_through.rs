//! Straight-through matching: the alignment whose midpoint has the lowest loss, found with gradients.

use onebasin_core::assignment::Duals;
use onebasin_core::matching::{MatchOptions, Weights, ascend_again};
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::{Alignment, Symmetry};
use onebasin_core::{DType, Params, merge::cast};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evaluate::{BATCH, Metrics, evaluate, recompute_batch_norm};
use crate::exec::{Batch, Lanes, Program};
use crate::optim::{Optimizer, Schedule};
use crate::samples::{Chosen, Feeds, Samples};
use crate::task::Task;

/// How to match.
///
/// ```
/// use onebasin_nn::SteOptions;
/// // As the paper has it: from A, slowly, at whatever comes last.
/// let options = SteOptions { rate: 0.1, pull: 1.0, patience: usize::MAX, ..SteOptions::default() };
/// assert_eq!((options.batch, SteOptions::usually_held_out(20_000)), (200, 2000));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SteOptions {
    /// Decides the order of samples and which are held out.
    pub seed: u64,
    /// Passes over the data at most.
    pub epochs: usize,
    /// Samples in a step.
    pub batch: usize,
    /// How gradients move the target.
    pub optimizer: Optimizer,
    /// Learning rate at the start.
    pub rate: f64,
    /// How it goes on: along a cosine the target settles, at a constant rate it keeps moving and every comparison sees
    /// another alignment.
    pub schedule: Schedule,
    /// Where the target starts between π₀(B) at 0 and A at 1, π₀ being the alignment to start from.
    pub pull: f64,
    /// Samples that take no step, on which alignments are compared.
    pub held_out: usize,
    /// Steps between comparisons.
    pub every: usize,
    /// Comparisons without a better alignment after which to stop.
    pub patience: usize,
}

impl Default for SteOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            epochs: 20,
            batch: 200,
            optimizer: Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 },
            rate: 1.0,
            schedule: Schedule::Cosine { warmup_epochs: 0.0 },
            pull: 0.0,
            held_out: 5000,
            every: 20,
            patience: 10,
        }
    }
}

impl SteOptions {
    /// How many of so many samples are usually held out: a tenth, 5,000 at most.
    pub fn usually_held_out(samples: usize) -> usize {
        (samples / 10).min(5000)
    }
}

/// Everything that is needed to go on: saved and given to [`straight_through`] again, it comes to the same bits.
///
/// Cost: as many numbers as the network, for the target and for each of the optimiser's state vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct SteState {
    /// The target: free weights whose nearest π(B) is the alignment tried.
    pub target: Params,
    /// The optimiser's state vectors; empty before the first step.
    pub moments: Vec<Params>,
    /// Steps done.
    pub step: u64,
    /// The alignment nearest the target; the next one is sought from here.
    pub current: Alignment,
    /// The best alignment so far: the one with the lowest held-out loss at the midpoint.
    pub best: Alignment,
    /// Its held-out loss; infinite before the first comparison.
    pub best_loss: f64,
    /// Comparisons since it was found.
    pub stale: usize,
    /// Of the last assignment of every group, for a quick start of the next; empty before the first step.
    pub duals: Vec<Option<Duals>>,
}

/// What the observer is told after every comparison.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// The state after it.
    pub state: &'a SteState,
    /// Held-out loss of the current midpoint.
    pub loss: f64,
    /// Held-out accuracy of the current midpoint; none where nothing is right or wrong.
    pub accuracy: Option<f64>,
}

impl SteState {
    /// Nothing done: the target is `(1 − pull) · π₀(B) + pull · A`, in f32.
    ///
    /// Cost: one application of an alignment, one merge.
    ///
    /// # Errors
    /// If the networks differ in structure or do not fit the symmetry.
    pub fn fresh(symmetry: &Symmetry, ends: [&Params; 2], start: &Alignment, pull: f64) -> Result<Self> {
        let moved = start.apply(symmetry, ends[1])?;
        let target = cast(&merge(&moved, ends[0], pull, Interpolation::Lerp)?, DType::F32)?;
        let (current, best) = (start.clone(), start.clone());
        let (moments, duals) = (Vec::new(), Vec::new());
        Ok(Self { target, moments, step: 0, current, best, best_loss: f64::INFINITY, stale: 0, duals })
    }
}

/// Finds the alignment of B with A whose midpoint has the lowest loss on `data`, as the task has it.
///
/// Formula: minimise `L(½ (A + proj(T)))` over the target `T`, where `proj(T)` is the π(B) nearest `T`, found by coordinate
/// ascent from the last one. The projection has no gradient; it is passed straight through, so `T` moves by
/// `½ ∇L(½ (A + π(B)))`. BatchNorms use the statistics of the batch.
///
/// Every [`SteOptions::every`] steps the midpoint is evaluated on held-out samples (BatchNorm statistics recomputed), and
/// the alignment with the lowest loss is kept; the start is the first one compared, so the result is never worse there.
/// Going on from a saved state gives the same bits as never having stopped.
///
/// Cost: per step one training step, one coordinate ascent (most groups do not change, and every assignment starts from
/// the prices of the last) and one application of an alignment.
///
/// # Errors
/// If the networks differ in structure or do not fit symmetry, data and task, the options make no sense, or the loss is no
/// longer finite.
///
/// Source: Ainsworth et al. 2023, Algorithm 2 and §3.3. We differ in the start (any alignment), in keeping the best by
/// held-out loss (the authors' code keeps the last), and in stopping early.
///
/// ```
/// # use onebasin_nn::{Arrays, Field, FieldKind};
/// # let x = Field { name: "x".to_owned(), shape: vec![4], kind: FieldKind::Real };
/// # let class = Field { name: "class".to_owned(), shape: vec![], kind: FieldKind::Index { below: 3 } };
/// # let numbers = (0..240).map(|k| (k % 7) as f32 / 7.0).collect();
/// # let labels = (0..60).map(|k| (k % 3) as f32).collect();
/// # let data = Arrays::new("sixty", vec![(x, numbers)], Some((class, labels)))?;
/// use onebasin_core::symmetry::{Alignment, Symmetry};
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::task::Classes;
/// use onebasin_nn::{Network, SteOptions, SteState, straight_through};
/// let network = Network::new("mlp:8x1", &[4], 3)?;
/// let (program, a, b) = (Program::new(network.graph()?)?, network.init(0)?, network.init(1)?);
/// let symmetry = Symmetry::resolve(&network.symmetry()?, &a).map_err(onebasin_core::Error::from)?;
/// let options = SteOptions { epochs: 2, batch: 10, held_out: 20, every: 4, ..SteOptions::default() };
/// let start = SteState::fresh(&symmetry, [&a, &b], &Alignment::identity(&symmetry), options.pull)?;
/// let mut first = None;
/// let found = straight_through(&program, &symmetry, [&a, &b], &data, &Classes, start, &options, &mut |at| {
///     first.get_or_insert(at.loss);
///     true
/// })?;
/// assert!(found.best_loss <= first.unwrap());
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
#[allow(clippy::too_many_arguments, reason = "what is matched, on what, how, and how it is told")]
pub fn straight_through(
    program: &Program,
    symmetry: &Symmetry,
    ends: [&Params; 2],
    data: &dyn Samples,
    task: &dyn Task,
    mut state: SteState,
    options: &SteOptions,
    observe: &mut dyn FnMut(&Comparison<'_>) -> bool,
) -> Result<SteState> {
    check(data, options)?;
    task.check(program.graph(), data)?;
    let feeds = Feeds::new(program.graph(), data)?;
    let ends = [cast(ends[0], DType::F32)?, cast(ends[1], DType::F32)?];
    let statistics = program.graph().statistics().map(|v| program.graph().value(v).name.clone()).collect::<Vec<_>>();
    let weights = symmetry.restrict(|name| !statistics.iter().any(|s| s == name));
    let order = Stream::new(options.seed, "ste/held-out").permutation(data.len());
    let (held, rest) = order.as_slice().split_at(options.held_out);
    let norm = Chosen::new(data, rest[..rest.len().min(4 * BATCH)].to_vec())?;
    let judge = Judge { program, task, held: Chosen::new(data, held.to_vec())?, norm };

    let mut target = program.flatten(&state.target)?;
    let mut moments = if state.moments.is_empty() {
        vec![vec![0.0; target.weights.len()]; options.optimizer.moments()]
    } else {
        state.moments.iter().map(|m| program.flatten_weights(m)).collect::<Result<Vec<_>>>()?
    };
    let mut lanes = Lanes::new(program, options.batch.min(rest.len()), true)?;
    let per_epoch = rest.len().div_ceil(options.batch) as u64;
    let total = per_epoch * options.epochs as u64;
    let midpoint = |alignment: &Alignment| -> Result<Params> {
        Ok(merge(&ends[0], &alignment.apply(symmetry, &ends[1])?, 0.5, Interpolation::Lerp)?)
    };
    let mut due = state.best_loss == f64::INFINITY;
    loop {
        if due {
            let Metrics { loss, accuracy } = judge.of(&midpoint(&state.current)?)?;
            if loss < state.best_loss {
                (state.best, state.best_loss, state.stale) = (state.current.clone(), loss, 0);
            } else {
                state.stale += 1;
            }
            state.target = program.unflatten(&target)?;
            state.moments = moments.iter().map(|m| program.unflatten_weights(m)).collect::<Result<_>>()?;
            if !observe(&Comparison { state: &state, loss, accuracy }) {
                break;
            }
        }
        if state.stale >= options.patience || state.step >= total {
            break;
        }
        let (epoch, k) = (state.step / per_epoch, (state.step % per_epoch) as usize);
        let shuffled = Stream::new(options.seed, &format!("ste/epoch/{epoch}")).permutation(rest.len());
        let batch: Vec<u32> =
            shuffled.as_slice()[k * options.batch..].iter().take(options.batch).map(|&at| rest[at as usize]).collect();
        let found = program.unflatten(&target)?;
        let compared = [weights.stacked(&found)?, weights.stacked(&ends[1])?];
        let source = Weights::new(&weights, &compared[0], &compared[1])?;
        let how = MatchOptions { seed: options.seed.wrapping_add(state.step), ..MatchOptions::default() };
        state.current = ascend_again(&source, &state.current, &how, &mut state.duals, &mut |_| true)?.alignment;
        let samples = batch.len();
        let batch = Chosen::new(data, batch)?;
        let feed = feeds.feed(&batch, 0);
        let batch = Batch { samples, target: feeds.target(), feed: &feed, task };
        let ran = lanes.run(program, &program.flatten(&midpoint(&state.current)?)?, &batch)?;
        state.step += 1;
        if !ran.outcome.loss.is_finite() {
            return Err(Error::Diverged { epoch: epoch as usize + 1, step: state.step, loss: ran.outcome.loss });
        }
        let mut gradient = vec![0.0_f32; target.weights.len()];
        for lane in lanes.d_weights(samples) {
            gradient.iter_mut().zip(lane).for_each(|(g, d)| *g += 0.5 * d);
        }
        let rate = options.schedule.rate(options.rate, state.step - 1, per_epoch, total);
        options.optimizer.step(&mut target.weights, &[&gradient], &mut moments, rate, state.step);
        due = state.step.is_multiple_of(options.every as u64) || state.step == total;
    }
    Ok(state)
}

/// Judges midpoints on held-out samples.
struct Judge<'a> {
    program: &'a Program,
    task: &'a dyn Task,
    held: Chosen<'a>,
    norm: Chosen<'a>,
}

impl Judge<'_> {
    /// Loss and accuracy of a midpoint, its BatchNorm statistics recomputed.
    fn of(&self, midpoint: &Params) -> Result<Metrics> {
        let normed = recompute_batch_norm(self.program, midpoint, &self.norm, BATCH)?;
        evaluate(self.program, &normed, &self.held, self.task)
    }
}

/// Passes only if options make sense for so many samples.
fn check(data: &dyn Samples, options: &SteOptions) -> Result<()> {
    let SteOptions { held_out, batch, every, .. } = *options;
    if held_out == 0 || held_out >= data.len() {
        let count = data.len();
        return Err(Error::Options(format!(
            "{held_out} of {count} samples cannot be held out; keep some on both sides"
        )));
    }
    if batch == 0 || every == 0 || !(options.rate.is_finite() && options.rate > 0.0) {
        return Err(Error::Options("batch, steps between comparisons and rate must be positive".to_owned()));
    }
    Ok(())
}
