//! Reading safetensors: the header is checked, the tensors stay in the memory map.

use std::path::Path;

use bytes::Bytes;
use onebasin_core::DType;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use crate::checkpoint::{Checkpoint, FilePart};
use crate::error::{Error, Result};
use crate::format::{Format, Gathered, KNOWN};
use crate::metadata::Metadata;

/// Reads a safetensors checkpoint from bytes; `path` only names it in errors.
///
/// Tensors of element types other than f64, f32, f16, bf16, OCP's 8-bit floats, the integers up to 64 bits, and bool are
/// passed over, and named in [`Checkpoint::passed_over`].
///
/// Cost: that of the header; no tensor is looked at.
///
/// # Errors
/// If the bytes are not valid, or no tensor has one of these element types.
pub fn read_bytes(bytes: &Bytes, path: &Path) -> Result<Checkpoint> {
    read_file(path, FilePart::new(path, bytes.clone(), None))
}

/// Reads a file that was mapped.
pub(crate) fn read_file(path: &Path, file: FilePart) -> Result<Checkpoint> {
    let failed = |why| Error::Format { path: path.to_owned(), format: Format::Safetensors, why };
    let (gathered, metadata) = read(&file.bytes).map_err(failed)?;
    Ok(Checkpoint::gathered(path, gathered, metadata, vec![file]))
}

fn read(bytes: &Bytes) -> std::result::Result<(Gathered, Metadata), String> {
    const PREFIX: usize = 8;
    let length = bytes.get(..PREFIX).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let length = length
        .ok_or_else(|| format!("the file has {} bytes, fewer than the {PREFIX} of a header length", bytes.len()))?;
    let rest = bytes.len() - PREFIX;
    if length > rest as u64 {
        return Err(format!(
            "the header claims {length} bytes, the file has {rest} after its length; it is truncated or not safetensors"
        ));
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| said(&e))?;
    let view = SafeTensors::deserialize(bytes).map_err(|e| said(&e))?;
    let mut gathered = Gathered::default();
    for (name, tensor) in view.iter() {
        match dtype(tensor.dtype()) {
            Some(dtype) => gathered.insert(name, dtype, tensor.shape(), bytes.slice_ref(tensor.data()))?,
            None => gathered.pass_over(name, format!("element type {:?}; known: {KNOWN}", tensor.dtype())),
        }
    }
    gathered.check()?;
    gathered.passed_over.sort();
    Ok((gathered, Metadata(header.metadata().clone().unwrap_or_default().into_iter().collect())))
}

/// What is wrong with a header, and what to do.
fn said(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::InvalidOffset(name) => format!(
            "{error}: it does not begin where the tensor before it ends, so bytes are left out, shared, or named twice; save \
             the file again (tensor `{name}`)"
        ),
        SafeTensorError::MetadataIncompleteBuffer => {
            format!("{error}: the file is cut short, or bytes follow its last tensor; save it again")
        }
        SafeTensorError::InvalidHeaderDeserialization(_) => {
            format!("{error}; a header names tensors, and texts alone under `__metadata__`")
        }
        _ => error.to_string(),
    }
}

fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F8_E4M3 => DType::F8E4M3,
        Dtype::F8_E5M2 => DType::F8E5M2,
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
