//! Whisper: speech is answered with text; two convolutions before an encoder, LayerNorms before what reads the stream.

use onebasin_core::graph::op::{Conv, Op, Unary};
use onebasin_core::graph::{Graph, ValueId};
use serde_json::json;

use super::blocks::{Attention, Build, Sees};
use super::config::Config;
use super::encoder::{Attends, Feeds, Function, Layer, Norms, attention_to_all};
use crate::error::Result;

const SELF: Attends =
    Attends { of: "self_attn", projections: ["q_proj", "k_proj", "v_proj", "out_proj"], norm: "self_attn_layer_norm" };
const CROSS: Attends = Attends { of: "encoder_attn", norm: "encoder_attn_layer_norm", ..SELF };
const FEEDS: Feeds = Feeds { inner: "fc1", outer: "fc2", norm: "final_layer_norm" };
const EPSILON: f64 = 1e-5;

/// `input_features` have the length that the configuration says, and the text `length` positions.
pub(super) fn build(config: &Config, length: usize) -> Result<Graph> {
    config.architecture(&["WhisperForConditionalGeneration"])?;
    config.only("scale_embedding", &json!(false))?;
    let (width, vocabulary) = (config.size("d_model")?, config.size("vocab_size")?);
    let function = Function::named(config, "activation_function", "gelu")?;
    let layer = |part: &str| -> Result<Layer> {
        Ok(Layer {
            attention: attention_to_all(width, config.size(&format!("{part}_attention_heads"))?)?,
            inner: config.size(&format!("{part}_ffn_dim"))?,
            function,
            epsilon: EPSILON,
            norms: Norms::Before,
            centred: true,
            biases: [true, false, true, true],
        })
    };
    let mut build = Build::over();
    let places = config.size("max_source_positions")?;
    let heard = build.graph.input("input_features", &[1, config.size("num_mel_bins")?, 2 * places])?;
    let fine = build.heard("model.encoder.conv1", heard, width, 1)?;
    let coarse = build.heard("model.encoder.conv2", fine, width, 2)?;
    let sequence = build.graph.push("model.encoder.sequence", Op::Transpose(vec![0, 2, 1]), &[coarse])?;
    let table = build.run_of_rows("model.encoder.embed_positions", places, width, 0, places)?;
    let mut stream = build.add("model.encoder.sum", sequence, table)?;
    let encoder = layer("encoder")?;
    for at in 0..config.layers("encoder_layers")? {
        stream = build.block(&format!("model.encoder.layers.{at}"), (SELF, FEEDS), &encoder, stream)?;
    }
    let memory = build.norm("model.encoder.layer_norm", stream, EPSILON, true)?;

    let tokens = build.tokens("decoder_input_ids", length)?;
    let words = build.embedding("model.decoder.embed_tokens", tokens, vocabulary, width)?;
    let rows = config.size("max_target_positions")?;
    let table = build.run_of_rows("model.decoder.embed_positions", rows, width, 0, length)?;
    let mut stream = build.add("model.decoder.sum", words, table)?;
    let decoder = layer("decoder")?;
    let own = Layer { attention: Attention { sees: Sees::Before, ..decoder.attention }, ..decoder };
    for at in 0..config.layers("decoder_layers")? {
        let block = format!("model.decoder.layers.{at}");
        stream = build.attended(&block, SELF, &own, stream, None)?;
        stream = build.attended(&block, CROSS, &decoder, stream, Some(memory))?;
        stream = build.fed(&block, FEEDS, &decoder, stream)?;
    }
    let states = build.norm("model.decoder.layer_norm", stream, EPSILON, true)?;
    let output = if config.flag_or("tie_word_embeddings", true)? {
        let table = build.graph.param("model.decoder.embed_tokens.weight", &[vocabulary, width])?;
        build.graph.push("proj_out", Op::Linear, &[states, table])?
    } else {
        build.linear("proj_out", states, vocabulary, false)?
    };
    Ok(build.done(output))
}

impl Build {
    /// A convolution over time that sees three steps, and GELU.
    fn heard(&mut self, name: &str, x: ValueId, width: usize, stride: usize) -> Result<ValueId> {
        let channels = self.graph.shape(x)[1];
        let weight = self.graph.param(&format!("{name}.weight"), &[width, channels, 3])?;
        let bias = self.graph.param(&format!("{name}.bias"), &[width])?;
        let conv = Conv { strides: vec![stride], dilations: vec![1], before: vec![1], after: vec![1], groups: 1 };
        let made = self.graph.push(name, Op::Conv(conv), &[x, weight, bias])?;
        self.unary(&format!("{name}.gelu"), Unary::Gelu, made)
    }
}
