//! Several networks of one graph side by side: all samples of each run step by step, and values inside them are looked at.

use std::ops::Range;

use onebasin_core::graph::{NodeId, ValueId};
use rayon::prelude::*;

use super::layout::memory_axis;
use super::plan::Wants;
use super::step::Operand;
use super::{Flat, Program, Workspace};
use crate::error::{Error, Result};
use crate::ops::Layout;

/// The samples of several networks, in shards that keep their values from step to step. Shards are cut by sizes alone.
pub(crate) struct Lockstep<'a> {
    program: &'a Program,
    shards: Vec<Range<usize>>,
    /// By shard, then by network.
    spaces: Vec<Vec<Workspace>>,
    /// Steps that each network has done.
    done: Vec<usize>,
    /// Bytes of all values that wait at a time.
    bytes: usize,
}

/// Writes all inputs of a range of samples, in the order of the graph's.
type Fill<'a> = dyn Fn(Range<usize>, &mut [&mut [f32]]) -> Result<()> + Sync + 'a;

/// Numbers of a value of one shard, as they lie in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub numbers: &'a [f32],
    /// Numbers from one unit to the next.
    stride: usize,
    units: usize,
    /// Of the other axes in the graph's order: length, and numbers from one entry to the next. Leading ones of length 1
    /// where there are fewer.
    others: [(usize, usize); 4],
}

impl<'a> Lockstep<'a> {
    /// Samples of a shard, at most.
    const SHARD: usize = 100;

    /// So many networks at their inputs.
    ///
    /// # Errors
    /// If all values that wait at a time take more than `memory` bytes, or than the program may, and what
    /// [`Workspace::inference`] refuses.
    pub(crate) fn new(
        program: &'a Program,
        networks: usize,
        samples: usize,
        memory: usize,
        fill: &Fill<'_>,
    ) -> Result<Self> {
        let size = program.shard(Self::SHARD).min(samples.max(1));
        let shards: Vec<Range<usize>> =
            (0..samples).step_by(size).map(|start| start..(start + size).min(samples)).collect();
        let numbers: usize = program.plan(size, &Wants::default())?.value_slots.iter().sum();
        let bytes = numbers * size_of::<f32>() * networks * shards.len();
        if bytes > memory {
            let fit = (samples as f64 * memory as f64 / bytes as f64) as usize;
            return Err(Error::Options(format!(
                "solving on {samples} samples keeps {} MiB of activations, and {} MiB may be taken; about {fit} samples fit",
                bytes >> 20,
                memory >> 20
            )));
        }
        program.afford(size, &Wants::default(), networks * shards.len())?;
        let space = |shard: &Range<usize>| -> Result<Vec<Workspace>> {
            let one = |_| {
                let mut space = Workspace::inference(program, shard.len())?;
                fill(shard.clone(), &mut space.inputs())?;
                Ok(space)
            };
            (0..networks).map(one).collect()
        };
        let spaces = shards.par_iter().map(space).collect::<Result<Vec<_>>>()?;
        Ok(Self { program, shards, spaces, done: vec![0; networks], bytes })
    }

    /// Bytes of all values that wait at a time.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The shards, as runs of samples.
    pub(crate) fn shards(&self) -> &[Range<usize>] {
        &self.shards
    }

    /// The step that runs a node; none if no output depends on it.
    pub(crate) fn step(&self, node: NodeId) -> Option<usize> {
        self.spaces.first()?.first()?.plan().step(node)
    }

    /// Runs networks, each with its numbers, until so many steps are done.
    pub(crate) fn run(&mut self, networks: Range<usize>, flats: &[Flat], end: usize) {
        let (program, done) = (self.program, &self.done);
        self.spaces.par_iter_mut().for_each_init(Vec::new, |scratch: &mut Vec<Vec<f32>>, spaces| {
            for (network, flat) in networks.clone().zip(flats) {
                let space = &mut spaces[network];
                space.exchange_scratch(scratch);
                space.forward(program, flat, done[network]..end.max(done[network]), None);
                space.exchange_scratch(scratch);
            }
        });
        self.done[networks].iter_mut().for_each(|done| *done = end.max(*done));
    }

    /// A value of one shard of a network, units along an axis of the graph.
    ///
    /// # Errors
    /// If it is not there at this time, or has more than five axes.
    pub(crate) fn view(&self, shard: usize, network: usize, value: ValueId, axis: usize) -> Result<View<'_>> {
        let view = self.spaces[shard][network].view(self.program, value, axis, self.done[network]);
        let name = || &self.program.graph().value(value).name;
        view.ok_or_else(|| Error::Options(format!("value `{}` cannot be looked at where it is needed", name())))
    }

    /// Sums of every unit over all shards, side by side on threads: what `of` makes of each shard, added up in their order.
    ///
    /// # Errors
    /// The first that `of` has.
    pub(crate) fn add_up<const N: usize>(
        &self,
        of: impl Fn(usize) -> Result<Vec<[f64; N]>> + Sync,
    ) -> Result<Vec<[f64; N]>> {
        let found: Vec<Result<Vec<[f64; N]>>> = (0..self.shards.len()).into_par_iter().map(&of).collect();
        let mut all: Vec<[f64; N]> = Vec::new();
        for shard in found {
            let shard = shard?;
            all.resize(shard.len(), [0.0; N]);
            for (all, shard) in all.iter_mut().zip(shard) {
                all.iter_mut().zip(shard).for_each(|(all, sum)| *all += sum);
            }
        }
        Ok(all)
    }

    /// Whether what the step of a node reads first is computed once so many steps are done.
    pub(crate) fn is_computed(&self, step: usize, done: usize) -> bool {
        let Some(plan) = self.spaces.first().and_then(|spaces| spaces.first()).map(Workspace::plan) else {
            return false;
        };
        match plan.steps[step].inputs.first().map(|input| input.operand) {
            Some(Operand::Buffer(buffer)) => plan.is_written(buffer, done),
            Some(Operand::Param(_) | Operand::Constant(_)) | None => false,
        }
    }

    /// Input number `input` of the step that runs a node, as it lies in memory, with its shape there; none if it is a
    /// parameter.
    pub(crate) fn input(&self, shard: usize, network: usize, step: usize, input: usize) -> Option<(&[f32], &[usize])> {
        self.spaces[shard][network].step_input(step, input)
    }

    /// The shape in memory of what a step gives.
    pub(crate) fn output_shape(&self, shard: usize, step: usize) -> &[usize] {
        &self.spaces[shard][0].plan().steps[step].outputs[0].1
    }
}

