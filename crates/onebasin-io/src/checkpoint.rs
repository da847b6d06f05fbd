//! A checkpoint: tensors, header entries, and the files they lie in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use onebasin_core::{Params, Storage, Tensor};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::format::Gathered;
use crate::input::InputFile;
use crate::metadata::Metadata;

/// A checkpoint: its tensors, its header entries, and what identifies its bytes.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Where it was read from: a file, an index of shards, or their folder.
    pub path: PathBuf,
    /// Its tensors; those of safetensors are read when they are first looked at.
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
    /// What it was read from; none where shards have no index.
    pub(crate) file: Option<Arc<InputFile>>,
}

/// One file of a checkpoint.
#[derive(Debug, Clone)]
pub(crate) enum FilePart {
    File(Arc<InputFile>),
    /// Bytes that were handed over.
    Memory(Bytes),
}

impl FilePart {
    /// Its name in the folder.
    fn name(&self) -> String {
        let path = self.file().and_then(|file| file.path().file_name());
        path.map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    pub(crate) fn file(&self) -> Option<&Arc<InputFile>> {
        match self {
            Self::File(file) => Some(file),
            Self::Memory(_) => None,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.len(),
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Fills `to` with the bytes from `offset` on.
    pub(crate) fn fill(&self, offset: u64, to: &mut [u8]) -> Result<()> {
        match self {
            Self::File(file) => file.fill(offset, to),
            Self::Memory(bytes) => {
                to.copy_from_slice(&bytes[offset as usize..][..to.len()]);
                Ok(())
            }
        }
    }

    /// Where a tensor begins, if it lies in this file.
    fn locate(&self, tensor: &Tensor) -> Option<u64> {
        match self {
            Self::File(file) => {
                let (storage, offset) = tensor.place()?;
                std::ptr::addr_eq(Arc::as_ptr(storage), Arc::as_ptr(file)).then_some(offset)
            }
            Self::Memory(bytes) => {
                let data = tensor.place().is_none().then(|| tensor.bytes())?;
                let offset = (data.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
                (offset + data.len() <= bytes.len()).then_some(offset as u64)
            }
        }
    }

    /// A tensor of the bytes at `place`, as many as its shape needs.
    pub(crate) fn tensor(
        &self,
        dtype: onebasin_core::DType,
        shape: &[usize],
        place: std::ops::Range<usize>,
    ) -> onebasin_core::error::Result<Tensor> {
        match self {
            Self::File(file) => {
                let storage: Arc<dyn Storage> = file.clone();
                Tensor::stored(dtype, shape, storage, place.start as u64)
            }
            Self::Memory(bytes) => Tensor::new(dtype, shape, bytes.slice(place)),
        }
    }

    /// SHA-256 of it from where `hash` is up to `end`.
    pub(crate) fn hash(&self, hash: &mut Sha256, mut from: u64, end: u64) -> Result<()> {
        const CHUNK: u64 = 1 << 20;
        let mut chunk = vec![0; CHUNK.min(end - from) as usize];
        while from < end {
            let chunk = &mut chunk[..CHUNK.min(end - from) as usize];
            self.fill(from, chunk)?;
            hash.update(&*chunk);
            from += chunk.len() as u64;
        }
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
    /// Cost: one pass over the bytes the first time, unless a streamed merge has met them already. A file that was cut
    /// short has the digest of no file; [`Self::unchanged`] then says so.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| {
            let digests = self.files.par_iter().map(|part| {
                let mut hash = Sha256::new();
                let whole = part.hash(&mut hash, 0, part.len());
                whole.map_or_else(|_| String::new(), |()| hex::encode(hash.finalize()))
            });
            self.combined(&digests.collect::<Vec<String>>())
        })
    }

    /// Passes only if its files are still what they were when they were opened: neither cut short, nor written to, nor
    /// replaced.
    ///
    /// # Errors
    /// [`Error::Changed`] names the first file that is not.
    pub fn unchanged(&self) -> Result<()> {
        self.inputs().try_for_each(|file| file.unchanged())
    }

    /// The files it was read from: one, or the shards and their index.
    pub fn files(&self) -> Vec<PathBuf> {
        self.inputs().map(|file| file.path().to_owned()).collect()
    }

    fn inputs(&self) -> impl Iterator<Item = &Arc<InputFile>> {
        self.files.iter().filter_map(FilePart::file).chain(self.index.iter().filter_map(|index| index.file.as_ref()))
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
        self.files.iter().enumerate().find_map(|(k, part)| part.locate(tensor).map(|offset| (k, offset)))
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
        // Read anew, so that it is not kept.
        let own = tensor.rows_anew(None).unwrap_or_else(|_| (*tensor).clone());
        let digest = hex::encode(Sha256::digest(own.bytes()));
        format!("{name} {} {:?} {digest}\n", tensor.dtype(), tensor.shape())
    };
    let lines: Vec<String> = tensors.par_iter().map(line).collect();
    hex::encode(Sha256::digest(lines.concat()))
}
