//! `onebasin inspect`: what a file holds.

use std::fmt::Write;

use anyhow::Result;
use onebasin::core::escaped;
use onebasin::core::graph::Op;
use onebasin::{Model, Network, Overview};
use onebasin_io::{SYMMETRY, write_atomic};
use onebasin_lab::page;
use serde_json::json;

use crate::args::InspectArgs;
use crate::files::{check_outputs, inputs};
use crate::talk::{self, Talk};

pub fn run(args: &InspectArgs, talk: Talk) -> Result<()> {
    let talk = talk.beside(&args.html);
    let model = Model::open(&args.file, &args.source.blueprint())?;
    if let Some((tensor, axis)) = &args.why {
        let lines = model.why(tensor, *axis)?;
        return talk.result(
            "onebasin.why/1",
            &json!({ "tensor": tensor, "axis": axis, "why": lines }),
            &lines.join("\n"),
        );
    }
    check_outputs(&args.html, &inputs([&model], &args.source, [], false))?;
    let seen = Overview::of(&model)?;
    let text = seen.text(talk::width(), talk.is_verbose()) + &about(&model, &seen)?;
    model.unchanged()?;
    if let Some(path) = &args.html {
        let html = page::network(&title(args), &seen, &facts(&model));
        write_atomic(path, |out| out.write_all(html.as_bytes()))?;
    }
    let file = model.checkpoint();
    let mut value = serde_json::to_value(&seen)?;
    let more = json!({
        "file": args.file.display().to_string(), "sha256": file.digest(), "metadata": file.metadata.0,
        "part": file.part, "parts": file.parts,
        "passed_over": file.passed_over.iter().map(|(name, why)| json!({ "name": name, "why": why })).collect::<Vec<_>>(),
    });
    if let (Some(value), serde_json::Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    talk.result("onebasin.inspect/1", &value, &text)
}

fn title(args: &InspectArgs) -> String {
    let name = args.file.file_name().unwrap_or(args.file.as_os_str());
    escaped(&name.to_string_lossy()).into_owned()
}

/// What there is to say of a file beside its tensors, groups and what stays.
fn about(model: &Model, seen: &Overview) -> Result<String> {
    let file = model.checkpoint();
    let mut text = String::new();
    for (name, value) in facts(model) {
        writeln!(text, "{}: {}", escaped(&name), talk::shown(value.trim_end()))?;
    }
    if !seen.known && file.metadata.get(SYMMETRY).is_none() {
        writeln!(text, "what may be exchanged is not known: give --network NAME, --graph FILE or --symmetry FILE")?;
    }
    Ok(text)
}

/// Names and values: counts, what is carried or passed over, and the header.
fn facts(model: &Model) -> Vec<(String, String)> {
    let file = model.checkpoint();
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
    let (tensors, values) = (file.params.len(), file.params.element_count());
    fact("tensors", format!("{tensors} tensors, {values} values"));
    fact("sha256", file.digest().to_owned());
    if !model.rest().is_empty() {
        fact("not used by the graph, carried along", few(model.rest().names().map(str::to_owned)));
    }
    if let Some(part) = &file.part {
        let others: Vec<&str> = file.parts.iter().filter(|p| *p != part).map(String::as_str).collect();
        let beside = if others.is_empty() { String::new() } else { format!("; beside it: {}", others.join(", ")) };
        fact("part of the file", format!("`{part}`{beside}"));
    }
    for (name, why) in &file.passed_over {
        fact("passed over", format!("`{name}`, {why}"));
    }
    let graph = model.graph().filter(|_| !model.symmetry_is_given());
    let quantized = few(graph.iter().flat_map(|g| g.quantized()).map(|(name, _)| name.to_owned()));
    if !quantized.is_empty() {
        fact("quantised weights, which cannot be compared or averaged", quantized);
    }
    let unknown = graph.iter().flat_map(|g| g.nodes()).filter(|n| matches!(n.op, Op::Unknown(_)));
    let unknown = few(unknown.map(|n| format!("{} ({})", n.name, n.op.name())));
    if !unknown.is_empty() {
        fact("operators not known, all they touch is fixed", unknown);
    }
    for (key, value) in file.metadata.0.iter().filter(|(key, _)| *key != Network::HEADER) {
        fact(key, value.clone());
    }
    facts
}

/// The first of these names, and how many more there are.
fn few(names: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 12;
    let names: Vec<String> = names.collect();
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}
