//! Llama and its kin (Mistral, Qwen 2 and 3): RMSNorms, rotary positions, grouped heads, gated feed-forward.

use onebasin_core::graph::Graph;
use onebasin_core::graph::op::Op;

use super::blocks::{Attention, Build, Heads, Sees, Span};
use super::config::{Config, wrong};
use crate::error::Result;

/// Units of a head at most: rotary positions have a table of them.
const MOST_UNITS: usize = 1 << 12;

pub(super) fn build(config: &Config, span: Span) -> Result<Graph> {
    let kind = config.text("model_type")?;
    let (width, vocabulary) = (config.size("hidden_size")?, config.size("vocab_size")?);
    let (layers, inner) = (config.layers("num_hidden_layers")?, config.size("intermediate_size")?);
    let queries = config.size("num_attention_heads")?;
    let keys = config.size_or("num_key_value_heads", queries)?;
    let units = config.size_or("head_dim", width / queries)?;
    if !queries.is_multiple_of(keys) || !units.is_multiple_of(2) || units > MOST_UNITS {
        return Err(wrong(&format!("{queries} heads of queries, {keys} of keys, of {units} units each, do not fit")));
    }
    let sizes = Heads { queries, keys, units };
    let (epsilon, theta) = (config.number_or("rms_norm_eps", 1e-6)?, config.rotary()?);
    let sees = config.window()?.map_or(Sees::Before, Sees::Window);
    let function = config.activation("hidden_act", "silu")?;
    let bias = kind == "qwen2" || config.flag_or("attention_bias", false)?;
    let out_bias = kind != "qwen2" && bias;
    let inner_bias = config.flag_or("mlp_bias", false)?;
    let has_head = config.has_head()?;
    let root = if has_head { "model." } else { "" };
    let (mut build, tokens) = Build::new(span, config.size_or("max_position_embeddings", usize::MAX)?)?;
    let mut stream = build.embedding(&format!("{root}embed_tokens"), tokens, vocabulary, width)?;
    for layer in 0..layers {
        let block = format!("{root}layers.{layer}");
        let name = |part: &str| format!("{block}.{part}");
        let x = build.norm(&name("input_layernorm"), stream, epsilon, false)?;
        let mut of = |part: &str, heads: usize| {
            let projected = build.linear(&name(&format!("self_attn.{part}_proj")), x, heads * units, bias)?;
            let mut split = build.split(&name(&format!("self_attn.{part}")), projected, heads)?;
            if kind == "qwen3" && part != "v" {
                split = build.norm(&name(&format!("self_attn.{part}_norm")), split, epsilon, false)?;
            }
            if part == "v" { Ok(split) } else { build.rotate(&name(&format!("self_attn.{part}_rotary")), split, theta) }
        };
        let parts = [of("q", queries)?, of("k", keys)?, of("v", keys)?];
        let mixed = build.attend(&name("self_attn"), parts, Attention { sees, ..Attention::causal(sizes) })?;
        let attended = build.linear(&name("self_attn.o_proj"), mixed, width, out_bias)?;
        stream = build.add(&name("attended"), stream, attended)?;
        let x = build.norm(&name("post_attention_layernorm"), stream, epsilon, false)?;
        let gate = build.linear(&name("mlp.gate_proj"), x, inner, inner_bias)?;
        let gate = build.unary(&name("mlp.act_fn"), function, gate)?;
        let up = build.linear(&name("mlp.up_proj"), x, inner, inner_bias)?;
        let gated = build.multiply(&name("mlp.gated"), gate, up)?;
        let fed = build.linear(&name("mlp.down_proj"), gated, width, inner_bias)?;
        stream = build.add(&name("fed"), stream, fed)?;
    }
    let mut output = build.norm(&format!("{root}norm"), stream, epsilon, false)?;
    if has_head {
        output = if config.flag_or("tie_word_embeddings", false)? {
            let table = build.graph.param("model.embed_tokens.weight", &[vocabulary, width])?;
            build.graph.push("lm_head", Op::Linear, &[output, table])?
        } else {
            build.linear("lm_head", output, vocabulary, false)?
        };
    }
    Ok(build.done(output))
}
