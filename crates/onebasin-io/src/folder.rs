//! Which file of a folder is the checkpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::Format;

/// Names that libraries give the file of a network.
const STEMS: [&str; 6] =
    ["model", "pytorch_model", "diffusion_pytorch_model", "consolidated", "flax_model", "adapter_model"];
/// The file of a folder without shards.
pub(crate) const WHOLE: &str = "model.safetensors";
/// The same, as torch writes it.
const TORCH: &str = "pytorch_model.bin";
/// The one that holds what is added to a network.
const ADAPTER: &str = "adapter_model";
/// Beginnings of names that trainers give what is no network.
const TRAINING: [&str; 7] =
    ["optimizer", "optim", "scheduler", "training_args", "rng_state", "random_states", "scaler"];
const CONVERT: &str = "load it with the library that wrote it and save its weights as safetensors";

/// A checkpoint in a folder.
#[derive(Debug)]
pub(crate) enum Place {
    /// One file.
    File(PathBuf),
    /// An index with the shards that it names.
    Index(PathBuf),
    /// Shards without an index, complete, and the index that they would have.
    Shards { files: Vec<PathBuf>, index: PathBuf },
}

/// The checkpoint of a folder, and an index beside it that should say the same.
pub(crate) type FolderFound = (Place, Option<PathBuf>);

/// What a name says of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    /// Up to the first dot.
    stem: String,
    /// Between that and the extension, as in `model.fp16.safetensors`.
    variant: String,
    extension: String,
    index: bool,
    /// Number of a shard, and how many there are.
    shard: Option<(usize, usize)>,
}

/// Files that could be the checkpoint.
struct Candidate {
    name: Name,
    /// In order; one where it is no set of shards.
    files: Vec<String>,
}

/// The checkpoint of a folder: what libraries would open first, or the only file of any name.
///
/// Order: a network before an adapter, names that libraries give before others, plain ones before variants, safetensors
/// before torch before the rest, one file before an index, an index before shards without one.
///
/// # Errors
/// [`Error::NoCheckpoint`] if there is none, or several equally plausible, or shards are missing; [`Error::Foreign`] if the
/// folder is that of another program.
pub(crate) fn find(folder: &Path) -> Result<FolderFound> {
    let (names, folders) = listing(folder)?;
    let failed = |why: &str, found| Error::NoCheckpoint { path: folder.to_owned(), why: why.to_owned(), found };
    let mut candidates = candidates(&names);
    candidates.sort_by_key(|c| (rank(&c.name), c.files.clone()));
    let Some(first) = candidates.first() else {
        if let Some((what, remedy)) = foreign(&names) {
            return Err(Error::Foreign { path: folder.to_owned(), what: what.to_owned(), remedy });
        }
        let holding = folders.iter().filter(|name| {
            listing(&folder.join(name)).is_ok_and(|(names, _)| names.iter().any(|name| Name::of(name).is_some()))
        });
        let found = holding.map(|name| format!("{name}/")).collect();
        let why = "expected model.safetensors, an index of shards (*.safetensors.index.json), pytorch_model.bin, or one \
                   file of any name; name the file itself";
        return Err(failed(why, found));
    };
    let equal: Vec<&Candidate> = candidates.iter().filter(|c| rank(&c.name) == rank(&first.name)).collect();
    if equal.len() > 1 {
        let found = equal.iter().map(|c| c.files[0].clone()).collect();
        return Err(failed("several could be meant; name the file itself", found));
    }
    let path = |name: &String| folder.join(name);
    let place = match first.name.shard {
        None if first.name.index => Place::Index(path(&first.files[0])),
        None => Place::File(path(&first.files[0])),
        Some((_, count)) => {
            let there: Vec<usize> = first.files.iter().filter_map(|f| Name::of(f)?.shard).map(|(k, _)| k).collect();
            if let Some(missing) = (1..=count).find(|k| !there.contains(k)) {
                let why = format!("it has no index, and shard {missing} of {count} is missing; download it again");
                return Err(failed(&why, first.files.clone()));
            }
            let Name { stem, variant, extension, .. } = &first.name;
            let variant = if variant.is_empty() { String::new() } else { format!(".{variant}") };
            let index = folder.join(format!("{stem}.{extension}.index{variant}.json"));
            Place::Shards { files: first.files.iter().map(path).collect(), index }
        }
    };
    let same = |name: &Name| (&name.stem, &name.variant) == (&first.name.stem, &first.name.variant);
    let beside = candidates.iter().find(|c| c.name.index && !first.name.index && same(&c.name));
    Ok((place, beside.map(|index| path(&index.files[0]))))
}

/// The networks that a path stands for: itself, or, where it is a folder that is no network, those in it, by name, numbers in them
/// by value.
///
/// # Errors
/// If a folder cannot be listed, or holds neither a network nor files or folders that are networks.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// for name in ["client-10.safetensors", "client-9.safetensors", "notes.txt"] {
///     std::fs::write(folder.path().join(name), "")?;
/// }
/// let found = onebasin_io::networks_in(folder.path())?;
/// assert_eq!(found, ["client-9.safetensors", "client-10.safetensors"].map(|name| folder.path().join(name)));
/// assert_eq!(onebasin_io::networks_in(&found[0])?, [found[0].clone()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn networks_in(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = match path.is_dir().then(|| find(path)) {
        None | Some(Ok(_)) => return Ok(vec![path.to_owned()]),
        Some(Err(error)) => error,
    };
    let (files, folders) = listing(path)?;
    let single = |name: &String| Name::of(name).is_some_and(|name| name.shard.is_none() && !name.index);
    let mut found: Vec<String> = files.into_iter().filter(single).collect();
    if found.is_empty() {
        found = folders.into_iter().filter(|name| find(&path.join(name)).is_ok()).collect();
    }
    if found.is_empty() {
        return Err(failed);
    }
    found.sort_by_cached_key(|name| by_value(name));
    Ok(found.into_iter().map(|name| path.join(name)).collect())
}

