//! How values are read.

use onebasin_core::DType;
use onebasin_nn::Recipe;

use super::DeviceName;

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

pub(super) fn warmup(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n| (0.0..=1e4).contains(n)).ok_or_else(|| "a number from 0 to 10000".to_owned())
}

pub(super) fn points(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (2..=10_001).contains(n)).ok_or_else(|| "a number from 2 to 10001".to_owned())
}
