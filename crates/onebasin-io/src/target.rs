//! Where a checkpoint is written: one file, or a folder with the shards of another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use onebasin_core::Params;
use serde_json::json;

use crate::atomic::{GoOn, Staged, folder_of, write_atomic_while};
use crate::checkpoint::{Checkpoint, Index};
use crate::error::{Error, Result};
use crate::folder::{WHOLE, checkpoints};
use crate::metadata::Metadata;
use crate::write::{TensorEntry, Writing};

/// Where a checkpoint is written.
#[derive(Debug, Clone)]
pub struct Target {
    path: PathBuf,
    kind: TargetKind,
}

#[derive(Debug, Clone)]
enum TargetKind {
    File,
    /// A folder with one file.
    Folder,
    Shards(Index),
}

impl Target {
    /// One file.
    pub fn file(path: &Path) -> Self {
        Self { path: path.to_owned(), kind: TargetKind::File }
    }

    /// What `like` is: a file, or a folder with the same shards and index (`model.safetensors` where there are none). A `path`
    /// that ends in `.safetensors` is always one file.
    ///
    /// # Errors
    /// If the folder that `path` is to lie in is missing, a file is to be written where a folder is, or a folder holds files
    /// of another checkpoint.
    pub fn like(path: &Path, like: &Checkpoint) -> Result<Self> {
        let parent = folder_of(path);
        if !parent.is_dir() {
            return Err(Error::NoFolder { path: path.to_owned(), folder: parent.to_owned() });
        }
        if !like.is_folder() || path.extension().is_some_and(|e| e == "safetensors") {
            if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                return Err(Error::IsFolder { path: path.to_owned() });
            }
            return Ok(Self::file(path));
        }
        let kind = like.index.clone().map_or(TargetKind::Folder, TargetKind::Shards);
        let target = Self { path: path.to_owned(), kind };
        if path.is_dir() {
            let mut found = checkpoints(path)?;
            found.retain(|name| !target.owns(name));
            if !found.is_empty() {
                return Err(Error::OtherCheckpoint { path: path.to_owned(), found });
            }
        }
        Ok(target)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        !matches!(self.kind, TargetKind::File)
    }

    /// Writes tensors that are in memory; the files appear when all are on disk.
    ///
    /// # Errors
    /// As [`write_atomic`](crate::write_atomic).
    pub fn write(&self, params: &Params, metadata: &Metadata) -> Result<()> {
        self.write_while(params, metadata, &|| true)
    }

    /// The same, given up as soon as `go_on` says no.
    ///
    /// # Errors
    /// As [`write_atomic_while`].
    pub fn write_while(&self, params: &Params, metadata: &Metadata, go_on: &GoOn<'_>) -> Result<()> {
        let entries = params.iter().map(|(name, t)| TensorEntry::new(name, t.dtype(), t.shape())).collect();
        let staging = Staging::new(self, entries, metadata, go_on)?;
        params.iter().try_for_each(|(name, tensor)| staging.write_at(name, 0, tensor.bytes()))?;
        staging.finish(metadata)
    }

    /// Whether a file of the folder is one of its own.
    fn owns(&self, name: &str) -> bool {
        match &self.kind {
            TargetKind::File => false,
            TargetKind::Folder => name == WHOLE,
            TargetKind::Shards(index) => name == index.name || index.weight_map.values().any(|shard| shard == name),
        }
    }

    /// The file that a tensor is written to.
    fn file_of(&self, tensor: &str) -> PathBuf {
        match &self.kind {
            TargetKind::File => self.path.clone(),
            TargetKind::Folder => self.path.join(WHOLE),
            TargetKind::Shards(index) => self.path.join(index.weight_map.get(tensor).map_or(WHOLE, String::as_str)),
        }
    }
}

