//! Reading safetensors: the header is checked, the tensors are read when they are looked at.

use std::path::Path;

use bytes::Bytes;
use onebasin_core::DType;
use safetensors::Dtype;
use safetensors::tensor::Metadata as Header;

use crate::checkpoint::{Checkpoint, FilePart};
use crate::error::{Error, Result};
use crate::format::{Format, Gathered, KNOWN};
use crate::metadata::Metadata;

/// Bytes of a header at most, as for safetensors itself.
const MAX_HEADER: u64 = 100_000_000;

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
    read_file(path, FilePart::Memory(bytes.clone()))
}

/// Reads a file that is open.
pub(crate) fn read_file(path: &Path, file: FilePart) -> Result<Checkpoint> {
    const PREFIX: u64 = 8;
    let failed = |why| Error::Format { path: path.to_owned(), format: Format::Safetensors, why };
    if file.len() < PREFIX {
        return Err(failed(format!("the file has {} bytes, fewer than the {PREFIX} of a header length", file.len())));
    }
    let mut prefix = [0; PREFIX as usize];
    file.fill(0, &mut prefix)?;
    let (length, rest) = (u64::from_le_bytes(prefix), file.len() - PREFIX);
    if length > rest {
        return Err(failed(format!(
            "the header claims {length} bytes, the file has {rest} after its length; it is truncated or not safetensors"
        )));
    }
    if length > MAX_HEADER {
        let why = format!("the header claims {length} bytes, more than the {MAX_HEADER} that a header may have");
        return Err(failed(why));
    }
    let mut head = vec![0; length as usize];
    file.fill(PREFIX, &mut head)?;
    let header: Header = serde_json::from_slice(&head).map_err(|e| failed(said(&e)))?;
    let data = header.data_len() as u64;
    if data != rest - length {
        return Err(failed(format!(
            "its tensors take {data} bytes, the file has {} after the header: it is cut short, or bytes follow its last \
             tensor; save it again",
            rest - length
        )));
    }
    let mut gathered = Gathered::default();
    for (name, info) in header.tensors() {
        match dtype(info.dtype) {
            Some(dtype) => {
                let (begin, end) = info.data_offsets;
                let head = (PREFIX + length) as usize;
                let tensor = file.tensor(dtype, &info.shape, head + begin..head + end);
                gathered
                    .add(&name, tensor.map_err(|source| Error::Core { path: path.to_owned(), source })?)
                    .map_err(failed)?;
            }
            None => gathered.pass_over(&name, format!("element type {:?}; known: {KNOWN}", info.dtype)),
        }
    }
    gathered.check().map_err(failed)?;
    gathered.passed_over.sort();
    let metadata = Metadata(header.metadata().clone().unwrap_or_default().into_iter().collect());
    Ok(Checkpoint::gathered(path, gathered, metadata, vec![file]))
}

/// What is wrong with a header, and what to do.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.contains("offset") {
        return format!(
            "{text}: it does not begin where the tensor before it ends, so bytes are left out, shared, or named twice; save the \
             file again"
        );
    }
    format!("{text}; a header names tensors, and texts alone under `__metadata__`")
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
