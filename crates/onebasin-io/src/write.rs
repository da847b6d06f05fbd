//! Writing safetensors, the same bytes for the same network.

use onebasin_core::DType;
use serde_json::{Map, Value, json};

use crate::atomic::Draft;
use crate::error::Result;
use crate::metadata::Metadata;
use crate::passing::Passing;

/// What a header says of a tensor.
#[derive(Debug, Clone)]
pub(crate) struct TensorEntry {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    shape: Vec<usize>,
}

impl TensorEntry {
    pub(crate) fn new(name: &str, dtype: DType, shape: &[usize]) -> Self {
        Self { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }

    /// Bytes.
    pub(crate) fn len(&self) -> u64 {
        self.count() * self.dtype.size() as u64
    }

    /// Numbers.
    pub(crate) fn count(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64
    }
}

/// One safetensors file on its way: tensors are written where they belong, in any order, the header last.
pub(crate) struct Writing<'g> {
    draft: Draft<'g>,
    entries: Vec<TensorEntry>,
    /// Bytes of the header and its length.
    head: usize,
    passing: Passing,
}

impl<'g> Writing<'g> {
    /// Leaves room for a header with entries as long as these. `total` are the bytes of the whole checkpoint.
    pub(crate) fn new(draft: Draft<'g>, mut entries: Vec<TensorEntry>, metadata: &Metadata, total: u64) -> Self {
        entries.sort_by(|x, y| (y.dtype.size(), &x.name).cmp(&(x.dtype.size(), &y.name)));
        let head = header(&entries, metadata).len();
        Self { draft, entries, head, passing: Passing::of(total) }
    }

    /// Where every tensor begins in the file.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&str, u64)> {
        self.entries.iter().scan(self.head as u64, |offset, entry| {
            let begin = *offset;
            *offset += entry.len();
            Some((entry.name.as_str(), begin))
        })
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.draft.write_at(offset, bytes)?;
        self.passing.passed(self.draft.file(), bytes.len(), None);
        Ok(())
    }

    /// Writes the header, and waits until the file is on disk.
    ///
    /// # Panics
    /// If `metadata` is not as long as that of [`Self::new`].
    pub(crate) fn finish(self, metadata: &Metadata) -> Result<()> {
        let header = header(&self.entries, metadata);
        assert_eq!(header.len(), self.head, "header entries change in text, not in length");
        self.draft.write_at(0, &header)?;
        self.draft.flush()
    }
}

/// The head of a file: the length of the header, and the header.
fn header(entries: &[TensorEntry], metadata: &Metadata) -> Vec<u8> {
    let mut header = Map::new();
    if !metadata.0.is_empty() {
        header.insert("__metadata__".to_owned(), json!(metadata.0));
    }
    let mut offset = 0;
    for entry in entries {
        let end = offset + entry.len();
        let value = json!({ "dtype": code(entry.dtype), "shape": entry.shape, "data_offsets": [offset, end] });
        header.insert(entry.name.clone(), value);
        offset = end;
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
}

fn code(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "F64",
        DType::F32 => "F32",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        DType::F8E4M3 => "F8_E4M3",
        DType::F8E5M2 => "F8_E5M2",
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
