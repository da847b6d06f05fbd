//! Floating-point values of every element type as f64 and back, exactly rounded.

#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the chosen instruction set")]

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use pulp::{Arch, Simd, WithSimd};

use crate::dtype::DType;

/// Reads little-endian values as f64, exactly.
///
/// # Panics
/// If the type is no float, or there are not as many values as places for them.
pub(crate) fn decode(dtype: DType, bytes: &[u8], values: &mut [f64]) {
    check(dtype, bytes.len(), values.len());
    Arch::new().dispatch(Decode(dtype, bytes, values));
}

struct Decode<'a>(DType, &'a [u8], &'a mut [f64]);

impl WithSimd for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self(dtype, bytes, values) = self;
        match dtype {
            DType::F64 => read(bytes, values, f64::from_le_bytes),
            DType::F32 => read(bytes, values, |b| f64::from(f32::from_le_bytes(b))),
            DType::BF16 => read(bytes, values, |b| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))),
            _ => {
                let mut bits = [0; LANES];
                for (bytes, values) in bytes.chunks(2 * LANES).zip(values.chunks_mut(LANES)) {
                    let bits = &mut bits[..values.len()];
                    read(bytes, bits, u16::from_le_bytes);
                    bits.reinterpret_cast::<half::f16>().convert_to_f64_slice(values);
                }
            }
        }
    }
}

/// Writes f64 values in another floating-point type, rounded to nearest even.
///
/// Formula: to 16 bits by way of f32, rounded to odd on the way there, so that two roundings give what one would.
///
/// # Panics
/// As [`decode`].
///
/// Source: Boldo and Melquiond 2008, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding
/// to odd".
pub(crate) fn encode(dtype: DType, values: &[f64], bytes: &mut [u8]) {
    check(dtype, bytes.len(), values.len());
    Arch::new().dispatch(Encode(dtype, values, bytes));
}

struct Encode<'a>(DType, &'a [f64], &'a mut [u8]);

impl WithSimd for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self(dtype, values, bytes) = self;
        match dtype {
            DType::F64 => write(values, bytes, f64::to_le_bytes),
            DType::F32 => write(values, bytes, |v| (v as f32).to_le_bytes()),
            DType::BF16 => write(values, bytes, |v| nearest_bf16(v).to_le_bytes()),
            _ => {
                let (mut odd, mut bits) = ([0.0; LANES], [0_u16; LANES]);
                for (values, bytes) in values.chunks(LANES).zip(bytes.chunks_mut(2 * LANES)) {
                    let (odd, bits) = (&mut odd[..values.len()], &mut bits[..values.len()]);
                    odd.iter_mut().zip(values).for_each(|(o, v)| *o = f32::from_bits(odd_f32(*v)));
                    bits.reinterpret_cast_mut::<half::f16>().convert_from_f32_slice(odd);
                    write(bits, bytes, u16::to_le_bytes);
                }
            }
        }
    }
}

/// Whether no value is a NaN or an infinity.
///
/// `bytes` are little-endian values of `dtype`, one after the other. Only their bits are looked at; nothing is
/// converted.
///
/// Cost: one pass over the bytes.
///
/// # Panics
/// If the type is no float.
///
/// ```
/// use onebasin_core::{DType, all_finite};
/// let values = [1.0_f32, f32::INFINITY].map(f32::to_le_bytes);
/// assert!(all_finite(DType::F32, &values[0]));
/// assert!(!all_finite(DType::F32, values.as_flattened()));
/// ```
pub fn all_finite(dtype: DType, bytes: &[u8]) -> bool {
    match dtype {
        DType::F64 => none(bytes, |b| u64::from_le_bytes(b) << 1 >= 0x7ff << 53),
        DType::F32 => none(bytes, |b| u32::from_le_bytes(b) << 1 >= 0xff << 24),
        DType::F16 => none(bytes, |b| u16::from_le_bytes(b) << 1 >= 0x1f << 11),
        DType::BF16 => none(bytes, |b| u16::from_le_bytes(b) << 1 >= 0xff << 8),
        other => panic!("{other} is no float"),
    }
}

const LANES: usize = 256;

fn check(dtype: DType, bytes: usize, values: usize) {
    assert!(dtype.is_float() && bytes == values * dtype.size(), "{bytes} bytes for {values} values of {dtype}");
}

#[inline(always)]
fn read<const N: usize, T>(bytes: &[u8], values: &mut [T], from: impl Fn([u8; N]) -> T) {
    for (b, v) in bytes.as_chunks::<N>().0.iter().zip(values) {
        *v = from(*b);
    }
}

#[inline(always)]
fn write<const N: usize, T: Copy>(values: &[T], bytes: &mut [u8], to: impl Fn(T) -> [u8; N]) {
    for (b, v) in bytes.as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *b = to(*v);
    }
}

/// Whether no value is bad; every one of a block is looked at, so that the loop has no branch.
fn none<const N: usize>(bytes: &[u8], bad: impl Fn([u8; N]) -> bool) -> bool {
    let blocks = bytes.chunks(4096);
    blocks.into_iter().all(|block| !block.as_chunks::<N>().0.iter().fold(false, |found, b| found | bad(*b)))
}

