//! Tensor data in files beside the model.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::Checked;
use super::proto::{StringStringEntryProto, TensorHead};
use crate::error::{Error, Result};
use crate::input::InputFile;
use crate::place::folder_of;

/// Entries of a tensor's external data that belong to the file it lies in.
pub(super) const LOCATION: &str = "location";
pub(super) const OFFSET: &str = "offset";
pub(super) const LENGTH: &str = "length";
pub(super) const CHECKSUM: &str = "checksum";

/// The files that a model's tensors lie in, read once each.
#[derive(Debug, Clone, Default)]
pub(super) struct Externals {
    files: BTreeMap<String, (Bytes, Arc<InputFile>)>,
}

impl Externals {
    /// Whether a tensor of this location lies in a file of its own.
    pub(super) fn holds(data_location: i32) -> bool {
        data_location == 1
    }

    /// Whether the model is a single file.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What the files hold, in order of location.
    pub(super) fn contents(&self) -> impl Iterator<Item = &Bytes> {
        self.files.values().map(|(bytes, _)| bytes)
    }

    /// The files, in order of location.
    pub(super) fn files(&self) -> impl Iterator<Item = &InputFile> {
        self.files.values().map(|(_, file)| &**file)
    }

    /// Reads the file of a tensor, and checks that its data lies within.
    pub(super) fn open(&mut self, model: &Path, tensor: &TensorHead) -> Result<()> {
        if !Self::holds(tensor.data_location) {
            return Ok(());
        }
        let location = entry(&tensor.external_data, LOCATION).unwrap_or_default();
        if !self.files.contains_key(location) {
            let fail = |why| external(model, &tensor.name, location, why);
            let file = InputFile::open(&resolve(model, location).map_err(fail)?)?;
            self.files.insert(location.to_owned(), (file.all()?, Arc::new(file)));
        }
        self.data(model, &tensor.name, &tensor.external_data, None).map(drop)
    }

    /// The data of a tensor, `expected` bytes of it if that is known.
    pub(super) fn data(
        &self,
        model: &Path,
        tensor: &str,
        entries: &[StringStringEntryProto],
        expected: Option<usize>,
    ) -> Result<Bytes> {
        let location = entry(entries, LOCATION).unwrap_or_default();
        let fail = |why: String| external(model, tensor, location, why);
        let number = |key| match entry(entries, key).map(str::parse::<usize>) {
            Some(Err(_)) => Err(fail(format!("its {key} is no number of bytes"))),
            found => Ok(found.and_then(std::result::Result::ok)),
        };
        let (file, _) =
            self.files.get(location).ok_or_else(|| fail("the file was not opened with the model".to_owned()))?;
        let offset = number(OFFSET)?.unwrap_or(0);
        let length = number(LENGTH)?;
        if let (Some(length), Some(expected)) = (length, expected)
            && length != expected
        {
            return Err(fail(format!("the tensor needs {expected} bytes, its external data has a length of {length}")));
        }
        let rest = file.len().checked_sub(offset);
        let end = length.or(expected).or(rest).and_then(|length| offset.checked_add(length));
        match end {
            Some(end) if end <= file.len() => Ok(file.slice(offset..end)),
            _ => Err(fail(format!(
                "the tensor needs {} bytes from byte {offset} on, the file has {} in all; it is truncated or not the \
                 one saved with the model",
                length.or(expected).unwrap_or(0),
                file.len()
            ))),
        }
    }
}

/// The value of an entry; of several with one key the last counts, as for ONNX itself.
fn entry<'a>(entries: &'a [StringStringEntryProto], key: &str) -> Option<&'a str> {
    entries.iter().rev().find(|e| e.key == key).map(|e| e.value.as_str())
}

/// The file of a location, if it lies in the folder of the model.
fn resolve(model: &Path, location: &str) -> Checked<PathBuf> {
    if location.is_empty() {
        return Err("no location is given; save the model again".to_owned());
    }
    let relative = Path::new(location);
    if !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        let why = "must be a path below the model's folder, without `..`; move the data there and save the model again";
        return Err(why.to_owned());
    }
    let real = |path: &Path| {
        path.canonicalize().map_err(|e| format!("cannot open {}: {e}; it must lie beside the model", path.display()))
    };
    let folder = real(folder_of(model))?;
    let file = real(&folder.join(relative))?;
    if !file.starts_with(&folder) {
        return Err("a symbolic link leads out of the model's folder; copy the file there".to_owned());
    }
    if !file.is_file() {
        return Err(format!("{} is not a regular file; copy the data there", file.display()));
    }
    Ok(file)
}

fn external(model: &Path, tensor: &str, location: &str, why: String) -> Error {
    Error::ExternalData { path: model.to_owned(), tensor: tensor.to_owned(), location: location.to_owned(), why }
}
