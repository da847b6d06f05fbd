//! `onebasin apply`: act with an alignment.

use anyhow::Result;
use onebasin_io::{read, read_alignment};
use serde_json::json;

use crate::align::{input, provenance};
use crate::args::Apply;
use crate::model::Model;
use crate::signals;
use crate::talk::Talk;
use crate::verbs::train::check_writable;

pub fn run(args: &Apply, talk: Talk) -> Result<()> {
    check_writable(&args.output)?;
    let file = read(&args.alignment)?;
    let b = Model::open(&args.b, &args.source, talk)?;
    b.check_format(&args.output)?;
    let (symmetry, alignment) = read_alignment(&file, b.params())?;
    let alignment = if args.inverse { alignment.inverse(&symmetry) } else { alignment };
    let moved = alignment.apply(&symmetry, b.params())?;
    let inputs = [input("alignment", &file), input("b", &b.checkpoint)];
    signals::check()?;
    b.write(&args.output, &moved, &provenance("apply", &inputs, &json!({ "inverse": args.inverse })))?;
    let text = format!("{}: {} tensors of {} moved", args.output.display(), moved.len(), args.b.display());
    talk.result(&json!({ "output": args.output.display().to_string(), "inputs": inputs }), &text)
}
