//! Transformers as Hugging Face keeps them: a `config.json` says how one is built, and a family builds its graph.
//!
//! A family is a file: names of tensors, and how they are put together. `blocks` has what families share.

mod bert;
mod blocks;
mod bloom;
mod clip;
mod config;
mod distilbert;
mod encoder;
mod experts;
mod gemma;
mod gpt2;
mod gpt_neox;
mod init;
mod llama;
mod opt;
mod phi;
mod phi3;
mod rope;
mod t5;
mod vit;
mod whisper;

use onebasin_core::graph::Graph;

use crate::error::{Error, Result};
use blocks::Span;
pub use config::Config;
pub use init::init;

/// Positions that a network is built for, if nobody says how many: what is exchanged does not depend on their number, and what is
/// solved does.
pub const LENGTH: usize = 64;

/// The graph of a network by its configuration, its parameters under the names that Hugging Face gives them.
///
/// Its input is `input_ids`, `[1, length]`, its output the logits, or the last hidden state where its architecture is one without a
/// head; behind that what a pooler makes of it, where there is one. Networks that see images read `pixel_values`, of the size that
/// their configuration says, those that hear `input_features`; those that answer one text with another also `decoder_input_ids`.
///
/// # Errors
/// [`Error::Family`] if the `model_type` is none of [`families`], something in the configuration is missing or not known, or the
/// network has fewer positions.
///
/// ```
/// use onebasin_nn::family::{Config, family};
/// let config = r#"{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 50, "n_layer": 2, "n_embd": 12,
///     "n_head": 3, "n_positions": 64}"#;
/// let graph = family(&Config::parse(config)?, 16)?;
/// assert_eq!(graph.shape(graph.outputs()[0]), [1, 16, 50]);
/// assert_eq!(graph.shape(graph.param_named("transformer.h.1.attn.c_attn.weight")?), [12, 36]);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn family(config: &Config, length: usize) -> Result<Graph> {
    built(config, Span { past: None, length })
}

/// One step of a network that writes: the graph of one position behind `past` others.
///
/// Its inputs are `input_ids`, `[1, 1]`, and where there is a past, keys and values of every layer, `[1, heads, past, units]` each; its
/// outputs the logits, and keys and values of this position, `[1, heads, 1, units]`, in the order of the inputs.
///
/// # Errors
/// Those of [`family`]; [`Error::Family`] of a network that does not write token by token.
///
/// ```
/// use onebasin_nn::family::{Config, step};
/// let config = Config::parse(r#"{"model_type": "gpt2", "vocab_size": 50, "n_layer": 2, "n_embd": 12, "n_head": 3, "n_positions": 8}"#)?;
/// let graph = step(&config, 5)?;
/// assert_eq!((graph.inputs().count(), graph.outputs().len()), (1 + 2 * 2, 1 + 2 * 2));
/// assert!(step(&config, 8).is_err());
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn step(config: &Config, past: usize) -> Result<Graph> {
    built(config, Span { past: Some(past), length: 1 })
}

fn built(config: &Config, span: Span) -> Result<Graph> {
    let kind = config.text("model_type")?;
    if let Some((_, build)) = FAMILIES.iter().find(|(names, _)| names.contains(&kind)) {
        return build(config, span);
    }
    match (READERS.iter().find(|(names, _)| names.contains(&kind)), span.past) {
        (Some((_, build)), None) => build(config, span.length),
        (Some(_), Some(_)) => {
            Err(Error::Family { why: format!("its model_type is `{kind}`, which does not write token by token") })
        }
        (None, _) => Err(Error::Family {
            why: format!("its model_type is `{kind}`; known are {}", families().collect::<Vec<_>>().join(", ")),
        }),
    }
}

/// Whether a network writes: it answers every token with what follows, and so [`step`] builds it.
///
/// A masked language model answers every token too, and does not.
///
/// ```
/// use onebasin_nn::family::{Config, writes};
/// let of = |kind: &str, head: &str| Config::parse(&format!(r#"{{"model_type": "{kind}", "architectures": ["{head}"]}}"#));
/// assert!(writes(&of("gpt2", "GPT2LMHeadModel")?) && !writes(&of("gpt2", "GPT2Model")?));
/// assert!(!writes(&of("bert", "BertForMaskedLM")?));
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn writes(config: &Config) -> bool {
    let is_of = |kind| FAMILIES.iter().any(|(names, _)| names.contains(&kind));
    config.text("model_type").is_ok_and(is_of) && config.has_head().unwrap_or(false)
}

/// The `model_type`s that are known.
///
/// ```
/// assert!(onebasin_nn::family::families().any(|name| name == "llama"));
/// ```
pub fn families() -> impl Iterator<Item = &'static str> {
    let writers = FAMILIES.iter().flat_map(|(names, _)| names.iter().copied());
    writers.chain(READERS.iter().flat_map(|(names, _)| names.iter().copied()))
}

/// Names of a family, and what builds its graph.
type Family = (&'static [&'static str], fn(&Config, Span) -> Result<Graph>);

const FAMILIES: &[Family] = &[
    (&["gpt2"], gpt2::build),
    (&["llama"], llama::llama),
    (&["mistral"], llama::mistral),
    (&["qwen2"], llama::qwen2),
    (&["qwen3"], llama::qwen3),
    (&["gemma"], gemma::gemma),
    (&["gemma2"], gemma::gemma2),
    (&["gemma3_text"], gemma::gemma3),
    (&["phi3"], phi3::phi3),
    (&["mixtral"], experts::mixtral),
    (&["qwen2_moe"], experts::qwen2),
    (&["qwen3_moe"], experts::qwen3),
    (&["gpt_neox"], gpt_neox::build),
    (&["opt"], opt::build),
    (&["bloom"], bloom::build),
    (&["olmo2"], llama::olmo2),
    (&["starcoder2"], llama::starcoder2),
    (&["phi"], phi::build),
];

/// The same of networks that do not write token by token, for so many positions.
type Reader = (&'static [&'static str], fn(&Config, usize) -> Result<Graph>);

const READERS: [Reader; 6] = [
    (&["vit", "deit"], vit::build),
    (&["bert", "roberta"], bert::build),
    (&["distilbert"], distilbert::build),
    (&["clip", "clip_text_model", "clip_vision_model"], clip::build),
    (&["t5"], t5::build),
    (&["whisper"], whisper::build),
];
