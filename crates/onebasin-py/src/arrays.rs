//! Bytes of arrays: taken without a copy, given without one where nothing else shares them.

use std::ptr::NonNull;

use bytes::Bytes;
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyUntypedArrayMethods};
use onebasin::{DType, Params, Tensor};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::Error;

/// A tensor that comes in: name, element type, shape, and its bytes as a flat array.
pub(crate) type Item<'py> = (String, String, Vec<usize>, Bound<'py, PyArray1<u8>>);
/// Tensors that go out, in the same form.
pub(crate) type Given<'py> = Vec<(String, &'static str, Vec<usize>, Bound<'py, PyArray1<u8>>)>;

/// Bytes of an array that Python lends for as long as this lives.
struct Lent {
    /// Keeps the memory where it is.
    _array: Py<PyArray1<u8>>,
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to the array, which this holds a reference to and whose buffer NumPy neither moves nor frees while
// there is one; the pointer is only read.
#[allow(unsafe_code, reason = "bytes are read where Python has them")]
unsafe impl Send for Lent {}
// SAFETY: as above; reading from several threads is what a shared slice allows.
#[allow(unsafe_code, reason = "bytes are read where Python has them")]
unsafe impl Sync for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `at` points to `len` bytes of a contiguous array that `_array` keeps alive. That nothing writes to it meanwhile
        // is what the documentation of the package asks of its caller, as NumPy itself does of code that runs without the lock.
        #[allow(unsafe_code, reason = "bytes are read where Python has them")]
        unsafe {
            std::slice::from_raw_parts(self.at.as_ptr(), self.len)
        }
    }
}

/// Tensors over the memory of arrays.
///
/// Cost: nothing is copied.
///
/// # Errors
/// If an array is not contiguous, its bytes do not fill the shape, or the element type is not known.
pub(crate) fn params(items: Vec<Item<'_>>) -> PyResult<Params> {
    let tensor = |(name, dtype, shape, array): Item<'_>| {
        let unknown = |_| PyTypeError::new_err(format!("`{name}` has elements of type {dtype}, which is not known"));
        let dtype: DType = serde_json::from_value(dtype.as_str().into()).map_err(unknown)?;
        if !array.is_contiguous() {
            return Err(PyTypeError::new_err(format!("`{name}` is not contiguous")));
        }
        let (at, len) = (NonNull::new(array.data()).unwrap_or(NonNull::dangling()), array.len());
        let bytes = Bytes::from_owner(Lent { _array: array.unbind(), at, len });
        let tensor = Tensor::new(dtype, &shape, bytes).map_err(|error| Error::new_err(format!("`{name}`: {error}")))?;
        Ok((name, tensor))
    };
    items.into_iter().map(tensor).collect()
}

/// Arrays with the bytes of tensors.
///
/// Cost: tensors whose bytes nothing else holds become arrays as they are; others are copied, one after the other.
///
/// # Errors
/// If bytes cannot be read from their file.
pub(crate) fn given(py: Python<'_>, params: Params) -> PyResult<Given<'_>> {
    let array = |(name, tensor): (String, Tensor)| {
        let (dtype, shape) = (tensor.dtype().name(), tensor.shape().to_vec());
        let bytes = tensor.into_bytes().map_err(|error| Error::new_err(format!("`{name}`: {error}")))?;
        Ok((name, dtype, shape, Vec::<u8>::from(bytes).into_pyarray(py)))
    };
    params.into_iter().map(array).collect()
}
