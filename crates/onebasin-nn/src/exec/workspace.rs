//! The buffers of one shard, and the steps that run on them.

use std::ops::Range;
use std::sync::Arc;

use onebasin_core::graph::ValueId;

use super::buffers::Buffers;
use super::layout::memory_axis;
use super::plan::{BatchPlan, Wants};
use super::step::{BatchStep, Operand, StepInput, StepWork};
use super::{Flat, Program};
use crate::error::Result;
use crate::ops::batch_norm::{BatchNorm, Moments, Statistics, Sums};
use crate::ops::{Call, Real, add};

/// All buffers one shard needs: what goes in, every value, every gradient, and what kernels keep.
///
/// Cost: forward only, buffers share memory as soon as a value is no longer needed; with gradients every value is kept.
///
/// ```
/// use onebasin_nn::exec::{Program, Workspace};
/// use onebasin_nn::Network;
/// let network = Network::new("mlp:16x1", &[8], 3)?;
/// let program = Program::new(network.graph()?)?;
/// let flat = program.flatten(&network.init(0)?)?;
/// let mut space = Workspace::inference(&program, 4)?;
/// space.input(0).fill(0.5);
/// program.forward(&flat, &mut space);
/// assert_eq!(space.output().len(), 4 * 3);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub struct Workspace<T: Real = f32> {
    wants: Wants,
    buffers: Buffers<T>,
    /// What kernels keep between forward and backward, by step; the last one is shared.
    scratch: Vec<Vec<T>>,
    /// Gradient with respect to the weights, after [`Program::backward`].
    pub d_weights: Vec<T>,
}

impl<T: Real> Workspace<T> {
    /// Buffers for `batch` samples, forward only.
    ///
    /// # Errors
    /// If the network's shapes do not allow this batch, or it takes more memory than the program [may](Program::within).
    pub fn inference(program: &Program<T>, batch: usize) -> Result<Self> {
        Self::new(program, batch, Wants::default())
    }

    /// Buffers for `batch` samples, forward and backward.
    ///
    /// # Errors
    /// As [`Self::inference`].
    pub fn training(program: &Program<T>, batch: usize) -> Result<Self> {
        Self::new(program, batch, Wants { gradients: true, ..Wants::default() })
    }

    /// Buffers for `batch` samples and whatever is wanted of them.
    ///
    /// # Errors
    /// As [`Self::inference`].
    ///
    /// ```
    /// use onebasin_nn::exec::{Program, Wants, Workspace};
    /// use onebasin_nn::Network;
    /// let network = Network::new("mlp:16x1", &[8], 3)?;
    /// let graph = network.graph()?;
    /// let hidden = graph.nodes()[1].outputs[0]; // behind the ReLU
    /// let (program, wants) = (Program::<f32>::new(graph)?, Wants { values: vec![hidden], ..Wants::default() });
    /// let mut space = Workspace::new(&program, 4, wants)?;
    /// program.forward(&program.flatten(&network.init(0)?)?, &mut space);
    /// assert_eq!(space.value(hidden).map(|(_, shape)| shape), Some(&[4, 16][..]));
    /// # Ok::<(), onebasin_nn::Error>(())
    /// ```
    pub fn new(program: &Program<T>, batch: usize, wants: Wants) -> Result<Self> {
        program.afford(batch, &wants, 1)?;
        let d_weights = if wants.gradients { vec![T::default(); program.weight_count()] } else { Vec::new() };
        Ok(Self { d_weights, ..Self::of_lane(program, batch, wants)? })
    }

    /// Buffers without a gradient of the weights, which the lane holds.
    pub(super) fn of_lane(program: &Program<T>, batch: usize, wants: Wants) -> Result<Self> {
        let buffers = Buffers { plan: program.plan(batch, &wants)?, values: Vec::new(), gradients: Vec::new() };
        let mut space = Self { wants, buffers, scratch: Vec::new(), d_weights: Vec::new() };
        space.allocate();
        Ok(space)
    }

    /// Makes the buffers fit another number of samples; memory is kept.
    ///
    /// # Errors
    /// As [`Self::inference`].
    pub fn resize(&mut self, program: &Program<T>, batch: usize) -> Result<()> {
        if batch != self.batch() {
            self.buffers.plan = program.plan(batch, &self.wants)?;
            self.allocate();
        }
        Ok(())
    }