impl Workspace {
    fn view(&self, program: &Program, value: ValueId, axis: usize, done: usize) -> Option<View<'_>> {
        let (Operand::Buffer(buffer), layout) = self.plan().lying(value, done)? else { return None };
        let mut shape = program.graph().shape(value).to_vec();
        let numbers = self.buffer(buffer);
        let ahead: usize = shape[1..].iter().product();
        shape[0] = numbers.len() / ahead.max(1);
        View::new(numbers, &shape, axis, layout)
    }

    fn step_input(&self, step: usize, input: usize) -> Option<(&[f32], &[usize])> {
        let input = self.plan().steps[step].inputs.get(input)?;
        let Operand::Buffer(buffer) = input.operand else { return None };
        Some((self.buffer(buffer), &input.shape))
    }
}

impl<'a> View<'a> {
    /// Of numbers that lie like this; none for more than five axes.
    fn new(numbers: &'a [f32], shape: &[usize], axis: usize, layout: Layout) -> Option<Self> {
        let rank = shape.len();
        let mut strides = vec![0; rank];
        let mut order: Vec<usize> = (0..rank).collect();
        order.sort_by_key(|a| memory_axis(*a, rank, if rank < 3 { Layout::Plain } else { layout }));
        let mut stride = 1;
        for &a in order.iter().rev() {
            strides[a] = stride;
            stride *= shape[a];
        }
        let mut others = [(1, 0); 4];
        let at = (0..rank).filter(|a| *a != axis);
        let first = others.len().checked_sub(rank.checked_sub(1)?)?;
        at.zip(&mut others[first..]).for_each(|(a, other)| *other = (shape[a], strides[a]));
        Some(Self { numbers, stride: *strides.get(axis)?, units: *shape.get(axis)?, others })
    }

    /// Number of positions: of everything but units.
    pub(crate) fn positions(&self) -> usize {
        self.others.iter().map(|(len, _)| len).product()
    }

    /// Number of units.
    pub(crate) fn units(&self) -> usize {
        self.units
    }

    /// Where the first unit of a position lies.
    fn base(&self, mut position: usize) -> usize {
        let mut base = 0;
        for (len, stride) in self.others.iter().rev() {
            base += position % len * stride;
            position /= len;
        }
        base
    }

    /// The units of a position.
    pub(crate) fn row(&self, position: usize) -> impl Iterator<Item = f32> + use<'a> {
        let numbers = &self.numbers[self.base(position)..];
        numbers.iter().step_by(self.stride.max(1)).take(self.units).copied()
    }

    /// Adds the units of positions, each times its share, to rows, `[positions, units]`.
    pub(crate) fn add_rows(&self, positions: &[u32], shares: &[f64], rows: &mut [f32]) {
        let shares: Vec<f32> = shares.iter().map(|s| *s as f32).collect();
        for (position, row) in positions.iter().zip(rows.chunks_exact_mut(self.units.max(1))) {
            let numbers = &self.numbers[self.base(*position as usize)..];
            let row = row.iter_mut().zip(&shares);
            if self.stride == 1 {
                row.zip(numbers).for_each(|((r, share), n)| *r += share * n);
            } else {
                row.zip(numbers.iter().step_by(self.stride)).for_each(|((r, share), n)| *r += share * n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of a value count its entries in the graph's order, so a row tells which they are.
    #[test]
    fn rows_are_the_units_of_positions_in_every_layout() {
        let shape = [2, 3, 4, 5];
        let count: usize = shape.iter().product();
        let plain: Vec<f32> = (0..count).map(|k| k as f32).collect();
        let mut last = vec![0.0; count];
        for k in 0..count {
            let (n, c, h, w) = (k / 60, k / 20 % 3, k / 5 % 4, k % 5);
            last[((n * 4 + h) * 5 + w) * 3 + c] = k as f32;
        }
        for axis in 1..4 {
            let [a, b] = [(&plain, Layout::Plain), (&last, Layout::ChannelsLast)]
                .map(|(numbers, layout)| View::new(numbers, &shape, axis, layout).unwrap());
            assert_eq!((a.positions(), a.units()), (count / shape[axis], shape[axis]));
            for p in 0..a.positions() {
                let row: Vec<f32> = a.row(p).collect();
                assert_eq!(row, b.row(p).collect::<Vec<_>>());
                let step: usize = shape[axis + 1..].iter().product();
                assert!(row.windows(2).all(|w| w[1] - w[0] == step as f32), "axis {axis}, {row:?}");
            }
        }
        let view = View::new(&plain, &shape, 1, Layout::Plain).unwrap();
        assert_eq!(view.row(7).collect::<Vec<_>>(), [7.0, 27.0, 47.0]);
        let mut rows = [1.0; 6];
        view.add_rows(&[7, 20], &[2.0, 1.0, 0.0], &mut rows);
        assert_eq!(rows, [15.0, 28.0, 1.0, 121.0, 81.0, 1.0]);
    }
}
