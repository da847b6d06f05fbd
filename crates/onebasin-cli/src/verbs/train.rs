//! `onebasin train`: a built-in network, from scratch or resumed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use indicatif::HumanDuration;
use onebasin::{ACCURACY, Device, provenance};
use onebasin_io::{Metadata, PROVENANCE, read, write};
use onebasin_lab::data::Normalise;
use onebasin_lab::train::{Event, Lessons, TrainOptions, TrainState, train_on};
use onebasin_lab::{Recipe, Trainee};
use onebasin_nn::optim::{Optimizer, Schedule};
use onebasin_nn::task::usual;
use onebasin_nn::{evaluate_on, exec::Program};
use serde_json::json;

use crate::args::TrainArgs;
use crate::files::{Opened, check_outputs, check_target, has_siblings, open_images, sibling};
use crate::signals;
use crate::talk::Talk;

/// Lines of progress at most, where no bar can be drawn.
const LINES: usize = 10;

const COSINE: Schedule = Schedule::Cosine { warmup_epochs: 1.0 };

const STATE: &str = "onebasin.train.state";
const OPTIONS: &str = "onebasin.train.options";

pub fn run(args: &TrainArgs, talk: Talk) -> Result<()> {
    let kept = args.checkpoint_every.is_some() || args.resume;
    if kept && !has_siblings(&args.output) {
        bail!("{}: there is no place beside it for what is kept to go on from; name a file", args.output.display());
    }
    let siblings = kept.then(|| ["resume", "epoch-000"].map(|what| sibling(&args.output, what)));
    let read = if args.overwrite { Vec::new() } else { read_by(&args.data) };
    check_outputs(siblings.iter().flatten(), &read)?;
    let talk = talk.beside([&args.output]);
    let (trainee, data) = open(args, talk)?;
    check_target(&trainee.target(&args.output)?, &read)?;
    let options = options(args, &args.recipe.clone().unwrap_or_else(|| trainee.usual()))?;
    let device = args.device.open_to_train(args.precision, talk)?;
    let job = TrainingJob {
        trainee: &trainee,
        data: &data,
        prepared: args.normalize.how()?,
        options: &options,
        output: &args.output,
        checkpoint_every: args.checkpoint_every,
        device: device.as_ref(),
    };
    if args.checkpoint_every.is_some() {
        signals::keeps_a_state();
    }
    let state = if args.resume { job.resume()? } else { TrainState::from(trainee.init(args.seed)?) };
    job.run(&state, talk)
}

/// The files of a data set: the one that is named, or those of the folder.
fn read_by(data: &str) -> Vec<PathBuf> {
    let place = data.split_once(':').map_or(Path::new(""), |(_, place)| Path::new(place));
    let inside = std::fs::read_dir(place).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    inside.chain([place.to_owned()]).collect()
}

/// The network that is to be trained, and what it learns from.
fn open(args: &TrainArgs, talk: Talk) -> Result<(Trainee, Opened)> {
    let Some(path) = args.data.strip_prefix("text:") else {
        let data = open_images(&args.data, &args.normalize, &[], talk)?.with_share(args.share, args.seed)?;
        return Ok((Trainee::of_images(&args.network, &data)?, Opened::Images(Box::new(data))));
    };
    ensure!(args.normalize.how()?.is_none(), "{}: text is not normalised; leave out --normalize", args.data);
    ensure!(args.share == 1.0, "{}: of text all is learnt from; leave out --share", args.data);
    let (trainee, text) = Trainee::of_text(&args.network, Path::new(path))?;
    text.notes.iter().for_each(|note| talk.say(&format!("note: {note}")));
    Ok((trainee, Opened::Text(Box::new(text))))
}

