//! Bytes ⇄ networks: checkpoints of five formats through a memory map, atomic writes, provenance in the header.
//!
//! [`read()`] opens safetensors, torch, NumPy and Flax files; [`write()`] leaves the old file or the whole new one.
//! [`OnnxModel`] does both for ONNX, and keeps everything in the model but the weights as it was.

mod alignment;
mod atomic;
mod error;
mod flax;
mod format;
mod map;
mod metadata;
mod npz;
pub mod onnx;
mod read;
mod safetensors;
mod torch;
mod write;

pub use alignment::{SYMMETRY, alignment_from_params, alignment_to_params, read_alignment, write_alignment};
pub use atomic::{INTERRUPTED, write_atomic};
pub use error::{Error, Result};
pub use format::Format;
pub use metadata::{Metadata, PROVENANCE};
pub use onnx::OnnxModel;
pub use read::read;
pub use safetensors::{Checkpoint, read_bytes};
pub use write::write;
