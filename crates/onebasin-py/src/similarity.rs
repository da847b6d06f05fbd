//! Similarities that Python computes, and activations that it records.

use std::sync::{Arc, Mutex, PoisonError};

use numpy::{PyArray1, PyArrayMethods};
use onebasin::core::Error as CoreError;
use onebasin::core::error::Result as CoreResult;
use onebasin::core::matching::{ActivationError, ActivationKind, ActivationSimilarity, Gram, Root, TapMoments};
use onebasin::core::symmetry::{GroupId, Pattern};
use onebasin::{Alignment, Symmetry, SymmetrySpec};
use pyo3::prelude::*;

use crate::aligned::Aligned;
use crate::error::raised;
use crate::model::Model;

/// A Gram as Python gives it: the groups it is over, beginning with the one asked for, and its entries, row after row.
type Told<'py> = (Vec<String>, Bound<'py, PyArray1<f64>>);

/// What a gain must be of the value at the start to be no rounding.
const ROUNDING: f64 = 1e-12;

/// A similarity that Python computes: an object with `grams(group, aligned)` and `objective(aligned)`.
pub(crate) struct Own {
    symmetry: Symmetry,
    roots: Vec<Root>,
    names: std::collections::BTreeMap<String, String>,
    source: Py<PyAny>,
    /// What Python raised, to be raised again.
    raised: Mutex<Option<PyErr>>,
}

impl Own {
    /// A similarity over the groups of a network; where it is `fixed`, that of a group does not depend on the alignment of others.
    ///
    /// # Errors
    /// What the similarity raises of the identity.
    pub(crate) fn new(py: Python<'_>, model: &Model, source: Py<PyAny>, fixed: bool) -> PyResult<Self> {
        let symmetry = model.known(py)?.clone();
        let mut roots: Vec<Root> = symmetry.roots().into_iter().map(Root::new).collect();
        let (all, names) = (0..roots.len(), model.model.own_names().clone());
        let mut own = Self { symmetry, roots: Vec::new(), names, source, raised: Mutex::default() };
        let value = own.value(py, &Alignment::identity(&own.symmetry))?;
        for (k, root) in roots.iter_mut().enumerate() {
            root.tolerance = ROUNDING * value.abs();
            root.neighbours = all.clone().filter(|&other| !fixed && other != k).collect();
        }
        own.roots = roots;
        Ok(own)
    }

    /// What Python raised, if anything.
    pub(crate) fn raised(&self) -> Option<PyErr> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn aligned(&self, alignment: &Alignment) -> Aligned {
        let (symmetry, alignment) = (self.symmetry.clone(), alignment.clone());
        let (record, file, account, made_for) = Default::default();
        let aligned = onebasin::Aligned { symmetry, alignment, record, file, account, made_for, turned: None };
        Aligned { found: Arc::new(aligned), pair: None, names: self.names.clone() }
    }

    fn value(&self, py: Python<'_>, alignment: &Alignment) -> PyResult<f64> {
        self.source.call_method1(py, "objective", (self.aligned(alignment),))?.extract(py)
    }

    fn told(&self, py: Python<'_>, root: GroupId, alignment: &Alignment) -> PyResult<CoreResult<Vec<Gram>>> {
        let name = &self.symmetry.group(root).name;
        let told: Vec<Told<'_>> =
            self.source.call_method1(py, "grams", (name, self.aligned(alignment)))?.extract(py)?;
        let gram = |(groups, entries): Told<'_>| -> PyResult<CoreResult<Gram>> {
            let data = entries.readonly().as_slice()?.to_vec();
            Ok(self.gram(root, &groups, data).map_err(|why| CoreError::Similarity { group: name.clone(), why }))
        };
        told.into_iter().map(gram).collect()
    }

    fn gram(&self, root: GroupId, groups: &[String], data: Vec<f64>) -> Result<Gram, String> {
        let named = |name: &String| self.symmetry.group_named(name).map_err(|_| format!("there is no group `{name}`"));
        let digits = groups.iter().map(named).collect::<Result<Vec<_>, _>>()?;
        let below = self.symmetry.descendants(root);
        if digits.first() != Some(&root) || digits[1..].iter().any(|digit| !below.contains(digit)) {
            return Err(format!("a Gram is over the group and groups of which it has copies, found {groups:?}"));
        }
        let lens: Vec<usize> = digits.iter().map(|&digit| self.symmetry.group(digit).size).collect();
        let side: usize = lens.iter().product();
        if data.len() != side * side {
            return Err(format!("a Gram of {side} × {side} numbers is needed, found {} numbers", data.len()));
        }
        if let Some(at) = data.iter().position(|value| !value.is_finite()) {
            return Err(format!("entry ({}, {}) is {}", at / side, at % side, data[at]));
        }
        Ok(Gram { digits, lens, data })
    }

    fn keep(&self, error: PyErr, root: Option<GroupId>) -> CoreError {
        let group = root.map_or_else(String::new, |root| self.symmetry.group(root).name.clone());
        let why = error.to_string();
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        CoreError::Similarity { group, why }
    }
}