/// A checkpoint on its way to a target: hidden siblings of its files, removed unless [`Self::finish`] is reached.
pub(crate) struct Staging<'a> {
    target: &'a Target,
    go_on: &'a GoOn<'a>,
    files: Vec<Writing<'a>>,
    /// File and offset of every tensor.
    places: BTreeMap<String, (usize, u64)>,
    total: u64,
    made: Option<MadeFolder>,
}

impl<'a> Staging<'a> {
    /// Begins all files. Their headers will have entries as long as those of `metadata`.
    pub(crate) fn new(
        target: &'a Target,
        entries: Vec<TensorEntry>,
        metadata: &Metadata,
        go_on: &'a GoOn<'a>,
    ) -> Result<Self> {
        let total = entries.iter().map(TensorEntry::len).sum();
        let made = if target.is_folder() { MadeFolder::make(&target.path)? } else { None };
        let mut by_file: BTreeMap<PathBuf, Vec<TensorEntry>> = BTreeMap::new();
        for entry in entries {
            by_file.entry(target.file_of(&entry.name)).or_default().push(entry);
        }
        if by_file.is_empty() {
            by_file.insert(target.file_of(""), Vec::new());
        }
        let files = by_file.into_iter().map(|(path, entries)| Writing::new(&path, entries, metadata, total, go_on));
        let files = files.collect::<Result<Vec<_>>>()?;
        let numbered = files.iter().enumerate();
        let places = numbered.flat_map(|(k, file)| file.places().map(move |(name, at)| (name.to_owned(), (k, at))));
        let places = places.collect();
        Ok(Self { target, go_on, files, places, total, made })
    }

    /// Writes bytes of a tensor, from its byte `offset` on.
    pub(crate) fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let (file, begin) = self.places[name];
        self.files[file].write_at(begin + offset, bytes)
    }

    /// Writes the headers and the index, and when all is on disk puts the files in their places, the index last: a folder
    /// without its index holds no checkpoint, so one that is killed meanwhile is not taken for a whole one.
    pub(crate) fn finish(self, metadata: &Metadata) -> Result<()> {
        let files: Vec<Staged<'_>> = self.files.into_iter().map(|file| file.finish(metadata)).collect::<Result<_>>()?;
        let index = match &self.target.kind {
            TargetKind::Shards(index) => {
                let text = json!({ "metadata": { "total_size": self.total }, "weight_map": index.weight_map });
                Some((self.target.path.join(&index.name), format!("{text:#}\n")))
            }
            TargetKind::File | TargetKind::Folder => None,
        };
        if let Some((path, _)) = &index
            && path.exists()
        {
            std::fs::remove_file(path).map_err(|e| Error::io(path, "replace", e))?;
        }
        if let Some(made) = self.made {
            made.keep();
        }
        files.into_iter().try_for_each(Staged::commit)?;
        if let Some((path, text)) = index {
            write_atomic_while(&path, self.go_on, |out| out.write_all(text.as_bytes()))?;
        }
        Ok(())
    }
}

/// A folder that was made for a checkpoint, removed if it stays empty.
struct MadeFolder(PathBuf);

impl MadeFolder {
    fn make(path: &Path) -> Result<Option<Self>> {
        if path.is_dir() {
            return Ok(None);
        }
        std::fs::create_dir(path).map_err(|e| Error::io(path, "create", e))?;
        Ok(Some(Self(path.to_owned())))
    }

    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for MadeFolder {
    fn drop(&mut self) {
        // A folder that is not empty by now is somebody's, and stays.
        std::fs::remove_dir(&self.0).ok();
    }
}

/// Writes a safetensors file atomically, tensor by tensor.
///
/// Bytes are determined by the tensors and entries alone: tensors lie in order of element size (largest first, so that
/// every one is aligned), then of name; header entries in order of key.
///
/// # Errors
/// As [`write_atomic`](crate::write_atomic).
pub fn write(path: &Path, params: &Params, metadata: &Metadata) -> Result<()> {
    Target::file(path).write(params, metadata)
}
