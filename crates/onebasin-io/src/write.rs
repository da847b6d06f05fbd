//! Writing safetensors, the same bytes for the same network.

use std::path::Path;

use onebasin::{DType, Params, Tensor};
use serde_json::{Map, Value, json};

use crate::atomic::write_atomic;
use crate::error::Result;
use crate::metadata::Metadata;

/// Writes a safetensors file atomically, tensor by tensor.
///
/// Bytes are determined by the tensors and entries alone: tensors lie in order of element size (largest first, so that
/// every one is aligned), then of name; header entries in order of key.
///
/// # Errors
/// As [`write_atomic`].
pub fn write(path: &Path, params: &Params, metadata: &Metadata) -> Result<()> {
    let mut order: Vec<(&str, &Tensor)> = params.iter().collect();
    order.sort_by_key(|(name, t)| (std::cmp::Reverse(t.dtype().size()), *name));
    let mut header = Map::new();
    if !metadata.0.is_empty() {
        header.insert("__metadata__".to_owned(), json!(metadata.0));
    }
    let mut offset = 0;
    for (name, tensor) in &order {
        let end = offset + tensor.bytes().len();
        let entry = json!({ "dtype": code(tensor.dtype()), "shape": tensor.shape(), "data_offsets": [offset, end] });
        header.insert((*name).to_owned(), entry);
        offset = end;
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    write_atomic(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        order.iter().try_for_each(|(_, tensor)| out.write_all(tensor.bytes()))
    })
}

fn code(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "F64",
        DType::F32 => "F32",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        DType::I64 => "I64",
        DType::I32 => "I32",
        DType::I16 => "I16",
        DType::I8 => "I8",
        DType::U64 => "U64",
        DType::U32 => "U32",
        DType::U16 => "U16",
        DType::U8 => "U8",
        DType::Bool => "BOOL",
    }
}
