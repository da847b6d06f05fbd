//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use onebasin::DType;

/// Bring independently trained neural networks into one basin of the loss landscape, and merge them.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  onebasin demo
  onebasin merge a.safetensors b.safetensors -o merged.safetensors
  onebasin barrier a.safetensors b.safetensors --data digits --plot figure.svg

Exit codes: 0 done, 1 failed, 2 wrong usage. Data goes to standard output, talk to standard error.")]
pub struct Program {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Common {
    /// Print the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Number of threads (default: one per core). It changes no result.
    #[arg(long, global = true, value_name = "N", value_parser = positive)]
    pub threads: Option<usize>,
    /// Say nothing but errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more (every sweep, every file).
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Train two small networks, align them, merge them, and show that the barrier is gone.
    Demo(Demo),
    /// Train a built-in network.
    Train(Train),
    /// Show what a checkpoint, or an alignment, holds.
    Inspect(Inspect),
    /// Test on random inputs that what may be exchanged leaves the function as it is.
    Check(Check),
    /// Find the alignment of B with A.
    Match(Match),
    /// Carry B into A's basin with an alignment found before.
    Apply(Apply),
    /// Align B with A and combine them: match, apply and merge in one go.
    Merge(Merge),
    /// Align many networks with each other and average them.
    MergeMany(MergeMany),
    /// Measure loss and accuracy on the way from A to B, naive and aligned.
    Barrier(Barrier),
    /// Print completions for a shell.
    #[command(
        after_help = "Example:\n  onebasin completions bash > ~/.local/share/bash-completion/completions/onebasin"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

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

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ScheduleName {
    /// The same rate throughout.
    Constant,
    /// Linear warm-up, then one cosine to zero.
    Cosine,
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
    /// The data: `digits`, `mnist:DIR` or `cifar10:DIR`.
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

/// Where graph and symmetry come from when the file does not say what network it is.
#[derive(Debug, Default, Args)]
pub struct Source {
    /// The network the checkpoints are of, if they do not say: `mlp:512x3`.
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// An ONNX file of the same network, whose graph the checkpoints follow.
    #[arg(long, value_name = "FILE", conflicts_with = "network")]
    pub graph: Option<PathBuf>,
    /// Shape of an ONNX input whose axes the file leaves open (may be given several times).
    #[arg(long, value_name = "NAME=1x3x224x224", value_parser = input_shape)]
    pub input_shape: Vec<(String, Vec<usize>)>,
    /// A symmetry file (TOML) that says which units may be exchanged.
    #[arg(long, value_name = "FILE")]
    pub symmetry: Option<PathBuf>,
}

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

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onebasin match a.safetensors b.safetensors -o alignment.safetensors")]
pub struct Match {
    /// The reference, which stays as it is.
    pub a: PathBuf,
    /// The network that moves.
    pub b: PathBuf,
    /// Where to write the alignment.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// How to align B with A.
    #[arg(long, value_enum, default_value = "auto")]
    pub method: Method,
    /// The data: `digits`, `mnist:DIR` or `cifar10:DIR`.
    #[arg(long, value_name = "DATA")]
    pub data: Option<String>,
    /// Where to write how the alignment was found (JSON).
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Go on from OUTPUT.resume.safetensors, which straight-through matching leaves behind, to the same bits.
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub matching: Matching,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onebasin apply alignment.safetensors b.safetensors -o b-aligned.safetensors")]
pub struct Apply {
    /// An alignment written by `match`.
    pub alignment: PathBuf,
    /// The network to move.
    pub b: PathBuf,
    /// Where to write the moved network: a folder with B's shards where B is a folder, unless it ends in .safetensors.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Undo the alignment instead.
    #[arg(long)]
    pub inverse: bool,
    #[command(flatten)]
    pub source: Source,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RepairName {
    /// Leave the average as it is.
    None,
    /// Give every unit the mean and spread between the ends', measured on data.
    Data,
    /// Give every unit's weights the length between the ends'; needs no data.
    Weights,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  onebasin merge a.safetensors b.safetensors -o merged.safetensors
  onebasin merge a.safetensors b.safetensors -o merged.safetensors --symmetry net.symmetry.toml --lambda 0.3
  onebasin merge llm-a/ llm-b/ -o llm-merged/ --align alignment.safetensors")]
pub struct Merge {
    /// The reference, which stays as it is: a file, a folder of shards, or their index.
    pub a: PathBuf,
    /// The network that is aligned with it.
    pub b: PathBuf,
    /// Where to write the merged network: a folder with A's shards where A is a folder, unless it ends in .safetensors.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// How far from A (0) to B (1).
    #[arg(long, default_value_t = 0.5)]
    pub lambda: f64,
    /// `lerp` (the straight line) or `slerp` (the great circle).
    #[arg(long, default_value = "lerp")]
    pub interpolation: onebasin::merge::Interpolation,
    /// Element type of the result (default: that of A).
    #[arg(long, value_parser = dtype)]
    pub dtype: Option<DType>,
    /// Use this alignment instead of finding one.
    #[arg(long, value_name = "FILE", conflicts_with = "symmetry")]
    pub align: Option<PathBuf>,
    /// How to align B with A.
    #[arg(long, value_enum, default_value = "auto")]
    pub method: Method,
    /// Match, repair and recompute BatchNorm statistics on the training split of this data.
    #[arg(long, value_name = "DATA")]
    pub data: Option<String>,
    /// Restore the spread that averaging takes from units: from data, or from weights alone.
    #[arg(long, value_enum, default_value = "none")]
    pub repair: RepairName,
    /// Average only groups whose matched correlation exceeds this; the others stay as in A.
    #[arg(long, value_name = "R", value_parser = share)]
    pub min_correlation: Option<f64>,
    /// λ of one group (may be given several times); weights between two groups take the smaller.
    #[arg(long, value_name = "GROUP=LAMBDA", value_parser = group_lambda)]
    pub group_lambda: Vec<(String, f64)>,
    /// Do not test the symmetry on a random batch first.
    #[arg(long)]
    pub no_check: bool,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub matching: Matching,
}

/// How many networks are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ManyMethod {
    /// All at once into a common numbering, so that alignments agree around every cycle.
    Universe,
    /// Each in turn with the mean of the others, until none changes (the paper's MergeMany).
    Rounds,
    /// Pairs, then pairs of pairs.
    Tree,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  onebasin merge-many a.safetensors b.safetensors c.safetensors -o mean.safetensors
  onebasin merge-many run-*.safetensors -o mean.safetensors --start identity --data mnist:data/mnist")]
pub struct MergeMany {
    /// The networks; the first one's numbering is kept.
    #[arg(required = true, num_args = 2..)]
    pub models: Vec<PathBuf>,
    /// Where to write the mean.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// How to align them.
    #[arg(long, value_enum, default_value = "rounds")]
    pub method: ManyMethod,
    /// Measure networks, mean and the midpoints of pairs on this data, and recompute the mean's BatchNorm statistics on it.
    #[arg(long, value_name = "DATA")]
    pub data: Option<String>,
    /// Decides the order of networks and groups.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// What the first matches start from.
    #[arg(long, value_enum, default_value = "signature")]
    pub start: StartName,
    /// Stop after this many rounds (rounds), or iterations (universe).
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max_rounds: usize,
    /// Do not test the symmetry on a random batch first.
    #[arg(long)]
    pub no_check: bool,
    #[command(flatten)]
    pub source: Source,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  onebasin barrier a.safetensors b.safetensors --data mnist:data/mnist -o report.json --plot figure.svg")]
pub struct Barrier {
    /// The network at λ = 0.
    pub a: PathBuf,
    /// The network at λ = 1.
    pub b: PathBuf,
    /// The data: `digits`, `mnist:DIR` or `cifar10:DIR`.
    #[arg(long)]
    pub data: String,
    /// How to align B with A; several give a curve each.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "auto")]
    pub method: Vec<Method>,
    /// Use this alignment instead of finding one.
    #[arg(long, value_name = "FILE", conflicts_with = "method")]
    pub align: Option<PathBuf>,
    /// Restore the spread that averaging takes from units at every λ: from data, or from weights alone.
    #[arg(long, value_enum, default_value = "none")]
    pub repair: RepairName,
    /// Where to write the report (JSON).
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Where to draw the curves: a .svg or .png file (may be given twice).
    #[arg(long, value_name = "FILE")]
    pub plot: Vec<PathBuf>,
    /// Number of λ, both ends included.
    #[arg(long, default_value_t = 25, value_parser = points)]
    pub points: usize,
    /// Samples of the training split on which BatchNorm statistics are recomputed at every λ; 0 interpolates them.
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub batch_norm_samples: usize,
    /// Use only the first N samples of each split.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub samples: Option<u32>,
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub matching: Matching,
}

fn input_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let wrong = || "NAME=1x3x224x224: a name and the length of every axis".to_owned();
    let (name, shape) = text.rsplit_once('=').ok_or_else(wrong)?;
    let shape = shape.split('x').map(|n| n.parse().ok().filter(|n| *n > 0));
    Ok((name.to_owned(), shape.collect::<Option<_>>().ok_or_else(wrong)?))
}

fn tensor_axis(text: &str) -> Result<(String, usize), String> {
    let split = text.rsplit_once(':').and_then(|(name, axis)| Some((name.to_owned(), axis.parse().ok()?)));
    split.ok_or_else(|| "TENSOR:AXIS: the name of a tensor and an axis, counted from 0".to_owned())
}

fn dtype(text: &str) -> Result<DType, String> {
    let known = [DType::F64, DType::F32, DType::F16, DType::BF16];
    known.into_iter().find(|d| d.name() == text).ok_or_else(|| "known: f64, f32, f16, bf16".to_owned())
}

fn device(text: &str) -> Result<DeviceName, String> {
    let number = |text: &str| text.strip_prefix("cuda:")?.parse().ok();
    match text {
        "cpu" => Some(DeviceName::Cpu),
        "cuda" => Some(DeviceName::Cuda(0)),
        other => number(other).map(DeviceName::Cuda),
    }
    .ok_or_else(|| "known: cpu, cuda, cuda:N".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n| (0.0..=1.0).contains(n)).ok_or_else(|| "a number from 0 to 1".to_owned())
}

fn group_lambda(text: &str) -> Result<(String, f64), String> {
    let (group, lambda) =
        text.rsplit_once('=').ok_or_else(|| "GROUP=LAMBDA: a group, as inspect names it".to_owned())?;
    Ok((group.to_owned(), share(lambda)?))
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=4096).contains(n)).ok_or_else(|| "a number from 1 to 4096".to_owned())
}

fn warmup(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n| (0.0..=1e4).contains(n)).ok_or_else(|| "a number from 0 to 10000".to_owned())
}

fn points(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (2..=10_001).contains(n)).ok_or_else(|| "a number from 2 to 10001".to_owned())
}
