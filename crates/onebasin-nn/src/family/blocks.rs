//! What transformers are made of.

use onebasin_core::Tensor;
use onebasin_core::graph::op::{Binary, Dim, Op, Unary};
use onebasin_core::graph::{Graph, ValueId};

use super::config::wrong;
use crate::error::Result;

/// A graph on its way, for so many positions.
pub(super) struct Build {
    pub(super) graph: Graph,
    pub(super) span: Span,
    /// Keys and values of every layer, where they are asked for.
    kept: Vec<ValueId>,
}

/// Which positions a graph is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Positions before it, whose keys and values are inputs; none of a graph that begins at the beginning.
    pub(super) past: Option<usize>,
    pub(super) length: usize,
}

impl Span {
    /// The position behind the last.
    pub(super) fn end(self) -> usize {
        self.past.unwrap_or(0) + self.length
    }
}

/// Heads of attention: of queries, of keys and values, and units of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) units: usize,
}

/// How scores become attention.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub(super) heads: Heads,
    /// What scores are multiplied by.
    pub(super) scale: f64,
    pub(super) sees: Sees,
    /// A bound that scores come near, by tanh, and never pass.
    pub(super) cap: Option<f64>,
    /// What is added to scores, `[heads, T, S]` or what broadcasts to it.
    pub(super) bias: Option<ValueId>,
}

impl Attention {
    /// What most have: scores by √units, every position sees those before it.
    pub(super) fn causal(heads: Heads) -> Self {
        Self { heads, scale: 1.0 / (heads.units as f64).sqrt(), sees: Sees::Before, cap: None, bias: None }
    }
}

/// Which positions a position sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    /// All there are.
    All,
    /// Itself and those before it.
    Before,
    /// The same, and no more than so many.
    Window(usize),
}

/// What is added to scores of positions that are not seen.
const HIDDEN: f32 = f32::MIN;

impl Sees {
    /// What is added to scores of the last `length` of `total` positions; nothing where all are seen.
    fn mask(self, length: usize, total: usize) -> Result<Option<Tensor>> {
        let window = match self {
            Sees::All => return Ok(None),
            Sees::Before => total,
            Sees::Window(window) => window,
        };
        let past = total - length;
        let seen = |at: usize| (at % total <= at / total + past) && (at % total + window > at / total + past);
        let mask = (0..length * total).map(|at| if seen(at) { 0.0 } else { HIDDEN }).collect();
        Ok(Some(Tensor::from_f32(&[length, total], mask)?))
    }
}

impl Build {
    /// Begins with so many tokens.
    pub(super) fn new(span: Span, positions: usize) -> Result<(Self, ValueId)> {
        if span.end() > positions || span.length == 0 {
            return Err(wrong(&format!("it has {positions} positions, and {} are asked for", span.end())));
        }
        let mut graph = Graph::new();
        let tokens = graph.input("input_ids", &[1, span.length])?;
        Ok((Self { graph, span, kept: Vec::new() }, tokens))
    }

    /// Begins with nothing: a family adds what its networks read.
    pub(super) fn over() -> Self {
        Self { graph: Graph::new(), span: Span { past: None, length: 0 }, kept: Vec::new() }
    }

    /// Rows of a table `[rows, width]`.
    pub(super) fn embedding(&mut self, name: &str, tokens: ValueId, rows: usize, width: usize) -> Result<ValueId> {
        let table = self.graph.param(&format!("{name}.weight"), &[rows, width])?;
        Ok(self.graph.push(name, Op::Gather { axis: 0 }, &[table, tokens])?)
    }

    /// The rows of a table of positions that it is for, the first of which is the position 0.
    pub(super) fn positions(&mut self, name: &str, rows: usize, width: usize) -> Result<ValueId> {
        self.positions_from(name, 0, rows, width)
    }

    /// The same, with so many rows before the position 0.
    pub(super) fn positions_from(&mut self, name: &str, first: usize, rows: usize, width: usize) -> Result<ValueId> {
        let table = self.graph.param(&format!("{name}.weight"), &[rows, width])?;
        let Span { past, length } = self.span;
        let own = Op::Slice { axis: 0, start: first + past.unwrap_or(0), len: length, step: 1 };
        Ok(self.graph.push(name, own, &[table])?)
    }