/// The bits of a value as f32: itself where it is one, else whichever neighbour has an odd last bit.
#[inline(always)]
fn odd_f32(value: f64) -> u32 {
    let nearest = value as f32;
    let (bits, back) = (nearest.to_bits(), f64::from(nearest).abs());
    let even = !bits & 1;
    let (below, above) = (u32::from(back < value.abs()), u32::from(back > value.abs()));
    bits.wrapping_add(below & even).wrapping_sub(above & even)
}

#[inline(always)]
fn nearest_bf16(value: f64) -> u16 {
    let odd = odd_f32(value);
    let rounded = odd.wrapping_add(0x7fff + (odd >> 16 & 1)) >> 16;
    let quiet = odd >> 16 | 0x40;
    (if value.is_nan() { quiet } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Stream;

    /// The magnitude of a 16-bit float of `fraction` fraction bits, straight from the definition.
    fn magnitude(bits: u16, fraction: i32, bias: i32) -> f64 {
        let (exponent, mantissa) = (i32::from(bits >> fraction), f64::from(bits & ((1 << fraction) - 1)));
        let one = 2_f64.powi(fraction);
        if exponent == 0 {
            mantissa / one * 2_f64.powi(1 - bias)
        } else {
            (1.0 + mantissa / one) * 2_f64.powi(exponent - bias)
        }
    }

    /// The nearest 16-bit float, found by bisection among all magnitudes; the even one of two that are equally near.
    fn slow(value: f64, fraction: i32, bias: i32) -> u16 {
        let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
        let infinity = ((2 * bias + 1) as u16) << fraction;
        let (mut low, mut high) = (0, infinity);
        while high - low > 1 {
            let middle = u16::midpoint(low, high);
            if magnitude(middle, fraction, bias) <= value.abs() { low = middle } else { high = middle }
        }
        // Infinity stands for the number that would follow the largest.
        let (down, up) = (magnitude(low, fraction, bias), magnitude(high, fraction, bias));
        let middle = f64::midpoint(down, up);
        let up = value.abs() > middle || (value.abs() == middle && high % 2 == 0);
        sign | if up { high } else { low }
    }

    fn check_16(value: f64) {
        for (dtype, fraction, bias) in [(DType::BF16, 7, 127), (DType::F16, 10, 15)] {
            let mut bytes = [0; 2];
            encode(dtype, &[value], &mut bytes);
            let (found, expected) = (u16::from_le_bytes(bytes), slow(value, fraction, bias));
            assert_eq!(found, expected, "{value:e} as {dtype}: {found:#06x}, expected {expected:#06x}");
        }
    }

    #[test]
    fn sixteen_bits_are_rounded_once() {
        let mut stream = Stream::new(0, "values");
        for (fraction, bias) in [(7, 127), (10, 15)] {
            for bits in 0..((2 * bias + 1) as u16) << fraction {
                let (down, up) = (magnitude(bits, fraction, bias), magnitude(bits + 1, fraction, bias));
                let middle = f64::midpoint(down, up);
                let within = down + (up - down) * stream.uniform();
                for value in [down, middle, middle.next_up(), middle.next_down(), within] {
                    check_16(value);
                    check_16(-value);
                }
            }
        }
        [0.0, -0.0, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, 5e-324]
            .into_iter()
            .for_each(check_16);
    }

    #[test]
    fn every_sixteen_bits_are_read_and_written_back() {
        for (dtype, fraction, bias) in [(DType::BF16, 7, 127), (DType::F16, 10, 15)] {
            let infinity = ((2 * bias + 1) as u16) << fraction;
            for bits in 0..=u16::MAX {
                let (bytes, mut value, mut back) = (bits.to_le_bytes(), [0.0], [0; 2]);
                decode(dtype, &bytes, &mut value);
                encode(dtype, &value, &mut back);
                let finite = bits & 0x7fff < infinity;
                assert_eq!(all_finite(dtype, &bytes), finite, "{bits:#06x} of {dtype}");
                if finite {
                    assert_eq!(value[0].abs(), magnitude(bits & 0x7fff, fraction, bias));
                }
                if bits & 0x7fff > infinity {
                    assert!(value[0].is_nan() && u16::from_le_bytes(back) & 0x7fff > infinity, "{bits:#06x}");
                } else {
                    assert_eq!(u16::from_le_bytes(back), bits);
                }
            }
        }
    }

    #[test]
    fn one_value_that_is_not_finite_is_found_anywhere() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
                for at in [0, 1, 4095, 9999] {
                    let mut values = vec![-1.5; 10_000];
                    let mut bytes = vec![0; values.len() * dtype.size()];
                    encode(dtype, &values, &mut bytes);
                    assert!(all_finite(dtype, &bytes));
                    values[at] = bad;
                    encode(dtype, &values, &mut bytes);
                    assert!(!all_finite(dtype, &bytes), "{bad} as {dtype} at {at}");
                }
            }
        }
    }
}
