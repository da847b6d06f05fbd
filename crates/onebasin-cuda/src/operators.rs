//! Which operators run on a device, and as what.

use onebasin_core::graph::op::{Binary, Conv, PadMode, Pool, PoolKind, Reduce, Unary};
use onebasin_core::graph::{Graph, Node, Op, ValueId, ValueSource};

/// What a device runs for a node: operators of the built-in networks, images having two spatial axes.
pub(crate) enum DeviceOp<'a> {
    /// `y = x Wᵀ (+ b)` over the last axis.
    Linear,
    /// A convolution of images, its channels in one group.
    Conv(&'a Conv),
    /// The largest value of every window of images.
    MaxPool(&'a Pool),
    BatchNorm {
        epsilon: f64,
    },
    /// LayerNorm over axis 1, with gain and bias.
    LayerNorm {
        epsilon: f64,
    },
    Rectify,
    /// The sum of two values of the same shape.
    Sum,
    /// The mean over this many neighbours.
    Mean {
        len: usize,
    },
    /// The same numbers in another shape.
    Reshape,
    /// A slice or a padding, axis after axis.
    Shifts(Vec<Shift>),
}

/// Positions `start + k · step` of an axis, `to` of them, zeros where there are none.
pub(crate) struct Shift {
    /// Shape before.
    shape: Vec<usize>,
    axis: usize,
    to: usize,
    start: isize,
    step: isize,
}

impl<'a> DeviceOp<'a> {
    /// What runs for a node; none where nothing does, as where one of its inputs is a constant.
    pub(crate) fn of(graph: &'a Graph, node: &'a Node) -> Option<Self> {
        let constant = |v: &ValueId| matches!(graph.value(*v).source, ValueSource::Constant(_));
        if node.inputs.iter().any(constant) {
            return None;
        }
        let (shape, output) = (graph.shape(*node.inputs.first()?), graph.shape(*node.outputs.first()?));
        let image = shape.len() == 4;
        match &node.op {
            Op::Linear => Some(Self::Linear),
            Op::Conv(conv) => (image && conv.groups == 1).then_some(Self::Conv(conv)),
            Op::Pool(pool) => (image && pool.kind == PoolKind::Max).then_some(Self::MaxPool(pool)),
            &Op::BatchNorm { epsilon } => (shape.len() >= 2).then_some(Self::BatchNorm { epsilon }),
            Op::LayerNorm { axes, epsilon, centred } => {
                let fits = *centred && axes[..] == [1] && node.inputs.len() == 3;
                fits.then_some(Self::LayerNorm { epsilon: *epsilon })
            }
            Op::Unary(unary) => (*unary == Unary::Relu).then_some(Self::Rectify),
            Op::Binary(binary) => (*binary == Binary::Add && graph.shape(node.inputs[1]) == shape).then_some(Self::Sum),
            Op::Reduce { kind, axes, .. } => {
                let last = shape.len() - axes.len()..shape.len();
                let len = shape[last.clone()].iter().product();
                (*kind == Reduce::Mean && axes.iter().copied().eq(last)).then_some(Self::Mean { len })
            }
            Op::Reshape(_) => Some(Self::Reshape),
            &Op::Slice { axis, start, step, .. } => {
                let start = start as isize;
                Some(Self::Shifts(vec![Shift { shape: shape.to_vec(), axis, to: output[axis], start, step }]))
            }
            Op::Pad { before, mode, .. } => {
                (*mode == PadMode::Constant(0.0)).then(|| Self::Shifts(Shift::padding(shape, output, before)))
            }
            Op::MatMul
            | Op::ConvTranspose { .. }
            | Op::GroupNorm { .. }
            | Op::LocalResponseNorm { .. }
            | Op::Where
            | Op::Softmax { .. }
            | Op::Transpose(_)
            | Op::Concat { .. }
            | Op::Expand(_)
            | Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::ScatterElements { .. }
            | Op::TopK { .. }
            | Op::CumSum { .. }
            | Op::NonZero
            | Op::Resize { .. }
            | Op::Recurrent { .. }
            | Op::Unknown(_) => None,
        }
    }
}

impl Shift {
    /// A padding with zeros, from one shape to another.
    fn padding(from: &[usize], output: &[usize], before: &[usize]) -> Vec<Self> {
        let (mut shape, mut shifts) = (from.to_vec(), Vec::new());
        for (axis, &to) in output.iter().enumerate().filter(|(axis, to)| **to != from[*axis]) {
            shifts.push(Self { shape: shape.clone(), axis, to, start: -(before[axis] as isize), step: 1 });
            shape[axis] = to;
        }
        shifts
    }

    /// Sizes, in the order of its kernels.
    pub(crate) fn numbers(&self) -> [usize; 6] {
        let (outer, inner) = (self.shape[..self.axis].iter().product(), self.shape[self.axis + 1..].iter().product());
        [outer, self.to, self.shape[self.axis], inner, self.start as usize, self.step as usize]
    }

    /// Numbers before, and after.
    pub(crate) fn counts(&self) -> [usize; 2] {
        let before: usize = self.shape.iter().product();
        [before, before / self.shape[self.axis].max(1) * self.to]
    }
}
