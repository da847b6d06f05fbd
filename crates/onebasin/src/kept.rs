//! The state of a solve as a file, from which a later run goes on.

use std::path::Path;

use onebasin_core::{Params, Tensor};
use onebasin_io::{Metadata, read, write};
use onebasin_nn::SolveState;
use serde_json::Value;

use crate::error::{Error, Result};

const DONE: &str = "onebasin.solve.done";
const OF: &str = "onebasin.solve.of";
const NETWORK: &str = "network/";
const ALIGNMENT: &str = "alignment/";

/// Where the state of a solve is kept, and what the solve is of.
pub(crate) struct KeptSolve<'a> {
    pub(crate) path: &'a Path,
    /// Options, networks and samples: a state of others is refused.
    pub(crate) of: &'a Value,
    /// How the networks are aligned, as it is written to a file: a state of another alignment is refused.
    pub(crate) alignment: &'a Params,
    /// Whether to go on from what is there.
    pub(crate) resume: bool,
}

impl KeptSolve<'_> {
    pub(crate) fn save(&self, state: &SolveState) -> Result<()> {
        let mut metadata = Metadata::default();
        metadata.set_json(DONE, &Value::from(state.done));
        metadata.set_json(OF, self.of);
        let of = |prefix: &str, params: &Params| -> Vec<(String, Tensor)> {
            params.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone())).collect()
        };
        let all = of(NETWORK, &state.params).into_iter().chain(of(ALIGNMENT, self.alignment)).collect();
        Ok(write(self.path, &all, &metadata)?)
    }

    /// The state to go on from, if that is asked for.
    pub(crate) fn load(&self) -> Result<Option<SolveState>> {
        if !self.resume {
            return Ok(None);
        }
        let none = |why: String| Error::NoState { path: self.path.to_owned(), why };
        let file = read(self.path).map_err(|why| none(why.to_string()))?;
        let saved: Option<Value> = file.metadata.get_json(OF)?;
        let part = |prefix: &str| -> Params {
            file.params.iter().filter_map(|(n, t)| Some((n.strip_prefix(prefix)?.to_owned(), t.clone()))).collect()
        };
        if saved.as_ref() != Some(self.of) || part(ALIGNMENT) != *self.alignment {
            let saved = saved.unwrap_or_default().to_string();
            return Err(Error::OtherRun { path: self.path.to_owned(), saved });
        }
        let done: Option<usize> = file.metadata.get_json(DONE)?;
        let done = done.ok_or_else(|| none(format!("no `{DONE}` in its header")))?;
        Ok(Some(SolveState { params: part(NETWORK), done }))
    }
}

/// Removes a state that nothing is left of to go on with. One that cannot be removed harms nobody: another run refuses it.
pub(crate) fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}
