//! What was written, and how it came to be.

use std::path::PathBuf;

use onebasin_core::report::Input;
use serde_json::{Value, json};

use crate::account::Account;
use crate::solving::Solving;

/// What a step wrote: where, from what, and how.
///
/// ```
/// use onebasin::{Align, Context, Model, Network, Pair};
/// # let folder = tempfile::tempdir()?;
/// # let network = Network::new("mlp:16x2", &[8], 3)?;
/// # let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
/// let pair = Pair::new(a, b)?;
/// let aligned = pair.align(&Align::default(), &Context::default())?;
/// let written = aligned.write(folder.path().join("alignment.safetensors"), &pair)?;
/// assert!(written.output.is_file());
/// assert_eq!(written.options["method"], "auto");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The file, or the folder of shards.
    pub output: PathBuf,
    /// The files that went in, with their digests.
    pub inputs: Vec<Input>,
    /// What else decided the result, as the header of the file says it.
    pub options: Value,
    /// What became of every tensor.
    pub account: Option<Account>,
    /// How the network was solved, where it was.
    pub solved: Option<Solving>,
}

/// Option of a provenance that tells which accuracy the network has on the test samples of its data, from 0 to 1.
pub const ACCURACY: &str = "test_accuracy";

/// How a file came to be, for its header: the verb, its inputs, its options.
///
/// ```
/// let made = onebasin::provenance("merge", &[], &serde_json::json!({ "lambda": 0.5 }));
/// assert_eq!(made["program"], "onebasin");
/// assert_eq!(made["options"]["lambda"], 0.5);
/// ```
pub fn provenance(verb: &str, inputs: &[Input], options: &Value) -> Value {
    json!({ "program": "onebasin", "version": env!("CARGO_PKG_VERSION"), "verb": verb, "inputs": inputs, "options": options })
}
