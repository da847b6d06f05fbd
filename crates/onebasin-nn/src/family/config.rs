//! What a `config.json` says.

use onebasin_core::graph::op::Unary;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// The entries of a `config.json`.
///
/// ```
/// use onebasin_nn::family::Config;
/// let config = Config::parse(r#"{"model_type": "gpt2", "n_embd": 768}"#)?;
/// assert_eq!((config.text("model_type")?, config.size("n_embd")?), ("gpt2", 768));
/// assert!(config.size("n_head").unwrap_err().to_string().contains("n_head"));
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config(Map<String, Value>);

/// Numbers of units, layers, positions that are larger than this are an error, not a network.
const LARGEST: u64 = 1 << 24;
/// The same of layers, each of which is built.
const LAYERS: usize = 1 << 10;

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::Family`] if it is no JSON object.
    pub fn parse(text: &str) -> Result<Self> {
        match serde_json::from_str(text) {
            Ok(Value::Object(entries)) => Ok(Self(entries)),
            Ok(_) => Err(wrong("it is no object")),
            Err(error) => Err(wrong(&format!("it is no JSON: {error}"))),
        }
    }

    pub(super) fn empty() -> Self {
        Self(Map::new())
    }

    /// The same with another entry.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.to_owned(), value);
        self
    }

    /// The same of a network whose head is a tensor of its own, and which computes what it did when that was the embedding.
    #[must_use]
    pub fn untied(self) -> Self {
        // A T5 divides what its head reads by √d where that is the embedding, if nothing else is said.
        let is_t5 = self.text("model_type").is_ok_and(|kind| kind == "t5");
        let was_tied = self.flag_or("tie_word_embeddings", true).unwrap_or(true);
        let untied = self.with("tie_word_embeddings", json!(false));
        if is_t5 { untied.or("scale_decoder_outputs", json!(was_tied)) } else { untied }
    }

    /// All of it.
    pub fn entries(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The same with another entry where it has none, or null.
    pub(super) fn or(self, key: &str, value: Value) -> Self {
        if self.get(key).is_none() { self.with(key, value) } else { self }
    }

    pub(super) fn without(mut self, key: &str) -> Self {
        self.0.remove(key);
        self
    }

    /// An object within it; none where it is missing or null.
    pub(super) fn within(&self, key: &str) -> Result<Option<Self>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(entries)) => Ok(Some(Self(entries.clone()))),
            Some(_) => Err(self.unfit(key, "an object")),
        }
    }

    /// An entry that is a text.
    ///
    /// # Errors
    /// [`Error::Family`] if it is missing or none.
    pub fn text(&self, key: &str) -> Result<&str> {
        self.get(key).and_then(Value::as_str).ok_or_else(|| self.unfit(key, "a text"))
    }

    /// An entry that is a number above 0.
    ///
    /// # Errors
    /// [`Error::Family`] if it is missing, none, or absurdly large.
    pub fn size(&self, key: &str) -> Result<usize> {
        let found = self.get(key).and_then(Value::as_u64).filter(|size| (1..=LARGEST).contains(size));
        found.map(|size| size as usize).ok_or_else(|| self.unfit(key, "a whole number above 0"))
    }

    /// The number of layers.
    pub(super) fn layers(&self, key: &str) -> Result<usize> {
        match self.size(key)? {
            layers if layers <= LAYERS => Ok(layers),
            layers => Err(wrong(&format!("{key} is {layers}, and {LAYERS} are built at most"))),
        }
    }

    /// Positions that the network has; no bound is the largest number.
    pub fn positions(&self) -> usize {
        let of = |key: &str| self.size(key).ok();
        of("n_positions").or_else(|| of("max_position_embeddings")).unwrap_or(usize::MAX)
    }

    /// The same, or another number where it is missing or null.
    pub(super) fn size_or(&self, key: &str, other: usize) -> Result<usize> {
        if self.get(key).is_none() { Ok(other) } else { self.size(key) }
    }

    /// A number of things, of which there may be none.
    pub(super) fn count_or(&self, key: &str, other: usize) -> Result<usize> {
        let Some(value) = self.get(key) else { return Ok(other) };
        let found = value.as_u64().filter(|count| *count <= LARGEST);
        found.map(|count| count as usize).ok_or_else(|| self.unfit(key, "a whole number"))
    }

    /// Height and width, which one number may say.
    pub(super) fn pair(&self, key: &str) -> Result<[usize; 2]> {
        let size = |value: &Value| value.as_u64().filter(|size| (1..=LARGEST).contains(size)).map(|size| size as usize);
        let found = match self.get(key).and_then(Value::as_array).map(|sides| &sides[..]) {
            Some([high, wide]) => size(high).zip(size(wide)).map(|(high, wide)| [high, wide]),
            Some(_) => None,
            None => return self.size(key).map(|side| [side; 2]),
        };
        found.ok_or_else(|| self.unfit(key, "one or two whole numbers above 0"))
    }

    pub(super) fn text_or<'a>(&'a self, key: &str, other: &'a str) -> Result<&'a str> {
        if self.get(key).is_none() { Ok(other) } else { self.text(key) }
    }

    pub(super) fn is_there(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The entries of a part of the network.
    pub(super) fn part(&self, key: &str) -> Result<Self> {
        let found = self.get(key).and_then(Value::as_object).cloned();
        found.map(Self).ok_or_else(|| self.unfit(key, "an object"))
    }

    /// Classes that a network tells apart: two where nothing is said.
    pub(super) fn labels(&self) -> Result<usize> {
        match self.get("id2label") {
            None => self.size_or("num_labels", 2),
            Some(names) => match names.as_object().map(Map::len) {
                Some(labels) if labels > 0 => Ok(labels),
                Some(_) | None => Err(self.unfit("id2label", "names of classes")),
            },
        }
    }

    /// Its architecture, of those that are built; the first where none is named.
    pub(super) fn architecture<'a>(&self, built: &[&'a str]) -> Result<&'a str> {
        let named = self.get("architectures").and_then(|all| all.get(0)).and_then(Value::as_str).unwrap_or(built[0]);
        let found = built.iter().find(|own| **own == named).copied();
        found.ok_or_else(|| wrong(&format!("its architecture is {named}; built are {}", built.join(", "))))
    }

    pub(super) fn number_or(&self, key: &str, other: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(other),
            Some(value) => value.as_f64().ok_or_else(|| self.unfit(key, "a number")),
        }
    }

    /// A number above 0.
    pub(super) fn positive(&self, key: &str) -> Result<f64> {
        let found = self.get(key).and_then(Value::as_f64).filter(|number| *number > 0.0 && number.is_finite());
        found.ok_or_else(|| self.unfit(key, "a number above 0"))
    }

    /// The same; none where it is missing or null.
    pub(super) fn positive_if_any(&self, key: &str) -> Result<Option<f64>> {
        self.get(key).map(|_| self.positive(key)).transpose()
    }

    /// A list; none where it is missing or null.
    pub(super) fn list(&self, key: &str) -> Result<Option<&[Value]>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(all)) => Ok(Some(all)),
            Some(_) => Err(self.unfit(key, "a list")),
        }
    }

    pub(super) fn flag_or(&self, key: &str, other: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(other),
            Some(value) => value.as_bool().ok_or_else(|| self.unfit(key, "true or false")),
        }
    }

    /// Passes only if an entry that changes what is computed has the value that is built, or is missing.
    pub(super) fn only(&self, key: &str, built: &Value) -> Result<()> {
        match self.get(key) {
            Some(found) if found != built => Err(wrong(&format!("{key} is {found}, and only {built} is built"))),
            Some(_) | None => Ok(()),
        }
    }

    /// An element-wise function by the name that transformers has for it, `other` where none is named.
    pub(super) fn activation(&self, key: &str, other: &str) -> Result<Unary> {
        match if self.get(key).is_none() { other } else { self.text(key)? } {
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Unary::GeluTanh),
            "gelu" => Ok(Unary::Gelu),
            "relu" => Ok(Unary::Relu),
            "silu" | "swish" => Ok(Unary::Silu),
            "tanh" => Ok(Unary::Tanh),
            other => Err(wrong(&format!("{key} is `{other}`, a function that is not known here"))),
        }
    }

    /// Whether the network ends in logits over its tokens, which its architecture says.
    ///
    /// # Errors
    /// If it ends in something else.
    pub(super) fn has_head(&self) -> Result<bool> {
        let named =
            self.get("architectures").and_then(|all| all.get(0)).and_then(Value::as_str).unwrap_or("ForCausalLM");
        match named {
            name if name.ends_with("LMHeadModel") || name.ends_with("ForCausalLM") => Ok(true),
            name if name.ends_with("Model") => Ok(false),
            other => {
                Err(wrong(&format!("its architecture is {other}; built are language models, and those without a head")))
            }
        }
    }

    /// An entry; none where it is null.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn unfit(&self, key: &str, expected: &str) -> Error {
        let found = self.get(key).map_or_else(|| "nothing".to_owned(), |value| format!("`{value}`"));
        wrong(&format!("{key} should be {expected}, found {found}"))
    }
}

pub(super) fn wrong(why: &str) -> Error {
    Error::Family { why: why.to_owned() }
}

impl From<Config> for Value {
    fn from(config: Config) -> Self {
        Self::Object(config.0)
    }
}
