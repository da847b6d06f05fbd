//! One tensor: an element type, a shape, and bytes that may still lie in a storage.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use half::{bf16, f16};

use crate::convert;
use crate::dtype::DType;
use crate::error::{Error, Result};

/// A dense row-major tensor: an element type, a shape, and little-endian bytes. Cloning shares the bytes.
///
/// The bytes may lie in a [`Storage`] until they are looked at; they are converted where arithmetic is done, so moving a
/// tensor keeps every bit of every type. Two tensors are equal where type, shape and bytes are: a NaN equals itself, and
/// −0 differs from 0.
///
/// ```
/// use onebasin_core::Tensor;
/// let t = Tensor::from_f32(&[2, 3], vec![0., 1., 2., 3., 4., 5.])?;
/// assert_eq!(t.shape(), [2, 3]);
/// assert_eq!(t.to_f64()?[5], 5.0);
/// assert_eq!(t.gather(1, &[2, 0, 1])?.to_f32()?[..], [2., 0., 1., 5., 3., 4.]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Data,
}

/// Where the bytes of tensors lie before they are looked at, such as a file.
pub trait Storage: Send + Sync {
    /// Fills `to` with the bytes from `offset` on.
    ///
    /// # Errors
    /// Says in words where they lie and why they cannot be read.
    fn read_at(&self, offset: u64, to: &mut [u8]) -> std::result::Result<(), String>;
}

#[derive(Clone)]
enum Data {
    Here(Bytes),
    Stored(Arc<Stored>),
}

/// Bytes of a storage, kept once they were looked at.
struct Stored {
    storage: Arc<dyn Storage>,
    offset: u64,
    len: usize,
    read: OnceLock<std::result::Result<Bytes, String>>,
    /// What stands for bytes that cannot be read: all bits set, a NaN in every floating-point type.
    unread: OnceLock<Bytes>,
}

