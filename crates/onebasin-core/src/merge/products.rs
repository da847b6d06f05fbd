//! Inner products of two networks, for the great circle between them.

use rayon::prelude::*;

use crate::convert::decode;
use crate::dtype::DType;
use crate::error::Result;
use crate::params::Params;
use crate::tensor::Tensor;

/// `[⟨A, A⟩, ⟨B, B⟩, ⟨A, B⟩]` over floating-point tensors, all flattened into one vector.
///
/// Sums run over blocks of [`Self::BLOCK`] entries, then over the blocks of a tensor, then over tensors, so that rounding
/// grows with the number of blocks, and the same order gives the same bits however the work is cut.
#[derive(Debug, Clone, Copy, Default)]
pub struct Products(pub(super) [f64; 3]);

impl Products {
    /// Entries of one tensor that are summed up at a time.
    pub const BLOCK: usize = 4096;

    /// The products of whole networks.
    ///
    /// # Errors
    /// If B lacks a tensor of A.
    pub fn of(a: &Params, b: &Params) -> Result<Self> {
        let mut found = Self::default();
        for (name, ta) in a.iter() {
            let tb = b.require(name)?;
            if ta.dtype().is_float() && tb.dtype().is_float() {
                let piece = |t: &Tensor| 64 * Self::BLOCK * t.dtype().size();
                let pieces = ta.bytes().par_chunks(piece(ta)).zip(tb.bytes().par_chunks(piece(tb)));
                let blocks = pieces.flat_map_iter(|(a, b)| Self::blocks(ta.dtype(), a, tb.dtype(), b));
                found.add(&blocks.collect::<Vec<_>>());
            }
        }
        Ok(found)
    }

    /// The products of each block of a range of entries; ranges of one tensor must begin at multiples of
    /// [`Self::BLOCK`].
    ///
    /// # Panics
    /// If a type is no float.
    pub fn blocks(a_dtype: DType, a: &[u8], b_dtype: DType, b: &[u8]) -> Vec<[f64; 3]> {
        let (mut x, mut y) = (vec![0.0; Self::BLOCK], vec![0.0; Self::BLOCK]);
        let blocks = a.chunks(Self::BLOCK * a_dtype.size()).zip(b.chunks(Self::BLOCK * b_dtype.size()));
        let block = |(a, b): (&[u8], &[u8])| {
            let (x, y) = (&mut x[..a.len() / a_dtype.size()], &mut y[..b.len() / b_dtype.size()]);
            decode(a_dtype, a, x);
            decode(b_dtype, b, y);
            [(&*x, &*x), (&*y, &*y), (&*x, &*y)].map(|(x, y)| x.iter().zip(y).map(|(x, y)| x * y).sum())
        };
        blocks.map(block).collect()
    }

    /// Adds the products of one tensor, given those of its blocks in order.
    pub fn add(&mut self, blocks: &[[f64; 3]]) {
        for (k, sum) in self.0.iter_mut().enumerate() {
            *sum += blocks.iter().map(|block| block[k]).sum::<f64>();
        }
    }
}
