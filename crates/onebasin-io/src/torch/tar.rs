//! The tar files of torch before 0.1.10: storages, tensors and the pickle, each a file in the archive.

use std::collections::HashMap;

use bytes::Bytes;

use super::pickle::Pickle;
use super::tensor::{TensorPlan, storage_type};

/// Bytes of a header, and what files are padded to.
const BLOCK: usize = 512;

/// Whether bytes begin as a tar archive does.
pub(super) fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// What the archive holds: the pickle, tensors by key, and storages by key.
pub(super) type Opened = (Bytes, HashMap<String, TensorPlan>, HashMap<String, Bytes>);

/// Opens an archive.
///
/// # Errors
/// Says which of its files is missing or cut short.
pub(super) fn open(bytes: &Bytes, limit: usize) -> Result<Opened, String> {
    let files = files(bytes);
    let file = |name: &str| {
        files.get(name).cloned().ok_or_else(|| {
            format!("it is a tar archive without a file `{name}`, as torch does not write it; unpack it first")
        })
    };
    let (storages, tensors, pickle) = (file("storages")?, file("tensors")?, file("pickle")?);
    let (stretches, kinds) = read_storages(&storages, limit)?;
    Ok((pickle, read_tensors(&tensors, &kinds, limit)?, stretches))
}

/// Files of an archive, without the folders before their names.
fn files(bytes: &Bytes) -> HashMap<String, Bytes> {
    let mut files = HashMap::new();
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + BLOCK).filter(|header| header[0] != 0) {
        let text = |range: std::ops::Range<usize>| {
            let field = header[range].split(|b| *b == 0).next().unwrap_or_default();
            String::from_utf8_lossy(field).trim().to_owned()
        };
        let Ok(size) = usize::from_str_radix(&text(124..136), 8) else { break };
        let begin = at + BLOCK;
        let Some(end) = begin.checked_add(size).filter(|end| *end <= bytes.len()) else { break };
        let name = text(0..100);
        files.insert(name.rsplit('/').next().unwrap_or(&name).to_owned(), bytes.slice(begin..end));
        at = end.next_multiple_of(BLOCK);
    }
    files
}

/// A file of pickles with numbers between them.
struct Stream<'a> {
    bytes: &'a Bytes,
    at: usize,
    limit: usize,
}

impl<'a> Stream<'a> {
    fn pickle(&mut self) -> Result<Pickle<'a>, String> {
        let pickle = Pickle::walk(&self.bytes[self.at..], self.limit)?;
        self.at += pickle.length;
        Ok(pickle)
    }

    fn count(&mut self) -> Result<usize, String> {
        let pickle = self.pickle()?;
        pickle.size(pickle.root).ok_or_else(|| "a count is no number".to_owned())
    }

    fn take(&mut self, length: usize) -> Result<Bytes, String> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or("it is cut short")?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    fn size(&mut self) -> Result<usize, String> {
        let word = self.take(8)?;
        let number = i64::from_le_bytes(word[..].try_into().expect("8 bytes"));
        usize::try_from(number).map_err(|_| format!("{number} is no size"))
    }
}

/// Storages by key, and the classes they are of.
type StoragesFound = (HashMap<String, Bytes>, HashMap<String, String>);

/// The storages of a file. A view of a storage is a part of it.
fn read_storages(bytes: &Bytes, limit: usize) -> Result<StoragesFound, String> {
    let named = |why: String| format!("storages: {why}");
    let mut stream = Stream { bytes, at: 0, limit };
    let (mut stretches, mut kinds) = (HashMap::new(), HashMap::new());
    let mut element_of = HashMap::new();
    for _ in 0..stream.count().map_err(named)? {
        let entry = stream.pickle().map_err(named)?;
        let fields = entry.items(entry.root).map(<[u32]>::to_vec);
        let Some([key, _, class]) = fields.as_deref() else { return Err(named("an entry is no triple".to_owned())) };
        let (key, class) = entry.key(*key).zip(entry.name(*class)).ok_or_else(|| named("it has no key".to_owned()))?;
        let element = storage_type(class.1).1.ok_or_else(|| named(format!("unknown type `{}`", class.1)))?;
        let count = stream.size().map_err(named)?;
        let data = stream.take(count.checked_mul(element).ok_or("storages: more than memory")?).map_err(named)?;
        stretches.insert(key.clone(), data);
        element_of.insert(key.clone(), element);
        kinds.insert(key, class.1.to_owned());
    }
    let views = stream.pickle().map_err(named)?;
    for view in views.items(views.root).unwrap_or_default() {
        let Some([target, root, offset, count]) = views.items(*view) else { continue };
        let place = views.key(*target).zip(views.key(*root)).zip(views.size(*offset).zip(views.size(*count)));
        let Some(((target, root), (offset, count))) = place else { continue };
        let (Some(whole), Some(element)) = (stretches.get(&root), element_of.get(&root)) else { continue };
        let range = offset.checked_mul(*element).zip(offset.checked_add(count).and_then(|e| e.checked_mul(*element)));
        let range = range.filter(|(_, end)| *end <= whole.len()).ok_or("storages: a view is too long")?;
        let part = whole.slice(range.0..range.1);
        stretches.insert(target.clone(), part);
        if let Some(kind) = kinds.get(&root).cloned() {
            kinds.insert(target, kind);
        }
    }
    Ok((stretches, kinds))
}

/// Tensors by key. Those of element types that are not known are left out.
fn read_tensors(
    bytes: &Bytes,
    kinds: &HashMap<String, String>,
    limit: usize,
) -> Result<HashMap<String, TensorPlan>, String> {
    let named = |why: String| format!("tensors: {why}");
    let mut stream = Stream { bytes, at: 0, limit };
    let mut tensors = HashMap::new();
    for _ in 0..stream.count().map_err(named)? {
        let entry = stream.pickle().map_err(named)?;
        let fields = entry.items(entry.root).map(<[u32]>::to_vec);
        let Some([key, storage, _]) = fields.as_deref() else { return Err(named("an entry is no triple".to_owned())) };
        let keys = entry.key(*key).zip(entry.key(*storage));
        let (key, storage) = keys.ok_or_else(|| named("it has no key".to_owned()))?;
        let axes = stream.take(8).map_err(named)?[0];
        let mut sizes = |count: u8| (0..count).map(|_| stream.size().map_err(named)).collect::<Result<Vec<_>, _>>();
        let (shape, strides, offset) = (sizes(axes)?, sizes(axes)?, sizes(1)?[0]);
        if let Some(Ok(dtype)) = kinds.get(&storage).map(|kind| storage_type(kind).0) {
            tensors.insert(key, TensorPlan::of_storage(storage, dtype, shape, strides, offset));
        }
    }
    Ok(tensors)
}
