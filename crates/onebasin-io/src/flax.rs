//! Reading Flax's msgpack: nested maps whose leaves are arrays.
//!
//! An array is extension 1 (a NumPy scalar: 3) around msgpack of `(shape, name of the element type, row-major bytes)`.
//! An array beyond 1 GiB is a map `{"__msgpack_chunked_array__": true, "shape": {"0": …}, "chunks": {"0": …}}` of
//! flat pieces. Source: `flax/serialization.py`.

use std::collections::BTreeMap;

use bytes::Bytes;
use onebasin_core::DType;
use rmpv::ValueRef;
use rmpv::decode::read_value_ref_with_max_depth;

use crate::format::KNOWN;
use crate::parts::{Branch, BranchKind, Tree};

/// Nested values are read and walked by recursion.
const MAX_DEPTH: usize = 256;
const CHUNKED: &str = "__msgpack_chunked_array__";

/// The tree of the arrays of a file. Numbers, texts and empty maps beside them are passed over.
///
/// No array is copied but those in chunks.
pub(crate) fn read(bytes: &Bytes) -> Result<Branch<FlaxArray>, String> {
    let root = decode(bytes)?;
    let ValueRef::Map(entries) = &root else {
        return Err(format!("a map of names was expected at its root, found {}", kind(&root)));
    };
    let branch = FlaxReader { bytes }.map(entries, "")?;
    if branch.entries.is_empty() { Err("it holds no arrays".to_owned()) } else { Ok(branch) }
}

struct FlaxReader<'a> {
    bytes: &'a Bytes,
}

/// An array of a file.
#[derive(Debug)]
pub(crate) struct FlaxArray {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Bytes,
}

impl FlaxReader<'_> {
    fn map(&self, entries: &[(ValueRef<'_>, ValueRef<'_>)], path: &str) -> Result<Branch<FlaxArray>, String> {
        let mut branch = Branch { kind: BranchKind::Map, entries: Vec::new(), settings: false };
        for (key, value) in entries {
            let key = match key {
                ValueRef::String(text) => text.as_str().map(str::to_owned),
                ValueRef::Integer(number) => Some(number.to_string()),
                _ => None,
            };
            let key = key.ok_or_else(|| format!("a key of the map `{path}` is neither text nor a number"))?;
            self.add(&mut branch, key, value, path)?;
        }
        Ok(branch)
    }

    fn add(&self, branch: &mut Branch<FlaxArray>, key: String, value: &ValueRef<'_>, path: &str) -> Result<(), String> {
        let path = if path.is_empty() { key.clone() } else { format!("{path}/{key}") };
        let named = |why: String| format!("tensor `{path}`: {why}");
        let array = match value {
            ValueRef::Map(entries) if entries.iter().any(|(key, _)| text(key) == Some(CHUNKED)) => {
                self.join(entries).map_err(named)?
            }
            ValueRef::Map(entries) => {
                let inner = self.map(entries, &path)?;
                branch.add(key, inner);
                return Ok(());
            }
            ValueRef::Array(items) => {
                let mut inner = Branch { kind: BranchKind::List, entries: Vec::new(), settings: false };
                for (i, item) in items.iter().enumerate() {
                    self.add(&mut inner, i.to_string(), item, &path)?;
                }
                branch.add(key, inner);
                return Ok(());
            }
            ValueRef::Ext(1 | 3, data) => self.array(data).map_err(named)?,
            _ => {
                branch.settings = true;
                return Ok(());
            }
        };
        let array = match array {
            Ok(array) => Tree::Tensor(array),
            Err(why) => Tree::Unusable(why),
        };
        branch.entries.push((key, array));
        Ok(())
    }

    /// An array, or why it cannot be used.
    fn array(&self, data: &[u8]) -> Result<Result<FlaxArray, String>, String> {
        const EXPECTED: &str = "an array is (shape, name of the element type, bytes)";
        let fields = decode(data)?;
        let ValueRef::Array(fields) = &fields else { return Err(format!("{EXPECTED}, found {}", kind(&fields))) };
        let [ValueRef::Array(shape), name, ValueRef::Binary(data)] = fields.as_slice() else {
            let found: Vec<&str> = fields.iter().map(kind).collect();
            return Err(format!("{EXPECTED}, found ({})", found.join(", ")));
        };
        let shape = shape.iter().map(length).collect::<Result<_, _>>()?;
        let name = text(name).ok_or_else(|| format!("{EXPECTED}, found {} for the name", kind(name)))?;
        let Some(dtype) = dtype(name) else { return Ok(Err(format!("element type `{name}`; known: {KNOWN}"))) };
        Ok(Ok(FlaxArray { dtype, shape, data: self.bytes.slice_ref(data) }))
    }

    fn join(&self, entries: &[(ValueRef<'_>, ValueRef<'_>)]) -> Result<Result<FlaxArray, String>, String> {
        let shape = numbered(entries, "shape")?.into_iter().map(length).collect::<Result<_, _>>()?;
        let mut dtype = None;
        let mut data = Vec::new();
        for (i, chunk) in numbered(entries, "chunks")?.into_iter().enumerate() {
            let ValueRef::Ext(1, chunk) = chunk else {
                return Err(format!("chunk {i} should be an array, found {}", kind(chunk)));
            };
            let chunk = match self.array(chunk).map_err(|why| format!("chunk {i}: {why}"))? {
                Ok(chunk) => chunk,
                Err(why) => return Ok(Err(why)),
            };
            let expected = *dtype.get_or_insert(chunk.dtype);
            if chunk.dtype != expected {
                return Err(format!("chunk {i} is {}, those before it {expected}", chunk.dtype));
            }
            data.extend_from_slice(&chunk.data);
        }
        let dtype = dtype.ok_or("it has no chunks")?;
        Ok(Ok(FlaxArray { dtype, shape, data: Bytes::from(data) }))
    }
}

/// The entries "0", "1", … of the map called `name`, in this order; or of a list, as a tuple is written.
fn numbered<'a, 'b>(entries: &'a [(ValueRef<'b>, ValueRef<'b>)], name: &str) -> Result<Vec<&'a ValueRef<'b>>, String> {
    let found = entries.iter().find(|(key, _)| text(key) == Some(name));
    let items = match found {
        Some((_, ValueRef::Map(items))) => items,
        Some((_, ValueRef::Array(items))) => return Ok(items.iter().collect()),
        _ => return Err(format!("it has no map or list `{name}`")),
    };
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
        "float8_e4m3fn" => DType::F8E4M3,
        "float8_e5m2" => DType::F8E5M2,
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
