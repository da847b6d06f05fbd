//! Mixtures of experts (Mixtral, Qwen 2 and 3): of every layer's gated feed-forwards a router chooses a few for each token.

use onebasin_core::Tensor;
use onebasin_core::graph::op::{Binary, Op, Reduce, Unary};
use onebasin_core::graph::{Graph, ValueId};
use serde_json::json;

use super::blocks::{Build, Span};
use super::config::{Config, wrong};
use super::llama::{Feed, OfHeads, Style, build};
use crate::error::Result;

/// Experts of a layer.
#[derive(Clone)]
pub(super) struct Experts {
    count: usize,
    chosen: usize,
    /// Units of each.
    inner: usize,
    /// Whether weights of those that are chosen sum to 1.
    normalised: bool,
    /// Units of one that is always there, with a gate of its own.
    shared: Option<usize>,
    /// What they are called, and what their layers: of the gate, of what it multiplies, of what both give.
    block: &'static str,
    names: [&'static str; 3],
}

/// Experts at most: every one is built.
const MOST: usize = 1 << 12;

impl Experts {
    fn of(config: &Config, count: &str, inner: &str) -> Result<Self> {
        let (count, chosen) = (config.size(count)?, config.size("num_experts_per_tok")?);
        if chosen > count || count > MOST {
            return Err(wrong(&format!(
                "num_experts_per_tok: {chosen} of {count} experts are not chosen; {MOST} are built at most"
            )));
        }
        Ok(Self {
            count,
            chosen,
            inner: config.size(inner)?,
            normalised: config.flag_or("norm_topk_prob", false)?,
            shared: None,
            block: "mlp",
            names: ["gate_proj", "up_proj", "down_proj"],
        })
    }
}

pub(super) fn mixtral(config: &Config, span: Span) -> Result<Graph> {
    let config = &config.clone().or("rms_norm_eps", json!(1e-5)).or("rope_theta", json!(1e6));
    let mut style = Style::of_whole_heads(config, span)?.within_a_window(config)?;
    let experts = Experts::of(config, "num_local_experts", "intermediate_size")?;
    let experts = Experts { normalised: true, block: "block_sparse_moe", names: ["w1", "w3", "w2"], ..experts };
    style.layers.iter_mut().for_each(|layer| layer.feed = Feed::Experts(experts.clone()));
    build(config, span, &style)
}

pub(super) fn qwen2(config: &Config, span: Span) -> Result<Graph> {
    let slides = config.flag_or("use_sliding_window", false)? && config.get("sliding_window").is_some();
    let whole = config.count_or("max_window_layers", 28)?;
    let mut style = Style::of_whole_heads(config, span)?
        .of_kinds(config, |layer| slides && layer.is_multiple_of(2) && layer < whole)?;
    style.bias.attention = config.flag_or("qkv_bias", true)?;
    let shared = Some(config.size("shared_expert_intermediate_size")?);
    let experts = Experts { shared, ..Experts::of(config, "num_experts", "moe_intermediate_size")? };
    build(config, span, &style.with_experts(config, &experts)?)
}

pub(super) fn qwen3(config: &Config, span: Span) -> Result<Graph> {
    let mut style = Style::of_whole_heads(config, span)?.biased(config)?;
    if config.flag_or("use_sliding_window", false)? {
        style = style.within_a_window(config)?;
    }
    style.norms.of_heads = OfHeads::Each;
    let key = if config.get("num_local_experts").is_some() { "num_local_experts" } else { "num_experts" };
    let experts = Experts::of(config, key, "moe_intermediate_size")?;
    build(config, span, &style.with_experts(config, &experts)?)
}

impl Style {
    /// Experts in every `decoder_sparse_step`-th layer that is none of `mlp_only_layers`.
    fn with_experts(mut self, config: &Config, experts: &Experts) -> Result<Self> {
        let step = config.size_or("decoder_sparse_step", 1)?;
        let plain: Option<Vec<u64>> =
            config.list("mlp_only_layers")?.unwrap_or_default().iter().map(serde_json::Value::as_u64).collect();
        let plain = plain.ok_or_else(|| config.unfit("mlp_only_layers", "a list of whole numbers"))?;
        for (k, layer) in self.layers.iter_mut().enumerate() {
            if (k + 1).is_multiple_of(step) && !plain.contains(&(k as u64)) {
                layer.feed = Feed::Experts(experts.clone());
            }
        }
        Ok(self)
    }
}

impl Build {
    /// What the chosen experts of a layer give, each times its weight.
    pub(super) fn experts(&mut self, layer: &str, x: ValueId, experts: &Experts, function: Unary) -> Result<ValueId> {
        let block = format!("{layer}.{}", experts.block);
        let name = |part: &str| format!("{block}.{part}");
        let scores = self.linear(&name("gate"), x, experts.count, false)?;
        let axis = self.graph.shape(scores).len() - 1;
        let likely = self.graph.push(&name("probabilities"), Op::Softmax { axis, log: false }, &[scores])?;
        let best = Op::TopK { axis, count: experts.chosen, largest: true };
        let best = self.graph.push_many(&name("chosen"), best, &[likely])?;
        let sum = Op::Reduce { kind: Reduce::Sum, axes: vec![axis], keep: true };
        let weights = if experts.normalised {
            let all = self.graph.push(&name("sum"), sum.clone(), &[best[0]])?;
            self.graph.push(&name("shares"), Op::Binary(Binary::Div), &[best[0], all])?
        } else {
            best[0]
        };
        let mut mixed = None;
        for expert in 0..experts.count {
            let own = name(&format!("experts.{expert}"));
            let number = Tensor::from_f32(&[], vec![expert as f32])?;
            let number = self.graph.constant(&format!("{own}.number"), number)?;
            let here = self.graph.push(&format!("{own}.is_chosen"), Op::Binary(Binary::Equal), &[best[1], number])?;
            let here = self.multiply(&format!("{own}.weights"), here, weights)?;
            let weight = self.graph.push(&format!("{own}.weight"), sum.clone(), &[here])?;
            let given = self.gated_feed(&own, experts.names, x, experts.inner, function, false)?;
            let given = self.multiply(&format!("{own}.weighted"), given, weight)?;
            mixed = Some(match mixed {
                None => given,
                Some(sum) => self.add(&format!("{own}.sum"), sum, given)?,
            });
        }
        let Some(mut mixed) = mixed else { return Ok(x) };
        if let Some(inner) = experts.shared {
            let names = ["gate_proj", "up_proj", "down_proj"];
            let given = self.gated_feed(&name("shared_expert"), names, x, inner, function, false)?;
            let gate = self.linear(&name("shared_expert_gate"), x, 1, false)?;
            let gate = self.unary(&name("shared_expert_gate.open"), Unary::Sigmoid, gate)?;
            let given = self.multiply(&name("shared_expert.weighted"), given, gate)?;
            mixed = self.add(&name("shared_expert.sum"), mixed, given)?;
        }
        Ok(mixed)
    }
}