    /// `x Wᵀ (+ b)`, W `[out, in]`.
    pub(super) fn linear(&mut self, name: &str, x: ValueId, out: usize, bias: bool) -> Result<ValueId> {
        let features = self.width(x);
        let mut inputs = vec![x, self.graph.param(&format!("{name}.weight"), &[out, features])?];
        if bias {
            inputs.push(self.graph.param(&format!("{name}.bias"), &[out])?);
        }
        Ok(self.graph.push(name, Op::Linear, &inputs)?)
    }

    /// `x W + b`, W `[in, out]`: a layer as GPT-2 keeps it.
    pub(super) fn conv1d(&mut self, name: &str, x: ValueId, out: usize) -> Result<ValueId> {
        let weight = self.graph.param(&format!("{name}.weight"), &[self.width(x), out])?;
        let bias = self.graph.param(&format!("{name}.bias"), &[out])?;
        let product = self.graph.push(&format!("{name}.product"), Op::MatMul, &[x, weight])?;
        self.add(name, product, bias)
    }

    /// LayerNorm, or RMSNorm where it has no bias, over the last axis.
    pub(super) fn norm(&mut self, name: &str, x: ValueId, epsilon: f64, centred: bool) -> Result<ValueId> {
        let (axis, width) = (self.graph.shape(x).len() - 1, self.width(x));
        let mut inputs = vec![x, self.graph.param(&format!("{name}.weight"), &[width])?];
        if centred {
            inputs.push(self.graph.param(&format!("{name}.bias"), &[width])?);
        }
        Ok(self.graph.push(name, Op::LayerNorm { axes: vec![axis], epsilon, centred }, &inputs)?)
    }

    /// RMSNorm over the last axis whose gain is 1 more than its weight.
    pub(super) fn norm_of_one_more(&mut self, name: &str, x: ValueId, epsilon: f64) -> Result<ValueId> {
        let (axis, width) = (self.graph.shape(x).len() - 1, self.width(x));
        let weight = self.graph.param(&format!("{name}.weight"), &[width])?;
        let one = self.graph.constant(&format!("{name}.one"), Tensor::from_f32(&[], vec![1.0])?)?;
        let gain = self.add(&format!("{name}.gain"), weight, one)?;
        Ok(self.graph.push(name, Op::LayerNorm { axes: vec![axis], epsilon, centred: false }, &[x, gain])?)
    }

