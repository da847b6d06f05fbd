//! `onebasin barrier`: loss and accuracy on the way from A to B, naive and aligned.

use std::path::PathBuf;

use anyhow::{Context, Result};
use onebasin::barrier::lambda_grid;
use onebasin::report::{Report, SCHEMA};
use onebasin_io::{Checkpoint, write_atomic};
use onebasin_nn::exec::Program;
use onebasin_nn::{Data, curve};

use crate::args::Barrier;
use crate::network::{Aligned, align, input, network, open_pair};
use crate::plot;
use crate::signals;
use crate::talk::{self, Talk};
use crate::verbs::train::{check_writable, open_data};

pub fn run(args: &Barrier, talk: Talk) -> Result<()> {
    let outputs: Vec<&PathBuf> = args.output.iter().chain(&args.plot).collect();
    outputs.iter().try_for_each(|path| check_writable(path))?;
    args.plot.iter().try_for_each(|path| plot::check(path))?;
    let (a, b) = open_pair(&args.a, &args.b)?;
    let mut data = open_data(&args.data, talk)?;
    if let Some(n) = args.samples {
        (data.train, data.test) = (data.train.take(n as usize), data.test.take(n as usize));
    }
    let aligned = align(&a, &b, args.align.as_deref(), &args.source, &args.matching, talk)?;
    let network = network(&a, &args.source)?
        .with_context(|| format!("{} does not say what network it is; name it with --network", a.path.display()))?;
    let network = network.with_input(data.test.shape())?;
    data.test.check_fits(&network)?;
    let program = Program::new(network.graph()?);
    let report = measure(&a, &b, &aligned, &program, &data, args.points, talk)?;
    if let Some(path) = &args.output {
        write_report(path, &report)?;
    }
    args.plot.iter().try_for_each(|path| write_plot(path, &report))?;
    talk.result(&report, &plot::text(&report, talk::width(), talk::colour()))
}

/// Both curves, naive and aligned.
pub fn measure(
    a: &Checkpoint,
    b: &Checkpoint,
    aligned: &Aligned,
    program: &Program,
    data: &Data,
    points: usize,
    talk: Talk,
) -> Result<Report> {
    let lambda = lambda_grid(points)?;
    let moved = aligned.alignment.apply(&aligned.symmetry, &b.params)?;
    let bar = talk.bar(2 * lambda.len() as u64, "evaluating {bar:24} {pos}/{len} λ, eta {eta}");
    let mut curves = Vec::new();
    for (name, end) in [("naive", &b.params), ("weight", &moved)] {
        let found = curve(name, program, [&a.params, end], &lambda, data, &mut || {
            bar.inc(1);
            !signals::interrupted()
        });
        signals::check()?;
        curves.push(found?);
    }
    bar.finish_and_clear();
    let mut inputs = vec![input("a", a), input("b", b)];
    inputs.extend(aligned.file.clone());
    Ok(Report {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        inputs,
        data: data.name.clone(),
        matching: aligned.record.clone(),
        curves,
    })
}

/// Writes a report as JSON.
pub fn write_report(path: &std::path::Path, report: &Report) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(report)?;
    json.push(b'\n');
    Ok(write_atomic(path, |out| out.write_all(&json))?)
}

/// Draws a report as SVG or PNG, by the file's extension.
pub fn write_plot(path: &std::path::Path, report: &Report) -> Result<()> {
    let bytes = plot::render(path, report)?;
    Ok(write_atomic(path, |out| out.write_all(&bytes))?)
}
