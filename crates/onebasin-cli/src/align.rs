//! Alignments as verbs need them: found or read, checked, and recorded.

use std::path::Path;

use anyhow::{Result, bail};
use onebasin_core::report::{Input, MatchRecord};
use onebasin_core::symmetry::{Alignment, Symmetry};
use onebasin_io::{Checkpoint, read, read_alignment};
use onebasin_nn::Data;
use onebasin_nn::check::{Check, CheckOptions, check};
use serde_json::{Value, json};

use crate::args::{Matching, Method, Source};
use crate::device::Device;
use crate::matchers;
use crate::model::Model;
use crate::pair::{Pair, Resume};
use crate::talk::Talk;

/// A file that went in, for the record.
pub fn input(role: &str, checkpoint: &Checkpoint) -> Input {
    input_as(role, checkpoint, checkpoint.digest())
}

/// The same, where the digest is given.
pub fn input_as(role: &str, checkpoint: &Checkpoint, digest: &str) -> Input {
    let name = checkpoint.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    Input { role: role.to_owned(), name, sha256: digest.to_owned() }
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

impl Aligned {
    /// Reads an alignment and fits it to B.
    pub fn read(path: &Path, b: &Model) -> Result<Self> {
        let checkpoint = read(path)?;
        let (symmetry, alignment) = read_alignment(&checkpoint, b.params())?;
        Ok(Self { symmetry, alignment, record: None, file: Some(input("alignment", &checkpoint)) })
    }
}

/// What matching needs besides the networks.
pub struct How<'a> {
    pub source: &'a Source,
    pub matching: &'a Matching,
    pub data: Option<&'a Data>,
    /// Where Grams of weights are computed, if not on the processor.
    pub device: Option<&'a Device>,
    /// Where straight-through matching keeps its state.
    pub resume: Option<Resume>,
}

/// Aligns B with A.
pub fn align(a: &Model, b: &Model, method: Method, how: &How<'_>, talk: Talk) -> Result<Aligned> {
    let symmetry = a.symmetry(how.source)?;
    let statistics = a.statistics();
    let weights = symmetry.restrict(|name| !statistics.contains(name));
    let (data, device, resume) = (how.data, how.device, how.resume.clone());
    let pair = Pair { a, b, symmetry: &symmetry, weights: &weights, data, device, resume, args: how.matching, talk };
    let (alignment, record) = matchers::run(&pair, method)?;
    Ok(Aligned { symmetry, alignment, record: Some(record), file: None })
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
