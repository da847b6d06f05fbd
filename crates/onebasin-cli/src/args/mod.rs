//! What can be typed.

mod many;
mod matching;
mod pair;
mod reproduce;
mod single;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use onebasin::Blueprint;
use onebasin_lab::data::Normalise;

pub use many::MergeManyArgs;
pub use matching::{DeviceName, MatchingArgs};
pub use pair::{ApplyArgs, BarrierArgs, MatchArgs, MergeArgs, MergekitArgs, RebaseArgs};
pub use reproduce::ReproduceArgs;
pub use single::{CheckArgs, DemoArgs, InspectArgs, SymmetryArgs, TrainArgs};
pub use values::STDOUT;
use values::{bytes, input_shape, threads};

/// Threads at most.
pub const MOST_THREADS: usize = 4096;

/// Bring independently trained neural networks into one basin of the loss landscape, and merge them.
#[derive(Debug, Parser)]
#[command(name = "onebasin", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  onebasin demo
  onebasin merge a.safetensors b.safetensors -o merged.safetensors
  onebasin barrier a.safetensors b.safetensors --data digits --plot figure.svg

Exit codes: 0 done, 1 failed, 2 wrong usage. Data goes to standard output, talk to standard error.")]
pub struct CommandLine {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct CommonArgs {
    /// Print the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Number of threads (default: one per core). It changes no result.
    #[arg(long, global = true, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Memory that running a network may take, such as 4GiB (default: what the machine has), which changes no result, and that a
    /// match or a solve may (default: 4GiB), which decides whether all groups are tried at once, and from how much a wide layer is
    /// solved.
    #[arg(long, global = true, value_name = "SIZE", value_parser = bytes)]
    pub memory: Option<u64>,
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
    Demo(DemoArgs),
    /// Train a built-in network.
    Train(TrainArgs),
    /// Show what a checkpoint, or an alignment, holds.
    Inspect(InspectArgs),
    /// Test on random inputs that what may be exchanged leaves the function as it is.
    Check(CheckArgs),
    /// Say which units of a network may be exchanged, in a file.
    #[command(subcommand)]
    Symmetry(SymmetryVerb),
    /// Find the alignment of B with A.
    Match(MatchArgs),
    /// Carry B into A's basin with an alignment found before.
    Apply(ApplyArgs),
    /// Align B with A and combine them: match, apply and merge in one go.
    Merge(MergeArgs),
    /// Align many networks with each other and average them.
    MergeMany(MergeManyArgs),
    /// Merge as a file of mergekit's says, aligning first where it asks for that.
    Mergekit(MergekitArgs),
    /// Carry what fine-tuning changed from an old base to a new one.
    Rebase(RebaseArgs),
    /// Measure loss and accuracy on the way from A to B, naive and aligned.
    Barrier(BarrierArgs),
    /// Run an experiment of the paper and set its numbers beside the paper's.
    Reproduce(ReproduceArgs),
    /// Print completions for a shell.
    #[command(
        after_help = "Example:\n  onebasin completions bash > ~/.local/share/bash-completion/completions/onebasin"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub enum SymmetryVerb {
    /// Begin the symmetry file of a network: whole where its graph is known, else what names and shapes decide, the rest open.
    Init(SymmetryArgs),
}

/// Where graph and symmetry come from when the file does not say what network it is.
#[derive(Debug, Default, Args)]
pub struct SourceArgs {
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
    /// The part of a training checkpoint that is the network, such as `student` (default: the usual one).
    #[arg(long, value_name = "NAME")]
    pub part: Option<String>,
    /// What stands before the names of the network's tensors in its file (default: found by fitting names).
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Tensors that are none of the network's and get into no result, `*` for anything (may be given several times).
    #[arg(long, value_name = "PATTERN")]
    pub ignore: Vec<String>,
    /// Tensors of which results get A's, `*` for anything (may be given several times).
    #[arg(long, value_name = "PATTERN")]
    pub carry: Vec<String>,
    /// What was said of memory, which is an option of every command.
    #[arg(skip)]
    pub memory: Option<u64>,
}

#[derive(Debug, Args)]
pub struct NormalizeArgs {
    /// How images are prepared: a network sees (pixel / 255 − mean) / std (default: as the checkpoint says, else 0 to 1 for digits
    /// and MNIST, ImageNet's numbers for all else).
    #[arg(long, num_args = 2, value_names = ["mean=M,…", "std=S,…"])]
    normalize: Vec<String>,
}

impl NormalizeArgs {
    /// What was typed, if anything was.
    pub fn how(&self) -> onebasin_lab::Result<Option<Normalise>> {
        if self.normalize.is_empty() { Ok(None) } else { self.normalize.join(" ").parse().map(Some) }
    }
}

impl Verb {
    /// Where the graph of a verb that opens files comes from.
    pub fn source_mut(&mut self) -> Option<&mut SourceArgs> {
        match self {
            Self::Inspect(args) => Some(&mut args.source),
            Self::Check(args) => Some(&mut args.source),
            Self::Symmetry(SymmetryVerb::Init(args)) => Some(&mut args.source),
            Self::Match(args) => Some(&mut args.source),
            Self::Apply(args) => Some(&mut args.source),
            Self::Merge(args) => Some(&mut args.source),
            Self::MergeMany(args) => Some(&mut args.source),
            Self::Mergekit(args) => Some(&mut args.source),
            Self::Rebase(args) => Some(&mut args.source),
            Self::Barrier(args) => Some(&mut args.source),
            Self::Demo(_) | Self::Train(_) | Self::Reproduce(_) | Self::Completions { .. } => None,
        }
    }

    /// How a verb that aligns networks does it.
    pub fn matching_mut(&mut self) -> Option<&mut MatchingArgs> {
        match self {
            Self::Match(args) => Some(&mut args.matching),
            Self::Merge(args) => Some(&mut args.matching),
            Self::Mergekit(args) => Some(&mut args.matching),
            Self::Rebase(args) => Some(&mut args.matching),
            Self::Barrier(args) => Some(&mut args.matching),
            Self::Inspect(_)
            | Self::Check(_)
            | Self::Symmetry(_)
            | Self::Apply(_)
            | Self::MergeMany(_)
            | Self::Demo(_)
            | Self::Train(_)
            | Self::Reproduce(_)
            | Self::Completions { .. } => None,
        }
    }
}

impl SourceArgs {
    /// What was typed, as options.
    pub fn blueprint(&self) -> Blueprint {
        Blueprint {
            network: self.network.clone(),
            graph: self.graph.clone(),
            input_shapes: self.input_shape.iter().cloned().collect(),
            symmetry: self.symmetry.clone(),
            part: self.part.clone(),
            prefix: self.prefix.clone(),
            ignore: self.ignore.clone(),
            carry: self.carry.clone(),
            memory: self.memory,
        }
    }
}
