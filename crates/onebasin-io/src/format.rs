//! Which format a file has, and what readers of all formats share.

use std::fmt;
use std::path::Path;

use bytes::Bytes;
use onebasin_core::{DType, Params, Tensor};

use crate::archive::entries;

/// The first bytes of a NumPy array.
pub(crate) const NPY: &[u8] = b"\x93NUMPY";
/// Element types that tensors can have.
pub(crate) const KNOWN: &str = "f64, f32, f16, bf16, f8_e4m3, f8_e5m2, integers up to 64 bits, bool";
/// The name under which safetensors keeps its header entries.
const RESERVED: &str = "__metadata__";

/// A format of checkpoints that [`read`](crate::read()) opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON header and raw tensors.
    Safetensors,
    /// What `torch.save` writes: a zip archive, or the pickle stream of versions before 1.6; or an archive around one, as
    /// Stable-Baselines3 writes it.
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
    /// | `PK`, an entry `data.pkl` or entries `*.pth` / entries `*.npy` | torch / npz |
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
                let entries = entries(bytes).ok()?;
                let holds = |end: &[u8]| entries.iter().any(|entry| entry.name.ends_with(end));
                if holds(b"data.pkl") || holds(b".pth") {
                    Some(Self::Torch)
                } else {
                    holds(b".npy").then_some(Self::Npz)
                }
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
            "pt" | "pth" | "th" | "bin" | "ckpt" | "pkl" => Some(Self::Torch),
            "npz" | "npy" => Some(Self::Npz),
            "msgpack" | "flax" => Some(Self::Flax),
            _ => None,
        }
    }
}

/// Tensors of a file, and names in it that were passed over, each with the reason.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) params: Params,
    pub(crate) passed_over: Vec<(String, String)>,
    pub(crate) part: Option<String>,
    pub(crate) parts: Vec<String>,
}

impl Gathered {
    /// Adds the tensor of these bytes, or says what is wrong with it.
    pub(crate) fn insert(&mut self, name: &str, dtype: DType, shape: &[usize], data: Bytes) -> Result<(), String> {
        self.add(name, Tensor::new(dtype, shape, data).map_err(|e| format!("tensor `{name}`: {e}"))?)
    }

    /// Adds a tensor, or says what is wrong with its name.
    pub(crate) fn add(&mut self, name: &str, tensor: Tensor) -> Result<(), String> {
        if name == RESERVED {
            self.pass_over(name, format!("safetensors files keep their header under `{RESERVED}`; rename it"));
            return Ok(());
        }
        if self.params.get(name).is_some() {
            return Err(format!(
                "tensor `{name}` occurs twice, since its name and nested keys give the same; rename one of them"
            ));
        }
        self.params.insert(name, tensor);
        Ok(())
    }

    pub(crate) fn pass_over(&mut self, name: &str, why: String) {
        self.passed_over.push((name.to_owned(), why));
    }

    /// Passes only if something is left, or nothing was ever there.
    pub(crate) fn check(&self) -> Result<(), String> {
        const SHOWN: usize = 3;
        if !self.params.is_empty() || self.passed_over.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<String> =
            self.passed_over.iter().take(SHOWN).map(|(name, why)| format!("`{name}`: {why}")).collect();
        if self.passed_over.len() > SHOWN {
            lines.push(format!("and {} more", self.passed_over.len() - SHOWN));
        }
        Err(format!("it holds no tensors that can be used: {}", lines.join("; ")))
    }
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
