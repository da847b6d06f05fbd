//! `onebasin apply`: act with an alignment.

use anyhow::Result;
use onebasin_io::{PROVENANCE, read, read_alignment, write};
use serde_json::json;

use crate::args::Apply;
use crate::network::{input, open, provenance};
use crate::signals;
use crate::talk::Talk;
use crate::verbs::train::check_writable;

pub fn run(args: &Apply, talk: Talk) -> Result<()> {
    check_writable(&args.output)?;
    let file = read(&args.alignment)?;
    let b = open(&args.b)?;
    let (symmetry, alignment) = read_alignment(&file, &b.params)?;
    let alignment = if args.inverse { alignment.inverse(&symmetry) } else { alignment };
    let moved = alignment.apply(&symmetry, &b.params)?;
    let inputs = [input("alignment", &file), input("b", &b)];
    let mut metadata = b.metadata;
    metadata.set_json(PROVENANCE, &provenance("apply", &inputs, &json!({ "inverse": args.inverse })));
    signals::check()?;
    write(&args.output, &moved, &metadata)?;
    let text = format!("{}: {} tensors of {} moved", args.output.display(), moved.len(), args.b.display());
    talk.result(&json!({ "output": args.output.display().to_string(), "inputs": inputs }), &text)
}
