//! `onebasin match`: find the alignment of B with A.

use std::fmt::Write;

use anyhow::Result;
use onebasin::matching::MatchOptions;
use onebasin::report::MatchRecord;
use onebasin::symmetry::GroupId;
use onebasin_io::write_alignment;
use serde_json::json;

use crate::align::{input, provenance, run_match};
use crate::args::Match;
use crate::model::Model;

use crate::talk::Talk;
use crate::verbs::train::check_writable;

pub fn run(args: &Match, talk: Talk) -> Result<()> {
    check_writable(&args.output)?;
    let (a, b) = Model::open_pair(&args.a, &args.b, &args.source, talk)?;
    let symmetry = a.symmetry(&args.source)?;
    let options =
        MatchOptions { seed: args.matching.seed, max_sweeps: args.matching.max_sweeps, ..MatchOptions::default() };
    let found = run_match(&symmetry, &a, &b, &options, talk)?;
    let record = MatchRecord::of(&found, &options);
    let inputs = [input("a", &a.checkpoint), input("b", &b.checkpoint)];
    let made = provenance("match", &inputs, &json!(record));
    write_alignment(&args.output, &symmetry, &found.alignment, &made)?;

    let mut text = String::new();
    for (id, group) in symmetry.groups().iter().enumerate().map(|(i, g)| (GroupId(i), g)) {
        let copies = found.alignment.copies(id);
        let moved: usize = copies.iter().map(|p| p.len() - p.fixed_points()).sum();
        writeln!(text, "{}: {moved} of {} units moved", group.name, group.size * copies.len())?;
    }
    writeln!(
        text,
        "{}: objective {:.6} → {:.6} in {} sweeps; {}",
        args.output.display(),
        found.start_objective,
        found.objective,
        found.sweeps.len(),
        found.stop
    )?;
    talk.result(&json!({ "alignment": args.output.display().to_string(), "inputs": inputs, "matching": record }), &text)
}
