//! Running a graph: forward, loss, backward, over one shard of a batch.
//!
//! [`Program`] knows where every parameter lies; a plan makes its graph ready for one batch size: layouts, conversions,
//! buffers. A [`Workspace`] holds every buffer of one shard, so that steps allocate next to nothing.
//! [`Lanes`] run the shards of a batch on threads.

mod batch;
mod buffers;
mod flat;
mod lanes;
mod layout;
mod lockstep;
mod outcome;
mod plan;
mod slots;
mod stages;
mod step;
mod synchronised;
mod work;
mod workspace;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use onebasin_core::Params;
use onebasin_core::graph::{Graph, NodeId, Value, ValueId, ValueSource};

pub use batch::{Batch, BatchOutcome, Feed};
pub use flat::Flat;
pub(crate) use flat::numbers;
use flat::{ParamPlace, copy, places, tensor};
pub use lanes::Lanes;
pub(crate) use lockstep::{Lockstep, View};
pub use outcome::Outcome;
pub use plan::Wants;
use plan::{BatchPlan, runnable};
pub(crate) use stages::{Stages, Tap};
use work::SampleWork;
pub use workspace::Workspace;

use crate::error::{Error, Result};
use crate::memory::{self, machine_memory};
use crate::ops::Real;
use crate::ops::batch_norm::Moments;
use crate::task::Task;

/// A graph with a place for every parameter, and its plans: what to run for a number of samples, made when it is first asked
/// for and kept.
///
/// Of a network it holds nothing: tensors come as [`Flat`], buffers as [`Workspace`], so that one program runs many networks,
/// on many threads. What most need is done by [`evaluate`](crate::evaluate()), [`gradient`](crate::gradient()) and
/// [`predict`](crate::predict()), which take a program.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_nn::exec::{Flat, Program, Workspace};
/// let mut graph = Graph::new();
/// let x = graph.input("x", &[1, 2])?;
/// let y = graph.linear("fc", x, 1)?;
/// graph.output(y);
/// let program = Program::new(graph)?;
/// let mut space = Workspace::inference(&program, 2)?;
/// space.input(0).copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
/// program.forward(&Flat { weights: vec![1.0_f32, 10.0, 0.5], statistics: vec![] }, &mut space);
/// assert_eq!(space.output(), [21.5, 43.5]);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub struct Program<T: Real = f32> {
    graph: Graph,
    params: Vec<ParamPlace>,
    constants: Vec<Vec<T>>,
    work: SampleWork,
    /// Bytes that running it may take.
    memory: u64,
    plans: Mutex<Plans<T>>,
}

/// Plans by batch size and by what is wanted of them.
type Plans<T> = HashMap<(usize, Wants), Arc<BatchPlan<T>>>;

impl<T: Real> Program<T> {
    /// Prepares a graph.
    ///
    /// Cost: one look at every node; the graph's constants are copied.
    ///
    /// # Errors
    /// [`Error::Operator`] names a node that cannot run; [`Error::Options`] says if the graph has no input or output.
    pub fn new(graph: Graph) -> Result<Self> {
        for node in graph.nodes() {
            runnable::<T>(node, &node.op)?;
        }
        if graph.inputs().next().is_none() {
            return Err(Error::Options("the network has no input".into()));
        }
        if !matches!(
            graph.outputs().first().map(|v| &graph.value(*v).source),
            Some(ValueSource::Node(..) | ValueSource::Input)
        ) {
            return Err(Error::Options("the network has no output that is computed".into()));
        }
        let constants = graph.values().iter().filter_map(|v| match &v.source {
            ValueSource::Constant(tensor) => Some(numbers(tensor)),
            ValueSource::Input | ValueSource::Param | ValueSource::Node(..) => None,
        });
        let constants = constants.collect::<Result<_>>()?;
        let work = SampleWork::of(&graph, graph.batch().max(1));
        let memory = machine_memory();
        Ok(Self { params: places(&graph), constants, work, memory, plans: Mutex::default(), graph })
    }

