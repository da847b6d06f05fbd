//! `onebasin barrier`: loss and accuracy on the way from A to B, naive and aligned.

use std::path::PathBuf;

use anyhow::{Result, bail};
use onebasin_core::Params;
use onebasin_core::barrier::lambda_grid;
use onebasin_core::report::{Report, SCHEMA};
use onebasin_io::write_atomic;
use onebasin_nn::exec::Program;
use onebasin_nn::{Data, curve};

use crate::align::{Aligned, How, align, input};
use crate::args::{Barrier, RepairName};
use crate::device::Device;
use crate::finish::Finish;
use crate::model::Model;
use crate::plot;
use crate::signals;
use crate::talk::{self, Talk};
use crate::verbs::train::{check_writable, open_data};

pub fn run(args: &Barrier, talk: Talk) -> Result<()> {
    let outputs: Vec<&PathBuf> = args.output.iter().chain(&args.plot).collect();
    outputs.iter().try_for_each(|path| check_writable(path))?;
    args.plot.iter().try_for_each(|path| plot::check(path))?;
    let device = Device::open(args.matching.device, talk)?;
    let (a, b) = Model::open_pair(&args.a, &args.b, &args.source, talk)?;
    let full = open_data(&args.data, talk)?;
    let program = a.program_for(&full)?;
    let aligned = if let Some(path) = &args.align {
        vec![("aligned".to_owned(), Aligned::read(path, &b)?)]
    } else {
        let how = How {
            source: &args.source,
            matching: &args.matching,
            data: Some(&full),
            device: device.as_ref(),
            resume: None,
        };
        let found = |method: &crate::args::Method| Ok((method.name(), align(&a, &b, *method, &how, talk)?));
        args.method.iter().map(found).collect::<Result<Vec<_>>>()?
    };
    let lambda = lambda_grid(args.points)?;
    let mut data = full.clone();
    if let Some(n) = args.samples {
        (data.train, data.test) = (data.train.take(n as usize), data.test.take(n as usize));
    }
    let samples = full.train.take(args.batch_norm_samples);
    if args.repair == RepairName::Data && samples.is_empty() {
        bail!("--repair data needs samples; give --batch-norm-samples above 0");
    }
    let finish = Finish { program: &program, data: (!samples.is_empty()).then_some(&samples), repair: args.repair };
    let how = Measure { program: &program, data: &data, device: device.as_ref(), lambda: &lambda, finish: &finish };
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
    /// Where networks are evaluated, if not on the processor.
    pub device: Option<&'a Device>,
    pub lambda: &'a [f64],
    /// What becomes of the average at every λ.
    pub finish: &'a Finish<'a>,
}

/// The naive curve, and one for every alignment.
pub fn measure(a: &Model, b: &Model, aligned: &[(String, Aligned)], how: &Measure<'_>, talk: Talk) -> Result<Report> {
    let Measure { program, data, device, lambda, finish } = *how;
    let runner = device.map(|device| device.runner(program, a.params(), talk)).transpose()?.flatten();
    let mut ends: Vec<(&str, Params)> = vec![("naive", b.params().clone())];
    for (name, found) in aligned {
        ends.push((name, found.alignment.apply(&found.symmetry, b.params())?));
    }
    let bar = talk.bar((ends.len() * lambda.len()) as u64, "evaluating {bar:24} {pos}/{len} λ, eta {eta}");
    let mut curves = Vec::new();
    for (name, end) in &ends {
        let made = |l: f64, between: Params| finish.apply([a.params(), end], &between, l);
        let found = curve(name, program, [a.params(), end], lambda, data, runner, &made, &mut || {
            bar.inc(1);
            !signals::interrupted()
        });
        signals::check()?;
        curves.push(found?);
    }
    bar.finish_and_clear();
    let mut inputs = vec![input("a", &a.checkpoint), input("b", &b.checkpoint)];
    inputs.extend(aligned.iter().filter_map(|(_, found)| found.file.clone()));
    Ok(Report {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        inputs,
        data: data.name.clone(),
        device: runner.and(device).map(|device| device.name.clone()),
        matching: aligned.iter().filter_map(|(_, found)| found.record.clone()).collect(),
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
