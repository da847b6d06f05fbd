//! `onebasin merge`: match, apply and combine in one go.

use anyhow::{Result, ensure};
use onebasin::Aligned;
use onebasin_io::write_atomic;
use onebasin_lab::figure;
use serde_json::json;

use crate::args::MergeArgs;
use crate::files::{
    check_outputs, check_target, context, has_siblings, inputs, open_data, open_pair, open_side_by_side, place, sibling,
};
use crate::signals;
use crate::talk::{self, Talk};
use crate::watch::Watch;

pub fn run(args: &MergeArgs, talk: Talk) -> Result<()> {
    let device = args.matching.device.open(talk)?;
    let mut options = args.options();
    let keeps = options.repair.solves() && options.width == 1.0 && has_siblings(&args.output);
    options.state = keeps.then(|| sibling(&args.output, "resume"));
    options.check()?;
    if let Some(path) = &args.plot {
        figure::check(path)?;
        ensure!(args.width == 1.0, "--plot compares layers of the same width; leave out --width or --plot");
        ensure!(args.repair.solves(), "--plot draws what --repair solve (or affine, or distil) did; give both");
    }
    let open = if args.side_by_side { open_side_by_side } else { open_pair };
    let pair = open(&args.a, &args.b, &args.source, talk)?;
    let target = pair.a().target(&args.output)?;
    let inputs = inputs([pair.a(), pair.b()], &args.source, &args.align, args.overwrite);
    check_target(&target, &inputs)?;
    if let Some(path) = &args.plot {
        check_outputs([path], &inputs)?;
        ensure!(
            place(path) != place(&args.output),
            "{}: the plot and the network cannot both go there",
            path.display()
        );
    }
    let talk = talk.beside([&args.output]);
    let data =
        args.data.as_ref().map(|spec| open_data(spec, &args.normalize, &[pair.a(), pair.b()], talk)).transpose()?;
    if let Some(state) = &options.state {
        check_outputs([state], &inputs)?;
        signals::keeps_a_state();
    }
    let watch = Watch::new(talk);
    let context = context(data.as_ref(), device.as_ref(), &watch);
    if args.align.is_none() {
        pair.prepare(&options, &context)?;
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
    let answers = match written.options["side_by_side"].as_array().map(|classes| &classes[..]) {
        Some([a, b]) => format!(", answers the {a} classes of A and then the {b} of B"),
        Some(_) | None => String::new(),
    };
    let mut text = format!("{output}: {} at λ = {}{answers}, {how}{account}", args.interpolation, args.lambda);
    if let Some(solved) = &written.solved {
        let figure = figure::of_sites(
            &solved.before.sites,
            &solved.after.sites,
            match (solved.distilled > 0, solved.units_only) {
                (true, _) => "distilled",
                (false, true) => "scaled and shifted",
                (false, false) => "solved",
            },
        );
        if let Some(path) = &args.plot {
            let bytes = figure::render(path, &figure)?;
            write_atomic(path, |out| out.write_all(&bytes))?;
        }
        let plot = figure::plot(&figure, talk::width(), talk::colour()).map_or_else(String::new, |plot| plot + "\n");
        text = format!("{plot}{solved}\n{text}");
    }
    let value = json!({
        "output": output, "inputs": written.inputs, "options": written.options, "solved": written.solved,
    });
    talk.result("onebasin.merge/1", &value, &text)
}
