//! A transformer that the `config.json` beside it names: its graph, and what its file may hold that configurations do not tell.

use std::collections::BTreeSet;

use onebasin_core::Tensor;
use onebasin_core::graph::Graph;
use onebasin_nn::family::{Config, LENGTH, families, family};
use serde_json::Value;

use super::{Model, Remade};
use crate::blueprint::Blueprint;
use crate::error::{Error, Result};

/// How files call a head that may be the embedding.
const HEADS: [&str; 5] = [
    "lm_head.weight",
    "embed_out.weight",
    "cls.predictions.decoder.weight",
    "lm_head.decoder.weight",
    "vocab_projector.weight",
];

/// Entries of configurations that change nothing in what is computed or answered.
const IDLE: [&str; 14] = [
    "_name_or_path",
    "name_or_path",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "use_cache",
    "initializer_range",
    "initializer_factor",
    "tie_word_embeddings",
    "vocab_size",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "gradient_checkpointing",
];

/// Entries that act on positions beyond those that a graph is built for, and mean something where they are absent too.
const FAR: [&str; 6] =
    ["sliding_window", "use_sliding_window", "max_window_layers", "layer_types", "rope_scaling", "rope_parameters"];

impl Model {
    /// The same as a network of a family of transformers, if its configuration names one that is known; else it is said.
    ///
    /// It is built for as many tokens as an input shape asks for, by its last axis, or for 64, or as few as it has positions.
    pub(super) fn of_family(mut self, config: &str, blueprint: &Blueprint) -> Result<Self> {
        let config = Config::parse(config.trim_start_matches('\u{feff}'))?;
        let Ok(kind) = config.text("model_type").map(str::to_owned) else { return Ok(self) };
        if !families().any(|known| known == kind) {
            let known = families().collect::<Vec<_>>().join(", ");
            self.remarks.push(format!(
                "its config.json says that it is a `{kind}`, of which the graph is not known here (known: {known}); an ONNX export \
                 of it or a symmetry file says what may be exchanged"
            ));
            return Ok(self);
        }
        let asked = blueprint.input_shapes.get("input_ids").and_then(|shape| shape.last()).copied();
        let length = asked.unwrap_or_else(|| LENGTH.min(config.positions()));
        let graph = family(&config, length)?;
        self.remarks.push(format!("its config.json says that it is a `{kind}`"));
        self.say_what_goes_along(&config);
        let (config, graph, untied) = self.with_own_head(config, graph, length)?;
        let named_as = |name: &str| self.old_name(name);
        let renamed = graph.with_param_names(named_as)?;
        let names: Vec<(String, String)> =
            graph.params().map(|param| (param.name.clone(), self.old_name(&param.name))).collect();
        let mut model = self.fitted(&renamed, blueprint.prefix.as_deref())?;
        model.naming = model.naming.after(names.into_iter());
        model.drop_copies();
        if untied {
            model.remade = Some(Remade { dtype: None, untied: true });
        }
        Ok(Self { family: Some(config), ..model })
    }

    /// Remarks on what lies in the folder and is not looked at.
    fn say_what_goes_along(&mut self, config: &Config) {
        if config.entries().get("quantization_config").is_some_and(|entry| !entry.is_null()) {
            self.remarks.push(
                "its config.json has a `quantization_config`, of which nothing is looked at: weights are taken as they stand"
                    .to_owned(),
            );
        }
        if self.path().join("adapter_config.json").is_file() {
            self.remarks.push(
                "an adapter lies beside it (adapter_config.json), and is not part of what is read: merge it into the weights first"
                    .to_owned(),
            );
        }
    }

    /// The configuration and graph of a network whose head is its embedding as the configuration says, unless its file holds another.
    ///
    /// # Errors
    /// [`onebasin_nn::Error::Family`] if the file does, and the family is not built with a head of its own.
    fn with_own_head(&mut self, config: Config, graph: Graph, length: usize) -> Result<(Config, Graph, bool)> {
        let all = self.all();
        let is_param = |name: &str| graph.params().any(|param| param.name == name);
        let held = |(name, tensor): &(&str, &Tensor)| {
            HEADS.iter().any(|head| name == head || name.ends_with(&format!(".{head}")))
                && !is_param(name)
                && !all.iter().any(|(other, own)| other != *name && own.same_bits(tensor))
        };
        let Some((name, _)) = all.iter().find(held) else { return Ok((config, graph, false)) };
        let own = config.clone().untied();
        match family(&own, length) {
            Ok(untied) if untied.params().any(|param| name.ends_with(&param.name) && !is_param(&param.name)) => {
                self.remarks.push(format!(
                    "its config.json says that its head is its embedding, and its file holds `{name}`, which is another: that one \
                     is its head"
                ));
                Ok((own, untied, true))
            }
            // A network without a head has no use for it, as is said where tensors are settled.
            Ok(_) => Ok((config, graph, false)),
            Err(_) => {
                let why = format!("`{name}` of its file is not its embedding, and a head of its own is not built");
                Err(onebasin_nn::Error::Family { why }.into())
            }
        }
    }

