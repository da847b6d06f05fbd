//! DistilBERT: a BERT without token types and pooler, its tensors under names of their own.

use onebasin_core::graph::Graph;
use onebasin_core::graph::op::Unary;
use serde_json::json;

use super::blocks::{Build, Span};
use super::config::Config;
use super::encoder::{Attends, Feeds, Function, Layer, Norms, attention_to_all};
use crate::error::Result;

const ATTENDS: Attends =
    Attends { of: "attention", projections: ["q_lin", "k_lin", "v_lin", "out_lin"], norm: "sa_layer_norm" };
const FEEDS: Feeds = Feeds { inner: "ffn.lin1", outer: "ffn.lin2", norm: "output_layer_norm" };
const EPSILON: f64 = 1e-12;

/// Attention masks are all 1.
pub(super) fn build(config: &Config, length: usize) -> Result<Graph> {
    config.only("pruned_heads", &json!({}))?;
    let [bare, fills, classifies] = ["DistilBertModel", "DistilBertForMaskedLM", "DistilBertForSequenceClassification"];
    let architecture = config.architecture(&[bare, fills, classifies])?;
    let root = if architecture == bare { "" } else { "distilbert." };
    let (width, vocabulary) = (config.size("dim")?, config.size("vocab_size")?);
    let positions = config.size("max_position_embeddings")?;
    let function = Function::named(config, "activation", "gelu")?;
    let layer = Layer {
        attention: attention_to_all(width, config.size("n_heads")?)?,
        inner: config.size("hidden_dim")?,
        function,
        epsilon: EPSILON,
        norms: Norms::Behind,
        centred: true,
        biases: [true; 4],
    };
    let (mut build, tokens) = Build::new(Span { past: None, length }, positions)?;
    let words = build.embedding(&format!("{root}embeddings.word_embeddings"), tokens, vocabulary, width)?;
    let places = build.positions(&format!("{root}embeddings.position_embeddings"), positions, width)?;
    let sum = build.add(&format!("{root}embeddings.sum"), words, places)?;
    let mut stream = build.norm(&format!("{root}embeddings.LayerNorm"), sum, EPSILON, true)?;
    for at in 0..config.layers("n_layers")? {
        stream = build.block(&format!("{root}transformer.layer.{at}"), (ATTENDS, FEEDS), &layer, stream)?;
    }
    let output = if architecture == classifies {
        let pooled = build.pooled("pre_classifier", stream, width, Function::plain(Unary::Relu))?;
        build.linear("classifier", pooled, config.labels()?, true)?
    } else if architecture == fills {
        config.only("tie_word_embeddings", &json!(true))?;
        let hidden = build.linear("vocab_transform", stream, width, true)?;
        let hidden = build.bent("vocab_transform.bent", function, hidden)?;
        let hidden = build.norm("vocab_layer_norm", hidden, EPSILON, true)?;
        let table = format!("{root}embeddings.word_embeddings.weight");
        build.tied("vocab_projector", hidden, &table, "vocab_projector.bias", vocabulary)?
    } else {
        stream
    };
    Ok(build.done(output))
}
