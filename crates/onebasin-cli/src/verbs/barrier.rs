//! `onebasin barrier`: loss and accuracy on the way from A to B, naive and aligned.

use std::path::PathBuf;

use anyhow::Result;
use onebasin::Aligned;
use onebasin_io::write_atomic;
use onebasin_lab::figure;

use crate::args::BarrierArgs;
use crate::files::{check_writable, context, open_data, open_pair, write_json};
use crate::talk::{self, Talk};
use crate::watch::Watch;

pub fn run(args: &BarrierArgs, talk: Talk) -> Result<()> {
    let outputs: Vec<&PathBuf> = args.output.iter().chain(&args.plot).collect();
    outputs.iter().try_for_each(|path| check_writable(path))?;
    args.plot.iter().try_for_each(|path| figure::check(path))?;
    let device = args.matching.device.open(talk)?;
    let pair = open_pair(&args.a, &args.b, &args.source, talk)?;
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
    if let Some(path) = &args.output {
        write_json(path, &report)?;
    }
    for path in &args.plot {
        let bytes = figure::render(path, &report)?;
        write_atomic(path, |out| out.write_all(&bytes))?;
    }
    talk.result(&report, &figure::text(&report, talk::width(), talk::colour()))
}
