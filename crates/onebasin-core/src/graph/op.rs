//! What a node computes: every operator with its attributes.
//!
//! Axes are counted from 0 in the order of the network's own format: images are `[N, C, H, W]` whatever the executor does
//! with them. Inputs are listed in order; those in brackets may be left out from the right.

/// An operator. The batch, where there is one, is an axis like any other.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `y = x Wᵀ (+ b)` over the last axis of `x`. Inputs: `x`, `W [out, in]`, (`b [out]`).
    Linear,
    /// Matrix product over the last two axes, the others broadcast. Inputs: `a`, `b`.
    MatMul,
    /// Convolution. Inputs: `x [N, C, spatial…]`, `W [O, C / groups, kernel…]`, (`b [O]`).
    Conv(Conv),
    /// Transposed convolution. Inputs: `x [N, C, spatial…]`, `W [C, O / groups, kernel…]`, (`b [O]`).
    ConvTranspose {
        /// Strides, dilations, padding and groups of the convolution it transposes.
        conv: Conv,
        /// Entries added at the end of every spatial axis.
        output_padding: Vec<usize>,
    },
    /// Sliding window over the spatial axes of `x [N, C, spatial…]`.
    Pool(Pool),
    /// Normalisation of every channel (axis 1). Inputs: `x`, gain, bias, running mean, running variance, all `[C]`.
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// Normalisation over the given axes, each position of the others on its own. Inputs: `x`, (gain, (bias)), shaped as
    /// those axes. With `centred` false the mean is left in (RMSNorm).
    LayerNorm {
        /// The axes that are averaged over, ascending.
        axes: Vec<usize>,
        /// Added to the variance.
        epsilon: f64,
        /// Whether the mean is subtracted.
        centred: bool,
    },
    /// Normalisation of every sample and group of channels (axis 1). Inputs: `x`, gain `[C]`, bias `[C]`.
    GroupNorm {
        /// Number of groups; as many as channels is InstanceNorm.
        groups: usize,
        /// Added to the variance.
        epsilon: f64,
    },
    /// Division by a power of the sum of squares of neighbouring channels (axis 1): `⌊(size − 1) / 2⌋` back and the rest
    /// ahead.
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
    /// One number in, one number out.
    Unary(Unary),
    /// Two numbers in, one number out, shapes broadcast. Inputs: `a`, `b`.
    Binary(Binary),
    /// `a` where the condition is not 0, `b` elsewhere, shapes broadcast. Inputs: condition, `a`, `b`.
    Where,
    /// `exp x / Σ exp x` along an axis, or its logarithm.
    Softmax {
        /// The axis that sums to one.
        axis: usize,
        /// Whether to take the logarithm.
        log: bool,
    },
    /// A symmetric function over axes.
    Reduce {
        /// Which function.
        kind: Reduce,
        /// The axes that vanish, ascending.
        axes: Vec<usize>,
        /// Whether they stay with length 1.
        keep: bool,
    },
    /// The same numbers in another shape.
    Reshape(Vec<Dim>),
    /// Axis `i` of the result is axis `order[i]` of the input.
    Transpose(Vec<usize>),
    /// Inputs one after the other along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// A run of positions of one axis.
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
    Expand(Vec<Dim>),
    /// Slices of `data` along an axis, chosen by `indices`. Inputs: `data`, `indices` (an embedding: axis 0). Negative
    /// indices count from the end; the slice of an index outside is NaN.
    Gather {
        /// The axis.
        axis: usize,
    },
    /// Spatial axes of `x [N, C, spatial…]` scaled to the given lengths.
    Resize {
        /// Lengths of the spatial axes afterwards.
        size: Vec<usize>,
        /// How values between positions are found.
        mode: ResizeMode,
    },
    /// A recurrent layer over `x [T, N, I]`. Inputs: `x`, `W [D, G·H, I]`, `R [D, G·H, H]`, (`b [D, 2·G·H]`, (initial `h
    /// [D, N, H]`, (initial `c`))), with G gates and D directions. Outputs: `y [T, D, N, H]`, last `h [D, N, H]`, and for
    /// LSTM last `c`.
    Recurrent {
        /// Which cell.
        cell: Cell,
        /// Which way it runs.
        direction: Direction,
    },
    /// An operator of this name that is not known: it cannot run, and everything it touches is fixed.
    Unknown(String),
}

/// Attributes of a convolution; one number per spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv {
    /// Distance between windows.
    pub strides: Vec<usize>,
    /// Distance between the taps of a window.
    pub dilations: Vec<usize>,
    /// Zeros added before every spatial axis.
    pub before: Vec<usize>,
    /// Zeros added after.
    pub after: Vec<usize>,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