/// The recipe, as far as nothing else was said.
fn options(args: &TrainArgs, recipe: &Recipe) -> Result<TrainOptions> {
    let mut options = recipe.from_seed(args.seed);
    if let Some(optimizer) = args.optimizer {
        (options.optimizer, options.schedule, options.rate) = match optimizer {
            Optimizer::Adam => (optimizer, Schedule::Constant, 1e-3),
            Optimizer::Sgd { .. } => (optimizer, COSINE, 0.1),
        };
    }
    match (&mut options.optimizer, args.weight_decay) {
        (Optimizer::Sgd { weight_decay, .. }, Some(decay)) => *weight_decay = decay,
        (Optimizer::Adam, Some(_)) => bail!("--weight-decay goes with --optimizer sgd"),
        (Optimizer::Adam | Optimizer::Sgd { .. }, None) => {}
    }
    match args.schedule {
        Some(Schedule::Constant) => options.schedule = Schedule::Constant,
        Some(cosine) if options.schedule == Schedule::Constant => options.schedule = cosine,
        Some(Schedule::Cosine { .. }) | None => {}
    }
    match (&mut options.schedule, args.warmup_epochs) {
        (Schedule::Cosine { warmup_epochs }, Some(epochs)) => *warmup_epochs = epochs,
        (Schedule::Constant, Some(_)) => bail!("--warmup-epochs goes with --schedule cosine"),
        (Schedule::Constant | Schedule::Cosine { .. }, None) => {}
    }
    options.epochs = args.epochs.unwrap_or(options.epochs);
    options.batch = args.batch.unwrap_or(options.batch);
    options.rate = args.rate.unwrap_or(options.rate);
    options.augment = args.augment.map_or(options.augment, |changed| changed.0);
    Ok(options)
}

/// One training run and where its files go.
pub struct TrainingJob<'a> {
    pub trainee: &'a Trainee,
    pub data: &'a Opened,
    /// How its images are prepared, where that is not as the data set says.
    pub prepared: Option<Normalise>,
    pub options: &'a TrainOptions,
    pub output: &'a Path,
    pub checkpoint_every: Option<u32>,
    pub device: Option<&'a Device>,
}

impl<'a> TrainingJob<'a> {
    /// Trains, writes the checkpoint, prints what came of it.
    pub fn run(&self, state: &TrainState, talk: Talk) -> Result<()> {
        let (state, summary) = self.train(state, talk)?;
        let text = format!(
            "{}: {} after {} epochs on {}: train loss {:.4}, accuracy {:.2} %; test loss {:.4}, accuracy {:.2} %",
            self.output.display(),
            self.trainee.name,
            state.epoch,
            self.data.name(),
            summary.train.loss,
            100.0 * summary.train.accuracy.unwrap_or_default(),
            summary.test.loss,
            100.0 * summary.test.accuracy.unwrap_or_default(),
        );
        let value = json!({
            "checkpoint": self.output.display().to_string(), "network": self.trainee.described(), "data": self.data.name(),
            "epochs": state.epoch, "device": self.device_name(), "train": summary.train, "test": summary.test,
        });
        talk.result("onebasin.train/1", &value, &text)
    }

    /// Trains and writes the checkpoint.
    pub fn train(&self, state: &TrainState, talk: Talk) -> Result<(TrainState, Summary)> {
        let all = self.data.train().len() as u64;
        let bar = talk.bar(all * self.options.epochs as u64, "{prefix} {wide_bar} {msg} {rate} eta {eta}");
        bar.set_prefix(format!("seed {}", self.options.seed));
        // Told where it starts before the clock is set, lest epochs of an earlier run count as speed.
        bar.set_position(all * state.epoch as u64);
        bar.tick();
        bar.reset_eta();
        let mut failed = None;
        let mut done = state.epoch;
        let trainer = self.device.map(Device::trainer);
        signals::steps(self.checkpoint_every.is_some());
        let trained =
            train_on(trainer, self.trainee.graph(), self.lessons(), state, self.options, &mut |event| match event {
                Event::Step { epoch, samples, loss, accuracy, state } => {
                    bar.set_position(all * (epoch as u64 - 1) + samples as u64);
                    bar.set_message(format!(
                        "{epoch}/{} loss {loss:.4} acc {:.2} %",
                        self.options.epochs,
                        100.0 * accuracy
                    ));
                    if signals::interrupted() && self.checkpoint_every.is_some() {
                        failed = state().map_err(Into::into).and_then(|state| self.save(&state)).err();
                    }
                    !signals::interrupted()
                }
                Event::Epoch { state, loss, accuracy } => {
                    done = state.epoch;
                    if bar.is_hidden() && done.is_multiple_of(self.options.epochs.div_ceil(LINES)) {
                        talk.say(&format!(
                            "seed {}: epoch {done}/{}, loss {loss:.4}, accuracy {:.2} %, {:.0} samples/s, eta {}",
                            self.options.seed,
                            self.options.epochs,
                            100.0 * accuracy,
                            bar.per_sec(),
                            HumanDuration(bar.eta()),
                        ));
                    }
                    let due = self.checkpoint_every.is_some_and(|n| state.epoch % n as usize == 0);
                    failed = if due { self.checkpoint(state).err() } else { None };
                    failed.is_none() && !signals::interrupted()
                }
            });
        signals::steps(false);
        let state = trained?;
        bar.finish_and_clear();
        if let Some(error) = failed {
            return Err(error);
        }
        if signals::interrupted() && state.epoch < self.options.epochs {
            let hint = match self.checkpoint_every {
                Some(_) => "run again with --resume to go on",
                None => "nothing was kept; --checkpoint-every N makes training resumable",
            };
            bail!("interrupted after {done} epochs; {hint}");
        }
        let program = Program::new(self.trainee.graph().clone())?;
        let runner = self.device.map(|device| device.runner(&program, &state.params)).transpose()?.flatten();
        if let (Some(device), None) = (self.device, runner) {
            talk.say(&format!(
                "note: a node of the network does not run on {}; it is evaluated on the processor",
                device.name()
            ));
        }
        let summary = Summary {
            train: evaluate_on(runner, &program, &state.params, self.data.train(), usual(self.data.train()))?,
            test: evaluate_on(runner, &program, &state.params, self.data.test(), usual(self.data.test()))?,
        };
        let metadata = self.metadata(&state, summary.test.accuracy);
        self.trainee.target(self.output)?.write(&state.params, &metadata)?;
        Ok((state, summary))
    }

