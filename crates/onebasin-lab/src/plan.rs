//! What has to be computed, in order, and how much work it is.

use std::cell::RefCell;
use std::collections::BTreeSet;

use onebasin::{Device, Together};
use onebasin_nn::exec::Program;
use onebasin_nn::optim::{Optimizer, Schedule};
use onebasin_nn::{Network, SteOptions};

use crate::data::Augment;
use crate::error::{Error, Result};
use crate::recipe::Recipe;
use crate::setting::TrainingSetting;
use crate::shelf::{DataPart, Facts};
use crate::stage::{AlignStage, LineStage, MeanStage, Net, PlaneStage, ScoreStage, Stage, TrainStage, Variant};
use crate::store::Key;
use crate::train::TrainOptions;

/// A stage and what is known of it beforehand.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStage {
    /// Its name.
    pub key: Key,
    /// What it does.
    pub stage: Stage,
    /// Multiply-adds, about.
    pub cost: f64,
    /// Epochs whose weights others need, of a training run.
    pub keep: BTreeSet<usize>,
}

impl PlannedStage {
    /// The epochs as a list.
    pub fn epochs(&self) -> Vec<usize> {
        self.keep.iter().copied().collect()
    }
}

/// Stages in an order in which each comes after those it builds on; the same stage is planned once.
pub struct Plan<'a> {
    steps: RefCell<Vec<PlannedStage>>,
    facts: &'a dyn Fn(&str) -> Result<Facts>,
    /// Where networks are trained and evaluated, and weights compared, if not on the processor.
    device: Option<&'a Device>,
}

/// A network with its data, as one setting says.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The network.
    pub network: Network,
    /// What it is trained on.
    pub data: DataPart,
    /// What is measured on.
    pub measured: DataPart,
    /// How it is trained, but for the seed.
    pub options: TrainOptions,
    /// Multiply-adds of a sample, forward.
    work: f64,
    /// Samples of training and test data that are measured on.
    samples: [usize; 2],
    /// Samples it is trained on.
    trained: usize,
}

/// How much an evaluation of a sample costs beside its products, in multiply-adds.
const OVERHEAD: f64 = 2e5;

impl<'a> Plan<'a> {
    /// An empty plan; `facts` tells what is known of a data set.
    pub fn new(facts: &'a dyn Fn(&str) -> Result<Facts>, device: Option<&'a Device>) -> Self {
        Self { steps: RefCell::default(), facts, device }
    }

    /// The steps.
    pub fn steps(self) -> Vec<PlannedStage> {
        self.steps.into_inner()
    }

    /// Adds a stage.
    pub fn add(&self, stage: Stage, cost: f64) -> Key {
        let key = stage.key();
        let mut steps = self.steps.borrow_mut();
        if !steps.iter().any(|s| s.key == key) {
            steps.push(PlannedStage { key: key.clone(), stage, cost, keep: BTreeSet::new() });
        }
        key
    }

    /// A network and its data, `width` put in the network's name.
    ///
    /// # Errors
    /// If there is no such network, data set or recipe, or weights are to decay under Adam.
    pub fn subject(&self, training: &TrainingSetting, width: Option<&str>) -> Result<Subject> {
        let facts = (self.facts)(&training.data)?;
        let name = match width {
            Some(width) => training.network.replace("{width}", width),
            None => training.network.clone(),
        };
        let network = Network::new(&name, &facts.shape, facts.classes)?;
        let mut options = Recipe::named(&training.recipe)?.options;
        options.epochs = training.epochs.unwrap_or(options.epochs);
        options.batch = training.batch.unwrap_or(options.batch);
        options.rate = training.rate.unwrap_or(options.rate);
        match (&mut options.optimizer, training.weight_decay) {
            (Optimizer::Adam | Optimizer::Sgd { .. }, None) => {}
            (Optimizer::Sgd { weight_decay, .. }, Some(decay)) => *weight_decay = decay,
            (Optimizer::Adam, Some(_)) => {
                let why = format!("goes with SGD, not with the recipe `{}`, which trains with Adam", training.recipe);
                return Err(wrong("setting.training.weight_decay", why));
            }
        }
        let data = DataPart {
            set: training.data.clone(),
            digest: facts.digest.clone(),
            split: None,
            share: None,
            train: training.samples,
            test: None,
        };
        let [train, test] = training.measure.map_or([None; 2], |n| n.map(Some));
        let measured = DataPart { train: train.or(training.samples), test, ..data.clone() };
        let of = facts.clone().of(&measured);
        let trained = facts.of(&data).train;
        let work = Program::<f32>::new(network.graph()?)?.multiply_adds() + OVERHEAD;
        Ok(Subject { network, data, measured, options, work, samples: [of.train, of.test], trained })
    }

    /// A network trained on a part of the data, after `epoch` epochs, or all.
    pub fn trained_on(&self, subject: &Subject, data: &DataPart, share: f64, seed: u64, epoch: Option<usize>) -> Net {
        let options = TrainOptions { seed, ..subject.options.clone() };
        let epochs = options.epochs;
        let samples = share * subject.trained as f64 * epochs as f64;
        let device = self.device.map(|d| d.trains_as().to_owned());
        let stage = Stage::Train(TrainStage { network: subject.network.clone(), data: data.clone(), options, device });
        let key = self.add(stage, 3.0 * samples * subject.work);
        let epoch = epoch.unwrap_or(epochs);
        if let Some(step) = self.steps.borrow_mut().iter_mut().find(|s| s.key == key) {
            step.keep.insert(epoch);
        }
        Net::Trained { stage: key, epoch }
    }

