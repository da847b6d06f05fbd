//! An alignment, with the symmetry it belongs to and how it was found.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use numpy::{IntoPyArray, PyArrayDyn, PyArrayMethods};
use onebasin::core::report::MatchRecord;
use onebasin::core::symmetry::GroupId;
use onebasin::{Alignment, Perm, Symmetry};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use serde_json::{Value, json};

use crate::arrays::{Given, Item, given, params};
use crate::error::raised;
use crate::model::{Model, options};
use crate::work::run;

/// Name, size, parent, copies, units moved.
type MovedGroup = (String, usize, Option<String>, usize, usize);

/// An alignment, with the symmetry it belongs to and how it was found.
#[pyclass(frozen)]
pub(crate) struct Aligned {
    pub(crate) found: Arc<onebasin::Aligned>,
    /// Both networks, where they lie in files: their digests are written with the alignment.
    pub(crate) pair: Option<onebasin::Pair>,
    /// Names of tensors in B, where they are others in A.
    pub(crate) names: BTreeMap<String, String>,
}

impl Aligned {
    fn like(&self, aligned: onebasin::Aligned) -> Self {
        Self { found: Arc::new(aligned), pair: None, names: self.names.clone() }
    }
}

#[pymethods]
impl Aligned {
    /// Groups: name, size, parent, copies, units moved.
    fn groups(&self) -> Vec<MovedGroup> {
        let symmetry = &self.found.symmetry;
        let moved = self.found.moved();
        let group = |(id, group): (usize, &onebasin::core::symmetry::Group)| {
            let parent = group.parent.map(|parent| symmetry.group(parent).name.clone());
            (group.name.clone(), group.size, parent, symmetry.copies(GroupId(id)), moved[id].1)
        };
        symmetry.groups().iter().enumerate().map(group).collect()
    }

    /// The permutation of a group; of a family, one a copy, in an array with an axis for every ancestor.
    fn perm<'py>(&self, py: Python<'py>, group: &str) -> PyResult<Bound<'py, PyArrayDyn<u32>>> {
        let symmetry = &self.found.symmetry;
        let Ok(id) = symmetry.group_named(group) else { return Err(PyKeyError::new_err(group.to_owned())) };
        let mut shape: Vec<usize> = symmetry.ancestors(id).iter().map(|a| symmetry.group(*a).size).collect();
        shape.push(symmetry.group(id).size);
        let units: Vec<u32> = self.found.alignment.copies(id).iter().flat_map(Perm::as_slice).copied().collect();
        units.into_pyarray(py).reshape(shape)
    }

    /// How it was found, as JSON; none where it was not found here.
    fn record(&self) -> Option<String> {
        self.found.record.as_ref().map(|record| json!(record).to_string())
    }

    fn text(&self) -> String {
        self.found.to_string()
    }

    /// Tensors of B, units renumbered; those that the network does not use are left out.
    fn apply<'py>(&self, py: Python<'py>, tensors: Vec<Item<'_>>) -> PyResult<Given<'py>> {
        let (all, aligned, names) = (params(tensors)?, Arc::clone(&self.found), self.names.clone());
        let moved = run(py, None, move |_| {
            let own = |name: &str| {
                names.get(name).filter(|own| all.get(own).is_some()).cloned().unwrap_or_else(|| name.to_owned())
            };
            let tensor = |name: &str| Some((name.to_owned(), all.get(&own(name))?.clone()));
            let moved = aligned.apply(&aligned.symmetry.names().filter_map(tensor).collect())?;
            Ok(moved.into_iter().map(|(name, tensor)| (own(&name), tensor)).collect())
        })?;
        given(py, moved)
    }

    fn inverse(&self) -> Self {
        self.like(self.found.inverse())
    }

    /// The alignment that does `first` and then this.
    fn compose(&self, first: &Self) -> PyResult<Self> {
        for aligned in [self, first] {
            aligned.found.permutes("composing").map_err(|error| raised(&error))?;
        }
        let symmetry = &self.found.symmetry;
        if first.found.symmetry != *symmetry {
            return Err(PyValueError::new_err(
                "only alignments of one symmetry can be composed: groups or tensors differ",
            ));
        }
        let alignment = self.found.alignment.compose(symmetry, &first.found.alignment);
        Ok(self.like(onebasin::Aligned {
            alignment,
            record: None,
            file: None,
            made_for: Vec::new(),
            ..(*self.found).clone()
        }))
    }

    fn is_identity(&self) -> bool {
        self.found.turned.is_none() && self.found.alignment.is_identity()
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let (aligned, pair) = (Arc::clone(&self.found), self.pair.clone());
        run(py, None, move |_| match &pair {
            Some(pair) => aligned.write(&path, pair).map(drop),
            None => aligned.save(&path),
        })
    }

    /// Reads an alignment of this network.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf, model: &Model) -> PyResult<Self> {
        let model = Arc::clone(&model.model);
        let (aligned, names) =
            run(py, None, move |_| Ok((onebasin::Aligned::read(&path, &model)?, model.own_names().clone())))?;
        Ok(Self { found: Arc::new(aligned), pair: None, names })
    }

    /// All there is to it, as JSON.
    fn state(&self) -> PyResult<String> {
        let Self { found: aligned, names, .. } = self;
        aligned.permutes("pickling").map_err(|error| raised(&error))?;
        Ok(json!({
            "symmetry": aligned.symmetry, "alignment": aligned.alignment, "record": aligned.record,
            "account": aligned.account, "names": names,
        })
        .to_string())
    }

    #[staticmethod]
    fn of_state(text: &str) -> PyResult<Self> {
        let mut state: BTreeMap<String, Value> = options("alignment", text)?;
        let mut part = |name: &str| state.remove(name).unwrap_or_default();
        let (symmetry, record): (Symmetry, Option<MatchRecord>) = (read(part("symmetry"))?, read(part("record"))?);
        let alignment: Alignment = read(part("alignment"))?;
        alignment.check(&symmetry).map_err(|error| raised(&error.into()))?;
        let account = read(part("account"))?;
        let names = read(part("names"))?;
        let aligned =
            onebasin::Aligned { symmetry, alignment, record, file: None, account, made_for: Vec::new(), turned: None };
        Ok(Self { found: Arc::new(aligned), pair: None, names })
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> PyResult<T> {
    serde_json::from_value(value).map_err(|error| PyValueError::new_err(format!("alignment: {error}")))
}
