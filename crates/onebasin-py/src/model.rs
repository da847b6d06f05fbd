//! A network: tensors, and what says which of its units may be exchanged.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use onebasin::core::symmetry::GroupId;
use onebasin::nn::check::CheckOptions;
use onebasin::{Blueprint, Overview, Symmetry, SymmetrySpec};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arrays::{Item, params};
use crate::error::raised;
use crate::work::run;

/// Name, size, parent, copies.
type SeenGroup = (String, usize, Option<String>, usize);
/// The difference, what rounding makes, numbers compared, groups at fault, and a sentence.
type Checked = (f64, f64, usize, Vec<(String, f64)>, String);

/// A network: tensors, and what says which of its units may be exchanged.
#[pyclass(frozen)]
pub(crate) struct Model {
    pub(crate) model: Arc<onebasin::Model>,
    symmetry: OnceLock<Arc<Symmetry>>,
}

impl From<onebasin::Model> for Model {
    fn from(model: onebasin::Model) -> Self {
        Self { model: Arc::new(model), symmetry: OnceLock::new() }
    }
}

impl Model {
    pub(crate) fn known(&self, py: Python<'_>) -> PyResult<&Symmetry> {
        if self.symmetry.get().is_none() {
            let model = Arc::clone(&self.model);
            let found = run(py, None, move |_| model.symmetry())?;
            let _ = self.symmetry.set(Arc::new(found));
        }
        Ok(self.symmetry.get().expect("it was found"))
    }
}

fn blueprint(text: &str) -> PyResult<Blueprint> {
    options("symmetry", text)
}

/// Options as serde reads them.
pub(crate) fn options<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> PyResult<T> {
    serde_json::from_str(text).map_err(|error| {
        let error = error.to_string();
        let why = error.split(" at line ").next().unwrap_or_default().to_owned();
        PyValueError::new_err(format!("{what}: {why}"))
    })
}

#[pymethods]
impl Model {
    /// Opens a file of any format.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf, how: &str) -> PyResult<Self> {
        let how = blueprint(how)?;
        Ok(Self::from(run(py, None, move |_| onebasin::Model::open(path, &how))?))
    }

    /// Takes tensors in memory.
    #[staticmethod]
    fn hold(py: Python<'_>, name: String, tensors: Vec<Item<'_>>, how: &str) -> PyResult<Self> {
        let (params, how) = (params(tensors)?, blueprint(how)?);
        Ok(Self::from(run(py, None, move |_| onebasin::Model::hold(&name, params, &how))?))
    }

    /// Other tensors of a network of this structure.
    fn like(&self, py: Python<'_>, name: String, tensors: Vec<Item<'_>>) -> PyResult<Self> {
        let (params, model) = (params(tensors)?, Arc::clone(&self.model));
        Ok(Self::from(run(py, None, move |_| model.like(&name, params))?))
    }

    /// The same network with what is said by hand, as TOML.
    fn given(&self, py: Python<'_>, patterns: Vec<(String, String)>) -> PyResult<Self> {
        let patterns = patterns.iter().map(|(name, pattern)| (name.as_str(), pattern.as_str()));
        let spec = SymmetrySpec::from_patterns(patterns).map_err(|error| raised(&error.into()))?;
        let model = (*self.model).clone();
        Ok(Self::from(run(py, None, move |_| model.given(&spec))?))
    }

    /// Groups: name, size, parent, copies.
    fn groups(&self, py: Python<'_>) -> PyResult<Vec<SeenGroup>> {
        let symmetry = self.known(py)?;
        let group = |(id, group): (usize, &onebasin::core::symmetry::Group)| {
            let parent = group.parent.map(|parent| symmetry.group(parent).name.clone());
            (group.name.clone(), group.size, parent, symmetry.copies(GroupId(id)))
        };
        Ok(symmetry.groups().iter().enumerate().map(group).collect())
    }

    /// Tensors and the patterns of their axes.
    fn patterns(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        let spec = self.known(py)?.spec();
        Ok(spec.tensors.iter().map(|(name, pattern)| (name.clone(), pattern.to_string())).collect())
    }

    /// The symmetry as a file of the program, in TOML.
    fn toml(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.known(py)?.spec().to_toml())
    }

    /// Values in which groups show while the network runs, and their patterns.
    fn taps(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        let model = Arc::clone(&self.model);
        run(py, None, move |_| model.taps())
    }

    fn why(&self, py: Python<'_>, tensor: String, axis: usize) -> PyResult<Vec<String>> {
        let model = Arc::clone(&self.model);
        run(py, None, move |_| model.why(&tensor, axis))
    }

    /// What a random element of the symmetry changes: the difference, what rounding makes, numbers compared, groups at fault.
    fn check(&self, py: Python<'_>, seed: u64) -> PyResult<Checked> {
        let (model, symmetry) = (Arc::clone(&self.model), self.known(py)?.clone());
        let options = CheckOptions { seed, ..CheckOptions::default() };
        let found = run(py, None, move |_| model.check(&symmetry, &options))?;
        let text = found.to_string();
        Ok((found.difference, found.tolerance, found.compared, found.faults, text))
    }

    /// What there is to see of it, as text this wide and as JSON.
    fn overview(&self, py: Python<'_>, width: usize) -> PyResult<(String, String)> {
        let model = Arc::clone(&self.model);
        let seen = run(py, None, move |_| Overview::of(&model))?;
        let json = serde_json::to_string(&seen).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok((seen.text(width, false), json))
    }

    #[getter]
    fn runs(&self) -> bool {
        self.model.runs()
    }

    #[getter]
    fn remarks(&self) -> Vec<String> {
        self.model.remarks().to_vec()
    }

    #[getter]
    fn name(&self) -> String {
        self.model.path().display().to_string()
    }
}
