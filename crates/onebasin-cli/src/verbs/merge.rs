//! `onebasin merge`: match, apply and combine in one go.

use anyhow::{Result, bail};
use onebasin::merge::{cast, merge};
use onebasin_nn::evaluate::{BATCH, recompute_batch_norm};
use serde_json::json;

use crate::align::{align, ensure, input, provenance};
use crate::args::Merge;
use crate::model::Model;
use crate::signals;
use crate::talk::Talk;
use crate::verbs::train::{check_writable, open_data};

pub fn run(args: &Merge, talk: Talk) -> Result<()> {
    if !(0.0..=1.0).contains(&args.lambda) {
        bail!("--lambda must lie between 0 (network A) and 1 (network B), found {}", args.lambda);
    }
    check_writable(&args.output)?;
    let (a, b) = Model::open_pair(&args.a, &args.b, &args.source, talk)?;
    a.check_format(&args.output)?;
    let data = args.data.as_ref().map(|spec| open_data(spec, talk)).transpose()?;
    let aligned = align(&a, &b, args.align.as_deref(), &args.source, &args.matching, talk)?;
    if !args.no_check {
        ensure(&a, &aligned.symmetry, talk)?;
    }
    let moved = aligned.alignment.apply(&aligned.symmetry, b.params())?;
    let mut merged = merge(a.params(), &moved, args.lambda, args.interpolation)?;
    let has_statistics = !a.statistics().is_empty();
    match &data {
        Some(data) if has_statistics => merged = recompute_batch_norm(&a.program()?, &merged, &data.train, BATCH)?,
        Some(_) => talk.say("note: the network has no BatchNorm; --data changes nothing"),
        None if has_statistics => talk.say(
            "note: the statistics of BatchNorms were interpolated, which ruins most merged networks; give --data to \
             recompute them",
        ),
        None => {}
    }
    if let Some(dtype) = args.dtype {
        merged = cast(&merged, dtype)?;
    }
    let mut inputs = vec![input("a", &a.checkpoint), input("b", &b.checkpoint)];
    inputs.extend(aligned.file);
    let options = json!({
        "lambda": args.lambda, "interpolation": args.interpolation.to_string(),
        "dtype": args.dtype.map(onebasin::DType::name), "batch_norm": data.as_ref().map(|d| &d.name),
        "matching": aligned.record,
    });
    signals::check()?;
    a.write(&args.output, &merged, &provenance("merge", &inputs, &options))?;

    let how = match &aligned.record {
        Some(r) => {
            format!("aligned in {} sweeps (objective {:.4} → {:.4})", r.sweeps.len(), r.start_objective, r.objective)
        }
        None => "aligned with the given file".to_owned(),
    };
    let text = format!("{}: {} at λ = {}, {how}", args.output.display(), args.interpolation, args.lambda);
    talk.result(&json!({ "output": args.output.display().to_string(), "inputs": inputs, "options": options }), &text)
}
