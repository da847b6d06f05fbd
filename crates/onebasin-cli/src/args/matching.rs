//! How networks are aligned.

use clap::{Args, Parser, ValueEnum};

use super::ScheduleName;
use super::values::{device, positive, share};

/// How units of B are compared with those of A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// The best of several: spectral where it can be trusted, else weight; with data also activation, judged by its loss.
    Auto,
    /// Weights (the paper's Algorithm 1; exactly as published with --start identity --restarts 1).
    Weight,
    /// Weights without the noise that initialisation left in wide layers.
    Spectral,
    /// All groups at once, over matrices between permutations.
    FrankWolfe,
    /// Group after group by incoming weights, once: a baseline.
    Greedy,
    /// Activations on data.
    Activation,
    /// The loss of the midpoint, by straight-through gradients from what auto finds (or from --start).
    Ste,
}

impl Method {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StartName {
    /// Nothing moves.
    Identity,
    /// Pair units by what no permutation of their neighbours changes.
    Signature,
    /// Group after group, those first whose neighbours are fixed.
    Anchored,
    /// At random.
    Random,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OrderName {
    /// Anew for every sweep.
    Random,
    /// From the input to the output.
    Forward,
    /// Forward and backward in turn.
    Alternating,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Matching")]
pub struct Matching {
    /// Decides the order of groups in every sweep, random starts, and the order of samples.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Stop after this many sweeps even if groups still change.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max_sweeps: usize,
    /// What to start from (default: identity, signature and anchored, the best of them kept).
    #[arg(long, value_enum)]
    pub start: Option<StartName>,
    /// Orders of the sweeps tried from every start, the best of them kept.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = positive)]
    pub restarts: usize,
    /// In which order a sweep visits the groups.
    #[arg(long, value_enum, default_value = "random")]
    pub order: OrderName,
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
    #[arg(long, value_enum, default_value = "cosine")]
    pub ste_schedule: ScheduleName,
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

/// A device, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// The processor.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
}

/// How products are computed where networks are trained on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionName {
    /// In single precision.
    F32,
    /// Of factors rounded to bf16, summed in single precision.
    Bf16,
}

impl Matching {
    /// What the command line does where nothing is said.
    pub fn defaults(seed: u64) -> Self {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            matching: Matching,
        }
        Self { seed, ..Alone::parse_from([""]).matching }
    }
}
