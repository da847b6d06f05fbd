//! Reading Flax's msgpack: nested maps whose leaves are arrays.
//!
//! An array is extension 1 (a NumPy scalar: 3) around msgpack of `(shape, name of the element type, row-major bytes)`.
//! An array beyond 1 GiB is a map `{"__msgpack_chunked_array__": true, "shape": {"0": …}, "chunks": {"0": …}}` of
//! flat pieces. Source: `flax/serialization.py`.

use std::collections::BTreeMap;

use bytes::Bytes;
use onebasin_core::{DType, Params};
use rmpv::ValueRef;
use rmpv::decode::read_value_ref_with_max_depth;

use crate::format::insert;

/// Nested values are read and walked by recursion.
const MAX_DEPTH: usize = 256;
const CHUNKED: &str = "__msgpack_chunked_array__";

/// The arrays of a file, keys joined by `/`. Numbers, texts and empty maps beside them are passed over.
///
/// No array is copied but those in chunks.
pub(crate) fn params(bytes: &Bytes) -> Result<Params, String> {
    let root = decode(bytes)?;
    let ValueRef::Map(entries) = &root else {
        return Err(format!("a map of names was expected at its root, found {}", kind(&root)));
    };
    let mut reader = FlaxReader { bytes, params: Params::new() };
    reader.map(entries, "")?;
    if reader.params.is_empty() { Err("it holds no arrays".to_owned()) } else { Ok(reader.params) }
}

struct FlaxReader<'a> {
    bytes: &'a Bytes,
    params: Params,
}

struct FlaxArray {
    dtype: DType,
    shape: Vec<usize>,
    data: Bytes,
}

impl FlaxReader<'_> {
    fn map(&mut self, entries: &[(ValueRef<'_>, ValueRef<'_>)], path: &str) -> Result<(), String> {
        for (key, value) in entries {
            let key = match key {
                ValueRef::String(text) => text.as_str().map(str::to_owned),
                ValueRef::Integer(number) => Some(number.to_string()),
                _ => None,
            };
            let key = key.ok_or_else(|| format!("a key of the map `{path}` is neither text nor a number"))?;
            self.value(value, &if path.is_empty() { key } else { format!("{path}/{key}") })?;
        }
        Ok(())
    }

    fn value(&mut self, value: &ValueRef<'_>, path: &str) -> Result<(), String> {
        let named = |why: String| format!("tensor `{path}`: {why}");
        let array = match value {
            ValueRef::Map(entries) if entries.iter().any(|(key, _)| text(key) == Some(CHUNKED)) => {
                self.join(entries).map_err(named)?
            }
            ValueRef::Map(entries) => return self.map(entries, path),
            ValueRef::Array(items) => {
                return items.iter().enumerate().try_for_each(|(i, item)| self.value(item, &format!("{path}/{i}")));
            }
            ValueRef::Ext(1 | 3, data) => self.array(data).map_err(named)?,
            _ => return Ok(()),
        };
        insert(&mut self.params, path, array.dtype, &array.shape, array.data)
    }

    fn array(&self, data: &[u8]) -> Result<FlaxArray, String> {
        const EXPECTED: &str = "an array is (shape, name of the element type, bytes)";
        let fields = decode(data)?;
        let ValueRef::Array(fields) = &fields else { return Err(format!("{EXPECTED}, found {}", kind(&fields))) };
        let [ValueRef::Array(shape), name, ValueRef::Binary(data)] = fields.as_slice() else {
            let found: Vec<&str> = fields.iter().map(kind).collect();
            return Err(format!("{EXPECTED}, found ({})", found.join(", ")));
        };
        let shape = shape.iter().map(length).collect::<Result<_, _>>()?;
        let name = text(name).ok_or_else(|| format!("{EXPECTED}, found {} for the name", kind(name)))?;
        let dtype = dtype(name).ok_or_else(|| {
            let known = "float64, float32, float16, bfloat16, integers up to 64 bits, bool";
            format!("element type `{name}`; known: {known}")
        })?;
        Ok(FlaxArray { dtype, shape, data: self.bytes.slice_ref(data) })
    }

    fn join(&self, entries: &[(ValueRef<'_>, ValueRef<'_>)]) -> Result<FlaxArray, String> {
        let shape = numbered(entries, "shape")?.into_iter().map(length).collect::<Result<_, _>>()?;
        let mut dtype = None;
        let mut data = Vec::new();
        for (i, chunk) in numbered(entries, "chunks")?.into_iter().enumerate() {
            let ValueRef::Ext(1, chunk) = chunk else {
                return Err(format!("chunk {i} should be an array, found {}", kind(chunk)));
            };
            let chunk = self.array(chunk).map_err(|why| format!("chunk {i}: {why}"))?;
            let expected = *dtype.get_or_insert(chunk.dtype);
            if chunk.dtype != expected {
                return Err(format!("chunk {i} is {}, those before it {expected}", chunk.dtype));
            }
            data.extend_from_slice(&chunk.data);
        }
        let dtype = dtype.ok_or("it has no chunks")?;
        Ok(FlaxArray { dtype, shape, data: Bytes::from(data) })
    }
}

