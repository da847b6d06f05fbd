//! Straight-through matching as verbs need it: shown, saved, gone on with.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use onebasin_core::assignment::Duals;
use onebasin_core::symmetry::Alignment;
use onebasin_core::{Params, Tensor};
use onebasin_io::{Metadata, alignment_from_params, alignment_to_params, read, write};
use onebasin_nn::optim::{Optimizer, Schedule};
use onebasin_nn::{SteOptions, SteState, straight_through};
use serde_json::{Value, json};

use crate::args::ScheduleName;
use crate::pair::{Pair, Resume};
use crate::signals;

const STATE: &str = "onebasin.ste.state";
const OPTIONS: &str = "onebasin.ste.options";

/// Finds the alignment with the lowest loss at the midpoint, from `start`.
pub fn run(pair: &Pair<'_>, start: &Alignment) -> Result<SteState> {
    let (program, data) = pair.running()?;
    let ends = [pair.a.params(), pair.b.params()];
    let optimizer =
        if pair.args.ste_adam { Optimizer::Adam } else { Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 } };
    let options = SteOptions {
        seed: pair.args.seed,
        epochs: pair.args.ste_epochs,
        rate: pair.args.ste_rate,
        schedule: match pair.args.ste_schedule {
            ScheduleName::Constant => Schedule::Constant,
            ScheduleName::Cosine => Schedule::Cosine { warmup_epochs: 0.0 },
        },
        pull: pair.args.ste_pull,
        patience: pair.args.ste_patience,
        optimizer,
        held_out: SteOptions::usually_held_out(data.train.len()),
        ..SteOptions::default()
    };
    let inputs = json!([options, pair.a.checkpoint.digest(), pair.b.checkpoint.digest(), data.name]);
    let state = match &pair.resume {
        Some(Resume { file, go_on: true }) => load(pair, file, &inputs, optimizer)?,
        _ => SteState::fresh(pair.symmetry, ends, start, options.pull)?,
    };
    let total = (data.train.len() - options.held_out).div_ceil(options.batch) as u64 * options.epochs as u64;
    let bar = pair.talk.bar(total, "straight-through {bar:24} {pos}/{len} steps {msg} eta {eta}");
    let mut failed = None;
    let state = straight_through(&program, pair.symmetry, ends, &data.train, state, &options, &mut |c| {
        bar.set_position(c.state.step);
        bar.set_message(format!("best {:.4}", c.state.best_loss));
        pair.talk.detail(&format!(
            "step {}: held-out loss of the midpoint {:.4}, accuracy {:.2} %, best {:.4}",
            c.state.step,
            c.loss,
            100.0 * c.accuracy,
            c.state.best_loss
        ));
        failed = pair.resume.as_ref().and_then(|r| save(pair, &r.file, &inputs, c.state).err());
        failed.is_none() && !signals::interrupted()
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let state = state?;
    bar.finish_and_clear();
    if signals::interrupted() {
        let hint = if pair.resume.is_some() { "run again with --resume to go on" } else { "nothing was kept" };
        bail!("interrupted after {} steps; {hint}", state.step);
    }
    Ok(state)
}

fn save(pair: &Pair<'_>, file: &Path, inputs: &Value, state: &SteState) -> Result<()> {
    let mut all = Params::new();
    let mut add = |prefix: &str, params: &Params| {
        params.iter().for_each(|(name, t)| all.insert(format!("{prefix}/{name}"), t.clone()));
    };
    add("target", &state.target);
    state.moments.iter().enumerate().for_each(|(k, m)| add(&format!("moment{k}"), m));
    add("current", &alignment_to_params(pair.symmetry, &state.current)?);
    add("best", &alignment_to_params(pair.symmetry, &state.best)?);
    for (k, duals) in state.duals.iter().flatten().enumerate() {
        all.insert(format!("prices/{k}"), Tensor::from_f64(&[duals.col.len()], duals.col.clone())?);
    }
    let mut metadata = Metadata::default();
    metadata.set_json(STATE, &json!([state.step, state.best_loss, state.stale]));
    metadata.set_json(OPTIONS, inputs);
    Ok(write(file, &all, &metadata)?)
}

fn load(pair: &Pair<'_>, path: &Path, inputs: &Value, optimizer: Optimizer) -> Result<SteState> {
    let file = read(path).context("there is nothing to resume from")?;
    let here = || path.display().to_string();
    let saved: Option<Value> = file.metadata.get_json(OPTIONS)?;
    if saved.as_ref() != Some(inputs) {
        bail!("{}: belongs to other networks, data or options ({})", here(), saved.unwrap_or_default());
    }
    let (step, best_loss, stale) = file.metadata.get_json(STATE)?.with_context(here)?;
    let part = |prefix: String| -> Params {
        let prefix = prefix + "/";
        file.params.iter().filter_map(|(n, t)| Some((n.strip_prefix(&prefix)?.to_owned(), t.clone()))).collect()
    };
    let alignment = |which: &str| {
        alignment_from_params(pair.symmetry, &part(which.to_owned())).map_err(|why| anyhow!("{}: {why}", here()))
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
        duals: (0..).map_while(duals).collect::<onebasin_core::error::Result<_>>()?,
    })
}
