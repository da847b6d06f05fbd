//! Verbs on two networks.

use std::path::PathBuf;

use clap::Args;
use onebasin::{DType, Interpolation, Measure, Method, Repair};

use onebasin_lab::data::KNOWN as DATA;

use super::values::{dtype, group_lambda, method, output, points, repair, share};
use super::{MatchingArgs, NormalizeArgs, SourceArgs};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onebasin match a.safetensors b.safetensors -o alignment.safetensors")]
pub struct MatchArgs {
    /// The reference, which stays as it is.
    pub a: PathBuf,
    /// The network that moves.
    pub b: PathBuf,
    /// Where to write the alignment (`-` is standard output).
    #[arg(short, long, value_name = "FILE", value_parser = output)]
    pub output: PathBuf,
    /// Let the output take the place of an input.
    #[arg(long)]
    pub overwrite: bool,
    /// How to align B with A.
    #[arg(long, value_parser = method(), default_value = "auto")]
    pub method: Method,
    #[arg(long, value_name = "DATA", help = DATA)]
    pub data: Option<String>,
    #[command(flatten)]
    pub normalize: NormalizeArgs,
    /// Where to write how the alignment was found (JSON).
    #[arg(long, value_name = "FILE", value_parser = output)]
    pub report: Option<PathBuf>,
    /// Go on from OUTPUT.resume.safetensors, which a long match that was stopped leaves behind, to the same bits.
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub matching: MatchingArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onebasin apply alignment.safetensors b.safetensors -o b-aligned.safetensors")]
pub struct ApplyArgs {
    /// An alignment written by `match`.
    pub alignment: PathBuf,
    /// The network to move.
    pub b: PathBuf,
    /// Where to write the moved network: a folder with B's shards where B is a folder, unless it ends in .safetensors
    /// (`-` is standard output).
    #[arg(short, long, value_name = "FILE", value_parser = output)]
    pub output: PathBuf,
    /// Let the output take the place of an input.
    #[arg(long)]
    pub overwrite: bool,
    /// Undo the alignment instead.
    #[arg(long)]
    pub inverse: bool,
    /// Use the alignment on a network that it was not made for.
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  onebasin merge a.safetensors b.safetensors -o merged.safetensors
  onebasin merge a.safetensors b.safetensors -o merged.safetensors --symmetry net.symmetry.toml --lambda 0.3
  onebasin merge llm-a/ llm-b/ -o llm-merged/ --align alignment.safetensors")]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct MergeArgs {
    /// The reference, which stays as it is: a file, a folder of shards, or their index.
    pub a: PathBuf,
    /// The network that is aligned with it.
    pub b: PathBuf,
    /// Where to write the merged network: a folder with A's shards where A is a folder, unless it ends in .safetensors
    /// (`-` is standard output).
    #[arg(short, long, value_name = "FILE", value_parser = output)]
    pub output: PathBuf,
    /// Let the output take the place of an input.
    #[arg(long)]
    pub overwrite: bool,
    /// How far from A (0) to B (1).
    #[arg(long, default_value_t = 0.5)]
    pub lambda: f64,
    /// `lerp` (the straight line) or `slerp` (the great circle).
    #[arg(long, default_value = "lerp")]
    pub interpolation: Interpolation,
    /// Element type of the result (default: that of A).
    #[arg(long, value_parser = dtype)]
    pub dtype: Option<DType>,
    /// Use this alignment instead of finding one.
    #[arg(long, value_name = "FILE", conflicts_with = "symmetry")]
    pub align: Option<PathBuf>,
    /// How to align B with A.
    #[arg(long, value_parser = method(), default_value = "auto")]
    pub method: Method,
    /// Match, repair and recompute BatchNorm statistics on the training split of this data.
    #[arg(long, value_name = "DATA")]
    pub data: Option<String>,
    #[command(flatten)]
    pub normalize: NormalizeArgs,
    /// What to do to the average: solve its layers, fit the scale and shift of its units, or restore their spread from data or
    /// weights.
    #[arg(long, value_parser = repair(), default_value = "none")]
    pub repair: Repair,
    /// Samples of the training split, without their labels, on which `--repair solve` solves.
    #[arg(long, value_name = "N", default_value_t = 1200)]
    pub solve_samples: usize,
    /// Where to draw how well every layer follows both networks, averaged and solved: a .svg or .png file.
    #[arg(long, value_name = "FILE", value_parser = output)]
    pub plot: Option<PathBuf>,
    /// Keep units that correspond too little side by side: units of the result, in units of A, from 1 to 2 (with --repair solve
    /// and --data). The result is a wider network: of a built-in one its header says the sizes, an ONNX model has them in its graph.
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    pub width: f64,
    /// Go on from OUTPUT.resume.safetensors, which a solve that was stopped leaves behind, to the same bits.
    #[arg(long)]
    pub resume: bool,
    /// With --repair solve, favour A: aim at what A computes and what B tells of it. Better where both do the same; no midpoint.
    #[arg(long)]
    pub lean: bool,
    /// A and B, built-in networks of one name, know different classes: the result answers those of A and then those of B.
    #[arg(long)]
    pub side_by_side: bool,
    /// Samples of the training split on which BatchNorm statistics are recomputed and repair by data measures; 0 interpolates them.
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub batch_norm_samples: usize,
    /// Average only groups whose matched correlation exceeds this; the others stay as in A.
    #[arg(long, value_name = "R", value_parser = share)]
    pub min_correlation: Option<f64>,
    /// λ of one group (may be given several times); weights between two groups take the smaller.
    #[arg(long, value_name = "GROUP=LAMBDA", value_parser = group_lambda)]
    pub group_lambda: Vec<(String, f64)>,
    /// Use the alignment of --align on networks that it was not made for.
    #[arg(long, requires = "align")]
    pub force: bool,
    /// Do not test the symmetry on a random batch first.
    #[arg(long)]
    pub no_check: bool,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub matching: MatchingArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  onebasin barrier a.safetensors b.safetensors --data mnist:data/mnist -o report.json --plot figure.svg")]
pub struct BarrierArgs {
    /// The network at λ = 0.
    pub a: PathBuf,
    /// The network at λ = 1.
    pub b: PathBuf,
    #[arg(long, help = DATA)]
    pub data: String,
    #[command(flatten)]
    pub normalize: NormalizeArgs,
    /// How to align B with A; several give a curve each.
    #[arg(long, value_parser = method(), value_delimiter = ',', default_value = "auto")]
    pub method: Vec<Method>,
    /// Use this alignment instead of finding one.
    #[arg(long, value_name = "FILE", conflicts_with = "method")]
    pub align: Option<PathBuf>,
    /// Use the alignment of --align on networks that it was not made for.
    #[arg(long, requires = "align")]
    pub force: bool,
    /// What to do to the average at every λ: solve its layers, or restore the spread of its units from data or weights.
    #[arg(long, value_parser = repair(), default_value = "none")]
    pub repair: Repair,
    /// Samples of the training split, without their labels, on which `--repair solve` solves.
    #[arg(long, value_name = "N", default_value_t = 1200)]
    pub solve_samples: usize,
    /// Where to write the report (JSON).
    #[arg(short, long, value_name = "FILE", value_parser = output)]
    pub output: Option<PathBuf>,
    /// Where to draw the curves: a .svg or .png file (may be given twice).
    #[arg(long, value_name = "FILE", value_parser = output)]
    pub plot: Vec<PathBuf>,
    /// Number of λ, both ends included; where it is even, ½ is measured as well.
    #[arg(long, default_value_t = 25, value_parser = points)]
    pub points: usize,
    /// Samples of the training split on which BatchNorm statistics are recomputed at every λ; 0 interpolates them.
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub batch_norm_samples: usize,
    /// Use only the first N samples of each split.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub samples: Option<u32>,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub matching: MatchingArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  onebasin mergekit merge.yml -o merged
  onebasin mergekit merge.yml -o merged --method auto

Of its methods linear, slerp (one `t`) and task_arithmetic are done, over whole models, with one number for each weight. A line
`align: auto` in the file is what --method auto is here. What is not done is refused by its line and column.")]
pub struct MergekitArgs {
    /// The file (YAML).
    pub file: PathBuf,
    /// Where to write the merged network: a folder where the models are folders.
    #[arg(short, long, value_name = "FILE", value_parser = output)]
    pub output: PathBuf,
    /// Let the output take the place of an input.
    #[arg(long)]
    pub overwrite: bool,
    /// How every model is aligned with the base, or else the first (default: what `align` of the file says, else none).
    #[arg(long, value_parser = method())]
    pub method: Option<Method>,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub matching: MatchingArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  onebasin rebase --from old-base --onto new-base tuned -o tuned-on-new --data text:what-it-was-tuned-for.txt

What fine-tuning changed is worth less in another network's weights: the fine-tune itself often answers better on what it was tuned
for. With --data both are measured.")]
pub struct RebaseArgs {
    /// Networks that were fine-tuned from the old base.
    #[arg(required = true)]
    pub tuned: Vec<PathBuf>,
    /// The old base.
    #[arg(long, value_name = "OLD")]
    pub from: PathBuf,
    /// The new base, of the same structure.
    #[arg(long, value_name = "NEW")]
    pub onto: PathBuf,
    /// Where to write the new base with what was carried to it: a folder where the new base is one.
    #[arg(short, long, value_name = "FILE", value_parser = output)]
    pub output: PathBuf,
    /// Let the output take the place of an input.
    #[arg(long)]
    pub overwrite: bool,
    /// What every change is multiplied by.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub scale: f64,
    /// How the old base is aligned with the new one.
    #[arg(long, value_parser = method(), default_value = "auto")]
    pub method: Method,
    /// Data on whose held-out split the new base, the fine-tunes and the result are measured.
    #[arg(long, value_name = "DATA")]
    pub data: Option<String>,
    #[command(flatten)]
    pub normalize: NormalizeArgs,
    /// Use only the first N samples of the held-out split.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub samples: Option<u32>,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub matching: MatchingArgs,
}

impl RebaseArgs {
    /// What was typed, as options.
    pub fn options(&self) -> onebasin::Rebase {
        onebasin::Rebase {
            scale: self.scale,
            align: self.matching.options(self.method),
            samples: self.samples.map(|n| n as usize),
            overwrite: self.overwrite,
        }
    }
}

impl MergeArgs {
    /// What was typed, as options.
    pub fn options(&self) -> onebasin::Merge {
        onebasin::Merge {
            lambda: self.lambda,
            interpolation: self.interpolation,
            dtype: self.dtype,
            repair: self.repair,
            width: self.width,
            lean: self.lean,
            batch_norm_samples: self.batch_norm_samples,
            solve_samples: self.solve_samples,
            min_correlation: self.min_correlation,
            group_lambda: self.group_lambda.iter().cloned().collect(),
            check: !self.no_check,
            force: self.force,
            overwrite: self.overwrite,
            state: None,
            resume: self.resume,
        }
    }
}

impl BarrierArgs {
    /// What was typed, as options.
    pub fn options(&self) -> Measure {
        Measure {
            points: self.points,
            repair: self.repair,
            batch_norm_samples: self.batch_norm_samples,
            solve_samples: self.solve_samples,
            samples: self.samples.map(|n| n as usize),
            force: self.force,
        }
    }
}
