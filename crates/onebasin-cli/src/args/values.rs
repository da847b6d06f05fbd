//! How values are read.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use onebasin::{DType, Method, Order, Precision, Repair, Start, Together};
use onebasin_lab::Recipe;
use onebasin_lab::data::Augment;
use onebasin_nn::optim::{Optimizer, Schedule};

use super::DeviceName;

/// Standard output, as a file.
pub const STDOUT: &str = "/dev/stdout";

/// How images are changed, none included.
#[derive(Debug, Clone, Copy)]
pub struct Augmentation(pub Option<Augment>);

/// A choice by name, and what each name means.
fn choice<T: Clone + Send + Sync + 'static>(
    choices: Vec<(&'static str, T, &'static str)>,
) -> impl TypedValueParser<Value = T> {
    let names = choices.iter().map(|(name, _, means)| PossibleValue::new(*name).help(*means));
    PossibleValuesParser::new(names.collect::<Vec<_>>()).map(move |found| {
        let chosen = choices.iter().find(|(name, ..)| *name == found);
        chosen.expect("only these names are taken").1.clone()
    })
}

pub(super) fn method() -> impl TypedValueParser<Value = Method> {
    choice(Method::ALL.map(|m| (m.name(), m, m.means())).to_vec())
}

pub(super) fn start() -> impl TypedValueParser<Value = Start> {
    choice(vec![
        ("identity", Start::Identity, "Nothing moves"),
        ("signature", Start::Signature, "Pair units by what no permutation of their neighbours changes"),
        ("anchored", Start::Anchored, "Group after group, those first whose neighbours are fixed"),
        ("random", Start::Random, "At random"),
    ])
}

pub(super) fn order() -> impl TypedValueParser<Value = Order> {
    choice(vec![
        ("random", Order::Random, "Anew for every sweep"),
        ("forward", Order::Forward, "From the input to the output"),
        ("alternating", Order::Alternating, "Forward and backward in turn"),
    ])
}

pub(super) fn repair() -> impl TypedValueParser<Value = Repair> {
    choice(vec![
        ("none", Repair::None, "Leave the average as it is"),
        ("data", Repair::Data, "Give every unit the mean and spread between the ends', measured on data"),
        ("weights", Repair::Weights, "Give every unit's weights the length between the ends'; needs no data"),
        (
            "affine",
            Repair::Affine,
            "Fit every unit's scale and shift to what both ends compute, by least squares on what the merged network feeds itself",
        ),
        (
            "solve",
            Repair::Solve,
            "Refit every layer to what both ends compute, on what the merged network feeds itself",
        ),
        (
            "distil",
            Repair::Distil,
            "The same, then some hundred steps of training it to answer as both do together, without labels",
        ),
    ])
}

pub(super) fn together() -> impl TypedValueParser<Value = Together> {
    choice(vec![
        (
            "universe",
            Together::Universe,
            "All at once into a common numbering, so that alignments agree around every cycle",
        ),
        (
            "rounds",
            Together::Rounds,
            "Each in turn with the mean of the others, until none changes (the paper's MergeMany)",
        ),
        (
            "reference",
            Together::Reference,
            "Each with the first, which stays as it is: what was sent to many and comes back",
        ),
        ("tree", Together::Tree, "Pairs, then pairs of pairs"),
    ])
}

pub(super) fn precision() -> impl TypedValueParser<Value = Precision> {
    choice(vec![
        ("f32", Precision::F32, "In single precision"),
        ("bf16", Precision::Bf16, "Of factors rounded to bf16, summed in single precision"),
    ])
}

pub(super) fn optimizer() -> impl TypedValueParser<Value = Optimizer> {
    choice(vec![
        ("adam", Optimizer::Adam, "Adam with its usual constants"),
        ("sgd", Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 }, "Momentum 0.9"),
    ])
}

/// A cosine has this many epochs of warm-up, where nothing else is said.
pub(super) fn schedule(warmup_epochs: f64) -> impl TypedValueParser<Value = Schedule> {
    choice(vec![
        ("constant", Schedule::Constant, "The same rate throughout"),
        ("cosine", Schedule::Cosine { warmup_epochs }, "Linear warm-up, then one cosine to zero"),
    ])
}

