//! `onebasin merge-many`: align many networks with each other and average them.

use std::fmt::Write;

use anyhow::{Context, Result};
use onebasin_core::Params;
use onebasin_core::barrier::{Barrier, barrier, lambda_grid};
use onebasin_core::matching::{
    ManyMatch, ManyOptions, ManyProgress, Round, UniverseOptions, match_cycle_consistent, merge_many, merge_tree,
};
use onebasin_core::merge::{Interpolation, mean, merge};
use onebasin_nn::evaluate::BATCH;
use onebasin_nn::exec::Program;
use onebasin_nn::{Data, Dataset, Scores, evaluate, predict, predict_ensemble, recompute_batch_norm};
use serde::Serialize;
use serde_json::json;

use crate::align::{ensure, input, provenance};
use crate::args::{ManyMethod, MergeMany};
use crate::model::Model;
use crate::pair::start_of;
use crate::signals;
use crate::talk::Talk;
use crate::verbs::train::open_data;

/// λ of pairwise barriers.
const POINTS: usize = 5;

pub fn run(args: &MergeMany, talk: Talk) -> Result<()> {
    let models =
        args.models.iter().map(|path| Model::open(path, &args.source, talk)).collect::<Result<Vec<Model>>>()?;
    let first = &models[0];
    let target = first.target(&args.output)?;
    for other in &models[1..] {
        let names = || format!("the first is {}, another {}", first.path().display(), other.path().display());
        first.params().check_same_structure(other.params()).with_context(names)?;
    }
    let data = args.data.as_ref().map(|spec| open_data(spec, talk)).transpose()?;
    let symmetry = first.symmetry(&args.source)?;
    if !args.no_check {
        ensure(first, &symmetry, talk)?;
    }
    let statistics = first.statistics();
    let weights = symmetry.restrict(|name| !statistics.contains(name));
    let params: Vec<&Params> = models.iter().map(Model::params).collect();
    let found = align_all(args, &weights, &params, talk)?;
    signals::check()?;

    let mut merged = mean(&symmetry, &params, &found.alignments, None)?;
    let mut measured = None;
    if let Some(data) = &data {
        let program = first.program_for(data)?;
        merged = recompute_batch_norm(&program, &merged, &data.train, BATCH)?;
        let aligned = |k: usize| Ok(found.alignments[k].apply(&symmetry, params[k])?);
        measured = Some(measure(&program, data, params.len(), &aligned, &merged, talk)?);
    } else if !statistics.is_empty() {
        talk.say("note: the statistics of BatchNorms were averaged; give --data to recompute them");
    }
    let inputs: Vec<_> = models.iter().map(|m| input("model", &m.checkpoint)).collect();
    let options = json!({
        "method": format!("{:?}", args.method).to_lowercase(), "seed": args.seed, "start": start_of(args.start),
        "start_objective": found.start_objective, "objective": found.objective, "rounds": found.rounds,
        "stop": found.stop,
    });
    first.write(&target, &merged, &provenance("merge-many", &inputs, &options))?;

    let mut text = String::new();
    if let Some(measured) = &measured {
        measured.describe(&mut text, &args.models)?;
    }
    writeln!(
        text,
        "{}: the mean of {} networks (similarity of all pairs {:.4} → {:.4} in {} rounds; {})",
        args.output.display(),
        models.len(),
        found.start_objective,
        found.objective,
        found.rounds.len(),
        found.stop
    )?;
    let output = args.output.display().to_string();
    talk.result(&json!({ "output": output, "inputs": inputs, "options": options, "measured": measured }), &text)
}

fn align_all(
    args: &MergeMany,
    weights: &onebasin_core::symmetry::Symmetry,
    models: &[&Params],
    talk: Talk,
) -> Result<ManyMatch> {
    let options = ManyOptions {
        seed: args.seed,
        start: start_of(args.start),
        max_rounds: args.max_rounds,
        ..ManyOptions::default()
    };
    let round = |r: &Round| {
        talk.detail(&format!("round {}: {:.6} (+{:.3e}), {} changed", r.round, r.objective, r.gain, r.changed_models));
        !signals::interrupted()
    };
    Ok(match args.method {
        ManyMethod::Rounds => merge_many(weights, models, &options, &mut |r| round(r))?,
        ManyMethod::Tree => merge_tree(weights, models, &options, &mut |r| round(r))?,
        ManyMethod::Universe => {
            let options =
                UniverseOptions { polish: options, max_iterations: args.max_rounds, ..UniverseOptions::default() };
            match_cycle_consistent(weights, models, &options, &mut |progress| match progress {
                ManyProgress::Round(r) => round(r),
                ManyProgress::Iteration(i) => {
                    talk.detail(&format!("iteration {}: {:.6}, gap {:.3e}", i.iteration, i.value, i.gap));
                    !signals::interrupted()
                }
            })?
        }
    })
}

