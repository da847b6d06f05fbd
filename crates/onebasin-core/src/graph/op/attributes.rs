//! What operators are told beside their inputs: windows, axes, modes, cells.

/// Attributes of a convolution; one number per spatial axis, as many as the weight has.
///
/// ```
/// use onebasin_core::graph::op::Conv;
/// let wide = Conv { dilations: vec![2, 2], ..Conv::square(1, 2) };
/// assert_eq!((wide.before, wide.after, wide.groups), (vec![2, 2], vec![2, 2], 1));
/// ```
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
///
/// ```
/// use onebasin_core::graph::op::{Pool, PoolKind};
/// let pool = Pool::square(PoolKind::Average, 2, 2);
/// assert_eq!((pool.kernel, pool.strides, pool.before), (vec![2, 2], vec![2, 2], vec![0, 0]));
/// ```
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
///
/// ```
/// use onebasin_core::graph::{Op, op::{Pool, PoolKind}};
/// let pool = |kind| Op::Pool(Pool::square(kind, 2, 2)).to_string();
/// assert_eq!(pool(PoolKind::Max), "MaxPool([2, 2], strides [2, 2])");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest value inside the image.
    Max,
    /// The mean of the values inside the image: their sum by their number.
    Average,
    /// The mean with the added positions counted as zeros: the sum by the number of positions inside image and padding.
    AverageWithPadding,
}

/// One axis of the result of a reshape or an expansion. Written this way, not in numbers alone, a shape follows the
/// batch.
///
/// ```
/// use onebasin_core::graph::{Graph, Op, op::Dim};
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 3, 4])?;
/// let y = g.push("flat", Op::Reshape(vec![Dim::Same(0), Dim::Rest]), &[x])?;
/// assert_eq!(g.with_batch(8)?.shape(y), [8, 12]);
/// assert_eq!(g.nodes()[0].op.to_string(), "Reshape[=0, _]");
/// # Ok::<(), onebasin_core::Error>(())
/// ```
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
///
/// | mode | `a b c` padded by 2 on either side |
/// |---|---|
/// | `Constant(0)` | `0 0 a b c 0 0` |
/// | `Reflect` | `c b a b c b a` |
/// | `Edge` | `a a a b c c c` |
/// ```
/// use onebasin_core::graph::{Op, op::PadMode, shape::infer};
/// let pad = |mode| Op::Pad { before: vec![2], after: vec![2], mode };
/// assert_eq!(infer(&pad(PadMode::Reflect), &[&[3]])?, [[7]]);
/// assert!(infer(&pad(PadMode::Edge), &[&[0]]).is_err()); // nothing has no edge
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PadMode {
    /// This number.
    Constant(f64),
    /// The mirror image, edge not repeated; mirrored again where it is longer than the axis.
    Reflect,
    /// The edge, repeated.
    Edge,
}

/// How resizing finds values: where position `i` of `out` lies among `in` positions, clamped to them.
/// ```
/// use onebasin_core::graph::{Op, op::ResizeMode};
/// let op = Op::Resize { size: vec![64, 64], mode: ResizeMode::LinearHalfPixel }; // PyTorch's `bilinear`
/// assert_eq!(op.name(), "Resize");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResizeMode {
    /// The nearest position at or below `i · in / out`.
    Nearest,
    /// Linear between positions, pixel centres at halves: `(i + ½) · in / out − ½`.
    LinearHalfPixel,
    /// Linear between positions, corners kept: `i · (in − 1) / (out − 1)`; 0 where `out` is 1.
    LinearAlignCorners,
    /// Linear between positions: `i · in / out`.
    LinearAsymmetric,
}