    /// Makes slots as long as the plan says, where they are shorter.
    fn allocate(&mut self) {
        fn grow<T: Real>(slots: &mut Vec<Vec<T>>, lens: &[usize]) {
            slots.resize_with(lens.len().max(slots.len()), Vec::new);
            for (slot, &len) in slots.iter_mut().zip(lens) {
                slot.resize(len.max(slot.len()), T::default());
            }
        }
        let Buffers { plan, values, gradients } = &mut self.buffers;
        grow(values, &plan.value_slots);
        grow(gradients, &plan.gradient_slots);
        self.scratch.resize_with(plan.steps.len() + 1, Vec::new);
    }

    /// Number of samples.
    pub fn batch(&self) -> usize {
        self.buffers.plan.batch
    }

    /// What is run for this number of samples.
    pub(super) fn plan(&self) -> &BatchPlan<T> {
        &self.buffers.plan
    }

    /// Where input number `index` of the network goes, one row per sample.
    ///
    /// # Panics
    /// If the network has no such input.
    pub fn input(&mut self, index: usize) -> &mut [T] {
        let Buffers { plan, values, .. } = &mut self.buffers;
        let buffer = &plan.buffers[plan.inputs[index]];
        &mut values[buffer.slot][..buffer.len]
    }

    /// Where all inputs of the network go, in its order, one row per sample each.
    pub fn inputs(&mut self) -> Vec<&mut [T]> {
        let Buffers { plan, values, .. } = &mut self.buffers;
        // Inputs are placed before all else, in their order: theirs are the first slots.
        let lens = plan.inputs.iter().map(|b| plan.buffers[*b].len);
        values.iter_mut().zip(lens).map(|(slot, len)| &mut slot[..len]).collect()
    }

    /// The first output of the last forward pass, one row per sample.
    pub fn output(&self) -> &[T] {
        self.buffers.value(self.plan().outputs[0])
    }

    /// All outputs of the last forward pass, those of [`outputs`](super::outputs).
    pub fn outputs(&self) -> Vec<&[T]> {
        self.plan().outputs.iter().map(|b| self.buffers.value(*b)).collect()
    }

    /// A value of the last forward pass with its shape, as the graph says: an output or one of [`Wants::values`].
    pub fn value(&self, value: ValueId) -> Option<(&[T], &[usize])> {
        let (_, buffer, shape) = self.plan().kept.iter().find(|(v, ..)| *v == value)?;
        Some((self.buffers.value(*buffer), shape))
    }

    /// The numbers of a buffer of the plan, whatever is in them at this time.
    pub(super) fn buffer(&self, buffer: usize) -> &[T] {
        self.buffers.value(buffer)
    }

    /// Gradient with respect to input number `index`, after a backward pass; none if it was not wanted or nothing
    /// depends on the input.
    pub fn input_gradient(&self, index: usize) -> Option<&[T]> {
        let plan = self.plan();
        let buffer = &plan.buffers[*plan.inputs.get(index)?];
        buffer.gradient.map(|slot| &self.buffers.gradients[slot][..buffer.len])
    }

    /// Runs steps forward. BatchNorms use these statistics of the batch, one for each BatchNorm of the plan, or else their
    /// running statistics.
    pub(super) fn forward(
        &mut self,
        program: &Program<T>,
        flat: &Flat<T>,
        steps: Range<usize>,
        norms: Option<&[Statistics<T>]>,
    ) {
        let plan = Arc::clone(&self.buffers.plan);
        for k in steps {
            let step = &plan.steps[k];
            let slots = step.outputs.iter().map(|(b, _)| plan.buffers[*b].slot);
            let mut owned: Vec<Vec<T>> = slots.clone().map(|s| std::mem::take(&mut self.buffers.values[s])).collect();
            let lens = step.outputs.iter().map(|(b, _)| plan.buffers[*b].len);
            let mut outputs: Vec<&mut [T]> = owned.iter_mut().zip(lens).map(|(v, len)| &mut v[..len]).collect();
            if let (Some(norms), StepWork::BatchNorm(_)) = (norms, &step.work) {
                let call = self.buffers.norm(k, program, flat);
                let number = plan.batch_norms.partition_point(|s| *s < k);
                norms[number].normalise(call.x, call.gain, call.bias, outputs[0]);
            } else {
                let kernel = step.work.kernel();
                let inputs = self.buffers.inputs(step, program, flat);
                let (input_shapes, output_shapes) = shapes(step);
                let call = Call { inputs: &inputs, input_shapes: &input_shapes, output_shapes: &output_shapes };
                let at = if kernel.shares_scratch() { self.scratch.len() - 1 } else { k };
                kernel.forward(&call, &mut outputs, &mut self.scratch[at]);
            }
            slots.zip(owned).for_each(|(s, v)| self.buffers.values[s] = v);
        }
    }

