//! Llama and its kin (Mistral, Qwen 2 and 3): RMSNorms, rotary positions, grouped heads, gated feed-forward.
//!
//! What others have of their own is in a [`Style`], which their families fill in.

use onebasin_core::graph::op::{Op, Unary};
use onebasin_core::graph::{Graph, ValueId};
use serde_json::json;

use super::blocks::{Attention, Build, Heads, Sees, Span};
use super::config::{Config, wrong};
use super::experts::Experts;
use super::rope::{MOST_UNITS, Rotary};
use crate::error::Result;

/// How a network is built that is a llama but for this.
pub(super) struct Style {
    pub(super) function: Unary,
    pub(super) epsilon: f64,
    pub(super) bias: Bias,
    pub(super) norms: Norms,
    /// Queries, keys and values are one layer, and so are both that make a gated feed-forward.
    pub(super) fused: bool,
    /// What embeddings are multiplied by.
    pub(super) embedding: Option<f64>,
    pub(super) attention: Attention,
    /// A bound of the logits.
    pub(super) cap: Option<f64>,
    pub(super) tied: bool,
    pub(super) layers: Vec<Layer>,
}

/// Which layers have a bias.
pub(super) struct Bias {
    pub(super) attention: bool,
    pub(super) output: bool,
    pub(super) inner: bool,
}

/// What norms are like, and where they are.
pub(super) struct Norms {
    pub(super) gain: Gain,
    pub(super) of_heads: OfHeads,
    pub(super) place: Place,
}

/// Norms of queries and keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OfHeads {
    None,
    /// Of every head by itself.
    Each,
    /// Of all heads together.
    All,
}

/// Where norms are, of attention and of feed-forward.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Before,
    Behind,
    Both,
}

#[derive(Clone, Copy)]
pub(super) enum Gain {
    Weight,
    OneMore,
    /// A weight and a bias, and what is normed is centred.
    Centred,
}

/// What a layer has of its own.
pub(super) struct Layer {
    pub(super) sees: Sees,
    pub(super) rotary: Rotary,
    pub(super) feed: Feed,
}

pub(super) enum Feed {
    /// Of so many units.
    Gated(usize),
    /// Of so many units that nothing multiplies.
    Plain(usize),
    Experts(Experts),
}

impl Style {
    /// A llama without any bias.
    pub(super) fn of(config: &Config, span: Span) -> Result<Self> {
        let (width, queries) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
        let keys = config.size_or("num_key_value_heads", queries)?;
        let units = config.size_or("head_dim", width / queries)?;
        if !queries.is_multiple_of(keys) || !units.is_multiple_of(2) || !(1..=MOST_UNITS).contains(&units) {
            return Err(wrong(&format!(
                "{queries} heads of queries, {keys} of keys, of {units} units each, do not fit"
            )));
        }
        let layers = config.layers("num_hidden_layers")?;
        let (inner, rotary) = (config.size("intermediate_size")?, config.rotary(units, None, span)?);
        let layer = || Layer { sees: Sees::Before, rotary: rotary.clone(), feed: Feed::Gated(inner) };
        Ok(Self {
            function: config.activation("hidden_act", "silu")?,
            epsilon: config.number_or("rms_norm_eps", 1e-6)?,
            bias: Bias { attention: false, output: false, inner: false },
            norms: Norms { gain: Gain::Weight, of_heads: OfHeads::None, place: Place::Before },
            fused: false,
            embedding: None,
            attention: Attention::causal(Heads { queries, keys, units }),
            cap: None,
            tied: config.flag_or("tie_word_embeddings", false)?,
            layers: (0..layers).map(|_| layer()).collect(),
        })
    }

    /// The same where all units of a head have rotary positions.
    pub(super) fn of_whole_heads(config: &Config, span: Span) -> Result<Self> {
        let mut style = Self::of(config, span)?;
        let units = style.attention.heads.units;
        for layer in &mut style.layers {
            layer.rotary = layer.rotary.clone().of_all(units)?;
        }
        Ok(style)
    }

    /// Biases of queries, keys, values and what attention gives, as `attention_bias` says.
    pub(super) fn biased(mut self, config: &Config) -> Result<Self> {
        let has = config.flag_or("attention_bias", false)?;
        (self.bias.attention, self.bias.output) = (has, has);
        Ok(self)
    }

    /// All layers see as much as `sliding_window` says, if it does.
    pub(super) fn within_a_window(mut self, config: &Config) -> Result<Self> {
        if config.get("sliding_window").is_some() {
            let sees = Sees::Window(config.size("sliding_window")?);
            self.layers.iter_mut().for_each(|layer| layer.sees = sees);
        }
        Ok(self)
    }

    /// Layers of two kinds, as `layer_types` says; where it is missing `slides` says which see no more than a window.
    pub(super) fn of_kinds(mut self, config: &Config, slides: impl Fn(usize) -> bool) -> Result<Self> {
        let kinds = config.layer_kinds(self.layers.len(), slides)?;
        for (layer, slides) in self.layers.iter_mut().zip(kinds) {
            layer.sees = if slides { Sees::Window(config.size("sliding_window")?) } else { Sees::Before };
        }
        Ok(self)
    }
}

