//! Two networks, or many: matched, merged, measured.

use std::path::PathBuf;
use std::sync::Arc;

use onebasin::{Align, Many, Measure, Merge, MergeMany};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::json;

use crate::aligned::Aligned;
use crate::arrays::{Given, given};
use crate::error::raised;
use crate::model::{Model, options};
use crate::samples::Samples;
use crate::similarity::{Activations, Own};
use crate::work::run;

/// Two networks of the same structure: A, which stays, and B, which moves.
#[pyclass(frozen)]
pub(crate) struct Pair {
    pair: onebasin::Pair,
}

#[pymethods]
impl Pair {
    #[new]
    fn new(py: Python<'_>, a: &Model, b: &Model) -> PyResult<Self> {
        let (a, b) = (Arc::clone(&a.model), Arc::clone(&b.model));
        let pair = run(py, None, move |_| onebasin::Pair::new((*a).clone(), (*b).clone()))?;
        Ok(Self { pair })
    }

    /// What the user should know of how the two fit.
    #[getter]
    fn remarks(&self) -> Vec<String> {
        self.pair.a().remarks().iter().chain(self.pair.b().remarks()).cloned().collect()
    }

    /// Finds the alignment of B with A, after the symmetry was tested.
    #[pyo3(signature = (how, train=None, check=true, tell=None))]
    fn align(
        &self,
        py: Python<'_>,
        how: &str,
        train: Option<Py<Samples>>,
        check: bool,
        tell: Option<Py<PyAny>>,
    ) -> PyResult<Aligned> {
        let (how, pair): (Align, _) = (options("match", how)?, self.pair.clone());
        let train = train.map(|samples| samples.get().clone());
        let aligned = run(py, tell, move |watch| {
            let context = watch.context(train.as_ref(), None);
            tested(&pair, check, &context)?;
            pair.align(&how, &context)
        })?;
        Ok(self.aligned(aligned))
    }

    /// Finds the alignment with the highest value of a similarity that Python computes, after the symmetry was tested.
    #[pyo3(signature = (source, fixed, how, check=true, tell=None))]
    fn align_by(
        &self,
        py: Python<'_>,
        source: Py<PyAny>,
        fixed: bool,
        how: &str,
        check: bool,
        tell: Option<Py<PyAny>>,
    ) -> PyResult<Aligned> {
        let (how, pair): (Align, _) = (options("match", how)?, self.pair.clone());
        let own = Arc::new(Own::new(py, &Model::from(pair.a().clone()), source, fixed)?);
        let asked = Arc::clone(&own);
        let aligned = run(py, tell, move |watch| {
            let context = watch.context(None, None);
            tested(&pair, check, &context)?;
            pair.align_by(&*asked, "a similarity of the caller's own", &how, &context)
        });
        match own.raised() {
            Some(error) => Err(error),
            None => Ok(self.aligned(aligned?)),
        }
    }

    /// Finds the alignment by activations that were recorded, after the symmetry was tested.
    #[pyo3(signature = (seen, how, check=true, tell=None))]
    fn align_on(
        &self,
        py: Python<'_>,
        seen: &Activations,
        how: &str,
        check: bool,
        tell: Option<Py<PyAny>>,
    ) -> PyResult<Aligned> {
        let (how, pair): (Align, _) = (options("match", how)?, self.pair.clone());
        let seen = seen.seen(how.uncentred).map_err(|error| raised(&error.into()))?;
        let aligned = run(py, tell, move |watch| {
            let context = watch.context(None, None);
            tested(&pair, check, &context)?;
            pair.align_on(seen, &how, &context)
        })?;
        Ok(self.aligned(aligned))
    }

