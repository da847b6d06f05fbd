//! The one entry that opens checkpoints of every format.

use std::path::Path;

use crate::checkpoint::{Checkpoint, FilePart};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::map::map;
use crate::metadata::Metadata;
use crate::safetensors::read_part;
use crate::shards::{find, read_index};
use crate::{flax, npz, torch};

/// Opens a checkpoint of any [`Format`], recognised by its content, then by its extension; a folder or an index of shards
/// opens as one checkpoint.
///
/// A folder holds `*.safetensors.index.json` with the shards it names, or `model.safetensors`, or `pytorch_model.bin`.
/// Index and shards must agree on which tensor lies where.
///
/// Names: as in the file; nested keys are joined by `.` in torch files, by `/` in Flax files. A torch training
/// checkpoint gives its network alone (`state_dict`, `model_state_dict`, `model`, `net` or `network`), and prefixes
/// common to all keys (`module.` of data parallel, `_orig_mod.` of compiled modules) are taken off.
///
/// Shapes: row-major whatever the layout in the file (views, transposes, offsets, Fortran order); big-endian arrays of
/// NumPy become little-endian.
///
/// Cost: that of the headers. Tensors of safetensors, Flax, and uncompressed NumPy files in C order stay in the memory map;
/// others are copied. The file must not be changed by another program while it is in use.
///
/// # Errors
/// If a folder holds no checkpoint or several, an index and its shards disagree, the file is missing, empty or not valid,
/// a file other than safetensors holds no tensors, or a tensor has an element type other than f64, f32, f16, bf16, the
/// integers up to 64 bits, and bool. Pickled code is never run, and a file whose tensors would take far more memory than its length (64 MiB + 64 times the file) is
/// refused before memory is asked for.
///
/// ```
/// let checkpoint = onebasin_io::read("tests/goldens/legacy.pth".as_ref())?;
/// assert_eq!(checkpoint.params.require("conv.weight")?.shape(), [2, 3, 2, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(path: &Path) -> Result<Checkpoint> {
    if path.is_dir() {
        let found = read(&find(path)?)?;
        return Ok(Checkpoint { path: path.to_owned(), ..found });
    }
    if path.extension().is_some_and(|e| e == "json") {
        return read_index(path);
    }
    let (bytes, file) = map(path)?;
    let invalid = |format, why| Error::Format { path: path.to_owned(), format, why };
    if bytes.is_empty() {
        return Err(invalid(Format::of(&[], path), "the file is empty".to_owned()));
    }
    let part = FilePart::new(path, bytes, Some(file));
    let bytes = &part.bytes;
    let format = Format::of(bytes, path);
    let params = match format {
        Format::Safetensors => return read_part(path, part),
        Format::Torch => torch::params(path, bytes.len() as u64),
        Format::Npz => npz::params(bytes),
        Format::Flax => flax::params(bytes),
    };
    let params = params.map_err(|why| invalid(format, why))?;
    Ok(Checkpoint::new(path, params, Metadata::default(), vec![part]))
}
