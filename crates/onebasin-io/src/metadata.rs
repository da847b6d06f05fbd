//! The text entries of a checkpoint's header.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Error, Result};

/// Header entry that says how a file came to be, as JSON.
pub const PROVENANCE: &str = "onebasin.provenance";

/// Text entries by key, in order. Entries of other programs are kept; ours begin with `onebasin.` and hold JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(pub BTreeMap<String, String>);

impl Metadata {
    /// The text of an entry.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Sets the text of an entry.
    pub fn set(&mut self, key: &str, text: impl Into<String>) {
        self.0.insert(key.to_owned(), text.into());
    }

    /// An entry read as JSON.
    ///
    /// # Errors
    /// If the entry is there but is not such JSON.
    pub fn get_json<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let read =
            |text| serde_json::from_str(text).map_err(|e| Error::Metadata { key: key.to_owned(), why: e.to_string() });
        self.get(key).map(read).transpose()
    }

    /// Sets an entry to JSON.
    pub fn set_json(&mut self, key: &str, value: &Value) {
        self.set(key, value.to_string());
    }
}