/// Attributes of a pooling window; one number per spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// What is taken of a window.
    pub kind: PoolKind,
    /// Size of the window.
    pub kernel: Vec<usize>,
    /// Distance between windows.
    pub strides: Vec<usize>,
    /// Positions added before every spatial axis.
    pub before: Vec<usize>,
    /// Positions added after.
    pub after: Vec<usize>,
    /// Whether a last window that is only partly inside counts.
    pub ceil: bool,
}

/// What pooling takes of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest value inside the image.
    Max,
    /// The mean of the values inside the image.
    Average,
    /// The mean with the added positions counted as zeros.
    AverageWithPadding,
}

/// Functions of one number.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "the names are the functions")]
pub enum Unary {
    Identity,
    Relu,
    /// `x` above 0, `slope · x` below.
    LeakyRelu(f64),
    /// `x` above 0, `alpha (exp x − 1)` below.
    Elu(f64),
    /// `gamma x` above 0, `gamma alpha (exp x − 1)` below.
    Selu {
        alpha: f64,
        gamma: f64,
    },
    /// `x Φ(x)`.
    Gelu,
    /// `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
    /// `x σ(x)`.
    Silu,
    /// `max(0, min(1, alpha x + beta))`.
    HardSigmoid {
        alpha: f64,
        beta: f64,
    },
    /// `x max(0, min(1, x/6 + ½))`.
    HardSwish,
    /// `x tanh(log(1 + exp x))`.
    Mish,
    Sigmoid,
    Tanh,
    Softplus,
    Softsign,
    /// Clipped to an interval.
    Clip {
        low: f64,
        high: f64,
    },
    Erf,
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Neg,
    Abs,
    Sign,
    Floor,
    Ceil,
    /// To the nearest whole number, halves to the even one.
    Round,
    Sin,
    Cos,
    /// 1 where the number is 0, else 0.
    Not,
}

/// Functions of two numbers. Comparisons give 1 or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the functions")]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    /// `a` above 0, `a · b` below: PReLU with slope `b`.
    PRelu,
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
}

/// Symmetric functions of many numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the functions")]
pub enum Reduce {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    SumSquare,
    /// `√Σ x²`.
    L2,
}

/// One axis of the result of a reshape or an expansion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// As long as this axis of the input.
    Same(usize),
    /// This long.
    Size(usize),
    /// As long as the rest requires; at most once.
    Rest,
}

/// What stands where padding was added.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PadMode {
    /// This number.
    Constant(f64),
    /// The mirror image, edge not repeated; mirrored again where it is longer than the axis.
    Reflect,
    /// The edge, repeated.
    Edge,
}

/// How resizing finds values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResizeMode {
    /// The nearest position at or below `i · in / out`.
    Nearest,
    /// Linear between positions, pixel centres at halves.
    LinearHalfPixel,
    /// Linear between positions, corners kept.
    LinearAlignCorners,
    /// Linear between positions, `i · in / out`.
    LinearAsymmetric,
}

/// Recurrent cells, with their gates in ONNX's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// `h = tanh(…)`.
    Rnn,
    /// Gates i, o, f, c.
    Lstm,
    /// Gates z, r, h; `reset_after` applies the reset gate after the recurrent product.
    Gru {
        /// `linear_before_reset` of ONNX, and what PyTorch does.
        reset_after: bool,
    },
}

impl Cell {
    /// Number of gates.
    pub fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Lstm => 4,
            Self::Gru { .. } => 3,
        }
    }
}

/// Which way a recurrent layer runs over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the directions")]
pub enum Direction {
    Forward,
    Reverse,
    Both,
}

impl Direction {
    /// Number of directions.
    pub fn count(self) -> usize {
        if self == Self::Both { 2 } else { 1 }
    }
}

impl Conv {
    /// A square convolution of images: the same stride and padding on both axes.
    pub fn square(stride: usize, padding: usize) -> Self {
        Self {
            strides: vec![stride; 2],
            dilations: vec![1; 2],
            before: vec![padding; 2],
            after: vec![padding; 2],
            groups: 1,
        }
    }

    /// The same in groups of channels.
    #[must_use]
    pub fn grouped(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}

impl Pool {
    /// A square window over images, without padding.
    pub fn square(kind: PoolKind, kernel: usize, stride: usize) -> Self {
        let (kernel, strides) = (vec![kernel; 2], vec![stride; 2]);
        Self { kind, kernel, strides, before: vec![0; 2], after: vec![0; 2], ceil: false }
    }

    /// The same with positions added on every side.
    #[must_use]
    pub fn padded(self, padding: usize) -> Self {
        Self { before: vec![padding; self.kernel.len()], after: vec![padding; self.kernel.len()], ..self }
    }
}

impl Op {
    /// The operator's name, for errors and explanations.
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
            Self::Resize { .. } => "Resize",
            Self::Recurrent { .. } => "Recurrent",
            Self::Unknown(name) => name,
        }
    }
}
