//! T5: one text is answered with another; RMSNorms before what reads the stream, no biases, positions by how far apart they are.

use onebasin_core::Tensor;
use onebasin_core::graph::op::Op;
use onebasin_core::graph::{Graph, ValueId};
use serde_json::json;

use super::blocks::{Attention, Build, Heads, Sees};
use super::config::{Config, wrong};
use super::encoder::{Attends, Function, Layer, Norms};
use crate::error::Result;

const SELF: Attends = Attends { of: "SelfAttention", projections: ["q", "k", "v", "o"], norm: "layer_norm" };
const CROSS: Attends = Attends { of: "EncDecAttention", ..SELF };

/// Attention masks are all 1: texts have no padding. Both texts have `length` positions.
pub(super) fn build(config: &Config, length: usize) -> Result<Graph> {
    config.only("is_decoder", &json!(false))?;
    let [writes, bare, reads] = ["T5ForConditionalGeneration", "T5Model", "T5EncoderModel"];
    let architecture = config.architecture(&[writes, bare, reads])?;
    let (width, vocabulary) = (config.size("d_model")?, config.size("vocab_size")?);
    let (queries, layers) = (config.size("num_heads")?, config.layers("num_layers")?);
    let heads = Heads { queries, keys: queries, units: config.size("d_kv")? };
    let feed = config.text_or("feed_forward_proj", "relu")?;
    let (is_gated, function) = match (feed, feed.strip_prefix("gated-")) {
        ("gated-gelu", _) => (true, "gelu_new"),
        (_, Some(function)) => (true, function),
        (function, None) => (false, function),
    };
    let named = config.clone().with("feed_forward_proj", json!(function));
    let stack = Stack {
        layer: Layer {
            attention: Attention { scale: 1.0, sees: Sees::All, ..Attention::causal(heads) },
            inner: config.size("d_ff")?,
            function: Function::named(&named, "feed_forward_proj", "relu")?,
            epsilon: config.number_or("layer_norm_epsilon", 1e-6)?,
            norms: Norms::Before,
            centred: false,
            biases: [false; 4],
        },
        is_gated,
        buckets: config.size_or("relative_attention_num_buckets", 32)?,
        farthest: config.size_or("relative_attention_max_distance", 128)?,
    };
    let mut build = Build::over();
    let tokens = build.tokens("input_ids", length)?;
    let words = build.embedding("shared", tokens, vocabulary, width)?;
    let memory = build.stack("encoder", &stack, layers, words, None)?;
    if architecture == reads {
        return Ok(build.done(memory));
    }
    let tokens = build.tokens("decoder_input_ids", length)?;
    let table = build.graph.param("shared.weight", &[vocabulary, width])?;
    let words = build.graph.push("decoder.shared", Op::Gather { axis: 0 }, &[table, tokens])?;
    let layers = if config.is_there("num_decoder_layers") { config.layers("num_decoder_layers")? } else { layers };
    let states = build.stack("decoder", &stack, layers, words, Some(memory))?;
    if architecture == bare {
        return Ok(build.done(states));
    }
    let is_tied = config.flag_or("tie_word_embeddings", true)?;
    let mut output = if is_tied {
        build.graph.push("lm_head", Op::Linear, &[states, table])?
    } else {
        build.linear("lm_head", states, vocabulary, false)?
    };
    if config.flag_or("scale_decoder_outputs", is_tied)? {
        output = build.scaled("lm_head.scaled", output, 1.0 / (width as f64).sqrt())?;
    }
    Ok(build.done(output))
}

/// What both stacks share.
struct Stack {
    layer: Layer,
    is_gated: bool,
    buckets: usize,
    farthest: usize,
}

