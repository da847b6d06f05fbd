//! Inputs without data: images made so that networks see in them what their BatchNorms remember.

mod moments;
mod pull;
mod shift;

use std::ops::Range;

use onebasin_core::Params;
use onebasin_core::graph::Graph;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evaluate::each_shard;
use crate::exec::{Flat, Program, Wants, Workspace};
use crate::optim::{Optimizer, Schedule};
use crate::samples::{Arrays, Field, Samples, dead_leaves};
use moments::{Listening, Memory, together};
use shift::Shift;

/// How to make inputs that BatchNorms remember.
///
/// ```
/// use onebasin_nn::RememberedOptions;
/// let quick = RememberedOptions { images: 64, steps: 10, ..RememberedOptions::default() };
/// assert_eq!(quick.batches(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RememberedOptions {
    /// Samples to make.
    pub images: usize,
    /// Samples whose moments are taken together, at most.
    pub batch: usize,
    /// Steps of every batch.
    pub steps: usize,
    /// How far a number moves in a step at the start; along a cosine it ends at 0.
    pub rate: f64,
    /// Weight of the total variation of images.
    pub roughness: f64,
    /// Decides the images at the start, and how they are shifted.
    pub seed: u64,
}

impl Default for RememberedOptions {
    fn default() -> Self {
        Self { images: 256, batch: 64, steps: 40, rate: 0.1, roughness: 0.03, seed: 0 }
    }
}

impl RememberedOptions {
    /// Batches that the samples are made in.
    pub fn batches(&self) -> usize {
        self.images.div_ceil(self.batch.max(1))
    }

    fn check(&self) -> Result<()> {
        let positive = self.images > 0 && self.batch > 0 && self.rate > 0.0 && self.rate.is_finite();
        if positive && self.roughness >= 0.0 && self.roughness.is_finite() {
            return Ok(());
        }
        let why = format!("images, batch and rate must be positive and roughness not negative, found {self:?}");
        Err(Error::Options(why))
    }
}

/// Inputs that were made, and how well they are remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Remembered {
    /// The inputs.
    pub samples: Arrays,
    /// Mean distance of what enters the BatchNorms from what they remember, before the first step, over batches.
    pub before: f64,
    /// The same after the last step.
    pub after: f64,
}

/// Whether the network has a BatchNorm that remembers what it was fed: with statistics among the parameters.
///
/// ```
/// use onebasin_nn::{Network, remembers};
/// let graph = |name| Network::new(name, &[3, 32, 32], 10)?.graph();
/// assert!(remembers(&graph("resnet20-bn:1")?) && !remembers(&graph("resnet20-ln:1")?));
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn remembers(graph: &Graph) -> bool {
    !moments::remembering(graph).is_empty()
}

/// Samples of a shard.
const SHARD: usize = 16;
/// Between these numbers images stay.
const LIMIT: f32 = 3.0;

