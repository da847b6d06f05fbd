//! Samples of arrays.

use std::sync::Arc;

use numpy::{PyArray1, PyArrayMethods};
use onebasin::{Arrays, Field, FieldKind};
use pyo3::prelude::*;

use crate::error::raised;

/// One field of samples: its name, the shape of one sample, below which whole number its entries lie (none for reals), and all
/// numbers, sample after sample.
type Given<'py> = (String, Vec<usize>, Option<usize>, Bound<'py, PyArray1<f32>>);

/// Samples in memory: what networks are fed, and what they ought to answer.
#[pyclass(frozen)]
#[derive(Clone)]
pub(crate) struct Samples {
    pub(crate) arrays: Arc<Arrays>,
}

#[pymethods]
impl Samples {
    #[new]
    #[pyo3(signature = (name, inputs, target=None))]
    fn new(name: &str, inputs: Vec<Given<'_>>, target: Option<Given<'_>>) -> PyResult<Self> {
        let field = |(name, shape, below, numbers): Given<'_>| {
            let kind = below.map_or(FieldKind::Real, |below| FieldKind::Index { below });
            Ok((Field { name, shape, kind }, numbers.readonly().as_slice()?.to_vec()))
        };
        let inputs = inputs.into_iter().map(field).collect::<PyResult<_>>()?;
        let arrays = Arrays::new(name, inputs, target.map(field).transpose()?);
        Ok(Self { arrays: Arc::new(arrays.map_err(|error| raised(&error.into()))?) })
    }
}