    /// The same, which may take this many bytes of memory when it runs, instead of what the
    /// [machine has](machine_memory).
    ///
    /// What counts is its tensors and constants, and of every workspace the values (and gradients) it holds at a time.
    ///
    /// ```
    /// use onebasin_nn::Network;
    /// use onebasin_nn::exec::{Program, Workspace};
    /// let program = Program::<f32>::new(Network::new("mlp:16x1", &[8], 3)?.graph()?)?.within(10_000);
    /// assert!(Workspace::inference(&program, 4).is_ok());
    /// let error = Workspace::inference(&program, 4000).err().unwrap().to_string();
    /// assert!(error.starts_with("running 4000 samples of the network takes"));
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    #[must_use]
    pub fn within(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// A program of another graph, which may take as much memory as this one.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn of(&self, graph: Graph) -> Result<Self> {
        Ok(Self { memory: self.memory, ..Self::new(graph)? })
    }

    /// Passes if so many samples can be run forward in the memory that there may be. Nothing is allocated.
    ///
    /// # Errors
    /// [`Error::Memory`], and if the network's shapes do not allow this batch.
    ///
    /// ```
    /// use onebasin_nn::Network;
    /// use onebasin_nn::exec::Program;
    /// let program = Program::<f32>::new(Network::new("mlp:16x1", &[8], 3)?.graph()?)?;
    /// assert!(program.ensure_memory(1000).is_ok());
    /// assert!(program.within(1000).ensure_memory(1001).is_err());
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn ensure_memory(&self, batch: usize) -> Result<()> {
        self.plan(batch, &Wants::default()).map(drop)
    }

    /// Passes if this many workspaces for `batch` samples, each with a gradient of the weights if one is wanted, can be
    /// had at a time.
    pub(crate) fn afford(&self, batch: usize, wants: &Wants, spaces: usize) -> Result<()> {
        let plan = self.plan(batch, wants)?;
        self.afford_plan(&plan, wants, spaces)
    }

    /// Passes if `shards` shards of `batch` samples can be run forward, as many side by side as there are threads.
    pub(crate) fn ensure_threads(&self, batch: usize, shards: usize) -> Result<()> {
        match shards.min(rayon::current_num_threads()) {
            0 => Ok(()),
            spaces => self.afford(batch, &Wants::default(), spaces),
        }
    }

