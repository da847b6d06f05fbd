//! How values lie in memory, and what becomes of an operator's axes there.
//!
//! The one place where axes of the graph (`[N, C, spatial…]`) turn into axes of memory.

use onebasin_core::graph::Op;

use crate::ops::{Call, Kernel, Layout, Real};

/// A shape as it lies in memory. Below rank 3 both layouts are the same.
pub(crate) fn memory_shape(shape: &[usize], layout: Layout) -> Vec<usize> {
    match (layout, shape) {
        (Layout::ChannelsLast, [n, c, spatial @ ..]) => [&[*n], spatial, &[*c]].concat(),
        (Layout::ChannelsLast, [] | [_]) | (Layout::Plain, _) => shape.to_vec(),
    }
}

/// Whether a value's numbers lie in the same order in both layouts.
pub(crate) fn same(shape: &[usize]) -> bool {
    shape.len() < 3 || shape[1] == 1 || shape[2..].iter().all(|n| *n == 1)
}

/// A shape with axes of length 1 in front, up to `rank`, as broadcasting sees it.
pub(crate) fn aligned(shape: &[usize], rank: usize) -> Vec<usize> {
    [&vec![1; rank.saturating_sub(shape.len())], shape].concat()
}

/// Where an axis of a value of this rank lies in memory.
pub(crate) fn memory_axis(axis: usize, rank: usize, layout: Layout) -> usize {
    match (layout, axis) {
        (Layout::Plain, axis) => axis,
        (Layout::ChannelsLast, 0) => 0,
        (Layout::ChannelsLast, 1) => rank - 1,
        (Layout::ChannelsLast, axis) => axis - 1,
    }
}

/// An operator with its axes in the order of channels-last memory; none if it has no such form there.
pub(crate) fn in_channels_last(op: &Op, inputs: &[&[usize]]) -> Option<Op> {
    let rank = inputs[0].len();
    let at = |axis: usize| memory_axis(axis, rank, Layout::ChannelsLast);
    let all = |axes: &[usize]| {
        let mut axes: Vec<usize> = axes.iter().map(|a| at(*a)).collect();
        axes.sort_unstable();
        axes
    };
    Some(match op {
        Op::Conv(_)
        | Op::ConvTranspose { .. }
        | Op::Pool(_)
        | Op::BatchNorm { .. }
        | Op::GroupNorm { .. }
        | Op::LocalResponseNorm { .. }
        | Op::Resize { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Where => op.clone(),
        // Gain and bias are shaped as the axes, in their order, which must then stay.
        Op::LayerNorm { axes, epsilon, centred } if axes[..] == [1] || inputs.len() == 1 || !axes.contains(&1) => {
            Op::LayerNorm { axes: all(axes), epsilon: *epsilon, centred: *centred }
        }
        Op::Softmax { axis, log } => Op::Softmax { axis: at(*axis), log: *log },
        Op::Reduce { kind, axes, keep } if *keep || !axes.contains(&0) => {
            Op::Reduce { kind: *kind, axes: all(axes), keep: *keep }
        }
        Op::Concat { axis } => Op::Concat { axis: at(*axis) },
        Op::Slice { axis, start, len, step } => Op::Slice { axis: at(*axis), start: *start, len: *len, step: *step },
        Op::Pad { before, after, mode } => Op::Pad {
            before: memory_shape(before, Layout::ChannelsLast),
            after: memory_shape(after, Layout::ChannelsLast),
            mode: *mode,
        },
        Op::LayerNorm { .. }
        | Op::Reduce { .. }
        | Op::Linear
        | Op::MatMul
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Expand(_)
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::ScatterElements { .. }
        | Op::TopK { .. }
        | Op::CumSum { .. }
        | Op::NonZero
        | Op::Recurrent { .. }
        | Op::Unknown(_) => return None,
    })
}

/// The layout of what an operator gives where its inputs lie channels-last.
pub(crate) fn after(op: &Op) -> Layout {
    let without_channels = matches!(op, Op::Reduce { axes, keep: false, .. } if axes.contains(&1));
    if without_channels { Layout::Plain } else { Layout::ChannelsLast }
}

/// Copies a value from one layout into the other.
pub(crate) struct Convert {
    /// Samples, rows and columns of what is transposed.
    sizes: [usize; 3],
}

impl Convert {
    /// From the other layout `to` this one, for a value of `shape` in the graph.
    pub(crate) fn new(shape: &[usize], to: Layout) -> Self {
        let (n, channels, pixels) = (shape[0], shape[1], shape[2..].iter().product());
        let sizes = if to == Layout::ChannelsLast { [n, channels, pixels] } else { [n, pixels, channels] };
        Self { sizes }
    }
}

impl<T: Real> Kernel<T> for Convert {
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        transpose(self.sizes, call.inputs[0], outputs[0], |y, x| *y = x);
    }

    fn backward(
        &self,
        _call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        let [n, rows, cols] = self.sizes;
        if let Some(dx) = &mut d_inputs[0] {
            transpose([n, cols, rows], d_outputs[0], dx, |dx, dy| *dx += dy);
        }
    }
}

/// `[n, rows, cols]` to `[n, cols, rows]`.
pub(crate) fn transpose<T: Copy>([n, rows, cols]: [usize; 3], x: &[T], y: &mut [T], put: impl Fn(&mut T, T)) {
    /// Edge of a block that stays in the first cache.
    const BLOCK: usize = 32;
    if rows * cols == 0 {
        return;
    }
    for (x, y) in x.chunks_exact(rows * cols).zip(y.chunks_exact_mut(rows * cols)).take(n) {
        for start in (0..cols).step_by(BLOCK) {
            for r in 0..rows {
                let row = &x[r * cols..][..cols];
                for c in start..(start + BLOCK).min(cols) {
                    put(&mut y[c * rows + r], row[c]);
                }
            }
        }
    }
}
