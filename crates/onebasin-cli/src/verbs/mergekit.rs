//! `onebasin mergekit`: a merge that a file of mergekit's describes.

use anyhow::{Context as _, Result};
use onebasin::{MergeFile, Model};
use serde_json::json;

use crate::args::MergekitArgs;
use crate::files::{check_target, context};
use crate::talk::Talk;
use crate::watch::Watch;

pub fn run(args: &MergekitArgs, talk: Talk) -> Result<()> {
    let path = &args.file;
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut file = MergeFile::parse(path, &text)?;
    file.align = args.method.unwrap_or(file.align);
    let blueprint = args.source.blueprint();
    let (base, models) = (Model::open(&file.models[0].path, &blueprint)?, file.models.iter().map(|part| &part.path));
    let inputs: Vec<_> = if args.overwrite { Vec::new() } else { models.chain([path]).cloned().collect() };
    check_target(&base.target(&args.output)?, &inputs)?;
    let device = args.matching.device.open(talk)?;
    let watch = Watch::new(talk.beside([&args.output]));
    let context = context(None, device.as_ref(), &watch);
    let combined = file.combine(&args.matching.options(file.align), &blueprint, &context)?;
    combined.remarks().iter().for_each(|text| talk.say(&format!("note: {text}")));
    let written = combined.write(&args.output, args.overwrite, &context)?;
    let output = args.output.display().to_string();
    let parts = file.models.iter().zip(file.coefficients());
    let parts: Vec<String> = parts.map(|(part, share)| format!("{share:.4} × {}", part.path.display())).collect();
    let text = format!("{output}: {} of {}, aligned by {}", file.rule.name(), parts.join(" + "), file.align.name());
    let value = json!({ "output": output, "inputs": written.inputs, "options": written.options });
    talk.result("onebasin.mergekit/1", &value, &text)
}