    pub(super) fn add(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId> {
        Ok(self.graph.push(name, Op::Binary(Binary::Add), &[a, b])?)
    }

    pub(super) fn multiply(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId> {
        Ok(self.graph.push(name, Op::Binary(Binary::Mul), &[a, b])?)
    }

    pub(super) fn unary(&mut self, name: &str, function: Unary, x: ValueId) -> Result<ValueId> {
        Ok(self.graph.push(name, Op::Unary(function), &[x])?)
    }

    /// A value times a number.
    pub(super) fn scaled(&mut self, name: &str, x: ValueId, by: f64) -> Result<ValueId> {
        let scale = self.graph.constant(&format!("{name}.by"), Tensor::from_f32(&[], vec![by as f32])?)?;
        self.multiply(name, x, scale)
    }

    /// `cap · tanh(x / cap)`.
    pub(super) fn capped(&mut self, name: &str, x: ValueId, cap: f64) -> Result<ValueId> {
        let small = self.scaled(&format!("{name}.small"), x, 1.0 / cap)?;
        let bent = self.unary(&format!("{name}.bent"), Unary::Tanh, small)?;
        self.scaled(name, bent, cap)
    }

    /// A run of the last axis.
    pub(super) fn part(&mut self, name: &str, x: ValueId, start: usize, len: usize) -> Result<ValueId> {
        let axis = self.graph.shape(x).len() - 1;
        Ok(self.graph.push(name, Op::Slice { axis, start, len, step: 1 }, &[x])?)
    }

    /// `[N, T, heads · units]` as `[N, heads, T, units]`.
    pub(super) fn split(&mut self, name: &str, x: ValueId, heads: usize) -> Result<ValueId> {
        let shape = Op::Reshape(vec![Dim::Same(0), Dim::Same(1), Dim::Size(heads), Dim::Rest]);
        let apart = self.graph.push(&format!("{name}.heads"), shape, &[x])?;
        Ok(self.graph.push(&format!("{name}.split"), Op::Transpose(vec![0, 2, 1, 3]), &[apart])?)
    }

    /// Queries, keys and values `[N, heads, T, units]` of a layer that has those of every head one after the other.
    pub(super) fn split_of_heads(&mut self, name: &str, all: ValueId, sizes: Heads) -> Result<[ValueId; 3]> {
        let heads = self.split(&format!("{name}.all"), all, sizes.queries)?;
        let mut of = |part: &str, k: usize| self.part(&format!("{name}.{part}"), heads, k * sizes.units, sizes.units);
        Ok([of("q", 0)?, of("k", 1)?, of("v", 2)?])
    }

    /// Attention: queries `[N, heads, T, units]`, keys and values `[N, heads, S, units]`, to `[N, T, heads · units]`. Where there are
    /// more heads of queries than of keys and values, neighbours share one.
    pub(super) fn attend(&mut self, name: &str, [q, k, v]: [ValueId; 3], how: Attention) -> Result<ValueId> {
        let Heads { queries, keys, units } = how.heads;
        let shared = queries / keys;
        let [k, v] = self.with_past(name, [k, v], how.heads)?;
        let (length, total) = (self.graph.shape(q)[2], self.graph.shape(k)[2]);
        let apart = |heads: usize, each: usize, positions: usize| {
            let sizes = [heads, each, positions, units].map(Dim::Size);
            Op::Reshape([Dim::Same(0)].into_iter().chain(sizes).collect())
        };
        let mut named = |part: &str, op: Op, inputs: &[ValueId]| self.graph.push(&format!("{name}.{part}"), op, inputs);
        let [q, k, v] = if shared > 1 {
            [
                named("q", apart(keys, shared, length), &[q])?,
                named("k", apart(keys, 1, total), &[k])?,
                named("v", apart(keys, 1, total), &[v])?,
            ]
        } else {
            [q, k, v]
        };
        let turned = if shared > 1 { vec![0, 1, 2, 4, 3] } else { vec![0, 1, 3, 2] };
        let k = named("keys", Op::Transpose(turned), &[k])?;
        let products = named("products", Op::MatMul, &[q, k])?;
        let mut scores = self.scaled(&format!("{name}.scaled"), products, how.scale)?;
        if let Some(cap) = how.cap {
            scores = self.capped(&format!("{name}.capped"), scores, cap)?;
        }
        if let Some(bias) = how.bias {
            scores = self.add(&format!("{name}.biased"), scores, bias)?;
        }
        if let Some(mask) = how.sees.mask(length, total)? {
            let mask = self.graph.constant(&format!("{name}.mask"), mask)?;
            scores = self.add(&format!("{name}.scores"), scores, mask)?;
        }
        let axis = self.graph.shape(scores).len() - 1;
        let mut named = |part: &str, op: Op, inputs: &[ValueId]| self.graph.push(&format!("{name}.{part}"), op, inputs);
        let weights = named("weights", Op::Softmax { axis, log: false }, &[scores])?;
        let mut mixed = named("mixed", Op::MatMul, &[weights, v])?;
        if shared > 1 {
            let together = Op::Reshape(vec![Dim::Same(0), Dim::Size(queries), Dim::Size(length), Dim::Size(units)]);
            mixed = named("together", together, &[mixed])?;
        }
        let beside = named("beside", Op::Transpose(vec![0, 2, 1, 3]), &[mixed])?;
        Ok(named("joined", Op::Reshape(vec![Dim::Same(0), Dim::Same(1), Dim::Size(queries * units)]), &[beside])?)
    }

    /// Keys and values behind those of the positions before; all of them are outputs then.
    fn with_past(&mut self, name: &str, [k, v]: [ValueId; 2], heads: Heads) -> Result<[ValueId; 2]> {
        let Some(past) = self.span.past else { return Ok([k, v]) };
        self.kept.extend([k, v]);
        if past == 0 {
            return Ok([k, v]);
        }
        let mut behind = |part: &str, value: ValueId| -> Result<ValueId> {
            let before = self.graph.input(&format!("{name}.past.{part}"), &[1, heads.keys, past, heads.units])?;
            Ok(self.graph.push(&format!("{name}.all.{part}"), Op::Concat { axis: 2 }, &[before, value])?)
        };
        Ok([behind("keys", k)?, behind("values", v)?])
    }

    pub(super) fn width(&self, x: ValueId) -> usize {
        self.graph.shape(x).last().copied().unwrap_or(1)
    }

    /// The graph, with all that it computes last.
    pub(super) fn done_with(mut self, outputs: &[ValueId]) -> Graph {
        for value in outputs {
            self.graph.output(*value);
        }
        self.graph
    }

    /// The graph, with what it computes last.
    pub(super) fn done(mut self, output: ValueId) -> Graph {
        self.graph.output(output);
        self.kept.iter().for_each(|value| self.graph.output(*value));
        self.graph
    }
}