    fn afford_plan(&self, plan: &BatchPlan<T>, wants: &Wants, spaces: usize) -> Result<()> {
        let sum = |lens: &[usize]| lens.iter().map(|n| *n as u128).sum::<u128>();
        let weights = self.weight_count() as u128;
        let gradient = if wants.gradients { weights } else { 0 };
        let each = sum(&plan.value_slots) + sum(&plan.gradient_slots) + gradient;
        let constants: u128 = self.constants.iter().map(|c| c.len() as u128).sum();
        let numbers = weights + self.statistic_count() as u128 + constants + spaces as u128 * each;
        let samples = spaces as u128 * plan.batch as u128;
        let what = || format!("running {samples} samples of the network");
        memory::ensure(what, numbers * size_of::<T>() as u128, self.memory)
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Multiply-adds of its products for one sample, forward; a training step takes three times as many.
    ///
    /// ```
    /// use onebasin_nn::exec::Program;
    /// use onebasin_nn::Network;
    /// let program = Program::<f32>::new(Network::new("mlp:16x1", &[8], 3)?.graph()?)?;
    /// assert_eq!(program.multiply_adds(), f64::from(8 * 16 + 16 * 3));
    /// assert_eq!(program.weight_count(), 8 * 16 + 16 + 16 * 3 + 3);
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn multiply_adds(&self) -> f64 {
        self.work.multiply_adds
    }

    /// Length of the vector that is trained.
    pub fn weight_count(&self) -> usize {
        self.end(true)
    }

    /// Length of the vector of running statistics.
    pub fn statistic_count(&self) -> usize {
        self.end(false)
    }

    /// Where the last parameter of the weights, or the statistics, ends.
    fn end(&self, trained: bool) -> usize {
        self.params.iter().rev().find(|p| p.trained == trained).map_or(0, |p| p.range.end)
    }

    /// Parameters, and where they lie.
    fn placed(&self) -> impl Iterator<Item = (&Value, &ParamPlace)> {
        self.graph.params().zip(&self.params)
    }

    /// Copies a network's tensors into flat vectors, in the numbers that the program computes in.
    ///
    /// Cost: one pass over the tensors. Tensors that are not the graph's are left out.
    ///
    /// # Errors
    /// If a tensor is missing, is no float, or has another shape than the graph says.
    ///
    /// ```
    /// use onebasin_nn::exec::Program;
    /// use onebasin_nn::Network;
    /// let network = Network::new("resnet20-bn:1", &[3, 32, 32], 10)?;
    /// let (program, params) = (Program::<f32>::new(network.graph()?)?, network.init(0)?);
    /// let flat = program.flatten(&params)?;
    /// assert_eq!(program.unflatten(&flat)?, params);
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn flatten(&self, params: &Params) -> Result<Flat<T>> {
        Ok(Flat { weights: self.flatten_weights(params)?, statistics: self.gather(params, false)? })
    }

    /// Copies those tensors that are trained into one flat vector.
    ///
    /// # Errors
    /// As [`Self::flatten`].
    pub fn flatten_weights(&self, params: &Params) -> Result<Vec<T>> {
        self.gather(params, true)
    }

    /// Copies the tensors that are trained, or those that are not.
    fn gather(&self, params: &Params, trained: bool) -> Result<Vec<T>> {
        let mut flat = Vec::with_capacity(self.end(trained));
        for (value, place) in self.placed().filter(|(_, p)| p.trained == trained) {
            flat.resize(place.range.end, T::default());
            copy(value, place, params, &mut flat[place.range.clone()])?;
        }
        Ok(flat)
    }

    /// Copies the tensors of some parameters again.
    pub(crate) fn refresh(&self, flat: &mut Flat<T>, params: &Params, changed: &[ValueId]) -> Result<()> {
        for &value in changed {
            let value = self.graph.value(value);
            let Some((_, place)) = self.placed().find(|(v, _)| v.name == value.name) else { continue };
            let all = if place.trained { &mut flat.weights } else { &mut flat.statistics };
            copy(value, place, params, &mut all[place.range.clone()])?;
        }
        Ok(())
    }

    /// The tensors of flat vectors, in the numbers that the program computes in.
    ///
    /// # Errors
    /// If tensors cannot be made of them.
    ///
    /// # Panics
    /// If the vectors are shorter than [`Self::weight_count`] and [`Self::statistic_count`].
    pub fn unflatten(&self, flat: &Flat<T>) -> Result<Params> {
        self.placed().map(|(value, place)| tensor(value, place, flat.of(place))).collect()
    }

    /// The tensors of a vector as long as the weights: weights, gradients, an optimiser's moments.
    ///
    /// # Errors
    /// As [`Self::unflatten`].
    pub fn unflatten_weights(&self, weights: &[T]) -> Result<Params> {
        let trained = self.placed().filter(|(_, place)| place.trained);
        trained.map(|(value, place)| tensor(value, place, &weights[place.range.clone()])).collect()
    }

    /// The plan for a batch size, made when it is first asked for.
    fn plan(&self, batch: usize, wants: &Wants) -> Result<Arc<BatchPlan<T>>> {
        let key = (batch, wants.clone());
        let known = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(plan) = known {
            return Ok(plan);
        }
        let plan = Arc::new(BatchPlan::new(self, batch, wants)?);
        self.afford_plan(&plan, wants, 1)?;
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&plan));
        Ok(plan)
    }

    /// Samples of a shard that is run forward only: at most `most`, fewer where a sample has many values, unless there are
    /// many weights to read.
    pub(crate) fn shard(&self, most: usize) -> usize {
        /// Numbers in all values of a shard; buffers are shared, so that far fewer are held at once.
        const NUMBERS: f64 = (1 << 21) as f64;
        /// How often a weight is used once it is read.
        const REUSE: f64 = 1024.0;
        let near = NUMBERS / self.work.numbers.max(1.0);
        (near.max(REUSE / self.work.reuse) as usize).clamp(5, most)
    }

    /// Computes every value for the samples in the workspace's inputs. BatchNorms use their running statistics.
    ///
    /// Cost: [`Self::multiply_adds`] for every sample, on this thread.
    pub fn forward(&self, flat: &Flat<T>, space: &mut Workspace<T>) {
        let steps = 0..space.plan().steps.len();
        space.forward(self, flat, steps, None);
    }

    /// Gradient of `scale ·` the summed loss of the last forward pass with respect to the weights, into the workspace, which
    /// was made for [gradients](Workspace::training).
    ///
    /// Shapes: `targets` as [`Task::outcome`] takes them; [`Workspace::d_weights`] is as long as the weights.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// use onebasin_nn::exec::{Flat, Program, Workspace};
    /// use onebasin_nn::task::Values;
    /// let mut graph = Graph::new();
    /// let x = graph.input("x", &[1, 1])?;
    /// let y = graph.linear("fc", x, 1)?;
    /// graph.output(y);
    /// let (program, flat) = (Program::new(graph)?, Flat { weights: vec![2.0_f32, 0.0], statistics: vec![] });
    /// let mut space = Workspace::training(&program, 1)?;
    /// space.input(0).copy_from_slice(&[3.0]);
    /// program.forward(&flat, &mut space);
    /// program.backward(&flat, &Values, &[5.0], 1.0, &mut space);
    /// assert_eq!(space.d_weights, [6.0, 2.0]); // of (2 · 3 + 0 − 5)²
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn backward(&self, flat: &Flat<T>, task: &dyn Task<T>, targets: &[f32], scale: T, space: &mut Workspace<T>) {
        let samples = space.batch();
        space.seed(|outputs, seeds| task.gradient(outputs, targets, samples, scale, seeds));
        self.pull_back(flat, space);
    }

    /// Gradient of `Σ seed · output`, over all outputs, with respect to the weights, into the workspace.
    ///
    /// # Panics
    /// If the seeds are not as many and as long as the outputs.
    pub fn backward_from(&self, flat: &Flat<T>, seeds: &[&[T]], space: &mut Workspace<T>) {
        assert_eq!(seeds.len(), space.outputs().len(), "one seed per output");
        space.seed(|_, gradients| gradients.iter_mut().zip(seeds).for_each(|(to, seed)| to.copy_from_slice(seed)));
        self.pull_back(flat, space);
    }

    /// Runs backward from the gradients of the outputs.
    fn pull_back(&self, flat: &Flat<T>, space: &mut Workspace<T>) {
        let mut d_weights = std::mem::take(&mut space.d_weights);
        d_weights.fill(T::default());
        space.backward(self, flat, 0..space.plan().steps.len(), &mut d_weights);
        space.d_weights = d_weights;
    }

    /// Moves the running statistics towards those of a batch.
    ///
    /// Formula: `r ← (1 − momentum) r + momentum · s`, with the batch's mean, and its variance with divisor `n − 1`.
    ///
    /// Shapes: `statistics` are those of [`Flat`], `moments` those that [`Lanes::run`] gives.
    pub fn update_statistics(&self, statistics: &mut [T], moments: &[(NodeId, Moments)], momentum: f64) {
        for (node, moments) in moments {
            let found = [moments.mean.clone(), moments.unbiased_variance()];
            for (value, found) in self.graph.node(*node).inputs[3..].iter().zip(found) {
                let name = &self.graph.value(*value).name;
                let Some((_, place)) = self.placed().find(|(v, p)| v.name == *name && !p.trained) else { continue };
                for (r, s) in statistics[place.range.clone()].iter_mut().zip(found) {
                    *r = T::of((1.0 - momentum) * r.wide() + momentum * s);
                }
            }
        }
    }
}

/// What a network answers: the values that leave it, in its order and each once, but for parameters and constants.
///
/// ```
/// use onebasin_nn::{Network, exec::outputs};
/// let graph = Network::new("mlp:16x1", &[8], 3)?.graph()?;
/// assert_eq!(outputs(&graph), graph.outputs());
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn outputs(graph: &Graph) -> Vec<ValueId> {
    let mut outputs: Vec<ValueId> = Vec::new();
    for value in graph.outputs() {
        let computed = matches!(graph.value(*value).source, ValueSource::Node(..) | ValueSource::Input);
        if computed && !outputs.contains(value) {
            outputs.push(*value);
        }
    }
    outputs
}