/// Recurrent cells, with their gates in ONNX's order. A gate `g` sees `g̃ = W_g x_t + R_g h_{t−1} + b_g`; `⊙` is
/// multiplication entry by entry.
///
/// ```
/// use onebasin_core::graph::op::Cell;
/// assert_eq!([Cell::Rnn, Cell::Lstm, Cell::Gru { reset_after: true }].map(Cell::gates), [1, 4, 3]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// `h_t = tanh(h̃)`.
    Rnn,
    /// Gates i, o, f, c: `c_t = σ(f̃) ⊙ c_{t−1} + σ(ĩ) ⊙ tanh(c̃)`, `h_t = σ(õ) ⊙ tanh(c_t)`.
    Lstm,
    /// Gates z, r, h: `h_t = (1 − σ(z̃)) ⊙ n + σ(z̃) ⊙ h_{t−1}`, with
    /// `n = tanh(W_h x_t + R_h (σ(r̃) ⊙ h_{t−1}) + b_h)`; `reset_after` applies the reset gate after the recurrent
    /// product, to `R_h h_{t−1}` and its bias.
    Gru {
        /// `linear_before_reset` of ONNX, and what PyTorch does.
        reset_after: bool,
    },
}

impl Cell {
    /// Number of gates: blocks of rows in the weights.
    /// ```
    /// use onebasin_core::graph::op::Cell;
    /// assert_eq!(Cell::Lstm.gates() * 16, 64); // rows of the weights of 16 units
    /// ```
    pub fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Lstm => 4,
            Self::Gru { .. } => 3,
        }
    }
}

/// Which way a recurrent layer runs over time.
///
/// ```
/// use onebasin_core::graph::op::Direction;
/// assert_eq!([Direction::Forward, Direction::Reverse, Direction::Both].map(Direction::count), [1, 1, 2]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first step to the last.
    Forward,
    /// From the last step to the first.
    Reverse,
    /// Forward, and with other weights in reverse.
    Both,
}

impl Direction {
    /// Number of directions: the first axis of the weights.
    /// ```
    /// use onebasin_core::graph::op::Direction;
    /// assert_eq!(Direction::Both.count(), 2);
    /// ```
    pub fn count(self) -> usize {
        if self == Self::Both { 2 } else { 1 }
    }
}

impl Conv {
    /// A square convolution of images: the same stride and padding on both axes, dilation 1, one group.
    ///
    /// ```
    /// use onebasin_core::graph::{Op, op::Conv};
    /// assert_eq!(Op::Conv(Conv::square(2, 1)).to_string(), "Conv(strides [2, 2], before [1, 1], after [1, 1])");
    /// ```
    pub fn square(stride: usize, padding: usize) -> Self {
        Self {
            strides: vec![stride; 2],
            dilations: vec![1; 2],
            before: vec![padding; 2],
            after: vec![padding; 2],
            groups: 1,
        }
    }

    /// The same in groups of channels; as many as there are channels is a depthwise convolution.
    ///
    /// ```
    /// use onebasin_core::graph::op::Conv;
    /// assert_eq!(Conv::square(1, 1).grouped(32).groups, 32);
    /// ```
    #[must_use]
    pub fn grouped(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}

impl Pool {
    /// A square window over images, without padding.
    ///
    /// ```
    /// use onebasin_core::graph::op::{Op, Pool, PoolKind};
    /// use onebasin_core::graph::shape::infer;
    /// assert_eq!(infer(&Op::Pool(Pool::square(PoolKind::Max, 2, 2)), &[&[8, 3, 32, 32]])?, [[8, 3, 16, 16]]);
    /// # Ok::<(), String>(())
    /// ```
    pub fn square(kind: PoolKind, kernel: usize, stride: usize) -> Self {
        let (kernel, strides) = (vec![kernel; 2], vec![stride; 2]);
        Self { kind, kernel, strides, before: vec![0; 2], after: vec![0; 2], ceil: false }
    }

    /// The same with positions added on every side.
    ///
    /// ```
    /// use onebasin_core::graph::op::{Pool, PoolKind};
    /// assert_eq!(Pool::square(PoolKind::Average, 3, 1).padded(1).after, [1, 1]);
    /// ```
    #[must_use]
    pub fn padded(self, padding: usize) -> Self {
        Self { before: vec![padding; self.kernel.len()], after: vec![padding; self.kernel.len()], ..self }
    }
}
