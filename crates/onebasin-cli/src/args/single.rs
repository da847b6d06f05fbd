//! Verbs on one network, and the demonstration.

use std::path::PathBuf;

use clap::Args;
use onebasin::Precision;
use onebasin_lab::Recipe;
use onebasin_lab::data::KNOWN as DATA;
use onebasin_nn::optim::{Optimizer, Schedule};

use super::values::{
    Augmentation, augment, device, optimizer, output, positive, precision, recipe, schedule, tensor_axis, warmup,
};
use super::{DeviceName, NormalizeArgs, SourceArgs};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onebasin demo --out basin-demo")]
pub struct DemoArgs {
    /// Folder for the files made; created if missing.
    #[arg(long, value_name = "DIR", default_value = "onebasin-demo")]
    pub out: PathBuf,
    /// Seed of network A, of the matching; network B has the next one.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  onebasin train mlp:512x3 --data digits --epochs 10 -o a.safetensors
  onebasin train mlp:512x3 --data mnist:data/mnist --seed 1 -o b.safetensors --checkpoint-every 10
  onebasin train mlp:512x3 --data mnist:data/mnist --seed 1 -o b.safetensors --checkpoint-every 10 --resume
  onebasin train resnet20-ln:1 --data cifar10:data/cifar10 --recipe resnet20 -o r.safetensors
  onebasin train resnet20-ln:32 --data cifar10:data/cifar10 --recipe resnet20 -o r.safetensors --device cuda --precision bf16")]
pub struct TrainArgs {
    /// The network: `mlp:512x3` (three hidden layers of 512), `resnet20-ln:4` (four times as wide); an unknown name lists all;
    /// `vit:128x4`; on text `gpt2-char`, `llama-char`; or the `config.json` of a transformer.
    pub network: String,
    #[arg(long, help = DATA)]
    pub data: String,
    #[command(flatten)]
    pub normalize: NormalizeArgs,
    /// Where to write the checkpoint; of a transformer a folder.
    #[arg(short, long, value_name = "FILE", value_parser = output)]
    pub output: PathBuf,
    /// Let the checkpoint take the place of a file of the data.
    #[arg(long)]
    pub overwrite: bool,
    /// Decides initial weights and the order of samples.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The recipe of one of the paper's training runs (mnist-mlp, of transformers vit or text); what else is said here changes it.
    #[arg(long, value_name = "NAME", value_parser = recipe)]
    pub recipe: Option<Recipe>,
    /// Passes over the data.
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Samples in a step.
    #[arg(long)]
    pub batch: Option<usize>,
    /// The optimiser.
    #[arg(long, value_parser = optimizer())]
    pub optimizer: Option<Optimizer>,
    /// Peak learning rate (with --optimizer: 0.001 for adam, 0.1 for sgd).
    #[arg(long)]
    pub rate: Option<f64>,
    /// Learning rate over time (with --optimizer: constant for adam, cosine for sgd).
    #[arg(long, value_parser = schedule(1.0))]
    pub schedule: Option<Schedule>,
    /// Epochs of warm-up of the cosine schedule.
    #[arg(long, value_name = "EPOCHS", value_parser = warmup)]
    pub warmup_epochs: Option<f64>,
    /// Weight decay (sgd only).
    #[arg(long)]
    pub weight_decay: Option<f32>,
    /// Change images at random, anew in every epoch.
    #[arg(long, value_parser = augment(), value_name = "HOW")]
    pub augment: Option<Augmentation>,
    /// Train on a random share of the samples, drawn by the seed.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    pub share: f64,
    /// Every N epochs write FILE.epoch-NNN.safetensors and, to resume from, FILE.resume.safetensors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub checkpoint_every: Option<u32>,
    /// Go on from FILE.resume.safetensors, to the same bits as without a stop.
    #[arg(long)]
    pub resume: bool,
    /// Where to train: `cpu`, `cuda`, or `cuda:1` for the second GPU.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: DeviceName,
    /// How products are computed in training on a GPU; weights stay f32.
    #[arg(long, value_parser = precision(), default_value = "f32")]
    pub precision: Precision,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  onebasin inspect merged.safetensors
  onebasin inspect net.onnx --why conv1.weight:0
  onebasin inspect net.onnx --html net.html")]
pub struct InspectArgs {
    /// A checkpoint, an ONNX file, or an alignment.
    pub file: PathBuf,
    /// Explain why an axis of a tensor may move or not.
    #[arg(long, value_name = "TENSOR:AXIS", value_parser = tensor_axis)]
    pub why: Option<(String, usize)>,
    /// Draw the network as a page that needs nothing else: layers in order, groups in colours, and why the rest stays.
    #[arg(long, value_name = "FILE", value_parser = output, conflicts_with = "why")]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  onebasin check net.onnx
  onebasin check a.safetensors --network resnet20-ln:1 --symmetry mine.toml")]
pub struct CheckArgs {
    /// The network.
    pub file: PathBuf,
    #[command(flatten)]
    pub source: SourceArgs,
    /// Decides the random element and the random inputs.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Samples in the random batch.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = positive)]
    pub samples: usize,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onebasin symmetry init net.safetensors -o net.symmetry.toml
  # put groups in the place of what begins with `?`, then
  onebasin merge a.safetensors b.safetensors -o merged.safetensors --symmetry net.symmetry.toml")]
pub struct SymmetryArgs {
    /// The checkpoint, or the ONNX file.
    pub file: PathBuf,
    /// Where to write it (default: standard output).
    #[arg(short, long, value_name = "FILE", value_parser = output)]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub source: SourceArgs,
}