/// A name in parts of text and numbers, for an order in which 9 comes before 10.
fn by_value(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let end = rest[text..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| text + end);
        parts.push((rest[..text].to_owned(), rest[text..end].parse().unwrap_or(u64::MAX)));
        rest = &rest[end..];
    }
    parts
}

/// Names in a folder that belong to checkpoints as they are written, in order.
pub(crate) fn checkpoints(folder: &Path) -> Result<Vec<String>> {
    let (mut names, _) = listing(folder)?;
    names.retain(|name| name.ends_with(".safetensors") || is_index(name) || name == TORCH);
    Ok(names)
}

/// Whether a name is that of an index of safetensors: `model.safetensors.index.json`, also of a variant.
pub(crate) fn is_index(name: &str) -> bool {
    name.contains(".safetensors.index") && name.rsplit('.').next() == Some("json")
}

/// Files and folders in a folder that are not hidden, in order.
fn listing(folder: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, "list", e))?;
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') {
            if entry.path().is_dir() { &mut folders } else { &mut files }.push(name);
        }
    }
    files.sort();
    folders.sort();
    Ok((files, folders))
}

fn candidates(names: &[String]) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut sets: BTreeMap<Name, Vec<String>> = BTreeMap::new();
    for file in names {
        let Some(name) = Name::of(file) else { continue };
        match name.shard {
            Some((_, count)) => {
                sets.entry(Name { shard: Some((0, count)), ..name }).or_default().push(file.clone());
            }
            None => candidates.push(Candidate { name, files: vec![file.clone()] }),
        }
    }
    for (name, files) in sets {
        let of = |index: &Name| index.index && (&index.stem, &index.extension) == (&name.stem, &name.extension);
        let indexed = candidates.iter().any(|candidate| of(&candidate.name));
        if !indexed {
            candidates.push(Candidate { name, files });
        }
    }
    candidates
}

/// What is opened before what; equal ones are equally plausible.
fn rank(name: &Name) -> [usize; 5] {
    let known = STEMS.contains(&name.stem.as_str());
    if !known {
        return [1, 0, 0, 0, 0];
    }
    let format = match name.extension.as_str() {
        "safetensors" => 0,
        "msgpack" | "npz" => 2,
        _ => 1,
    };
    let how = if name.shard.is_some() { 2 } else { usize::from(name.index) };
    [0, usize::from(name.stem == ADAPTER), usize::from(!name.variant.is_empty()), format, how]
}

/// What a folder without checkpoints is, and what to do.
fn foreign(names: &[String]) -> Option<(&'static str, &'static str)> {
    let any = |end: &str| names.iter().any(|name| name.ends_with(end));
    if any("saved_model.pb") {
        return Some(("a TensorFlow SavedModel", CONVERT));
    }
    if any(".ckpt.index") || names.iter().any(|name| name == "checkpoint") {
        return Some(("a TensorFlow checkpoint", CONVERT));
    }
    if any(".distcp") {
        let remedy = "convert it with torch.distributed.checkpoint.format_utils.dcp_to_torch_save";
        return Some(("a distributed checkpoint of torch", remedy));
    }
    if any("manifest.ocdbt") || any("_METADATA") || any("_CHECKPOINT_METADATA") {
        return Some(("a checkpoint of Orbax", "restore it and save its params with flax.serialization.to_bytes"));
    }
    any("data.pkl").then_some(("the inside of a torch file, unpacked", "give the .pt file as it was saved"))
}

impl Name {
    /// What a name says, if it is that of a checkpoint.
    fn of(name: &str) -> Option<Self> {
        if TRAINING.iter().any(|start| name.starts_with(start)) {
            return None;
        }
        let plain = |stem: &str, variant: &str, extension: &str, index| Self {
            stem: stem.to_owned(),
            variant: variant.to_owned(),
            extension: extension.to_owned(),
            index,
            shard: None,
        };
        if let Some(rest) = name.strip_suffix(".json") {
            let (file, variant) = rest.rsplit_once(".index")?;
            let (stem, extension) = file.rsplit_once('.')?;
            let known = matches!(extension, "safetensors" | "bin") && (variant.is_empty() || variant.starts_with('.'));
            return known.then(|| plain(stem, variant.trim_start_matches('.'), extension, true));
        }
        let (rest, extension) = name.rsplit_once('.')?;
        Format::named(Path::new(name)).filter(|_| !matches!(extension, "npy" | "pkl"))?;
        let (stem, variant) = rest.split_once('.').unwrap_or((rest, ""));
        // A variant stands before the numbers of a shard or behind them.
        let shard = numbered(rest).map(|(start, shard)| (start.split_once('.').unwrap_or((start, "")), shard));
        let shard = shard.or_else(|| numbered(stem).map(|(start, shard)| ((start, variant), shard)));
        let ((stem, variant), shard) = shard.map_or(((stem, variant), None), |(name, shard)| (name, Some(shard)));
        Some(Self { shard, ..plain(stem, variant, extension, false) })
    }
}

/// The name before `-00001-of-00002`, and the numbers.
fn numbered(name: &str) -> Option<(&str, (usize, usize))> {
    let (start, count) = name.rsplit_once("-of-")?;
    let (start, number) = start.rsplit_once('-')?;
    let parse = |digits: &str| digits.parse().ok().filter(|n| *n > 0 && digits.len() > 1);
    Some((start, (parse(number)?, parse(count)?)))
}
