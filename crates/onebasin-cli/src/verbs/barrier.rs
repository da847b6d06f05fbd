//! `onebasin barrier`: loss and accuracy on the way from A to B, naive and aligned.

use std::path::PathBuf;

use anyhow::Result;
use onebasin::barrier::lambda_grid;
use onebasin::report::{Report, SCHEMA};
use onebasin_io::write_atomic;
use onebasin_nn::exec::Program;
use onebasin_nn::{Data, Dataset, curve};

use crate::align::{Aligned, align, input};
use crate::args::Barrier;
use crate::model::Model;
use crate::plot;
use crate::signals;
use crate::talk::{self, Talk};
use crate::verbs::train::{check_writable, open_data};

pub fn run(args: &Barrier, talk: Talk) -> Result<()> {
    let outputs: Vec<&PathBuf> = args.output.iter().chain(&args.plot).collect();
    outputs.iter().try_for_each(|path| check_writable(path))?;
    args.plot.iter().try_for_each(|path| plot::check(path))?;
    let (a, b) = Model::open_pair(&args.a, &args.b, &args.source, talk)?;
    let mut data = open_data(&args.data, talk)?;
    if let Some(n) = args.samples {
        (data.train, data.test) = (data.train.take(n as usize), data.test.take(n as usize));
    }
    let program = match &a.network {
        Some(network) => {
            let network = network.with_input(data.test.shape())?;
            data.test.check_fits(&network)?;
            Program::new(network.graph()?)?
        }
        None => a.program()?,
    };
    let aligned = align(&a, &b, args.align.as_deref(), &args.source, &args.matching, talk)?;
    let lambda = lambda_grid(args.points)?;
    let normed = program.statistic_count() > 0 && args.batch_norm_samples > 0;
    let batch_norm = normed.then(|| data.train.take(args.batch_norm_samples));
    let how = Measure { program: &program, data: &data, lambda: &lambda, batch_norm: batch_norm.as_ref() };
    let report = measure(&a, &b, &aligned, &how, talk)?;
    if let Some(path) = &args.output {
        write_report(path, &report)?;
    }
    args.plot.iter().try_for_each(|path| write_plot(path, &report))?;
    talk.result(&report, &plot::text(&report, talk::width(), talk::colour()))
}

/// What is measured, and where.
pub struct Measure<'a> {
    pub program: &'a Program,
    pub data: &'a Data,
    pub lambda: &'a [f64],
    /// Data on which BatchNorm statistics are recomputed at every λ.
    pub batch_norm: Option<&'a Dataset>,
}

/// Both curves, naive and aligned.
pub fn measure(a: &Model, b: &Model, aligned: &Aligned, how: &Measure<'_>, talk: Talk) -> Result<Report> {
    let Measure { program, data, lambda, batch_norm } = *how;
    let moved = aligned.alignment.apply(&aligned.symmetry, b.params())?;
    let bar = talk.bar(2 * lambda.len() as u64, "evaluating {bar:24} {pos}/{len} λ, eta {eta}");
    let mut curves = Vec::new();
    for (name, end) in [("naive", b.params()), ("weight", &moved)] {
        let found = curve(name, program, [a.params(), end], lambda, data, batch_norm, &mut || {
            bar.inc(1);
            !signals::interrupted()
        });
        signals::check()?;
        curves.push(found?);
    }
    bar.finish_and_clear();
    let mut inputs = vec![input("a", &a.checkpoint), input("b", &b.checkpoint)];
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
