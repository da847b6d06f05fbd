//! One tensor: an element type, a shape, and bytes that may still lie in somebody's memory map.

use std::borrow::Cow;

use bytes::Bytes;
use half::{bf16, f16};

use crate::convert;
use crate::dtype::DType;
use crate::error::{Error, Result};

/// A dense row-major tensor. Cloning shares the bytes.
///
/// ```
/// use onebasin_core::Tensor;
/// let t = Tensor::from_f32(&[2, 3], vec![0., 1., 2., 3., 4., 5.])?;
/// assert_eq!(t.shape(), [2, 3]);
/// assert_eq!(t.to_f64()?[5], 5.0);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Bytes,
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({} {:?})", self.dtype, self.shape)
    }
}

/// Number of elements of a shape, or an error where the product overflows.
pub fn element_count(shape: &[usize]) -> Result<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(|| Error::TooLarge { shape: shape.to_vec() })
}

impl Tensor {
    /// Wraps little-endian `data` without copying it.
    ///
    /// # Errors
    /// [`Error::Bytes`] if the bytes do not fill the shape exactly.
    pub fn new(dtype: DType, shape: &[usize], data: Bytes) -> Result<Self> {
        let expected =
            element_count(shape)?.checked_mul(dtype.size()).ok_or_else(|| Error::TooLarge { shape: shape.to_vec() })?;
        if expected != data.len() {
            return Err(Error::Bytes { dtype, shape: shape.to_vec(), expected, found: data.len() });
        }
        Ok(Self { dtype, shape: shape.to_vec(), data })
    }

    /// A tensor of `f32` values.
    pub fn from_f32(shape: &[usize], values: Vec<f32>) -> Result<Self> {
        Self::new(DType::F32, shape, encode_vec(values, f32::to_le_bytes))
    }

    /// A tensor of `f64` values.
    pub fn from_f64(shape: &[usize], values: Vec<f64>) -> Result<Self> {
        Self::new(DType::F64, shape, encode_vec(values, f64::to_le_bytes))
    }

    /// A tensor of `u32` values.
    pub fn from_u32(shape: &[usize], values: Vec<u32>) -> Result<Self> {
        Self::new(DType::U32, shape, encode_vec(values, u32::to_le_bytes))
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Length of every axis, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len() / self.dtype.size()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The bytes, little-endian, row-major.
    pub fn bytes(&self) -> &Bytes {
        &self.data
    }

    /// The values as `f32`: borrowed where they already are, rounded to nearest from `f64`.
    ///
    /// # Errors
    /// [`Error::DType`] for integers and booleans.
    pub fn to_f32(&self) -> Result<Cow<'_, [f32]>> {
        if self.dtype == DType::F32
            && let Some(values) = self.borrow::<f32>()
        {
            return Ok(Cow::Borrowed(values));
        }
        Ok(Cow::Owned(match self.dtype {
            DType::F32 => decode(&self.data, f32::from_le_bytes),
            DType::F64 => decode(&self.data, |b| f64::from_le_bytes(b) as f32),
            DType::F16 => decode(&self.data, |b| f16::from_le_bytes(b).to_f32()),
            DType::BF16 => decode(&self.data, |b| bf16::from_le_bytes(b).to_f32()),
            dtype => return Err(not_float(dtype)),
        }))
    }

