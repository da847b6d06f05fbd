//! What a device must do for similarities to be computed on it.
//!
//! The core says which entries meet which, as tables of positions; a device holds the tensors and multiplies. The same
//! panels of columns are used on either side, so that single-precision sums are of the same length.

use crate::error::Result;
use crate::tensor::Tensor;

/// A device that networks can be brought to.
pub trait Accelerator: Send + Sync {
    /// The tensors of A and B for products there, pair by pair; [`Columns::pair`] counts them. A pair is copied to the device
    /// when a product first asks for it, which happens to f32, f16 and bf16 alone.
    fn hold(&self, pairs: &[[&Tensor; 2]]) -> Box<dyn RootProducts>;
}

/// Two networks on a device.
pub trait RootProducts: Send + Sync {
    /// The sum of the products of all panels, `side × side`, row-major.
    ///
    /// Formula: `Σ A_P · (B_P − B'_P)ᵀ` over panels `P` of columns, B' where [`Columns::before`] says so; the product of a
    /// panel in f32, their sum in f64.
    /// Cost: `2 side² · columns` flops there, and `8 side²` bytes back.
    ///
    /// # Errors
    /// If the device has no room, or fails.
    fn products(&self, side: usize, panels: &[Vec<Columns<'_>>]) -> Result<Vec<f64>>;
}

/// Some columns of a tensor of A and of B, both unfolded.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Which of the pairs held.
    pub pair: usize,
    /// Entries of A.
    pub a: Table<'a>,
    /// Entries of B.
    pub b: Table<'a>,
    /// Entries of B that are taken off those at `b`.
    pub before: Option<Table<'a>>,
}

/// Where the rows and some columns of an unfolded tensor lie in it.
///
/// Formula: entry `(row, column)` is at `positions[row · context + contexts[column]] · stride + offsets[column]`.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// By row, then by context: the position along the unfolded axis.
    pub positions: &'a [u32],
    /// Number of contexts.
    pub context: usize,
    /// Entries between neighbours along the unfolded axis.
    pub stride: usize,
    /// By column: its offset where the unfolded axis is at 0.
    pub offsets: &'a [usize],
    /// By column: its context; empty where all have the first.
    pub contexts: &'a [u32],
}
