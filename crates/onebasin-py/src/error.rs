//! Errors as exceptions.

use onebasin::core::Error as CoreError;
use pyo3::create_exception;
use pyo3::exceptions::{PyKeyboardInterrupt, PyValueError};
use pyo3::prelude::*;

create_exception!(
    onebasin,
    Error,
    PyValueError,
    "What onebasin cannot do, and what to do about it. `kind` names what is wrong, in one word."
);
create_exception!(onebasin, FormatError, Error, "A file that cannot be read or written, or is not what it should be.");
create_exception!(
    onebasin,
    SymmetryError,
    Error,
    "Which units may be exchanged is not known, is no symmetry of the network, or does not fit its tensors."
);

/// The exception that an error is raised as.
pub(crate) fn raised(error: &onebasin::Error) -> PyErr {
    if error.is_interrupted() {
        return PyKeyboardInterrupt::new_err(error.to_string());
    }
    let text = said(error);
    let exception = match error.innermost() {
        onebasin::Error::File(_) | onebasin::Error::Unwritable { .. } => FormatError::new_err(text),
        onebasin::Error::NoSymmetry { .. }
        | onebasin::Error::NoGraph { .. }
        | onebasin::Error::WrongSymmetry(_)
        | onebasin::Error::Moved(_)
        | onebasin::Error::Core(CoreError::Symmetry(_)) => SymmetryError::new_err(text),
        _ => Error::new_err(text),
    };
    Python::attach(|py| {
        // An exception that takes no attribute is raised without it.
        let _ = exception.value(py).setattr("kind", error.kind());
    });
    exception
}

/// Its text; where it says what to do in words of the Rust library, in those of the package.
fn said(error: &onebasin::Error) -> String {
    match error {
        onebasin::Error::NoSymmetry { path } => format!(
            "{}: which units may be exchanged is not known; give `onebasin.symmetry(module, example)`, \
             `onebasin.symmetry(\"net.onnx\")`, the name of a built-in network, or patterns",
            path.display()
        ),
        onebasin::Error::NoGraph { path } => format!(
            "{}: this needs a network that runs, and its graph is not known; give `onebasin.symmetry(module, example)` or \
             `onebasin.symmetry(\"net.onnx\")`, which hold it",
            path.display()
        ),
        other => other.to_string(),
    }
}
