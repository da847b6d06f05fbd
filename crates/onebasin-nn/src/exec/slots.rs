//! Which buffers share memory, because one is no longer needed when the next is made.

use onebasin_core::graph::ValueId;

use super::step::{BatchStep, Buffer, Operand};

/// Slots and which of them are free.
#[derive(Default)]
struct Slots {
    lens: Vec<usize>,
    free: Vec<usize>,
}

impl Slots {
    /// The free slot that fits best, or a new one.
    fn take(&mut self, len: usize) -> usize {
        let waste = |slot: usize| (self.lens[slot] < len, self.lens[slot].abs_diff(len));
        let Some(at) = (0..self.free.len()).min_by_key(|k| waste(self.free[*k])) else {
            self.lens.push(len);
            return self.lens.len() - 1;
        };
        let slot = self.free.swap_remove(at);
        self.lens[slot] = self.lens[slot].max(len);
        slot
    }
}

/// A slot for every buffer: the backward pass looks at all of them.
pub(crate) fn own(buffers: &mut [Buffer]) -> Vec<usize> {
    buffers.iter_mut().enumerate().for_each(|(k, b)| b.slot = k);
    buffers.iter().map(|b| b.len).collect()
}

/// Slots of a forward pass: a buffer is free after the last step that reads it.
pub(crate) fn forward<T>(
    steps: &[BatchStep<T>],
    buffers: &mut [Buffer],
    inputs: &[usize],
    kept: &[(ValueId, usize, Vec<usize>)],
) -> Vec<usize> {
    let mut last = vec![0; buffers.len()];
    for (k, step) in steps.iter().enumerate() {
        let read = step.inputs.iter().filter_map(|i| buffer(i.operand));
        read.chain(step.outputs.iter().map(|(b, _)| *b)).for_each(|b| last[b] = k);
    }
    let pinned = kept.iter().map(|(_, b, _)| b).chain(inputs);
    pinned.for_each(|b| last[*b] = usize::MAX);
    let mut slots = Slots::default();
    for &b in inputs {
        buffers[b].slot = slots.take(buffers[b].len);
    }
    for (k, step) in steps.iter().enumerate() {
        step.outputs.iter().for_each(|(b, _)| buffers[*b].slot = slots.take(buffers[*b].len));
        let mut done: Vec<usize> = step.inputs.iter().filter_map(|i| buffer(i.operand)).collect();
        done.extend(step.outputs.iter().map(|(b, _)| *b));
        done.sort_unstable();
        done.dedup();
        slots.free.extend(done.into_iter().filter(|b| last[*b] == k).map(|b| buffers[b].slot));
    }
    slots.lens
}

/// Slots of gradients: one is taken by the first step, from the back, that adds to it, and free after the step that made
/// its buffer.
pub(crate) fn backward<T>(steps: &mut [BatchStep<T>], buffers: &mut [Buffer], outputs: &[usize]) -> Vec<usize> {
    let mut slots = Slots::default();
    for &b in outputs {
        buffers[b].gradient = Some(slots.take(buffers[b].len));
    }
    for step in steps.iter_mut().rev().filter(|s| s.backward) {
        let added = step.inputs.iter().filter(|i| i.wanted).filter_map(|i| buffer(i.operand));
        for b in step.outputs.iter().map(|(b, _)| *b).chain(added) {
            if buffers[b].gradient.is_none() {
                buffers[b].gradient = Some(slots.take(buffers[b].len));
                step.clear.push(b);
            }
        }
        slots.free.extend(step.outputs.iter().filter_map(|(b, _)| buffers[*b].gradient));
    }
    slots.lens
}

/// The buffer that an operand is, if it is one.
fn buffer(operand: Operand) -> Option<usize> {
    match operand {
        Operand::Buffer(b) => Some(b),
        Operand::Param(_) | Operand::Constant(_) => None,
    }
}
