//! BLOOM: scores fall with the distance (ALiBi), LayerNorms before attention and feed-forward and behind the embedding, queries, keys
//! and values of every head in one layer, a tied head.

use onebasin_core::Tensor;
use onebasin_core::graph::Graph;
use onebasin_core::graph::op::{Op, Unary};

use super::blocks::{Attention, Build, Heads, Span};
use super::config::{Config, wrong};
use crate::error::Result;

pub(super) fn build(config: &Config, span: Span) -> Result<Graph> {
    let named = |one: &'static str, other: &'static str| if config.get(one).is_some() { one } else { other };
    let (width, vocabulary) = (config.size(named("n_embed", "hidden_size"))?, config.size("vocab_size")?);
    let layers = config.layers(named("n_layer", "num_hidden_layers"))?;
    let (heads, epsilon) =
        (config.size(named("n_head", "num_attention_heads"))?, config.number_or("layer_norm_epsilon", 1e-5)?);
    if !width.is_multiple_of(heads) {
        return Err(wrong(&format!("hidden_size is {width}, which {heads} heads do not share evenly")));
    }
    let sizes = Heads { queries: heads, keys: heads, units: width / heads };
    let behind = config.flag_or("apply_residual_connection_post_layernorm", false)?;
    let has_head = config.has_head()?;
    let root = if has_head { "transformer." } else { "" };
    let (mut build, tokens) = Build::new(span, usize::MAX)?;
    let slopes = slopes(heads);
    let falls = slopes.iter().flat_map(|slope| (0..span.end()).map(move |at| slope * at as f32)).collect();
    let bias = Tensor::from_f32(&[heads, 1, span.end()], falls)?;
    let bias = Some(build.graph.constant(&format!("{root}alibi"), bias)?);
    let words = build.embedding(&format!("{root}word_embeddings"), tokens, vocabulary, width)?;
    let mut stream = build.norm(&format!("{root}word_embeddings_layernorm"), words, epsilon, true)?;
    for layer in 0..layers {
        let block = format!("{root}h.{layer}");
        let name = |part: &str| format!("{block}.{part}");
        let x = build.norm(&name("input_layernorm"), stream, epsilon, true)?;
        let all = build.linear(&name("self_attention.query_key_value"), x, 3 * width, true)?;
        let parts = build.split_of_heads(&name("self_attention"), all, sizes)?;
        let mixed = build.attend(&name("self_attention"), parts, Attention { bias, ..Attention::causal(sizes) })?;
        let attended = build.linear(&name("self_attention.dense"), mixed, width, true)?;
        stream = build.add(&name("attended"), if behind { x } else { stream }, attended)?;
        let x = build.norm(&name("post_attention_layernorm"), stream, epsilon, true)?;
        let hidden = build.linear(&name("mlp.dense_h_to_4h"), x, 4 * width, true)?;
        let hidden = build.unary(&name("mlp.gelu_impl"), Unary::GeluTanh, hidden)?;
        let fed = build.linear(&name("mlp.dense_4h_to_h"), hidden, width, true)?;
        stream = build.add(&name("fed"), if behind { x } else { stream }, fed)?;
    }
    let mut output = build.norm(&format!("{root}ln_f"), stream, epsilon, true)?;
    if has_head {
        output = if config.flag_or("tie_word_embeddings", true)? {
            let table = build.graph.param("transformer.word_embeddings.weight", &[vocabulary, width])?;
            build.graph.push("lm_head", Op::Linear, &[output, table])?
        } else {
            build.linear("lm_head", output, vocabulary, false)?
        };
    }
    Ok(build.done(output))
}

/// By how much the scores of every head rise from one position to the next: powers of 2 that are evenly spread for a power of 2 of
/// heads, and between those for the heads behind it.
fn slopes(heads: usize) -> Vec<f32> {
    let whole = 1 << heads.ilog2();
    let power = |k: usize, of: usize| (-8.0 * k as f64 / of as f64).exp2() as f32;
    let first = (1..=whole).map(|k| power(k, whole));
    first.chain((0..heads - whole).map(|k| power(2 * k + 1, 2 * whole))).collect()
}
