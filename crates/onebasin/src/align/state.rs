//! The state of straight-through matching as a file.

use std::path::Path;

use onebasin_core::assignment::Duals;
use onebasin_core::symmetry::{Alignment, Symmetry};
use onebasin_core::{Params, Tensor};
use onebasin_io::{Metadata, alignment_from_params, alignment_to_params, read, write};
use onebasin_nn::SteState;
use onebasin_nn::optim::Optimizer;
use serde_json::Value;
use serde_json::json;

use crate::error::{Error, Result};

const STATE: &str = "onebasin.ste.state";
const OPTIONS: &str = "onebasin.ste.options";

/// Where the state of a run is kept, and what the run is of.
pub(super) struct StateFile<'a> {
    pub(super) path: &'a Path,
    pub(super) symmetry: &'a Symmetry,
    /// Options, networks and data: a state of others is refused.
    pub(super) inputs: &'a Value,
}

impl StateFile<'_> {
    pub(super) fn save(&self, state: &SteState) -> Result<()> {
        let mut all = Params::new();
        let mut add = |prefix: &str, params: &Params| {
            params.iter().for_each(|(name, t)| all.insert(format!("{prefix}/{name}"), t.clone()));
        };
        add("target", &state.target);
        state.moments.iter().enumerate().for_each(|(k, m)| add(&format!("moment{k}"), m));
        add("current", &alignment_to_params(self.symmetry, &state.current)?);
        add("best", &alignment_to_params(self.symmetry, &state.best)?);
        for (k, duals) in state.duals.iter().flatten().enumerate() {
            all.insert(format!("prices/{k}"), Tensor::from_f64(&[duals.col.len()], duals.col.clone())?);
        }
        let mut metadata = Metadata::default();
        metadata.set_json(STATE, &json!([state.step, state.best_loss, state.stale]));
        metadata.set_json(OPTIONS, self.inputs);
        Ok(write(self.path, &all, &metadata)?)
    }

    pub(super) fn load(&self, optimizer: Optimizer) -> Result<SteState> {
        let none = |why: String| Error::NoState { path: self.path.to_owned(), why };
        let file = read(self.path).map_err(|why| none(why.to_string()))?;
        let saved: Option<Value> = file.metadata.get_json(OPTIONS)?;
        if saved.as_ref() != Some(self.inputs) {
            let saved = saved.unwrap_or_default().to_string();
            return Err(Error::OtherRun { path: self.path.to_owned(), saved });
        }
        let state: Option<(u64, f64, usize)> = file.metadata.get_json(STATE)?;
        let (step, best_loss, stale) = state.ok_or_else(|| none(format!("no `{STATE}` in its header")))?;
        let part = |prefix: String| -> Params {
            let prefix = prefix + "/";
            file.params.iter().filter_map(|(n, t)| Some((n.strip_prefix(&prefix)?.to_owned(), t.clone()))).collect()
        };
        let alignment = |which: &str| -> Result<Alignment> {
            alignment_from_params(self.symmetry, &part(which.to_owned())).map_err(|why| none(why.to_string()))
        };
        let prices = part("prices".to_owned());
        let duals = |k: usize| {
            let found = prices.get(&k.to_string())?.to_f64();
            Some(found.map(|col| Some(Duals { row: Vec::new(), col: col.into_owned() })))
        };
        Ok(SteState {
            target: part("target".to_owned()),
            moments: (0..optimizer.moments()).map(|k| part(format!("moment{k}"))).collect(),
            step,
            current: alignment("current")?,
            best: alignment("best")?,
            best_loss,
            stale,
            duals: (0..).map_while(duals).collect::<Result<_, _>>()?,
        })
    }
}
