//! The verb on many networks.

use std::path::PathBuf;

use clap::Args;
use onebasin::{Repair, Start, Together};

use super::values::{output, repair, start, together};
use super::{NormalizeArgs, SourceArgs};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  onebasin merge-many a.safetensors b.safetensors c.safetensors -o mean.safetensors
  onebasin merge-many clients/ -o mean.safetensors
  onebasin merge-many run-*.safetensors -o mean.safetensors --start identity --data mnist:data/mnist
  onebasin merge-many global.safetensors client-*.safetensors -o next.safetensors --method reference --weights 0,120,80,310 --start-from round-6 --alignments round-7")]
pub struct MergeManyArgs {
    /// The networks; the first one's numbering is kept. A folder that is no network stands for all checkpoints in it, by name.
    #[arg(required = true)]
    pub models: Vec<PathBuf>,
    /// Where to write the mean.
    #[arg(short, long, value_name = "FILE", value_parser = output)]
    pub output: PathBuf,
    /// Let the mean take the place of an input.
    #[arg(long)]
    pub overwrite: bool,
    /// How to align them.
    #[arg(long, value_parser = together(), default_value = "rounds")]
    pub method: Together,
    /// Measure networks, mean and the midpoints of pairs on this data, and recompute the mean's BatchNorm statistics on it.
    #[arg(long, value_name = "DATA")]
    pub data: Option<String>,
    #[command(flatten)]
    pub normalize: NormalizeArgs,
    /// Decides the order of networks and groups.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// What the first matches start from.
    #[arg(long, value_parser = start(), default_value = "signature")]
    pub start: Start,
    /// Start from the alignments in this folder, such as those of the last round of federated training (rounds, reference).
    #[arg(long, value_name = "DIR", conflicts_with = "start")]
    pub start_from: Option<PathBuf>,
    /// Write the alignment of every network into this folder: NAME.alignment.safetensors for NAME.safetensors. Interrupted, it gets
    /// those found so far, and --start-from goes on from them.
    #[arg(long, value_name = "DIR")]
    pub alignments: Option<PathBuf>,
    /// Stop after this many rounds (rounds), or iterations (universe).
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max_rounds: usize,
    /// How much each network counts in the mean, such as the samples it was trained on, in the order of the networks; 0 leaves
    /// one out.
    #[arg(long, value_name = "W", value_delimiter = ',')]
    pub weights: Vec<f64>,
    /// What to do to the mean: `solve` its layers on the training split of the data, fit its units (`affine`), or `none`.
    #[arg(long, value_parser = repair(), default_value = "none")]
    pub repair: Repair,
    /// Samples of the training split, without their labels, on which `--repair solve` solves.
    #[arg(long, value_name = "N", default_value_t = 1200)]
    pub solve_samples: usize,
    /// Do not test the symmetry on a random batch first.
    #[arg(long)]
    pub no_check: bool,
    #[command(flatten)]
    pub source: SourceArgs,
}

impl MergeManyArgs {
    /// What was typed, as options.
    pub fn options(&self) -> onebasin::MergeMany {
        onebasin::MergeMany {
            method: self.method,
            seed: self.seed,
            start: self.start,
            max_rounds: self.max_rounds,
            weights: self.weights.clone(),
            repair: self.repair,
            solve_samples: self.solve_samples,
            check: !self.no_check,
            overwrite: self.overwrite,
            keep: self.alignments.clone(),
        }
    }
}