impl Config {
    /// Of every layer whether it is one of sliding attention.
    pub(super) fn layer_kinds(&self, layers: usize, slides: impl Fn(usize) -> bool) -> Result<Vec<bool>> {
        let Some(kinds) = self.list("layer_types")? else { return Ok((0..layers).map(slides).collect()) };
        let one = |kind: &serde_json::Value| match kind.as_str() {
            Some("full_attention") => Ok(false),
            Some("sliding_attention") => Ok(true),
            Some(_) | None => Err(wrong(&format!("layer_types has {kind}, a kind that is not known here"))),
        };
        let kinds = kinds.iter().map(one).collect::<Result<Vec<_>>>()?;
        if kinds.len() == layers {
            Ok(kinds)
        } else {
            Err(wrong(&format!("layer_types are {}, and layers {layers}", kinds.len())))
        }
    }
}

pub(super) fn llama(config: &Config, span: Span) -> Result<Graph> {
    let mut style = Style::of_whole_heads(config, span)?.biased(config)?;
    style.bias.inner = config.flag_or("mlp_bias", false)?;
    build(config, span, &style)
}

pub(super) fn mistral(config: &Config, span: Span) -> Result<Graph> {
    build(config, span, &Style::of_whole_heads(config, span)?.within_a_window(config)?)
}

/// Which layers of Qwen see no more than a window: those behind the first `max_window_layers`, if any does.
fn slides_late(config: &Config) -> Result<impl Fn(usize) -> bool + use<>> {
    let slides = config.flag_or("use_sliding_window", false)? && config.get("sliding_window").is_some();
    let whole = config.count_or("max_window_layers", 28)?;
    Ok(move |layer| slides && layer >= whole)
}

pub(super) fn qwen2(config: &Config, span: Span) -> Result<Graph> {
    let mut style = Style::of_whole_heads(config, span)?.of_kinds(config, slides_late(config)?)?;
    style.bias.attention = true;
    build(config, span, &style)
}

pub(super) fn qwen3(config: &Config, span: Span) -> Result<Graph> {
    let config = &config.clone().or("head_dim", json!(128));
    let mut style = Style::of_whole_heads(config, span)?.biased(config)?.of_kinds(config, slides_late(config)?)?;
    style.norms.of_heads = OfHeads::Each;
    build(config, span, &style)
}

/// Norms of what attention and feed-forward give, and of queries and keys.
pub(super) fn olmo2(config: &Config, span: Span) -> Result<Graph> {
    let config = &config.clone().or("rms_norm_eps", json!(1e-5));
    let mut style = Style::of_whole_heads(config, span)?.biased(config)?;
    (style.norms.place, style.norms.of_heads) = (Place::Behind, OfHeads::All);
    build(config, span, &style)
}

/// LayerNorms, and a feed-forward without a gate.
pub(super) fn starcoder2(config: &Config, span: Span) -> Result<Graph> {
    let config = &config.clone().or("tie_word_embeddings", json!(true)).or("hidden_act", json!("gelu_pytorch_tanh"));
    let mut style = Style::of_whole_heads(config, span)?.within_a_window(config)?;
    style.epsilon = config.number_or("norm_epsilon", 1e-5)?;
    style.norms.gain = Gain::Centred;
    let (has, inner) = (config.flag_or("use_bias", true)?, config.size("intermediate_size")?);
    style.bias = Bias { attention: has, output: has, inner: has };
    style.layers.iter_mut().for_each(|layer| layer.feed = Feed::Plain(inner));
    build(config, span, &style)
}

