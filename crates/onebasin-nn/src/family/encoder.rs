//! Blocks of transformers that are not built to write: attention and feed-forward by the names of their tensors, norms before or behind.

use onebasin_core::graph::ValueId;
use onebasin_core::graph::op::{Dim, Op, Unary};

use super::blocks::{Attention, Build, Heads, Sees};
use super::config::{Config, wrong};
use crate::error::Result;

/// Tensors of attention, below a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attends {
    pub(super) of: &'static str,
    /// Queries, keys, values and the output, below `of`.
    pub(super) projections: [&'static str; 4],
    pub(super) norm: &'static str,
}

/// Tensors of a feed-forward, below a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Feeds {
    pub(super) inner: &'static str,
    pub(super) outer: &'static str,
    pub(super) norm: &'static str,
}

/// Where norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norms {
    /// Before what reads the stream.
    Before,
    /// On the stream, behind every sum.
    Behind,
}

/// `f(slope · x) / slope`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function {
    of: Unary,
    slope: f64,
}

impl Function {
    /// As it is.
    pub(super) fn plain(of: Unary) -> Self {
        Self { of, slope: 1.0 }
    }

    /// By the name that transformers has for it, `other` where none is named.
    pub(super) fn named(config: &Config, key: &str, other: &str) -> Result<Self> {
        match config.text_or(key, other)? {
            "quick_gelu" => Ok(Self { of: Unary::Silu, slope: 1.702 }),
            _ => Ok(Self::plain(config.activation(key, other)?)),
        }
    }
}

/// What all blocks of a network share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer {
    pub(super) attention: Attention,
    /// Units of the feed-forward.
    pub(super) inner: usize,
    pub(super) function: Function,
    pub(super) epsilon: f64,
    pub(super) norms: Norms,
    /// LayerNorms; else RMSNorms.
    pub(super) centred: bool,
    /// Which projections of attention have a bias.
    pub(super) biases: [bool; 4],
}

/// Attention to all there is, whose heads share the width evenly.
pub(super) fn attention_to_all(width: usize, heads: usize) -> Result<Attention> {
    if !width.is_multiple_of(heads) {
        return Err(wrong(&format!("its width is {width}, which {heads} heads do not share evenly")));
    }
    Ok(Attention { sees: Sees::All, ..Attention::causal(Heads { queries: heads, keys: heads, units: width / heads }) })
}

impl Build {
    /// A block: attention to itself, and feed-forward.
    pub(super) fn block(
        &mut self,
        block: &str,
        (attends, feeds): (Attends, Feeds),
        layer: &Layer,
        stream: ValueId,
    ) -> Result<ValueId> {
        let stream = self.attended(block, attends, layer, stream, None)?;
        self.fed(block, feeds, layer, stream)
    }

    /// A stream with what its attention adds, to itself or to what another network made.
    pub(super) fn attended(
        &mut self,
        block: &str,
        names: Attends,
        layer: &Layer,
        stream: ValueId,
        memory: Option<ValueId>,
    ) -> Result<ValueId> {
        let name = |part: &str| format!("{block}.{}.{part}", names.of);
        let x = self.before(block, names.norm, layer, stream)?;
        let seen = memory.unwrap_or(x);
        let Heads { queries, keys, units } = layer.attention.heads;
        let [of_queries, of_keys, of_values, out] = names.projections;
        let mut of = |part: &str, from: ValueId, heads: usize, bias: bool| {
            let projected = self.linear(&name(part), from, heads * units, bias)?;
            self.split(&name(part), projected, heads)
        };
        let parts = [
            of(of_queries, x, queries, layer.biases[0])?,
            of(of_keys, seen, keys, layer.biases[1])?,
            of(of_values, seen, keys, layer.biases[2])?,
        ];
        let mixed = self.attend(&format!("{block}.{}", names.of), parts, layer.attention)?;
        let added = self.linear(&name(out), mixed, self.width(stream), layer.biases[3])?;
        let sum = self.add(&name("sum"), stream, added)?;
        self.behind(block, names.norm, layer, sum)
    }