    /// The BatchNorm that is step `k`.
    pub(super) fn norm(&self, k: usize) -> Option<BatchNorm> {
        self.plan().norm(k)
    }

    /// Moments of what goes into the BatchNorm that is step `k`.
    pub(super) fn moments(&self, k: usize, program: &Program<T>, flat: &Flat<T>) -> Moments {
        let call = self.buffers.norm(k, program, flat);
        Moments::of(call.x, call.gain.len())
    }

    /// Runs these steps and gives the moments of what goes into the next one if it is a BatchNorm; else runs that one too
    /// and gives those of what comes out. Units are counted by these neighbouring axes of the graph.
    pub(super) fn tap(
        &mut self,
        program: &Program<T>,
        flat: &Flat<T>,
        steps: Range<usize>,
        axes: &Range<usize>,
    ) -> Moments {
        let k = steps.end;
        if self.norm(k).is_some() {
            self.forward(program, flat, steps, None);
            return self.moments(k, program, flat);
        }
        self.forward(program, flat, steps.start..k + 1, None);
        let step = &self.plan().steps[k];
        let (buffer, shape) = &step.outputs[0];
        let first = memory_axis(axes.start, shape.len(), step.layout);
        let (units, inner) = shape[first..].split_at(axes.len());
        Moments::within(self.buffers.value(*buffer), units.iter().product(), inner.iter().product())
    }

    /// Exchanges what kernels keep for themselves between forward passes: nothing that a forward pass reads.
    pub(super) fn exchange_scratch(&mut self, other: &mut Vec<Vec<T>>) {
        other.resize_with(self.scratch.len(), Vec::new);
        std::mem::swap(&mut self.scratch, other);
    }

    /// Writes the gradients of all outputs: `write(outputs, gradients)`.
    pub(super) fn seed(&mut self, write: impl FnOnce(&[&[T]], &mut [&mut [T]])) {
        let plan = Arc::clone(&self.buffers.plan);
        let mut owned: Vec<Vec<T>> =
            plan.outputs.iter().map(|b| self.buffers.take_gradient(*b).unwrap_or_default()).collect();
        let lens = plan.outputs.iter().map(|b| plan.buffers[*b].len);
        let mut seeds: Vec<&mut [T]> = owned.iter_mut().zip(lens).map(|(seed, len)| &mut seed[..len]).collect();
        write(&self.outputs(), &mut seeds);
        plan.outputs.iter().zip(owned).for_each(|(b, seed)| self.buffers.put_gradient(*b, seed));
    }

