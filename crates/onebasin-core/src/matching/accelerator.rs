//! What a device must do for similarities to be computed on it.
//!
//! The core says which entries meet which, as tables of positions; a device holds the tensors and multiplies. The same
//! panels of columns are used on either side, so that single-precision sums are of the same length.

use crate::error::Result;
use crate::tensor::Tensor;

/// A device that networks can be brought to.
///
/// The example is a device that is this processor, one multiplication at a time:
///
/// ```
/// use onebasin_core::error::Result;
/// use onebasin_core::matching::{Accelerator, Columns, MatchOptions, RootProducts, Table, Weights, ascend};
/// use onebasin_core::symmetry::Alignment;
/// struct Host;
/// struct Held(Vec<[Vec<f32>; 2]>);
/// impl Accelerator for Host {
///     fn hold(&self, pairs: &[[&Tensor; 2]]) -> Box<dyn RootProducts> {
///         let values = |t: &Tensor| t.to_f32().map(|v| v.into_owned()).unwrap_or_default();
///         Box::new(Held(pairs.iter().map(|[a, b]| [values(a), values(b)]).collect()))
///     }
/// }
/// impl RootProducts for Held {
///     fn products(&self, side: usize, panels: &[Vec<Columns<'_>>]) -> Result<Vec<f64>> {
///         let at = |t: Table<'_>, row: usize, column: usize| {
///             let context = t.contexts.get(column).map_or(0, |c| *c as usize);
///             t.positions[row * t.context + context] as usize * t.stride + t.offsets[column]
///         };
///         let mut sum = vec![0.0; side * side];
///         for part in panels.iter().flatten() {
///             let [a, b] = &self.0[part.pair];
///             for (entry, sum) in sum.iter_mut().enumerate() {
///                 let (x, y) = (entry / side, entry % side);
///                 for k in 0..part.a.offsets.len() {
///                     let before = part.before.map_or(0.0, |t| b[at(t, y, k)]);
///                     *sum += f64::from(a[at(part.a, x, k)] * (b[at(part.b, y, k)] - before));
///                 }
///             }
///         }
///         Ok(sum)
///     }
/// }
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
/// let weights = Weights::new(&symmetry, &a, &b)?.on(&Host);
/// let found = ascend(&weights, &Alignment::identity(&symmetry), &MatchOptions::default(), &mut |_| true)?;
/// assert_eq!(found.alignment.apply(&symmetry, &b)?, a);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub trait Accelerator: Send + Sync {
    /// The tensors of A and B for products there, pair by pair; [`Columns::pair`] counts them. A pair is copied to the device
    /// when a product first asks for it, which happens to f32, f16 and bf16 alone.
    fn hold(&self, pairs: &[[&Tensor; 2]]) -> Box<dyn RootProducts>;

    /// Sums of products of rows of so many inputs and targets, zero yet, which a solve adds up; none: they are added up on this
    /// processor.
    ///
    /// # Errors
    /// If the device has no room.
    fn rows(&self, inputs: usize, units: usize) -> Result<Option<Box<dyn RowProducts>>> {
        let _ = (inputs, units);
        Ok(None)
    }
}

/// Sums of products of rows on a device: `Σ x xᵀ` and `Σ x rᵀ`.
pub trait RowProducts: Send {
    /// Adds rows: their products in f32 over the rows of one call, sums in f64.
    ///
    /// Shapes: `inputs` is `[rows, inputs]`, `targets` `[rows, units]`; without `square` only `Σ x rᵀ` is added to.
    ///
    /// Cost: `2 rows · inputs · (inputs + units)` flops there, and the rows sent over.
    ///
    /// # Errors
    /// If the device has no room, or fails.
    fn add(&mut self, inputs: &[f32], targets: &[f32], square: bool) -> Result<()>;

    /// Both sums, row-major: `[inputs, inputs]` and `[inputs, units]`.
    ///
    /// # Errors
    /// If the device fails.
    fn sums(&self) -> Result<[Vec<f64>; 2]>;
}

/// Two networks on a device, and the products of their unfolded tensors; see [`Accelerator`] for an example.
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

/// Some columns of a tensor of A and of B, both unfolded: a row for every unit of a group, columns for everything else.
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
