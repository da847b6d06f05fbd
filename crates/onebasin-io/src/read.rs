//! The one entry that opens checkpoints of every format.

use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::{Checkpoint, FilePart};
use crate::error::{Error, Result};
use crate::folder::{Place, find};
use crate::foreign::recognise;
use crate::format::{Format, Gathered};
use crate::input::InputFile;
use crate::metadata::Metadata;
use crate::parts::{Branch, Naming, Untaken, take};
use crate::shards::{read_index, read_shards};
use crate::{flax, npz, safetensors, torch};

/// Bytes at the beginning of a file that tell safetensors from all else.
const HEAD: u64 = 512;
/// Bytes at the beginning of a file that tell what it is if it is no checkpoint.
const FOREIGN: u64 = 1 << 20;
/// The first bytes of a zip archive, whose format its entries tell.
const ZIP: &[u8] = b"PK";

/// Opens a checkpoint of any [`Format`], recognised by its content, then by its extension; a folder or an index of shards
/// opens as one checkpoint.
///
/// A folder holds what libraries would open: `model.safetensors` or an index of shards, `pytorch_model.bin` or its index,
/// the same of Diffusers and of adapters, variants of them (`model.fp16.safetensors`), all shards without an index; or one
/// file of any name. The index decides which tensor lies where; a whole file beside it must hold the same.
///
/// Names: as in the file; nested keys are joined by `.` in torch files, by `/` in Flax files.
///
/// Training checkpoints give their network: [`Checkpoint::part`] says which of [`Checkpoint::parts`] was taken, and
/// [`Checkpoint::passed_over`] what lies in it and cannot be used. A module that was pickled as a whole gives its parameters
/// and the buffers that its `state_dict` would have. In torch, names begin in the part; in Flax, at the root of the file.
///
/// Shapes: row-major whatever the layout in the file (views, transposes, offsets, Fortran order); big-endian numbers become
/// little-endian.
///
/// Cost: that of the headers for safetensors, whose tensors are read when they are first looked at; other formats are read
/// whole, zip archives once more for their checksums. Whether a file was changed meanwhile is what [`Checkpoint::unchanged`] says.
///
/// # Errors
/// [`Error::NoCheckpoint`] if a folder holds no checkpoint or several, [`Error::SeveralParts`] if a file holds several
/// networks, [`Error::Foreign`] if it is something else and what, [`Error::Index`] if an index and its shards disagree,
/// [`Error::Format`] if it is empty, not valid, or holds no tensors of f64, f32, f16, bf16, OCP's 8-bit floats, the integers
/// up to 64 bits, or bool. Pickled code is never run, and a file whose tensors would take far more memory than its length
/// (64 MiB + 64 times the file) is refused before memory is asked for.
///
/// ```
/// let checkpoint = onebasin_io::read("tests/goldens/legacy.pth".as_ref())?;
/// assert_eq!(checkpoint.part.as_deref(), Some("state_dict"));
/// assert_eq!(checkpoint.params.require("module.conv.weight")?.shape(), [2, 3, 2, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(path: &Path) -> Result<Checkpoint> {
    read_part(path, None)
}

/// The same, taking the part of this name: keys that lead to it, joined as names are (`student`, `models.gen`).
///
/// # Errors
/// As [`read`], and [`Error::NoPart`], which lists the parts, if there is none of this name.
///
/// ```
/// let parts = onebasin_io::read("tests/goldens/legacy.pth".as_ref())?.parts;
/// assert_eq!(parts, ["state_dict"]);
/// let error = onebasin_io::read_part("tests/goldens/legacy.pth".as_ref(), Some("student")).unwrap_err();
/// assert!(error.to_string().ends_with("has no part `student`; its parts: state_dict"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_part(path: &Path, part: Option<&str>) -> Result<Checkpoint> {
    if path.is_dir() {
        let (place, beside) = find(path)?;
        let found = match place {
            Place::File(file) => read_file(&file, part)?,
            Place::Index(index) => whole(read_index(&index)?, part)?,
            Place::Shards { files, index } => whole(read_shards(&index, &files)?, part)?,
        };
        if let Some(index) = beside
            && read_index(&index)?.params != found.params
        {
            let found = [found.path, index].map(|p| p.file_name().unwrap_or_default().to_string_lossy().into_owned());
            let why = "they hold different tensors; name the one that is meant".to_owned();
            return Err(Error::NoCheckpoint { path: path.to_owned(), why, found: found.to_vec() });
        }
        return Ok(Checkpoint { path: path.to_owned(), ..found });
    }
    if path.extension().is_some_and(|e| e == "json") {
        return whole(read_index(path)?, part);
    }
    read_file(path, part)
}

