//! What lies beside a network in its folder and belongs to it: configuration, tokenizer, licence.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};

/// The file that says what network a folder of Hugging Face holds.
pub(crate) const CONFIG: &str = "config.json";
/// What a folder tells of itself to people.
pub(crate) const CARD: &str = "README.md";

/// Files that libraries read beside the weights.
const NAMES: [&str; 20] = [
    CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "LICENSE",
    "LICENSE.md",
    "LICENSE.txt",
    "NOTICE",
];
/// Beginnings of names of modules that a model brings itself.
const CODE: [&str; 3] = ["modeling_", "configuration_", "tokenization_"];
/// A file larger than this is none of them.
const LARGEST: u64 = 256 << 20;

/// Whether a file of this name goes along with a network, or is written beside one.
pub(crate) fn is_companion(name: &str) -> bool {
    let is_code =
        Path::new(name).extension().is_some_and(|e| e == "py") && CODE.iter().any(|start| name.starts_with(start));
    NAMES.contains(&name) || is_code || name == CARD
}

/// The files of a folder that go along with its network, by name; none where the folder has no configuration.
pub(crate) fn companions(folder: &Path) -> Vec<String> {
    if !folder.join(CONFIG).is_file() {
        return Vec::new();
    }
    let small =
        |name: &str| std::fs::metadata(folder.join(name)).is_ok_and(|found| found.is_file() && found.len() <= LARGEST);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<String> = names.filter(|name| name != CARD && is_companion(name) && small(name)).collect();
    found.sort();
    found
}

/// What a companion is written as: as it is, but that a configuration names the element type of the weights beside it, and says so
/// where the head is no longer the embedding.
pub(crate) fn written(path: &Path, dtype: Option<&str>, untied: bool) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, "read", e))?;
    if !path.ends_with(CONFIG) {
        return Ok(bytes);
    }
    let Ok(Value::Object(mut config)) = serde_json::from_slice(&bytes) else { return Ok(bytes) };
    let mut changed = untied;
    if untied {
        let was_tied = config.insert("tie_word_embeddings".to_owned(), false.into());
        // A T5 that is silent on it divides what its head reads where that is the embedding.
        if config.get("model_type").is_some_and(|kind| kind == "t5") {
            let was_tied = was_tied.and_then(|said| said.as_bool()).unwrap_or(true);
            config.entry("scale_decoder_outputs").or_insert(was_tied.into());
        }
    }
    for key in ["torch_dtype", "dtype"] {
        let (Some(dtype), Some(said)) = (dtype, config.get_mut(key)) else { continue };
        if said.as_str().is_some_and(|said| said != dtype) {
            *said = dtype.into();
            changed = true;
        }
    }
    Ok(if changed { format!("{:#}\n", Value::Object(config)).into_bytes() } else { bytes })
}

/// What a folder tells of how its network came to be.
pub(crate) fn card(provenance: &str) -> String {
    let made: Value = serde_json::from_str(provenance).unwrap_or_default();
    let verb = made["verb"].as_str().unwrap_or("merge");
    let row = |input: &Value| {
        let of = |key: &str| input[key].as_str().unwrap_or_default().replace('|', "\\|");
        format!("| {} | {} | `{}` |\n", of("role"), of("name"), of("sha256"))
    };
    let rows: Vec<String> = made["inputs"].as_array().into_iter().flatten().map(row).collect();
    format!(
        "---\nlibrary_name: transformers\ntags:\n- merge\n- onebasin\n---\n# A merged network\n\nMade by onebasin (`{verb}`) \
         from\n\n| | file | SHA-256 |\n|---|---|---|\n{}\nHow, as the program recorded it (it stands in the header of the weights \
         too):\n\n```json\n{made:#}\n```\n",
        rows.concat()
    )
}

/// The companions of a network in a folder that another folder has not, or with other bytes.
///
/// # Errors
/// If one cannot be read.
pub fn differing_companions(one: &Path, other: &Path) -> Result<Vec<String>> {
    let read = |path: PathBuf| {
        if path.exists() { std::fs::read(&path).map(Some).map_err(|e| Error::io(&path, "read", e)) } else { Ok(None) }
    };
    let mut differ = Vec::new();
    for name in companions(one) {
        if read(one.join(&name))? != read(other.join(&name))? {
            differ.push(name);
        }
    }
    Ok(differ)
}