/// The entries "0", "1", … of the map called `name`, in this order.
fn numbered<'a, 'b>(entries: &'a [(ValueRef<'b>, ValueRef<'b>)], name: &str) -> Result<Vec<&'a ValueRef<'b>>, String> {
    let found = entries.iter().find(|(key, _)| text(key) == Some(name));
    let Some((_, ValueRef::Map(items))) = found else { return Err(format!("it has no map `{name}`")) };
    let items: BTreeMap<&str, &ValueRef<'_>> = items.iter().filter_map(|(k, v)| Some((text(k)?, v))).collect();
    let item = |i: usize| items.get(i.to_string().as_str()).copied().ok_or(format!("`{name}` has no entry \"{i}\""));
    (0..items.len()).map(item).collect()
}

fn decode(bytes: &[u8]) -> Result<ValueRef<'_>, String> {
    let mut rest = bytes;
    let value = read_value_ref_with_max_depth(&mut rest, MAX_DEPTH).map_err(|e| {
        let at = bytes.len() - rest.len();
        format!("msgpack: {e}, at byte {at} of {}", bytes.len())
    })?;
    if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes follow the end of its msgpack", rest.len())) }
}

fn length(value: &ValueRef<'_>) -> Result<usize, String> {
    let found = value.as_u64().and_then(|length| usize::try_from(length).ok());
    found.ok_or_else(|| format!("a length of its shape should be a number of elements, found {}", kind(value)))
}

fn text<'a>(value: &'a ValueRef<'_>) -> Option<&'a str> {
    if let ValueRef::String(text) = value { text.as_str() } else { None }
}

fn kind(value: &ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Nil => "nil",
        ValueRef::Boolean(_) => "a boolean",
        ValueRef::Integer(_) => "an integer",
        ValueRef::F32(_) | ValueRef::F64(_) => "a float",
        ValueRef::String(_) => "a text",
        ValueRef::Binary(_) => "bytes",
        ValueRef::Array(_) => "a list",
        ValueRef::Map(_) => "a map",
        ValueRef::Ext(..) => "an extension",
    }
}

fn dtype(name: &str) -> Option<DType> {
    Some(match name {
        "float64" => DType::F64,
        "float32" => DType::F32,
        "float16" => DType::F16,
        "bfloat16" => DType::BF16,
        "int64" => DType::I64,
        "int32" => DType::I32,
        "int16" => DType::I16,
        "int8" => DType::I8,
        "uint64" => DType::U64,
        "uint32" => DType::U32,
        "uint16" => DType::U16,
        "uint8" => DType::U8,
        "bool" => DType::Bool,
        _ => return None,
    })
}
