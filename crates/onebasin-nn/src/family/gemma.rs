//! Gemma (1, 2, and 3 for text): a llama whose gains are 1 more than their weights and whose embeddings are scaled by √width; later
//! ones have norms behind every part, layers that see a window, and bounds of scores and logits.

use onebasin_core::graph::Graph;
use serde_json::json;

use super::blocks::Span;
use super::config::Config;
use super::llama::{Gain, OfHeads, Place, Style, build};
use crate::error::Result;

/// What all of them have.
fn common(config: &Config, span: Span) -> Result<Style> {
    config.only("use_bidirectional_attention", &json!(false))?;
    let mut style = Style::of_whole_heads(config, span)?.biased(config)?;
    style.norms.gain = Gain::OneMore;
    style.embedding = Some((config.size("hidden_size")? as f64).sqrt());
    Ok(style)
}

/// What a config may leave out.
fn with_defaults(config: &Config) -> Config {
    config.clone().or("head_dim", json!(256)).or("tie_word_embeddings", json!(true))
}

pub(super) fn gemma(config: &Config, span: Span) -> Result<Graph> {
    let mut config = with_defaults(config).or("hidden_act", json!("gelu_pytorch_tanh"));
    // The first that were published say `gelu` and mean the other.
    if config.text("hidden_act")? == "gelu" {
        config = config.with("hidden_act", json!("gelu_pytorch_tanh"));
    }
    build(&config, span, &common(&config, span)?)
}

/// What the second and third have beside that.
fn later(config: &Config, span: Span, slides: impl Fn(usize) -> bool) -> Result<Style> {
    let mut style = common(config, span)?.of_kinds(config, slides)?;
    style.function = config.activation("hidden_activation", "gelu_pytorch_tanh")?;
    style.norms.place = Place::Both;
    style.attention.scale = 1.0 / config.positive_if_any("query_pre_attn_scalar")?.unwrap_or(256.0).sqrt();
    style.attention.cap = config.positive_if_any("attn_logit_softcapping")?;
    style.cap = config.positive_if_any("final_logit_softcapping")?;
    Ok(style)
}

pub(super) fn gemma2(config: &Config, span: Span) -> Result<Graph> {
    let config = with_defaults(config);
    build(&config, span, &later(&config, span, |layer| layer.is_multiple_of(2))?)
}

pub(super) fn gemma3(config: &Config, span: Span) -> Result<Graph> {
    let config = with_defaults(config);
    let every = config.size_or("sliding_window_pattern", 6)?;
    let slides = |layer: usize| !(layer + 1).is_multiple_of(every);
    let mut style = later(&config, span, slides)?;
    style.norms.of_heads = OfHeads::Each;
    let units = style.attention.heads.units;
    let near = config
        .clone()
        .without("rope_scaling")
        .with("rope_theta", config.get("rope_local_base_freq").cloned().unwrap_or(json!(1e4)));
    let far = config.clone().or("rope_theta", json!(1e6));
    let near = near.rotary(units, Some("sliding_attention"), span)?.of_all(units)?;
    let far = far.rotary(units, Some("full_attention"), span)?.of_all(units)?;
    let kinds = config.layer_kinds(style.layers.len(), slides)?;
    for (layer, slides) in style.layers.iter_mut().zip(kinds) {
        layer.rotary = if slides { near.clone() } else { far.clone() };
    }
    build(&config, span, &style)
}