/// The graph of a network of this style.
pub(super) fn build(config: &Config, span: Span, style: &Style) -> Result<Graph> {
    let (width, vocabulary) = (config.size("hidden_size")?, config.size("vocab_size")?);
    let has_head = config.has_head()?;
    let root = if has_head { "model." } else { "" };
    let (mut build, tokens) = Build::new(span, config.size_or("max_position_embeddings", usize::MAX)?)?;
    let mut stream = build.embedding(&format!("{root}embed_tokens"), tokens, vocabulary, width)?;
    if let Some(scale) = style.embedding {
        stream = build.scaled(&format!("{root}embedded"), stream, scale)?;
    }
    for (k, layer) in style.layers.iter().enumerate() {
        let block = format!("{root}layers.{k}");
        let name = |part: &str| format!("{block}.{part}");
        let [before, after] = [Place::Behind, Place::Before].map(|other| style.norms.place != other);
        let norm = |build: &mut Build, part: &str, x, here: bool| {
            if here { build.styled_norm(&name(part), x, style) } else { Ok(x) }
        };
        let x = norm(&mut build, "input_layernorm", stream, before)?;
        let attended = build.self_attention(&name("self_attn"), x, style, layer)?;
        let attended = norm(&mut build, "post_attention_layernorm", attended, after)?;
        stream = build.add(&name("attended"), stream, attended)?;
        let own = if after { "pre_feedforward_layernorm" } else { "post_attention_layernorm" };
        let x = norm(&mut build, own, stream, before)?;
        let fed = match &layer.feed {
            Feed::Gated(inner) if style.fused => build.fused_feed(&name("mlp"), x, *inner, style.function)?,
            Feed::Gated(inner) => {
                let names = ["gate_proj", "up_proj", "down_proj"];
                build.gated_feed(&name("mlp"), names, x, *inner, style.function, style.bias.inner)?
            }
            Feed::Plain(inner) => {
                let hidden = build.linear(&name("mlp.c_fc"), x, *inner, style.bias.inner)?;
                let hidden = build.unary(&name("mlp.act"), style.function, hidden)?;
                build.linear(&name("mlp.c_proj"), hidden, width, style.bias.inner)?
            }
            Feed::Experts(experts) => build.experts(&block, x, experts, style.function)?,
        };
        let fed = norm(&mut build, "post_feedforward_layernorm", fed, after)?;
        stream = build.add(&name("fed"), stream, fed)?;
    }
    let mut output = build.styled_norm(&format!("{root}norm"), stream, style)?;
    if has_head {
        output = if style.tied {
            let table = build.graph.param("model.embed_tokens.weight", &[vocabulary, width])?;
            build.graph.push("lm_head", Op::Linear, &[output, table])?
        } else {
            build.linear("lm_head", output, vocabulary, false)?
        };
        if let Some(cap) = style.cap {
            output = build.capped("logits", output, cap)?;
        }
    }
    Ok(build.done(output))
}

impl Build {
    fn styled_norm(&mut self, name: &str, x: ValueId, style: &Style) -> Result<ValueId> {
        match style.norms.gain {
            Gain::Weight => self.norm(name, x, style.epsilon, false),
            Gain::OneMore => self.norm_of_one_more(name, x, style.epsilon),
            Gain::Centred => self.norm(name, x, style.epsilon, true),
        }
    }

    fn self_attention(&mut self, name: &str, x: ValueId, style: &Style, layer: &Layer) -> Result<ValueId> {
        let (width, Heads { queries, keys, units }) = (self.width(x), style.attention.heads);
        let all = if style.fused {
            Some(self.linear(&format!("{name}.qkv_proj"), x, (queries + 2 * keys) * units, style.bias.attention)?)
        } else {
            None
        };
        let mut of = |part: &str, first: usize, heads: usize| {
            let own = format!("{name}.{part}");
            let mut projected = match all {
                Some(all) => self.part(&own, all, first * units, heads * units)?,
                None => self.linear(&format!("{own}_proj"), x, heads * units, style.bias.attention)?,
            };
            if part != "v" && style.norms.of_heads == OfHeads::All {
                projected = self.styled_norm(&format!("{own}_norm"), projected, style)?;
            }
            let mut split = self.split(&own, projected, heads)?;
            if part == "v" {
                return Ok(split);
            }
            if style.norms.of_heads == OfHeads::Each {
                split = self.styled_norm(&format!("{own}_norm"), split, style)?;
            }
            self.rotate(&format!("{own}_rotary"), split, &layer.rotary)
        };
        let parts = [of("q", 0, queries)?, of("k", queries, keys)?, of("v", queries + keys, keys)?];
        let mixed = self.attend(name, parts, Attention { sees: layer.sees, ..style.attention })?;
        self.linear(&format!("{name}.o_proj"), mixed, width, style.bias.output)
    }

    /// `down(f(gate(x)) · up(x))`, by the names of the three.
    pub(super) fn gated_feed(
        &mut self,
        name: &str,
        [gate, up, down]: [&str; 3],
        x: ValueId,
        inner: usize,
        function: Unary,
        bias: bool,
    ) -> Result<ValueId> {
        let width = self.width(x);
        let gate = self.linear(&format!("{name}.{gate}"), x, inner, bias)?;
        let gate = self.unary(&format!("{name}.act_fn"), function, gate)?;
        let up = self.linear(&format!("{name}.{up}"), x, inner, bias)?;
        let gated = self.multiply(&format!("{name}.gated"), gate, up)?;
        self.linear(&format!("{name}.{down}"), gated, width, bias)
    }

    /// The same with both that are multiplied in one layer.
    fn fused_feed(&mut self, name: &str, x: ValueId, inner: usize, function: Unary) -> Result<ValueId> {
        let width = self.width(x);
        let both = self.linear(&format!("{name}.gate_up_proj"), x, 2 * inner, false)?;
        let gate = self.part(&format!("{name}.gate"), both, 0, inner)?;
        let gate = self.unary(&format!("{name}.act_fn"), function, gate)?;
        let up = self.part(&format!("{name}.up"), both, inner, inner)?;
        let gated = self.multiply(&format!("{name}.gated"), gate, up)?;
        self.linear(&format!("{name}.down_proj"), gated, width, false)
    }
}
