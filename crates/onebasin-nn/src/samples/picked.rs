//! Which inputs are whole numbers, and how large they may be.

use onebasin_core::graph::op::{Binary, PadMode, Reduce, Scatter, Unary};
use onebasin_core::graph::{Graph, Node, Numbers, Op, ValueId, ValueSource};

use crate::exec::numbers;

/// How many whole numbers, from 0 on, an input may hold, where it holds whole numbers.
///
/// An input by whose numbers a node picks may hold as many that every index stays inside, whatever is done to the numbers
/// on the way, as far as that keeps them whole: casts, shapes, sums and products with constants, choices. One that the
/// graph says holds whole numbers and that nothing picks by may hold those that it is compared with; a mask, and whatever
/// else is whole, 0 and 1. None stands for any numbers.
///
/// Cost: one pass over the nodes, times the logarithm of the number.
///
/// ```
/// use onebasin_core::Tensor;
/// use onebasin_core::graph::op::Binary;
/// use onebasin_core::graph::{Graph, Op};
/// use onebasin_nn::samples::picked_from;
/// let mut graph = Graph::new();
/// let tokens = graph.input("tokens", &[1, 5])?;
/// let two = graph.constant("two", Tensor::from_f32(&[], vec![2.0])?)?;
/// let places = graph.push("places", Op::Binary(Binary::Add), &[tokens, two])?;
/// let table = graph.param("embedding", &[100, 8])?;
/// let y = graph.push("embed", Op::Gather { axis: 0 }, &[table, places])?;
/// graph.output(y);
/// assert_eq!(picked_from(&graph, tokens), Some(98));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn picked_from(graph: &Graph, input: ValueId) -> Option<usize> {
    let constants: Vec<Option<Span>> = graph.values().iter().map(|v| constant(&v.source)).collect();
    let numbers = graph.numbers(input);
    let found = Trace::new(graph, input, &constants, 1);
    let most = if numbers == Numbers::Truth { 2 } else { usize::MAX };
    let Some(shortest) = found.shortest else {
        return match numbers {
            Numbers::Real => None,
            Numbers::Truth => Some(2),
            Numbers::Whole => Some(found.compared.map_or(2, |n| (n as usize).saturating_add(1)).clamp(2, LARGEST)),
        };
    };
    let (mut low, mut high) = (1, shortest.min(most).max(1));
    while low < high {
        let middle = high - (high - low) / 2;
        if Trace::new(graph, input, &constants, middle).inside {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Some(low)
}

/// Whole numbers up to here are `f32`s.
const LARGEST: usize = 1 << 24;

/// Between what numbers a value lies.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    low: f64,
    high: f64,
    /// Whether all of them are whole.
    whole: bool,
    /// Whether they depend on the input.
    follows: bool,
}

impl Span {
    fn new(low: f64, high: f64, whole: bool, follows: bool) -> Self {
        Self { low, high, whole, follows }
    }

    /// Of numbers that are 0 or 1.
    fn truth(follows: bool) -> Self {
        Self::new(0.0, 1.0, true, follows)
    }

    fn map(self, f: impl Fn(f64) -> f64, whole: bool) -> Self {
        let (a, b) = (f(self.low), f(self.high));
        Self { low: a.min(b), high: a.max(b), whole, ..self }
    }

    /// Of one or the other.
    fn or(self, other: Self) -> Self {
        let (whole, follows) = (self.whole && other.whole, self.follows || other.follows);
        Self { low: self.low.min(other.low), high: self.high.max(other.high), whole, follows }
    }

    /// Of what a function, monotone in both, makes of two.
    fn with(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let ends = [(self.low, other.low), (self.low, other.high), (self.high, other.low), (self.high, other.high)];
        let all = ends.map(|(a, b)| f(a, b));
        let (low, high) =
            (all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().copied().fold(-f64::INFINITY, f64::max));
        Self { low, high, ..self.or(other) }
    }
}

