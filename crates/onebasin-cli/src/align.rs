//! Alignments as verbs need them: found or read, checked, and recorded.

use std::path::Path;

use anyhow::{Result, bail};
use onebasin::matching::{Match, MatchOptions, match_weights};
use onebasin::report::{Input, MatchRecord};
use onebasin::symmetry::{Alignment, Symmetry};
use onebasin_io::{Checkpoint, read, read_alignment};
use onebasin_nn::check::{Check, CheckOptions, check};
use serde_json::{Value, json};

use crate::args::{Matching, Source};
use crate::model::Model;
use crate::signals;
use crate::talk::Talk;

/// A file that went in, for the record.
pub fn input(role: &str, checkpoint: &Checkpoint) -> Input {
    let name = checkpoint.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    Input { role: role.to_owned(), name, sha256: checkpoint.digest.clone() }
}

/// How a file came to be: the verb, its inputs, its options.
pub fn provenance(verb: &str, inputs: &[Input], options: &Value) -> Value {
    json!({ "program": "onebasin", "version": env!("CARGO_PKG_VERSION"), "verb": verb, "inputs": inputs, "options": options })
}

/// An alignment with the symmetry it belongs to.
pub struct Aligned {
    pub symmetry: Symmetry,
    pub alignment: Alignment,
    /// How it was found, if it was found here.
    pub record: Option<MatchRecord>,
    /// The file it was read from, if any.
    pub file: Option<Input>,
}

/// Aligns B with A: with the alignment in a file, or by weight matching.
pub fn align(
    a: &Model,
    b: &Model,
    file: Option<&Path>,
    source: &Source,
    matching: &Matching,
    talk: Talk,
) -> Result<Aligned> {
    if let Some(path) = file {
        let checkpoint = read(path)?;
        let (symmetry, alignment) = read_alignment(&checkpoint, b.params())?;
        return Ok(Aligned { symmetry, alignment, record: None, file: Some(input("alignment", &checkpoint)) });
    }
    let symmetry = a.symmetry(source)?;
    let options = MatchOptions { seed: matching.seed, max_sweeps: matching.max_sweeps, ..MatchOptions::default() };
    let found = run_match(&symmetry, a, b, &options, talk)?;
    let record = Some(MatchRecord::of(&found, &options));
    Ok(Aligned { symmetry, alignment: found.alignment, record, file: None })
}

/// Weight matching, told sweep by sweep. Running statistics move with their channels but are no weights: they would
/// outweigh all else.
pub fn run_match(symmetry: &Symmetry, a: &Model, b: &Model, options: &MatchOptions, talk: Talk) -> Result<Match> {
    let statistics = a.statistics();
    let weights = symmetry.restrict(|name| !statistics.contains(name));
    let found = match_weights(&weights, a.params(), b.params(), None, options, &mut |sweep| {
        talk.detail(&format!(
            "sweep {}: objective {:.6} (+{:.3e}), {} of {} solved groups changed",
            sweep.sweep, sweep.objective, sweep.gain, sweep.changed_groups, sweep.solved_groups
        ));
        !signals::interrupted()
    })?;
    signals::check()?;
    talk.detail(&format!("{} after {} sweeps", found.stop, found.sweeps.len()));
    Ok(found)
}

/// Tests a symmetry on a network that runs, and refuses one that changes its function; says so where nothing can be run.
pub fn ensure(model: &Model, symmetry: &Symmetry, talk: Talk) -> Result<()> {
    if !model.runs() {
        talk.say("note: the symmetry was not tested, since the network cannot be run here");
        return Ok(());
    }
    let found = check(&model.program()?, model.params(), symmetry, &CheckOptions::default())?;
    if !found.passes() {
        bail!("{}; nothing was written (--no-check to go on all the same)", describe(&found));
    }
    talk.detail(&describe(&found));
    Ok(())
}

/// What a check found, in a sentence.
pub fn describe(found: &Check) -> String {
    if found.passes() {
        return format!(
            "a random element of the symmetry changes the output by {:.1e} of its size, rounding by up to {:.0e}",
            found.difference, found.tolerance
        );
    }
    let faults = found.faults.iter().map(|(name, d)| format!("`{name}` ({d:.1e})")).collect::<Vec<_>>().join(", ");
    format!(
        "the symmetry is wrong: a random element changes the output by {:.1e} of its size; at fault: {faults}",
        found.difference
    )
}
