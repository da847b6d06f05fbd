//! Where there is nothing between two networks: whole numbers and infinities, which must be the same in both.

use super::rule::{Formula, TensorRule};
use crate::convert::{all_finite, decode};
use crate::dtype::DType;
use crate::error::{Error, Result};

impl TensorRule {
    /// Passes only if there is something between the entries from `start` on, wherever λ asks for it: integers, booleans,
    /// infinities and NaNs must be the same in both, integers where a symmetry moves them. [`Self::fill`] believes it.
    ///
    /// Cost: a look at every entry.
    ///
    /// # Errors
    /// [`Error::NoMean`] names the first that are not.
    /// ```
    /// use onebasin_core::{DType, merge::MergeRule};
    /// let rule = MergeRule::lerp(0.5)?.tensor("mask", &[2], DType::F32, DType::F32);
    /// let [mask, none] = [[0_f32, f32::NEG_INFINITY], [0.0; 2]].map(|v| v.map(f32::to_le_bytes));
    /// assert!(rule.check("mask", 0, mask.as_flattened(), mask.as_flattened()).is_ok());
    /// let error = rule.check("mask", 0, mask.as_flattened(), none.as_flattened()).unwrap_err().to_string();
    /// assert!(error.contains("`mask` (f32) holds -inf in A and 0 in the aligned B at index [1]"));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn check(&self, name: &str, start: usize, a: &[u8], b: &[u8]) -> Result<()> {
        let passes = match &self.formula {
            Formula::A | Formula::B => true,
            Formula::Line(_) | Formula::Circle(..) | Formula::ByAxis(..) => {
                all_finite(self.a, a) && all_finite(self.b, b)
            }
            Formula::Same | Formula::EitherEnd(..) => self.a == self.b && a == b,
        };
        if passes {
            return Ok(());
        }
        let pairs = a.chunks_exact(self.a.size()).zip(b.chunks_exact(self.b.size()));
        for (k, (a, b)) in pairs.enumerate() {
            let same = if self.a == self.b { a == b } else { number(self.a, a) == number(self.b, b) };
            let finite = [(self.a, a), (self.b, b)].iter().all(|(t, v)| t.is_float() && all_finite(*t, v));
            let passes = match &self.formula {
                Formula::A | Formula::B => true,
                Formula::Line(_) | Formula::Circle(..) => finite,
                Formula::Same => false,
                Formula::ByAxis(lambda, by_axis) => finite || is_end(self.lambda_at(*lambda, by_axis, start + k)),
                Formula::EitherEnd(lambda, by_axis) => is_end(self.lambda_at(*lambda, by_axis, start + k)),
            };
            if !same && !passes {
                let (mut rest, mut index) = (start + k, vec![0; self.own.len()]);
                for (at, len) in index.iter_mut().zip(&self.own).rev() {
                    (*at, rest) = (rest % len, rest / len);
                }
                let [a, b] = [(self.a, a), (self.b, b)].map(|(dtype, bytes)| shown(dtype, bytes));
                return Err(Error::NoMean { tensor: name.to_owned(), dtype: self.a, index, a, b });
            }
        }
        Ok(())
    }
}

fn is_end(lambda: f64) -> bool {
    lambda == 0.0 || lambda == 1.0
}

/// The value of one entry, whole numbers exactly up to 2^53.
fn number(dtype: DType, bytes: &[u8]) -> f64 {
    match dtype {
        DType::F64 | DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => {
            let mut value = [0.0];
            decode(dtype, bytes, &mut value);
            value[0]
        }
        DType::I64 | DType::I32 | DType::I16 | DType::I8 | DType::U64 | DType::U32 | DType::U16 | DType::U8 => {
            whole(dtype, bytes) as f64
        }
        DType::Bool => f64::from(u8::from(bytes != [0])),
    }
}

/// A whole number or boolean.
fn whole(dtype: DType, bytes: &[u8]) -> i128 {
    let negative = matches!(dtype, DType::I64 | DType::I32 | DType::I16 | DType::I8) && bytes[bytes.len() - 1] >= 0x80;
    let mut wide = if negative { [0xff; 16] } else { [0; 16] };
    wide[..bytes.len()].copy_from_slice(bytes);
    i128::from_le_bytes(wide)
}

/// One entry, for errors.
fn shown(dtype: DType, bytes: &[u8]) -> String {
    if dtype.is_float() { number(dtype, bytes).to_string() } else { whole(dtype, bytes).to_string() }
}