/// What networks, their mean and their pairs reach.
#[derive(Debug, Serialize)]
struct Measured {
    models: Vec<Splits>,
    mean: Splits,
    /// The mean of the networks' probabilities: as many times the cost of the mean network.
    ensemble: Splits,
    pairs: Vec<PairBarrier>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Splits {
    train: Scores,
    test: Scores,
}

/// The barrier of the test loss between two aligned networks.
#[derive(Debug, Serialize)]
struct PairBarrier {
    a: usize,
    b: usize,
    test: Barrier,
}

/// Measures `n` networks, each made when it is needed: memory does not grow with their number.
fn measure(
    program: &Program,
    data: &Data,
    n: usize,
    aligned: &dyn Fn(usize) -> onebasin_nn::Result<Params>,
    merged: &Params,
    talk: Talk,
) -> Result<Measured> {
    let bar = talk.bar((n + 3 + n * (n - 1) / 2) as u64, "evaluating {bar:24} {pos}/{len}, eta {eta}");
    let splits = |params: &Params| -> Result<Splits> {
        bar.inc(1);
        signals::check()?;
        let of = |split: &Dataset| -> Result<Scores> { Ok(predict(program, params, split)?.scores(split.labels())) };
        Ok(Splits { train: of(&data.train)?, test: of(&data.test)? })
    };
    let models = (0..n).map(|k| splits(&aligned(k)?)).collect::<Result<Vec<_>>>()?;
    let mean = splits(merged)?;
    let together = |split: &Dataset| -> Result<Scores> {
        bar.inc(1);
        signals::check()?;
        Ok(predict_ensemble(program, &mut (0..n).map(aligned), split)?.scores(split.labels()))
    };
    let ensemble = Splits { train: together(&data.train)?, test: together(&data.test)? };
    let lambda = lambda_grid(POINTS)?;
    let mut pairs = Vec::new();
    for a in 0..n {
        let from = aligned(a)?;
        for b in a + 1..n {
            let to = aligned(b)?;
            signals::check()?;
            let mut loss = vec![models[a].test.loss];
            for l in &lambda[1..POINTS - 1] {
                let between = merge(&from, &to, *l, Interpolation::Lerp)?;
                let between = recompute_batch_norm(program, &between, &data.train.take(10 * BATCH), BATCH)?;
                loss.push(evaluate(program, &between, &data.test)?.loss);
            }
            loss.push(models[b].test.loss);
            pairs.push(PairBarrier { a, b, test: barrier(&lambda, &loss)? });
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(Measured { models, mean, ensemble, pairs })
}

impl Measured {
    fn describe(&self, text: &mut String, names: &[std::path::PathBuf]) -> Result<()> {
        let mut line = |name: &str, s: &Splits| {
            writeln!(
                text,
                "{name}: train loss {:.4}, accuracy {:.2} %; test loss {:.4}, accuracy {:.2} %, calibration error {:.4}",
                s.train.loss,
                100.0 * s.train.accuracy,
                s.test.loss,
                100.0 * s.test.accuracy,
                s.test.calibration_error
            )
        };
        for (path, splits) in names.iter().zip(&self.models) {
            line(&path.display().to_string(), splits)?;
        }
        line("mean", &self.mean)?;
        line("their ensemble", &self.ensemble)?;
        let chords: Vec<f64> = self.pairs.iter().map(|p| p.test.chord).collect();
        let worst = chords.iter().fold(0.0, |m: f64, c| m.max(*c));
        let usual = chords.iter().sum::<f64>() / chords.len().max(1) as f64;
        writeln!(text, "barriers of pairs on test data, against the chord: mean {usual:.4}, worst {worst:.4}")?;
        Ok(())
    }
}
