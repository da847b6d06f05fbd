//! `onebasin match`: find the alignment of B with A.

use anyhow::{Result, bail};
use onebasin::Method;
use serde_json::json;

use crate::args::MatchArgs;
use crate::files::{check_outputs, context, has_siblings, inputs, open_data, open_pair, sibling};
use crate::signals;
use crate::talk::Talk;
use crate::watch::Watch;

pub fn run(args: &MatchArgs, talk: Talk) -> Result<()> {
    let state = has_siblings(&args.output).then(|| sibling(&args.output, "resume"));
    let resumable = matches!(args.method, Method::Ste | Method::Auto | Method::Orthogonal);
    let outputs = || [&args.output].into_iter().chain(&args.report).chain(state.as_ref().filter(|_| resumable));
    check_outputs(outputs(), &[])?;
    let talk = talk.beside(outputs());
    if args.resume && !resumable {
        bail!(
            "only matching over all kinds of groups (auto, orthogonal) and straight-through matching (ste) can be gone on with"
        );
    }
    let device = args.matching.device.open(talk)?;
    let pair = open_pair(&args.a, &args.b, &args.source, talk)?;
    check_outputs(outputs(), &inputs([pair.a(), pair.b()], &args.source, [], args.overwrite))?;
    let data =
        args.data.as_ref().map(|spec| open_data(spec, &args.normalize, &[pair.a(), pair.b()], talk)).transpose()?;
    let mut options = args.matching.options(args.method);
    options.state.clone_from(&state);
    options.resume = args.resume;

    if resumable {
        signals::keeps_a_state();
    }
    let watch = Watch::new(talk);
    let aligned = pair.align(&options, &context(data.as_ref(), device.as_ref(), &watch))?;
    [pair.a(), pair.b()].into_iter().try_for_each(onebasin::Model::unchanged)?;
    let written = aligned.write(&args.output, &pair)?;
    options.forget_state();
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(&aligned.record)?;
        onebasin_io::write_atomic(path, |out| out.write_all(&json))?;
    }
    let record = &aligned.record;
    let output = args.output.display().to_string();
    talk.result(
        "onebasin.match/1",
        &json!({ "alignment": output, "inputs": written.inputs, "matching": record }),
        &text(&aligned, &output),
    )
}

/// A line a group, and what was compared, after the file's name.
fn text(aligned: &onebasin::Aligned, output: &str) -> String {
    let all = aligned.to_string();
    let (groups, last) = all.rsplit_once('\n').unwrap_or(("", &all));
    format!("{groups}\n{output}: {last}").trim_start().to_owned()
}