/// Makes inputs up, of which networks of one graph see what their BatchNorms remember: from [`dead_leaves`] on, numbers
/// move until the moments of what enters every BatchNorm of every network are those of its running statistics. The weights
/// are all that is looked at; no data are.
///
/// Formula: with `μ`, `v` mean and variance (divisor `n`) of channel `c` over a batch and its positions, `m`, `s` the
/// running ones and `ε` the BatchNorm's, the distance of a network is
/// `D = 1/L Σ_l 1/C Σ_c (μ − m)² / (s + ε) + ¼ log²((v + ε) / (s + ε))`, and
/// `mean_networks D + roughness · mean |∂x|` falls by [`Adam`](Optimizer::Adam) on the numbers, its rate along a cosine;
/// `∂x` are the differences of neighbouring pixels. BatchNorms use their running statistics, so samples meet only in the
/// moments. Every step sees images shifted by up to 1/16 of the longer side, edges repeated, and every second time mirrored,
/// so that no pattern can rest on single pixels; images stay between −3 and 3.
///
/// Shapes: `networks` have the program's parameters. The samples have the graph's inputs as fields, no target. Inputs must be
/// real numbers, whose usual mean is 0 and deviation 1: [`picked_from`](crate::samples::picked_from) tells which are not.
///
/// Cost: `steps` forward passes of every sample through every network and as many backward ones, to the inputs. Memory is all
/// values of a batch and some of their gradients. The same bits for any number of threads. `observe` is called with the steps done and all of them, before each; when it returns
/// false the work is given up.
///
/// # Errors
/// If no BatchNorm remembers anything, a tensor is missing, an option makes no sense, a batch takes more memory than there may
/// be, moments are not finite, or [`Error::Stopped`].
///
/// Source: Yin et al. 2020, DeepInversion ([1912.08795](https://arxiv.org/abs/1912.08795)), for the idea and the shifts; for several
/// networks at once, without labels and from dead leaves, it is ours.
///
/// ```
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::{Network, RememberedOptions, Samples, remembered};
/// let network = Network::new("resnet20-bn:0.25", &[3, 16, 16], 10)?;
/// let (program, a, b) = (Program::new(network.graph()?)?, network.init(0)?, network.init(1)?);
/// let options = RememberedOptions { images: 8, steps: 5, ..RememberedOptions::default() };
/// let found = remembered(&program, &[&a, &b], &options, &mut |_, _| true)?;
/// assert!(found.after < found.before && found.samples.len() == 8);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn remembered(
    program: &Program,
    networks: &[&Params],
    options: &RememberedOptions,
    observe: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Remembered> {
    options.check()?;
    let making = Making::new(program.graph(), networks, options)?;
    let start = dead_leaves(program.graph(), options.images, options.seed)?;
    let fields = start.inputs().to_vec();
    let lens: Vec<usize> = fields.iter().map(Field::len).collect();
    let mut made: Vec<Vec<f32>> = lens.iter().map(|len| Vec::with_capacity(len * options.images)).collect();
    let (mut before, mut after, total) = (0.0, 0.0, options.batches() * options.steps);
    for number in 0..options.batches() {
        // Even batches, so that none is left with moments of a few.
        let at = |number: usize| number * options.images / options.batches();
        let run = at(number)..at(number + 1);
        let mut numbers = Vec::with_capacity(lens.iter().sum::<usize>() * run.len());
        for (input, len) in lens.iter().enumerate() {
            let first = numbers.len();
            numbers.resize(first + run.len() * len, 0.0);
            start.fill(input, run.clone(), &mut numbers[first..])?;
        }
        let mut batch = making.batch(run.len())?;
        let mut tell = |step: usize| observe(number * options.steps + step, total);
        let [first, last] = making.improve(&mut batch, &mut numbers, number, &mut tell)?;
        let share = run.len() as f64 / options.images as f64;
        before += share * first;
        after += share * last;
        let mut rest = &numbers[..];
        for (made, len) in made.iter_mut().zip(&lens) {
            let (own, others) = rest.split_at(run.len() * len);
            made.extend(own);
            rest = others;
        }
    }
    observe(total, total);
    let samples = Arrays::new("made-up inputs", fields.into_iter().zip(made).collect(), None)?;
    Ok(Remembered { samples, before, after })
}

/// How far samples are from what the BatchNorms of a network remember: `D` of [`remembered`], over all of them at once.
///
/// Cost: a forward pass, in shards side by side.
///
/// # Errors
/// As [`remembered`], and if the samples do not fit or cannot be read.
///
/// ```
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::samples::{dead_leaves, synthetic};
/// use onebasin_nn::{Network, recompute_batch_norm, recollection};
/// let network = Network::new("resnet20-bn:0.25", &[3, 16, 16], 10)?;
/// let program = Program::new(network.graph()?)?;
/// let [waves, leaves] = [synthetic(program.graph(), 16, 0)?, dead_leaves(program.graph(), 16, 0)?];
/// let params = recompute_batch_norm(&program, &network.init(0)?, &waves, 16)?;
/// let far = |samples| recollection(&program, &params, samples);
/// assert!(far(&waves)? < far(&leaves)?);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn recollection(program: &Program, params: &Params, samples: &dyn Samples) -> Result<f64> {
    let listening = Listening::new(program.graph())?;
    let memory = Memory::of(&listening, params)?;
    let found = each_shard(&listening.program, params, samples, |space, _| Ok(listening.moments(space)))?;
    memory.distance(&listening, &together(found))
}

/// What all batches share.
struct Making<'a> {
    listening: Listening,
    networks: Vec<(Flat, Memory)>,
    options: &'a RememberedOptions,
    /// Shapes of a sample of every input.
    shapes: Vec<Vec<usize>>,
}