    /// What a tensor is called in files of before norms had weights and biases: `LayerNorm.gamma`, `LayerNorm.beta`.
    fn old_name(&self, name: &str) -> String {
        let has = |old: &str| self.params().names().any(|own| own.ends_with(old));
        for (new, old) in [("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")] {
            if let Some(stem) = name.strip_suffix(new)
                && has(old)
            {
                return format!("{stem}{old}");
            }
        }
        name.to_owned()
    }

    /// Leaves out tables that are stored twice, under a name of their own: libraries make them of the first again.
    fn drop_copies(&mut self) {
        let twice = |(name, tensor): &(&str, &Tensor)| {
            tensor.shape().len() == 2
                && tensor.dtype().is_float()
                && !self.rules.ignores(name)
                && (HEADS.iter().any(|head| name.ends_with(head)) || name.ends_with("embed_tokens.weight"))
                && self.params().iter().any(|(_, own)| own.same_bits(tensor))
        };
        let copies: BTreeSet<String> = self.rest.iter().filter(twice).map(|(name, _)| name.to_owned()).collect();
        if copies.is_empty() {
            return;
        }
        let names: Vec<String> = copies.iter().map(|name| format!("`{name}`")).collect();
        self.remarks.push(format!(
            "stored twice, and left out of results, where libraries make them again: {}",
            names.join(", ")
        ));
        self.leave_out(&copies);
    }

    /// What the user should know of a result whose hidden states are others than A's, where such networks are used for them.
    pub(crate) fn hidden_states_are_used(&self) -> Option<&'static str> {
        let kind = self.family.as_ref()?.text("model_type").ok()?;
        kind.starts_with("clip").then_some(
            "what the result answers (logits, projections) is a mix of both networks; its hidden states, and the space that its \
             embeddings share, need not be A's: what was made for A's (a diffusion model, stored embeddings) may not go with it",
        )
    }

    /// In what the configurations of two known transformers differ that their graphs do not tell, in words.
    ///
    /// # Errors
    /// [`Error::Labels`] if both have the same classes in another order.
    pub(crate) fn configured_unlike(&self, other: &Self) -> Result<Option<String>> {
        let (Some(a), Some(b)) = (&self.family, &other.family) else { return Ok(None) };
        let (a, b) = (a.entries(), b.entries());
        if let (Some(Value::Object(one)), Some(Value::Object(two))) = (a.get("id2label"), b.get("id2label"))
            && one != two
        {
            let sorted = |labels: &serde_json::Map<String, Value>| {
                let mut labels: Vec<String> = labels.values().map(Value::to_string).collect();
                labels.sort();
                labels
            };
            if sorted(one) == sorted(two) {
                let (a, b) = (self.path().to_owned(), other.path().to_owned());
                return Err(Error::Labels { a, b, labels: sorted(one).join(", ") });
            }
        }
        let is_idle = |key: &str| {
            IDLE.contains(&key) || key.contains("drop") || key.ends_with("_token_id") || key == "architectures"
        };
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).filter(|key| !is_idle(key)).collect();
        let of = |entry: Option<&Value>| entry.map_or("none".to_owned(), shown);
        let set = |entry: Option<&'_ Value>| entry.filter(|entry| !entry.is_null()).cloned();
        let differs = |key: &&&String| {
            let (one, two) = (a.get(**key), b.get(**key));
            (FAR.contains(&key.as_str()) || one.is_some() && two.is_some()) && set(one) != set(two)
        };
        let said: Vec<String> = keys
            .iter()
            .filter(differs)
            .map(|key| format!("`{key}` ({}, {})", of(set(a.get(*key)).as_ref()), of(set(b.get(*key)).as_ref())))
            .collect();
        let text = || {
            format!(
                "config.json of A and of {} differ in {}: the result has A's, and what B does by its own is not in it",
                other.path().display(),
                said.join(", ")
            )
        };
        Ok((!said.is_empty()).then(text))
    }
}

/// An entry, cut where it is long.
fn shown(entry: &Value) -> String {
    const LONGEST: usize = 60;
    let text = entry.to_string();
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST).chain(['…']).collect() }
}
