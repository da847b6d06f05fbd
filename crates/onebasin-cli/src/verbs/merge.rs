//! `onebasin merge`: match, apply and combine in one go.

use anyhow::Result;
use onebasin::Aligned;
use serde_json::json;

use crate::args::MergeArgs;
use crate::files::{check_target, context, inputs, open_data, open_pair};
use crate::talk::Talk;
use crate::watch::Watch;

pub fn run(args: &MergeArgs, talk: Talk) -> Result<()> {
    let device = args.matching.device.open(talk)?;
    let options = args.options();
    options.check()?;
    let pair = open_pair(&args.a, &args.b, &args.source, talk)?;
    let target = pair.a().target(&args.output)?;
    check_target(&target, &inputs([pair.a(), pair.b()], &args.source, &args.align, args.overwrite))?;
    let talk = talk.beside([&args.output]);
    let data =
        args.data.as_ref().map(|spec| open_data(spec, &args.normalize, &[pair.a(), pair.b()], talk)).transpose()?;
    let watch = Watch::new(talk);
    let context = context(data.as_ref(), device.as_ref(), &watch);
    if args.align.is_none() {
        pair.check_merge(&options, &context)?;
    }
    let found = match &args.align {
        Some(path) => Aligned::read(path, pair.b())?,
        None => pair.align(&args.matching.options(args.method), &context)?,
    };
    let merged = pair.merge(&found, &options, &context)?;
    [pair.a(), pair.b()].into_iter().try_for_each(onebasin::Model::unchanged)?;
    let written = merged.write(&args.output)?;
    let how = match &found.record {
        Some(r) => format!("aligned by {} (⟨A, π(B)⟩ {:.4} → {:.4})", r.compared, r.start_objective, r.objective),
        None => "aligned with the given file".to_owned(),
    };
    let output = args.output.display().to_string();
    let account = written.account.map_or_else(String::new, |account| format!("\n{account}"));
    let text = format!("{output}: {} at λ = {}, {how}{account}", args.interpolation, args.lambda);
    talk.result(&json!({ "output": output, "inputs": written.inputs, "options": written.options }), &text)
}
