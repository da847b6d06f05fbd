//! The elements of a tensor, from whichever of its fields holds them.

use std::path::Path;

use bytes::Bytes;
use onebasin_core::{DType, Tensor, element_count};

use super::external::Externals;
use super::proto::TensorProto;
use super::{Checked, fail, refused};
use crate::error::Result;

/// Element types by their number in ONNX.
const TYPES: [(i32, DType); 15] = [
    (1, DType::F32),
    (2, DType::U8),
    (3, DType::I8),
    (4, DType::U16),
    (5, DType::I16),
    (6, DType::I32),
    (7, DType::I64),
    (9, DType::Bool),
    (10, DType::F16),
    (11, DType::F64),
    (12, DType::U32),
    (13, DType::U64),
    (16, DType::BF16),
    (17, DType::F8E4M3),
    (19, DType::F8E5M2),
];

/// The element type of this number; none for strings, complex numbers, and types of fewer than 16 bits that are
/// neither integers of 8 nor booleans: floats of 8 are quantised, and carried along.
pub(super) fn dtype(code: i32) -> Option<DType> {
    let found = TYPES.iter().find(|(c, _)| *c == code).map(|(_, dtype)| *dtype);
    found.filter(|dtype| !matches!(dtype, DType::F8E4M3 | DType::F8E5M2))
}

/// The number of an element type.
pub(super) fn code(dtype: DType) -> i32 {
    TYPES.iter().find(|(_, d)| *d == dtype).map_or(0, |(code, _)| *code)
}

/// A tensor without copying its raw or external data; none if its element type is not one of [`DType`].
///
/// `place` names it in errors.
pub(super) fn decode(path: &Path, place: &str, proto: &TensorProto, externals: &Externals) -> Result<Option<Tensor>> {
    if proto.data_type == 0 {
        return Err(fail(path, place, "has no element type; export the model again"));
    }
    let Some(dtype) = dtype(proto.data_type) else { return Ok(None) };
    let shape = shape(&proto.dims).map_err(|why| fail(path, place, why))?;
    let count = element_count(&shape).map_err(|e| refused(path, place, &e))?;
    let size = count
        .checked_mul(dtype.size())
        .filter(|&size| isize::try_from(size).is_ok())
        .ok_or_else(|| fail(path, place, format!("shape {shape:?} is too large for this machine")))?;
    if proto.segment.is_some() {
        return Err(fail(path, place, "is stored in segments; save the model again with a current exporter"));
    }
    let data = if Externals::holds(proto.data_location) {
        externals.data(path, &proto.name, &proto.external_data, Some(size))?
    } else {
        inline(proto, dtype, count).map_err(|why| fail(path, place, why))?
    };
    Tensor::new(dtype, &shape, data).map(Some).map_err(|e| refused(path, place, &e))
}

fn shape(dims: &[i64]) -> Checked<Vec<usize>> {
    let length = |&d| usize::try_from(d).map_err(|_| format!("shape {dims:?} has a length that is negative"));
    dims.iter().map(length).collect()
}

fn inline(proto: &TensorProto, dtype: DType, count: usize) -> Checked<Bytes> {
    let typed = [
        ("float_data", proto.float_data.len()),
        ("int32_data", proto.int32_data.len()),
        ("int64_data", proto.int64_data.len()),
        ("double_data", proto.double_data.len()),
        ("uint64_data", proto.uint64_data.len()),
    ];
    let mut filled = typed.iter().filter(|(_, elements)| *elements > 0);
    let first = filled.next();
    let second = filled.next().map(|(field, _)| *field).or((!proto.raw_data.is_empty()).then_some("raw_data"));
    let Some((field, elements)) = first else { return Ok(proto.raw_data.clone()) };
    if let Some(second) = second {
        return Err(format!("has elements both in {field} and in {second}; only one may hold them"));
    }
    let home = match dtype {
        DType::F32 => "float_data",
        DType::F64 => "double_data",
        DType::I64 => "int64_data",
        DType::U64 | DType::U32 => "uint64_data",
        _ => "int32_data",
    };
    if *field != home {
        return Err(format!("is {dtype}, whose elements belong in raw_data or {home}; found them in {field}"));
    }
    if *elements != count {
        return Err(format!("needs {count} elements, found {elements} in {field}"));
    }
    let (int32, uint64) = (&proto.int32_data, &proto.uint64_data);
    match dtype {
        DType::F32 => Ok(pack(proto.float_data.iter().map(|v| v.to_le_bytes()))),
        DType::F64 => Ok(pack(proto.double_data.iter().map(|v| v.to_le_bytes()))),
        DType::I64 => Ok(pack(proto.int64_data.iter().map(|v| v.to_le_bytes()))),
        DType::U64 => Ok(pack(uint64.iter().map(|v| v.to_le_bytes()))),
        DType::I32 => Ok(pack(int32.iter().map(|v| v.to_le_bytes()))),
        DType::U32 => narrow(uint64, dtype, u32::to_le_bytes),
        DType::I16 => narrow(int32, dtype, i16::to_le_bytes),
        DType::I8 => narrow(int32, dtype, i8::to_le_bytes),
        DType::U16 | DType::F16 | DType::BF16 => narrow(int32, dtype, u16::to_le_bytes),
        DType::U8 | DType::Bool | DType::F8E4M3 | DType::F8E5M2 => narrow(int32, dtype, u8::to_le_bytes),
    }
}

fn pack<const N: usize>(values: impl ExactSizeIterator<Item = [u8; N]>) -> Bytes {
    let mut out = Vec::with_capacity(values.len() * N);
    values.for_each(|v| out.extend_from_slice(&v));
    out.into()
}

/// Values kept in a wider field than they need.
fn narrow<const N: usize, W, T>(values: &[W], dtype: DType, to: fn(T) -> [u8; N]) -> Checked<Bytes>
where
    W: Copy + std::fmt::Display,
    T: TryFrom<W>,
{
    let mut out = Vec::with_capacity(values.len() * N);
    for (i, &value) in values.iter().enumerate() {
        let value = T::try_from(value).map_err(|_| format!("element {i} is {value}, which is no {dtype}"))?;
        out.extend_from_slice(&to(value));
    }
    Ok(out.into())
}
