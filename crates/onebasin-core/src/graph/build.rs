//! The builder: the layers of built-in networks in one line each.
//!
//! A layer's parameters are named after it as PyTorch names them: `{name}.weight`, `{name}.bias`, `{name}.running_mean`,
//! `{name}.running_var`.

use super::op::{Binary, Conv, Dim, Op, Pool, PoolKind, Reduce, Unary};
use super::{Graph, ValueId};
use crate::error::Result;

impl Graph {
    /// `y = x Wᵀ + b` over the last axis: a [`Linear`](Op::Linear) with its weight `[out, features]` and bias `[out]`.
    ///
    /// # Errors
    /// [`Error::Graph`](crate::Error::Graph) if `x` is a single number, or a parameter of this name has another shape.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("tokens", &[1, 16, 64])?;
    /// let y = g.linear("proj", x, 32)?;
    /// assert_eq!((g.shape(y), g.shape(g.param_named("proj.weight")?)), (&[1, 16, 32][..], &[32, 64][..]));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn linear(&mut self, name: &str, x: ValueId, out: usize) -> Result<ValueId> {
        let features = self.shape(x).last().copied().unwrap_or(1);
        let weight = self.param(&format!("{name}.weight"), &[out, features])?;
        let bias = self.param(&format!("{name}.bias"), &[out])?;
        self.push(name, Op::Linear, &[x, weight, bias])
    }

    /// A convolution of images with a square kernel, with or without bias: weight `[out, C / groups, kernel, kernel]`.
    ///
    /// Shapes: as [`Op::Conv`].
    ///
    /// # Errors
    /// [`Error::Graph`](crate::Error::Graph) if the image is smaller than the kernel, or channels do not fall into
    /// groups.
    ///
    /// ```
    /// use onebasin_core::graph::{Graph, op::Conv};
    /// let mut g = Graph::new();
    /// let x = g.input("image", &[1, 3, 32, 32])?;
    /// let y = g.conv("conv1", x, 16, 3, Conv::square(2, 1), false)?;
    /// assert_eq!(g.shape(y), [1, 16, 16, 16]);
    /// assert_eq!(g.shape(g.param_named("conv1.weight")?), [16, 3, 3, 3]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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

    /// BatchNorm over axis 1, ε = 1e-5: gain, bias, running mean and running variance, all `[C]`.
    ///
    /// # Errors
    /// [`Error::Graph`](crate::Error::Graph) if `x` has no axis 1.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("image", &[1, 3, 32, 32])?;
    /// let y = g.batch_norm("bn1", x)?;
    /// assert_eq!((g.shape(y), g.params().count()), (&[1, 3, 32, 32][..], 4));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn batch_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let shape = [self.shape(x).get(1).copied().unwrap_or(0)];
        let mut inputs = vec![x];
        for part in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.param(&format!("{name}.{part}"), &shape)?);
        }
        self.push(name, Op::BatchNorm { epsilon: 1e-5 }, &inputs)
    }

    /// LayerNorm over the channels (axis 1) of every pixel, as Flax does it: ε = 1e-6, gain and bias `[C]`.
    ///
    /// # Errors
    /// [`Error::Graph`](crate::Error::Graph) if `x` has no axis 1.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("image", &[1, 3, 32, 32])?;
    /// let y = g.channel_norm("norm1", x)?;
    /// assert_eq!((g.shape(y), g.params().count()), (&[1, 3, 32, 32][..], 2));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn channel_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let shape = [self.shape(x).get(1).copied().unwrap_or(0)];
        let gain = self.param(&format!("{name}.weight"), &shape)?;
        let bias = self.param(&format!("{name}.bias"), &shape)?;
        self.push(name, Op::LayerNorm { axes: vec![1], epsilon: 1e-6, centred: true }, &[x, gain, bias])
    }

    /// `max(x, 0)`, in the shape of `x`.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let y = g.relu(x)?;
    /// assert_eq!((&g.value(y).name[..], g.shape(y)), ("x.relu", &[1, 4][..]));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn relu(&mut self, x: ValueId) -> Result<ValueId> {
        self.unary("relu", Unary::Relu, x)
    }

    /// A function of one number, in the shape of `x`; named after what it follows.
    ///
    /// ```
    /// use onebasin_core::graph::{Graph, op::Unary};
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let y = g.unary("act", Unary::Gelu, x)?;
    /// assert_eq!(g.value(y).name, "x.act");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn unary(&mut self, what: &str, function: Unary, x: ValueId) -> Result<ValueId> {
        let name = format!("{}.{what}", self.value(x).name);
        self.push(&name, Op::Unary(function), &[x])
    }

    /// `a + b`, shapes broadcast: where a residual branch meets its stream.
    ///
    /// # Errors
    /// [`Error::Graph`](crate::Error::Graph) if the shapes do not broadcast.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let branch = g.linear("fc", x, 4)?;
    /// let y = g.add_values("sum", x, branch)?;
    /// assert_eq!(g.shape(y), [1, 4]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn add_values(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.push(name, Op::Binary(Binary::Add), &[a, b])
    }

    /// Max pooling of images; the kind of `pool` is not looked at.
    ///
    /// # Errors
    /// [`Error::Graph`](crate::Error::Graph) if the image is smaller than the window.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// use onebasin_core::graph::op::{Pool, PoolKind};
    /// let mut g = Graph::new();
    /// let x = g.input("image", &[1, 3, 32, 32])?;
    /// let y = g.max_pool("pool1", x, Pool::square(PoolKind::Max, 2, 2))?;
    /// assert_eq!(g.shape(y), [1, 3, 16, 16]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn max_pool(&mut self, name: &str, x: ValueId, pool: Pool) -> Result<ValueId> {
        self.push(name, Op::Pool(Pool { kind: PoolKind::Max, ..pool }), &[x])
    }

    /// Mean over all pixels: `[N, C, H, W]` to `[N, C]`.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("image", &[1, 64, 8, 8])?;
    /// let y = g.global_average("mean", x)?;
    /// assert_eq!(g.shape(y), [1, 64]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn global_average(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let axes = (2..self.shape(x).len()).collect();
        self.push(name, Op::Reduce { kind: Reduce::Mean, axes, keep: false }, &[x])
    }

    /// `[N, …]` to `[N, the rest]`: position `(c, h, w)` becomes `(c · H + h) · W + w`.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let x = g.input("image", &[1, 64, 7, 7])?;
    /// let y = g.flatten("flat", x)?;
    /// assert_eq!(g.shape(y), [1, 3136]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn flatten(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        self.push(name, Op::Reshape(vec![Dim::Same(0), Dim::Rest]), &[x])
    }
}
