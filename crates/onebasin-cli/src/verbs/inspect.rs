//! `onebasin inspect`: what a file holds.

use std::fmt::Write;

use anyhow::Result;
use onebasin::core::escaped;
use onebasin::core::graph::Op;
use onebasin::{Model, Network, Symmetry};
use onebasin_io::SYMMETRY;
use serde_json::{Value, json};

use crate::args::InspectArgs;
use crate::talk::{self, Talk};

pub fn run(args: &InspectArgs, talk: Talk) -> Result<()> {
    let model = Model::open(&args.file, &args.source.blueprint())?;
    let is_alignment = model.checkpoint().metadata.get(SYMMETRY).is_some();
    if let Some((tensor, axis)) = &args.why {
        let lines = model.why(tensor, *axis)?;
        return talk.result(&json!({ "tensor": tensor, "axis": axis, "why": lines }), &lines.join("\n"));
    }
    let known = model.symmetry_is_given() || model.graph().is_some();
    let symmetry = if known { Some(model.symmetry()?) } else { None };
    let file = model.checkpoint();
    let mut text = String::new();
    let mut tensors = Vec::new();
    let pattern = |name: &str| symmetry.as_ref().and_then(|s| s.tensor(name).ok()).map(|t| t.pattern.to_string());
    let width = file.params.names().map(|n| escaped(n).chars().count()).max().unwrap_or(0).min(60);
    for (name, tensor) in file.params.iter() {
        let pattern = pattern(name);
        let mut not_finite = 0;
        if tensor.dtype().is_float() {
            not_finite = tensor.to_f64()?.iter().filter(|v| !v.is_finite()).count();
        }
        let warning = if not_finite > 0 { format!("  {not_finite} values are not finite!") } else { String::new() };
        let shown = pattern.as_ref().map_or(String::new(), |p| format!("  {p}"));
        let shape = format!("{:?}", tensor.shape());
        let named = if name.is_empty() { "\"\"".into() } else { escaped(name) };
        writeln!(text, "{named:width$}  {:4}  {shape:14}{shown}{warning}", tensor.dtype().name())?;
        tensors.push(json!({
            "name": name, "dtype": tensor.dtype().name(), "shape": tensor.shape(), "pattern": pattern, "not_finite": not_finite,
        }));
    }
    writeln!(text, "{} tensors, {} values, sha256 {}", file.params.len(), file.params.element_count(), file.digest())?;
    if !model.rest().is_empty() {
        let names: Vec<&str> = model.rest().names().collect();
        writeln!(text, "not used by the graph, carried along: {}", escaped(&names.join(", ")))?;
    }
    if let Some(part) = &file.part {
        let others: Vec<&str> = file.parts.iter().filter(|p| *p != part).map(String::as_str).collect();
        let beside =
            if others.is_empty() { String::new() } else { format!("; beside it: {}", escaped(&others.join(", "))) };
        writeln!(text, "part `{}` of the file{beside}", escaped(part))?;
    }
    for (name, why) in &file.passed_over {
        writeln!(text, "passed over: `{}`, {}", escaped(name), escaped(why))?;
    }
    let groups: Vec<Value> =
        symmetry.iter().flat_map(Symmetry::groups).map(|g| json!({ "name": g.name, "size": g.size })).collect();
    if let Some(symmetry) = &symmetry {
        let names: Vec<String> = symmetry.groups().iter().map(|g| format!("{} ({})", g.name, g.size)).collect();
        writeln!(text, "{} groups: {}", names.len(), names.join(", "))?;
        let graph = model.graph().filter(|_| !model.symmetry_is_given());
        let unknown: Vec<String> = graph
            .iter()
            .flat_map(|g| g.nodes())
            .filter(|n| matches!(n.op, Op::Unknown(_)))
            .map(|n| format!("{} ({})", n.name, n.op.name()))
            .collect();
        let quantized: Vec<&str> = graph.iter().flat_map(|g| g.quantized()).map(|(name, _)| name).collect();
        if !quantized.is_empty() {
            writeln!(text, "quantised weights, which cannot be compared or averaged: {}", quantized.join(", "))?;
        }
        if !unknown.is_empty() {
            writeln!(text, "operators not known, all they touch is fixed: {}", unknown.join(", "))?;
        }
    } else if !is_alignment {
        writeln!(text, "what may be exchanged is not known: give --network NAME, --graph FILE or --symmetry FILE")?;
    }
    for (key, value) in file.metadata.0.iter().filter(|(k, _)| *k != Network::HEADER) {
        writeln!(text, "{}: {}", escaped(key), talk::shown(value.trim_end()))?;
    }
    model.unchanged()?;
    let value = json!({
        "file": args.file.display().to_string(), "sha256": file.digest(), "tensors": tensors, "groups": groups, "metadata": file.metadata.0,
        "part": file.part, "parts": file.parts,
        "passed_over": file.passed_over.iter().map(|(name, why)| json!({ "name": name, "why": why })).collect::<Vec<_>>(),
    });
    talk.result(&value, &text)
}
