//! Which format a file has, and what readers of all formats share.

use std::fmt;
use std::path::Path;

use bytes::Bytes;
use onebasin_core::{DType, Params, Tensor};
use zip::ZipArchive;

/// The first bytes of a NumPy array.
pub(crate) const NPY: &[u8] = b"\x93NUMPY";

/// A format of checkpoints that [`read`](crate::read()) opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON header and raw tensors.
    Safetensors,
    /// What `torch.save` writes: a zip archive, or the pickle stream of versions before 1.6.
    Torch,
    /// A zip archive of arrays, as `numpy.savez` writes it.
    Npz,
    /// Nested maps in msgpack, as `flax.serialization.to_bytes` writes them.
    Flax,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Torch => "torch",
            Self::Npz => "NumPy .npz",
            Self::Flax => "Flax msgpack",
        })
    }
}

impl Format {
    /// The format of a file: by its first bytes, by its extension where they do not tell. Where neither does, a zip
    /// archive is torch and anything else safetensors.
    ///
    /// | first bytes | format |
    /// |---|---|
    /// | header length (u64, at most 100 MB), `{` | safetensors |
    /// | `PK`, an entry `data.pkl` / entries `*.npy` | torch / npz |
    /// | pickle of protocol 2 to 5, or `ustar` at 257 | torch |
    /// | `\x93NUMPY` | npz, refused with a hint: a lone array has no name |
    pub fn of(bytes: &[u8], path: &Path) -> Self {
        let otherwise = if bytes.starts_with(b"PK") { Self::Torch } else { Self::Safetensors };
        Self::by_content(bytes).or_else(|| Self::named(path)).unwrap_or(otherwise)
    }

    /// Whether checkpoints are written in it, too.
    pub fn is_written(self) -> bool {
        match self {
            Self::Safetensors => true,
            Self::Torch | Self::Npz | Self::Flax => false,
        }
    }

    fn by_content(bytes: &[u8]) -> Option<Self> {
        const MAX_HEADER: u64 = 100_000_000;
        if let Some((length, rest)) = bytes.split_first_chunk()
            && u64::from_le_bytes(*length) <= MAX_HEADER
            && rest.first() == Some(&b'{')
        {
            return Some(Self::Safetensors);
        }
        match bytes {
            [b'P', b'K', ..] => {
                let archive = ZipArchive::new(std::io::Cursor::new(bytes)).ok()?;
                let holds = |end: &[u8]| archive.file_names_raw().any(|name| name.ends_with(end));
                if holds(b"data.pkl") { Some(Self::Torch) } else { holds(b".npy").then_some(Self::Npz) }
            }
            [0x80, 2..=5, ..] => Some(Self::Torch),
            _ if bytes.get(257..262) == Some(b"ustar") => Some(Self::Torch),
            _ => bytes.starts_with(NPY).then_some(Self::Npz),
        }
    }

    /// The format that a file's extension names, if it names one.
    ///
    /// ```
    /// use onebasin_io::Format;
    /// assert_eq!(Format::named("resnet.pth".as_ref()), Some(Format::Torch));
    /// assert_eq!(Format::named("notes.txt".as_ref()), None);
    /// ```
    pub fn named(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "safetensors" => Some(Self::Safetensors),
            "pt" | "pth" | "th" | "bin" => Some(Self::Torch),
            "npz" | "npy" => Some(Self::Npz),
            "msgpack" | "flax" => Some(Self::Flax),
            _ => None,
        }
    }
}

/// Adds a tensor of a file, or says what is wrong with it.
pub(crate) fn insert(
    params: &mut Params,
    name: &str,
    dtype: DType,
    shape: &[usize],
    data: Bytes,
) -> Result<(), String> {
    if params.get(name).is_some() {
        return Err(format!("tensor `{name}` occurs twice"));
    }
    params.insert(name, Tensor::new(dtype, shape, data).map_err(|e| format!("tensor `{name}`: {e}"))?);
    Ok(())
}

/// Passes only if tensors of `claimed` bytes are believable for a file of `length` bytes, compressed or with shared
/// storages as they may be: at most 64 MiB + 64 times the file.
pub(crate) fn check_claim(claimed: u64, length: u64) -> Result<(), String> {
    let limit = length.saturating_mul(64).saturating_add(64 << 20);
    if claimed <= limit {
        return Ok(());
    }
    Err(format!(
        "its tensors claim {claimed} bytes, the file has {length}; at most {limit} are believed, save it without compression"
    ))
}
