//! `onebasin apply`: act with an alignment.

use anyhow::Result;
use onebasin::{Aligned, apply};
use serde_json::json;

use crate::args::ApplyArgs;
use crate::files::{check_target, context, inputs, open};
use crate::talk::Talk;
use crate::watch::Watch;

pub fn run(args: &ApplyArgs, talk: Talk) -> Result<()> {
    let b = open(&args.b, &args.source.blueprint(), talk)?;
    let target = b.target(&args.output)?;
    check_target(&target, &inputs([&b], &args.source, [&args.alignment], args.overwrite))?;
    let talk = talk.beside([&args.output]);
    let aligned = Aligned::read(&args.alignment, &b)?;
    let (watch, options) =
        (Watch::new(talk), onebasin::Apply { inverse: args.inverse, force: args.force, overwrite: args.overwrite });
    let written = apply(&aligned, &b, &args.output, &options, &context(None, None, &watch))?;
    let text = format!("{}: {} tensors of {} moved", args.output.display(), b.params().len(), args.b.display());
    talk.result(
        "onebasin.apply/1",
        &json!({ "output": args.output.display().to_string(), "inputs": written.inputs }),
        &text,
    )
}
