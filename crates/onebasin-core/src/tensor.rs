//! One tensor: an element type, a shape, and bytes that may still lie in somebody's memory map.

use std::borrow::Cow;

use bytes::Bytes;
use half::{bf16, f16};

use crate::convert;
use crate::dtype::DType;
use crate::error::{Error, Result};

/// A dense row-major tensor: an element type, a shape, and little-endian bytes. Cloning shares the bytes.
///
/// The bytes may lie in somebody's memory map; they are converted where arithmetic is done, so moving a tensor keeps
/// every bit of every type. Two tensors are equal where type, shape and bytes are: a NaN equals itself, and −0 differs
/// from 0.
///
/// ```
/// use onebasin_core::Tensor;
/// let t = Tensor::from_f32(&[2, 3], vec![0., 1., 2., 3., 4., 5.])?;
/// assert_eq!(t.shape(), [2, 3]);
/// assert_eq!(t.to_f64()?[5], 5.0);
/// assert_eq!(t.gather(1, &[2, 0, 1])?.to_f32()?[..], [2., 0., 1., 5., 3., 4.]);
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

/// Number of elements of a shape: the product of its lengths, 1 for a number without axes.
///
/// # Errors
/// [`Error::TooLarge`] where the product overflows.
///
/// ```
/// use onebasin_core::element_count;
/// assert_eq!((element_count(&[2, 3])?, element_count(&[])?), (6, 1));
/// assert!(element_count(&[usize::MAX, 2]).is_err());
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn element_count(shape: &[usize]) -> Result<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(|| Error::TooLarge { shape: shape.to_vec() })
}

