//! Inner products of two networks, for the great circle between them.

use rayon::prelude::*;

use crate::convert::decode;
use crate::dtype::DType;
use crate::error::Result;
use crate::params::Params;
use crate::tensor::Tensor;

/// Numbers from this size on that are the same in both are no weights.
const CONSTANT: f64 = 4096.0;

/// `[⟨A, A⟩, ⟨B, B⟩, ⟨A, B⟩]` over floating-point tensors, all flattened into one vector.
///
/// Numbers of 4096 and more in size that are the same in both, such as masks, are constants and no weights: they do not count.
///
/// Sums run over blocks of [`Self::BLOCK`] entries, then over the blocks of a tensor, then over tensors, so that rounding
/// grows with the number of blocks, and the same order gives the same bits however the work is cut.
///
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
/// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
/// # };
/// use onebasin_core::DType;
/// use onebasin_core::merge::Products;
/// let (a, b) = (net(&[1., 2.])?, net(&[3., 4.])?);
/// let bytes = |net: &Params| net.require("w").map(|w| w.bytes().clone());
/// let mut passing = Products::default(); // tensor by tensor, as files pass by
/// passing.add(&Products::blocks(DType::F32, &bytes(&a)?, DType::F32, &bytes(&b)?));
/// assert_eq!(format!("{passing:?}"), format!("{:?}", Products::of(&a, &b)?));
/// assert_eq!(format!("{passing:?}"), "Products([5.0, 25.0, 11.0])");
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Products(pub(super) [f64; 3]);

impl Products {
    /// Entries of one tensor that are summed up at a time.
    pub const BLOCK: usize = 4096;

    /// The products of whole networks.
    ///
    /// Cost: one pass over both.
    ///
    /// # Errors
    /// [`Error::NoTensor`](crate::Error::NoTensor) if B lacks a tensor of A.
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// use onebasin_core::merge::Products;
    /// let (a, b) = (net(&[1., 2.])?, net(&[3., 4.])?);
    /// assert_eq!(format!("{:?}", Products::of(&a, &b)?), "Products([5.0, 25.0, 11.0])");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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
    /// Shapes: `a` and `b` are the bytes of the same entries; one triple per block of them.
    ///
    /// # Panics
    /// If a type is no float.
    /// ```
    /// use onebasin_core::{DType, merge::Products};
    /// let bytes = |v: [f32; 2]| v.map(f32::to_le_bytes);
    /// let (a, b) = (bytes([1., 2.]), bytes([3., 4.]));
    /// let blocks = Products::blocks(DType::F32, a.as_flattened(), DType::F32, b.as_flattened());
    /// assert_eq!(blocks, [[5., 25., 11.]]); // fewer entries than a block has
    /// ```
    pub fn blocks(a_dtype: DType, a: &[u8], b_dtype: DType, b: &[u8]) -> Vec<[f64; 3]> {
        let (mut x, mut y) = (vec![0.0; Self::BLOCK], vec![0.0; Self::BLOCK]);
        let blocks = a.chunks(Self::BLOCK * a_dtype.size()).zip(b.chunks(Self::BLOCK * b_dtype.size()));
        let block = |(a, b): (&[u8], &[u8])| {
            let (x, y) = (&mut x[..a.len() / a_dtype.size()], &mut y[..b.len() / b_dtype.size()]);
            decode(a_dtype, a, x);
            decode(b_dtype, b, y);
            for (x, y) in x.iter_mut().zip(&mut *y) {
                if x.abs() >= CONSTANT && x.to_bits() == y.to_bits() {
                    (*x, *y) = (0.0, 0.0);
                }
            }
            [(&*x, &*x), (&*y, &*y), (&*x, &*y)].map(|(x, y)| x.iter().zip(y).map(|(x, y)| x * y).sum())
        };
        blocks.map(block).collect()
    }

    /// Adds the products of one tensor, given those of all its blocks in order.
    ///
    /// ```
    /// use onebasin_core::merge::Products;
    /// let mut products = Products::default();
    /// products.add(&[[5., 25., 11.], [1., 1., 1.]]);
    /// assert_eq!(format!("{products:?}"), "Products([6.0, 26.0, 12.0])");
    /// ```
    pub fn add(&mut self, blocks: &[[f64; 3]]) {
        for (k, sum) in self.0.iter_mut().enumerate() {
            *sum += blocks.iter().map(|block| block[k]).sum::<f64>();
        }
    }
}
