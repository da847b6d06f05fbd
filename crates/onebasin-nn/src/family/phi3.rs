//! Phi-3 and Phi-4: a llama with queries, keys and values in one layer, and a part of its units without rotary positions.

use onebasin_core::graph::Graph;
use serde_json::json;

use super::blocks::Span;
use super::config::{Config, wrong};
use super::llama::{Style, build};
use crate::error::Result;

pub(super) fn phi3(config: &Config, span: Span) -> Result<Graph> {
    let config = config.clone().or("rms_norm_eps", json!(1e-5)).or("original_max_position_embeddings", json!(4096));
    let mut style = Style::of(&with_longrope(config.clone())?, span)?.within_a_window(&config)?;
    style.fused = true;
    build(&config, span, &style)
}

/// What was published says `su` or `yarn`, and means what is called `longrope` now.
fn with_longrope(mut config: Config) -> Result<Config> {
    for place in ["rope_scaling", "rope_parameters"] {
        let Some(said) = config.within(place)? else { continue };
        let key = if said.get("rope_type").is_some() { "rope_type" } else { "type" };
        let said = match if said.get(key).is_none() { "default" } else { said.text(key)? } {
            "default" | "longrope" => said,
            "su" | "yarn" => said.with(key, json!("longrope")),
            other => return Err(wrong(&format!("{place}: {key} is `{other}`; built are default and longrope"))),
        };
        config = config.with(place, said.into());
    }
    Ok(config)
}
