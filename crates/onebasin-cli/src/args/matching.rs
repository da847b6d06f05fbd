//! How networks are aligned, and on what device.

use clap::Args;
use onebasin::{Align, Device, Method, Order, Precision, Start, StraightThrough};
use onebasin_nn::optim::{Optimizer, Schedule};

use super::values::{device, order, positive, schedule, seconds, share, start};
use crate::talk::Talk;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Matching")]
pub struct MatchingArgs {
    /// Decides the order of groups in every sweep, random starts, and the order of samples.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Stop after this many sweeps even if groups still change.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max_sweeps: usize,
    /// What to start from (default: signature, then identity and anchored while they fit and pay, the best of them kept).
    #[arg(long, value_parser = start())]
    pub start: Option<Start>,
    /// Orders of the sweeps tried from every start at most, the best of them kept.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = positive)]
    pub restarts: usize,
    /// What matches of weights may take together, such as 60s or 5m, as predicted for one core of a fixed machine (default:
    /// little more than one match of a large network, all of a small one). --memory limits them as well.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub budget: Option<f64>,
    /// What was said of memory, which is an option of every command.
    #[arg(skip)]
    pub memory: Option<u64>,
    /// In which order a sweep visits the groups.
    #[arg(long, value_parser = order(), default_value = "random")]
    pub order: Order,
    /// Training samples that activations, and auto with data, look at.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub match_samples: usize,
    /// Share of activations in a blend with weights, from 0 to 1 (activation only).
    #[arg(long, value_name = "BETA", value_parser = share)]
    pub blend: Option<f64>,
    /// Compare activations by E[ab] instead of their correlation.
    #[arg(long)]
    pub uncentred: bool,
    /// Passes over the training data at most (ste only).
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub ste_epochs: usize,
    /// Where the target starts, from π(B) as it was found at 0 to A at 1 (ste only).
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub ste_pull: f64,
    /// Learning rate at the start (ste only).
    #[arg(long, value_name = "RATE", default_value_t = 1.0)]
    pub ste_rate: f64,
    /// How it goes on: a cosine settles, a constant rate keeps searching, for networks that align badly (ste only).
    #[arg(long, value_parser = schedule(0.0), default_value = "cosine")]
    pub ste_schedule: Schedule,
    /// Comparisons without a better alignment after which to stop (ste only).
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub ste_patience: usize,
    /// Adam instead of momentum 0.9 (ste only).
    #[arg(long)]
    pub ste_adam: bool,
    /// Do not say what kind of pair the networks are.
    #[arg(long)]
    pub no_diagnosis: bool,
    /// Where similarities of weights are computed and networks evaluated: `cpu`, `cuda`, or `cuda:1` for the second GPU.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: DeviceName,
}

impl MatchingArgs {
    /// What was typed, as options.
    pub fn options(&self, method: Method) -> Align {
        let optimizer = if self.ste_adam { Optimizer::Adam } else { StraightThrough::default().optimizer };
        let straight_through = StraightThrough {
            epochs: self.ste_epochs,
            pull: self.ste_pull,
            rate: self.ste_rate,
            schedule: self.ste_schedule,
            patience: self.ste_patience,
            optimizer,
            ..StraightThrough::default()
        };
        Align {
            method,
            seed: self.seed,
            max_sweeps: self.max_sweeps,
            start: self.start,
            restarts: self.restarts,
            budget: self.budget,
            memory: self.memory,
            order: self.order,
            match_samples: self.match_samples,
            blend: self.blend,
            uncentred: self.uncentred,
            straight_through,
            state: None,
            resume: false,
            diagnose: !self.no_diagnosis,
        }
    }
}

/// A device, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// The processor.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
}

impl DeviceName {
    /// Opens it; none is the processor.
    pub fn open(self, talk: Talk) -> anyhow::Result<Option<Device>> {
        self.open_to_train(Precision::F32, talk)
    }

    /// The same, to train in this precision.
    pub fn open_to_train(self, precision: Precision, talk: Talk) -> anyhow::Result<Option<Device>> {
        let device = match (self, precision) {
            (Self::Cpu, Precision::F32) => None,
            (Self::Cpu, Precision::Bf16) => {
                anyhow::bail!("--precision bf16 goes with --device cuda: the processor trains in f32")
            }
            (Self::Cuda(ordinal), _) => Some(Device::cuda_in(ordinal, precision)?),
        };
        if let Some(device) = &device {
            talk.detail(&format!("computing on {}", device.trains_as()));
        }
        Ok(device)
    }
}
