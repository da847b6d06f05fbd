//! Where a checkpoint is written: one file, or a folder with the shards of another.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use onebasin_core::{DType, Params};
use serde_json::json;

use crate::atomic::{Check, Draft, GoOn, Landing};
use crate::checkpoint::{Checkpoint, Index};
use crate::companions::{CARD, card, companions, written};
use crate::error::{Error, Result};
use crate::folder::{WHOLE, checkpoints};
use crate::landing::FolderLanding;
use crate::metadata::{Metadata, PROVENANCE};
use crate::place::{Place, folder_of, follow, spares};
use crate::write::{TensorEntry, Writing};

/// Where a checkpoint is written.
#[derive(Debug, Clone)]
pub struct Target {
    path: PathBuf,
    kind: TargetKind,
    /// The folder whose configuration, tokenizer and so on go along, and their names.
    beside: Option<(PathBuf, Vec<String>)>,
    /// The head is no longer the embedding, whatever the configuration beside says.
    untied: bool,
    /// Further files, and what is in them.
    made: Vec<(String, Vec<u8>)>,
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
        Self { path: path.to_owned(), kind: TargetKind::File, beside: None, untied: false, made: Vec::new() }
    }

    /// A folder with one file of weights, and files beside it such as a `config.json`.
    ///
    /// # Errors
    /// Those of [`Self::like`].
    ///
    /// ```
    /// use onebasin_core::{Params, Tensor};
    /// use onebasin_io::{Metadata, Target, read};
    /// let place = tempfile::tempdir()?;
    /// let target = Target::folder(&place.path().join("net"), vec![("config.json".to_owned(), b"{}".to_vec())])?;
    /// let params: Params = [("w".to_owned(), Tensor::from_f32(&[1], vec![0.5])?)].into_iter().collect();
    /// target.write(&params, &Metadata::default())?;
    /// assert_eq!(read(&place.path().join("net"))?.params, params);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn folder(path: &Path, made: Vec<(String, Vec<u8>)>) -> Result<Self> {
        let parent = folder_of(path);
        if !parent.is_dir() {
            return Err(Error::NoFolder { path: path.to_owned(), folder: parent.to_owned() });
        }
        Self { path: path.to_owned(), kind: TargetKind::Folder, beside: None, untied: false, made }.free()
    }

    /// What `like` is: a file, or a folder with the same shards and index (`model.safetensors` where there are none). A `path`
    /// that ends in `.safetensors` is always one file. Where the folder has a `config.json`, what libraries read beside weights
    /// (configuration, tokenizer, chat template, licence, modules of its own) goes along, and a model card is written.
    ///
    /// # Errors
    /// If the folder that `path` is to lie in is missing, a file is to be written where a folder is or the other way round, or
    /// a folder holds files of another checkpoint.
    pub fn like(path: &Path, like: &Checkpoint) -> Result<Self> {
        let parent = folder_of(path);
        if !parent.is_dir() {
            return Err(Error::NoFolder { path: path.to_owned(), folder: parent.to_owned() });
        }
        if !like.is_folder() || path.extension().is_some_and(|e| e == "safetensors") {
            Place::of(path)?;
            return Ok(Self::file(path));
        }
        let kind = like.index.clone().map_or(TargetKind::Folder, TargetKind::Shards);
        let folder = if like.path.is_dir() { &*like.path } else { folder_of(&like.path) };
        let names = companions(folder);
        let beside = (!names.is_empty()).then(|| (folder.to_owned(), names));
        let target = Self { path: path.to_owned(), kind, beside, untied: false, made: Vec::new() };
        target.free()
    }

    /// The same, if its folder holds nothing of another checkpoint.
    fn free(self) -> Result<Self> {
        let path = &self.path;
        if path.is_dir() {
            let mut found = checkpoints(path)?;
            found.retain(|name| !self.owns(name));
            if !found.is_empty() {
                return Err(Error::OtherCheckpoint { path: path.clone(), found });
            }
            let folder = self.files().find(|file| file.is_dir());
            folder.map_or(Ok(self), |path| Err(Error::IsFolder { path }))
        } else if path.exists() {
            Err(Error::NoFolderThere { path: path.clone() })
        } else {
            Ok(self)
        }
    }

    /// The same, where the head of the network is no longer its embedding: a configuration that is written beside it says so.
    ///
    /// ```
    /// # use std::path::Path;
    /// use onebasin_io::Target;
    /// assert_eq!(Target::file(Path::new("a.safetensors")).untied(true).path(), Path::new("a.safetensors"));
    /// ```
    #[must_use]
    pub fn untied(self, untied: bool) -> Self {
        Self { untied, ..self }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        !matches!(self.kind, TargetKind::File)
    }

    /// Passes only if it can be written to, before hours of work for it. Nothing is left there.
    ///
    /// # Errors
    /// As [`write_atomic`](crate::write_atomic).
    pub fn probe(&self) -> Result<()> {
        match self.kind {
            TargetKind::File => crate::atomic::probe(&self.path),
            TargetKind::Folder | TargetKind::Shards(_) => FolderLanding::probe(&self.path),
        }
    }

    /// Passes only if nothing that is written there is one of these files or folders, by whatever links or names. Inputs are
    /// what [`Checkpoint::files`] and [`OnnxModel::files`](crate::OnnxModel::files) tell, and the paths they were opened by.
    ///
    /// # Errors
    /// [`Error::IsInput`] names both.
    pub fn spares(&self, inputs: &[PathBuf]) -> Result<()> {
        spares(self.files().chain([self.path.clone()]), inputs)
    }

    /// Writes tensors that are in memory; the files appear when all are on disk.
    ///
    /// # Errors
    /// As [`write_atomic`](crate::write_atomic).
    pub fn write(&self, params: &Params, metadata: &Metadata) -> Result<()> {
        self.write_while(params, metadata, &|| true, &|_| Ok(()))
    }

    /// The same, given up as soon as `go_on` says no, and put in its place only if `check` agrees.
    ///
    /// # Errors
    /// As [`write_atomic_while`](crate::write_atomic_while), and [`Error::Refused`].
    pub fn write_while(&self, params: &Params, metadata: &Metadata, go_on: &GoOn<'_>, check: &Check<'_>) -> Result<()> {
        let entries = params.iter().map(|(name, t)| TensorEntry::new(name, t.dtype(), t.shape())).collect();
        let staging = Staging::new(self, entries, metadata, go_on)?;
        for (name, tensor) in params.iter() {
            // Read anew, so that what was written is not kept.
            let fail = |source| Error::Core { path: self.path.clone(), source };
            let own = tensor.rows_anew(None).map_err(fail)?;
            staging.write_at(name, 0, own.read().map_err(fail)?)?;
        }
        staging.finish(metadata, check)
    }

    /// Whether a file of the folder is one of its own.
    fn owns(&self, name: &str) -> bool {
        let beside = self.beside.iter().flat_map(|(_, names)| names);
        let mut along = beside.chain(self.made.iter().map(|(name, _)| name)).peekable();
        (along.peek().is_some() && name == CARD)
            || along.any(|own| own == name)
            || match &self.kind {
                TargetKind::File => false,
                TargetKind::Folder => name == WHOLE,
                TargetKind::Shards(index) => name == index.name || index.weight_map.values().any(|shard| shard == name),
            }
    }

    /// The files that are written; beside an ONNX model the one of its external data.
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let inside = |name: &String| self.path.join(name);
        let made = self.made.iter().map(|(name, _)| name);
        let beside = self.beside.iter().flat_map(|(_, names)| names).chain(made).map(inside).collect::<Vec<_>>();
        let of_kind = match &self.kind {
            TargetKind::File => vec![self.path.clone(), data_file(&self.path)],
            TargetKind::Folder => vec![self.path.join(WHOLE)],
            TargetKind::Shards(index) => index.weight_map.values().chain([&index.name]).map(inside).collect(),
        };
        of_kind.into_iter().chain(beside)
    }

    /// The name of the file that a tensor is written to.
    fn file_of(&self, tensor: &str) -> OsString {
        match &self.kind {
            TargetKind::File => OsString::new(),
            TargetKind::Folder => WHOLE.into(),
            TargetKind::Shards(index) => shard_of(index, tensor).into(),
        }
    }
}

