//! Bytes ⇄ networks: checkpoints of four formats through a memory map, atomic writes, provenance in the header.
//!
//! [`read()`] opens safetensors, torch, NumPy and Flax files; [`write()`] leaves the old file or the whole new one.

mod alignment;
mod atomic;
mod error;
mod flax;
mod format;
mod metadata;
mod npz;
mod read;
mod safetensors;
mod torch;
mod write;

pub use alignment::{SYMMETRY, read_alignment, write_alignment};
pub use atomic::{INTERRUPTED, write_atomic};
pub use error::{Error, Result};
pub use format::Format;
pub use metadata::{Metadata, PROVENANCE};
pub use read::read;
pub use safetensors::{Checkpoint, read_bytes};
pub use write::write;
