//! A checkpoint: tensors, header entries, and the files they lie in.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use onebasin_core::{Params, Tensor};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::format::Gathered;
use crate::metadata::Metadata;
use crate::position::read_exact_at;

/// A checkpoint: its tensors, its header entries, and what identifies its bytes.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Where it was read from: a file, an index of shards, or their folder.
    pub path: PathBuf,
    /// Its tensors, still in the memory map where the format lets them.
    pub params: Params,
    /// The text entries of its header (of all its shards' headers); formats other than safetensors have none.
    pub metadata: Metadata,
    /// The part of a training checkpoint that the tensors are, named by the keys that lead to it; none if they are all that
    /// the file holds.
    pub part: Option<String>,
    /// The parts that could have been taken, in the order of the file. [`read_part`](crate::read_part()) takes another one.
    pub parts: Vec<String>,
    /// What lies among the tensors and was passed over: its name, and why. Tensors of other element types, NumPy arrays
    /// beside torch tensors, states of a training, tensors in shards that their index leaves out.
    pub passed_over: Vec<(String, String)>,
    pub(crate) files: Vec<FilePart>,
    pub(crate) index: Option<Index>,
    pub(crate) digest: OnceLock<String>,
}

/// What an index of shards says.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    /// Its name in the folder.
    pub(crate) name: String,
    /// The shard of every tensor.
    pub(crate) weight_map: BTreeMap<String, String>,
}

/// One file of a checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct FilePart {
    pub(crate) path: PathBuf,
    /// All of it, mapped.
    pub(crate) bytes: Bytes,
    /// The same file to read from, where the bytes came from one.
    pub(crate) file: Option<Arc<File>>,
}

impl FilePart {
    pub(crate) fn new(path: &Path, bytes: Bytes, file: Option<File>) -> Self {
        Self { path: path.to_owned(), bytes, file: file.map(Arc::new) }
    }

    /// Its name in the folder.
    fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    /// Reads bytes of the file without touching the map, so that they do not count as memory of this process.
    pub(crate) fn read_at(&self, offset: u64, to: &mut [u8]) -> std::io::Result<()> {
        if let Some(file) = &self.file {
            return read_exact_at(file, to, offset);
        }
        to.copy_from_slice(&self.bytes[offset as usize..][..to.len()]);
        Ok(())
    }
}

impl Checkpoint {
    pub(crate) fn new(path: &Path, params: Params, metadata: Metadata, files: Vec<FilePart>) -> Self {
        Self {
            path: path.to_owned(),
            params,
            metadata,
            part: None,
            parts: Vec::new(),
            passed_over: Vec::new(),
            files,
            index: None,
            digest: OnceLock::new(),
        }
    }

    /// What a reader gathered.
    pub(crate) fn gathered(path: &Path, gathered: Gathered, metadata: Metadata, files: Vec<FilePart>) -> Self {
        let Gathered { params, passed_over, part, parts } = gathered;
        Self { part, parts, passed_over, ..Self::new(path, params, metadata, files) }
    }

    /// Tensors that came from elsewhere, identified by `digest`.
    pub fn identified(path: &Path, params: Params, metadata: Metadata, digest: String) -> Self {
        Self { digest: digest.into(), ..Self::new(path, params, metadata, Vec::new()) }
    }

    /// The same file with other tensors: some of its own, or under other names.
    #[must_use]
    pub fn with_params(&self, params: Params) -> Self {
        Self { params, ..self.clone() }
    }

    /// SHA-256 of the file, in lower-case hexadecimal. For shards: of what `sha256sum` prints for all of them, in order
    /// of name.
    ///
    /// Cost: one pass over the bytes the first time, unless a streamed merge has met them already.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| {
            let digests = self.files.par_iter().map(|part| hex::encode(Sha256::digest(&part.bytes)));
            self.combined(&digests.collect::<Vec<String>>())
        })
    }

    /// Whether it is a folder, or named by the index of one.
    pub(crate) fn is_folder(&self) -> bool {
        self.index.is_some() || self.path.is_dir()
    }

    pub(crate) fn combined(&self, digests: &[String]) -> String {
        if let ([digest], None) = (digests, &self.index) {
            return digest.clone();
        }
        let lines = self.files.iter().zip(digests).map(|(part, digest)| format!("{digest}  {}\n", part.name()));
        hex::encode(Sha256::digest(lines.collect::<String>()))
    }

    /// The file a tensor lies in, and where, if its bytes are those of a file.
    pub(crate) fn locate(&self, tensor: &Tensor) -> Option<(usize, u64)> {
        let at = tensor.bytes().as_ptr() as usize;
        self.files.iter().enumerate().find_map(|(k, part)| {
            let offset = at.checked_sub(part.bytes.as_ptr() as usize)?;
            (offset + tensor.bytes().len() <= part.bytes.len()).then_some((k, offset as u64))
        })
    }

    pub(crate) fn core_error(&self, source: onebasin_core::Error) -> Error {
        Error::Core { path: self.path.clone(), source }
    }
}

/// SHA-256 of tensors, whatever files they lie in: of a line `NAME TYPE SHAPE SHA-256` for each, in order of name.
///
/// Cost: one pass over the bytes, tensors side by side on threads.
///
/// ```
/// use onebasin_core::{Params, Tensor};
/// let net = |v: f32| -> Result<Params, onebasin_core::Error> {
///     Ok(Params::from_iter([("bias".to_owned(), Tensor::from_f32(&[1], vec![v])?)]))
/// };
/// assert_eq!(onebasin_io::tensor_digest(&net(1.0)?), onebasin_io::tensor_digest(&net(1.0)?));
/// assert_ne!(onebasin_io::tensor_digest(&net(1.0)?), onebasin_io::tensor_digest(&net(2.0)?));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn tensor_digest(params: &Params) -> String {
    let tensors: Vec<(&str, &Tensor)> = params.iter().collect();
    let line = |(name, tensor): &(&str, &Tensor)| {
        let digest = hex::encode(Sha256::digest(tensor.bytes()));
        format!("{name} {} {:?} {digest}\n", tensor.dtype(), tensor.shape())
    };
    let lines: Vec<String> = tensors.par_iter().map(line).collect();
    hex::encode(Sha256::digest(lines.concat()))
}
