//! The builder: the layers of built-in networks in one line each.
//!
//! A layer's parameters are named after it as PyTorch names them: `{name}.weight`, `{name}.bias`, `{name}.running_mean`,
//! `{name}.running_var`.

use super::op::{Binary, Conv, Dim, Op, Pool, PoolKind, Reduce, Unary};
use super::{Graph, ValueId};
use crate::error::Result;

impl Graph {
    /// `y = x Wᵀ + b` over the last axis.
    pub fn linear(&mut self, name: &str, x: ValueId, out: usize) -> Result<ValueId> {
        let features = self.shape(x).last().copied().unwrap_or(1);
        let weight = self.param(&format!("{name}.weight"), &[out, features])?;
        let bias = self.param(&format!("{name}.bias"), &[out])?;
        self.push(name, Op::Linear, &[x, weight, bias])
    }

    /// A convolution of images with a square kernel, with or without bias.
    pub fn conv(
        &mut self,
        name: &str,
        x: ValueId,
        out: usize,
        kernel: usize,
        conv: Conv,
        bias: bool,
    ) -> Result<ValueId> {
        let channels = self.shape(x).get(1).copied().unwrap_or(0) / conv.groups.max(1);
        let mut inputs = vec![x, self.param(&format!("{name}.weight"), &[out, channels, kernel, kernel])?];
        if bias {
            inputs.push(self.param(&format!("{name}.bias"), &[out])?);
        }
        self.push(name, Op::Conv(conv), &inputs)
    }

    /// BatchNorm over axis 1, ε = 1e-5.
    pub fn batch_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let shape = [self.shape(x).get(1).copied().unwrap_or(0)];
        let mut inputs = vec![x];
        for part in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.param(&format!("{name}.{part}"), &shape)?);
        }
        self.push(name, Op::BatchNorm { epsilon: 1e-5 }, &inputs)
    }

    /// LayerNorm over the channels (axis 1) of every pixel, as Flax does it: ε = 1e-6.
    pub fn channel_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let shape = [self.shape(x).get(1).copied().unwrap_or(0)];
        let gain = self.param(&format!("{name}.weight"), &shape)?;
        let bias = self.param(&format!("{name}.bias"), &shape)?;
        self.push(name, Op::LayerNorm { axes: vec![1], epsilon: 1e-6, centred: true }, &[x, gain, bias])
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, x: ValueId) -> Result<ValueId> {
        self.unary("relu", Unary::Relu, x)
    }

    /// A function of one number; named after what it follows.
    pub fn unary(&mut self, what: &str, function: Unary, x: ValueId) -> Result<ValueId> {
        let name = format!("{}.{what}", self.value(x).name);
        self.push(&name, Op::Unary(function), &[x])
    }

    /// `a + b`, shapes broadcast.
    pub fn add_values(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.push(name, Op::Binary(Binary::Add), &[a, b])
    }

    /// Max pooling of images.
    pub fn max_pool(&mut self, name: &str, x: ValueId, pool: Pool) -> Result<ValueId> {
        self.push(name, Op::Pool(Pool { kind: PoolKind::Max, ..pool }), &[x])
    }

    /// Mean over all pixels: `[N, C, H, W]` to `[N, C]`.
    pub fn global_average(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let axes = (2..self.shape(x).len()).collect();
        self.push(name, Op::Reduce { kind: Reduce::Mean, axes, keep: false }, &[x])
    }

    /// `[N, …]` to `[N, the rest]`.
    pub fn flatten(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        self.push(name, Op::Reshape(vec![Dim::Same(0), Dim::Rest]), &[x])
    }
}
