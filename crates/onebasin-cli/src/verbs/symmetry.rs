//! `onebasin symmetry init`: begin a symmetry file.

use anyhow::Result;
use onebasin::core::symmetry::Template;
use onebasin_io::write_atomic;
use serde_json::json;

use crate::args::SymmetryArgs;
use crate::files::{check_outputs, inputs, open};
use crate::talk::Talk;

pub fn run(args: &SymmetryArgs, talk: Talk) -> Result<()> {
    let talk = talk.beside(&args.output);
    let model = open(&args.file, &args.source.blueprint(), talk)?;
    check_outputs(&args.output, &inputs([&model], &args.source, [], false))?;
    let (toml, open, lines) = if model.graph().is_some() || model.symmetry_is_given() {
        let symmetry = model.symmetry()?;
        let spec = symmetry.spec();
        let lines = spec.tensors.iter().map(|(name, pattern)| json!({ "name": name, "pattern": pattern.to_string() }));
        (spec.to_toml(), 0, lines.collect::<Vec<_>>())
    } else {
        let template = Template::of(model.params().iter().map(|(name, tensor)| (name, tensor.shape())));
        let line = |line: &onebasin::core::symmetry::TemplateLine| json!({ "name": line.name, "shape": line.shape, "pattern": line.pattern() });
        (template.to_toml(), template.open(), template.lines.iter().map(line).collect())
    };
    model.unchanged()?;
    let told = match open {
        0 => "complete".to_owned(),
        1 => "one term is still open".to_owned(),
        open => format!("{open} terms are still open"),
    };
    if let Some(path) = &args.output {
        write_atomic(path, |out| out.write_all(toml.as_bytes()))?;
    } else {
        talk.say(&format!("{}: {told}", args.file.display()));
    }
    let text = args.output.as_ref().map_or(toml, |path| format!("{}: {} lines, {told}", path.display(), lines.len()));
    let output = args.output.as_ref().map(|path| path.display().to_string());
    talk.result("onebasin.symmetry/1", &json!({ "output": output, "open": open, "tensors": lines }), &text)
}