    /// Merges the two, to tensors or to a file; and how it was solved, as JSON, where it was.
    #[pyo3(signature = (aligned, how, train=None, output=None, tell=None))]
    fn merge<'py>(
        &self,
        py: Python<'py>,
        aligned: &Aligned,
        how: &str,
        train: Option<Py<Samples>>,
        output: Option<PathBuf>,
        tell: Option<Py<PyAny>>,
    ) -> PyResult<(Given<'py>, Option<String>)> {
        let (how, pair, aligned): (Merge, _, _) =
            (options("merge", how)?, self.pair.clone(), Arc::clone(&aligned.found));
        let train = train.map(|samples| samples.get().clone());
        let (params, solved) = run(py, tell, move |watch| {
            let merged = pair.merge(&aligned, &how, &watch.context(train.as_ref(), None))?;
            match output {
                Some(output) => Ok((onebasin::Params::new(), merged.write(output)?.solved)),
                None => merged.tensors(),
            }
        })?;
        Ok((given(py, params)?, solved.map(|solved| json!(solved).to_string())))
    }

    /// Loss and accuracy on the way from A to B, naive and by every alignment: the report, as JSON.
    #[pyo3(signature = (aligned, how, train, test, tell=None))]
    fn barrier(
        &self,
        py: Python<'_>,
        aligned: Vec<(String, Py<Aligned>)>,
        how: &str,
        train: Py<Samples>,
        test: Py<Samples>,
        tell: Option<Py<PyAny>>,
    ) -> PyResult<String> {
        let (how, pair): (Measure, _) = (options("barrier", how)?, self.pair.clone());
        let aligned: Vec<_> = aligned.into_iter().map(|(name, a)| (name, Arc::clone(&a.get().found))).collect();
        let (train, test) = (train.get().clone(), test.get().clone());
        let report = run(py, tell, move |watch| {
            let named: Vec<(&str, &onebasin::Aligned)> =
                aligned.iter().map(|(name, a)| (name.as_str(), &**a)).collect();
            pair.barrier(&named, &how, &watch.context(Some(&train), Some(&test)))
        })?;
        serde_json::to_string(&report).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// What kind of pair they are under an alignment: its text, and JSON.
    fn diagnose(&self, py: Python<'_>, aligned: &Aligned, seed: u64) -> PyResult<(String, String)> {
        let (pair, aligned) = (self.pair.clone(), Arc::clone(&aligned.found));
        let found = run(py, None, move |_| pair.diagnose(&aligned, seed))?;
        Ok((found.to_string(), json!(found).to_string()))
    }
}

/// Passes only if both networks hold numbers, and the symmetry leaves what they compute as it is.
fn tested(pair: &onebasin::Pair, check: bool, context: &onebasin::Context<'_>) -> onebasin::Result<()> {
    if check {
        pair.check_finite()?;
        pair.ensure(&pair.a().symmetry()?, context)?;
    }
    Ok(())
}

impl Pair {
    fn aligned(&self, aligned: onebasin::Aligned) -> Aligned {
        let in_files = [self.pair.a(), self.pair.b()].iter().all(|model| !model.files().is_empty());
        Aligned {
            found: Arc::new(aligned),
            pair: in_files.then(|| self.pair.clone()),
            names: self.pair.b().own_names().clone(),
        }
    }
}

/// Aligns many networks with each other and averages them: tensors or a file, the alignment of each, and how they were found, as
/// JSON.
#[pyfunction]
#[pyo3(signature = (models, how, train=None, start=None, output=None, tell=None))]
pub(crate) fn merge_many<'py>(
    py: Python<'py>,
    models: Vec<Py<Model>>,
    how: &str,
    train: Option<Py<Samples>>,
    start: Option<Vec<Py<Aligned>>>,
    output: Option<PathBuf>,
    tell: Option<Py<PyAny>>,
) -> PyResult<(Given<'py>, Vec<Aligned>, Option<String>)> {
    let how: MergeMany = options("merge_many", how)?;
    let train = train.map(|samples| samples.get().clone());
    let models: Vec<_> = models.iter().map(|model| Arc::clone(&model.get().model)).collect();
    let begun = |aligned: &Py<Aligned>| {
        let found = &aligned.get().found;
        found.permutes("a start of many").map_err(|error| raised(&error))?;
        Ok(found.alignment.clone())
    };
    let start: Option<Vec<_>> = start.map(|start| start.iter().map(begun).collect::<PyResult<Vec<_>>>()).transpose()?;
    let (params, mean, many) = run(py, tell, move |watch| {
        let many = Many::new(models.iter().map(|model| (**model).clone()).collect())?;
        let context = watch.context(train.as_ref(), None);
        let mut mean = match &start {
            Some(start) => how.run_from(&many, start, &context)?,
            None => how.run(&many, &context)?,
        };
        if let Some(output) = &output {
            mean.write(output, &context)?;
        }
        let params = if output.is_some() { onebasin::Params::new() } else { mean.take_tensors() };
        Ok((params, mean, many))
    })?;
    let aligned = many.models().iter().enumerate().map(|(network, model)| Aligned {
        found: Arc::new(mean.aligned(network)),
        pair: None,
        names: model.own_names().clone(),
    });
    let found = mean.found.as_ref().map(|found| {
        json!({
            "objective": found.objective, "start_objective": found.start_objective, "rounds": found.rounds, "stop": found.stop,
        })
        .to_string()
    });
    Ok((given(py, params)?, aligned.collect(), found))
}
