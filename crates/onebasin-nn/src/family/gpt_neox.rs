//! GPT-NeoX (Pythia): LayerNorms, rotary positions of a part of the units, attention and feed-forward beside each other, queries, keys
//! and values of every head in one layer.

use onebasin_core::graph::Graph;
use onebasin_core::graph::op::Op;
use serde_json::json;

use super::blocks::{Attention, Build, Heads, Span};
use super::config::{Config, wrong};
use super::rope::MOST_UNITS;
use crate::error::Result;

pub(super) fn build(config: &Config, span: Span) -> Result<Graph> {
    let config = with_defaults(config);
    let (width, vocabulary) = (config.size("hidden_size")?, config.size("vocab_size")?);
    let (layers, inner) = (config.layers("num_hidden_layers")?, config.size("intermediate_size")?);
    let (heads, epsilon) = (config.size("num_attention_heads")?, config.number_or("layer_norm_eps", 1e-5)?);
    if !width.is_multiple_of(heads) || width / heads > MOST_UNITS {
        return Err(wrong(&format!("hidden_size is {width}, which {heads} heads do not share")));
    }
    let sizes = Heads { queries: heads, keys: heads, units: width / heads };
    let rotary = config.rotary(sizes.units, None, span)?;
    let function = config.activation("hidden_act", "gelu")?;
    let (bias, beside) = (config.flag_or("attention_bias", true)?, config.flag_or("use_parallel_residual", true)?);
    let has_head = config.has_head()?;
    let root = if has_head { "gpt_neox." } else { "" };
    let (mut build, tokens) = Build::new(span, config.size_or("max_position_embeddings", usize::MAX)?)?;
    let mut stream = build.embedding(&format!("{root}embed_in"), tokens, vocabulary, width)?;
    for layer in 0..layers {
        let block = format!("{root}layers.{layer}");
        let name = |part: &str| format!("{block}.{part}");
        let x = build.norm(&name("input_layernorm"), stream, epsilon, true)?;
        let all = build.linear(&name("attention.query_key_value"), x, 3 * width, bias)?;
        let [q, k, v] = build.split_of_heads(&name("attention"), all, sizes)?;
        let q = build.rotate(&name("attention.q_rotary"), q, &rotary)?;
        let k = build.rotate(&name("attention.k_rotary"), k, &rotary)?;
        let mixed = build.attend(&name("attention"), [q, k, v], Attention::causal(sizes))?;
        let attended = build.linear(&name("attention.dense"), mixed, width, bias)?;
        let behind = build.add(&name("attended"), stream, attended)?;
        let x = if beside { stream } else { behind };
        let x = build.norm(&name("post_attention_layernorm"), x, epsilon, true)?;
        let hidden = build.linear(&name("mlp.dense_h_to_4h"), x, inner, true)?;
        let hidden = build.unary(&name("mlp.act"), function, hidden)?;
        let fed = build.linear(&name("mlp.dense_4h_to_h"), hidden, width, true)?;
        stream = build.add(&name("fed"), behind, fed)?;
    }
    let mut output = build.norm(&format!("{root}final_layer_norm"), stream, epsilon, true)?;
    if has_head {
        output = if config.flag_or("tie_word_embeddings", false)? {
            let table = build.graph.param("gpt_neox.embed_in.weight", &[vocabulary, width])?;
            build.graph.push("embed_out", Op::Linear, &[output, table])?
        } else {
            build.linear("embed_out", output, vocabulary, false)?
        };
    }
    Ok(build.done(output))
}

/// What it calls its own way, and what it may leave out.
fn with_defaults(config: &Config) -> Config {
    let named = |config: Config, from: &str, to: &str| match config.get(from).cloned() {
        Some(value) => config.or(to, value),
        None => config,
    };
    let config = named(config.clone(), "rotary_emb_base", "rope_theta");
    named(config, "rotary_pct", "partial_rotary_factor").or("partial_rotary_factor", json!(0.25))
}
