//! What can go wrong between a file and a network; every error names the file.

use std::io;
use std::path::{Path, PathBuf};

use onebasin_core::symmetry::SymmetryError;

use onebasin_core::escaped;

use crate::format::Format;
use crate::unexplained::{REMEDY, Unexplained};

/// An error of reading or writing a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// No space left for the file; what was there before is untouched.
    #[error("{}: disk full (or file size limit reached) while writing; nothing was changed", .path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Writing was interrupted; what was there before is untouched.
    #[error("{}: interrupted while writing; nothing was changed", .path.display())]
    Interrupted {
        /// The file.
        path: PathBuf,
    },
    /// The folder to write into does not exist.
    #[error("{}: the folder {} does not exist; create it first", .path.display(), .folder.display())]
    NoFolder {
        /// The file asked for.
        path: PathBuf,
        /// The missing folder.
        folder: PathBuf,
    },
    /// Something that is not written to.
    #[error("{}: {why}", .path.display())]
    Unwritable {
        /// The path.
        path: PathBuf,
        /// What it is, and what to do.
        why: &'static str,
    },
    /// An output that would replace an input.
    #[error(
        "{}: is the input {}, which would be lost; choose another place, or ask for it to be overwritten",
        .path.display(), .input.display()
    )]
    IsInput {
        /// What would be written.
        path: PathBuf,
        /// The input that lies there.
        input: PathBuf,
    },
    /// A file that was written, looked at and not believed; what was there before is untouched.
    #[error("{}: {source}; nothing was written", .path.display())]
    Refused {
        /// The file asked for.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file where a folder was expected.
    #[error("{}: is no folder, and shards are to be written; name a folder, or a file that ends in .safetensors", .path.display())]
    NoFolderThere {
        /// The path.
        path: PathBuf,
    },
    /// A folder where a file was expected.
    #[error("{}: is a folder, not a file", .path.display())]
    IsFolder {
        /// The path.
        path: PathBuf,
    },
    /// A pipe, a device or a socket where a file was expected.
    #[error("{}: is no file (a pipe, a device or a socket), and networks are read in any order; name a file", .path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// A file that is not what it was when it was opened.
    #[error("{}: was changed while it was in use ({how}); nothing that was read of it can be believed", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// In what it differs.
        how: &'static str,
    },
    /// A folder that does not hold one checkpoint.
    #[error(
        "{}: is a folder without one checkpoint: {why}; found {}", .path.display(),
        if .found.is_empty() { "none".to_owned() } else { listed(.found) }
    )]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
        /// What was expected, and what to do.
        why: String,
        /// Files of checkpoints in it, and folders that hold some.
        found: Vec<String>,
    },
    /// A file that is something else than a checkpoint.
    #[error("{}: is {}; {remedy}", .path.display(), escaped(.what))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is, with its article.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A part that a checkpoint does not have.
    #[error(
        "{}: has no part `{}`; its parts: {}", .path.display(), escaped(.part),
        if .parts.is_empty() { "none, it is one network".to_owned() } else { listed(.parts) }
    )]
    NoPart {
        /// The file.
        path: PathBuf,
        /// The part asked for.
        part: String,
        /// The parts there are.
        parts: Vec<String>,
    },
    /// A checkpoint of several networks, none of which is more plausible than the others.
    #[error("{}: holds several networks, and which one is meant is not said: {}", .path.display(), listed(.parts))]
    SeveralParts {
        /// The file.
        path: PathBuf,
        /// The parts that are networks.
        parts: Vec<String>,
    },
    /// An index of shards that cannot be used, or does not agree with its shards.
    #[error("{}: not a usable index of shards: {}", .path.display(), escaped(.why))]
    Index {
        /// The index.
        path: PathBuf,
        /// The tensor or shard, what was expected and what was found.
        why: String,
    },
    /// A folder to write a checkpoint into that holds another one.
    #[error(
        "{}: holds another checkpoint ({}); choose another folder, or remove these files first", .path.display(),
        .found.join(", ")
    )]
    OtherCheckpoint {
        /// The folder.
        path: PathBuf,
        /// Its files that would not be replaced.
        found: Vec<String>,
    },
    /// Bytes that are not what their format says.
    #[error("{}: not a valid {format} file: {}", .path.display(), escaped(.why))]
    Format {
        /// The file.
        path: PathBuf,
        /// The format it was read as.
        format: Format,
        /// What is wrong, and where.
        why: String,
    },
    /// A header entry whose text is not what it should be.
    #[error("header entry `{}`: {}", escaped(.key), escaped(.why))]
    Metadata {
        /// The key.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// A file that is no alignment.
    #[error("{}: not an alignment (no `{entry}` in its header); `onebasin match` writes one", .path.display())]
    NotAlignment {
        /// The file.
        path: PathBuf,
        /// The header entry that it lacks.
        entry: &'static str,
    },
    /// An alignment whose symmetry cannot be read.
    #[error("{}: {source}", .path.display())]
    Symmetry {
        /// The file.
        path: PathBuf,
        /// What is wrong with the header entry.
        source: SymmetryError,
    },
    /// An alignment whose symmetry does not fit the network.
    #[error("{}: made for another network: {source}", .path.display())]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: SymmetryError,
    },
    /// An alignment whose tensors are no element of its symmetry.
    #[error("{}: {source}", .path.display())]
    Alignment {
        /// The file.
        path: PathBuf,
        /// The group, and what is wrong with it.
        source: onebasin_core::Error,
    },
    /// Bytes that are not an ONNX model, or one that cannot be used.
    #[error("{}: not a usable ONNX model: {}: {}", .path.display(), escaped(.place), escaped(.why))]
    Onnx {
        /// The file.
        path: PathBuf,
        /// The node, tensor or value.
        place: String,
        /// What was expected, what was found, and what to do.
        why: String,
    },
    /// Something handed in that does not fit an ONNX model.
    #[error("{}: {}: {}", .path.display(), escaped(.place), escaped(.why))]
    Unfit {
        /// The model.
        path: PathBuf,
        /// The node, tensor or shape.
        place: String,
        /// What was expected, and what was given.
        why: String,
    },
    /// An ONNX model of an operator set whose meaning is not known here.
    #[error(
        "{}: the model uses operator set {found} of ONNX; known are {first} to {last}; \
         convert it with onnx.version_converter or export it again", .path.display()
    )]
    OnnxOpset {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: i64,
        /// The oldest known version.
        first: i64,
        /// The newest known version.
        last: i64,
    },
    /// Tensor data of an ONNX model that lies, or should lie, in a file of its own.
    #[error(
        "{}: tensor `{}`: external data `{}`: {}", .path.display(), escaped(.tensor), escaped(.location), escaped(.why)
    )]
    ExternalData {
        /// The model.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Where the model says the data lies.
        location: String,
        /// What was expected, what was found, and what to do.
        why: String,
    },
    /// An ONNX model too large to be one protobuf message.
    #[error(
        "{}: the model would take {bytes} bytes in one file, and ONNX allows {limit}; save the original with external \
         data (onnx.save_model(..., save_as_external_data=True)) and start from that; nothing was written",
        .path.display()
    )]
    OnnxTooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes it would take.
        bytes: usize,
        /// Bytes that one message may take.
        limit: usize,
    },
    /// A graph with tensors that are none of the checkpoint that follows it, nor made of any.
    #[error(
        "{}: the checkpoint has no tensors for a part of this graph:\n  {}\n{REMEDY}", .path.display(), unexplained(.missing)
    )]
    Unexplained {
        /// The model.
        path: PathBuf,
        /// Its tensors that are missing.
        missing: Vec<Unexplained>,
    },
    /// Something the mathematics refused.
    #[error("{}: {source}", .path.display())]
    Core {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: onebasin_core::Error,
    },
}

/// Names, told apart.
fn listed(names: &[String]) -> String {
    names.iter().map(|name| escaped(name)).collect::<Vec<_>>().join(", ")
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The first of many, and how many more there are.
fn unexplained(missing: &[Unexplained]) -> String {
    const SHOWN: usize = 12;
    let mut lines: Vec<String> = missing.iter().take(SHOWN).map(ToString::to_string).collect();
    if missing.len() > SHOWN {
        lines.push(format!("… and {} more", missing.len() - SHOWN));
    }
    lines.join("\n  ")
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path }
            }
            _ => Self::Io { path, action, source },
        }
    }
}
