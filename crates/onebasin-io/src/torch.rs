//! Reading what `torch.save` writes: zip archives, and the streams and tar files of earlier versions.
//!
//! The pickle is data: only the calls that rebuild tensors are understood, none is made.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use onebasin_core::{DType, Params};
use pytorch_reader::{PickleValue, PytorchReader};

use crate::format::{check_claim, insert};

/// Entries of a training checkpoint that hold nothing but the network.
const STATE_DICTS: [&str; 2] = ["state_dict", "model_state_dict"];
/// Entries that hold the network, or are a part of it.
const MODELS: [&str; 3] = ["model", "net", "network"];
/// Prefixes that wrappers of modules put before every key.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// The tensors of the file at `path`, `length` bytes long.
pub(crate) fn params(path: &Path, length: u64) -> Result<Params, String> {
    let root = PytorchReader::read_pickle_data(path, None).map_err(|e| e.to_string())?;
    let reader = match network(&root) {
        Some(key) => PytorchReader::with_top_level_key(path, key),
        None => PytorchReader::new(path),
    };
    let mut tensors = reader.map_err(|e| e.to_string())?.into_tensors();
    if tensors.is_empty() {
        return Err(no_tensors(&root));
    }
    check_claim(tensors.values().map(|t| t.byte_len() as u64).sum(), length)?;
    for prefix in WRAPPERS {
        if tensors.keys().all(|name| name.starts_with(prefix)) {
            tensors = tensors.into_iter().map(|(name, t)| (name[prefix.len()..].to_owned(), t)).collect();
        }
    }
    let mut params = Params::new();
    for (name, tensor) in tensors {
        let data = tensor.read().map_err(|e| e.to_string())?;
        insert(&mut params, &name, dtype(tensor.dtype()), tensor.shape(), Bytes::from(data))?;
    }
    Ok(params)
}

/// The entry of a training checkpoint that is the network.
///
/// `model` may also be the name of a submodule. It is the network if nothing beside it could be a part of one: it is
/// alone, or there are counters or settings, as a training run has, and not tensors only.
fn network(root: &PickleValue) -> Option<&'static str> {
    let PickleValue::Dict(entries) = root else { return None };
    let nested = |key: &&str| matches!(entries.get(*key), Some(PickleValue::Dict(inner)) if !inner.is_empty());
    STATE_DICTS.into_iter().find(nested).or_else(|| {
        let key = MODELS.into_iter().find(nested)?;
        let settings = entries.iter().any(|(other, value)| other != key && !only_tensors(value));
        (settings || entries.len() == 1).then_some(key)
    })
}

fn only_tensors(value: &PickleValue) -> bool {
    match value {
        PickleValue::Dict(entries) => entries.values().all(only_tensors),
        PickleValue::Unsupported(_) => true,
        _ => false,
    }
}

/// Why there is nothing to read, with the names of whatever the pickle would have had Python call.
fn no_tensors(root: &PickleValue) -> String {
    let mut names = BTreeSet::new();
    opaque(root, &mut names);
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() {
        return "it holds no tensors".to_owned();
    }
    format!("it holds no tensors, only calls of Python that are never made: {}", names.join(", "))
}

fn opaque<'a>(value: &'a PickleValue, names: &mut BTreeSet<&'a str>) {
    match value {
        PickleValue::Unsupported(name) => {
            names.insert(name);
        }
        PickleValue::List(items) => items.iter().for_each(|item| opaque(item, names)),
        PickleValue::Dict(entries) => entries.values().for_each(|entry| opaque(entry, names)),
        _ => {}
    }
}

fn dtype(dtype: pytorch_reader::DType) -> DType {
    use pytorch_reader::DType as Torch;
    match dtype {
        Torch::F64 => DType::F64,
        Torch::F32 => DType::F32,
        Torch::F16 => DType::F16,
        Torch::BF16 => DType::BF16,
        Torch::I64 => DType::I64,
        Torch::I32 => DType::I32,
        Torch::I16 => DType::I16,
        Torch::I8 => DType::I8,
        Torch::U64 => DType::U64,
        Torch::U32 => DType::U32,
        Torch::U16 => DType::U16,
        Torch::U8 => DType::U8,
        Torch::Bool => DType::Bool,
    }
}
