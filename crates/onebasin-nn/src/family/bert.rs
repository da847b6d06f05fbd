//! BERT and its kin (RoBERTa, DistilBERT): they read a text whole, with LayerNorms on the stream, behind attention and feed-forward.

use onebasin_core::graph::Graph;
use onebasin_core::graph::op::Unary;
use serde_json::json;

use super::blocks::{Build, Span};
use super::config::Config;
use super::encoder::{Attends, Feeds, Function, Layer, Norms, attention_to_all};
use crate::error::Result;

const ATTENDS: Attends = Attends {
    of: "attention",
    projections: ["self.query", "self.key", "self.value", "output.dense"],
    norm: "attention.output.LayerNorm",
};
const FEEDS: Feeds = Feeds { inner: "intermediate.dense", outer: "output.dense", norm: "output.LayerNorm" };

/// Attention masks are all 1 and token types all 0; texts of RoBERTa have no padding, which would move their positions.
pub(super) fn build(config: &Config, length: usize) -> Result<Graph> {
    config.only("position_embedding_type", &json!("absolute"))?;
    config.only("is_decoder", &json!(false))?;
    config.only("add_cross_attention", &json!(false))?;
    config.only("pruned_heads", &json!({}))?;
    let kind = config.text("model_type")?;
    let is_roberta = kind == "roberta";
    let [bare, fills, classifies] = if is_roberta {
        ["RobertaModel", "RobertaForMaskedLM", "RobertaForSequenceClassification"]
    } else {
        ["BertModel", "BertForMaskedLM", "BertForSequenceClassification"]
    };
    let architecture = config.architecture(&[bare, fills, classifies])?;
    let root = if architecture == bare { String::new() } else { format!("{kind}.") };
    let (width, vocabulary) = (config.size("hidden_size")?, config.size("vocab_size")?);
    let (rows, epsilon) = (config.size("max_position_embeddings")?, config.number_or("layer_norm_eps", 1e-12)?);
    let function = Function::named(config, "hidden_act", "gelu")?;
    let first = if is_roberta { config.count_or("pad_token_id", 1)? + 1 } else { 0 };
    let layer = Layer {
        attention: attention_to_all(width, config.size("num_attention_heads")?)?,
        inner: config.size("intermediate_size")?,
        function,
        epsilon,
        norms: Norms::Behind,
        centred: true,
        biases: [true; 4],
    };
    let (mut build, tokens) = Build::new(Span { past: None, length }, rows.saturating_sub(first))?;
    let embeddings = format!("{root}embeddings");
    let name = |part: &str| format!("{embeddings}.{part}");
    let words = build.embedding(&name("word_embeddings"), tokens, vocabulary, width)?;
    let types =
        build.run_of_rows(&name("token_type_embeddings"), config.size_or("type_vocab_size", 2)?, width, 0, 1)?;
    let typed = build.add(&name("typed"), words, types)?;
    let places = build.run_of_rows(&name("position_embeddings"), rows, width, first, length)?;
    let sum = build.add(&name("sum"), typed, places)?;
    let mut stream = build.norm(&name("LayerNorm"), sum, epsilon, true)?;
    for at in 0..config.layers("num_hidden_layers")? {
        stream = build.block(&format!("{root}encoder.layer.{at}"), (ATTENDS, FEEDS), &layer, stream)?;
    }
    let tanh = Function::plain(Unary::Tanh);
    if architecture == bare {
        let pooled = build.pooled("pooler.dense", stream, width, tanh)?;
        return Ok(build.done_with(&[stream, pooled]));
    }
    if architecture == classifies {
        let (pooler, classifier) =
            if is_roberta { ("classifier.dense", "classifier.out_proj") } else { ("bert.pooler.dense", "classifier") };
        let pooled = build.pooled(pooler, stream, width, tanh)?;
        let output = build.linear(classifier, pooled, config.labels()?, true)?;
        return Ok(build.done(output));
    }
    config.only("tie_word_embeddings", &json!(true))?;
    let (dense, bends, norm, head, bias) = if is_roberta {
        ("lm_head.dense", Function::plain(Unary::Gelu), "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias")
    } else {
        let [dense, norm] = ["cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"];
        (dense, function, norm, "cls.predictions.decoder", "cls.predictions.bias")
    };
    let hidden = build.linear(dense, stream, width, true)?;
    let hidden = build.bent(&format!("{dense}.bent"), bends, hidden)?;
    let hidden = build.norm(norm, hidden, epsilon, true)?;
    let output = build.tied(head, hidden, &name("word_embeddings.weight"), bias, vocabulary)?;
    Ok(build.done(output))
}
