//! Files a verb is asked to read and write.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use onebasin::{Context, Device, Model, Pair, Samples};
use onebasin_io::{PROVENANCE, Target, probe, spare, write_atomic};
use onebasin_lab::Data;
use onebasin_lab::data::{Normalise, Reads, Text};
use serde::Serialize;

use crate::args::{NormalizeArgs, STDOUT, SourceArgs};
use crate::talk::Talk;
use crate::watch::Watch;

/// Opens two networks, and says how.
pub fn open_pair(a: &Path, b: &Path, source: &SourceArgs, talk: Talk) -> Result<Pair> {
    let pair = Pair::open(a, b, &source.blueprint())?;
    remarks(pair.a(), talk);
    remarks(pair.b(), talk);
    Ok(pair)
}

/// Opens two networks that answer different classes, and says how.
pub fn open_side_by_side(a: &Path, b: &Path, source: &SourceArgs, talk: Talk) -> Result<Pair> {
    let blueprint = source.blueprint();
    let [a, b] = [Model::open(a, &blueprint)?, Model::open(b, &blueprint)?];
    remarks(&a, talk);
    remarks(&b, talk);
    Ok(Pair::side_by_side(a, b)?)
}

/// Opens a network, and says how.
pub fn open(path: &Path, blueprint: &onebasin::Blueprint, talk: Talk) -> Result<Model> {
    let model = Model::open(path, blueprint)?;
    remarks(&model, talk);
    if !model.rest().is_empty() {
        let names: Vec<&str> = model.rest().names().collect();
        talk.detail(&format!("{}: not used by the graph: {}", path.display(), names.join(", ")));
    }
    Ok(model)
}

/// What the user should know of how a network was opened.
pub fn remarks(model: &Model, talk: Talk) {
    model.remarks().iter().for_each(|text| talk.say(&format!("note: {}: {text}", model.path().display())));
}

/// A data set, whatever it is of.
pub enum Opened {
    /// Images with one label each.
    Images(Box<Data>),
    /// Windows of a text.
    Text(Box<Text>),
}

impl Opened {
    /// What to call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Images(data) => &data.name,
            Self::Text(text) => &text.name,
        }
    }

    /// What is learnt from.
    pub fn train(&self) -> &dyn Samples {
        match self {
            Self::Images(data) => &data.train,
            Self::Text(text) => &text.train,
        }
    }

    /// What is held out.
    pub fn test(&self) -> &dyn Samples {
        match self {
            Self::Images(data) => &data.test,
            Self::Text(text) => &text.test,
        }
    }
}

/// Opens a data set and passes on what the user should know of it. Its images are prepared as asked for, or as the networks say
/// that they were trained.
pub fn open_data(spec: &str, asked: &NormalizeArgs, models: &[&Model], talk: Talk) -> Result<Opened> {
    let Some(path) = spec.strip_prefix("text:") else {
        return open_images(spec, asked, models, talk).map(|data| Opened::Images(Box::new(data)));
    };
    ensure!(asked.how()?.is_none(), "{spec}: text is not normalised; leave out --normalize");
    let model = models.first().copied();
    let Some((model, (input, vocabulary, length))) = model.and_then(|model| Some((model, model.reads()?))) else {
        bail!("{spec}: text is for language models whose graph is known, with an answer to every token");
    };
    let folder = if model.path().is_dir() { model.path() } else { model.path().parent().unwrap_or(Path::new(".")) };
    let reads = Reads { input: input.to_owned(), vocabulary, length, folder: Some(folder.to_owned()) };
    let text = Text::open(Path::new(path), &reads)?;
    text.notes.iter().for_each(|note| talk.say(&format!("note: {note}")));
    Ok(Opened::Text(Box::new(text)))
}

/// Images, prepared as asked or as the networks say.
pub fn open_images(spec: &str, asked: &NormalizeArgs, models: &[&Model], talk: Talk) -> Result<Data> {
    let data = Data::open(spec)?;
    data.notes.iter().for_each(|note| talk.say(&format!("note: {note}")));
    if let Some(how) = asked.how()? {
        return Ok(data.prepared(&how)?);
    }
    let mut said: Option<(Option<Normalise>, &Model)> = None;
    for model in models {
        let header = &model.checkpoint().metadata;
        let how: Option<Normalise> = header.get_json(Normalise::HEADER)?;
        if how.is_none() && header.get(PROVENANCE).is_none() {
            talk.say(&format!(
                "note: {} does not say how its inputs were prepared; {} are fed as this program trains with them (--normalize \
                 says otherwise)",
                model.path().display(),
                data.name
            ));
        }
        match &said {
            Some((other, first)) if *other != how => bail!(
                "{} and {} were trained with differently prepared inputs; --normalize says how to feed both",
                first.path().display(),
                model.path().display()
            ),
            Some(_) => {}
            None => said = Some((how, model)),
        }
    }
    match said.and_then(|(how, _)| how) {
        Some(how) => {
            talk.say(&format!("note: inputs are prepared as the networks say that they were trained: {how}"));
            Ok(data.prepared(&how)?)
        }
        None => Ok(data),
    }
}

/// What a step of the library works with.
pub fn context<'a>(data: Option<&'a Opened>, device: Option<&'a Device>, watch: &'a Watch) -> Context<'a> {
    let (train, test) = (data.map(Opened::train), data.map(Opened::test));
    Context { train, test, task: None, device, observer: watch }
}

/// Fails now rather than after hours of work if an output cannot be written, or would replace one of `inputs` or another output.
pub fn check_outputs<'a>(outputs: impl IntoIterator<Item = &'a PathBuf>, inputs: &[PathBuf]) -> Result<()> {
    let mut places = Vec::new();
    for path in outputs {
        spare(path, inputs)?;
        probe(path)?;
        let place = place(path);
        ensure!(
            !has_siblings(path) || !places.contains(&place),
            "{}: two outputs would go there; give each a place of its own",
            path.display()
        );
        places.push(place);
    }
    Ok(())
}

/// The one path of all that lead to a file, whether it is there or not.
pub fn place(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = || Some(folder.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(beside).unwrap_or_else(|| path.to_owned())
}

/// The same for a network, which may be a folder of shards.
pub fn check_target(target: &Target, inputs: &[PathBuf]) -> Result<()> {
    target.spares(inputs)?;
    Ok(target.probe()?)
}

/// All that a network is read from; nothing if `overwrite` says that it may be lost.
pub fn inputs<'a>(
    models: impl IntoIterator<Item = &'a Model>,
    source: &'a SourceArgs,
    more: impl IntoIterator<Item = &'a PathBuf>,
    overwrite: bool,
) -> Vec<PathBuf> {
    if overwrite {
        return Vec::new();
    }
    let of = |model: &Model| model.files().into_iter().chain([model.path().to_owned()]).collect::<Vec<_>>();
    let named = more.into_iter().chain(&source.graph).chain(&source.symmetry).cloned();
    models.into_iter().flat_map(of).chain(named).collect()
}

/// Whether something can be written beside an output: it is no pipe and no device.
pub fn has_siblings(output: &Path) -> bool {
    output.metadata().map_or(true, |found| found.is_file() || found.is_dir()) && output != Path::new(STDOUT)
}

/// The file beside an output that holds something more of it: `a.resume.safetensors`.
pub fn sibling(output: &Path, what: &str) -> PathBuf {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".safetensors").unwrap_or(&name);
    output.with_file_name(format!("{stem}.{what}.safetensors"))
}

/// Writes a value as JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    Ok(write_atomic(path, |out| out.write_all(&json))?)
}
