//! `onebasin demo`: everything, on two small networks, in a minute or two.

use anyhow::{Context as _, Result};
use onebasin::{Align, Blueprint, Measure, Merge, Pair};
use onebasin_io::write_atomic;
use onebasin_lab::train::{TrainOptions, TrainState};
use onebasin_lab::{Data, Trainee, figure};

use crate::args::DemoArgs;
use crate::files::{Opened, check_outputs, context, write_json};
use crate::talk::{self, Talk};
use crate::verbs::train::TrainingJob;
use crate::watch::Watch;

/// Enough steps for the barrier to vanish, few enough for two cores.
const EPOCHS: usize = 20;
const BATCH: usize = 100;

pub fn run(args: &DemoArgs, talk: Talk) -> Result<()> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("{}: cannot create the folder", args.out.display()))?;
    let file = |name: &str| args.out.join(name);
    check_outputs([&file("a.safetensors")], &[])?;
    let data = Data::open("digits")?;
    let trainee = Trainee::of_images("mlp:512x3", &data)?;
    let data = Opened::Images(Box::new(data));
    for (name, seed) in [("a", args.seed), ("b", args.seed.wrapping_add(1))] {
        let (who, what) = (name.to_uppercase(), &trainee.name);
        talk.say(&format!("training network {who} ({what} on digits, seed {seed}, {EPOCHS} epochs)"));
        let options = TrainOptions { seed, epochs: EPOCHS, batch: BATCH, ..TrainOptions::default() };
        let output = file(&format!("{name}.safetensors"));
        let (trainee, data, options, output) = (&trainee, &data, &options, &*output);
        let job = TrainingJob { trainee, data, prepared: None, options, output, checkpoint_every: None, device: None };
        let (_, summary) = job.train(&TrainState::from(trainee.init(seed)?), talk)?;
        talk.say(&format!("  test accuracy {:.2} %", 100.0 * summary.test.accuracy.unwrap_or_default()));
    }

    let watch = Watch::new(talk);
    let pair = Pair::open(file("a.safetensors"), file("b.safetensors"), &Blueprint::default())?;
    let weights_alone = context(None, None, &watch);
    let aligned = pair.align(&Align { seed: args.seed, ..Align::default() }, &weights_alone)?;
    aligned.write(file("alignment.safetensors"), &pair)?;
    pair.merge(&aligned, &Merge::default(), &weights_alone)?.write(file("merged.safetensors"))?;
    let measure = Measure { batch_norm_samples: 0, ..Measure::default() };
    let report = pair.barrier(&[("aligned", &aligned)], &measure, &context(Some(&data), None, &watch))?;
    write_json(&file("report.json"), &report)?;
    for name in ["figure.svg", "figure.png"] {
        let bytes = figure::render(&file(name), &figure::of_report(&report))?;
        write_atomic(&file(name), |out| out.write_all(&bytes))?;
    }
    let text = format!(
        "{}\nIn {}: a, b, alignment and merged .safetensors, report.json, figure.svg, figure.png",
        figure::text(&report, talk::width(), talk::colour()),
        args.out.display()
    );
    talk.result("onebasin.report/2", &report, &text)
}
