//! `onebasin rebase`: a fine-tune carried to another base.

use anyhow::Result;
use onebasin::{Model, rebase};
use serde_json::json;

use crate::args::RebaseArgs;
use crate::files::{check_target, context, inputs, open, open_data};
use crate::talk::Talk;
use crate::watch::Watch;

pub fn run(args: &RebaseArgs, talk: Talk) -> Result<()> {
    let device = args.matching.device.open(talk)?;
    let blueprint = args.source.blueprint();
    let [from, onto] = [&args.from, &args.onto].map(|path| open(path, &blueprint, talk));
    let (from, onto) = (from?, onto?);
    let tuned: Vec<Model> = args.tuned.iter().map(|path| open(path, &blueprint, talk)).collect::<Result<_>>()?;
    let target = onto.target(&args.output)?;
    check_target(&target, &inputs([&from, &onto].into_iter().chain(&tuned), &args.source, [], args.overwrite))?;
    let talk = talk.beside([&args.output]);
    let data = args.data.as_ref().map(|spec| open_data(spec, &args.normalize, &[&onto], talk)).transpose()?;
    let watch = Watch::new(talk);
    let context = context(data.as_ref(), device.as_ref(), &watch);
    let made = rebase(from, onto, &tuned, &args.options(), &context)?;
    let written = made.write(&args.output, &context)?;
    let output = args.output.display().to_string();
    let mut text = format!("{output}: {} with {} times what tuning changed", args.onto.display(), args.scale);
    if let Some(gained) = &made.gained {
        text = format!("{gained}\n{text}");
    }
    let value = json!({ "output": output, "inputs": written.inputs, "options": written.options });
    talk.result("onebasin.rebase/1", &value, &text)
}