    /// A stream with what its feed-forward adds.
    pub(super) fn fed(&mut self, block: &str, names: Feeds, layer: &Layer, stream: ValueId) -> Result<ValueId> {
        let name = |part: &str| format!("{block}.{part}");
        let x = self.before(block, names.norm, layer, stream)?;
        let hidden = self.linear(&name(names.inner), x, layer.inner, true)?;
        let hidden = self.bent(&name("hidden"), layer.function, hidden)?;
        let added = self.linear(&name(names.outer), hidden, self.width(stream), true)?;
        let sum = self.add(&name("fed"), stream, added)?;
        self.behind(block, names.norm, layer, sum)
    }

    fn before(&mut self, block: &str, norm: &str, layer: &Layer, stream: ValueId) -> Result<ValueId> {
        match layer.norms {
            Norms::Before => self.norm(&format!("{block}.{norm}"), stream, layer.epsilon, layer.centred),
            Norms::Behind => Ok(stream),
        }
    }

    fn behind(&mut self, block: &str, norm: &str, layer: &Layer, sum: ValueId) -> Result<ValueId> {
        match layer.norms {
            Norms::Before => Ok(sum),
            Norms::Behind => self.norm(&format!("{block}.{norm}"), sum, layer.epsilon, layer.centred),
        }
    }

    /// A function entry by entry.
    pub(super) fn bent(&mut self, name: &str, function: Function, x: ValueId) -> Result<ValueId> {
        let Function { of, slope } = function;
        if slope == 1.0 {
            return self.unary(name, of, x);
        }
        let steep = self.scaled(&format!("{name}.steep"), x, slope)?;
        let bent = self.unary(&format!("{name}.bent"), of, steep)?;
        self.scaled(name, bent, 1.0 / slope)
    }

    /// A run of rows of a table `[rows, width]`.
    pub(super) fn run_of_rows(
        &mut self,
        name: &str,
        rows: usize,
        width: usize,
        start: usize,
        len: usize,
    ) -> Result<ValueId> {
        if start + len > rows || len == 0 {
            return Err(wrong(&format!("`{name}` has {rows} rows, and {len} from {start} on are asked for")));
        }
        let table = self.graph.param(&format!("{name}.weight"), &[rows, width])?;
        Ok(self.graph.push(name, Op::Slice { axis: 0, start, len, step: 1 }, &[table])?)
    }

    /// Tokens that are read, `[1, length]`.
    pub(super) fn tokens(&mut self, name: &str, length: usize) -> Result<ValueId> {
        if length == 0 {
            return Err(wrong(&format!("`{name}` has no positions")));
        }
        Ok(self.graph.input(name, &[1, length])?)
    }

    /// The first position of a sequence: `[N, T, width]` to `[N, width]`.
    pub(super) fn first(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let first = Op::Slice { axis: 1, start: 0, len: 1, step: 1 };
        let own = self.graph.push(&format!("{name}.first"), first, &[x])?;
        let flat = Op::Reshape(vec![Dim::Same(0), Dim::Size(self.width(x))]);
        Ok(self.graph.push(&format!("{name}.flat"), flat, &[own])?)
    }

    /// The first position, a linear layer, and a function.
    pub(super) fn pooled(&mut self, name: &str, x: ValueId, out: usize, function: Function) -> Result<ValueId> {
        let first = self.first(name, x)?;
        let dense = self.linear(name, first, out, true)?;
        self.bent(&format!("{name}.bent"), function, dense)
    }

    /// Logits over the rows of a table, with a bias.
    pub(super) fn tied(&mut self, name: &str, x: ValueId, table: &str, bias: &str, rows: usize) -> Result<ValueId> {
        let table = self.graph.param(table, &[rows, self.width(x)])?;
        let bias = self.graph.param(bias, &[rows])?;
        Ok(self.graph.push(name, Op::Linear, &[x, table, bias])?)
    }
}
