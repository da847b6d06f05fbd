//! Running a graph: forward, loss, backward, over one shard of a batch.
//!
//! [`Program`] knows where every parameter lies; a plan makes its graph ready for one batch size: layouts, conversions,
//! buffers. A [`Workspace`] holds every buffer of one shard, so that steps allocate next to nothing.
//! [`Lanes`] run the shards of a batch on threads.

mod batch;
mod lanes;
mod layout;
mod outcome;
mod plan;
mod slots;
mod stages;
mod step;
mod synchronised;
mod workspace;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use onebasin_core::graph::{Graph, NodeId, Op, Value, ValueId, ValueSource};
use onebasin_core::{DType, Params, Tensor};

pub use batch::{Batch, Feed, Found};
pub use lanes::Lanes;
pub use outcome::Outcome;
pub use plan::Wants;
use plan::{Plan, runnable};
pub(crate) use stages::{Stages, Tap};
pub use workspace::Workspace;

use crate::error::{Error, Result};
use crate::ops::batch_norm::Moments;
use crate::ops::{Layout, Real};
use crate::task::Task;

/// A graph with a place for every parameter.
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
    params: Vec<Place>,
    constants: Vec<Vec<T>>,
    work: Work,
    plans: Mutex<Plans<T>>,
}

/// Plans by batch size and by what is wanted of them.
type Plans<T> = HashMap<(usize, Wants), Arc<Plan<T>>>;

/// A network's numbers, parameter after parameter in the order of [`Graph::params`].
///
/// Weights of convolutions `[O, C, kernel…]` lie as `[O, kernel…, C]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Flat<T = f32> {
    /// What is trained: every parameter but the running statistics.
    pub weights: Vec<T>,
    /// Running means and variances of BatchNorms.
    pub statistics: Vec<T>,
}

/// Where a parameter lies: in the weights if it is trained, else in the statistics.
#[derive(Debug, Clone)]
struct Place {
    trained: bool,
    range: Range<usize>,
    layout: Layout,
}

/// How much work one sample is.
#[derive(Debug, Clone, Copy)]
struct Work {
    /// Numbers in all values of a sample.
    numbers: f64,
    /// Multiply-adds of products.
    multiply_adds: f64,
    /// Multiply-adds per weight.
    reuse: f64,
}

