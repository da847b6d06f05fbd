//! The Rust half of the Python package: thin, over the crate [`onebasin`], whose documentation it follows.
//!
//! Options come as JSON, as serde reads them; tensors as flat bytes with a name, an element type and a shape. What makes
//! these of torch, JAX and NumPy arrays, nested or not, is the package's own Python.

#![allow(clippy::needless_pass_by_value, reason = "arguments come from Python as values")]

mod aligned;
mod arrays;
mod error;
mod model;
mod pair;
mod samples;
mod similarity;
mod work;

use pyo3::prelude::*;

/// The Rust half of the package `onebasin`.
#[pymodule]
mod _onebasin {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::aligned::Aligned;
    #[pymodule_export]
    use super::error::{Error, FormatError, SymmetryError};
    #[pymodule_export]
    use super::model::Model;
    #[pymodule_export]
    use super::pair::{Pair, merge_many};
    #[pymodule_export]
    use super::samples::Samples;
    #[pymodule_export]
    use super::similarity::Activations;
    #[pymodule_export]
    use super::{between, program, read, template, write};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// Runs the program `onebasin` with these arguments, the first of which is its name; its exit code.
#[pyfunction]
fn program(py: Python<'_>, arguments: Vec<String>) -> u8 {
    py.detach(|| onebasin_cli::run(arguments.into_iter().map(Into::into)))
}

/// A symmetry begun from names and shapes: names and patterns, and as a file.
#[pyfunction]
fn template(tensors: Vec<(String, Vec<usize>)>) -> (Vec<(String, String)>, String) {
    let shapes = tensors.iter().map(|(name, shape)| (name.as_str(), &shape[..]));
    let template = onebasin::core::symmetry::Template::of(shapes);
    (template.lines.iter().map(|line| (line.name.clone(), line.pattern())).collect(), template.to_toml())
}

/// The tensors of a file of any format.
#[pyfunction]
fn read(py: Python<'_>, path: std::path::PathBuf) -> PyResult<arrays::Given<'_>> {
    let read = move |_: &work::Watch| Ok(onebasin::io::read(&path)?.params);
    arrays::given(py, work::run(py, None, read)?)
}

/// Writes tensors as safetensors.
#[pyfunction]
fn write(py: Python<'_>, path: std::path::PathBuf, tensors: Vec<arrays::Item<'_>>) -> PyResult<()> {
    let params = arrays::params(tensors)?;
    work::run(py, None, move |_| Ok(onebasin::io::write(&path, &params, &onebasin::io::Metadata::default())?))
}

/// The network at λ on the straight line between two in the same numbering.
#[pyfunction]
fn between<'py>(
    py: Python<'py>,
    a: Vec<arrays::Item<'py>>,
    b: Vec<arrays::Item<'py>>,
    lambda: f64,
) -> PyResult<arrays::Given<'py>> {
    let (a, b) = (arrays::params(a)?, arrays::params(b)?);
    let line = onebasin::Interpolation::Lerp;
    let between = work::run(py, None, move |_| Ok(onebasin::core::merge::merge(&a, &b, lambda, line)?))?;
    arrays::given(py, between)
}
