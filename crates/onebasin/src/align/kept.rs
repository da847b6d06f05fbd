//! The state of a match over all kinds as a file, from which a later run goes on.

use std::path::Path;

use onebasin_core::kinds::Kinds;
use onebasin_core::matching::{Everywhere, Gram, Sweep, TurnedNumbers, TurnedState};
use onebasin_core::symmetry::GroupId;
use onebasin_core::{Params, Tensor};
use onebasin_io::{Metadata, read, write};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::saved::{motion_from_params, motion_to_params};
use crate::error::{Error, Result};

const STATE: &str = "onebasin.match.state";
const OF: &str = "onebasin.match.of";
/// What stands before the names of tensors that are sums.
const SUM: &str = "sum/";

/// Where the state of a match is kept, if anywhere, and what the match is of.
pub(crate) struct KeptMatch<'a> {
    pub(crate) path: Option<&'a Path>,
    /// Options and networks: a state of others is refused.
    pub(crate) of: &'a Value,
    /// Whether to go on from what is there.
    pub(crate) resume: bool,
}

/// Whether a file is the state of a match.
pub(super) fn is_state(path: &Path) -> bool {
    read(path).is_ok_and(|file| file.metadata.get(STATE).is_some())
}

/// What a header tells of a state.
#[derive(Serialize, Deserialize)]
struct Told {
    sweeps: Vec<Sweep>,
    parts: usize,
    numbers: TurnedNumbers,
    sums: Vec<Sum>,
}

/// A Gram that is kept: of which group, counted or as it is, turned or not, and over which groups.
#[derive(Serialize, Deserialize)]
struct Sum {
    group: usize,
    counted: bool,
    turned: bool,
    digits: Vec<usize>,
    lens: Vec<usize>,
}

impl KeptMatch<'_> {
    pub(crate) fn save(&self, kinds: &Kinds, state: &TurnedState) -> Result<()> {
        let Some(path) = self.path else { return Ok(()) };
        let mut params = motion_to_params(kinds, &state.motion)?;
        let mut sums = Vec::new();
        for (id, everywhere) in &state.sums {
            for (counted, both) in [(true, &everywhere.counted), (false, &everywhere.plain)] {
                for (turned, gram) in both.iter().enumerate().flat_map(|(k, all)| all.iter().map(move |g| (k == 1, g)))
                {
                    let side = gram.lens.iter().product();
                    params.insert(format!("{SUM}{}", sums.len()), Tensor::from_f64(&[side, side], gram.data.clone())?);
                    let digits = gram.digits.iter().map(|digit| digit.0).collect();
                    sums.push(Sum { group: id.0, counted, turned, digits, lens: gram.lens.clone() });
                }
            }
        }
        let told = Told { sweeps: state.sweeps.clone(), parts: state.parts, numbers: state.numbers, sums };
        let mut metadata = Metadata::default();
        metadata.set_json(STATE, &json!(told));
        metadata.set_json(OF, self.of);
        Ok(write(path, &params, &metadata)?)
    }

    /// The state to go on from, if that is asked for.
    pub(crate) fn load(&self, kinds: &Kinds) -> Result<Option<TurnedState>> {
        let Some(path) = self.path.filter(|_| self.resume) else { return Ok(None) };
        let none = |why: String| Error::NoState { path: path.to_owned(), why };
        let file = read(path).map_err(|why| none(why.to_string()))?;
        let saved: Option<Value> = file.metadata.get_json(OF)?;
        if saved.as_ref() != Some(self.of) {
            return Err(Error::OtherRun { path: path.to_owned(), saved: saved.unwrap_or_default().to_string() });
        }
        let told: Option<Told> = file.metadata.get_json(STATE)?;
        let told = told.ok_or_else(|| none(format!("no `{STATE}` in its header")))?;
        let (is_sum, rest): (Params, Params) = file
            .params
            .iter()
            .map(|(name, t)| (name.to_owned(), t.clone()))
            .partition(|(name, _)| name.starts_with(SUM));
        let motion = motion_from_params(kinds, &rest).map_err(|why| none(why.to_string()))?;
        let mut sums = std::collections::BTreeMap::new();
        for (k, sum) in told.sums.into_iter().enumerate() {
            let known = |id: &usize| *id < kinds.symmetry.groups().len();
            let tensor = is_sum.require(&format!("{SUM}{k}")).map_err(|why| none(why.to_string()))?;
            let side: usize = sum.lens.iter().product();
            if !known(&sum.group) || !sum.digits.iter().all(known) || tensor.shape() != [side, side] {
                return Err(none(format!("its sum {k} is of no group of the networks")));
            }
            let data = tensor.to_f64()?.into_owned();
            let gram = Gram { digits: sum.digits.into_iter().map(GroupId).collect(), lens: sum.lens, data };
            let own: &mut Everywhere = sums.entry(GroupId(sum.group)).or_default();
            let both = if sum.counted { &mut own.counted } else { &mut own.plain };
            both[usize::from(sum.turned)].push(gram);
        }
        let Told { sweeps, parts, numbers, .. } = told;
        Ok(Some(TurnedState { motion, sweeps, parts, numbers, sums }))
    }
}