impl Build {
    /// All layers and the last norm; those of a decoder see what was read.
    fn stack(
        &mut self,
        name: &str,
        stack: &Stack,
        layers: usize,
        mut stream: ValueId,
        memory: Option<ValueId>,
    ) -> Result<ValueId> {
        let length = self.graph.shape(stream)[1];
        let apart = format!("{name}.block.0.layer.0.SelfAttention.relative_attention_bias");
        let bias = Some(self.bias_by_distance(&apart, stack, length, memory.is_none())?);
        let sees = if memory.is_some() { Sees::Before } else { Sees::All };
        let own = Layer { attention: Attention { sees, bias, ..stack.layer.attention }, ..stack.layer };
        for at in 0..layers {
            let block = |part: usize| format!("{name}.block.{at}.layer.{part}");
            stream = self.attended(&block(0), SELF, &own, stream, None)?;
            if memory.is_some() {
                stream = self.attended(&block(1), CROSS, &stack.layer, stream, memory)?;
            }
            stream = self.fed_through_gates(&block(1 + usize::from(memory.is_some())), stack, stream)?;
        }
        self.norm(&format!("{name}.final_layer_norm"), stream, stack.layer.epsilon, false)
    }

    fn fed_through_gates(&mut self, block: &str, stack: &Stack, stream: ValueId) -> Result<ValueId> {
        let &Layer { inner, function, epsilon, .. } = &stack.layer;
        let name = |part: &str| format!("{block}.DenseReluDense.{part}");
        let x = self.norm(&format!("{block}.layer_norm"), stream, epsilon, false)?;
        let gate = self.linear(&name(if stack.is_gated { "wi_0" } else { "wi" }), x, inner, false)?;
        let mut hidden = self.bent(&name("act"), function, gate)?;
        if stack.is_gated {
            let up = self.linear(&name("wi_1"), x, inner, false)?;
            hidden = self.multiply(&name("gated"), hidden, up)?;
        }
        let added = self.linear(&name("wo"), hidden, self.width(stream), false)?;
        self.add(&name("sum"), stream, added)
    }

    /// What is added to scores, `[heads, T, T]`: a row of a table for every distance, the same for all layers.
    fn bias_by_distance(&mut self, name: &str, stack: &Stack, length: usize, both_ways: bool) -> Result<ValueId> {
        let &Stack { buckets, farthest, .. } = stack;
        let ways = if both_ways { 2 } else { 1 };
        let exact = buckets / ways / 2;
        if exact == 0 || farthest <= exact {
            return Err(wrong(&format!(
                "relative_attention_num_buckets is {buckets} and relative_attention_max_distance {farthest}, which do not fit"
            )));
        }
        let of = |at: usize| bucket(at % length, at / length, buckets / ways, farthest, both_ways) as f32;
        let rows = Tensor::from_f32(&[length, length], (0..length * length).map(of).collect())?;
        let rows = self.graph.constant(&format!("{name}.rows"), rows)?;
        let bias = self.embedding(name, rows, buckets, stack.layer.attention.heads.queries)?;
        Ok(self.graph.push(&format!("{name}.heads"), Op::Transpose(vec![2, 0, 1]), &[bias])?)
    }
}

/// The bucket of a position as another sees it: small distances have their own, larger ones share them, the more the farther.
///
/// Formula: with `n` buckets, `e = n / 2` and `d ≥ e`: `e + ⌊ln(d / e) / ln(farthest / e) · (n − e)⌋`, in single precision, and the last
/// at most. Those behind come after those before.
fn bucket(seen: usize, from: usize, buckets: usize, farthest: usize, both_ways: bool) -> usize {
    let first = if both_ways && seen > from { buckets } else { 0 };
    let distance = if both_ways { seen.abs_diff(from) } else { from.saturating_sub(seen) };
    let exact = buckets / 2;
    if distance < exact {
        return first + distance;
    }
    let whole = (farthest as f64 / exact as f64).ln() as f32;
    let far = (distance as f32 / exact as f32).ln() / whole * (buckets - exact) as f32;
    first + (exact + far as usize).min(buckets - 1)
}