/// A workspace for every shard of a batch, and which samples are in it.
struct Shards {
    spaces: Vec<(Range<usize>, Workspace)>,
    samples: usize,
}

impl<'a> Making<'a> {
    fn new(graph: &Graph, networks: &[&Params], options: &'a RememberedOptions) -> Result<Self> {
        let listening = Listening::new(graph)?;
        let one = |params: &&Params| Ok((listening.program.flatten(params)?, Memory::of(&listening, params)?));
        let networks = networks.iter().map(one).collect::<Result<Vec<_>>>()?;
        if networks.is_empty() {
            return Err(Error::Options("inputs are remembered by at least one network, found none".to_owned()));
        }
        let shapes = graph.inputs().map(|v| graph.shape(v).get(1..).unwrap_or_default().to_vec()).collect();
        Ok(Self { listening, networks, options, shapes })
    }

    fn batch(&self, samples: usize) -> Result<Shards> {
        let wants = Wants { input_gradients: true, ..Wants::default() };
        let program = &self.listening.program;
        let runs: Vec<Range<usize>> =
            (0..samples).step_by(SHARD).map(|start| start..(start + SHARD).min(samples)).collect();
        program.afford(SHARD.min(samples), &wants, runs.len())?;
        let space = |run: Range<usize>| Ok((run.clone(), Workspace::new(program, run.len(), wants.clone())?));
        Ok(Shards { spaces: runs.into_iter().map(space).collect::<Result<_>>()?, samples })
    }

    /// Moves the numbers of a batch, input after input; gives the distance before and after.
    fn improve(
        &self,
        batch: &mut Shards,
        numbers: &mut [f32],
        number: usize,
        tell: &mut dyn FnMut(usize) -> bool,
    ) -> Result<[f64; 2]> {
        let RememberedOptions { steps, rate, seed, .. } = *self.options;
        let schedule = Schedule::Cosine { warmup_epochs: 0.0 };
        let mut moments = vec![vec![0.0; numbers.len()]; Optimizer::Adam.moments()];
        let still = self.shapes.iter().map(|shape| Shift::none(shape)).collect::<Vec<_>>();
        let before = self.look(batch, numbers, &still, None)?;
        for step in 0..steps {
            if !tell(step) {
                return Err(Error::Stopped);
            }
            let name = format!("remembered/{number}/{step}");
            let shifts = Shift::drawn(seed, &name, &self.shapes);
            let mut gradient = vec![0.0_f32; numbers.len()];
            self.look(batch, numbers, &shifts, Some(&mut gradient))?;
            self.roughness(numbers, batch.samples, &mut gradient);
            let rate = schedule.rate(rate, step as u64, 1, steps as u64);
            Optimizer::Adam.step(numbers, &[&gradient], &mut moments, rate, step as u64 + 1);
            let mut first = 0;
            for shape in &self.shapes {
                let len = shape.iter().product::<usize>() * batch.samples;
                if shape.len() == 3 {
                    numbers[first..first + len].iter_mut().for_each(|n| *n = n.clamp(-LIMIT, LIMIT));
                }
                first += len;
            }
        }
        Ok([before, self.look(batch, numbers, &still, None)?])
    }