/// Opens one file.
pub(crate) fn read_file(path: &Path, part: Option<&str>) -> Result<Checkpoint> {
    let file = InputFile::open(path)?;
    let mut bytes = file.head(HEAD)?;
    if bytes.starts_with(ZIP) || Format::of(&bytes, path) != Format::Safetensors {
        bytes = file.all()?;
    } else if bytes.get(8) != Some(&b'{') {
        bytes = file.head(FOREIGN)?;
    }
    if let Some(foreign) = recognise(&bytes, path) {
        return Err(Error::Foreign { path: path.to_owned(), what: foreign.what, remedy: foreign.remedy });
    }
    let format = Format::of(&bytes, path);
    let invalid = |why| Error::Format { path: path.to_owned(), format, why };
    if bytes.is_empty() {
        return Err(invalid("the file is empty; download or save it again".to_owned()));
    }
    let file = Arc::new(file);
    let bytes = &bytes;
    let gathered = match format {
        Format::Safetensors => return whole(safetensors::read_file(path, FilePart::File(file))?, part),
        Format::Npz => npz::read(bytes).map_err(Untaken::Why).and_then(|gathered| match part {
            Some(part) => Err(Untaken::Error(no_part(path, part))),
            None => Ok(gathered),
        }),
        Format::Torch => torch::open(bytes).map_err(Untaken::Why).and_then(|(torch, tree)| {
            let naming = Naming { separator: '.', from_root: false };
            gather(path, tree, naming, part, |tensors| {
                let found = torch.read(tensors)?;
                Ok(found.into_iter().map(|t| (t.name, t.dtype, t.shape, t.data)).collect())
            })
        }),
        Format::Flax => flax::read(bytes).map_err(Untaken::Why).and_then(|tree| {
            let naming = Naming { separator: '/', from_root: true };
            gather(path, tree, naming, part, |tensors| {
                Ok(tensors.into_iter().map(|(name, t)| (name, t.dtype, t.shape, t.data)).collect())
            })
        }),
    };
    let gathered = gathered.and_then(|gathered| gathered.check().map(|()| gathered).map_err(Untaken::Why));
    let gathered = gathered.map_err(|untaken| match untaken {
        Untaken::Error(error) => error,
        Untaken::Why(why) => invalid(why),
    })?;
    file.unchanged()?;
    Ok(Checkpoint::gathered(path, gathered, Metadata::default(), vec![FilePart::File(file)]))
}

/// Tensors of the part that is taken of a tree.
fn gather<T>(
    path: &Path,
    tree: Branch<T>,
    naming: Naming,
    part: Option<&str>,
    read: impl FnOnce(Vec<(String, T)>) -> std::result::Result<Vec<Read>, String>,
) -> std::result::Result<Gathered, Untaken> {
    let taken = take(path, tree, naming, part)?;
    let (passed_over, part, parts) = (taken.passed_over, taken.part, taken.parts);
    let mut gathered = Gathered { passed_over, part, parts, ..Gathered::default() };
    for (name, dtype, shape, data) in read(taken.tensors).map_err(Untaken::Why)? {
        gathered.insert(&name, dtype, &shape, data).map_err(Untaken::Why)?;
    }
    Ok(gathered)
}

/// Name, element type, shape and elements of a tensor.
type Read = (String, onebasin_core::DType, Vec<usize>, bytes::Bytes);

/// A checkpoint without parts, unless one is asked for.
fn whole(checkpoint: Checkpoint, part: Option<&str>) -> Result<Checkpoint> {
    match part {
        Some(part) => Err(no_part(&checkpoint.path, part)),
        None => Ok(checkpoint),
    }
}

fn no_part(path: &Path, part: &str) -> Error {
    Error::NoPart { path: path.to_owned(), part: part.to_owned(), parts: Vec::new() }
}
