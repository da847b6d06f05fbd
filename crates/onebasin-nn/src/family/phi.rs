//! Phi (1, 1.5 and 2): attention and feed-forward beside each other behind one LayerNorm, rotary positions of a part of the units, biases
//! everywhere.

use onebasin_core::graph::Graph;
use onebasin_core::graph::op::Op;
use serde_json::json;

use super::blocks::{Attention, Build, Heads, Span};
use super::config::{Config, wrong};
use super::rope::MOST_UNITS;
use crate::error::Result;

pub(super) fn build(config: &Config, span: Span) -> Result<Graph> {
    config.only("qk_layernorm", &json!(false))?;
    let config = config.clone().or("partial_rotary_factor", json!(0.5));
    let (width, vocabulary) = (config.size("hidden_size")?, config.size("vocab_size")?);
    let (layers, inner) = (config.layers("num_hidden_layers")?, config.size("intermediate_size")?);
    let (queries, epsilon) = (config.size("num_attention_heads")?, config.number_or("layer_norm_eps", 1e-5)?);
    let keys = config.size_or("num_key_value_heads", queries)?;
    let units = config.size_or("head_dim", width / queries)?;
    if !queries.is_multiple_of(keys) || !(1..=MOST_UNITS).contains(&units) {
        return Err(wrong(&format!("{queries} heads of queries, {keys} of keys, of {units} units each, do not fit")));
    }
    let rotary = config.rotary(units, None, span)?;
    let function = config.activation("hidden_act", "gelu_new")?;
    let has_head = config.has_head()?;
    let root = if has_head { "model." } else { "" };
    let (mut build, tokens) = Build::new(span, config.size_or("max_position_embeddings", usize::MAX)?)?;
    let mut stream = build.embedding(&format!("{root}embed_tokens"), tokens, vocabulary, width)?;
    for layer in 0..layers {
        let block = format!("{root}layers.{layer}");
        let name = |part: &str| format!("{block}.{part}");
        let x = build.norm(&name("input_layernorm"), stream, epsilon, true)?;
        let mut of = |part: &str, heads: usize| {
            let own = name(&format!("self_attn.{part}"));
            let projected = build.linear(&format!("{own}_proj"), x, heads * units, true)?;
            let split = build.split(&own, projected, heads)?;
            if part == "v" { Ok(split) } else { build.rotate(&format!("{own}_rotary"), split, &rotary) }
        };
        let parts = [of("q", queries)?, of("k", keys)?, of("v", keys)?];
        let mixed = build.attend(&name("self_attn"), parts, Attention::causal(Heads { queries, keys, units }))?;
        let attended = build.linear(&name("self_attn.dense"), mixed, width, true)?;
        let hidden = build.linear(&name("mlp.fc1"), x, inner, true)?;
        let hidden = build.unary(&name("mlp.act"), function, hidden)?;
        let fed = build.linear(&name("mlp.fc2"), hidden, width, true)?;
        stream = build.add(&name("attended"), stream, attended)?;
        stream = build.add(&name("fed"), stream, fed)?;
    }
    let mut output = build.norm(&format!("{root}final_layernorm"), stream, epsilon, true)?;
    if has_head {
        output = if config.flag_or("tie_word_embeddings", false)? {
            let table = build.graph.param("model.embed_tokens.weight", &[vocabulary, width])?;
            let bias = build.graph.param("lm_head.bias", &[vocabulary])?;
            build.graph.push("lm_head", Op::Linear, &[output, table, bias])?
        } else {
            build.linear("lm_head", output, vocabulary, true)?
        };
    }
    Ok(build.done(output))
}