    /// The values as `f64`, exactly.
    ///
    /// # Errors
    /// [`Error::DType`] for integers and booleans.
    pub fn to_f64(&self) -> Result<Cow<'_, [f64]>> {
        if self.dtype == DType::F64
            && let Some(values) = self.borrow::<f64>()
        {
            return Ok(Cow::Borrowed(values));
        }
        if !self.dtype.is_float() {
            return Err(not_float(self.dtype));
        }
        let mut values = vec![0.0; self.len()];
        convert::decode(self.dtype, &self.data, &mut values);
        Ok(Cow::Owned(values))
    }

    /// Passes only if every floating-point value is finite; integers and booleans always are.
    ///
    /// # Errors
    /// [`Error::NotFinite`] under the name `name`: how many values are a NaN or an infinity, and the first of them.
    pub fn check_finite(&self, name: &str) -> Result<()> {
        if !self.dtype.is_float() || convert::all_finite(self.dtype, &self.data) {
            return Ok(());
        }
        let values = self.to_f64()?;
        let mut bad = values.iter().enumerate().filter(|(_, v)| !v.is_finite()).peekable();
        let (at, value) = bad.peek().map_or((0, 0.0), |(at, v)| (*at, **v));
        Err(Error::NotFinite { tensor: name.to_owned(), value, index: self.index_of(at), count: bad.count() })
    }

    /// The values of a `u32` tensor.
    ///
    /// # Errors
    /// [`Error::DType`] for every other element type.
    pub fn to_u32(&self) -> Result<Vec<u32>> {
        if self.dtype != DType::U32 {
            return Err(Error::DType { expected: "u32", found: self.dtype });
        }
        Ok(decode(&self.data, u32::from_le_bytes))
    }

    /// The same values in another floating-point type, rounded to nearest even. The same type costs nothing.
    ///
    /// # Errors
    /// [`Error::DType`] if either type is not a float.
    pub fn cast(&self, dtype: DType) -> Result<Self> {
        if dtype == self.dtype {
            return Ok(self.clone());
        }
        Self::from_f64_as(dtype, &self.shape, &self.to_f64()?)
    }

    /// A tensor of `dtype` from `f64` values, rounded to nearest even.
    pub fn from_f64_as(dtype: DType, shape: &[usize], values: &[f64]) -> Result<Self> {
        if !dtype.is_float() {
            return Err(not_float(dtype));
        }
        let mut data = vec![0; values.len() * dtype.size()];
        convert::encode(dtype, values, &mut data);
        Self::new(dtype, shape, Bytes::from(data))
    }

    /// Gathers along one axis: entry `i` of the result is entry `table[i]` of this tensor. Bits are kept.
    ///
    /// # Errors
    /// [`Error::NoAxis`] if the axis does not exist, [`Error::Gather`] if the table has another length or points outside
    /// of it.
    pub fn gather(&self, axis: usize, table: &[u32]) -> Result<Self> {
        let Some(&len) = self.shape.get(axis) else {
            return Err(Error::NoAxis { tensor: None, axis, shape: self.shape.clone() });
        };
        if table.len() != len || table.iter().any(|&j| j as usize >= len) {
            return Err(Error::Gather { axis, len });
        }
        let inner = element_count(&self.shape[axis + 1..])? * self.dtype.size();
        let mut data = Vec::with_capacity(self.data.len());
        for block in self.data.chunks_exact((len * inner).max(1)) {
            for &j in table {
                data.extend_from_slice(&block[j as usize * inner..][..inner]);
            }
        }
        Self::new(self.dtype, &self.shape, Bytes::from(data))
    }

    /// The multi-index of the flat position `flat`.
    pub fn index_of(&self, flat: usize) -> Vec<usize> {
        let mut rest = flat;
        let mut index = vec![0; self.shape.len()];
        for (axis, &len) in self.shape.iter().enumerate().rev() {
            if len > 0 {
                index[axis] = rest % len;
                rest /= len;
            }
        }
        index
    }

    fn borrow<T: bytemuck::AnyBitPattern>(&self) -> Option<&[T]> {
        if cfg!(target_endian = "big") {
            return None;
        }
        bytemuck::try_cast_slice(&self.data).ok()
    }
}

fn not_float(dtype: DType) -> Error {
    Error::DType { expected: "floating-point", found: dtype }
}

fn decode<const N: usize, T>(data: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks::<N>().0.iter().map(|&b| from(b)).collect()
}

fn encode_vec<const N: usize, T>(values: Vec<T>, to: impl Fn(T) -> [u8; N]) -> Bytes {
    Bytes::from(values.into_iter().flat_map(to).collect::<Vec<u8>>())
}