/// Between what a constant lies; none where it is no finite number, or holds none.
fn constant(source: &ValueSource) -> Option<Span> {
    let ValueSource::Constant(tensor) = source else { return None };
    let values = numbers::<f64>(tensor).ok().filter(|v| !v.is_empty() && v.iter().all(|x| x.is_finite()))?;
    let ends = values.iter().fold((f64::INFINITY, -f64::INFINITY), |(l, h), x| (l.min(*x), h.max(*x)));
    Some(Span::new(ends.0, ends.1, values.iter().all(|x| x.fract() == 0.0), false))
}

/// What becomes of an input that holds whole numbers below a bound.
struct Trace {
    /// Length of the shortest axis that is picked from.
    shortest: Option<usize>,
    /// Whether all indices lie inside.
    inside: bool,
    /// The largest constant that it is compared with.
    compared: Option<f64>,
}

impl Trace {
    fn new(graph: &Graph, input: ValueId, constants: &[Option<Span>], below: usize) -> Self {
        let mut spans = constants.to_vec();
        let last = (below - 1) as f64;
        for other in graph.inputs() {
            spans[other.0] = match graph.numbers(other) {
                _ if other == input => Some(Span::new(0.0, last, true, true)),
                Numbers::Real => None,
                Numbers::Whole => Some(Span::new(0.0, last, true, false)),
                Numbers::Truth => Some(Span::truth(false)),
            };
        }
        let mut trace = Self { shortest: None, inside: true, compared: None };
        for node in graph.nodes() {
            let span = trace.node(graph, node, &spans);
            if let Some(output) = node.outputs.first() {
                spans[output.0] = span.filter(|s| s.low.is_finite() && s.high.is_finite());
            }
        }
        trace
    }

    /// Between what the output of a node lies; none where that is not followed.
    fn node(&mut self, graph: &Graph, node: &Node, spans: &[Option<Span>]) -> Option<Span> {
        let at = |k: usize| node.inputs.get(k).and_then(|v| spans[v.0]);
        let follows = (0..node.inputs.len()).any(|k| at(k).is_some_and(|s| s.follows));
        match &node.op {
            Op::Unary(unary) => unary_of(*unary, at(0)?),
            Op::Binary(binary) => self.binary(*binary, at(0), at(1), follows),
            Op::Where => Some(at(1)?.or(at(2)?)),
            Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Slice { .. }
            | Op::TopK { .. }
            | Op::Expand(_)
            | Op::Pad { mode: PadMode::Reflect | PadMode::Edge, .. } => at(0),
            Op::Concat { .. } => {
                let mut parts = (0..node.inputs.len()).map(at);
                let first = parts.next()??;
                parts.try_fold(first, |all, part| Some(all.or(part?)))
            }
            Op::Pad { mode: PadMode::Constant(value), .. } => {
                Some(at(0)?.or(Span::new(*value, *value, value.fract() == 0.0, false)))
            }
            Op::Reduce { kind, axes, .. } => {
                let x = at(0)?;
                let count: usize = axes.iter().map(|a| graph.shape(node.inputs[0])[*a]).product();
                match kind {
                    Reduce::Sum => Some(x.map(|v| v * count as f64, x.whole)),
                    Reduce::Mean => Some(Span { whole: false, ..x }),
                    Reduce::Max | Reduce::Min if count > 0 => Some(x),
                    Reduce::Max | Reduce::Min | Reduce::Prod | Reduce::SumSquare | Reduce::L2 => None,
                }
            }
            Op::Gather { axis } => {
                self.picks(graph, node, *axis, at(1));
                at(0).map(|data| Span { follows, ..data })
            }
            Op::GatherElements { axis } => {
                self.picks(graph, node, *axis, at(1));
                at(0).map(|data| Span { follows, ..data })
            }
            Op::ScatterElements { axis, function } => {
                self.picks(graph, node, *axis, at(1));
                match function {
                    Scatter::Set | Scatter::Min | Scatter::Max => Some(at(0)?.or(at(2)?)),
                    Scatter::Add | Scatter::Mul => None,
                }
            }
            Op::CumSum { axis, .. } => {
                let (x, count) = (at(0)?, graph.shape(node.inputs[0])[*axis] as f64);
                let (low, high) = (x.low.min(x.low * count), x.high.max(x.high * count));
                Some(Span { low: low.min(0.0), high: high.max(0.0), ..x })
            }
            Op::Linear
            | Op::MatMul
            | Op::Conv(_)
            | Op::ConvTranspose { .. }
            | Op::Pool(_)
            | Op::BatchNorm { .. }
            | Op::LayerNorm { .. }
            | Op::GroupNorm { .. }
            | Op::LocalResponseNorm { .. }
            | Op::Softmax { .. }
            | Op::Resize { .. }
            | Op::NonZero
            | Op::Recurrent { .. }
            | Op::Unknown(_) => None,
        }
    }

