//! How an alignment moves one tensor: which entry of the source each entry of the result is.

use bytes::Bytes;
use rayon::prelude::*;

use super::alignment::Alignment;
use super::resolve::Symmetry;
use crate::error::{Error, Result};
use crate::params::Params;
use crate::tensor::{Tensor, element_count};

/// Bytes gathered by one task.
const PIECE: usize = 1 << 20;

/// All axes of one tensor gathered at once, any range of the result at a time.
///
/// Formula: entry `(i_0, …, i_k)` of the result is entry `(t_0[i_0], …, t_k[i_k])` of the source, `t` being the alignment's
/// gather of each axis. Bits are kept.
///
/// Memory: one table per axis that moves; the tensor itself may lie anywhere.
///
/// ```
/// use onebasin_core::Perm;
/// use onebasin_core::symmetry::{Alignment, Gather};
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
/// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
/// let tensor = b.require("fc1.weight")?;
/// let gather = Gather::new(&symmetry, &swap, "fc1.weight", tensor)?;
/// let mut last = [0; 8]; // two entries of the result, from the third on
/// gather.fill(tensor.bytes(), 2, &mut last);
/// assert_eq!(last, a.require("fc1.weight")?.bytes()[8..]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gather {
    /// Bytes of one entry.
    size: usize,
    shape: Vec<usize>,
    /// Where each position of an axis comes from; none if the axis does not move.
    tables: Vec<Option<Vec<u32>>>,
    /// The innermost axis that moves; everything inside it is copied in runs.
    last: Option<usize>,
    /// Bytes of such a run.
    run: usize,
    /// The tensor that it moves, where that is another one of a stack.
    source: Option<String>,
}

impl Gather {
    /// How `alignment` moves what becomes the tensor `name`. Only type and shape of `tensor` are looked at.
    ///
    /// One of the tensors of a stack comes from another one of them, [`source`](Self::source).
    ///
    /// Cost: one table per axis.
    ///
    /// # Errors
    /// [`AlignmentError::Other`](super::AlignmentError::Other) if the alignment is none of the symmetry,
    /// [`SymmetryError::NoTensor`](super::SymmetryError::NoTensor) if the symmetry does not know the tensor, and
    /// [`Error::Shape`] if it has another shape for it.
    /// ```
    /// use onebasin_core::symmetry::{Alignment, Gather};
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
    /// let still = Alignment::identity(&symmetry);
    /// assert!(Gather::new(&symmetry, &still, "fc1.weight", a.require("fc1.weight")?).is_ok());
    /// assert!(Gather::new(&symmetry, &still, "fc1.weight", a.require("fc2.weight")?).is_err()); // another shape
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn new(symmetry: &Symmetry, alignment: &Alignment, name: &str, tensor: &Tensor) -> Result<Self> {
        alignment.check(symmetry)?;
        let member = symmetry.stack_of(name);
        let layout = symmetry.tensor(member.map_or(name, |(stack, _)| stack))?;
        let own = if member.is_some() { &layout.shape[1..] } else { &layout.shape[..] };
        if tensor.shape() != own {
            let (expected, found) = (own.to_vec(), tensor.shape().to_vec());
            return Err(Error::Shape { tensor: name.to_owned(), expected, place: "the symmetry", found });
        }
        let (mut shape, size) = (layout.laid_out(), tensor.dtype().size());
        let mut tables: Vec<Vec<u32>> = layout.axes.iter().map(|axis| alignment.axis_gather(symmetry, axis)).collect();
        let mut source = None;
        if let Some((stack, place)) = member {
            shape[0] /= layout.shape[0];
            let entries = &tables[0][place * shape[0]..][..shape[0]];
            let from = entries.first().map_or(place, |first| *first as usize / shape[0]);
            tables[0] = entries.iter().map(|entry| entry - (from * shape[0]) as u32).collect();
            source = symmetry.members(stack).nth(from).map(str::to_owned);
        }
        let moves = |table: &Vec<u32>| table.iter().enumerate().any(|(i, &j)| i != j as usize);
        let tables: Vec<_> = tables.into_iter().map(|table| Some(table).filter(moves)).collect();
        let last = tables.iter().rposition(Option::is_some);
        let run = size * element_count(&shape[last.map_or(0, |axis| axis + 1)..])?;
        Ok(Self { size, shape, tables, last, run, source })
    }

