//! `onebasin inspect`: what a file holds.

use std::fmt::Write;

use anyhow::{Context, Result};
use onebasin::symmetry::{Symmetry, discover};
use onebasin_io::{SYMMETRY, read};
use serde_json::{Value, json};

use crate::args::Inspect;
use crate::model::{Model, NETWORK};
use crate::talk::Talk;

pub fn run(args: &Inspect, talk: Talk) -> Result<()> {
    let is_alignment =
        args.file.extension().is_none_or(|e| e != "onnx") && read(&args.file)?.metadata.get(SYMMETRY).is_some();
    let model =
        if is_alignment { Model::bare(read(&args.file)?) } else { Model::open(&args.file, &args.source, talk)? };
    if let Some((tensor, axis)) = &args.why {
        return why(&model, tensor, *axis, talk);
    }
    let known = args.source.symmetry.is_some() || model.graph.is_some();
    let symmetry = if known { Some(model.symmetry(&args.source)?) } else { None };
    let file = &model.checkpoint;
    let mut text = String::new();
    let mut tensors = Vec::new();
    let pattern = |name: &str| symmetry.as_ref().and_then(|s| s.tensor(name).ok()).map(|t| t.pattern.to_string());
    let width = file.params.names().map(|n| n.chars().count()).max().unwrap_or(0).min(60);
    for (name, tensor) in file.params.iter() {
        let pattern = pattern(name);
        let mut not_finite = 0;
        if tensor.dtype().is_float() {
            not_finite = tensor.to_f64()?.iter().filter(|v| !v.is_finite()).count();
        }
        let warning = if not_finite > 0 { format!("  {not_finite} values are not finite!") } else { String::new() };
        let shown = pattern.as_ref().map_or(String::new(), |p| format!("  {p}"));
        let shape = format!("{:?}", tensor.shape());
        writeln!(text, "{name:width$}  {:4}  {shape:14}{shown}{warning}", tensor.dtype().name())?;
        tensors.push(json!({
            "name": name, "dtype": tensor.dtype().name(), "shape": tensor.shape(), "pattern": pattern, "not_finite": not_finite,
        }));
    }
    writeln!(text, "{} tensors, {} values, sha256 {}", file.params.len(), file.params.element_count(), file.digest)?;
    let groups: Vec<Value> =
        symmetry.iter().flat_map(Symmetry::groups).map(|g| json!({ "name": g.name, "size": g.size })).collect();
    if let Some(symmetry) = &symmetry {
        let names: Vec<String> = symmetry.groups().iter().map(|g| format!("{} ({})", g.name, g.size)).collect();
        writeln!(text, "{} groups: {}", names.len(), names.join(", "))?;
    } else if !is_alignment {
        writeln!(text, "what may be exchanged is not known: give --network NAME or --symmetry FILE")?;
    }
    for (key, value) in file.metadata.0.iter().filter(|(k, _)| *k != NETWORK) {
        writeln!(text, "{key}: {}", value.trim_end())?;
    }
    let value = json!({
        "file": args.file.display().to_string(), "sha256": file.digest, "tensors": tensors, "groups": groups, "metadata": file.metadata.0,
    });
    talk.result(&value, &text)
}

/// Says why an axis may or may not move.
fn why(model: &Model, tensor: &str, axis: usize, talk: Talk) -> Result<()> {
    let graph = model.graph.as_ref().context("--why explains graphs; name the network with --network or --graph")?;
    let lines = discover(graph).why(tensor, axis)?;
    talk.result(&json!({ "tensor": tensor, "axis": axis, "why": lines }), &lines.join("\n"))
}
