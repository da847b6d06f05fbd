//! Checkpoints in several files: a folder, its index, its shards.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use onebasin_core::Params;
use serde::Deserialize;

use crate::atomic::folder_of;
use crate::checkpoint::{Checkpoint, Index};
use crate::error::{Error, Result};
use crate::map::map;
use crate::metadata::Metadata;
use crate::safetensors::read_file;

/// The end of the name of an index, as Hugging Face writes it.
pub(crate) const INDEX: &str = ".safetensors.index.json";
/// The file of a folder without shards.
pub(crate) const WHOLE: &str = "model.safetensors";
/// The same, as torch writes it.
const TORCH: &str = "pytorch_model.bin";

#[derive(Deserialize)]
struct Text {
    weight_map: BTreeMap<String, String>,
}

/// The file that stands for a folder: its index, or its only checkpoint.
pub(crate) fn find(folder: &Path) -> Result<PathBuf> {
    let names = checkpoints(folder)?;
    let indices: Vec<&String> = names.iter().filter(|n| n.ends_with(INDEX)).collect();
    let whole = names.iter().find(|n| *n == WHOLE);
    let found = match (&indices[..], whole) {
        ([index], None) => Some(*index),
        ([], Some(whole)) => Some(whole),
        ([], None) => names.iter().find(|n| *n == TORCH),
        _ => None,
    };
    found.map(|name| folder.join(name)).ok_or_else(|| Error::NoCheckpoint { path: folder.to_owned(), found: names })
}

/// Names in a folder that belong to checkpoints, in order.
pub(crate) fn checkpoints(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, "list", e))?;
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let kept = |n: &String| !n.starts_with('.') && (n.ends_with(".safetensors") || n.ends_with(INDEX) || n == TORCH);
    let mut names: Vec<String> = names.filter(kept).collect();
    names.sort();
    Ok(names)
}

/// Opens an index and all of its shards.
pub(crate) fn read_index(path: &Path) -> Result<Checkpoint> {
    let fail = |why: String| Error::Index { path: path.to_owned(), why };
    let (text, _) = map(path)?;
    let Text { weight_map } = serde_json::from_slice(&text).map_err(|e| fail(e.to_string()))?;
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
    let (mut params, mut metadata, mut parts) = (Params::new(), Metadata::default(), Vec::new());
    for name in files {
        let shard = read_file(&folder_of(path).join(name))?;
        for (tensor, value) in shard.params.iter() {
            let listed = weight_map.get(tensor);
            if listed != Some(name) {
                let says = listed.map_or_else(|| "does not list it".to_owned(), |l| format!("says `{l}`"));
                return Err(fail(format!("tensor `{tensor}` lies in shard `{name}`, the index {says}")));
            }
            params.insert(tensor, value.clone());
        }
        shard.metadata.0.into_iter().for_each(|(key, text)| metadata.set(&key, text));
        parts.extend(shard.parts);
    }
    if let Some((tensor, name)) = weight_map.iter().find(|(tensor, _)| params.get(tensor).is_none()) {
        return Err(fail(format!("tensor `{tensor}` is not in shard `{name}`, where the index says it lies")));
    }
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    Ok(Checkpoint { index: Some(Index { name, weight_map }), ..Checkpoint::new(path, params, metadata, parts) })
}