impl onebasin::Source for Own {
    fn symmetry(&self) -> &Symmetry {
        &self.symmetry
    }

    fn roots(&self) -> &[Root] {
        &self.roots
    }

    fn grams(&self, root: GroupId, current: &Alignment) -> CoreResult<Vec<Gram>> {
        Python::attach(|py| self.told(py, root, current).unwrap_or_else(|error| Err(self.keep(error, Some(root)))))
    }

    fn objective(&self, alignment: &Alignment) -> CoreResult<f64> {
        Python::attach(|py| self.value(py, alignment).map_err(|error| self.keep(error, None)))
    }
}

/// Activations of two networks, batch by batch.
#[pyclass]
pub(crate) struct Activations {
    symmetry: Symmetry,
    taps: Vec<Tap>,
}

/// A value inside the network that batches of are seen.
struct Tap {
    name: String,
    pattern: Pattern,
    /// Of every axis that groups stand in; none before the first batch.
    moments: Vec<(usize, TapMoments)>,
}

#[pymethods]
impl Activations {
    /// No batch yet, of values with these patterns.
    #[new]
    fn new(py: Python<'_>, model: &Model, taps: Vec<(String, String)>) -> PyResult<Self> {
        let symmetry = model.known(py)?.clone();
        let tap = |(name, pattern): (String, String)| {
            let parsed = SymmetrySpec::from_patterns([(name.as_str(), pattern.as_str())]);
            let mut parsed = parsed.map_err(|error| raised(&error.into()))?;
            let pattern = parsed.tensors.remove(&name).unwrap_or(Pattern { axes: Vec::new() });
            Ok(Tap { name, pattern, moments: Vec::new() })
        };
        let taps = taps.into_iter().map(tap).collect::<PyResult<_>>()?;
        Ok(Self { symmetry, taps })
    }

    /// Takes a batch of the value in this place, as A and as B compute it: its shape, and the numbers of both.
    fn add(
        &mut self,
        py: Python<'_>,
        tap: usize,
        shape: Vec<usize>,
        a: Bound<'_, PyArray1<f32>>,
        b: Bound<'_, PyArray1<f32>>,
    ) -> PyResult<()> {
        let (a, b) = (a.readonly(), b.readonly());
        let (a, b, symmetry, tap) = (a.as_slice()?, b.as_slice()?, &self.symmetry, &mut self.taps[tap]);
        py.detach(|| tap.add(symmetry, &shape, a, b)).map_err(|error| raised(&error.into()))
    }
}

impl Tap {
    fn add(&mut self, symmetry: &Symmetry, shape: &[usize], a: &[f32], b: &[f32]) -> CoreResult<()> {
        let layout = symmetry.layout(&self.name, &self.pattern, shape)?;
        if self.moments.is_empty() {
            let stands = |axis: &usize| {
                let digits = layout.axes[*axis].occurrences.iter().flat_map(|occurrence| &occurrence.digits);
                digits.filter_map(|digit| digit.group).count() > 0
            };
            let axes = (0..layout.axes.len()).filter(stands);
            let new = |axis| Ok((axis, TapMoments::new(symmetry, &self.name, &layout, axis)?));
            self.moments = axes.map(new).collect::<CoreResult<_>>()?;
        }
        self.moments.iter_mut().try_for_each(|(_, moments)| moments.add(symmetry, &layout, a, b))
    }
}

impl Activations {
    /// What was seen.
    ///
    /// # Errors
    /// If of a tap no batch came, or numbers were not finite.
    pub(crate) fn seen(&self, uncentred: bool) -> CoreResult<ActivationSimilarity> {
        let kind = if uncentred { ActivationKind::Uncentred } else { ActivationKind::Pearson };
        if let Some(tap) = self.taps.iter().find(|tap| tap.moments.is_empty()) {
            return Err(ActivationError::NoSamples { name: tap.name.clone() }.into());
        }
        let moments = self.taps.iter().flat_map(|tap| tap.moments.iter().map(|(_, moments)| moments.clone()));
        ActivationSimilarity::new(&self.symmetry, moments.collect(), kind)
    }
}
