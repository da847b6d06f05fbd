//! Alignments that turn units as well, as files: beside the indices of every group its turns, and in the header its kind.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use onebasin_core::kinds::{Kind, Kinds, Motion, Side, Turn};
use onebasin_core::symmetry::{GroupId, Symmetry};
use onebasin_core::{Params, Tensor};
use onebasin_io::{Checkpoint, Metadata, SYMMETRY, alignment_from_params, alignment_to_params, write};

use super::Aligned;
use crate::error::{Error, InFile, Result};
use crate::frame::Turned;
use crate::model::Model;

/// Header entry of an alignment that says of which kind each group is; of those by permutations alone, missing.
pub(super) const KINDS: &str = "onebasin.kinds";
/// What follows the name of a group in the name of the tensor of its turns.
const TURN: &str = ".turn";

impl Aligned {
    /// Writes it with its turns.
    pub(super) fn write_turned(path: &Path, turned: &Turned, mut header: Metadata) -> Result<()> {
        let Turned { kinds, motion } = turned;
        let params = motion_to_params(kinds, motion)?;
        header.set_json(KINDS, &serde_json::json!(names(kinds)));
        header.set(SYMMETRY, kinds.symmetry.spec().to_toml());
        Ok(write(path, &params, &header)?)
    }

    /// The turns of a file, for a network whose canonical form has these groups.
    pub(super) fn read_turned(file: &Checkpoint, b: &Model) -> Result<(Symmetry, Arc<Turned>)> {
        let no_graph = || Error::NoGraph { path: b.path().to_owned() };
        let kinds = b.outline()?.ok_or_else(no_graph)?.kinds;
        let said: BTreeMap<String, Kind> = file.metadata.get_json(KINDS)?.unwrap_or_default();
        let symmetry = kinds.symmetry.clone();
        if said != names(&kinds) || file.metadata.get(SYMMETRY) != Some(&symmetry.spec().to_toml()) {
            let why = "its groups and their kinds are not those of this network";
            return Err(Error::OtherKinds { path: b.path().to_owned(), why }).in_file(&file.path);
        }
        let motion = motion_from_params(&kinds, &file.params)?;
        Ok((symmetry, Arc::new(Turned { kinds, motion })))
    }
}

/// An element as tensors: indices of every group, and its turns.
pub(super) fn motion_to_params(kinds: &Kinds, motion: &Motion) -> Result<Params> {
    let symmetry = &kinds.symmetry;
    let mut params = alignment_to_params(symmetry, &motion.alignment)?;
    for (id, copies) in &motion.turns {
        let mut shape: Vec<usize> = symmetry.ancestors(*id).iter().map(|a| symmetry.group(*a).size).collect();
        let n = symmetry.group(*id).size;
        let numbers: Vec<f64> = match kinds.kind(*id) {
            Kind::Permutation | Kind::Still => continue,
            Kind::Signed => {
                shape.push(n);
                let diagonal = |turn: &Turn| turn.matrix(Side::Along).into_iter().step_by(n + 1).collect::<Vec<_>>();
                copies.iter().flat_map(diagonal).collect()
            }
            Kind::Orthogonal | Kind::Centred | Kind::Phases => {
                shape.extend([n, n]);
                copies.iter().flat_map(|turn| turn.matrix(Side::Along)).collect()
            }
        };
        params.insert(format!("{}{TURN}", symmetry.group(*id).name), Tensor::from_f64(&shape, numbers)?);
    }
    Ok(params)
}

/// The element that such tensors are.
pub(super) fn motion_from_params(kinds: &Kinds, params: &Params) -> Result<Motion> {
    let symmetry = &kinds.symmetry;
    let alignment = alignment_from_params(symmetry, params)?;
    let mut turns = BTreeMap::new();
    for id in (0..symmetry.groups().len()).map(GroupId) {
        let name = format!("{}{TURN}", symmetry.group(id).name);
        let Some(tensor) = params.get(&name) else { continue };
        let (n, copies) = (symmetry.group(id).size, symmetry.copies(id));
        turns.insert(id, turns_of(kinds.kind(id), &name, tensor, n, copies)?);
    }
    Ok(Motion { alignment, turns })
}

fn names(kinds: &Kinds) -> BTreeMap<String, Kind> {
    let groups = kinds.symmetry.groups().iter().enumerate();
    groups.map(|(id, group)| (group.name.clone(), kinds.kind(GroupId(id)))).collect()
}

/// The turns of all copies of a group.
fn turns_of(kind: Kind, name: &str, tensor: &Tensor, n: usize, copies: usize) -> Result<Vec<Turn>> {
    tensor.check_finite(name)?;
    let numbers = tensor.to_f64()?;
    let each = if kind == Kind::Signed { n } else { n * n };
    if numbers.len() != copies * each {
        let (expected, found) = (vec![copies, each], tensor.shape().to_vec());
        let error = onebasin_core::Error::Shape { tensor: name.to_owned(), expected, place: "the network", found };
        return Err(error.into());
    }
    let half = n / 2;
    let turn = |numbers: &[f64]| match kind {
        Kind::Signed => Turn::Scales(numbers.to_vec()),
        Kind::Phases => Turn::Phases((0..half).map(|f| [numbers[f * n + f], numbers[(f + half) * n + f]]).collect()),
        Kind::Orthogonal | Kind::Centred | Kind::Permutation | Kind::Still => {
            Turn::Matrix { rows: numbers.to_vec(), against: None }
        }
    };
    Ok(numbers.chunks_exact(each.max(1)).map(turn).collect())
}
