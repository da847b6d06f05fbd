//! The YAML of mergekit, as far as it says what is done here; all else is refused by line and column.

use std::path::{Path, PathBuf};

use onebasin_core::DType;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

use super::{MergeFile, Part, Rule};
use crate::align::Method;
use crate::error::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    merge_method: Spanned<String>,
    #[serde(default)]
    models: Vec<Entry>,
    slices: Option<Spanned<Vec<Slice>>>,
    base_model: Option<Spanned<String>>,
    #[serde(default)]
    parameters: Parameters,
    dtype: Option<Spanned<String>>,
    out_dtype: Option<Spanned<String>>,
    tokenizer_source: Option<Spanned<String>>,
    align: Option<Spanned<Method>>,
    #[serde(rename = "name")]
    _name: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: Spanned<String>,
    layer_range: Option<Spanned<[usize; 2]>>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Slice {
    sources: Vec<Entry>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    weight: Option<Spanned<Number>>,
    normalize: Option<bool>,
    lambda: Option<Spanned<Number>>,
    t: Option<Spanned<Number>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    One(f64),
    More(IgnoredAny),
}

/// Where something is wrong, and what.
struct Wrong {
    line: u64,
    column: u64,
    why: String,
}

type Read<T> = std::result::Result<T, Wrong>;

fn at<T>(place: &Spanned<T>, why: String) -> Wrong {
    Wrong { line: place.referenced.line(), column: place.referenced.column(), why }
}

fn one(key: &str, number: Option<&Spanned<Number>>) -> Read<Option<f64>> {
    let Some(number) = number else { return Ok(None) };
    match number.value {
        Number::One(value) if value.is_finite() => Ok(Some(value)),
        Number::One(_) | Number::More(_) => Err(at(
            number,
            format!("`{key}` must be one finite number; gradients over layers and filters by name are not done here"),
        )),
    }
}

pub(super) fn parse(path: &Path, text: &str) -> Result<MergeFile> {
    let wrong = |Wrong { line, column, why }| Error::MergeFile { path: path.to_owned(), line, column, why };
    let file: File = serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
        wrong(Wrong { line, column, why: said(&error) })
    })?;
    read(file).map_err(wrong)
}

/// What a parser says, without the place, which is said before it, and without the lines around it.
fn said(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    first.split(" at line ").next().unwrap_or(first).trim_start_matches("error: ").to_owned()
}