    /// The tensor whose bytes become those of `name`: another one where that is part of a stack, else itself.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// use onebasin_core::symmetry::{Alignment, Gather};
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// let one = Tensor::from_f32(&[1], vec![0.])?;
    /// let net = Params::from_iter(["x.0.w", "x.1.w"].map(|name| (name.to_owned(), one.clone())));
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("x.[0:2].w", "x .")])?, &net)?;
    /// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
    /// assert_eq!(Gather::new(&symmetry, &swap, "x.0.w", &one)?.source("x.0.w"), "x.1.w");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn source<'a>(&'a self, name: &'a str) -> &'a str {
        self.source.as_deref().unwrap_or(name)
    }

    /// Fills `out` with the entries of the result from `start` on. `source` holds the bytes of the whole tensor.
    ///
    /// `start` counts entries, `out` bytes. Cost: one read and one write of every byte of `out`; fastest where a range
    /// begins and ends with a run of the innermost axis that moves.
    ///
    /// # Panics
    /// If `source` or the range is not that of the tensor.
    /// ```
    /// use onebasin_core::Perm;
    /// use onebasin_core::symmetry::{Alignment, Gather};
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
    /// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
    /// let source = b.require("fc2.weight")?;
    /// let gather = Gather::new(&symmetry, &swap, "fc2.weight", source)?;
    /// let mut entry = [0; 4];
    /// gather.fill(source.bytes(), 1, &mut entry);
    /// assert_eq!(f32::from_le_bytes(entry), 6.);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn fill(&self, source: &[u8], start: usize, out: &mut [u8]) {
        let Some(axis) = self.last else {
            return out.copy_from_slice(&source[start * self.size..][..out.len()]);
        };
        let whole_runs = (start * self.size).is_multiple_of(self.run) && out.len().is_multiple_of(self.run);
        match if whole_runs { self.run } else { 0 } {
            1 => self.fill_words::<1>(axis, source, start, out),
            2 => self.fill_words::<2>(axis, source, start, out),
            4 => self.fill_words::<4>(axis, source, start, out),
            8 => self.fill_words::<8>(axis, source, start, out),
            _ => self.fill_runs(axis, source, start, out),
        }
    }

    /// The whole tensor, moved.
    pub(crate) fn apply(&self, tensor: &Tensor) -> Result<Tensor> {
        if self.last.is_none() {
            return Ok(tensor.clone());
        }
        let bytes = tensor.read()?;
        let mut moved = vec![0; bytes.len()];
        let pieces = moved.par_chunks_mut(PIECE).enumerate();
        pieces.for_each(|(k, piece)| self.fill(bytes, k * (PIECE / self.size), piece));
        Tensor::new(tensor.dtype(), tensor.shape(), Bytes::from(moved))
    }

    /// Runs of any length, the first and the last of them in part.
    fn fill_runs(&self, axis: usize, source: &[u8], start: usize, mut out: &mut [u8]) {
        let mut at = start * self.size;
        while !out.is_empty() {
            let (unit, within) = (at / self.run, at % self.run);
            let (row, j) = (unit / self.shape[axis], unit % self.shape[axis]);
            let from = (self.source_row(axis, row) * self.shape[axis] + self.position(axis, j)) * self.run + within;
            let (head, rest) = out.split_at_mut((self.run - within).min(out.len()));
            head.copy_from_slice(&source[from..][..head.len()]);
            at += head.len();
            out = rest;
        }
    }

    /// Runs of one machine word, row by row of the innermost axis that moves.
    fn fill_words<const N: usize>(&self, axis: usize, source: &[u8], start: usize, out: &mut [u8]) {
        let len = self.shape[axis];
        let table = self.tables[axis].as_deref().expect("the innermost axis that moves has a table");
        let (source, mut out) = (source.as_chunks::<N>().0, out.as_chunks_mut::<N>().0);
        let mut at = start * self.size / N;
        while !out.is_empty() {
            let (row, j) = (at / len, at % len);
            let row = &source[self.source_row(axis, row) * len..][..len];
            let (head, rest) = out.split_at_mut((len - j).min(out.len()));
            head.iter_mut().zip(&table[j..]).for_each(|(to, from)| *to = row[*from as usize]);
            at += head.len();
            out = rest;
        }
    }

    fn position(&self, axis: usize, i: usize) -> usize {
        self.tables[axis].as_ref().map_or(i, |table| table[i] as usize)
    }

    /// The source row of a row of the result, rows being numbered over all axes before `axis`.
    fn source_row(&self, axis: usize, row: usize) -> usize {
        let (mut rest, mut source, mut stride) = (row, 0, 1);
        for outer in (0..axis).rev() {
            source += stride * self.position(outer, rest % self.shape[outer]);
            stride *= self.shape[outer];
            rest /= self.shape[outer];
        }
        source
    }
}

impl Alignment {
    /// Acts on a network: every axis of every tensor is gathered. Element types and bit patterns are kept.
    ///
    /// Tensors that the symmetry does not know are left out of the result. Cost: one pass over the bytes.
    ///
    /// # Errors
    /// [`Error::NoTensor`] if a tensor of the symmetry is missing; else those of [`Gather::new`].
    ///
    /// ```
    /// use onebasin_core::Perm;
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
    /// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
    /// assert_eq!(swap.apply(&symmetry, &b)?, a);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn apply(&self, symmetry: &Symmetry, params: &Params) -> Result<Params> {
        symmetry.names().map(|name| Ok((name.to_owned(), self.moved(symmetry, params, name)?))).collect()
    }

    /// One tensor of the network that [`apply`](Self::apply) makes.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// use onebasin_core::symmetry::Alignment;
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// let tensor = |value: f32| Tensor::from_f32(&[1], vec![value]);
    /// let net = Params::from_iter([("x.0.w".to_owned(), tensor(5.)?), ("x.1.w".to_owned(), tensor(7.)?)]);
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("x.[0:2].w", "x .")])?, &net)?;
    /// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
    /// assert_eq!(swap.moved(&symmetry, &net, "x.0.w")?.to_f32()?[..], [7.]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn moved(&self, symmetry: &Symmetry, params: &Params, name: &str) -> Result<Tensor> {
        let gather = Gather::new(symmetry, self, name, params.require(name)?)?;
        gather.apply(params.require(gather.source(name))?)
    }

    /// Acts on one of [`Symmetry::tensors`]. A tensor in which nothing moves shares its bytes with the result.
    ///
    /// # Errors
    /// Those of [`Gather::new`].
    ///
    /// ```
    /// use onebasin_core::Perm;
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
    /// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
    /// let moved = swap.apply_tensor(&symmetry, "fc2.weight", b.require("fc2.weight")?)?;
    /// assert_eq!(moved.to_f32()?[..], [5., 6.]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn apply_tensor(&self, symmetry: &Symmetry, name: &str, tensor: &Tensor) -> Result<Tensor> {
        Gather::new(symmetry, self, name, tensor)?.apply(tensor)
    }
}
