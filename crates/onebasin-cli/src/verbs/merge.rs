//! `onebasin merge`: match, apply and combine in one go.

use anyhow::{Result, bail};
use onebasin::merge::{cast, merge};
use onebasin_io::{PROVENANCE, write};
use serde_json::json;

use crate::args::Merge;
use crate::network::{align, input, open_pair, provenance};
use crate::signals;
use crate::talk::Talk;
use crate::verbs::train::check_writable;

pub fn run(args: &Merge, talk: Talk) -> Result<()> {
    if !(0.0..=1.0).contains(&args.lambda) {
        bail!("--lambda must lie between 0 (network A) and 1 (network B), found {}", args.lambda);
    }
    check_writable(&args.output)?;
    let (a, b) = open_pair(&args.a, &args.b)?;
    let aligned = align(&a, &b, args.align.as_deref(), &args.source, &args.matching, talk)?;
    let moved = aligned.alignment.apply(&aligned.symmetry, &b.params)?;
    let mut merged = merge(&a.params, &moved, args.lambda, args.interpolation)?;
    if let Some(dtype) = args.dtype {
        merged = cast(&merged, dtype)?;
    }
    let mut inputs = vec![input("a", &a), input("b", &b)];
    inputs.extend(aligned.file);
    let options = json!({
        "lambda": args.lambda, "interpolation": args.interpolation.to_string(),
        "dtype": args.dtype.map(onebasin::DType::name), "matching": aligned.record,
    });
    let mut metadata = a.metadata;
    metadata.set_json(PROVENANCE, &provenance("merge", &inputs, &options));
    signals::check()?;
    write(&args.output, &merged, &metadata)?;

    let how = match &aligned.record {
        Some(r) => {
            format!("aligned in {} sweeps (objective {:.4} → {:.4})", r.sweeps.len(), r.start_objective, r.objective)
        }
        None => "aligned with the given file".to_owned(),
    };
    let text = format!("{}: {} at λ = {}, {how}", args.output.display(), args.interpolation, args.lambda);
    talk.result(&json!({ "output": args.output.display().to_string(), "inputs": inputs, "options": options }), &text)
}
