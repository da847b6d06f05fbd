//! Numbers of tensors, read where they lie, and the precisions in which they are multiplied.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::convert::{E4M3, E5M2, Float8};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::linalg::{Mat, Scalar};
use crate::tensor::Tensor;

/// Numbers of a tensor, one after the other as its shape says, read where they lie.
#[derive(Debug, Clone, Copy)]
pub(super) enum Values<'a> {
    /// Single precision, in memory.
    Plain(&'a [f32]),
    /// Single precision.
    F32(&'a [[u8; 4]]),
    /// Double precision.
    F64(&'a [[u8; 8]]),
    /// Half precision.
    F16(&'a [[u8; 2]]),
    /// Half precision with the range of f32.
    BF16(&'a [[u8; 2]]),
    /// 8 bits.
    F8(&'a Float8, &'a [u8]),
}

impl<'a> Values<'a> {
    /// The values of a floating-point tensor, called `name` in errors.
    pub(super) fn of(name: &str, tensor: &'a Tensor) -> Result<Self> {
        let bytes = tensor.bytes();
        Ok(match tensor.dtype() {
            DType::F32 => Self::F32(bytes.as_chunks().0),
            DType::F64 => Self::F64(bytes.as_chunks().0),
            DType::F16 => Self::F16(bytes.as_chunks().0),
            DType::BF16 => Self::BF16(bytes.as_chunks().0),
            DType::F8E4M3 => Self::F8(&E4M3, bytes),
            DType::F8E5M2 => Self::F8(&E5M2, bytes),
            dtype => return Err(Error::NotFloat { tensor: name.to_owned(), dtype, what: "similarities" }),
        })
    }

    /// Whether single precision would lose digits.
    pub(super) fn is_double(&self) -> bool {
        matches!(self, Self::F64(_))
    }

    /// Whether values have 8 bits, which devices do not read.
    pub(super) fn is_short(&self) -> bool {
        matches!(self, Self::F8(..))
    }

    /// The entries that are found there, as many as `out` has.
    pub(super) fn read<T: Factor>(&self, at: At<'_>, out: &mut [T]) {
        match *self {
            Self::Plain(v) => at.read(v, out, T::of_f32),
            Self::F32(v) => at.read(v, out, |b| T::of_f32(f32::from_le_bytes(b))),
            Self::F64(v) => at.read(v, out, |b| T::of_f64(f64::from_le_bytes(b))),
            Self::BF16(v) => at.read(v, out, |b| T::of_f32(widen(b))),
            Self::F8(float, v) => at.read(v, out, |b| T::of_f64(float.decode(b))),
            Self::F16(v) => {
                let mut bits = vec![f16::ZERO; out.len()];
                at.read(v, &mut bits, f16::from_le_bytes);
                halves(&bits, out);
            }
        }
    }
}

/// Where entries lie.
#[derive(Debug, Clone, Copy)]
pub(super) enum At<'a> {
    /// Side by side from here on.
    From(usize),
    /// Every [`TAPS`] side by side, at these offsets from a base.
    Taps(usize, &'a [usize]),
    /// Anyhow, at these offsets from a base.
    Any(usize, &'a [usize]),
}

/// Weights of a 3 × 3 filter, the runs in which most convolutions are permuted.
pub(super) const TAPS: usize = 9;

impl At<'_> {
    fn read<S: Copy, T>(self, source: &[S], out: &mut [T], convert: impl Fn(S) -> T) {
        match self {
            Self::From(start) => out.iter_mut().zip(&source[start..]).for_each(|(o, s)| *o = convert(*s)),
            Self::Taps(base, offsets) => {
                let source = &source[base..];
                for (out, at) in out.as_chunks_mut::<TAPS>().0.iter_mut().zip(offsets.iter().step_by(TAPS)) {
                    let run: &[S; TAPS] = source[*at..][..TAPS].try_into().expect("as long as a run");
                    out.iter_mut().zip(run).for_each(|(o, s)| *o = convert(*s));
                }
            }
            Self::Any(base, offsets) => {
                let source = &source[base..];
                out.iter_mut().zip(offsets).for_each(|(o, at)| *o = convert(source[*at]));
            }
        }
    }
}

fn widen(bf16: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bf16)) << 16)
}

/// Half precision is converted many at a time, which processors have instructions for.
fn halves<T: Factor>(bits: &[f16], out: &mut [T]) {
    let mut single = [0.0; 128];
    for (bits, out) in bits.chunks(128).zip(out.chunks_mut(128)) {
        bits.convert_to_f32_slice(&mut single[..bits.len()]);
        out.iter_mut().zip(single).for_each(|(o, s)| *o = T::of_f32(s));
    }
}

/// What tensors are unfolded to.
pub(super) trait Factor: Scalar {
    /// From single precision, exactly.
    fn of_f32(value: f32) -> Self;
    /// From double precision, rounded.
    fn of_f64(value: f64) -> Self;
    /// `sum += a · bᵀ`, rows of `width` numbers each; the product in this precision, the sum in double. `zero` says that the
    /// sum is, so that it need not be read.
    fn add_product(sum: &mut [f64], zero: bool, a: &[Self], b: &[Self], width: usize, scratch: &mut Vec<Self>);
}

impl Factor for f32 {
    fn of_f32(value: f32) -> Self {
        value
    }

    fn of_f64(value: f64) -> Self {
        value as Self
    }

    fn add_product(sum: &mut [f64], zero: bool, a: &[Self], b: &[Self], width: usize, scratch: &mut Vec<Self>) {
        // A few columns at a time, so that their products are added before they leave the cache.
        const COLUMNS: usize = 512;
        let (rows, side) = (a.len() / width, b.len() / width);
        for (k, b) in b.chunks(COLUMNS * width).enumerate() {
            let columns = b.len() / width;
            scratch.resize(rows * columns, 0.0);
            Self::matmul(scratch, Mat::new(a, rows, width), Mat::new(b, columns, width).t(), false);
            for (sum, products) in sum.chunks_exact_mut(side).zip(scratch.chunks_exact(columns)) {
                let sum = sum[k * COLUMNS..].iter_mut().zip(products);
                if zero {
                    sum.for_each(|(s, p)| *s = f64::from(*p));
                } else {
                    sum.for_each(|(s, p)| *s += f64::from(*p));
                }
            }
        }
    }
}

impl Factor for f64 {
    fn of_f32(value: f32) -> Self {
        Self::from(value)
    }

    fn of_f64(value: f64) -> Self {
        value
    }

    fn add_product(sum: &mut [f64], zero: bool, a: &[Self], b: &[Self], width: usize, _: &mut Vec<Self>) {
        let (rows, side) = (a.len() / width, b.len() / width);
        Self::matmul(sum, Mat::new(a, rows, width), Mat::new(b, side, width).t(), !zero);
    }
}
