//! The verb that runs experiments.

use std::path::PathBuf;

use clap::Args;
use onebasin::Precision;
use onebasin_lab::Scale;

use super::DeviceName;
use super::values::{device, precision, scale};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  onebasin reproduce --list
  onebasin reproduce fig6-counterexample
  onebasin reproduce fig2-mnist --scale paper --data data/

The folder of --data holds the data sets by name (data/mnist and so on), in the forms that `train --data` opens. What is done is kept in the cache and not done again; a run that was stopped or killed goes on.")]
pub struct ReproduceArgs {
    /// The experiment: one of --list, or a file like those of experiments/ (NAME.toml).
    #[arg(required_unless_present = "list")]
    pub experiment: Option<String>,
    /// List the experiments, what they cost, and what data they need.
    #[arg(long)]
    pub list: bool,
    /// How much is computed.
    #[arg(long, value_parser = scale(), default_value = "quick")]
    pub scale: Scale,
    /// The folder that holds the data sets.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// The folder for results; each experiment has one in it, with index.html.
    #[arg(short, long, value_name = "DIR", default_value = "onebasin-reproduce")]
    pub output: PathBuf,
    /// The folder for what is kept between runs (default: cache, in the folder for results).
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Where networks are trained and evaluated, and weights compared: `cpu`, `cuda`, or `cuda:1` for the second GPU.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: DeviceName,
    /// How products are computed in training on a GPU; weights stay f32.
    #[arg(long, value_parser = precision(), default_value = "f32")]
    pub precision: Precision,
    /// Save the state of training every so many seconds: what a kill can cost.
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    pub save_every: f64,
}
