//! How every operator computes: forward, and backward as a vector–Jacobian product. One file a family.
//!
//! Kernels are generic over `f32` and `f64`: networks run in the first, and the second lets tests hold every gradient
//! against finite differences.

#![allow(clippy::inline_always, reason = "vector instructions reach only what is inlined")]

pub mod batch_norm;
mod binary;
mod concat;
mod conv;
mod conv_lines;
mod conv_transpose;
mod cum_sum;
mod elements;
mod gather;
mod group_norm;
mod layer_norm;
mod linear;
mod local_response_norm;
mod matmul;
mod non_zero;
mod pool;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod softmax;
mod top_k;
mod transpose;
mod unary;
mod walk;
mod where_;
mod window;
mod winograd;

use std::borrow::Cow;

use onebasin_core::Tensor;
use onebasin_core::graph::Op;
use onebasin_core::linalg::Scalar;

pub(crate) use conv::Patches;

/// Numbers kernels compute in: `f32` and `f64`.
///
/// ```
/// use onebasin_nn::ops::Real;
/// assert_eq!(<f32 as Real>::of(0.1).wide(), f64::from(0.1_f32));
/// assert!((Real::erf(1.0_f64) - 0.842_700_792_949_714_9).abs() < 1e-15);
/// ```
pub trait Real: Scalar + num_traits::Float + std::ops::AddAssign + std::ops::MulAssign + std::iter::Sum {
    /// The nearest number of this type.
    fn of(value: f64) -> Self;

    /// The number as `f64`, exactly.
    fn wide(self) -> f64;

    /// `2/√π ∫₀ˣ exp(−t²) dt`, to the last bit or two.
    #[must_use]
    fn erf(self) -> Self;

    /// A tensor's values in this type; borrowed where they are of it already.
    ///
    /// # Errors
    /// If the tensor is no float.
    fn values(tensor: &Tensor) -> onebasin_core::error::Result<Cow<'_, [Self]>>;

    /// A tensor of values of this type.
    ///
    /// # Errors
    /// If there are not as many as the shape says.
    fn tensor(shape: &[usize], values: Vec<Self>) -> onebasin_core::error::Result<Tensor>;

    /// [`kernel`] for this type. Each type has its own, so that all kernels are compiled once, here, and not anew by every
    /// crate that runs a network.
    fn kernel(op: &Op) -> Option<Box<dyn Kernel<Self>>>;
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

    fn values(tensor: &Tensor) -> onebasin_core::error::Result<Cow<'_, [Self]>> {
        tensor.to_f32()
    }

    fn tensor(shape: &[usize], values: Vec<Self>) -> onebasin_core::error::Result<Tensor> {
        Tensor::from_f32(shape, values)
    }

    fn kernel(op: &Op) -> Option<Box<dyn Kernel<Self>>> {
        kernel_of(op)
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

    fn values(tensor: &Tensor) -> onebasin_core::error::Result<Cow<'_, [Self]>> {
        tensor.to_f64()
    }

    fn tensor(shape: &[usize], values: Vec<Self>) -> onebasin_core::error::Result<Tensor> {
        Tensor::from_f64(shape, values)
    }

    fn kernel(op: &Op) -> Option<Box<dyn Kernel<Self>>> {
        kernel_of(op)
    }
}

/// How the axes of an image lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
///
/// Axes among its attributes are counted in memory: the executor's plan translates them where a kernel runs
/// channels-last, so `LayerNorm` over the channels of an image is made with `axes: [3]` and sees `[N, H, W, C]`. Inputs of
/// lower rank that are broadcast against channels-last ones then have all axes, in memory's order: `[C, 1, 1]` comes as
/// `[1, 1, 1, C]`.
pub trait Kernel<T: Real>: Send + Sync {
    /// How the image-like inputs and outputs must lie. `None`: any layout will do, if it is the same for all of them.
    fn layout(&self) -> Option<Layout> {
        Some(Layout::Plain)
    }

    /// Whether `scratch` holds nothing from one call to the next, so that one will do for all kernels and stay in cache.
    fn shares_scratch(&self) -> bool {
        false
    }

