//! What a node computes: every operator with its attributes.
//!
//! Axes are counted from 0 in the order of the network's own format: images are `[N, C, H, W]` whatever the executor
//! does with them. Inputs are listed in order; those in brackets may be left out from the right. `ε` is the attribute
//! `epsilon`.
//!
//! Shapes in the examples are what [`infer`](super::shape::infer) makes of those of the inputs.

mod attributes;
mod functions;

pub use attributes::{Cell, Conv, Dim, Direction, PadMode, Pool, PoolKind, ResizeMode};
pub use functions::{Binary, Reduce, Scatter, Unary};

/// An operator. The batch, where there is one, is an axis like any other.
///
/// ```
/// use onebasin_core::graph::{Graph, Op, op::Unary};
/// let mut g = Graph::new();
/// let x = g.input("x", &[8, 3])?;
/// let y = g.push("gate", Op::Unary(Unary::Sigmoid), &[x])?;
/// assert_eq!((g.shape(y), g.nodes()[0].op.name()), (&[8, 3][..], "Unary"));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `y = x Wᵀ (+ b)` over the last axis of `x`. Inputs: `x`, `W [out, in]`, (`b [out]`).
    ///
    /// Shapes: `[…, in]` to `[…, out]`.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// assert_eq!(infer(&Op::Linear, &[&[8, 16, 3], &[5, 3], &[5]])?, [[8, 16, 5]]);
    /// # Ok::<(), String>(())
    /// ```
    Linear,
    /// Matrix product over the last two axes, the others broadcast. Inputs: `a`, `b`.
    ///
    /// Formula: `y[…, i, j] = Σ_k a[…, i, k] b[…, k, j]`. An input of one axis is a row on the left, a column on the
    /// right, and that axis vanishes.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// assert_eq!(infer(&Op::MatMul, &[&[8, 4, 16, 64], &[8, 4, 64, 16]])?, [[8, 4, 16, 16]]);
    /// assert_eq!(infer(&Op::MatMul, &[&[8, 16, 64], &[64]])?, [[8, 16]]);
    /// # Ok::<(), String>(())
    /// ```
    MatMul,
    /// Convolution. Inputs: `x [N, C, spatial…]`, `W [O, C / groups, kernel…]`, (`b [O]`).
    ///
    /// Formula:
    /// `y[n, o, p] = b[o] + Σ_{c, k} W[o, c, k] · x[n, g · C / groups + c, p · stride + k · dilation − before]`, zero
    /// outside the image, `g = ⌊o · groups / O⌋` being the group of channel `o`.
    ///
    /// Shapes: a spatial axis of `L` entries gets `⌊(L + before + after − dilation · (K − 1) − 1) / stride⌋ + 1`.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, op::Conv, shape::infer};
    /// let depthwise = Op::Conv(Conv::square(2, 1).grouped(32));
    /// assert_eq!(infer(&depthwise, &[&[8, 32, 28, 28], &[32, 1, 3, 3]])?, [[8, 32, 14, 14]]);
    /// # Ok::<(), String>(())
    /// ```
    Conv(Conv),
    /// Transposed convolution. Inputs: `x [N, C, spatial…]`, `W [C, O / groups, kernel…]`, (`b [O]`).
    ///
    /// Formula: position `i` of the input adds `W[k] · x[i]` to position `i · stride + k · dilation − before` of the
    /// output: the map that a convolution's gradient is.
    ///
    /// Shapes: a spatial axis of `L` entries gets
    /// `(L − 1) · stride + dilation · (K − 1) + 1 + output_padding − before − after`.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, op::Conv, shape::infer};
    /// let op = Op::ConvTranspose { conv: Conv::square(2, 1), output_padding: vec![1, 1] };
    /// assert_eq!(infer(&op, &[&[8, 32, 14, 14], &[32, 16, 3, 3]])?, [[8, 16, 28, 28]]);
    /// # Ok::<(), String>(())
    /// ```
    ConvTranspose {
        /// Strides, dilations, padding and groups of the convolution it transposes.
        conv: Conv,
        /// Entries added at the end of every spatial axis.
        output_padding: Vec<usize>,
    },
    /// Sliding window over the spatial axes of `x [N, C, spatial…]`, channel by channel.
    ///
    /// Formula: the maximum or the mean of `x[n, c, p · stride + k − before]` over `k`; see [`PoolKind`].
    ///
    /// Shapes: a spatial axis of `L` entries gets `⌊(L + before + after − K) / stride⌋ + 1`, or `⌈…⌉ + 1` with
    /// [`Pool::ceil`], less a last window that would start in the padding behind the image.
    ///
    /// ```
    /// use onebasin_core::graph::op::{Op, Pool, PoolKind};
    /// use onebasin_core::graph::shape::infer;
    /// let pool = Pool::square(PoolKind::Max, 3, 2);
    /// assert_eq!(infer(&Op::Pool(pool.clone().padded(1)), &[&[8, 64, 112, 112]])?, [[8, 64, 56, 56]]);
    /// assert_eq!(infer(&Op::Pool(Pool { ceil: true, ..pool }), &[&[8, 64, 112, 112]])?, [[8, 64, 56, 56]]);
    /// # Ok::<(), String>(())
    /// ```
    Pool(Pool),
    /// Normalisation of every channel (axis 1). Inputs: `x`, gain, bias, running mean, running variance, all `[C]`.
    ///
    /// Formula: `y = gain · (x − μ) / √(σ² + ε) + bias`, with `μ` and `σ²` the running statistics; while training,
    /// those of the whole batch and all positions.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// let op = Op::BatchNorm { epsilon: 1e-5 };
    /// assert_eq!(infer(&op, &[&[8, 3, 32, 32], &[3], &[3], &[3], &[3]])?, [[8, 3, 32, 32]]);
    /// # Ok::<(), String>(())
    /// ```
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// Normalisation over the given axes, each position of the others on its own. Inputs: `x`, (gain, (bias)), shaped as
    /// those axes.
    ///
    /// Formula: `y = gain · (x − μ) / √(σ² + ε) + bias`. With `centred` false `μ` is left out and `σ²` is the mean
    /// square (RMSNorm).
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// let rms = Op::LayerNorm { axes: vec![2], epsilon: 1e-6, centred: false };
    /// assert_eq!(infer(&rms, &[&[8, 16, 64], &[64]])?, [[8, 16, 64]]);
    /// # Ok::<(), String>(())
    /// ```
    LayerNorm {
        /// The axes that are averaged over, ascending.
        axes: Vec<usize>,
        /// Added to the variance.
        epsilon: f64,
        /// Whether the mean is subtracted.
        centred: bool,
    },
    /// Normalisation of every sample and group of channels (axis 1). Inputs: `x`, gain `[C]`, bias `[C]`.
    ///
    /// Formula: `y = gain · (x − μ) / √(σ² + ε) + bias`, with `μ` and `σ²` over the channels of a group and all
    /// positions.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// let op = Op::GroupNorm { groups: 8, epsilon: 1e-5 };
    /// assert_eq!(infer(&op, &[&[4, 32, 7, 7], &[32], &[32]])?, [[4, 32, 7, 7]]);
    /// assert!(infer(&op, &[&[4, 12, 7, 7], &[12], &[12]]).is_err());
    /// # Ok::<(), String>(())
    /// ```
    GroupNorm {
        /// Number of groups; as many as channels is InstanceNorm.
        groups: usize,
        /// Added to the variance.
        epsilon: f64,
    },
    /// Division by a power of the sum of squares of neighbouring channels (axis 1): `⌊(size − 1) / 2⌋` back and the rest
    /// ahead.
    ///
    /// Formula: `y_c = x_c · (bias + alpha / size · Σ_j x_j²)^(−beta)`.
    LocalResponseNorm {
        /// Number of neighbours, itself included.
        size: usize,
        /// Factor of the mean square.
        alpha: f64,
        /// Exponent.
        beta: f64,
        /// Added to the sum.
        bias: f64,
    },
    /// One number in, one number out: `y = f(x)` in the shape of `x`.
    Unary(Unary),
    /// Two numbers in, one number out, shapes broadcast. Inputs: `a`, `b`.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, op::Binary, shape::infer};
    /// assert_eq!(infer(&Op::Binary(Binary::Add), &[&[8, 16, 64], &[64]])?, [[8, 16, 64]]);
    /// # Ok::<(), String>(())
    /// ```
    Binary(Binary),
    /// `a` where the condition is not 0, `b` elsewhere, shapes broadcast. Inputs: condition, `a`, `b`.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// assert_eq!(infer(&Op::Where, &[&[16, 16], &[8, 16, 16], &[]])?, [[8, 16, 16]]);
    /// # Ok::<(), String>(())
    /// ```
    Where,
    /// `exp x / Σ exp x` along an axis, or its logarithm `x − log Σ exp x`, in the shape of `x`.
    Softmax {
        /// The axis that sums to one.
        axis: usize,
        /// Whether to take the logarithm.
        log: bool,
    },
    /// A symmetric function over axes: the order of the entries does not matter.
    ///
    /// Shapes: the axes vanish, or stay with length 1.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, op::Reduce, shape::infer};
    /// let mean = |keep| Op::Reduce { kind: Reduce::Mean, axes: vec![2, 3], keep };
    /// assert_eq!(infer(&mean(false), &[&[8, 64, 7, 7]])?, [[8, 64]]);
    /// assert_eq!(infer(&mean(true), &[&[8, 64, 7, 7]])?, [[8, 64, 1, 1]]);
    /// # Ok::<(), String>(())
    /// ```
    Reduce {
        /// Which function.
        kind: Reduce,
        /// The axes that vanish, ascending.
        axes: Vec<usize>,
        /// Whether they stay with length 1.
        keep: bool,
    },
    /// The same numbers in another shape, in row-major order; one length per axis of the result.
    ///
    /// ```
    /// use onebasin_core::graph::op::{Dim, Op};
    /// use onebasin_core::graph::shape::infer;
    /// let heads = Op::Reshape(vec![Dim::Same(0), Dim::Same(1), Dim::Size(4), Dim::Rest]);
    /// assert_eq!(infer(&heads, &[&[8, 16, 64]])?, [[8, 16, 4, 16]]);
    /// # Ok::<(), String>(())
    /// ```
    Reshape(Vec<Dim>),
    /// Axis `i` of the result is axis `order[i]` of the input.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// assert_eq!(infer(&Op::Transpose(vec![0, 2, 1]), &[&[8, 16, 64]])?, [[8, 64, 16]]);
    /// # Ok::<(), String>(())
    /// ```
    Transpose(Vec<usize>),
    /// Inputs one after the other along an axis; their other axes are equal.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// assert_eq!(infer(&Op::Concat { axis: 1 }, &[&[8, 3], &[8, 5]])?, [[8, 8]]);
    /// # Ok::<(), String>(())
    /// ```
    Concat {
        /// The axis.
        axis: usize,
    },
    /// A run of positions of one axis.
    ///
    /// Formula: `y[…, i, …] = x[…, start + i · step, …]` for `i` below `len`.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// let reversed = Op::Slice { axis: 1, start: 7, len: 8, step: -1 };
    /// assert_eq!(infer(&reversed, &[&[2, 8]])?, [[2, 8]]);
    /// assert!(infer(&reversed, &[&[2, 7]]).is_err());
    /// # Ok::<(), String>(())
    /// ```
    Slice {
        /// The axis.
        axis: usize,
        /// First position.
        start: usize,
        /// Number of positions taken.
        len: usize,
        /// Distance between them; −1 runs backwards.
        step: isize,
    },
    /// Positions added before and after every axis.
    ///
    /// Shapes: an axis of `n` entries gets `before + n + after`.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, op::PadMode, shape::infer};
    /// let op = Op::Pad { before: vec![0, 0, 1, 1], after: vec![0, 0, 1, 1], mode: PadMode::Constant(0.0) };
    /// assert_eq!(infer(&op, &[&[8, 3, 30, 30]])?, [[8, 3, 32, 32]]);
    /// # Ok::<(), String>(())
    /// ```
    Pad {
        /// Added before, one number per axis.
        before: Vec<usize>,
        /// Added after, one number per axis.
        after: Vec<usize>,
        /// What stands there.
        mode: PadMode,
    },
    /// Axes of length 1 repeated, and axes added in front, to the given shape, which may be that of another value.
    /// Inputs: `x`, (`like`); [`Dim::Same`] is an axis of `like`, and without it of `x`. No [`Dim::Rest`].
    ///
    /// ```
    /// use onebasin_core::graph::op::{Dim, Op};
    /// use onebasin_core::graph::shape::infer;
    /// let op = Op::Expand(vec![Dim::Same(0), Dim::Size(1), Dim::Size(64)]);
    /// assert_eq!(infer(&op, &[&[1, 1, 64], &[8, 16]])?, [[8, 1, 64]]); // the class token of every sample
    /// # Ok::<(), String>(())
    /// ```
    Expand(Vec<Dim>),
    /// Slices of `data` along an axis, chosen by `indices`. Inputs: `data`, `indices` (an embedding: axis 0). Negative
    /// indices count from the end; the slice of an index outside is NaN.
    ///
    /// Shapes: the axis gives way to the axes of `indices`.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// assert_eq!(infer(&Op::Gather { axis: 0 }, &[&[50257, 768], &[8, 1024]])?, [[8, 1024, 768]]);
    /// # Ok::<(), String>(())
    /// ```
    Gather {
        /// The axis.
        axis: usize,
    },
    /// Entries of `data` chosen one by one along an axis. Inputs: `data`, `indices`, of as many axes. Negative indices
    /// count from the end; the entry of an index outside is NaN.
    ///
    /// Formula, along axis 1: `y[i, j, k] = data[i, indices[i, j, k], k]`.
    ///
    /// Shapes: that of `indices`, whose other axes are no longer than those of `data`.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// assert_eq!(infer(&Op::GatherElements { axis: 1 }, &[&[8, 512], &[8, 16]])?, [[8, 16]]);
    /// # Ok::<(), String>(())
    /// ```
    GatherElements {
        /// The axis.
        axis: usize,
    },
    /// `data` with entries replaced, one by one along an axis, by `updates` or by what a function makes of both. Inputs:
    /// `data`, `indices`, and `updates` in the shape of `indices`. Negative indices count from the end; an index outside
    /// changes nothing.
    ///
    /// Formula, along axis 1: `y[i, indices[i, j, k], k] = f(y[i, indices[i, j, k], k], updates[i, j, k])`, from `y =
    /// data` on, in order.
    ///
    /// Shapes: that of `data`, whose other axes are no shorter than those of `indices`.
    ///
    /// ```
    /// use onebasin_core::graph::op::{Op, Scatter};
    /// use onebasin_core::graph::shape::infer;
    /// let op = Op::ScatterElements { axis: 1, function: Scatter::Set };
    /// assert_eq!(infer(&op, &[&[8, 512], &[8, 2], &[8, 2]])?, [[8, 512]]);
    /// # Ok::<(), String>(())
    /// ```
    ScatterElements {
        /// The axis.
        axis: usize,
        /// What becomes of an entry and its update.
        function: Scatter,
    },
    /// The largest entries along an axis, or the smallest, in order, and their positions there; of equal ones the first
    /// comes first, and NaN counts as larger than any number. Outputs: values, positions.
    ///
    /// Shapes: the axis gets `count` entries, in both outputs.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// let op = Op::TopK { axis: 1, count: 2, largest: true };
    /// assert_eq!(infer(&op, &[&[8, 64]])?, [[8, 2], [8, 2]]);
    /// # Ok::<(), String>(())
    /// ```
    TopK {
        /// The axis.
        axis: usize,
        /// How many entries are kept.
        count: usize,
        /// Whether they are the largest.
        largest: bool,
    },
    /// Sums of the entries up to each one along an axis, in the shape of `x`.
    ///
    /// Formula: `y_i = Σ_{j ≤ i} x_j`; over `j < i` if exclusive, and from the other end if reversed.
    CumSum {
        /// The axis.
        axis: usize,
        /// Whether an entry is left out of its own sum.
        exclusive: bool,
        /// Whether sums begin at the end of the axis.
        reverse: bool,
    },
    /// Positions of the entries that are not 0, in row-major order: entry `[a, k]` is the index on axis `a` of the k-th
    /// one. Behind the last one all are NaN, by which nothing is picked, so that the shape depends on no number.
    ///
    /// Shapes: as many rows as axes, as many columns as entries.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, shape::infer};
    /// assert_eq!(infer(&Op::NonZero, &[&[2, 8]])?, [[2, 16]]);
    /// # Ok::<(), String>(())
    /// ```
    NonZero,
    /// Spatial axes of `x [N, C, spatial…]` scaled to the given lengths, one axis after the other.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, op::ResizeMode, shape::infer};
    /// let op = Op::Resize { size: vec![64, 64], mode: ResizeMode::Nearest };
    /// assert_eq!(infer(&op, &[&[8, 3, 32, 32]])?, [[8, 3, 64, 64]]);
    /// # Ok::<(), String>(())
    /// ```
    Resize {
        /// Lengths of the spatial axes afterwards.
        size: Vec<usize>,
        /// How values between positions are found.
        mode: ResizeMode,
    },
    /// A recurrent layer over `x [T, N, I]`. Inputs: `x`, `W [D, G·H, I]`, `R [D, G·H, H]`, (`b [D, 2·G·H]`, (initial `h
    /// [D, N, H]`, (initial `c`))), with G gates and D directions. Outputs: `y [T, D, N, H]`, last `h [D, N, H]`, and for
    /// LSTM last `c`.
    ///
    /// Formula: that of the [`Cell`]; rows of `W` and `R` are gate by gate, and `b` holds the biases of `W`, then those
    /// of `R`. What is not given is zero.
    ///
    /// ```
    /// use onebasin_core::graph::op::{Cell, Direction, Op};
    /// use onebasin_core::graph::shape::infer;
    /// let op = Op::Recurrent { cell: Cell::Gru { reset_after: true }, direction: Direction::Both };
    /// let shapes = infer(&op, &[&[10, 8, 5], &[2, 48, 5], &[2, 48, 16], &[2, 96]])?;
    /// assert_eq!(shapes, [&[10, 2, 8, 16][..], &[2, 8, 16]]);
    /// # Ok::<(), String>(())
    /// ```
    Recurrent {
        /// Which cell.
        cell: Cell,
        /// Which way it runs.
        direction: Direction,
    },
    /// An operator of this name that is not known: it cannot run, and everything it touches is fixed.
    ///
    /// Its shapes are given to [`Graph::push_unknown`](super::Graph::push_unknown); [`infer`](super::shape::infer)
    /// refuses it.
    Unknown(String),
}

