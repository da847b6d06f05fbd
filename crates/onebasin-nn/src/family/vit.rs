//! Vision transformers (ViT, and DeiT with a token more): patches of an image beside a class token, LayerNorms before attention and
//! feed-forward.

use onebasin_core::graph::op::{Conv, Dim, Op};
use onebasin_core::graph::{Graph, ValueId};

use super::blocks::Build;
use super::config::{Config, wrong};
use super::encoder::{Attends, Feeds, Function, Layer, Norms, attention_to_all};
use crate::error::Result;

const ATTENDS: Attends = Attends {
    of: "attention",
    projections: ["attention.query", "attention.key", "attention.value", "output.dense"],
    norm: "layernorm_before",
};
const FEEDS: Feeds = Feeds { inner: "intermediate.dense", outer: "output.dense", norm: "layernorm_after" };

pub(super) fn build(config: &Config, _length: usize) -> Result<Graph> {
    let kind = config.text("model_type")?;
    let (classifies, bare) = match kind {
        "deit" => ("DeiTForImageClassification", "DeiTModel"),
        _ => ("ViTForImageClassification", "ViTModel"),
    };
    let has_head = config.architecture(&[classifies, bare])? == classifies;
    let root = if has_head { format!("{kind}.") } else { String::new() };
    let (width, epsilon) = (config.size("hidden_size")?, config.number_or("layer_norm_eps", 1e-12)?);
    let bias = config.flag_or("qkv_bias", true)?;
    let layer = Layer {
        attention: attention_to_all(width, config.size("num_attention_heads")?)?,
        inner: config.size("intermediate_size")?,
        function: Function::named(config, "hidden_act", "gelu")?,
        epsilon,
        norms: Norms::Before,
        centred: true,
        biases: [bias, bias, bias, true],
    };
    let mut build = Build::over();
    let embeddings = format!("{root}embeddings");
    let patches = build.patches(&format!("{embeddings}.patch_embeddings.projection"), config, width, true)?;
    let tokens: &[&str] = if kind == "deit" { &["cls_token", "distillation_token"] } else { &["cls_token"] };
    let mut stream = patches;
    for token in tokens.iter().rev() {
        let own = build.graph.param(&format!("{embeddings}.{token}"), &[1, 1, width])?;
        stream = build.beside(&format!("{embeddings}.{token}"), own, stream)?;
    }
    let length = build.graph.shape(stream)[1];
    let places = build.graph.param(&format!("{embeddings}.position_embeddings"), &[1, length, width])?;
    stream = build.add(&format!("{embeddings}.sum"), stream, places)?;
    for at in 0..config.layers("num_hidden_layers")? {
        stream = build.block(&format!("{root}encoder.layer.{at}"), (ATTENDS, FEEDS), &layer, stream)?;
    }
    let norm = format!("{root}layernorm");
    if has_head {
        let class = build.first("classifier", stream)?;
        let class = build.norm(&norm, class, epsilon, true)?;
        let output = build.linear("classifier", class, config.labels()?, true)?;
        return Ok(build.done(output));
    }
    let states = build.norm(&norm, stream, epsilon, true)?;
    let function = Function::named(config, "pooler_act", "tanh")?;
    let pooled = build.pooled("pooler.dense", states, config.size_or("pooler_output_size", width)?, function)?;
    Ok(build.done_with(&[states, pooled]))
}

impl Build {
    /// Patches of the input `pixel_values`, a position of width `width` each.
    pub(super) fn patches(&mut self, name: &str, config: &Config, width: usize, bias: bool) -> Result<ValueId> {
        let (size, patch) = (config.pair("image_size")?, config.pair("patch_size")?);
        let channels = config.size_or("num_channels", 3)?;
        if (0..2).any(|k| size[k] < patch[k]) {
            return Err(wrong(&format!("image_size is {size:?}, which patches of {patch:?} do not fit into")));
        }
        let pixels = self.graph.input("pixel_values", &[1, channels, size[0], size[1]])?;
        let mut inputs =
            vec![pixels, self.graph.param(&format!("{name}.weight"), &[width, channels, patch[0], patch[1]])?];
        if bias {
            inputs.push(self.graph.param(&format!("{name}.bias"), &[width])?);
        }
        let conv = Conv { strides: patch.to_vec(), ..Conv::square(1, 0) };
        let grid = self.graph.push(name, Op::Conv(conv), &inputs)?;
        let flat = Op::Reshape(vec![Dim::Same(0), Dim::Same(1), Dim::Rest]);
        let flat = self.graph.push(&format!("{name}.flat"), flat, &[grid])?;
        Ok(self.graph.push(&format!("{name}.patches"), Op::Transpose(vec![0, 2, 1]), &[flat])?)
    }

    /// A token `[1, 1, width]` before every sequence.
    pub(super) fn beside(&mut self, name: &str, token: ValueId, sequence: ValueId) -> Result<ValueId> {
        let shape = Op::Expand(vec![Dim::Same(0), Dim::Size(1), Dim::Size(self.width(sequence))]);
        let every = self.graph.push(&format!("{name}.every"), shape, &[token, sequence])?;
        Ok(self.graph.push(&format!("{name}.beside"), Op::Concat { axis: 1 }, &[every, sequence])?)
    }
}
