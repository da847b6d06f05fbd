//! What is computed, in steps that are kept: each is a value that says everything that decides its result.
//!
//! Every stage writes files into its own room of the store, and only there. What comes of it is the same bytes however
//! often it was killed and begun again, but for the seconds that [`timing`] measures.

pub mod align;
pub mod counterexample;
pub mod line;
pub mod mean;
pub mod net;
pub mod plane;
pub mod score;
pub mod timing;
pub mod training;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use onebasin::{Device, Level, Observer, Progress};
use onebasin_core::Params;
use onebasin_nn::exec::Program;
use onebasin_nn::optim::Optimizer;
use onebasin_nn::{Network, Runner};
use serde::Serialize;

pub use align::{AlignStage, Variant};
pub use counterexample::CounterexampleStage;
pub use line::LineStage;
pub use mean::MeanStage;
pub use net::Net;
pub use plane::PlaneStage;
pub use score::ScoreStage;
pub use timing::TimingStage;
pub use training::TrainStage;

use crate::error::{Error, Result};
use crate::shelf::Shelf;
use crate::store::{Key, Store};

/// A step of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Trains a network.
    Train(TrainStage),
    /// Aligns a network with another.
    Align(AlignStage),
    /// Measures loss and accuracy between two networks.
    Line(LineStage),
    /// Measures the loss on a plane through three networks.
    Plane(PlaneStage),
    /// Measures a network, or an ensemble: loss, accuracy, calibration.
    Score(ScoreStage),
    /// Averages many networks.
    Mean(MeanStage),
    /// Measures how long matching takes.
    Timing(TimingStage),
    /// The paper's two networks that no permutation joins.
    Counterexample(CounterexampleStage),
}

/// What a stage works in.
pub struct Room<'a> {
    /// Its own name.
    pub key: &'a Key,
    /// All results.
    pub store: &'a Store,
    /// All data.
    pub shelf: &'a Shelf,
    /// Where networks are trained and evaluated, and weights compared, if not on the processor.
    pub device: Option<&'a Device>,
    /// How long training may go on before its state is saved.
    pub save_every: Duration,
    /// Told the share that is done, and how it goes; false to stop.
    pub tell: &'a (dyn Fn(f64, &str) -> bool + Sync),
}

impl Room<'_> {
    /// What evaluates a network, if not the processor: a device, where all of the network runs there.
    fn runner(&self, program: &Program, params: &Params) -> Result<Option<&dyn Runner>> {
        let Some(device) = self.device else { return Ok(None) };
        Ok(device.runner(program, params)?)
    }

    /// What trains a network, if not the processor: a device, where all of the network trains there.
    fn trainer(&self, network: &Network, params: &Params, optimizer: Optimizer) -> Result<Option<&dyn Runner>> {
        let Some(device) = self.device else { return Ok(None) };
        match device.trainer().bring_to_train(&network.graph()?, params, &[], optimizer) {
            Ok(_) => Ok(Some(device.trainer())),
            Err(onebasin_nn::Error::Operator { .. }) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    /// Says how far the work is.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it is to stop.
    pub fn at(&self, share: f64, how: &str) -> Result<()> {
        if (self.tell)(share, how) { Ok(()) } else { Err(Error::Stopped) }
    }
}

/// Passes on what the library tells of its work to whoever watches the stage.
pub(crate) struct StageObserver<'a> {
    room: &'a Room<'a>,
    /// In millionths, the share that was told last.
    share: AtomicU32,
    stopped: AtomicBool,
}

impl<'a> StageObserver<'a> {
    pub(crate) fn new(room: &'a Room<'a>) -> Self {
        Self { room, share: AtomicU32::new(0), stopped: AtomicBool::new(false) }
    }

    fn tell(&self, how: &str) {
        let share = f64::from(self.share.load(Ordering::Relaxed)) / 1e6;
        if !(self.room.tell)(share, how) {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }
}

impl Observer for StageObserver<'_> {
    fn progress(&self, at: &Progress<'_>) {
        // The rest of a stage is short beside the step that is counted.
        let share = 0.9 * at.done as f64 / at.total.max(1) as f64;
        self.share.store((1e6 * share) as u32, Ordering::Relaxed);
        self.tell(at.how);
    }

    fn remark(&self, _level: Level, text: &str) {
        self.tell(text);
    }

    fn stops(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

impl Stage {
    /// Its name: the hash of its options and of the names of the stages it builds on.
    pub fn key(&self) -> Key {
        Key::new(self.kind(), &self.options())
    }

    /// Everything that decides what comes of it.
    pub fn options(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a stage is plain data")
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Train(_) => "train",
            Self::Align(_) => "align",
            Self::Line(_) => "line",
            Self::Plane(_) => "plane",
            Self::Score(_) => "score",
            Self::Mean(_) => "mean",
            Self::Timing(_) => "timing",
            Self::Counterexample(_) => "counterexample",
        }
    }

    /// What it does, in a few words.
    pub fn title(&self) -> String {
        match self {
            Self::Train(s) => format!("training {} on {}, seed {}", s.network.name, s.data.set, s.options.seed),
            Self::Align(s) => format!("aligning {} by {}", s.network.name, s.method.name()),
            Self::Line(s) => format!("evaluating {} on {}", s.network.name, s.data.set),
            Self::Plane(s) => format!("evaluating a plane of {}", s.network.name),
            Self::Score(s) => format!("scoring {} on {}", s.network.name, s.data.set),
            Self::Mean(s) => format!("averaging {} networks", s.nets.len()),
            Self::Timing(s) => format!("timing {}", s.network.name),
            Self::Counterexample(_) => "the counterexample".to_owned(),
        }
    }

    /// The files it leaves, where training keeps the weights of these epochs too.
    pub fn files(&self, keep: &[usize]) -> Vec<String> {
        match self {
            Self::Train(s) => s.files(keep),
            Self::Align(_) => vec![net::ALIGNMENT.to_owned(), align::RECORD.to_owned()],
            Self::Line(_) => vec![line::CURVE.to_owned()],
            Self::Plane(_) => vec![plane::PLANE.to_owned()],
            Self::Score(_) => vec![score::SCORES.to_owned()],
            Self::Mean(_) => vec![net::MEAN.to_owned(), mean::RECORD.to_owned()],
            Self::Timing(_) => vec![timing::SECONDS.to_owned()],
            Self::Counterexample(_) => vec![counterexample::ACCURACY.to_owned()],
        }
    }

    /// Does it.
    pub(crate) fn run(&self, room: &Room<'_>, keep: &[usize]) -> Result<()> {
        match self {
            Self::Train(s) => s.run(room, keep),
            Self::Align(s) => s.run(room),
            Self::Line(s) => s.run(room),
            Self::Plane(s) => s.run(room),
            Self::Score(s) => s.run(room),
            Self::Mean(s) => s.run(room),
            Self::Timing(s) => s.run(room),
            Self::Counterexample(s) => s.run(room),
        }
    }
}
