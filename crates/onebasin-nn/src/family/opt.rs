//! OPT: LayerNorms before attention and feed-forward or behind them, learned positions, a tied head.

use onebasin_core::graph::Graph;
use onebasin_core::graph::op::Op;
use serde_json::json;

use super::blocks::{Attention, Build, Heads, Span};
use super::config::{Config, wrong};
use crate::error::Result;

/// Rows of the table of positions before that of the first.
const BEFORE: usize = 2;
/// Its norms have no other.
const EPSILON: f64 = 1e-5;

pub(super) fn build(config: &Config, span: Span) -> Result<Graph> {
    let (width, vocabulary) = (config.size("hidden_size")?, config.size("vocab_size")?);
    config.only("word_embed_proj_dim", &json!(width))?;
    config.only("layer_norm_elementwise_affine", &json!(true))?;
    let (layers, inner) = (config.layers("num_hidden_layers")?, config.size("ffn_dim")?);
    let (heads, positions) = (config.size("num_attention_heads")?, config.size("max_position_embeddings")?);
    if !width.is_multiple_of(heads) {
        return Err(wrong(&format!("hidden_size is {width}, which {heads} heads do not share evenly")));
    }
    let sizes = Heads { queries: heads, keys: heads, units: width / heads };
    let function = config.activation("activation_function", "relu")?;
    let (bias, before) = (config.flag_or("enable_bias", true)?, config.flag_or("do_layer_norm_before", true)?);
    let has_head = config.has_head()?;
    let root = if has_head { "model.decoder" } else { "decoder" };
    let (mut build, tokens) = Build::new(span, positions)?;
    let words = build.embedding(&format!("{root}.embed_tokens"), tokens, vocabulary, width)?;
    let places = build.positions_from(&format!("{root}.embed_positions"), BEFORE, positions + BEFORE, width)?;
    let mut stream = build.add(&format!("{root}.embedded"), words, places)?;
    for layer in 0..layers {
        let block = format!("{root}.layers.{layer}");
        let name = |part: &str| format!("{block}.{part}");
        let norm = |build: &mut Build, part: &str, x, here: bool| {
            if here { build.norm(&name(part), x, EPSILON, true) } else { Ok(x) }
        };
        let x = norm(&mut build, "self_attn_layer_norm", stream, before)?;
        let mut of = |part: &str| {
            let projected = build.linear(&name(&format!("self_attn.{part}_proj")), x, width, bias)?;
            build.split(&name(&format!("self_attn.{part}")), projected, heads)
        };
        let parts = [of("q")?, of("k")?, of("v")?];
        let mixed = build.attend(&name("self_attn"), parts, Attention::causal(sizes))?;
        let attended = build.linear(&name("self_attn.out_proj"), mixed, width, bias)?;
        stream = build.add(&name("attended"), stream, attended)?;
        stream = norm(&mut build, "self_attn_layer_norm", stream, !before)?;
        let x = norm(&mut build, "final_layer_norm", stream, before)?;
        let hidden = build.linear(&name("fc1"), x, inner, bias)?;
        let hidden = build.unary(&name("act"), function, hidden)?;
        let fed = build.linear(&name("fc2"), hidden, width, bias)?;
        stream = build.add(&name("fed"), stream, fed)?;
        stream = norm(&mut build, "final_layer_norm", stream, !before)?;
    }
    if before && !config.flag_or("_remove_final_layer_norm", false)? {
        stream = build.norm(&format!("{root}.final_layer_norm"), stream, EPSILON, true)?;
    }
    if has_head {
        stream = if config.flag_or("tie_word_embeddings", true)? {
            let table = build.graph.param(&format!("{root}.embed_tokens.weight"), &[vocabulary, width])?;
            build.graph.push("lm_head", Op::Linear, &[stream, table])?
        } else {
            build.linear("lm_head", stream, vocabulary, false)?
        };
    }
    Ok(build.done(stream))
}
