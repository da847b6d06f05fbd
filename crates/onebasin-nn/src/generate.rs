//! Text that a language model writes itself: what it is compared and solved on where there is none.

use onebasin_core::Params;
use onebasin_core::graph::Graph;
use onebasin_core::stream::Stream;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::exec::{Flat, Program, Wants, Workspace};

/// What is written.
///
/// ```
/// let usual = onebasin_nn::GenerateOptions::default();
/// assert_eq!((usual.samples, usual.length), (256, 64));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerateOptions {
    /// How many texts.
    pub samples: usize,
    /// Tokens of each, the first of which is drawn evenly from all.
    pub length: usize,
    /// What logits are divided by.
    pub temperature: f64,
    /// Of all draws.
    pub seed: u64,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self { samples: 256, length: 64, temperature: 1.0, seed: 0 }
    }
}

/// Texts that are written side by side.
const SHARD: usize = 32;

/// Draws texts from a language model, token after token, keys and values of what was written being kept.
///
/// Shapes: `step` gives the graph of one position behind so many, as [`step`](crate::family::step) does. The result is
/// `[samples, length]`, row by row. `tell` hears how many positions are done, and stops it where it returns false.
///
/// Cost: one position of the network for every token. Every text has a random stream of its own, so the number of threads changes
/// nothing.
///
/// # Errors
/// If the options are empty, a graph is no step, or its parameters are missing.
///
/// ```
/// use onebasin_nn::family::{Config, step};
/// use onebasin_nn::{GenerateOptions, generate};
/// # use onebasin_core::{Params, Tensor};
/// let config = Config::parse(r#"{"model_type": "gpt2", "vocab_size": 9, "n_layer": 1, "n_embd": 4, "n_head": 2, "n_positions": 8}"#)?;
/// let mut params = Params::new();
/// for param in step(&config, 0)?.params() {
///     params.insert(&param.name[..], Tensor::from_f32(&param.shape, vec![0.5; param.shape.iter().product()])?);
/// }
/// let options = GenerateOptions { samples: 3, length: 5, ..GenerateOptions::default() };
/// let tokens = generate(&|past| step(&config, past), &params, &options, &mut |_| true)?;
/// assert!(tokens.len() == 15 && tokens.iter().all(|token| *token < 9));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn generate(
    step: &dyn Fn(usize) -> Result<Graph>,
    params: &Params,
    options: &GenerateOptions,
    tell: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<u32>> {
    let GenerateOptions { samples, length, temperature, seed } = *options;
    if samples == 0 || length == 0 || !(temperature > 0.0 && temperature.is_finite()) {
        let why = format!("{samples} texts of {length} tokens at a temperature of {temperature} cannot be written");
        return Err(Error::Options(why));
    }
    let mut writers: Vec<Writer> = Vec::new();
    for first in (0..samples).step_by(SHARD) {
        let of = |k| Stream::new(seed, &format!("generate/{k}"));
        let streams = (first..samples.min(first + SHARD)).map(of).collect();
        writers.push(Writer { streams, tokens: Vec::new(), past: Vec::new() });
    }
    // The first token is drawn without a network, whose size the first step tells.
    for past in 0..length.saturating_sub(1).max(1) {
        let program = Program::<f32>::new(step(past)?)?;
        let vocabulary = program.graph().outputs().first().and_then(|v| program.graph().shape(*v).last().copied());
        let vocabulary =
            vocabulary.ok_or_else(|| Error::Options("a step without an output writes nothing".to_owned()))?;
        if past == 0 {
            for writer in &mut writers {
                writer.begin(vocabulary);
            }
        }
        if length == 1 {
            break;
        }
        let flat = program.flatten(params)?;
        writers.par_iter_mut().try_for_each(|writer| writer.step(&program, &flat, past, vocabulary, temperature))?;
        if !tell(past + 1) {
            break;
        }
    }
    Ok(writers.into_iter().flat_map(Writer::texts).collect())
}

/// Some texts on their way.
struct Writer {
    streams: Vec<Stream>,
    /// By text.
    tokens: Vec<Vec<u32>>,
    /// Keys and values, by input of a step; `[texts, heads, past, units]`.
    past: Vec<Kept>,
}

/// What is kept of all positions, and how many numbers one position of one head has.
struct Kept {
    values: Vec<f32>,
    heads: usize,
    units: usize,
}

impl Writer {
    fn begin(&mut self, vocabulary: usize) {
        self.tokens = self.streams.iter_mut().map(|stream| vec![stream.below(vocabulary) as u32]).collect();
    }

    fn step(
        &mut self,
        program: &Program,
        flat: &Flat<f32>,
        past: usize,
        vocabulary: usize,
        temperature: f64,
    ) -> Result<()> {
        let texts = self.streams.len();
        let mut space = Workspace::new(program, texts, Wants::default())?;
        let mut inputs = space.inputs();
        let last = self.tokens.iter().map(|text| text.last().copied().unwrap_or(0) as f32);
        inputs[0].iter_mut().zip(last).for_each(|(to, token)| *to = token);
        for (input, kept) in inputs.iter_mut().skip(1).zip(&self.past) {
            input.copy_from_slice(&kept.values);
        }
        program.forward(flat, &mut space);
        let outputs = space.outputs();
        let shapes: Vec<&[usize]> = program.graph().outputs().iter().map(|v| program.graph().shape(*v)).collect();
        for ((text, stream), logits) in
            self.tokens.iter_mut().zip(&mut self.streams).zip(outputs[0].chunks_exact(vocabulary))
        {
            text.push(drawn(logits, temperature, stream));
        }
        for (k, (own, shape)) in outputs.iter().zip(&shapes).enumerate().skip(1) {
            let [_, heads, 1, units] = shape[..] else {
                return Err(Error::Options(format!("output {k} of a step has shape {shape:?}, and not one position")));
            };
            if past == 0 {
                self.past.push(Kept { values: Vec::new(), heads, units });
            }
            let kept = &mut self.past[k - 1];
            let mut values = Vec::with_capacity(kept.values.len() + own.len());
            for row in 0..texts * kept.heads {
                values.extend_from_slice(&kept.values[row * past * kept.units..][..past * kept.units]);
                values.extend_from_slice(&own[row * kept.units..][..kept.units]);
            }
            kept.values = values;
        }
        Ok(())
    }

    fn texts(self) -> Vec<u32> {
        self.tokens.concat()
    }
}

/// A token, by the probabilities that logits say.
fn drawn(logits: &[f32], temperature: f64, stream: &mut Stream) -> u32 {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |most, z| most.max(*z));
    let weight = |z: &f32| (f64::from(z - largest) / temperature).exp();
    let mut left = stream.uniform() * logits.iter().map(weight).sum::<f64>();
    for (token, z) in logits.iter().enumerate() {
        left -= weight(z);
        if left < 0.0 {
            return token as u32;
        }
    }
    logits.len().saturating_sub(1) as u32
}