impl Stored {
    fn read(&self) -> std::result::Result<&Bytes, &String> {
        let read = || {
            // Asked for first: memory that comes as zeros costs nothing to clear, and cannot be refused.
            let room = Vec::<u8>::new().try_reserve_exact(self.len);
            room.map_err(|_| format!("there is no memory for {} bytes", self.len))?;
            let mut bytes = vec![0; self.len];
            self.storage.read_at(self.offset, &mut bytes)?;
            Ok(Bytes::from(bytes))
        };
        self.read.get_or_init(read).as_ref()
    }
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.dtype == other.dtype && self.shape == other.shape && self.bytes() == other.bytes()
    }
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
        Ok(Self { dtype, shape: shape.to_vec(), data: Data::Here(data) })
    }

    /// A tensor whose bytes lie in `storage` from `offset` on; they are read when they are first looked at, and kept.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the shape overflows.
    ///
    /// ```
    /// use onebasin_core::{DType, Storage, Tensor};
    /// struct Zeros;
    /// impl Storage for Zeros {
    ///     fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<(), String> {
    ///         if offset > 8 { Err("there is nothing".to_owned()) } else { Ok(to.fill(0)) }
    ///     }
    /// }
    /// let storage = std::sync::Arc::new(Zeros);
    /// assert_eq!(Tensor::stored(DType::F32, &[2], storage.clone(), 8)?.to_f32()?[..], [0., 0.]);
    /// let beyond = Tensor::stored(DType::F32, &[2], storage, 16)?;
    /// assert_eq!(beyond.read().unwrap_err().to_string(), "there is nothing");
    /// assert!(beyond.to_f32().is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn stored(dtype: DType, shape: &[usize], storage: Arc<dyn Storage>, offset: u64) -> Result<Self> {
        let too_large = || Error::TooLarge { shape: shape.to_vec() };
        let len = element_count(shape)?.checked_mul(dtype.size()).ok_or_else(too_large)?;
        let stored = Stored { storage, offset, len, read: OnceLock::new(), unread: OnceLock::new() };
        Ok(Self { dtype, shape: shape.to_vec(), data: Data::Stored(Arc::new(stored)) })
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
        self.byte_len() / self.dtype.size()
    }

    /// Number of bytes, which are not looked at.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert_eq!(Tensor::from_f32(&[2, 3], vec![0.; 6])?.byte_len(), 24);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn byte_len(&self) -> usize {
        match &self.data {
            Data::Here(bytes) => bytes.len(),
            Data::Stored(stored) => stored.len,
        }
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
        self.byte_len() == 0
    }

    /// The bytes, little-endian, row-major. Bytes that cannot be read from their storage are all ones, a NaN in every
    /// floating-point type; [`read`](Self::read) and [`check_finite`](Self::check_finite) say why.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert_eq!(Tensor::from_u32(&[1], vec![258])?.bytes()[..], [2, 1, 0, 0]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn bytes(&self) -> &Bytes {
        match &self.data {
            Data::Here(bytes) => bytes,
            Data::Stored(stored) => {
                stored.read().unwrap_or_else(|_| stored.unread.get_or_init(|| Bytes::from(vec![u8::MAX; stored.len])))
            }
        }
    }

    /// The bytes, or why they cannot be read from their storage.
    ///
    /// # Errors
    /// [`Error::Storage`]
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert_eq!(Tensor::from_u32(&[1], vec![258])?.read()?[..], [2, 1, 0, 0]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn read(&self) -> Result<&Bytes> {
        match &self.data {
            Data::Here(bytes) => Ok(bytes),
            Data::Stored(stored) => stored.read().map_err(|why| Error::Storage { why: why.clone() }),
        }
    }

    /// The bytes of a tensor that is needed no more; where nothing else shares them, they become a vector without a copy.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// let bytes: Vec<u8> = Tensor::from_u32(&[1], vec![258])?.into_bytes()?.into();
    /// assert_eq!(bytes, [2, 1, 0, 0]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn into_bytes(self) -> Result<Bytes> {
        match self.data {
            Data::Here(bytes) => Ok(bytes),
            Data::Stored(stored) => stored.read().cloned().map_err(|why| Error::Storage { why: why.clone() }),
        }
    }

    /// The sum of the squares of its values.
    ///
    /// # Errors
    /// As [`to_f64`](Self::to_f64).
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert_eq!(Tensor::from_f32(&[2], vec![3., 4.])?.squares()?, 25.0);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn squares(&self) -> Result<f64> {
        if self.dtype == DType::F64 {
            return Ok(self.to_f64()?.iter().map(|v| v * v).sum());
        }
        Ok(self.to_f32()?.iter().map(|v| f64::from(*v) * f64::from(*v)).sum())
    }

    /// The same tensor, or a run of its rows (of its first axis), that keeps nothing of what others read: what lies in a storage is
    /// read anew, and dropped with it.
    ///
    /// # Errors
    /// [`Error::Rows`] if there are no such rows.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// let table = Tensor::from_f32(&[3, 2], vec![0., 1., 2., 3., 4., 5.])?;
    /// assert_eq!(table.rows_anew(Some(1..2))?.to_f32()?[..], [2., 3.]);
    /// assert!(table.rows_anew(Some(2..4)).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn rows_anew(&self, rows: Option<std::ops::Range<usize>>) -> Result<Self> {
        let all = self.shape.first().copied().unwrap_or(1);
        let rows = rows.unwrap_or(0..all);
        if rows.start > rows.end || rows.end > all {
            return Err(Error::Rows { shape: self.shape.clone(), rows });
        }
        let each = self.byte_len() / all.max(1);
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        match &self.data {
            Data::Here(bytes) => Self::new(self.dtype, &shape, bytes.slice(rows.start * each..rows.end * each)),
            Data::Stored(stored) => {
                let offset = stored.offset + (rows.start * each) as u64;
                Self::stored(self.dtype, &shape, stored.storage.clone(), offset)
            }
        }
    }

    /// The storage that the bytes lie in, and where in it; none where they are in memory alone.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// assert!(Tensor::from_u32(&[1], vec![258])?.place().is_none());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn place(&self) -> Option<(&Arc<dyn Storage>, u64)> {
        match &self.data {
            Data::Here(_) => None,
            Data::Stored(stored) => Some((&stored.storage, stored.offset)),
        }
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
        let data = self.read()?;
        if self.dtype == DType::F32
            && let Some(values) = borrow::<f32>(data)
        {
            return Ok(Cow::Borrowed(values));
        }
        Ok(Cow::Owned(match self.dtype {
            DType::F32 => decode(data, f32::from_le_bytes),
            DType::F64 => decode(data, |b| f64::from_le_bytes(b) as f32),
            DType::F16 => decode(data, |b| f16::from_le_bytes(b).to_f32()),
            DType::BF16 => decode(data, |b| bf16::from_le_bytes(b).to_f32()),
            DType::F8E4M3 => decode(data, |[b]| convert::E4M3.decode(b) as f32),
            DType::F8E5M2 => decode(data, |[b]| convert::E5M2.decode(b) as f32),
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
        let data = self.read()?;
        if self.dtype == DType::F64
            && let Some(values) = borrow::<f64>(data)
        {
            return Ok(Cow::Borrowed(values));
        }
        if !self.dtype.is_float() {
            return Err(not_float(self.dtype));
        }
        let mut values = vec![0.0; self.len()];
        convert::decode(self.dtype, data, &mut values);
        Ok(Cow::Owned(values))
    }

    /// Passes only if every floating-point value is finite; integers and booleans always are.
    ///
    /// Cost: one pass over the bytes; values are converted only where one is not finite.
    ///
    /// # Errors
    /// [`Error::NotFinite`] under the name `name`: how many values are a NaN or an infinity, and the first of them;
    /// [`Error::Storage`] if they cannot be read.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// let t = Tensor::from_f32(&[2, 2], vec![0., 1., f32::INFINITY, 3.])?;
    /// let message = "tensor `fc1.bias` holds 1 value(s) that are not finite, the first (inf) at index [1, 0]";
    /// assert_eq!(t.check_finite("fc1.bias").unwrap_err().to_string(), message);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn check_finite(&self, name: &str) -> Result<()> {
        let data = self.read()?;
        if !self.dtype.is_float() || convert::all_finite(self.dtype, data) {
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
        Ok(decode(self.read()?, u32::from_le_bytes))
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

    /// Whether two tensors are the same to the bit. Of files no more is read than the first 4 KiB where those differ.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// let (zero, negative) = (Tensor::from_f32(&[1], vec![0.0])?, Tensor::from_f32(&[1], vec![-0.0])?);
    /// assert!(zero.same_bits(&zero) && !zero.same_bits(&negative));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn same_bits(&self, other: &Self) -> bool {
        const FIRST: usize = 4096;
        let head = |tensor: &Self| {
            let count = FIRST.min(tensor.byte_len());
            match tensor.place() {
                Some((storage, offset)) => {
                    let mut bytes = vec![0; count];
                    storage.read_at(offset, &mut bytes).ok().map(|()| bytes)
                }
                None => tensor.bytes().get(..count).map(<[u8]>::to_vec),
            }
        };
        let alike = self.dtype == other.dtype && self.shape == other.shape;
        alike && head(self) == head(other) && self.bytes() == other.bytes()
    }

    /// Whether all entries along an axis are the same to the bit, whatever is chosen on the others.
    ///
    /// # Panics
    /// If there is no such axis.
    ///
    /// ```
    /// use onebasin_core::Tensor;
    /// let t = Tensor::from_f32(&[2, 2], vec![1., 2., 1., 2.])?;
    /// assert!(t.is_uniform(0) && !t.is_uniform(1));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn is_uniform(&self, axis: usize) -> bool {
        // Where an axis has no entries, the others may be of any length, and their product no number.
        if self.bytes().is_empty() {
            return true;
        }
        let inner = self.shape[axis + 1..].iter().product::<usize>() * self.dtype.size();
        let len = self.shape[axis];
        let block = |block: &[u8]| block.chunks_exact(inner.max(1)).all(|slice| slice == &block[..inner]);
        len <= 1 || self.bytes().chunks_exact((len * inner).max(1)).all(block)
    }

    /// The same entries in another shape of as many.
    pub(crate) fn shaped(&self, shape: &[usize]) -> Result<Self> {
        if self.shape == shape {
            return Ok(self.clone());
        }
        Self::new(self.dtype, shape, self.read()?.clone())
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
        let bytes = self.read()?;
        let mut data = Vec::with_capacity(bytes.len());
        for block in bytes.chunks_exact((len * inner).max(1)) {
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
}

fn borrow<T: bytemuck::AnyBitPattern>(data: &[u8]) -> Option<&[T]> {
    if cfg!(target_endian = "big") {
        return None;
    }
    bytemuck::try_cast_slice(data).ok()
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
