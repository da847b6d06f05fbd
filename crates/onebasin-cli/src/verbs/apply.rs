//! `onebasin apply`: act with an alignment.

use anyhow::Result;
use onebasin_io::{Moving, apply_streamed, read, read_alignment};
use serde_json::json;

use crate::align::{input, input_as, provenance};
use crate::args::Apply;
use crate::model::{Model, is_onnx};
use crate::talk::Talk;

pub fn run(args: &Apply, talk: Talk) -> Result<()> {
    let file = read(&args.alignment)?;
    let b = Model::open_unread(&args.b, &args.source, talk)?;
    let target = b.target(&args.output)?;
    let (symmetry, alignment) = read_alignment(&file, b.params())?;
    let alignment = if args.inverse { alignment.inverse(&symmetry) } else { alignment };
    let inputs = |digest: &str| [input("alignment", &file), input_as("b", &b.checkpoint, digest)];
    let made = |digest: &str| provenance("apply", &inputs(digest), &json!({ "inverse": args.inverse }));
    if is_onnx(target.path()) {
        b.check_finite()?;
        b.write(&target, &alignment.apply(&symmetry, b.params())?, &made(b.checkpoint.digest()))?;
    } else {
        let moving = Moving { b: &b.checkpoint, symmetry: &symmetry, alignment: &alignment };
        let bar = talk.passing("applying", b.weights());
        apply_streamed(&target, &moving, &b.rest, &|digest| b.header(&made(digest)), &|n| bar.inc(n))?;
        bar.finish_and_clear();
    }
    let text = format!("{}: {} tensors of {} moved", args.output.display(), b.params().len(), args.b.display());
    let inputs = inputs(b.checkpoint.digest());
    talk.result(&json!({ "output": args.output.display().to_string(), "inputs": inputs }), &text)
}