    /// Computes the outputs. `scratch` is the kernel's own between calls, unless it is shared; it may be resized.
    ///
    /// Shapes: as the call says, which the graph has inferred; kernels do not check them.
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
///
/// ```
/// use onebasin_core::graph::Op;
/// use onebasin_core::graph::op::Unary;
/// use onebasin_nn::ops::{Call, kernel};
/// let relu = kernel::<f32>(&Op::Unary(Unary::Relu)).unwrap();
/// let (shapes, mut y): ([&[usize]; 1], _) = ([&[2]], [0.0; 2]);
/// let call = Call { inputs: &[&[-1.0, 2.0]], input_shapes: &shapes, output_shapes: &shapes };
/// relu.forward(&call, &mut [&mut y], &mut Vec::new());
/// assert_eq!(y, [0.0, 2.0]);
/// assert!(kernel::<f32>(&Op::Unknown("Mystery".to_owned())).is_none());
/// ```
pub fn kernel<T: Real>(op: &Op) -> Option<Box<dyn Kernel<T>>> {
    T::kernel(op)
}

fn kernel_of<T: Real>(op: &Op) -> Option<Box<dyn Kernel<T>>> {
    Some(match op {
        Op::Unknown(_) => return None,
        Op::Linear => Box::new(linear::Linear),
        Op::MatMul => Box::new(matmul::MatMul),
        Op::Conv(conv) => Box::new(conv.clone()),
        Op::ConvTranspose { conv, .. } => Box::new(conv_transpose::ConvTranspose(conv.clone())),
        Op::Pool(pool) => Box::new(pool.clone()),
        &Op::BatchNorm { epsilon } => Box::new(batch_norm::BatchNorm { epsilon }),
        Op::LayerNorm { axes, epsilon, centred } => {
            Box::new(layer_norm::LayerNorm { axes: axes.clone(), epsilon: *epsilon, centred: *centred })
        }
        &Op::GroupNorm { groups, epsilon } => Box::new(group_norm::GroupNorm { groups, epsilon }),
        &Op::LocalResponseNorm { size, alpha, beta, bias } => {
            Box::new(local_response_norm::LocalResponseNorm { size, alpha, beta, bias })
        }
        Op::Unary(unary) => Box::new(*unary),
        Op::Binary(binary) => Box::new(*binary),
        Op::Where => Box::new(where_::Where),
        &Op::Softmax { axis, log } => Box::new(softmax::Softmax { axis, log }),
        Op::Reduce { kind, axes, .. } => Box::new(reduce::ReduceKernel { kind: *kind, axes: axes.clone() }),
        Op::Reshape(_) => Box::new(reshape::Reshape),
        Op::Transpose(order) => Box::new(transpose::Transpose(order.clone())),
        Op::Concat { axis } => Box::new(concat::Concat(*axis)),
        &Op::Slice { axis, start, len, step } => Box::new(concat::Slice { axis, start, len, step }),
        Op::Pad { before, mode, .. } => Box::new(concat::Pad { before: before.clone(), mode: *mode }),
        Op::Expand(_) => Box::new(reshape::Expand),
        Op::Gather { axis } => Box::new(gather::GatherKernel(*axis)),
        &Op::GatherElements { axis } => Box::new(elements::GatherElements(axis)),
        &Op::ScatterElements { axis, function } => Box::new(elements::ScatterElements { axis, function }),
        &Op::TopK { axis, count, largest } => Box::new(top_k::TopK { axis, count, largest }),
        &Op::CumSum { axis, exclusive, reverse } => Box::new(cum_sum::CumSum { axis, exclusive, reverse }),
        Op::NonZero => Box::new(non_zero::NonZero),
        Op::Resize { mode, .. } => Box::new(resize::Resize(*mode)),
        &Op::Recurrent { cell, direction } => Box::new(recurrent::Recurrent { cell, direction }),
    })
}

/// Pieces of the scratch; what is in them is arbitrary.
fn pieces<T: Real, const N: usize>(scratch: &mut Vec<T>, sizes: [usize; N]) -> [&mut [T]; N] {
    let all: usize = sizes.iter().sum();
    if scratch.len() < all {
        scratch.resize(all, T::zero());
    }
    let mut rest = scratch.as_mut_slice();
    sizes.map(|size| rest.split_off_mut(..size).expect("as long as all of them"))
}

/// `to += from`.
#[inline(always)]
pub(crate) fn add<T: Real>(to: &mut [T], from: &[T]) {
    to.iter_mut().zip(from).for_each(|(t, f)| *t += *f);
}
