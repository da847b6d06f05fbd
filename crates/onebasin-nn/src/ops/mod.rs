//! How every operator computes: forward, and backward as a vector–Jacobian product. One file a family.
//!
//! Kernels are generic over `f32` and `f64`: networks run in the first, and the second lets tests hold every gradient
//! against finite differences.

mod binary;
mod concat;
mod conv_transpose;
mod gather;
mod local_response_norm;
mod matmul;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod softmax;
mod transpose;
mod unary;
mod walk;
mod where_;

use onebasin::graph::Op;
use onebasin::linalg::Scalar;

/// Numbers kernels compute in.
pub trait Real: Scalar + num_traits::Float + std::ops::AddAssign + std::ops::MulAssign + std::iter::Sum {
    /// The nearest number of this type.
    fn of(value: f64) -> Self;

    /// The number as `f64`, exactly.
    fn wide(self) -> f64;

    /// `2/√π ∫₀ˣ exp(−t²) dt`, to the last bit or two.
    #[must_use]
    fn erf(self) -> Self;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as Self
    }

    fn wide(self) -> f64 {
        f64::from(self)
    }

    fn erf(self) -> Self {
        libm::erff(self)
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn wide(self) -> f64 {
        self
    }

    fn erf(self) -> Self {
        libm::erf(self)
    }
}

/// How the axes of an image lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As the graph says: `[N, C, H, W]`, last axis fastest.
    Plain,
    /// Channels fastest: `[N, H, W, C]`. A convolution's weight `[O, C, kernel…]` lies as `[O, kernel…, C]`.
    ChannelsLast,
}

/// What a kernel works on. Shapes are those of memory: for a [`Layout::ChannelsLast`] kernel `[N, spatial…, C]`.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a, T> {
    /// The operator's inputs, parameters included.
    pub inputs: &'a [&'a [T]],
    /// Their shapes.
    pub input_shapes: &'a [&'a [usize]],
    /// Shapes of the outputs.
    pub output_shapes: &'a [&'a [usize]],
}

/// An operator that runs, on one thread, for one shard of a batch.
pub trait Kernel<T: Real>: Send + Sync {
    /// How the image-like inputs and outputs must lie. `None`: any layout will do, if it is the same for all of them.
    fn layout(&self) -> Option<Layout> {
        Some(Layout::Plain)
    }

    /// Computes the outputs. `scratch` is the kernel's own between calls; it may be resized.
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], scratch: &mut Vec<T>);

    /// Adds `Jᵀ · d_outputs` to the gradients of those inputs that want one.
    ///
    /// `outputs` are those of the forward pass on the same inputs. Gradients of inputs that are `None` are not asked for.
    fn backward(
        &self,
        call: &Call<'_, T>,
        outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        scratch: &mut Vec<T>,
    );
}

/// The kernel of an operator; `None` for one that is not known.
pub fn kernel<T: Real>(op: &Op) -> Option<Box<dyn Kernel<T>>> {
    Some(match op {
        Op::Linear
        | Op::Conv(_)
        | Op::Pool(_)
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::GroupNorm { .. }
        | Op::Unknown(_) => return None,
        Op::MatMul => Box::new(matmul::MatMul),
        Op::ConvTranspose { conv, .. } => Box::new(conv_transpose::ConvTranspose(conv.clone())),
        &Op::LocalResponseNorm { size, alpha, beta, bias } => {
            Box::new(local_response_norm::LocalResponseNorm { size, alpha, beta, bias })
        }
        Op::Unary(unary) => Box::new(*unary),
        Op::Binary(binary) => Box::new(*binary),
        Op::Where => Box::new(where_::Where),
        &Op::Softmax { axis, log } => Box::new(softmax::Softmax { axis, log }),
        Op::Reduce { kind, axes, keep } => Box::new(reduce::Reduce { kind: *kind, axes: axes.clone(), keep: *keep }),
        Op::Reshape(_) => Box::new(reshape::Reshape),
        Op::Transpose(order) => Box::new(transpose::Transpose(order.clone())),
        Op::Concat { axis } => Box::new(concat::Concat(*axis)),
        &Op::Slice { axis, start, len, step } => Box::new(concat::Slice { axis, start, len, step }),
        Op::Pad { before, mode, .. } => Box::new(concat::Pad { before: before.clone(), mode: *mode }),
        Op::Expand(_) => Box::new(reshape::Expand),
        Op::Gather { axis } => Box::new(gather::Gather(*axis)),
        Op::Resize { mode, .. } => Box::new(resize::Resize(*mode)),
        &Op::Recurrent { cell, direction } => Box::new(recurrent::Recurrent { cell, direction }),
    })
}
