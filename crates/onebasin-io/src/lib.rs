//! Bytes ⇄ networks: checkpoints of five formats, atomic writes, provenance in the header.
//!
//! [`read()`] opens safetensors, torch, NumPy and Flax files and folders of shards; [`write()`] leaves the old file or the
//! whole new one; [`merge_streamed`] and [`apply_streamed`] go from file to file in bounded memory.
//! [`OnnxModel`] does both for ONNX, and keeps everything in the model but the weights as it was.

mod alignment;
mod archive;
mod atomic;
mod checkpoint;
mod companions;
mod error;
mod flax;
mod folder;
mod foreign;
mod format;
mod input;
mod landing;
mod metadata;
mod npz;
pub mod onnx;
mod parts;
mod passing;
mod pipeline;
mod place;
mod position;
mod read;
mod reader;
mod safetensors;
mod scratch;
mod shards;
mod streamed;
mod target;
mod torch;
mod unexplained;
mod write;

pub use alignment::{SYMMETRY, alignment_from_params, alignment_to_params, read_alignment, write_alignment};
pub use atomic::{Check, GoOn, probe, spare, write_atomic, write_atomic_while};
pub use checkpoint::{Checkpoint, tensor_digest};
pub use companions::differing_companions;
pub use error::{Error, Result};
pub use folder::networks_in;
pub use foreign::is_onnx;
pub use format::Format;
pub use metadata::{Metadata, PROVENANCE};
pub use onnx::OnnxModel;
pub use read::{read, read_part};
pub use safetensors::read_bytes;
pub use streamed::{Asked, Moving, Passed, apply_streamed, merge_streamed, products_streamed};
pub use target::{Target, write};