    /// The mean distance over networks of the numbers as they are seen, shifted; adds its gradient, times the number of
    /// samples.
    fn look(
        &self,
        batch: &mut Shards,
        numbers: &[f32],
        shifts: &[Shift],
        mut gradient: Option<&mut Vec<f32>>,
    ) -> Result<f64> {
        let (program, samples) = (&self.listening.program, batch.samples);
        let share = 1.0 / self.networks.len() as f64;
        let mut distance = 0.0;
        for (flat, memory) in &self.networks {
            let look = |(run, space): &mut (Range<usize>, Workspace)| {
                let mut rest = numbers;
                for (shift, input) in shifts.iter().zip(space.inputs()) {
                    let (own, others) = rest.split_at(samples * shift.len());
                    shift.see(&own[run.start * shift.len()..run.end * shift.len()], input);
                    rest = others;
                }
                program.forward(flat, space);
                self.listening.moments(space)
            };
            let found = together(batch.spaces.par_iter_mut().map(look).collect());
            distance += share * memory.distance(&self.listening, &found)?;
            let Some(gradient) = gradient.as_deref_mut() else { continue };
            let pull = memory.pull(&self.listening, &found, share);
            let back = |(_, space): &mut (Range<usize>, Workspace)| {
                program.backward(flat, &pull, &[], 1.0, space);
                let own = |(k, shift): (usize, &Shift)| {
                    let mut own = vec![0.0; shift.len() * space.batch()];
                    space.input_gradient(k).inspect(|seen| shift.unsee(seen, &mut own));
                    own
                };
                shifts.iter().enumerate().map(own).collect::<Vec<Vec<f32>>>()
            };
            let found: Vec<Vec<Vec<f32>>> = batch.spaces.par_iter_mut().map(back).collect();
            for ((run, _), inputs) in batch.spaces.iter().zip(found) {
                let mut first = 0;
                for (shift, own) in shifts.iter().zip(inputs) {
                    let to = &mut gradient[first + run.start * shift.len()..][..own.len()];
                    to.iter_mut().zip(own).for_each(|(to, g)| *to += g);
                    first += samples * shift.len();
                }
            }
        }
        Ok(distance)
    }

    /// Adds the gradient of the total variation of images, times the number of samples.
    fn roughness(&self, numbers: &[f32], samples: usize, gradient: &mut [f32]) {
        let weight = self.options.roughness as f32;
        let mut first = 0;
        for shape in &self.shapes {
            let len = shape.iter().product::<usize>();
            let run = first..first + len * samples;
            first = run.end;
            let &[_, height, width] = &shape[..] else { continue };
            if weight == 0.0 {
                continue;
            }
            let weight = weight / len.max(1) as f32;
            let planes = gradient[run.clone()].par_chunks_exact_mut((height * width).max(1));
            planes.zip(numbers[run].par_chunks_exact((height * width).max(1))).for_each(|(to, plane)| {
                let mut pair = |a: usize, b: usize| {
                    let slope = plane[a] - plane[b];
                    let sign = if slope == 0.0 { 0.0 } else { weight * slope.signum() };
                    to[a] += sign;
                    to[b] -= sign;
                };
                for y in 0..height {
                    for x in 0..width {
                        let at = y * width + x;
                        if x + 1 < width {
                            pair(at, at + 1);
                        }
                        if y + 1 < height {
                            pair(at, at + width);
                        }
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use onebasin_core::stream::Stream;

    use super::*;
    use crate::Network;

    /// Along directions in which it changes, the distance does as the gradient says: differences from both sides are its
    /// twin. Entries of the gradient count differently in each.
    #[test]
    fn the_gradient_is_that_of_the_distance() {
        let network = Network::new("resnet20-bn:0.25", &[3, 16, 16], 10).unwrap();
        let (graph, a, b) = (network.graph().unwrap(), network.init(0).unwrap(), network.init(1).unwrap());
        let options = RememberedOptions::default();
        let making = Making::new(&graph, &[&a, &b], &options).unwrap();
        let images = 20;
        let mut batch = making.batch(images).unwrap();
        let mut stream = Stream::new(0, "numbers");
        let numbers: Vec<f32> = (0..images * 768).map(|_| stream.normal() as f32).collect();
        let shifts = Shift::drawn(0, "shifts", &making.shapes);
        let mut gradient = vec![0.0; numbers.len()];
        making.look(&mut batch, &numbers, &shifts, Some(&mut gradient)).unwrap();
        for _ in 0..3 {
            let direction: Vec<f32> = gradient.iter().map(|g| g * stream.uniform() as f32).collect();
            let length = direction.iter().map(|d| f64::from(d * d)).sum::<f64>().sqrt();
            let along = |g: &[f32]| g.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum::<f64>() / length;
            let slope = along(&gradient) / images as f64;
            let mut at = |step: f64| {
                let step = (step / length) as f32;
                let moved: Vec<f32> = numbers.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
                making.look(&mut batch, &moved, &shifts, None).unwrap()
            };
            let step = 0.1;
            let found = (at(step) - at(-step)) / (2.0 * step);
            assert!((found - slope).abs() < 0.005 * slope, "differences {found}, gradient {slope}");
        }
    }
}