    /// A node picks from an axis of its first input, by numbers of this span.
    fn picks(&mut self, graph: &Graph, node: &Node, axis: usize, index: Option<Span>) {
        if let Some(index) = index.filter(|s| s.follows && s.whole) {
            let len = graph.shape(node.inputs[0])[axis];
            self.shortest = Some(self.shortest.map_or(len, |n| n.min(len)));
            self.inside &= index.low >= -(len as f64) && index.high < len as f64;
        }
    }

    fn binary(&mut self, binary: Binary, a: Option<Span>, b: Option<Span>, follows: bool) -> Option<Span> {
        match binary {
            Binary::Add => Some(a?.with(b?, |x, y| x + y)),
            Binary::Sub => Some(a?.with(b?, |x, y| x - y)),
            Binary::Mul => Some(a?.with(b?, |x, y| x * y)),
            Binary::Min => Some(a?.with(b?, f64::min)),
            Binary::Max => Some(a?.with(b?, f64::max)),
            Binary::Div => {
                let b = b.filter(|b| b.low > 0.0 || b.high < 0.0)?;
                Some(Span { whole: false, ..a?.with(b, |x, y| x / y) })
            }
            Binary::Equal | Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
                let other = match (a, b) {
                    (Some(a), Some(b)) if a.follows => Some(b),
                    (Some(a), Some(b)) if b.follows => Some(a),
                    (None | Some(_), _) => None,
                };
                let most = [self.compared, other.map(|other| other.high)].into_iter().flatten();
                self.compared = most.reduce(f64::max);
                Some(Span::truth(follows))
            }
            Binary::And | Binary::Or => Some(Span::truth(follows)),
            Binary::Pow | Binary::PRelu => None,
        }
    }
}

fn unary_of(unary: Unary, x: Span) -> Option<Span> {
    Some(match unary {
        Unary::Identity => x,
        Unary::Relu => x.map(|v| v.max(0.0), x.whole),
        Unary::Neg => x.map(|v| -v, x.whole),
        Unary::Abs => {
            let high = x.low.abs().max(x.high.abs());
            let low = if x.low <= 0.0 && x.high >= 0.0 { 0.0 } else { x.low.abs().min(x.high.abs()) };
            Span { low, high, ..x }
        }
        Unary::Sign => x.map(|v| if v == 0.0 { 0.0 } else { v.signum() }, true),
        Unary::Floor => x.map(f64::floor, true),
        Unary::Ceil => x.map(f64::ceil, true),
        Unary::Round => x.map(f64::round_ties_even, true),
        Unary::Clip { low, high } => {
            let whole = x.whole && [low, high].iter().all(|v| v.fract() == 0.0 || v.is_infinite());
            x.map(|v| v.max(low).min(high), whole)
        }
        Unary::Not | Unary::IsNan | Unary::IsInf { .. } => Span::truth(x.follows),
        Unary::LeakyRelu(_)
        | Unary::Elu(_)
        | Unary::Selu { .. }
        | Unary::Gelu
        | Unary::GeluTanh
        | Unary::Silu
        | Unary::HardSigmoid { .. }
        | Unary::HardSwish
        | Unary::Mish
        | Unary::Sigmoid
        | Unary::Tanh
        | Unary::Softplus
        | Unary::Softsign
        | Unary::Erf
        | Unary::Exp
        | Unary::Log
        | Unary::Sqrt
        | Unary::Reciprocal
        | Unary::Sin
        | Unary::Cos
        | Unary::Tan
        | Unary::Asin
        | Unary::Acos
        | Unary::Atan
        | Unary::Sinh
        | Unary::Cosh
        | Unary::Asinh
        | Unary::Acosh
        | Unary::Atanh => return None,
    })
}
