//! `onebasin demo`: everything, on two small networks, in a minute or two.

use anyhow::{Context, Result};
use onebasin_core::barrier::lambda_grid;
use onebasin_core::merge::{Interpolation, merge};
use onebasin_io::write_alignment;
use onebasin_nn::train::{TrainOptions, TrainState};
use onebasin_nn::{Data, Network};
use serde_json::json;

use crate::align::{How, align, ensure, input, provenance};
use crate::args::{Demo, Matching, Method, RepairName, Source};
use crate::finish::Finish;
use crate::model::Model;
use crate::plot;
use crate::talk::{self, Talk};
use crate::verbs::barrier::{Measure, measure, write_plot, write_report};
use crate::verbs::train::Job;

/// Enough steps for the barrier to vanish, few enough for two cores.
const EPOCHS: usize = 20;
const BATCH: usize = 100;

pub fn run(args: &Demo, talk: Talk) -> Result<()> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("{}: cannot create the folder", args.out.display()))?;
    let file = |name: &str| args.out.join(name);
    let data = Data::open("digits")?;
    let network = Network::new("mlp:512x3", data.train.shape(), data.train.classes())?;
    for (name, seed) in [("a", args.seed), ("b", args.seed.wrapping_add(1))] {
        talk.say(&format!(
            "training network {} ({} on digits, seed {seed}, {EPOCHS} epochs)",
            name.to_uppercase(),
            network.name
        ));
        let options = TrainOptions { seed, epochs: EPOCHS, batch: BATCH, ..TrainOptions::default() };
        let output = file(&format!("{name}.safetensors"));
        let job = Job {
            network: &network,
            data: &data,
            options: &options,
            output: &output,
            checkpoint_every: None,
            device: None,
        };
        let (_, summary) = job.train(&TrainState::fresh(&network, seed)?, talk)?;
        talk.say(&format!("  test accuracy {:.2} %", 100.0 * summary.test.accuracy));
    }

    let source = Source::default();
    let (a, b) = Model::open_pair(&file("a.safetensors"), &file("b.safetensors"), &source, talk)?;
    let matching = Matching::defaults(args.seed);
    let how = How { source: &source, matching: &matching, data: None, device: None, resume: None };
    let aligned = align(&a, &b, Method::Auto, &how, talk)?;
    ensure(&a, &aligned.symmetry, talk)?;
    let inputs = [input("a", &a.checkpoint), input("b", &b.checkpoint)];
    write_alignment(
        &file("alignment.safetensors"),
        &aligned.symmetry,
        &aligned.alignment,
        &provenance("match", &inputs, &json!(aligned.record)),
    )?;

    let moved = aligned.alignment.apply(&aligned.symmetry, b.params())?;
    let merged = merge(a.params(), &moved, 0.5, Interpolation::Lerp)?;
    let options = json!({ "lambda": 0.5, "matching": aligned.record });
    let target = a.target(&file("merged.safetensors"))?;
    a.write(&target, &merged, &provenance("merge", &inputs, &options))?;

    let (program, lambda) = (a.program()?, lambda_grid(25)?);
    let finish = Finish { program: &program, data: None, repair: RepairName::None };
    let how = Measure { program: &program, data: &data, device: None, lambda: &lambda, finish: &finish };
    let report = measure(&a, &b, &[("aligned".to_owned(), aligned)], &how, talk)?;
    write_report(&file("report.json"), &report)?;
    write_plot(&file("figure.svg"), &report)?;
    write_plot(&file("figure.png"), &report)?;
    let text = format!(
        "{}\nIn {}: a, b, alignment and merged .safetensors, report.json, figure.svg, figure.png",
        plot::text(&report, talk::width(), talk::colour()),
        args.out.display()
    );
    talk.result(&report, &text)
}
