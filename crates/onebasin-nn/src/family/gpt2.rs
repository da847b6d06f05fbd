//! GPT-2: LayerNorms before attention and feed-forward, learned positions, layers kept as `[in, out]`, a tied head.

use onebasin_core::graph::Graph;
use onebasin_core::graph::op::Op;
use serde_json::json;

use super::blocks::{Attention, Build, Heads, Span};
use super::config::{Config, wrong};
use crate::error::Result;

pub(super) fn build(config: &Config, span: Span) -> Result<Graph> {
    config.only("scale_attn_weights", &json!(true))?;
    config.only("scale_attn_by_inverse_layer_idx", &json!(false))?;
    config.only("add_cross_attention", &json!(false))?;
    let (width, positions, vocabulary) =
        (config.size("n_embd")?, config.size("n_positions")?, config.size("vocab_size")?);
    let (layers, heads) = (config.layers("n_layer")?, config.size("n_head")?);
    let (inner, epsilon) = (config.size_or("n_inner", 4 * width)?, config.number_or("layer_norm_epsilon", 1e-5)?);
    let function = config.activation("activation_function", "gelu_new")?;
    if !width.is_multiple_of(heads) {
        return Err(wrong(&format!("n_embd is {width}, which {heads} heads do not share evenly")));
    }
    let has_head = config.has_head()?;
    let root = if has_head { "transformer." } else { "" };
    let (mut build, tokens) = Build::new(span, positions)?;
    let words = build.embedding(&format!("{root}wte"), tokens, vocabulary, width)?;
    let places = build.positions(&format!("{root}wpe"), positions, width)?;
    let mut stream = build.add(&format!("{root}embedded"), words, places)?;
    for layer in 0..layers {
        let block = format!("{root}h.{layer}");
        let name = |part: &str| format!("{block}.{part}");
        let x = build.norm(&name("ln_1"), stream, epsilon, true)?;
        let all = build.conv1d(&name("attn.c_attn"), x, 3 * width)?;
        let mut of = |part: &str, k: usize| {
            let part = name(&format!("attn.{part}"));
            let run = build.part(&part, all, k * width, width)?;
            build.split(&part, run, heads)
        };
        let parts = [of("q", 0)?, of("k", 1)?, of("v", 2)?];
        let sizes = Heads { queries: heads, keys: heads, units: width / heads };
        let mixed = build.attend(&name("attn"), parts, Attention::causal(sizes))?;
        let attended = build.conv1d(&name("attn.c_proj"), mixed, width)?;
        stream = build.add(&name("attended"), stream, attended)?;
        let x = build.norm(&name("ln_2"), stream, epsilon, true)?;
        let hidden = build.conv1d(&name("mlp.c_fc"), x, inner)?;
        let hidden = build.unary(&name("mlp.act"), function, hidden)?;
        let fed = build.conv1d(&name("mlp.c_proj"), hidden, width)?;
        stream = build.add(&name("fed"), stream, fed)?;
    }
    let mut output = build.norm(&format!("{root}ln_f"), stream, epsilon, true)?;
    if has_head {
        let tied = config.flag_or("tie_word_embeddings", true)?;
        output = if tied {
            let table = build.graph.param("transformer.wte.weight", &[vocabulary, width])?;
            build.graph.push("lm_head", Op::Linear, &[output, table])?
        } else {
            build.linear("lm_head", output, vocabulary, false)?
        };
    }
    Ok(build.done(output))
}
