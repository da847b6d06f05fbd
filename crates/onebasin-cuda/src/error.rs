//! What keeps a GPU from being used.

/// Why a device cannot be opened, or what it failed at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A library that CUDA programs need is not on this machine.
    #[error("no NVIDIA GPU can be used: {library} was not found; {remedy}, or use --device cpu")]
    NoLibrary {
        /// The library, as the linker names it.
        library: &'static str,
        /// What brings it.
        remedy: &'static str,
    },
    /// The driver is there, but lends no GPU.
    #[error("no NVIDIA GPU can be used: {why}; use --device cpu")]
    NoDevice {
        /// What the driver says.
        why: String,
    },
    /// A GPU of a number that there is not.
    #[error("there is no GPU {ordinal}: the driver knows {count}, counted from 0")]
    NoSuchDevice {
        /// The number asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The kernels were refused.
    #[error("the kernels cannot be used on this GPU: {why}")]
    Kernels {
        /// What the compiler or the driver says.
        why: String,
    },
    /// An operator that no kernel computes.
    #[error("node `{node}` cannot run on the GPU: there is no kernel for {operator}; use --device cpu")]
    Operator {
        /// The node.
        node: String,
        /// What it is.
        operator: String,
    },
    /// The device has too little memory.
    #[error("the GPU has no room for {bytes} more bytes; use --device cpu")]
    Memory {
        /// How many were asked for.
        bytes: usize,
    },
    /// Anything else that the device failed at.
    #[error("the GPU failed at {what}: {why}")]
    Failed {
        /// What was asked of it.
        what: &'static str,
        /// What it says.
        why: String,
    },
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl From<Error> for onebasin_core::Error {
    fn from(error: Error) -> Self {
        Self::Device { why: error.to_string() }
    }
}
