//! The functions of numbers that operators apply.

/// Functions of one number. `σ` is [`Unary::Sigmoid`], `Φ` the normal distribution's cumulative function.
///
/// ```
/// use onebasin_core::graph::{Graph, op::Unary};
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 4])?;
/// let y = g.unary("act", Unary::LeakyRelu(0.01), x)?;
/// assert_eq!(g.nodes()[0].op.to_string(), "LeakyRelu(0.01)");
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    /// `x`.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x` above 0, `slope · x` below.
    LeakyRelu(f64),
    /// `x` above 0, `alpha (exp x − 1)` below.
    Elu(f64),
    /// `gamma x` above 0, `gamma alpha (exp x − 1)` below.
    Selu {
        /// Depth of what is below 0.
        alpha: f64,
        /// Scale of both sides.
        gamma: f64,
    },
    /// `x Φ(x) = ½ x (1 + erf(x / √2))`.
    Gelu,
    /// `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
    /// `x σ(x)`.
    Silu,
    /// `max(0, min(1, alpha x + beta))`.
    HardSigmoid {
        /// Slope.
        alpha: f64,
        /// Value at 0.
        beta: f64,
    },
    /// `x max(0, min(1, x/6 + ½))`.
    HardSwish,
    /// `x tanh(log(1 + exp x))`.
    Mish,
    /// `1 / (1 + exp(−x))`.
    Sigmoid,
    /// `(exp x − exp(−x)) / (exp x + exp(−x))`.
    Tanh,
    /// `log(1 + exp x)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `max(low, min(high, x))`.
    Clip {
        /// The least value.
        low: f64,
        /// The greatest value.
        high: f64,
    },
    /// `2/√π ∫₀ˣ exp(−t²) dt`.
    Erf,
    /// `exp x`.
    Exp,
    /// The natural logarithm.
    Log,
    /// `√x`.
    Sqrt,
    /// `1 / x`.
    Reciprocal,
    /// `−x`.
    Neg,
    /// `|x|`.
    Abs,
    /// 1 above 0, −1 below, 0 at 0.
    Sign,
    /// To the next whole number at or below.
    Floor,
    /// To the next whole number at or above.
    Ceil,
    /// To the nearest whole number, halves to the even one.
    Round,
    /// The sine of an angle in radians.
    Sin,
    /// The cosine of an angle in radians.
    Cos,
    /// The tangent of an angle in radians.
    Tan,
    /// The angle between −π/2 and π/2 of this sine.
    Asin,
    /// The angle between 0 and π of this cosine.
    Acos,
    /// The angle between −π/2 and π/2 of this tangent.
    Atan,
    /// `½ (exp x − exp(−x))`.
    Sinh,
    /// `½ (exp x + exp(−x))`.
    Cosh,
    /// The number whose `Sinh` this is.
    Asinh,
    /// The number, not below 0, whose `Cosh` this is.
    Acosh,
    /// The number whose `Tanh` this is.
    Atanh,
    /// 1 where the number is 0, else 0.
    Not,
    /// 1 where it is no number, else 0.
    IsNan,
    /// 1 where it is one of the infinities asked for, else 0.
    IsInf {
        /// Whether −∞ counts.
        negative: bool,
        /// Whether ∞ counts.
        positive: bool,
    },
}

/// Functions of two numbers. Comparisons give 1 or 0, and anything but 0 counts as true.
///
/// ```
/// use onebasin_core::graph::{Graph, Op, op::Binary};
/// let mut g = Graph::new();
/// let (a, b) = (g.input("a", &[8, 4])?, g.input("b", &[8, 1])?);
/// let y = g.push("less", Op::Binary(Binary::Less), &[a, b])?;
/// assert_eq!(g.shape(y), [8, 4]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a − b`.
    Sub,
    /// `a · b`.
    Mul,
    /// `a / b`.
    Div,
    /// `a` to the power of `b`.
    Pow,
    /// The smaller.
    Min,
    /// The larger.
    Max,
    /// `a` above 0, `a · b` below: PReLU with slope `b`.
    PRelu,
    /// `a = b`.
    Equal,
    /// `a < b`.
    Less,
    /// `a ≤ b`.
    LessOrEqual,
    /// `a > b`.
    Greater,
    /// `a ≥ b`.
    GreaterOrEqual,
    /// Both are true.
    And,
    /// One is true, or both.
    Or,
}

/// Symmetric functions of many numbers. Of no numbers at all sums and norms are 0, the product 1, the mean NaN, and the
/// extremes ∓∞.
///
/// ```
/// use onebasin_core::graph::{Op, op::Reduce};
/// let op = Op::Reduce { kind: Reduce::L2, axes: vec![1], keep: true };
/// assert_eq!(op.to_string(), "ReduceL2(axes [1], keep true)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    /// `Σ x`.
    Sum,
    /// `Σ x / n`.
    Mean,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// `Π x`.
    Prod,
    /// `Σ x²`.
    SumSquare,
    /// `√Σ x²`.
    L2,
}

/// What becomes of an entry `a` and its update `b`. All but the first give the same in any order of the updates.
///
/// ```
/// use onebasin_core::graph::{Op, op::Scatter};
/// let op = Op::ScatterElements { axis: 0, function: Scatter::Add };
/// assert_eq!(op.to_string(), "ScatterElements { axis: 0, function: Add }");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scatter {
    /// `b`.
    Set,
    /// `a + b`.
    Add,
    /// `a · b`.
    Mul,
    /// The smaller.
    Min,
    /// The larger.
    Max,
}
