//! Bytes ⇄ networks: safetensors and ONNX through a memory map, atomic writes, provenance in the header.
//!
//! [`read`] opens a checkpoint without copying its tensors; [`write()`] leaves the old file or the whole new one.
//! [`OnnxModel`] does both for ONNX, and keeps everything in the model but the weights as it was.

mod alignment;
mod atomic;
mod error;
mod map;
mod metadata;
pub mod onnx;
mod safetensors;
mod write;

pub use alignment::{SYMMETRY, read_alignment, write_alignment};
pub use atomic::{INTERRUPTED, write_atomic};
pub use error::{Error, Result};
pub use metadata::{Metadata, PROVENANCE};
pub use onnx::OnnxModel;
pub use safetensors::{Checkpoint, read, read_bytes};
pub use write::write;
