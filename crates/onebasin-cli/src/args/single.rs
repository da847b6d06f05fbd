//! Verbs on one network, and the demonstration.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::values::{positive, tensor_axis, warmup};
use super::{ScheduleName, Source};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onebasin demo --out basin-demo")]
pub struct Demo {
    /// Folder for the files made; created if missing.
    #[arg(long, value_name = "DIR", default_value = "onebasin-demo")]
    pub out: PathBuf,
    /// Seed of network A, of the matching; network B has the next one.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OptimizerName {
    /// Adam with its usual constants.
    Adam,
    /// Momentum 0.9.
    Sgd,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  onebasin train mlp:512x3 --data digits --epochs 10 -o a.safetensors
  onebasin train mlp:512x3 --data mnist:data/mnist --seed 1 -o b.safetensors --checkpoint-every 10
  onebasin train mlp:512x3 --data mnist:data/mnist --seed 1 -o b.safetensors --checkpoint-every 10 --resume
  onebasin train resnet20-ln:1 --data cifar10:data/cifar10 --optimizer sgd --weight-decay 5e-4 --batch 100 --augment -o r.safetensors")]
pub struct Train {
    /// The network: `mlp:512x3` (three hidden layers of 512), `resnet20-ln:4` (four times as wide); an unknown name lists all.
    pub network: String,
    /// The data: `digits`, `mnist:DIR`, `cifar10:PATH`, `cifar100:PATH` or `imagenet:DIR`; an unknown name explains them.
    #[arg(long)]
    pub data: String,
    /// Where to write the checkpoint.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Decides initial weights and the order of samples.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Passes over the data.
    #[arg(long, default_value_t = 100)]
    pub epochs: usize,
    /// Samples in a step.
    #[arg(long, default_value_t = 500)]
    pub batch: usize,
    /// The optimiser.
    #[arg(long, value_enum, default_value = "adam")]
    pub optimizer: OptimizerName,
    /// Peak learning rate (default: 0.001 for adam, 0.1 for sgd).
    #[arg(long)]
    pub rate: Option<f64>,
    /// Learning rate over time (default: constant for adam, cosine for sgd).
    #[arg(long, value_enum)]
    pub schedule: Option<ScheduleName>,
    /// Epochs of warm-up of the cosine schedule.
    #[arg(long, value_name = "EPOCHS", default_value_t = 1.0, value_parser = warmup)]
    pub warmup_epochs: f64,
    /// Weight decay (sgd only).
    #[arg(long, default_value_t = 0.0)]
    pub weight_decay: f32,
    /// Flip and crop images at random.
    #[arg(long)]
    pub augment: bool,
    /// Train on a random share of the samples, drawn by the seed.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    pub share: f64,
    /// Every N epochs write FILE.epoch-NNN.safetensors and, to resume from, FILE.resume.safetensors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub checkpoint_every: Option<u32>,
    /// Go on from FILE.resume.safetensors, to the same bits as without a stop.
    #[arg(long)]
    pub resume: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  onebasin inspect merged.safetensors
  onebasin inspect net.onnx --why conv1.weight:0")]
pub struct Inspect {
    /// A checkpoint, an ONNX file, or an alignment.
    pub file: PathBuf,
    /// Explain why an axis of a tensor may move or not.
    #[arg(long, value_name = "TENSOR:AXIS", value_parser = tensor_axis)]
    pub why: Option<(String, usize)>,
    #[command(flatten)]
    pub source: Source,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  onebasin check net.onnx
  onebasin check a.safetensors --network resnet20-ln:1 --symmetry mine.toml")]
pub struct Check {
    /// The network.
    pub file: PathBuf,
    #[command(flatten)]
    pub source: Source,
    /// Decides the random element and the random inputs.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Samples in the random batch.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = positive)]
    pub samples: usize,
}
