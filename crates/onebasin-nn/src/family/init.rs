//! Initial weights of transformers.

use onebasin_core::Params;

use super::{Config, family};
use crate::error::Result;
use crate::network::init::draw_normal;

/// What weights deviate from zero by where a configuration does not say.
const DEVIATION: f64 = 0.02;

/// Initial weights of a network by its configuration: matrices normal, of the standard deviation `initializer_range` (0.02), gains of
/// norms ones, biases zeros.
///
/// Every tensor has a random stream of its own. Cost: one draw for every number.
///
/// # Errors
/// Those of [`family`], and [`Error::Family`](crate::Error::Family) if the deviation is no number.
///
/// Source: Radford et al. 2019, as transformers does it, but for GPT-2's smaller weights of what writes the stream.
///
/// ```
/// use onebasin_nn::family::{Config, init};
/// let config = r#"{"model_type": "gpt2", "vocab_size": 50, "n_layer": 2, "n_embd": 12, "n_head": 3, "n_positions": 64}"#;
/// let params = init(&Config::parse(config)?, 0)?;
/// assert_eq!(params.require("transformer.ln_f.weight")?.to_f64()?[..], [1.0; 12]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn init(config: &Config, seed: u64) -> Result<Params> {
    let deviation = config.number_or("initializer_range", DEVIATION)?;
    draw_normal(&family(config, 1)?, deviation, seed)
}
