//! What a `config.json` says.

use onebasin_core::graph::op::Unary;
use serde_json::{Map, Value};

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

    /// The same with another entry.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.to_owned(), value);
        self
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

    /// A whole number, or another where it is missing or null.
    pub(super) fn whole_or(&self, key: &str, other: usize) -> Result<usize> {
        if self.get(key).is_some_and(|value| value.as_u64() == Some(0)) { Ok(0) } else { self.size_or(key, other) }
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

    /// How many positions attention sees, where that is bounded.
    pub(super) fn window(&self) -> Result<Option<usize>> {
        let slides = self.flag_or("use_sliding_window", true)? && self.get("sliding_window").is_some();
        slides.then(|| self.size("sliding_window")).transpose()
    }

    /// θ of rotary positions, and what else is done to their frequencies, which must be nothing.
    pub(super) fn rotary(&self) -> Result<f64> {
        let parameters = self.get("rope_parameters").and_then(Value::as_object);
        let part = parameters.and_then(|of| of.get("partial_rotary_factor")).and_then(Value::as_f64);
        if part.map_or_else(|| self.number_or("partial_rotary_factor", 1.0), Ok)? < 1.0 {
            return Err(wrong("only a part of its units has rotary positions, which is not built"));
        }
        for of in [self.get("rope_scaling").and_then(Value::as_object), parameters].into_iter().flatten() {
            let kind = of.get("rope_type").or_else(|| of.get("type")).and_then(Value::as_str).unwrap_or("default");
            if kind != "default" {
                return Err(wrong(&format!("its rotary positions are of type `{kind}`, which is not known here")));
            }
        }
        match parameters.and_then(|of| of.get("rope_theta")).and_then(Value::as_f64) {
            Some(theta) => Ok(theta),
            None => self.number_or("rope_theta", 10_000.0),
        }
    }

    /// An entry; none where it is null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn unfit(&self, key: &str, expected: &str) -> Error {
        let found = self.get(key).map_or_else(|| "nothing".to_owned(), |value| format!("`{value}`"));
        wrong(&format!("{key} should be {expected}, found {found}"))
    }
}

pub(super) fn wrong(why: &str) -> Error {
    Error::Family { why: why.to_owned() }
}