    /// What is learnt from: images may be augmented.
    fn lessons(&self) -> Lessons<'a> {
        match self.data {
            Opened::Images(data) => Lessons::from(&data.train),
            Opened::Text(text) => Lessons::from(&text.train),
        }
    }

    fn device_name(&self) -> Option<&str> {
        self.device.map(Device::trains_as)
    }

    fn metadata(&self, state: &TrainState, accuracy: Option<f64>) -> Metadata {
        let mut metadata = self.trainee.metadata();
        if let Some(how) = &self.prepared {
            metadata.set_json(Normalise::HEADER, &json!(how));
        }
        let device = self.device_name();
        let mut options =
            json!({ "data": self.data.name(), "train": self.options, "epoch": state.epoch, "device": device });
        if let Some(accuracy) = accuracy {
            options[ACCURACY] = json!(accuracy);
        }
        metadata.set_json(PROVENANCE, &provenance("train", &[], &options));
        metadata
    }

    /// Writes the weights of an epoch, and all that is needed to go on from it.
    fn checkpoint(&self, state: &TrainState) -> Result<()> {
        let path = sibling(self.output, &format!("epoch-{:03}", state.epoch));
        write(&path, &state.params, &self.metadata(state, None))?;
        self.save(state)
    }

    /// Writes all that is needed to go on.
    fn save(&self, state: &TrainState) -> Result<()> {
        let (all, entry) = state.pack();
        let mut metadata = self.metadata(state, None);
        metadata.set_json(STATE, &entry);
        metadata.set_json(OPTIONS, &self.resumable()?);
        Ok(write(&sibling(self.output, "resume"), &all, &metadata)?)
    }

    /// The options that must not change when training goes on; with a constant rate more epochs may be asked for.
    fn resumable(&self) -> Result<serde_json::Value> {
        let mut options = serde_json::to_value(self.options)?;
        if self.options.schedule == Schedule::Constant {
            options["epochs"] = json!(null);
        }
        let device = self.device_name();
        Ok(
            json!({ "network": self.trainee.described(), "data": self.data.name(), "options": options, "device": device }),
        )
    }

    fn resume(&self) -> Result<TrainState> {
        let path = sibling(self.output, "resume");
        let file = read(&path).context("there is nothing to resume from; train with --checkpoint-every N first")?;
        let saved: Option<serde_json::Value> = file.metadata.get_json(OPTIONS)?;
        if saved != Some(self.resumable()?) {
            bail!("{}: was trained with other options ({})", path.display(), saved.unwrap_or_default());
        }
        let entry: Option<serde_json::Value> = file.metadata.get_json(STATE)?;
        let entry = entry.with_context(|| format!("{}: no state in the header", path.display()))?;
        TrainState::unpack(&file.params, &entry).with_context(|| path.display().to_string())
    }
}

/// What came of training.
pub struct Summary {
    pub train: onebasin_nn::Metrics,
    pub test: onebasin_nn::Metrics,
}
