//! Opening the files a verb needs: checkpoints, their network, their symmetry, alignments.

use std::path::Path;

use anyhow::{Context, Result, bail};
use onebasin::matching::{Match, MatchOptions, match_weights};
use onebasin::report::{Input, MatchRecord};
use onebasin::symmetry::{Alignment, Symmetry, SymmetrySpec};
use onebasin_io::{Checkpoint, read, read_alignment};
use onebasin_nn::Network;
use serde_json::{Value, json};

use crate::args::{Matching, Source};
use crate::signals;
use crate::talk::Talk;

/// Header entries of ours.
pub const NETWORK: &str = "onebasin.network";

/// Opens a checkpoint and refuses one that holds NaN or infinity.
pub fn open(path: &Path) -> Result<Checkpoint> {
    let checkpoint = read(path)?;
    checkpoint.params.check_finite().with_context(|| path.display().to_string())?;
    Ok(checkpoint)
}

/// Opens two checkpoints of the same structure.
pub fn open_pair(a: &Path, b: &Path) -> Result<(Checkpoint, Checkpoint)> {
    let (a, b) = (open(a)?, open(b)?);
    a.params
        .check_same_structure(&b.params)
        .with_context(|| format!("A is {}, B is {}", a.path.display(), b.path.display()))?;
    Ok((a, b))
}

/// The network a checkpoint is of: as the user says, or as its header says.
pub fn network(checkpoint: &Checkpoint, source: &Source) -> Result<Option<Network>> {
    let network = match &source.network {
        Some(name) => Some(Network::fitting(name, &checkpoint.params)?),
        None => checkpoint.metadata.get_json::<Network>(NETWORK)?,
    };
    let path = || checkpoint.path.display().to_string();
    let Some(found) = network else { return Ok(None) };
    let network = Network::new(&found.name, &found.input, found.classes).with_context(path)?;
    network.check(&checkpoint.params).with_context(path)?;
    Ok(Some(network))
}

/// The symmetry of a checkpoint: from the user's file, or from its network.
pub fn symmetry(checkpoint: &Checkpoint, source: &Source) -> Result<Symmetry> {
    let spec = if let Some(path) = &source.symmetry {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}: cannot read", path.display()))?;
        SymmetrySpec::from_toml(&text).with_context(|| path.display().to_string())?
    } else if let Some(network) = network(checkpoint, source)? {
        network.symmetry()?
    } else {
        bail!(
            "{} does not say what network it is, so which units may be exchanged is not known\n\
             hint: name a built-in network (--network mlp:512x3) or give a symmetry file (--symmetry FILE), such as\n  \
             [tensors]\n  \"fc1.weight\" = \"h1 .\"\n  \"fc1.bias\" = \"h1\"\n  \"fc2.weight\" = \". h1\"\n  \"fc2.bias\" = \".\"",
            checkpoint.path.display()
        );
    };
    Ok(Symmetry::resolve(&spec, &checkpoint.params)?)
}

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
    a: &Checkpoint,
    b: &Checkpoint,
    file: Option<&Path>,
    source: &Source,
    matching: &Matching,
    talk: Talk,
) -> Result<Aligned> {
    if let Some(path) = file {
        let checkpoint = read(path)?;
        let (symmetry, alignment) = read_alignment(&checkpoint, &b.params)?;
        return Ok(Aligned { symmetry, alignment, record: None, file: Some(input("alignment", &checkpoint)) });
    }
    let symmetry = symmetry(a, source)?;
    let options = MatchOptions { seed: matching.seed, max_sweeps: matching.max_sweeps };
    let found = run_match(&symmetry, a, b, &options, talk)?;
    let record = Some(MatchRecord::of(&found, &options));
    Ok(Aligned { symmetry, alignment: found.alignment, record, file: None })
}

/// Weight matching, told sweep by sweep.
pub fn run_match(
    symmetry: &Symmetry,
    a: &Checkpoint,
    b: &Checkpoint,
    options: &MatchOptions,
    talk: Talk,
) -> Result<Match> {
    let found = match_weights(symmetry, &a.params, &b.params, None, options, &mut |sweep| {
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