fn read(file: File) -> Read<MergeFile> {
    const KNOWN: &str = "known are linear, slerp and task_arithmetic";
    let method = &file.merge_method;
    let (entries, inner) = match (&file.slices, file.models.is_empty()) {
        (None, false) => (&file.models, None),
        (Some(slices), true) => match &slices.value[..] {
            [slice] => (&slice.sources, Some(&slice.parameters)),
            _ => return Err(at(slices, "layers of several slices put together are not done here".to_owned())),
        },
        (Some(slices), false) => return Err(at(slices, "give either models or slices".to_owned())),
        (None, true) => return Err(at(method, "no models are given".to_owned())),
    };
    let given = |pick: fn(&Parameters) -> Option<&Spanned<Number>>| inner.and_then(pick).or(pick(&file.parameters));
    let normalize = inner.and_then(|inner| inner.normalize).or(file.parameters.normalize);
    let base = file.base_model.as_ref().map(|base| base.value.as_str());
    let is_base = |entry: &&Entry| base == Some(&entry.model.value[..]);
    let lambda = one("lambda", given(|p| p.lambda.as_ref()))?;
    let t = one("t", given(|p| p.t.as_ref()))?;
    let unused = |key: &str, used: bool| {
        let said = at(method, format!("`{key}` means nothing to `{}`", method.value));
        if used { Err(said) } else { Ok(()) }
    };
    let weight = |entry: &Entry| one("weight", entry.parameters.weight.as_ref().or(given(|p| p.weight.as_ref())));
    let needs = |entry: &Entry| {
        weight(entry)?.ok_or_else(|| at(&entry.model, format!("`{}` has no weight", entry.model.value)))
    };
    let mut models: Vec<Part> = Vec::new();
    let mut part = |entry: &Entry, weight: f64| {
        models.push(Part { path: PathBuf::from(&entry.model.value), weight });
    };
    let rule = match &method.value[..] {
        "linear" => {
            unused("lambda", lambda.is_some()).and(unused("t", t.is_some()))?;
            for entry in entries {
                part(entry, needs(entry)?);
            }
            Rule::Linear { normalize: normalize.unwrap_or(true) }
        }
        "slerp" => {
            unused("lambda", lambda.is_some()).and(unused("normalize", normalize.is_some()))?;
            let t =
                t.ok_or_else(|| at(method, "slerp needs `t`, how far from the base model to the other".to_owned()))?;
            if !(0.0..=1.0).contains(&t) {
                return Err(at(method, format!("`t` must lie between 0 and 1, found {t}")));
            }
            let others: Vec<&Entry> = entries.iter().filter(|entry| !is_base(entry)).collect();
            let (Some(base), [other]) = (base, &others[..]) else {
                return Err(at(method, "slerp is of two models, one of which is `base_model`".to_owned()));
            };
            models.push(Part { path: PathBuf::from(base), weight: 1.0 - t });
            models.push(Part { path: PathBuf::from(&other.model.value), weight: t });
            Rule::Slerp { t }
        }
        "task_arithmetic" => {
            unused("t", t.is_some())?;
            let base = base.ok_or_else(|| at(method, "task_arithmetic needs `base_model`".to_owned()))?;
            for entry in entries.iter().filter(|entry| !is_base(entry)) {
                part(entry, needs(entry)?);
            }
            models.insert(0, Part { path: PathBuf::from(base), weight: 0.0 });
            Rule::TaskArithmetic { lambda: lambda.unwrap_or(1.0), normalize: normalize.unwrap_or(false) }
        }
        other => return Err(at(method, format!("`{other}` is not done here; {KNOWN}"))),
    };
    let sum: f64 = models.iter().map(|part| part.weight).sum();
    if rule.normalizes() && sum.abs() < 1e-8 {
        return Err(at(method, "weights that are to be normalized add up to 0".to_owned()));
    }
    let reference = base.map_or_else(|| models[0].path.clone(), PathBuf::from);
    let at_reference = models
        .iter()
        .position(|part| part.path == reference)
        .ok_or_else(|| at(method, format!("the base model `{}` is none of the models", reference.display())))?;
    let reference = models.remove(at_reference);
    models.insert(0, reference);
    if let Some(source) = &file.tokenizer_source
        && !(source.value == "base" || Path::new(&source.value) == models[0].path)
    {
        let why = format!(
            "the tokenizer goes along from `{}`; `{}` is not done here",
            models[0].path.display(),
            source.value
        );
        return Err(at(source, why));
    }
    let dtype = file.out_dtype.as_ref().or(file.dtype.as_ref()).map(dtype).transpose()?;
    let layers = entries.iter().filter_map(|entry| entry.layer_range.as_ref()).map(|range| match range.value {
        [0, layers] => Ok(layers),
        [_, _] => Err(at(range, "only whole models are merged: layers from 0 on".to_owned())),
    });
    let layers = layers.collect::<Read<Vec<usize>>>()?;
    if layers.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(at(method, "models with different ranges of layers are not merged".to_owned()));
    }
    let align = file.align.map_or(Method::None, |align| align.value);
    Ok(MergeFile { rule, models, align, dtype, layers: layers.first().copied() })
}

fn dtype(name: &Spanned<String>) -> Read<DType> {
    match &name.value[..] {
        "float32" => Ok(DType::F32),
        "float16" => Ok(DType::F16),
        "bfloat16" => Ok(DType::BF16),
        other => {
            Err(at(name, format!("`{other}` is no type that is written; known are float32, float16 and bfloat16")))
        }
    }
}