    /// Runs steps backward, last first; gradients of weights are added to `d_weights`.
    pub(super) fn backward(&mut self, program: &Program<T>, flat: &Flat<T>, steps: Range<usize>, d_weights: &mut [T]) {
        let plan = Arc::clone(&self.buffers.plan);
        for k in steps.rev().filter(|k| plan.steps[*k].backward) {
            let step = &plan.steps[k];
            self.buffers.clear(step);
            let first = |i: usize| step.inputs[..i].iter().all(|o| o.operand != step.inputs[i].operand);
            let mut owned = Vec::new();
            let mut ranges = Vec::new();
            for (i, input) in step.inputs.iter().enumerate() {
                let (mut own, mut range) = (None, None);
                match input.operand {
                    Operand::Param(_) | Operand::Buffer(_) | Operand::Constant(_) if !input.wanted => {}
                    Operand::Param(p) if first(i) => range = Some(program.params[p].range.clone()),
                    Operand::Buffer(b) if first(i) => own = self.buffers.take_gradient(b),
                    Operand::Param(_) | Operand::Buffer(_) | Operand::Constant(_) => {
                        own = Some(vec![T::default(); len(input)]);
                    }
                }
                owned.push(own);
                ranges.push(range);
            }
            let mut d_inputs = disjoint(d_weights, &ranges);
            for ((part, own), input) in d_inputs.iter_mut().zip(&mut owned).zip(&step.inputs) {
                if let Some(own) = own {
                    *part = Some(&mut own[..len(input)]);
                }
            }
            let kernel = step.work.kernel();
            let inputs = self.buffers.inputs(step, program, flat);
            let (input_shapes, output_shapes) = shapes(step);
            let call = Call { inputs: &inputs, input_shapes: &input_shapes, output_shapes: &output_shapes };
            let outputs: Vec<&[T]> = step.outputs.iter().map(|(b, _)| self.buffers.value(*b)).collect();
            let d_outputs: Vec<&[T]> = step.outputs.iter().map(|(b, _)| self.buffers.gradient(*b)).collect();
            let at = if kernel.shares_scratch() { self.scratch.len() - 1 } else { k };
            kernel.backward(&call, &outputs, &d_outputs, &mut d_inputs, &mut self.scratch[at]);
            for (i, own) in owned.into_iter().enumerate() {
                match (own, step.inputs[i].operand) {
                    (Some(own), Operand::Buffer(b)) if first(i) => self.buffers.put_gradient(b, own),
                    (Some(own), Operand::Buffer(b)) => add(self.buffers.gradient_mut(b), &own),
                    (Some(own), Operand::Param(p)) => add(&mut d_weights[program.params[p].range.clone()], &own),
                    (Some(_), Operand::Constant(_)) | (None, _) => {}
                }
            }
        }
    }

    /// What this shard adds to the sums in the backward pass of the BatchNorm that is step `k`.
    pub(super) fn norm_sums(&self, k: usize, program: &Program<T>, flat: &Flat<T>, norm: &Statistics<T>) -> Sums {
        let step = &self.plan().steps[k];
        let call = self.buffers.norm(k, program, flat);
        if step.backward {
            Sums::of(call.x, self.buffers.gradient(step.outputs[0].0), norm)
        } else {
            Sums::zero(call.gain.len())
        }
    }

    /// Runs the BatchNorm that is step `k` backward, given the batch's statistics and sums.
    pub(super) fn backward_norm(
        &mut self,
        k: usize,
        program: &Program<T>,
        flat: &Flat<T>,
        norm: &Statistics<T>,
        sums: &Sums,
    ) {
        let plan = Arc::clone(&self.buffers.plan);
        let step = &plan.steps[k];
        let (Operand::Buffer(x), true) = (step.inputs[0].operand, step.backward) else { return };
        self.buffers.clear(step);
        if !step.inputs[0].wanted {
            return;
        }
        let mut dx = self.buffers.take_gradient(x).unwrap_or_default();
        let call = self.buffers.norm(k, program, flat);
        let dy = self.buffers.gradient(step.outputs[0].0);
        norm.backward_batch(call.x, dy, sums, call.gain, &mut dx[..dy.len()]);
        self.buffers.put_gradient(x, dx);
    }
}

/// Numbers of an input.
fn len(input: &StepInput) -> usize {
    input.shape.iter().product()
}

/// Shapes of a step's inputs, and of its outputs.
fn shapes<T>(step: &BatchStep<T>) -> (Vec<&[usize]>, Vec<&[usize]>) {
    (
        step.inputs.iter().map(|i| i.shape.as_slice()).collect(),
        step.outputs.iter().map(|(_, shape)| shape.as_slice()).collect(),
    )
}

/// Disjoint ranges of one slice, borrowed at once.
fn disjoint<'a, T>(slice: &'a mut [T], ranges: &[Option<Range<usize>>]) -> Vec<Option<&'a mut [T]>> {
    let mut order: Vec<(usize, &Range<usize>)> =
        ranges.iter().enumerate().filter_map(|(k, r)| Some((k, r.as_ref()?))).collect();
    order.sort_unstable_by_key(|(_, r)| r.start);
    let mut parts: Vec<Option<&'a mut [T]>> = ranges.iter().map(|_| None).collect();
    let (mut rest, mut from) = (slice, 0);
    for (k, range) in order {
        let (_, tail) = rest.split_at_mut(range.start - from);
        let (part, tail) = tail.split_at_mut(range.len());
        (rest, from) = (tail, range.end);
        parts[k] = Some(part);
    }
    parts
}
