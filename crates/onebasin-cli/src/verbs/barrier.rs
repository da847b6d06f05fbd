//! `onebasin barrier`: loss and accuracy on the way from A to B, naive and aligned.

use anyhow::Result;
use onebasin::Aligned;
use onebasin_io::write_atomic;
use onebasin_lab::figure;

use crate::args::BarrierArgs;
use crate::files::{check_outputs, context, inputs, open_data, open_pair, write_json};
use crate::talk::{self, Talk};
use crate::watch::Watch;

pub fn run(args: &BarrierArgs, talk: Talk) -> Result<()> {
    let outputs = || args.output.iter().chain(&args.plot);
    check_outputs(outputs(), &[])?;
    let talk = talk.beside(outputs());
    args.plot.iter().try_for_each(|path| figure::check(path))?;
    let device = args.matching.device.open(talk)?;
    let pair = open_pair(&args.a, &args.b, &args.source, talk)?;
    check_outputs(outputs(), &inputs([pair.a(), pair.b()], &args.source, &args.align, false))?;
    pair.check_finite()?;
    let data = open_data(&args.data, &args.normalize, &[pair.a(), pair.b()], talk)?;
    let watch = Watch::new(talk);
    let context = context(Some(&data), device.as_ref(), &watch);
    let aligned: Vec<(&str, Aligned)> = if let Some(path) = &args.align {
        vec![("aligned", Aligned::read(path, pair.b())?)]
    } else {
        let found =
            |method: &onebasin::Method| Ok((method.name(), pair.align(&args.matching.options(*method), &context)?));
        args.method.iter().map(found).collect::<onebasin::Result<_>>()?
    };
    let named: Vec<(&str, &Aligned)> = aligned.iter().map(|(name, found)| (*name, found)).collect();
    let report = pair.barrier(&named, &args.options(), &context)?;
    [pair.a(), pair.b()].into_iter().try_for_each(onebasin::Model::unchanged)?;
    if let Some(path) = &args.output {
        write_json(path, &report)?;
    }
    for path in &args.plot {
        let bytes = figure::render(path, &figure::of_report(&report))?;
        write_atomic(path, |out| out.write_all(&bytes))?;
    }
    talk.result("onebasin.report/2", &report, &figure::text(&report, talk::width(), talk::colour()))
}
