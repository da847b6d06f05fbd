//! `onebasin check`: does the symmetry leave the function as it is.

use anyhow::Result;
use onebasin_nn::CheckOptions;
use serde_json::json;

use crate::args::CheckArgs;
use crate::files::open;
use crate::talk::{self, Talk};

pub fn run(args: &CheckArgs, talk: Talk) -> Result<()> {
    let model = open(&args.file, &args.source.blueprint(), talk)?;
    model.check_finite()?;
    let symmetry = model.symmetry()?;
    let options = CheckOptions { seed: args.seed, samples: args.samples, ..CheckOptions::default() };
    let found = model.check(&symmetry, &options)?;
    model.unchanged()?;
    let faults: Vec<_> = found.faults.iter().map(|(name, d)| json!({ "group": name, "difference": d })).collect();
    let value = json!({
        "file": args.file.display().to_string(), "passes": found.passes(), "difference": found.difference,
        "tolerance": found.tolerance, "groups": symmetry.groups().len(), "faults": faults,
    });
    talk.result(
        "onebasin.check/1",
        &value,
        &format!("{}: {} groups; {found}", args.file.display(), symmetry.groups().len()),
    )?;
    if !found.passes() {
        let failed = format!("{}: the symmetry does not leave the function as it is", args.file.display());
        return Err(talk::Told(failed).into());
    }
    Ok(())
}