impl Tensor {
    /// Wraps little-endian `data` without copying it.
    ///
    /// # Errors
    /// [`Error::Bytes`] if the bytes do not fill the shape exactly, [`Error::TooLarge`] if the shape overflows.
    ///
    /// ```
    /// use onebasin_core::{DType, Tensor};
    /// let t = Tensor::new(DType::BF16, &[2], vec![0x80, 0x3f, 0x00, 0xc0].into())?;
    /// assert_eq!(t.to_f32()?[..], [1., -2.]);
    /// assert!(Tensor::new(DType::BF16, &[3], vec![0; 4].into()).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn new(dtype: DType, shape: &[usize], data: Bytes) -> Result<Self> {
        let expected =
            element_count(shape)?.checked_mul(dtype.size()).ok_or_else(|| Error::TooLarge { shape: shape.to_vec() })?;
        if expected != data.len() {
            return Err(Error::Bytes { dtype, shape: shape.to_vec(), expected, found: data.len() });
        }
        Ok(Self { dtype, shape: shape.to_vec(), data })
    }

    /// A tensor of `f32` values.
    ///
    /// # Errors
    /// [`Error::Bytes`] if there are more or fewer values than the shape has.
    ///
    /// ```
    /// use onebasin_core::{DType, Tensor};
    /// assert_eq!(Tensor::from_f32(&[2, 1], vec![1., 2.])?.dtype(), DType::F32);
    /// assert!(Tensor::from_f32(&[2, 2], vec![1., 2.]).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn from_f32(shape: &[usize], values: Vec<f32>) -> Result<Self> {
        Self::new(DType::F32, shape, encode_vec(values, f32::to_le_bytes))
    }

    /// A tensor of `f64` values; [`from_f64_as`](Self::from_f64_as) rounds them to a shorter type.
    ///
    /// # Errors
    /// [`Error::Bytes`] if there are more or fewer values than the shape has.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert_eq!(Tensor::from_f64(&[2], vec![0.1, 0.2])?.to_f64()?[..], [0.1, 0.2]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn from_f64(shape: &[usize], values: Vec<f64>) -> Result<Self> {
        Self::new(DType::F64, shape, encode_vec(values, f64::to_le_bytes))
    }

    /// A tensor of `u32` values, such as an index vector in a file.
    ///
    /// # Errors
    /// [`Error::Bytes`] if there are more or fewer values than the shape has.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert_eq!(Tensor::from_u32(&[3], vec![2, 0, 1])?.to_u32()?, [2, 0, 1]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn from_u32(shape: &[usize], values: Vec<u32>) -> Result<Self> {
        Self::new(DType::U32, shape, encode_vec(values, u32::to_le_bytes))
    }

    /// Element type.
    ///
    /// ```
    /// use onebasin_core::{DType, Tensor};
    /// assert_eq!(Tensor::from_u32(&[1], vec![7])?.dtype(), DType::U32);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Length of every axis, outermost first; empty for a single number.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert_eq!(Tensor::from_f32(&[2, 3], vec![0.; 6])?.shape(), [2, 3]);
    /// assert!(Tensor::from_f32(&[], vec![7.])?.shape().is_empty());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements: the product of the shape.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// let t = Tensor::from_f32(&[2, 3], vec![0.; 6])?;
    /// assert_eq!((t.len(), t.bytes().len()), (6, 24));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.data.len() / self.dtype.size()
    }

    /// Whether there is no element: whether an axis has length 0.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert!(Tensor::from_f32(&[3, 0], vec![])?.is_empty());
    /// assert!(!Tensor::from_f32(&[], vec![1.])?.is_empty());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The bytes, little-endian, row-major.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert_eq!(Tensor::from_u32(&[1], vec![258])?.bytes()[..], [2, 1, 0, 0]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn bytes(&self) -> &Bytes {
        &self.data
    }

    /// The values as `f32`: borrowed where they already are and lie aligned, exact from 16 bits, rounded to nearest
    /// from `f64`.
    ///
    /// # Errors
    /// [`Error::DType`] for integers and booleans.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert_eq!(Tensor::from_f64(&[1], vec![0.1])?.to_f32()?[..], [0.1_f32]);
    /// assert!(Tensor::from_u32(&[1], vec![1])?.to_f32().is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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
            DType::F8E4M3 => decode(&self.data, |[b]| convert::E4M3.decode(b) as f32),
            DType::F8E5M2 => decode(&self.data, |[b]| convert::E5M2.decode(b) as f32),
            dtype => return Err(not_float(dtype)),
        }))
    }

    /// The values as `f64`, exactly; borrowed where they already are and lie aligned.
    ///
    /// # Errors
    /// [`Error::DType`] for integers and booleans.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// let t = Tensor::from_f32(&[1], vec![0.1])?;
    /// assert_eq!(t.to_f64()?[..], [f64::from(0.1_f32)]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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
    /// Cost: one pass over the bytes; values are converted only where one is not finite.
    ///
    /// # Errors
    /// [`Error::NotFinite`] under the name `name`: how many values are a NaN or an infinity, and the first of them.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// let t = Tensor::from_f32(&[2, 2], vec![0., 1., f32::INFINITY, 3.])?;
    /// let message = "tensor `fc1.bias` holds 1 value(s) that are not finite, the first (inf) at index [1, 0]";
    /// assert_eq!(t.check_finite("fc1.bias").unwrap_err().to_string(), message);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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
    /// [`Error::DType`] for every other element type: nothing is converted.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert_eq!(Tensor::from_u32(&[2], vec![7, 8])?.to_u32()?, [7, 8]);
    /// assert!(Tensor::from_f32(&[1], vec![7.])?.to_u32().is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn to_u32(&self) -> Result<Vec<u32>> {
        if self.dtype != DType::U32 {
            return Err(Error::DType { expected: "u32", found: self.dtype });
        }
        Ok(decode(&self.data, u32::from_le_bytes))
    }

    /// The same values in another floating-point type, rounded to nearest even. The same type costs nothing.
    ///
    /// Rounding is once, from the exact value, also from f64 to 16 bits.
    ///
    /// # Errors
    /// [`Error::DType`] if either type is not a float and they differ.
    ///
    /// ```
    /// use onebasin_core::{DType, Tensor};
    /// let t = Tensor::from_f32(&[2], vec![1.0, 1.00390625])?; // the second lies half-way between two bf16
    /// assert_eq!(t.cast(DType::BF16)?.to_f32()?[..], [1.0, 1.0]);
    /// assert!(t.cast(DType::I32).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn cast(&self, dtype: DType) -> Result<Self> {
        if dtype == self.dtype {
            return Ok(self.clone());
        }
        Self::from_f64_as(dtype, &self.shape, &self.to_f64()?)
    }

    /// A tensor of `dtype` from `f64` values, rounded to nearest even, once.
    ///
    /// # Errors
    /// [`Error::DType`] if `dtype` is no float, [`Error::Bytes`] if the values do not fill the shape.
    ///
    /// ```
    /// use onebasin_core::{DType, Tensor};
    /// let t = Tensor::from_f64_as(DType::F16, &[2], &[65504.0, 1e6])?;
    /// assert_eq!(t.to_f64()?[..], [65504.0, f64::INFINITY]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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
    /// Cost: one copy of the bytes, in runs as long as the axes inside `axis` are together.
    ///
    /// # Errors
    /// [`Error::NoAxis`] if the axis does not exist, [`Error::Gather`] if the table has another length or points outside
    /// of it.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// let t = Tensor::from_f32(&[2, 2], vec![1., 2., 3., 4.])?;
    /// assert_eq!(t.gather(0, &[1, 0])?.to_f32()?[..], [3., 4., 1., 2.]);
    /// assert_eq!(t.gather(1, &[1, 0])?.to_f32()?[..], [2., 1., 4., 3.]);
    /// assert!(t.gather(2, &[0]).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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

    /// The multi-index of the flat position `flat`, the last axis running fastest.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert_eq!(Tensor::from_f32(&[2, 3], vec![0.; 6])?.index_of(4), [1, 1]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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