/// The shard of a tensor; of one that the index does not name, the last.
fn shard_of<'i>(index: &'i Index, tensor: &str) -> &'i str {
    let last = || index.weight_map.values().max().map_or(WHOLE, String::as_str);
    index.weight_map.get(tensor).map_or_else(last, String::as_str)
}

/// The file beside an ONNX model that its external data is written to.
pub(crate) fn data_file(model: &Path) -> PathBuf {
    let mut name = model.file_name().unwrap_or_default().to_owned();
    name.push(".data");
    model.with_file_name(name)
}

/// A checkpoint on its way to a target, removed unless [`Self::finish`] is reached.
pub(crate) struct Staging<'a> {
    target: &'a Target,
    go_on: &'a GoOn<'a>,
    files: Vec<Writing<'a>>,
    /// File and offset of every tensor.
    places: BTreeMap<String, (usize, u64)>,
    names: Vec<OsString>,
    total: u64,
    /// Entries of all tensors, and the element type that all of floating-point have.
    count: u64,
    dtype: Option<DType>,
    landing: AnyLanding,
}

enum AnyLanding {
    File(Landing),
    Folder(FolderLanding),
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
        let count = entries.iter().map(TensorEntry::count).sum();
        let mut floats = entries.iter().map(|entry| entry.dtype).filter(|dtype| dtype.is_float());
        let dtype = floats.next().filter(|first| floats.all(|dtype| dtype == *first));
        let landing = if target.is_folder() {
            AnyLanding::Folder(FolderLanding::at(&target.path)?)
        } else {
            AnyLanding::File(Landing::at(&target.path)?)
        };
        let mut by_file: BTreeMap<OsString, Vec<TensorEntry>> = BTreeMap::new();
        for entry in entries {
            by_file.entry(target.file_of(&entry.name)).or_default().push(entry);
        }
        if by_file.is_empty() {
            by_file.insert(target.file_of(""), Vec::new());
        }
        let (mut files, mut names) = (Vec::new(), Vec::new());
        for (name, entries) in by_file {
            let draft = match &landing {
                AnyLanding::File(landing) => {
                    let end = follow(&target.path)?;
                    Draft::create(&end, &landing.draft(&landing.place.name()), go_on)?
                }
                AnyLanding::Folder(landing) => Draft::create(&target.path.join(&name), &landing.draft(&name), go_on)?,
            };
            files.push(Writing::new(draft, entries, metadata, total));
            names.push(name);
        }
        let numbered = files.iter().enumerate();
        let places = numbered.flat_map(|(k, file)| file.places().map(move |(name, at)| (name.to_owned(), (k, at))));
        let places = places.collect();
        Ok(Self { target, go_on, files, places, names, total, count, dtype, landing })
    }

    /// Writes bytes of a tensor, from its byte `offset` on.
    pub(crate) fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let (file, begin) = self.places[name];
        self.files[file].write_at(begin + offset, bytes)
    }

    /// Writes the headers and the index, and when all is on disk and `check` agrees puts it in its place.
    pub(crate) fn finish(mut self, metadata: &Metadata, check: &Check<'_>) -> Result<()> {
        self.files.into_iter().try_for_each(|file| file.finish(metadata))?;
        let landing = match self.landing {
            AnyLanding::File(landing) => {
                landing.check(check)?;
                let name = landing.place.name();
                return landing.land(&[name], self.go_on);
            }
            AnyLanding::Folder(landing) => landing,
        };
        if let TargetKind::Shards(index) = &self.target.kind {
            let sizes = json!({ "total_size": self.total, "total_parameters": self.count });
            let places = self.places.keys().map(|tensor| (tensor.clone(), shard_of(index, tensor).to_owned()));
            let weight_map: BTreeMap<String, String> = places.collect();
            let text = json!({ "metadata": sizes, "weight_map": weight_map });
            let (path, name) = (self.target.path.join(&index.name), OsString::from(&index.name));
            let draft = Draft::create(&path, &landing.draft(&name), self.go_on)?;
            draft.fill(|out| out.write_all(format!("{text:#}\n").as_bytes()))?;
            self.names.push(name);
        }
        let mut files = self.target.made.clone();
        if let Some((folder, names)) = &self.target.beside {
            let dtype = self.dtype.map(torch_name);
            for name in names {
                files.push((name.clone(), written(&folder.join(name), dtype, self.target.untied)?));
            }
        }
        if let (false, Some(provenance)) = (files.is_empty(), metadata.get(PROVENANCE)) {
            files.push((CARD.to_owned(), card(provenance).into_bytes()));
        }
        for (name, bytes) in files {
            let (path, name) = (self.target.path.join(&name), OsString::from(name));
            let draft = Draft::create(&path, &landing.draft(&name), self.go_on)?;
            draft.fill(|out| out.write_all(&bytes))?;
            self.names.push(name);
        }
        landing.check(check)?;
        landing.land(&self.names, &|name| self.target.owns(name))
    }
}

/// What torch calls an element type of floating-point numbers.
fn torch_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "float64",
        DType::F32 => "float32",
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::F8E4M3 => "float8_e4m3fn",
        DType::F8E5M2 => "float8_e5m2",
        DType::I64
        | DType::I32
        | DType::I16
        | DType::I8
        | DType::U64
        | DType::U32
        | DType::U16
        | DType::U8
        | DType::Bool => dtype.name(),
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