impl Op {
    /// The operator's name, for errors and explanations; printed, it tells its attributes too.
    ///
    /// ```
    /// use onebasin_core::graph::Op;
    /// let op = Op::Softmax { axis: 1, log: false };
    /// assert_eq!((op.name(), op.to_string()), ("Softmax", "Softmax { axis: 1, log: false }".to_owned()));
    /// ```
    pub fn name(&self) -> &str {
        match self {
            Self::Linear => "Linear",
            Self::MatMul => "MatMul",
            Self::Conv(_) => "Conv",
            Self::ConvTranspose { .. } => "ConvTranspose",
            Self::Pool(_) => "Pool",
            Self::BatchNorm { .. } => "BatchNorm",
            Self::LayerNorm { .. } => "LayerNorm",
            Self::GroupNorm { .. } => "GroupNorm",
            Self::LocalResponseNorm { .. } => "LocalResponseNorm",
            Self::Unary(_) => "Unary",
            Self::Binary(_) => "Binary",
            Self::Where => "Where",
            Self::Softmax { .. } => "Softmax",
            Self::Reduce { .. } => "Reduce",
            Self::Reshape(_) => "Reshape",
            Self::Transpose(_) => "Transpose",
            Self::Concat { .. } => "Concat",
            Self::Slice { .. } => "Slice",
            Self::Pad { .. } => "Pad",
            Self::Expand(_) => "Expand",
            Self::Gather { .. } => "Gather",
            Self::GatherElements { .. } => "GatherElements",
            Self::ScatterElements { .. } => "ScatterElements",
            Self::TopK { .. } => "TopK",
            Self::CumSum { .. } => "CumSum",
            Self::NonZero => "NonZero",
            Self::Resize { .. } => "Resize",
            Self::Recurrent { .. } => "Recurrent",
            Self::Unknown(name) => name,
        }
    }
}