impl<T: Real> Program<T> {
    /// Prepares a graph.
    ///
    /// # Errors
    /// [`Error::Operator`] names a node that cannot run; [`Error::Options`] says if the graph has no input or output.
    pub fn new(graph: Graph) -> Result<Self> {
        for node in graph.nodes() {
            runnable::<T>(node, &node.op)?;
        }
        let Some(input) = graph.inputs().next() else { return Err(Error::Options("the network has no input".into())) };
        if !matches!(
            graph.outputs().first().map(|v| &graph.value(*v).source),
            Some(ValueSource::Node(..) | ValueSource::Input)
        ) {
            return Err(Error::Options("the network has no output that is computed".into()));
        }
        let constants = graph.values().iter().filter_map(|v| match &v.source {
            ValueSource::Constant(tensor) => Some(numbers(tensor)),
            _ => None,
        });
        let constants = constants.collect::<Result<_>>()?;
        let work = Work::of(&graph, graph.shape(input).first().copied().unwrap_or(1).max(1));
        Ok(Self { params: places(&graph), constants, work, plans: Mutex::default(), graph })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Multiply-adds of its products for one sample, forward; a training step takes three times as many.
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

    fn end(&self, trained: bool) -> usize {
        self.params.iter().rev().find(|p| p.trained == trained).map_or(0, |p| p.range.end)
    }

    /// Parameters, and where they lie.
    fn placed(&self) -> impl Iterator<Item = (&Value, &Place)> {
        self.graph.params().zip(&self.params)
    }

    /// Copies a network's tensors into flat vectors.
    ///
    /// # Errors
    /// If a tensor is missing, is no float, or has another number of elements than the graph says.
    pub fn flatten(&self, params: &Params) -> Result<Flat<T>> {
        Ok(Flat { weights: self.flatten_weights(params)?, statistics: self.gather(params, false)? })
    }

    /// Copies those tensors that are trained into one flat vector.
    pub fn flatten_weights(&self, params: &Params) -> Result<Vec<T>> {
        self.gather(params, true)
    }

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

    /// The tensors of flat vectors.
    pub fn unflatten(&self, flat: &Flat<T>) -> Result<Params> {
        self.placed().map(|(value, place)| tensor(value, place, flat.of(place))).collect()
    }

    /// The tensors of a vector as long as the weights: weights, gradients, an optimiser's moments.
    pub fn unflatten_weights(&self, weights: &[T]) -> Result<Params> {
        let trained = self.placed().filter(|(_, place)| place.trained);
        trained.map(|(value, place)| tensor(value, place, &weights[place.range.clone()])).collect()
    }

    /// The plan for a batch size, made when it is first asked for.
    fn plan(&self, batch: usize, wants: &Wants) -> Result<Arc<Plan<T>>> {
        let key = (batch, wants.clone());
        let known = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(plan) = known {
            return Ok(plan);
        }
        let plan = Arc::new(Plan::new(self, batch, wants)?);
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
    pub fn forward(&self, flat: &Flat<T>, space: &mut Workspace<T>) {
        let steps = 0..space.plan().steps.len();
        space.forward(self, flat, steps, None);
    }

    /// Gradient of `scale ·` the summed loss of the last forward pass with respect to the weights, into the workspace.
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

    fn pull_back(&self, flat: &Flat<T>, space: &mut Workspace<T>) {
        let mut d_weights = std::mem::take(&mut space.d_weights);
        d_weights.fill(T::default());
        space.backward(self, flat, 0..space.plan().steps.len(), &mut d_weights);
        space.d_weights = d_weights;
    }

    /// Moves the running statistics towards those of a batch.
    ///
    /// Formula: `r ← (1 − momentum) r + momentum · s`, with the batch's mean, and its variance with divisor `n − 1`.
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

impl<T> Flat<T> {
    fn of(&self, place: &Place) -> &[T] {
        let all = if place.trained { &self.weights } else { &self.statistics };
        &all[place.range.clone()]
    }
}

/// What a network answers: the values that leave it, in its order and each once, but for parameters and constants.
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

/// The values of a constant of any type; integers above 2⁵³ are rounded.
fn numbers<T: Real>(tensor: &Tensor) -> Result<Vec<T>> {
    fn decode<T: Real, const N: usize>(tensor: &Tensor, read: impl Fn([u8; N]) -> f64) -> Vec<T> {
        let (numbers, _) = tensor.bytes().as_chunks();
        numbers.iter().map(|bytes| T::of(read(*bytes))).collect()
    }
    Ok(match tensor.dtype() {
        DType::F64 | DType::F32 | DType::F16 | DType::BF16 => T::values(tensor)?.into_owned(),
        DType::I64 => decode(tensor, |b| i64::from_le_bytes(b) as f64),
        DType::I32 => decode(tensor, |b| f64::from(i32::from_le_bytes(b))),
        DType::I16 => decode(tensor, |b| f64::from(i16::from_le_bytes(b))),
        DType::I8 => decode(tensor, |b| f64::from(i8::from_le_bytes(b))),
        DType::U64 => decode(tensor, |b| u64::from_le_bytes(b) as f64),
        DType::U32 => decode(tensor, |b| f64::from(u32::from_le_bytes(b))),
        DType::U16 => decode(tensor, |b| f64::from(u16::from_le_bytes(b))),
        DType::U8 | DType::Bool => decode(tensor, |[b]| f64::from(b)),
    })
}

/// Copies a parameter's tensor to its place.
fn copy<T: Real>(value: &Value, place: &Place, params: &Params, to: &mut [T]) -> Result<()> {
    let tensor = params.require(&value.name)?;
    if tensor.len() != to.len() {
        return Err(Error::Weights {
            network: "graph".to_owned(),
            tensor: value.name.clone(),
            expected: value.shape.clone(),
            found: format!("{:?}", tensor.shape()),
        });
    }
    let values = T::values(tensor)?;
    match &value.shape[..] {
        [o, c, kernel @ ..] if place.layout == Layout::ChannelsLast => {
            layout::transpose([*o, *c, kernel.iter().product()], &values, to, |y, x| *y = x);
        }
        _ => to.copy_from_slice(&values),
    }
    Ok(())
}

/// A parameter's name and tensor.
fn tensor<T: Real>(value: &Value, place: &Place, numbers: &[T]) -> Result<(String, Tensor)> {
    let mut numbers = numbers.to_vec();
    if let ([o, c, kernel @ ..], Layout::ChannelsLast) = (&value.shape[..], place.layout) {
        let source = numbers.clone();
        layout::transpose([*o, kernel.iter().product(), *c], &source, &mut numbers, |y, x| *y = x);
    }
    Ok((value.name.clone(), T::tensor(&value.shape, numbers)?))
}

/// Lays the parameters out. What a convolution takes as its weight lies channels-last.
fn places(graph: &Graph) -> Vec<Place> {
    let statistics: Vec<ValueId> = graph.statistics().collect();
    let convolutions = graph.nodes().iter().filter(|n| matches!(n.op, Op::Conv(_) | Op::ConvTranspose { .. }));
    let kernels: Vec<ValueId> = convolutions.map(|n| n.inputs[1]).collect();
    let mut ends = [0, 0];
    let place = |id: ValueId| {
        let trained = !statistics.contains(&id);
        let end = &mut ends[usize::from(trained)];
        let start = *end;
        *end += graph.shape(id).iter().product::<usize>();
        let layout = if kernels.contains(&id) { Layout::ChannelsLast } else { Layout::Plain };
        Place { trained, range: start..*end, layout }
    };
    graph.ids().filter(|v| graph.value(*v).source == ValueSource::Param).map(place).collect()
}

impl Work {
    fn of(graph: &Graph, batch: usize) -> Self {
        let count = |v: ValueId| graph.shape(v).iter().map(|n| *n as f64).product::<f64>();
        let computed = |v: &ValueId| matches!(graph.value(*v).source, ValueSource::Input | ValueSource::Node(..));
        let numbers = graph.ids().filter(computed).map(count).sum::<f64>() / batch as f64;
        let products = graph.nodes().iter().map(|node| {
            let [x, w, ..] = node.inputs[..] else { return 0.0 };
            let output = count(node.outputs[0]);
            match &node.op {
                Op::Linear => output * graph.shape(w)[1] as f64,
                Op::Conv(_) => output * count(w) / graph.shape(w)[0] as f64,
                Op::ConvTranspose { .. } => count(x) * count(w) / graph.shape(w)[0] as f64,
                Op::MatMul => output * graph.shape(x).last().map_or(1.0, |n| *n as f64),
                Op::Recurrent { .. } => {
                    let steps: usize = graph.shape(x).iter().take(2).product();
                    steps as f64 * (count(w) + count(node.inputs[2]))
                }
                _ => 0.0,
            }
        });
        let weights: f64 = graph.params().map(|p| p.shape.iter().product::<usize>() as f64).sum();
        let multiply_adds = products.sum::<f64>() / batch as f64;
        Self { numbers, multiply_adds, reuse: (multiply_adds / weights.max(1.0)).max(f64::EPSILON) }
    }
}