pub(super) fn augment() -> impl TypedValueParser<Value = Augmentation> {
    choice(vec![
        ("none", Augmentation(None), "Leave them as they are"),
        (
            "crop-flip",
            Augmentation(Some(Augment::CropFlip)),
            "Moved by up to four pixels, mirrored (as for the original ResNets)",
        ),
        (
            "zoom-rotate",
            Augmentation(Some(Augment::ZoomRotate)),
            "Nearer or further, mirrored, turned (as in the paper)",
        ),
    ])
}

pub(super) fn scale() -> impl TypedValueParser<Value = onebasin_lab::Scale> {
    use onebasin_lab::Scale;
    choice(vec![
        ("quick", Scale::Quick, "Minutes on two cores, to show the same phenomenon"),
        (
            "desk",
            Scale::Desk,
            "An hour on two cores, where an experiment has it: fewer epochs, images and widths than the paper's",
        ),
        ("paper", Scale::Paper, "The paper's recipe"),
    ])
}

pub(super) fn input_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let wrong = || "NAME=1x3x224x224: a name and the length of every axis".to_owned();
    let (name, shape) = text.rsplit_once('=').ok_or_else(wrong)?;
    let shape = shape.split('x').map(|n| n.parse().ok().filter(|n| *n > 0));
    Ok((name.to_owned(), shape.collect::<Option<_>>().ok_or_else(wrong)?))
}

pub(super) fn tensor_axis(text: &str) -> Result<(String, usize), String> {
    let split = text.rsplit_once(':').and_then(|(name, axis)| Some((name.to_owned(), axis.parse().ok()?)));
    split.ok_or_else(|| "TENSOR:AXIS: the name of a tensor and an axis, counted from 0".to_owned())
}

pub(super) fn dtype(text: &str) -> Result<DType, String> {
    let known = [DType::F64, DType::F32, DType::F16, DType::BF16];
    known.into_iter().find(|d| d.name() == text).ok_or_else(|| "known: f64, f32, f16, bf16".to_owned())
}

pub(super) fn device(text: &str) -> Result<DeviceName, String> {
    let number = |text: &str| text.strip_prefix("cuda:")?.parse().ok();
    match text {
        "cpu" => Some(DeviceName::Cpu),
        "cuda" => Some(DeviceName::Cuda(0)),
        other => number(other).map(DeviceName::Cuda),
    }
    .ok_or_else(|| "known: cpu, cuda, cuda:N".to_owned())
}

pub(super) fn recipe(name: &str) -> Result<Recipe, String> {
    Recipe::named(name).map_err(|why| why.to_string())
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n| (0.0..=1.0).contains(n)).ok_or_else(|| "a number from 0 to 1".to_owned())
}

pub(super) fn group_lambda(text: &str) -> Result<(String, f64), String> {
    let (group, lambda) =
        text.rsplit_once('=').ok_or_else(|| "GROUP=LAMBDA: a group, as inspect names it".to_owned())?;
    Ok((group.to_owned(), share(lambda)?))
}

pub(super) fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=4096).contains(n)).ok_or_else(|| "a number from 1 to 4096".to_owned())
}

/// A number of bytes, with a unit or without.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let expected = || "a number of bytes with a unit, such as 512MiB or 4GiB".to_owned();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(expected()),
    };
    let number: f64 = number.trim().parse().map_err(|_| expected())?;
    let bytes = number * factor;
    if (1.0..=1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(expected()) }
}

/// A time, with a unit or in seconds.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let expected = || "a time with a unit, such as 500ms, 60s, 5m or 1h".to_owned();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(expected()),
    };
    let number: f64 = number.trim().parse().map_err(|_| expected())?;
    let seconds = number * factor;
    if (0.0..=1e9).contains(&seconds) { Ok(seconds) } else { Err(expected()) }
}

pub(super) fn threads(text: &str) -> Result<usize, String> {
    let fits = |n: &usize| (1..=super::MOST_THREADS).contains(n);
    text.parse().ok().filter(fits).ok_or_else(|| format!("a number from 1 to {}", super::MOST_THREADS))
}

/// Where to write; `-` is standard output.
#[allow(clippy::unnecessary_wraps, reason = "a parser may fail")]
pub(super) fn output(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(if text == "-" && cfg!(unix) { STDOUT.into() } else { text.into() })
}

pub(super) fn warmup(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n| (0.0..=1e4).contains(n)).ok_or_else(|| "a number from 0 to 10000".to_owned())
}

pub(super) fn points(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (2..=10_001).contains(n)).ok_or_else(|| "a number from 2 to 10001".to_owned())
}
