//! A training run, which goes on where it was stopped.

use std::path::Path;
use std::time::Instant;

use onebasin_io::{Metadata, read, write};
use onebasin_nn::Network;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Room;
use crate::error::{Error, Result};
use crate::shelf::DataPart;
use crate::train::{Event, TrainOptions, TrainState, train_on};

/// Loss and accuracy of every epoch.
pub const LOG: &str = "log.json";
/// The state to go on from.
const RESUME: &str = "resume.safetensors";
const STATE: &str = "onebasin.train.state";

/// A network trained from scratch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainStage {
    /// The network.
    pub network: Network,
    /// What it sees.
    pub data: DataPart,
    /// How it is trained.
    pub options: TrainOptions,
    /// Where, and in what precision, if not on the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// One epoch of [`LOG`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean loss over its steps, each before its update.
    pub loss: f64,
    /// Accuracy over its steps, each before its update.
    pub accuracy: f64,
}

/// The file with the weights after this many epochs.
pub(crate) fn weights(epoch: usize) -> String {
    format!("epoch-{epoch:03}.safetensors")
}

impl TrainStage {
    pub(super) fn files(&self, keep: &[usize]) -> Vec<String> {
        let mut epochs: Vec<usize> = keep.iter().copied().filter(|e| *e < self.options.epochs).collect();
        epochs.push(self.options.epochs);
        epochs.into_iter().map(weights).chain([LOG.to_owned()]).collect()
    }

    pub(super) fn run(&self, room: &Room<'_>, keep: &[usize]) -> Result<()> {
        let data = room.shelf.open(&self.data)?.train;
        let missing = |epoch: usize| !room.store.path(room.key, &weights(epoch)).is_file();
        // A state beyond an epoch whose weights were not kept then cannot give them any more.
        let usable = |(state, _): &(TrainState, Vec<Epoch>)| !keep.iter().any(|e| *e <= state.epoch && missing(*e));
        let resumed = self.resume(&room.store.path(room.key, RESUME)).filter(usable);
        let (state, mut log) = match resumed {
            Some(found) => found,
            None => (TrainState::fresh(&self.network, self.options.seed)?, Vec::new()),
        };
        if keep.contains(&0) {
            write(&room.store.path(room.key, &weights(0)), &self.network.init(self.options.seed)?, &self.metadata())?;
        }
        let (mut failed, mut saved) = (None, Instant::now());
        let all = (self.options.epochs * data.len()).max(1) as f64;
        let device = room.trainer(&self.network, &state.params, self.options.optimizer)?;
        let state = train_on(device, &self.network.graph()?, &data, &state, &self.options, &mut |event| {
            let done = match event {
                Event::Step { epoch, samples, loss, accuracy, state } => {
                    let share = ((epoch - 1) * data.len() + samples) as f64 / all;
                    let told = room.at(share, &how(epoch, self.options.epochs, loss, accuracy));
                    if told.is_err() || saved.elapsed() > room.save_every {
                        saved = Instant::now();
                        state().and_then(|state| self.save(room, &state, &log)).and(told)
                    } else {
                        told
                    }
                }
                Event::Epoch { state, loss, accuracy } => {
                    log.push(Epoch { loss, accuracy });
                    let path = room.store.path(room.key, &weights(state.epoch));
                    let kept = keep.contains(&state.epoch) || state.epoch == self.options.epochs;
                    let written = if kept { write(&path, &state.params, &self.metadata()) } else { Ok(()) };
                    let told = room.at(
                        (state.epoch * data.len()) as f64 / all,
                        &how(state.epoch, self.options.epochs, loss, accuracy),
                    );
                    let mut done = written.map_err(Error::from);
                    if told.is_err() || saved.elapsed() > room.save_every {
                        saved = Instant::now();
                        done = done.and_then(|()| self.save(room, state, &log));
                    }
                    done.and(told)
                }
            };
            failed = done.err();
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if self.options.epochs == 0 {
            write(&room.store.path(room.key, &weights(0)), &state.params, &self.metadata())?;
        }
        room.store.write_json(room.key, LOG, &log)?;
        let resume = room.store.path(room.key, RESUME);
        if resume.exists() {
            std::fs::remove_file(&resume).map_err(|why| Error::store(resume, why))?;
        }
        Ok(())
    }

    fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::default();
        metadata.set_json(Network::HEADER, &json!(self.network));
        metadata
    }

    fn save(&self, room: &Room<'_>, state: &TrainState, log: &[Epoch]) -> Result<()> {
        let (all, entry) = state.pack();
        let mut metadata = self.metadata();
        metadata.set_json(STATE, &json!([entry, log]));
        Ok(write(&room.store.path(room.key, RESUME), &all, &metadata)?)
    }

    /// The state that was saved; a file that cannot be used counts as none, since all can be made again.
    fn resume(&self, path: &Path) -> Option<(TrainState, Vec<Epoch>)> {
        let file = read(path).ok()?;
        let (entry, log): (serde_json::Value, Vec<Epoch>) = file.metadata.get_json(STATE).ok()??;
        let state = TrainState::unpack(&file.params, &entry).ok()?;
        self.network.check(&state.params).ok()?;
        (state.epoch <= self.options.epochs && log.len() == state.epoch).then_some((state, log))
    }
}

fn how(epoch: usize, epochs: usize, loss: f64, accuracy: f64) -> String {
    format!("epoch {epoch}/{epochs}, loss {loss:.4}, accuracy {:.1} %", 100.0 * accuracy)
}
