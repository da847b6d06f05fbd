//! Bytes ⇄ networks: safetensors through a memory map, atomic writes, provenance in the header.
//!
//! [`read`] opens a checkpoint without copying its tensors; [`write`] leaves the old file or the whole new one.

mod atomic;
mod error;
mod metadata;
mod safetensors;
mod write;

pub use atomic::{INTERRUPTED, write_atomic};
pub use error::{Error, Result};
pub use metadata::Metadata;
pub use safetensors::{Checkpoint, read, read_bytes};
pub use write::write;
