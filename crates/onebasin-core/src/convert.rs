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
            DType::F8E4M3 => read(bytes, values, |[b]| E4M3.decode(b)),
            DType::F8E5M2 => read(bytes, values, |[b]| E5M2.decode(b)),
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
/// Formula: to 16 bits by way of f32, rounded to odd on the way there, so that two roundings give what one would. What
/// exceeds the largest number becomes an infinity, in F8E4M3, which has none, a NaN.
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
            DType::F8E4M3 => write(values, bytes, |v| [E4M3.encode(v)]),
            DType::F8E5M2 => write(values, bytes, |v| [E5M2.encode(v)]),
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
        DType::F8E4M3 => none(bytes, |[b]| b & 0x7f >= E4M3.infinity),
        DType::F8E5M2 => none(bytes, |[b]| b & 0x7f >= E5M2.infinity),
        other => panic!("{other} is no float"),
    }
}

const LANES: usize = 256;

/// A float of 8 bits.
#[derive(Debug)]
pub(crate) struct Float8 {
    fraction: i32,
    bias: i32,
    /// The bits of the magnitude that follows the largest number: infinity, or NaN where there is none.
    infinity: u8,
}

/// [`DType::F8E4M3`].
pub(crate) const E4M3: Float8 = Float8 { fraction: 3, bias: 7, infinity: 0x7f };
/// [`DType::F8E5M2`].
pub(crate) const E5M2: Float8 = Float8 { fraction: 2, bias: 15, infinity: 0x7c };

impl Float8 {
    /// The value of these bits, exactly.
    #[inline(always)]
    pub(crate) fn decode(&self, bits: u8) -> f64 {
        let magnitude = bits & 0x7f;
        let (exponent, mantissa) =
            (i32::from(magnitude >> self.fraction), f64::from(magnitude & ((1 << self.fraction) - 1)));
        let one = f64::from(1 << self.fraction);
        let value = if magnitude >= self.infinity {
            if magnitude == 0x7c { f64::INFINITY } else { f64::NAN }
        } else if exponent == 0 {
            mantissa * power(1 - self.bias - self.fraction)
        } else {
            (one + mantissa) * power(exponent - self.bias - self.fraction)
        };
        if bits > 0x7f { -value } else { value }
    }

    /// The bits of the nearest number, the even one of two.
    ///
    /// Formula: at the magnitude's own exponent `e`, at least that of the smallest numbers, `round(|v| 2^(f - e))` counts
    /// steps from 0; every exponent above the smallest has `2^f` numbers more.
    #[inline(always)]
    fn encode(&self, value: f64) -> u8 {
        let sign = if value.is_sign_negative() { 0x80 } else { 0 };
        if value.is_nan() {
            return sign | 0x7f;
        }
        let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).clamp(1 - self.bias, self.bias + 2);
        let steps = (value.abs() * power(self.fraction - exponent)).round_ties_even().min(255.0) as i32;
        let bits = steps + ((exponent + self.bias - 1) << self.fraction);
        sign | bits.min(i32::from(self.infinity)) as u8
    }
}

/// 2ⁿ, where it is no subnormal number.
#[inline(always)]
fn power(n: i32) -> f64 {
    f64::from_bits(((1023 + n) as u64) << 52)
}

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
    fn eight_bits_are_rounded_once_and_read_back() {
        let mut stream = Stream::new(0, "values");
        for (dtype, float) in [(DType::F8E4M3, E4M3), (DType::F8E5M2, E5M2)] {
            let encoded = |value: f64| {
                let mut bits = [0];
                encode(dtype, &[value], &mut bits);
                bits[0]
            };
            let value = |bits: u8| magnitude(bits.into(), float.fraction, float.bias);
            for bits in 0..float.infinity {
                let mut read = [0.0; 2];
                decode(dtype, &[bits, bits | 0x80], &mut read);
                assert_eq!(read, [value(bits), -value(bits)]);
                assert!(all_finite(dtype, &[bits, bits | 0x80]));
                let (down, up) = (value(bits), value(bits + 1));
                let middle = f64::midpoint(down, up);
                let even = bits + bits % 2;
                for (v, expected) in [
                    (down, bits),
                    (middle, even),
                    (middle.next_up(), bits + 1),
                    (middle.next_down(), bits),
                    (down + (up - down) * 0.499 * stream.uniform(), bits),
                ] {
                    assert_eq!([encoded(v), encoded(-v)], [expected, expected | 0x80], "{v:e} as {dtype}");
                }
            }
            for bits in float.infinity..0x80 {
                assert!(!all_finite(dtype, &[bits]) && !float.decode(bits).is_finite());
            }
            assert_eq!([f64::INFINITY, 1e300, f64::MAX].map(encoded), [float.infinity; 3]);
            assert_eq!(encoded(f64::NAN) & 0x7f, 0x7f);
            assert_eq!([5e-324, 0.0, -0.0].map(encoded), [0, 0, 0x80]);
        }
        assert_eq!([E4M3.decode(0x7e), E5M2.decode(0x7b)], [448.0, 57344.0]);
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
