//! Computes what is not there yet, stage after stage.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use onebasin::Device;

use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::kind::{Findings, Reading};
use crate::plan::{Plan, PlannedStage};
use crate::shelf::{Facts, Shelf};
use crate::stage::Room;
use crate::store::Store;

/// How to run.
#[derive(Clone, Copy)]
pub struct RunOptions<'a> {
    /// Where networks are trained and evaluated, and weights compared, if not on the processor.
    pub device: Option<&'a Device>,
    /// How long training may go on before its state is saved: what a kill can cost.
    pub save_every: Duration,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self { device: None, save_every: Duration::from_secs(20) }
    }
}

/// Who is told how it goes.
pub trait Watcher: Send {
    /// The plan: multiply-adds of all stages, and of those that are done already.
    fn planned(&mut self, total: f64, done: f64);
    /// A stage begins.
    fn begins(&mut self, title: &str);
    /// Multiply-adds done of the whole plan, and how the stage goes; false to stop.
    fn at(&mut self, done: f64, how: &str) -> bool;
    /// A stage is done.
    fn ends(&mut self, title: &str, seconds: f64);
}

/// What is there of a stage.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// All of it, as it was when it was done.
    Done,
    /// All of it, but this file is no longer what it was.
    Changed(String),
    /// Not all of it.
    Missing,
}

impl State {
    fn of(step: &PlannedStage, store: &Store) -> Result<Self> {
        let Some(done) = store.done(&step.key, &step.stage.files(&step.epochs())) else { return Ok(Self::Missing) };
        Ok(store.changed(&step.key, &done)?.map_or(Self::Done, Self::Changed))
    }
}

/// The steps of an experiment, and how to read what they leave; data sets are opened.
///
/// # Errors
/// If a data set is not there, or the experiment asks for what cannot be.
pub fn planned(
    experiment: &Experiment,
    facts: &dyn Fn(&str) -> Result<Facts>,
    device: Option<&Device>,
) -> Result<(Vec<PlannedStage>, Reading)> {
    let plan = Plan::new(facts, device);
    let reading = experiment.kind.plan(&plan)?;
    Ok((plan.steps(), reading))
}

/// Runs an experiment: every stage that is not done, and reads what all of them left.
///
/// Killed at any moment and run again it goes on where it was, and comes to the same bytes. The same stage of two
/// experiments is computed once. A stage whose files are no longer what they were is done again, and the watcher hears why.
///
/// # Errors
/// Those of the stages; [`Error::Stopped`] if the watcher stops it.
pub fn run(
    experiment: &Experiment,
    shelf: &Shelf,
    store: &Store,
    options: &RunOptions<'_>,
    watcher: &mut dyn Watcher,
) -> Result<(Vec<PlannedStage>, Findings)> {
    let (steps, reading) = planned(experiment, &|set| shelf.facts(set), options.device)?;
    let state = |step: &PlannedStage| State::of(step, store);
    let states = steps.iter().map(state).collect::<Result<Vec<_>>>()?;
    let total = steps.iter().map(|s| s.cost).sum();
    let mut done = steps.iter().zip(&states).filter(|(_, s)| **s == State::Done).map(|(step, _)| step.cost).sum();
    watcher.planned(total, done);
    for (step, before) in steps.iter().zip(states) {
        if before == State::Done {
            continue;
        }
        let lock = store.lock(&step.key)?;
        // Another process may have done it while this one was at an earlier stage.
        let now = state(step)?;
        if now != State::Done {
            let title = match &now {
                State::Changed(file) => format!("{} (again: {file} has changed since)", step.stage.title()),
                State::Missing | State::Done => step.stage.title(),
            };
            watcher.begins(&title);
            let begun = Instant::now();
            let stopped = AtomicBool::new(false);
            let told = Mutex::new(&mut *watcher);
            let tell = |share: f64, how: &str| {
                let mut watcher = told.lock().unwrap_or_else(PoisonError::into_inner);
                let go_on = watcher.at(done + share.clamp(0.0, 1.0) * step.cost, how);
                stopped.fetch_or(!go_on, Ordering::Relaxed);
                go_on
            };
            let device = options.device;
            let room = Room { key: &step.key, store, shelf, device, save_every: options.save_every, tell: &tell };
            let epochs = step.epochs();
            let outcome = step.stage.run(&room, &epochs);
            if stopped.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            outcome?;
            let seconds = begun.elapsed().as_secs_f64();
            store.finish(&step.key, step.stage.options(), &step.stage.files(&epochs), seconds)?;
            watcher.ends(&title, seconds);
        }
        drop(lock);
        done += step.cost;
    }
    let found = reading(store)?;
    Ok((steps, found))
}