    /// A network trained on all of the subject's data.
    pub fn trained(&self, subject: &Subject, seed: u64, epoch: Option<usize>) -> Net {
        self.trained_on(subject, &subject.data, 1.0, seed, epoch)
    }

    fn device_name(&self) -> Option<String> {
        self.device.map(|d| d.name().to_owned())
    }

    /// B aligned with A: the network, moved.
    pub fn aligned(&self, subject: &Subject, a: &Net, b: &Net, method: Variant) -> Net {
        let data = method.sees_data().then(|| subject.data.clone());
        let (network, seed, device) = (subject.network.clone(), 0, self.device_name());
        let target = (method == Variant::StraightThrough).then(|| paper_target(seed, subject.trained));
        let stage =
            Stage::Align(AlignStage { network, a: a.clone(), b: b.clone(), method, data, seed, target, device });
        let key = self.add(stage, method.cost(subject.trained as f64 * subject.work));
        b.clone().moved(&key)
    }

    /// The line from A to B.
    pub fn line(&self, subject: &Subject, a: &Net, b: &Net, points: usize) -> Key {
        let (network, data, device) = (subject.network.clone(), subject.measured.clone(), self.device_name());
        let stage = Stage::Line(LineStage { network, a: a.clone(), b: b.clone(), points, data, device });
        self.add(stage, points as f64 * subject.evaluation())
    }

    /// The plane through A, B and π(B).
    pub fn plane(&self, subject: &Subject, nets: [Net; 3], steps: usize) -> Key {
        let (network, data, device) = (subject.network.clone(), subject.measured.clone(), self.device_name());
        let stage = Stage::Plane(PlaneStage { network, nets, steps, data, device });
        self.add(stage, (steps * steps * subject.samples[1]) as f64 * subject.work)
    }

    /// What a network, or an ensemble, is worth.
    pub fn score(&self, subject: &Subject, nets: Vec<Net>) -> Key {
        let cost = nets.len() as f64 * subject.evaluation();
        let (network, data) = (subject.network.clone(), subject.measured.clone());
        self.add(Stage::Score(ScoreStage { network, nets, data }), cost)
    }

    /// The mean of many networks.
    pub fn mean(&self, subject: &Subject, nets: Vec<Net>, together: Together) -> Net {
        let cost = if together == Together::Naive { 1e9 } else { 1e11 * nets.len() as f64 };
        let stage = Stage::Mean(MeanStage { network: subject.network.clone(), nets, together, seed: 0 });
        Net::Mean(self.add(stage, cost))
    }
}

impl Subject {
    /// Multiply-adds of an evaluation on both splits.
    fn evaluation(&self) -> f64 {
        self.samples.iter().sum::<usize>() as f64 * self.work
    }
}

/// Straight-through matching as the paper has it: the target starts at A, moves slowly, and is followed to the end.
fn paper_target(seed: u64, samples: usize) -> SteOptions {
    SteOptions {
        seed,
        epochs: 5,
        rate: 0.1,
        pull: 1.0,
        held_out: SteOptions::usually_held_out(samples),
        patience: usize::MAX,
        ..SteOptions::default()
    }
}

/// Rows for a page: what was trained, on what, and how.
pub(crate) fn describe(subject: &Subject, training: &TrainingSetting) -> Vec<(String, String)> {
    let o = &subject.options;
    let [train, test] = subject.samples;
    let optimizer = match o.optimizer {
        Optimizer::Adam => "Adam".to_owned(),
        Optimizer::Sgd { momentum, weight_decay } => format!("SGD, momentum {momentum}, weight decay {weight_decay}"),
    };
    let schedule = match o.schedule {
        Schedule::Constant => "constant".to_owned(),
        Schedule::Cosine { warmup_epochs } => format!("{warmup_epochs} epochs of warm-up, then one cosine to zero"),
    };
    let augment = match o.augment {
        None => "images as they are",
        Some(Augment::CropFlip) => "images moved and mirrored",
        Some(Augment::ZoomRotate) => "images zoomed, mirrored and turned",
    };
    let seeds = training.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let digest = subject.data.digest.clone().unwrap_or_default();
    let rows = [
        ("network", subject.network.name.clone()),
        ("data", format!("{}: {} training samples; measured on {train} + {test}", subject.data.set, subject.trained)),
        ("data, SHA-256", digest),
        (
            "training",
            format!(
                "{} epochs of batches of {}, {optimizer}, rate {} ({schedule}), {augment}",
                o.epochs, o.batch, o.rate
            ),
        ),
        ("seeds", seeds),
    ];
    rows.map(|(what, text)| (what.to_owned(), text)).to_vec()
}

/// Fails for a kind of experiment that cannot be what it is to be.
pub(crate) fn wrong(name: &str, why: impl Into<String>) -> Error {
    Error::Experiment { name: name.to_owned(), why: why.into() }
}
