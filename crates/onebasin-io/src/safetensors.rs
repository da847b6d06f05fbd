//! Reading safetensors: the header is checked, the tensors stay in the memory map.

use std::path::Path;

use bytes::Bytes;
use onebasin_core::{DType, Params, Tensor};
use safetensors::{Dtype, SafeTensors};

use crate::checkpoint::{Checkpoint, FilePart};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::map::map;
use crate::metadata::Metadata;

/// Opens a safetensors file.
pub(crate) fn read_file(path: &Path) -> Result<Checkpoint> {
    let (bytes, file) = map(path)?;
    read_part(path, FilePart::new(path, bytes, Some(file)))
}

/// Reads a safetensors checkpoint from bytes; `path` only names it in errors.
///
/// Cost: that of the header; no tensor is looked at.
///
/// # Errors
/// If the bytes are not valid, or a tensor has an element type other than f64, f32, f16, bf16, the integers up to 64
/// bits, and bool.
pub fn read_bytes(bytes: &Bytes, path: &Path) -> Result<Checkpoint> {
    read_part(path, FilePart::new(path, bytes.clone(), None))
}

pub(crate) fn read_part(path: &Path, part: FilePart) -> Result<Checkpoint> {
    const PREFIX: usize = 8;
    let bytes = &part.bytes;
    let length = bytes.get(..PREFIX).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let Some(length) = length else {
        return Err(format_error(
            path,
            format!("the file has {} bytes, fewer than the {PREFIX} of a header length", bytes.len()),
        ));
    };
    if length > (bytes.len() - PREFIX) as u64 {
        let rest = bytes.len() - PREFIX;
        return Err(format_error(
            path,
            format!(
                "the header claims {length} bytes, the file has {rest} after its length; it is truncated or not safetensors"
            ),
        ));
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| format_error(path, e.to_string()))?;
    let view = SafeTensors::deserialize(bytes).map_err(|e| format_error(path, e.to_string()))?;
    let mut params = Params::new();
    for (name, tensor) in view.iter() {
        let dtype = dtype(tensor.dtype()).ok_or_else(|| {
            let known = "f64, f32, f16, bf16, integers up to 64 bits, bool";
            format_error(path, format!("tensor `{name}` has element type {:?}; known: {known}", tensor.dtype()))
        })?;
        let data = bytes.slice_ref(tensor.data());
        let tensor = Tensor::new(dtype, tensor.shape(), data);
        params.insert(name, tensor.map_err(|source| Error::Core { path: path.to_owned(), source })?);
    }
    let metadata = Metadata(header.metadata().clone().unwrap_or_default().into_iter().collect());
    Ok(Checkpoint::new(path, params, metadata, vec![part]))
}

fn format_error(path: &Path, why: impl Into<String>) -> Error {
    Error::Format { path: path.to_owned(), format: Format::Safetensors, why: why.into() }
}

fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U64 => DType::U64,
        Dtype::U32 => DType::U32,
        Dtype::U16 => DType::U16,
        Dtype::U8 => DType::U8,
        Dtype::BOOL => DType::Bool,
        _ => return None,
    })
}
