//! What matching raises: inner products of whole networks.

use rayon::prelude::*;

use crate::convert;
use crate::error::Result;
use crate::params::Params;
use crate::symmetry::{Alignment, Gather, Symmetry};
use crate::tensor::Tensor;

/// `⟨A, π(B)⟩`: the sum of the products of corresponding weights, over all floating-point tensors that can move.
///
/// A tensor in which no group stands adds the same to every alignment, and rounding of its own, so it is left out.
/// Since `‖A − π(B)‖² = ‖A‖² + ‖B‖² − 2 ⟨A, π(B)⟩`, over these tensors, maximising it is minimising the L2 distance between A and
/// π(B).
/// Sums are f64, over fixed blocks of 2048, so the value does not depend on the number of threads.
///
/// Cost: one pass over both networks.
///
/// # Errors
/// If a tensor of the symmetry is missing, or the alignment is none of the symmetry.
///
/// ```
/// use onebasin_core::matching::objective;
/// use onebasin_core::symmetry::Alignment;
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
/// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
/// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
/// #     Ok(Params::from_iter([first, last]))
/// # };
/// let a = net([1., 2., 3., 4.], [5., 6.])?;
/// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
/// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
/// let symmetry = Symmetry::resolve(&spec, &a)?;
/// let identity = Alignment::identity(&symmetry);
/// assert_eq!(objective(&symmetry, &identity, &a, &b)?, 82.0);
/// assert_eq!(objective(&symmetry, &identity, &a, &a)?, 91.0);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn objective(symmetry: &Symmetry, alignment: &Alignment, a: &Params, b: &Params) -> Result<f64> {
    let names: Vec<&str> = symmetry.tensors().filter(|(_, layout)| layout.moves()).map(|(name, _)| name).collect();
    tensor_objective(symmetry, alignment, a, b, &names)
}

/// The part of [`objective`] that the named tensors contribute.
pub(crate) fn tensor_objective(
    symmetry: &Symmetry,
    alignment: &Alignment,
    a: &Params,
    b: &Params,
    names: &[&str],
) -> Result<f64> {
    let mut sum = 0.0;
    for name in names {
        let (a, b) = (a.require(name)?, b.require(name)?);
        if a.dtype().is_float() {
            let gather = Gather::new(symmetry, alignment, name, b)?;
            let sizes = [a.dtype().size(), b.dtype().size()];
            sum += blocks(a.len(), |start, x, y| {
                let mut moved = [0; 8 * BLOCK];
                let moved = &mut moved[..y.len() * sizes[1]];
                gather.fill(b.bytes(), start, moved);
                convert::decode(a.dtype(), &a.bytes()[start * sizes[0]..][..x.len() * sizes[0]], x);
                convert::decode(b.dtype(), moved, y);
            });
        }
    }
    Ok(sum)
}

/// The sum of squares of a floating-point tensor.
pub(super) fn squares(tensor: &Tensor) -> f64 {
    let size = tensor.dtype().size();
    blocks(tensor.len(), |start, x, y| {
        convert::decode(tensor.dtype(), &tensor.bytes()[start * size..][..x.len() * size], x);
        y.copy_from_slice(x);
    })
}

const BLOCK: usize = 2048;

/// Inner product of two lists of `len` numbers, which `read` gives from a start on; in blocks, so that rounding grows with
/// the number of blocks, not of entries.
fn blocks(len: usize, read: impl Fn(usize, &mut [f64], &mut [f64]) + Sync) -> f64 {
    let block = |k: usize| {
        let (mut x, mut y) = ([0.0; BLOCK], [0.0; BLOCK]);
        let width = BLOCK.min(len - k * BLOCK);
        let (x, y) = (&mut x[..width], &mut y[..width]);
        read(k * BLOCK, x, y);
        x.iter().zip(y).map(|(x, y)| *x * *y).sum::<f64>()
    };
    (0..len.div_ceil(BLOCK)).into_par_iter().map(block).collect::<Vec<f64>>().iter().sum()
}

/// Inner product in blocks of 2048, so that rounding grows with the number of blocks, not of entries.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    blocks(a.len(), |start, x, y| {
        x.copy_from_slice(&a[start..][..x.len()]);
        y.copy_from_slice(&b[start..][..y.len()]);
    })
}
