//! Alignments as files: one tensor of indices per group, the symmetry in the header.

use std::path::Path;

use onebasin_core::symmetry::{Alignment, AlignmentError, GroupId, Symmetry, SymmetrySpec};
use onebasin_core::{Params, Perm, Tensor};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::target::write;

/// Header entry that holds the symmetry an alignment belongs to, as TOML.
pub const SYMMETRY: &str = "onebasin.symmetry";

/// Writes an alignment as safetensors, atomically, with these header entries and the symmetry.
///
/// Shapes: for a group of `n` units one u32 tensor of its name and shape `[n]`; for a family `[p, …, n]`, one index
/// vector for every unit of its ancestors, outermost first. Entry `i` is the source unit of result unit `i`.
///
/// # Errors
/// As [`write`](crate::write()).
pub fn write_alignment(path: &Path, symmetry: &Symmetry, alignment: &Alignment, header: Metadata) -> Result<()> {
    let params =
        alignment_to_params(symmetry, alignment).map_err(|source| Error::Core { path: path.to_owned(), source })?;
    let mut metadata = header;
    metadata.set(SYMMETRY, symmetry.spec().to_toml());
    write(path, &params, &metadata)
}

/// An alignment as tensors, in the shapes that [`write_alignment`] tells.
///
/// # Errors
/// If a group is too large for its indices.
pub fn alignment_to_params(symmetry: &Symmetry, alignment: &Alignment) -> onebasin_core::error::Result<Params> {
    let tensor = |(id, group): (GroupId, &onebasin_core::symmetry::Group)| {
        let mut shape: Vec<usize> = symmetry.ancestors(id).iter().map(|a| symmetry.group(*a).size).collect();
        shape.push(group.size);
        let values = alignment.copies(id).iter().flat_map(Perm::as_slice).copied().collect();
        Ok((group.name.clone(), Tensor::from_u32(&shape, values)?))
    };
    groups(symmetry).map(tensor).collect()
}

/// The alignment that tensors hold.
///
/// # Errors
/// [`AlignmentError`] names the group whose indices are missing, too few or too many, or no permutation.
pub fn alignment_from_params(symmetry: &Symmetry, params: &Params) -> onebasin_core::error::Result<Alignment> {
    let mut perms = Vec::new();
    for (id, group) in groups(symmetry) {
        let named =
            |e| onebasin_core::Error::from(AlignmentError::Group { group: group.name.clone(), source: Box::new(e) });
        let values = params.require(&group.name).and_then(Tensor::to_u32).map_err(named)?;
        let expected = symmetry.copies(id) * group.size;
        if values.len() != expected {
            let (group, found) = (group.name.clone(), values.len());
            return Err(AlignmentError::Indices { group, expected, found }.into());
        }
        let copy = |c: usize| Perm::new(values[c * group.size..][..group.size].to_vec());
        perms.push((0..symmetry.copies(id)).map(copy).collect::<onebasin_core::error::Result<_>>().map_err(named)?);
    }
    Alignment::new(symmetry, perms)
}

/// Reads an alignment and fits its symmetry to a network.
///
/// # Errors
/// [`Error::NotAlignment`] if the file is none, [`Error::OtherNetwork`] if it was made for another network,
/// [`Error::Alignment`] if it holds something that is no permutation.
pub fn read_alignment(file: &Checkpoint, params: &Params) -> Result<(Symmetry, Alignment)> {
    let path = || file.path.clone();
    let text = file.metadata.get(SYMMETRY).ok_or_else(|| Error::NotAlignment { path: path(), entry: SYMMETRY })?;
    let spec = SymmetrySpec::from_toml(text).map_err(|source| Error::Symmetry { path: path(), source })?;
    let fit = Symmetry::resolve(&spec, params);
    let symmetry = fit.map_err(|source| Error::OtherNetwork { path: path(), source })?;
    let found = alignment_from_params(&symmetry, &file.params);
    let alignment = found.map_err(|source| Error::Alignment { path: path(), source })?;
    Ok((symmetry, alignment))
}

fn groups(symmetry: &Symmetry) -> impl Iterator<Item = (GroupId, &onebasin_core::symmetry::Group)> {
    symmetry.groups().iter().enumerate().map(|(i, group)| (GroupId(i), group))
}
