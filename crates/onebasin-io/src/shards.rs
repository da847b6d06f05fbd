//! Checkpoints in several files: an index, and its shards.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::checkpoint::{Checkpoint, Index};
use crate::error::{Error, Result};
use crate::foreign::recognise;
use crate::format::Gathered;
use crate::input::InputFile;
use crate::metadata::Metadata;
use crate::place::folder_of;
use crate::read::read_file;

#[derive(Deserialize)]
struct Text {
    weight_map: BTreeMap<String, String>,
}

/// Opens an index and all of its shards. The index decides which tensors there are, and where each lies: others, and other
/// copies, are passed over.
///
/// # Errors
/// If the index cannot be used, a shard cannot be read, or a tensor is not where the index says.
pub(crate) fn read_index(path: &Path) -> Result<Checkpoint> {
    let fail = |why: String| Error::Index { path: path.to_owned(), why };
    let file = Arc::new(InputFile::open(path)?);
    let text = file.all()?;
    let Text { weight_map } = serde_json::from_slice(&text).map_err(|e| {
        let json = serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok();
        let begins_as_json = matches!(text.trim_ascii_start().first(), Some(b'{' | b'['));
        match recognise(&text, path).filter(|_| !begins_as_json) {
            Some(foreign) => Error::Foreign { path: path.to_owned(), what: foreign.what, remedy: foreign.remedy },
            None if json => fail(format!("{e}: JSON, but no index; name the file of the checkpoint, or its folder")),
            None => fail(e.to_string()),
        }
    })?;
    let mut files: Vec<&String> = weight_map.values().collect();
    files.sort();
    files.dedup();
    if files.is_empty() {
        return Err(fail("its weight_map names no tensor".to_owned()));
    }
    // Links are followed: caches of models keep the shards themselves elsewhere.
    let plain = |name: &str| {
        let mut components = Path::new(name).components();
        matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
    };
    if let Some(name) = files.iter().find(|name| !plain(name)) {
        return Err(fail(format!("shard `{name}` must be a file in the same folder, named without a path")));
    }
    let folder = folder_of(path);
    let paths: Vec<PathBuf> = files.iter().map(|name| folder.join(name)).collect();
    join(path, &paths, Some((&weight_map, file)))
}

/// Opens shards without an index as one checkpoint; `path` is what their index would be called.
///
/// # Errors
/// If a shard cannot be read, or two hold tensors of the same name.
pub(crate) fn read_shards(path: &Path, files: &[PathBuf]) -> Result<Checkpoint> {
    join(path, files, None)
}

/// All tensors of some files that lie where `listed` says; without it, each name may lie in one of them.
fn join(
    path: &Path,
    files: &[PathBuf],
    index: Option<(&BTreeMap<String, String>, Arc<InputFile>)>,
) -> Result<Checkpoint> {
    let (listed, file_of_index) = index.unzip();
    let fail = |why: String| Error::Index { path: path.to_owned(), why };
    let (mut gathered, mut metadata, mut parts) = (Gathered::default(), Metadata::default(), Vec::new());
    let mut weight_map = BTreeMap::new();
    let mut missing = listed.cloned().unwrap_or_default();
    for file in files {
        let name = name_of(file);
        if !file.exists() {
            return Err(fail(format!("shard `{name}` is missing (No such file); download it again")));
        }
        let shard = read_file(file, None)?;
        for (tensor, value) in shard.params.iter() {
            let place = listed.map(|listed| listed.get(tensor));
            match place {
                Some(None) => {
                    gathered.pass_over(tensor, format!("lies in shard `{name}`, but the index does not list it"));
                    continue;
                }
                Some(Some(place)) if *place != name => {
                    gathered.pass_over(tensor, format!("a copy in shard `{name}`; the index says `{place}`"));
                    continue;
                }
                Some(Some(_)) | None => {}
            }
            let twice = gathered.add(tensor, value.clone());
            twice.map_err(|_| {
                fail(format!(
                    "tensor `{tensor}` lies in shard `{name}` and in one before it, and no index says which counts"
                ))
            })?;
            weight_map.insert(tensor.to_owned(), written(&name));
            missing.remove(tensor);
        }
        for (tensor, why) in shard.passed_over {
            missing.remove(&tensor);
            gathered.pass_over(&tensor, why);
        }
        shard.metadata.0.into_iter().for_each(|(key, text)| metadata.set(&key, text));
        parts.extend(shard.files);
    }
    if let Some((tensor, name)) = missing.first_key_value() {
        let copy = gathered.passed_over.iter().find(|(passed_over, _)| passed_over == tensor);
        let copy = copy.map_or(String::new(), |(_, why)| format!(" (it is {why})"));
        let other = gathered.passed_over.iter().find(|(other, _)| listed.is_some_and(|l| !l.contains_key(other)));
        let other = other.map_or(String::new(), |(other, why)| format!("; `{other}` {why}"));
        return Err(fail(format!(
            "tensor `{tensor}` is not in shard `{name}`, where the index says it lies{copy}{other}"
        )));
    }
    let index = Index { name: written(&name_of(path)), weight_map, file: file_of_index };
    Ok(Checkpoint { index: Some(index), ..Checkpoint::gathered(path, gathered, metadata, parts) })
}

/// The name that a shard or an index of torch has where safetensors are written in its place.
fn written(name: &str) -> String {
    if name.contains(".safetensors") {
        return name.to_owned();
    }
    let name = name.replacen("pytorch_model", "model", 1);
    match name.strip_suffix(".json") {
        Some(index) => format!("{}.json", index.replacen(".bin", ".safetensors", 1)),
        None => Path::new(&name).with_extension("safetensors").to_string_lossy().into_owned(),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
