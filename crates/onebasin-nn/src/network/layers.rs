//! What several built-in networks are made of.

use onebasin_core::error::Result;
use onebasin_core::graph::op::{Conv, Dim};
use onebasin_core::graph::{Graph, Op, ValueId};

/// Which normalisation follows a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norm {
    /// LayerNorm over the channels of every pixel, ε = 1e-6, as Flax does it.
    Layer,
    /// BatchNorm, ε = 1e-5.
    Batch,
}

impl Norm {
    /// The normalisation that names end in: `ln` or `bn`.
    pub(super) fn named(text: &str) -> Option<Self> {
        match text {
            "ln" => Some(Self::Layer),
            "bn" => Some(Self::Batch),
            _ => None,
        }
    }

    /// Adds it behind `x`, under a name.
    pub(super) fn add(self, g: &mut Graph, name: &str, x: ValueId) -> Result<ValueId> {
        match self {
            Self::Layer => g.channel_norm(name, x),
            Self::Batch => g.batch_norm(name, x),
        }
    }
}

/// A square convolution without bias: its kernel's side, and how it moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct SquareWindow {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: Padding,
}

/// Zeros around an image.
#[derive(Debug, Clone, Copy)]
pub(super) enum Padding {
    /// This many on every side.
    Each(usize),
    /// Flax's `SAME`: `⌈length / stride⌉` positions come out, and an odd zero goes to the end.
    Same,
}

impl SquareWindow {
    /// A 3 × 3 window with one zero on every side.
    pub(super) fn three(stride: usize) -> Self {
        Self { kernel: 3, stride, padding: Padding::Each(1) }
    }

    /// A 3 × 3 window with Flax's padding.
    pub(super) fn three_same(stride: usize) -> Self {
        Self { kernel: 3, stride, padding: Padding::Same }
    }

    /// A single pixel.
    pub(super) fn one(stride: usize) -> Self {
        Self { kernel: 1, stride, padding: Padding::Each(0) }
    }

    /// Its attributes over an image with these axes.
    fn over(self, image: &[usize]) -> Conv {
        let (before, after) = match self.padding {
            Padding::Each(zeros) => (vec![zeros; 2], vec![zeros; 2]),
            Padding::Same => {
                let zeros = |&len: &usize| {
                    let positions = len.div_ceil(self.stride).max(1);
                    ((positions - 1) * self.stride + self.kernel).saturating_sub(len)
                };
                image.iter().map(zeros).map(|zeros| (zeros / 2, zeros - zeros / 2)).unzip()
            }
        };
        Conv { before, after, ..Conv::square(self.stride, 0) }
    }
}

/// A convolution without bias, then a normalisation.
pub(super) fn conv_norm(
    g: &mut Graph,
    (conv, norm_name): (&str, &str),
    x: ValueId,
    out: usize,
    window: SquareWindow,
    norm: Norm,
) -> Result<ValueId> {
    let attributes = window.over(g.shape(x).get(2..).unwrap_or(&[]));
    let y = g.conv(conv, x, out, window.kernel, attributes, false)?;
    norm.add(g, norm_name, y)
}

/// Samples as images `[N, C, H, W]`: those of two axes have one channel.
pub(super) fn images(g: &mut Graph, x: ValueId) -> Result<ValueId> {
    if g.shape(x).len() == 3 {
        return g.push("image", Op::Reshape(vec![Dim::Same(0), Dim::Size(1), Dim::Same(1), Dim::Same(2)]), &[x]);
    }
    Ok(x)
}
