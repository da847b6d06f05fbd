//! `onebasin merge-many`: align many networks with each other and average them.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use onebasin::{Many, Measured, OfClass, Reached};
use serde_json::json;

use crate::args::MergeManyArgs;
use crate::files::{check_target, context, inputs, open_data, remarks};
use crate::talk::Talk;
use crate::watch::Watch;

pub fn run(args: &MergeManyArgs, talk: Talk) -> Result<()> {
    let blueprint = args.source.blueprint();
    let paths = args.models.iter().map(|path| onebasin_io::networks_in(path)).collect::<Result<Vec<_>, _>>()?.concat();
    ensure!(paths.len() > 1, "at least two networks are needed, found {}", paths.len());
    let many = Many::open(&paths, &blueprint)?;
    many.models().iter().for_each(|model| remarks(model, talk));
    let target = many.models()[0].target(&args.output)?;
    check_target(&target, &inputs(many.models(), &args.source, [], args.overwrite))?;
    let talk = talk.beside([&args.output]);
    let all: Vec<_> = many.models().iter().collect();
    let data = args.data.as_ref().map(|spec| open_data(spec, &args.normalize, &all, talk)).transpose()?;
    let watch = Watch::new(talk);
    let context = context(data.as_ref(), None, &watch);
    let mean = match &args.start_from {
        Some(folder) => args.options().run_from(&many, &many.read_alignments(folder, &context)?, &context)?,
        None => args.options().run(&many, &context)?,
    };
    let measured = data.is_some().then(|| mean.measure(&context)).transpose()?;
    many.models().iter().try_for_each(onebasin::Model::unchanged)?;
    let alignments = args.alignments.as_ref().map(|folder| mean.write_alignments(folder)).transpose()?;
    let written = mean.write(&args.output, &context)?;

    let mut text = String::new();
    if let Some(measured) = &measured {
        describe(measured, &mut text, &paths)?;
    }
    let output = args.output.display().to_string();
    write!(text, "{output}: the mean of {} networks", many.models().len())?;
    if let Some(found) = &mean.found {
        let (from, to, rounds) = (found.start_objective, found.objective, found.rounds.len());
        write!(text, " (similarity of all pairs {from:.4} → {to:.4} in {rounds} rounds; {})", found.stop)?;
    }
    if let Some(solved) = &written.solved {
        write!(text, "\n{solved}")?;
    }
    if let Some(account) = &written.account {
        write!(text, "\n{account}")?;
    }
    let value = json!({ "output": output, "inputs": written.inputs, "alignments": alignments, "options": written.options, "measured": measured, "solved": written.solved });
    talk.result("onebasin.merge-many/1", &value, &text)
}

/// What every network, their mean and their ensemble reach, a line each.
fn describe(measured: &Measured, text: &mut String, names: &[PathBuf]) -> Result<()> {
    let mut line = |name: &str, reached: &Reached| {
        let (train, test) = (&reached.train, &reached.test);
        writeln!(
            text,
            "{name}: train loss {:.4}, accuracy {:.2} %; test loss {:.4}, accuracy {:.2} %, calibration error {:.4}",
            train.loss,
            100.0 * train.accuracy,
            test.loss,
            100.0 * test.accuracy,
            test.calibration_error
        )
    };
    for (path, reached) in names.iter().zip(&measured.models) {
        line(&path.display().to_string(), reached)?;
    }
    line("mean", &measured.mean)?;
    line("their ensemble", &measured.ensemble)?;
    let chords: Vec<f64> = measured.pairs.iter().map(|p| p.test.chord).collect();
    let worst = chords.iter().fold(0.0, |m: f64, c| m.max(*c));
    let usual = chords.iter().sum::<f64>() / chords.len().max(1) as f64;
    writeln!(text, "barriers of pairs on test data, against the chord: mean {usual:.4}, worst {worst:.4}")?;
    describe_classes(measured, text)
}

/// Classes that are listed, at most.
const CLASSES: usize = 20;

/// Test accuracy class by class: the range of the networks, their mean, their ensemble.
fn describe_classes(measured: &Measured, text: &mut String) -> Result<()> {
    let (all, listed) = (measured.classes().len(), measured.most_behind(CLASSES));
    let which = if all > CLASSES {
        format!(" (of {all} classes, the {CLASSES} in which the mean falls most behind)")
    } else {
        String::new()
    };
    writeln!(text, "test accuracy by class, %{which}:")?;
    writeln!(text, "{:>6}  {:>13}  {:>6}  {:>8}", "class", "networks", "mean", "ensemble")?;
    for OfClass { class, networks: [least, most], mean, ensemble } in listed {
        let [least, most, mean, ensemble] = [least, most, mean, ensemble].map(|share| format!("{:.1}", 100.0 * share));
        let range = format!("{least} – {most}");
        writeln!(text, "{class:>6}  {range:>13}  {mean:>6}  {ensemble:>8}")?;
    }
    Ok(())
}
