//! The numbers of a workspace, buffer by buffer.

use std::sync::Arc;

use super::plan::BatchPlan;
use super::step::{BatchStep, Operand};
use super::{Flat, Program};
use crate::ops::Real;

/// Numbers by slot, and which buffer lies in which.
pub(super) struct Buffers<T> {
    pub plan: Arc<BatchPlan<T>>,
    pub values: Vec<Vec<T>>,
    pub gradients: Vec<Vec<T>>,
}

/// The parts of a BatchNorm's call that it needs when it runs for a whole batch.
pub(super) struct NormInputs<'a, T> {
    pub x: &'a [T],
    pub gain: &'a [T],
    pub bias: &'a [T],
}

impl<T: Real> Buffers<T> {
    /// The numbers of a buffer.
    pub(super) fn value(&self, buffer: usize) -> &[T] {
        let buffer = &self.plan.buffers[buffer];
        &self.values[buffer.slot][..buffer.len]
    }

    /// The gradient of a buffer; empty if it has none.
    pub(super) fn gradient(&self, buffer: usize) -> &[T] {
        let buffer = &self.plan.buffers[buffer];
        buffer.gradient.map_or(&[], |slot| &self.gradients[slot][..buffer.len])
    }

    /// The same, to be written.
    pub(super) fn gradient_mut(&mut self, buffer: usize) -> &mut [T] {
        let buffer = &self.plan.buffers[buffer];
        match buffer.gradient {
            Some(slot) => &mut self.gradients[slot][..buffer.len],
            None => &mut [],
        }
    }

    /// Takes a gradient out of its slot, to be written while other buffers are read.
    pub(super) fn take_gradient(&mut self, buffer: usize) -> Option<Vec<T>> {
        self.plan.buffers[buffer].gradient.map(|slot| std::mem::take(&mut self.gradients[slot]))
    }

    /// Puts a gradient back.
    pub(super) fn put_gradient(&mut self, buffer: usize, gradient: Vec<T>) {
        if let Some(slot) = self.plan.buffers[buffer].gradient {
            self.gradients[slot] = gradient;
        }
    }

    /// Sets to zero what a step is the first to add to.
    pub(super) fn clear(&mut self, step: &BatchStep<T>) {
        step.clear.iter().for_each(|b| self.gradient_mut(*b).fill(T::default()));
    }

    /// The numbers that an input of a step stands for.
    pub(super) fn operand<'a>(&'a self, operand: Operand, program: &'a Program<T>, flat: &'a Flat<T>) -> &'a [T] {
        match operand {
            Operand::Buffer(b) => self.value(b),
            Operand::Param(p) => flat.of(&program.params[p]),
            Operand::Constant(c) => &program.constants[c],
        }
    }

    /// The numbers of all inputs of a step.
    pub(super) fn inputs<'a>(
        &'a self,
        step: &BatchStep<T>,
        program: &'a Program<T>,
        flat: &'a Flat<T>,
    ) -> Vec<&'a [T]> {
        step.inputs.iter().map(|i| self.operand(i.operand, program, flat)).collect()
    }

    /// The inputs of the BatchNorm that is step `k`.
    pub(super) fn norm<'a>(&'a self, k: usize, program: &'a Program<T>, flat: &'a Flat<T>) -> NormInputs<'a, T> {
        let step = &self.plan.steps[k];
        let input = |i: usize| self.operand(step.inputs[i].operand, program, flat);
        NormInputs { x: input(0), gain: input(1), bias: input(2) }
    }
}
