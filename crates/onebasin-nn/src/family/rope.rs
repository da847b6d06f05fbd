//! Rotary positions: how fast pairs of units turn, and what turns them.

use std::f64::consts::PI;

use onebasin_core::Tensor;
use onebasin_core::graph::ValueId;
use onebasin_core::graph::op::{Op, Unary};

use super::blocks::{Build, Span};
use super::config::{Config, wrong};
use crate::error::Result;

/// Units of a head at most: rotary positions have a table of them.
pub(super) const MOST_UNITS: usize = 1 << 12;

/// Rotary positions of the units of a head.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rotary {
    /// By how much every pair of units turns from one position to the next; units behind the pairs stay.
    frequencies: Vec<f64>,
    /// What cosines and sines are multiplied by.
    factor: f64,
}

impl Rotary {
    /// The same, if all of so many units turn.
    pub(super) fn of_all(self, units: usize) -> Result<Self> {
        match 2 * self.frequencies.len() {
            turned if turned == units => Ok(self),
            turned => Err(wrong(&format!(
                "partial_rotary_factor: only a part of its units has rotary positions, {turned} of {units}, which is not built"
            ))),
        }
    }
}

impl Config {
    /// Rotary positions of heads of so many units; `layer` is the kind of layer where they have rotary positions of their own.
    pub(super) fn rotary(&self, units: usize, layer: Option<&str>, span: Span) -> Result<Rotary> {
        let own = self.rotary_entries(layer)?;
        let part = own.positive_if_any("partial_rotary_factor")?.unwrap_or(1.0);
        let turned = (part * units as f64) as usize;
        if turned > units.min(MOST_UNITS) || turned == 0 || !turned.is_multiple_of(2) {
            return Err(wrong(&format!("rotary positions do not fit {units} units of a head and a part of {part}")));
        }
        if own.get("mrope_section").is_some() {
            return Err(own.unfit("mrope_section", "missing: positions of several axes are not built"));
        }
        let theta = own.positive("rope_theta")?;
        let plain: Vec<f64> = (0..turned / 2).map(|pair| theta.powf(-2.0 * pair as f64 / turned as f64)).collect();
        let key = if own.get("rope_type").is_some() { "rope_type" } else { "type" };
        let (frequencies, factor) = match if own.get(key).is_none() { "default" } else { own.text(key)? } {
            // What is dynamic differs behind the last position alone.
            "default" | "dynamic" => (plain, 1.0),
            "linear" => {
                let factor = own.positive("factor")?;
                (plain.iter().map(|f| f / factor).collect(), 1.0)
            }
            "llama3" => (own.by_wavelength(&plain)?, 1.0),
            "yarn" => own.ramped(&plain, theta)?,
            "longrope" => own.by_unit(&plain, span)?,
            other => {
                return Err(wrong(&format!(
                    "{key}: its rotary positions are of type `{other}`, which is not known here"
                )));
            }
        };
        Ok(Rotary { frequencies, factor })
    }

    /// What is said of rotary positions, in all the places where it is said.
    fn rotary_entries(&self, layer: Option<&str>) -> Result<Self> {
        let said = match (self.within("rope_scaling")?, self.within("rope_parameters")?, layer) {
            (Some(said), _, _) | (None, Some(said), None) => Some(said),
            (None, Some(said), Some(layer)) => said.within(layer)?,
            (None, None, _) => None,
        };
        let mut own = said.unwrap_or_else(Self::empty);
        if let Some(trained) = self.get("original_max_position_embeddings") {
            own = own.with("original_max_position_embeddings", trained.clone());
        }
        for (key, other) in [
            ("rope_theta", self.get("rope_theta")),
            ("partial_rotary_factor", self.get("partial_rotary_factor")),
            ("original_max_position_embeddings", self.get("max_position_embeddings")),
            ("max_position_embeddings", self.get("max_position_embeddings")),
        ] {
            own = other.into_iter().fold(own, |own, value| own.or(key, value.clone()));
        }
        Ok(own.or("rope_theta", 1e4.into()))
    }

    /// `llama3`: what turns slowly is slowed down, what turns fast is not.
    fn by_wavelength(&self, plain: &[f64]) -> Result<Vec<f64>> {
        let (factor, trained) = (self.positive("factor")?, self.positive("original_max_position_embeddings")?);
        let (low, high) = (self.positive("low_freq_factor")?, self.positive("high_freq_factor")?);
        let slowed = |f: &f64| {
            // Turns within the positions that it was trained for.
            let turns = trained * f / (2.0 * PI);
            if turns > high {
                *f
            } else if turns < low {
                f / factor
            } else {
                let fast = (turns - low) / (high - low);
                (1.0 - fast) * f / factor + fast * f
            }
        };
        Ok(plain.iter().map(slowed).collect())
    }

    /// How much further it reaches than what it was trained for.
    fn reach(&self) -> Result<f64> {
        match self.positive_if_any("factor")? {
            Some(factor) => Ok(factor),
            None => Ok(self.positive("max_position_embeddings")? / self.positive("original_max_position_embeddings")?),
        }
    }

    /// `yarn`: slowed down along a ramp over the pairs, and all made larger.
    fn ramped(&self, plain: &[f64], theta: f64) -> Result<(Vec<f64>, f64)> {
        let (reach, trained) = (self.reach()?, self.positive("original_max_position_embeddings")?);
        let larger = |by: f64| if reach <= 1.0 { 1.0 } else { 0.1 * by * reach.ln() + 1.0 };
        let factor = match (self.positive_if_any("attention_factor")?, self.number_or("mscale", 0.0)?) {
            (Some(factor), _) => factor,
            (None, scale) => match self.number_or("mscale_all_dim", 0.0)? {
                all if all != 0.0 && scale != 0.0 => larger(scale) / larger(all),
                _ => larger(1.0),
            },
        };
        let turned = 2.0 * plain.len() as f64;
        let pair_of = |turns: f64| turned * (trained / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
        let fast = self.positive_if_any("beta_fast")?.unwrap_or(32.0);
        let slow = self.positive_if_any("beta_slow")?.unwrap_or(1.0);
        let (mut first, mut last) = (pair_of(fast), pair_of(slow));
        if self.flag_or("truncate", true)? {
            (first, last) = (first.floor(), last.ceil());
        }
        (first, last) = (first.max(0.0), last.min(turned - 1.0));
        // A ramp has a width.
        let width = if first == last { 0.001 } else { last - first };
        let slowed = |(pair, f): (usize, &f64)| {
            let slow = ((pair as f64 - first) / width).clamp(0.0, 1.0);
            f / reach * slow + f * (1.0 - slow)
        };
        Ok((plain.iter().enumerate().map(slowed).collect(), factor))
    }

    /// `longrope`: every pair has a divisor, another one where a text is longer than what it was trained for.
    fn by_unit(&self, plain: &[f64], span: Span) -> Result<(Vec<f64>, f64)> {
        let (reach, trained) = (self.reach()?, self.positive("original_max_position_embeddings")?);
        let factor = match self.positive_if_any("attention_factor")? {
            Some(factor) => factor,
            None if reach <= 1.0 => 1.0,
            None => (1.0 + reach.ln() / trained.ln()).sqrt(),
        };
        let key = if span.end() as f64 > trained { "long_factor" } else { "short_factor" };
        let divisors: Option<Vec<f64>> =
            self.list(key)?.unwrap_or_default().iter().map(serde_json::Value::as_f64).collect();
        match divisors.filter(|all| all.len() == plain.len() && all.iter().all(|d| *d > 0.0)) {
            Some(divisors) => Ok((plain.iter().zip(divisors).map(|(f, d)| f / d).collect(), factor)),
            None => Err(self.unfit(key, &format!("a list of {} numbers above 0", plain.len()))),
        }
    }
}

impl Build {
    /// Every pair of units `f` and `f + half` of every head, turned by an angle that grows with the position; units behind the pairs
    /// stay.
    pub(super) fn rotate(&mut self, name: &str, x: ValueId, rotary: &Rotary) -> Result<ValueId> {
        let (units, half) = (self.width(x), rotary.frequencies.len());
        if 2 * half == units {
            return self.rotate_all(name, x, rotary);
        }
        let turning = self.part(&format!("{name}.turning"), x, 0, 2 * half)?;
        let turned = self.rotate_all(name, turning, rotary)?;
        let staying = self.part(&format!("{name}.staying"), x, 2 * half, units - 2 * half)?;
        Ok(self.graph.push(&format!("{name}.whole"), Op::Concat { axis: 3 }, &[turned, staying])?)
    }

    fn rotate_all(&mut self, name: &str, x: ValueId, rotary: &Rotary) -> Result<ValueId> {
        let (units, half) = (self.width(x), rotary.frequencies.len());
        let Span { past, length } = self.span;
        let first = past.unwrap_or(0);
        let angles = (first..first + length).flat_map(|at| (0..units).map(move |unit| (at, unit % half)));
        let angles: Vec<f64> = angles.map(|(at, pair)| at as f64 * rotary.frequencies[pair]).collect();
        let of = |f: fn(f64) -> f64| {
            Tensor::from_f32(&[length, units], angles.iter().map(|a| (rotary.factor * f(*a)) as f32).collect())
        };
        let (cos, sin) = (of(f64::cos)?, of(f64::sin)?);
        let cos = self.graph.constant(&format!("{name}.cos"), cos)?;
        let sin = self.graph.constant(&format!("{name}.sin"), sin)?;
        let (low, high) =
            (self.part(&format!("{name}.low"), x, 0, half)?, self.part(&format!("{name}.high"), x, half, half)?);
        let minus = self.unary(&format!("{name}.minus"), Unary::Neg, high)?;
        let turned = self.graph.push(&format!("{name}.turned"), Op::Concat { axis: 3 }, &[minus, low])?;
        let (x, turned) =
            (self.multiply(&format!("{name}.along"), x, cos)?, self.multiply(&format!("{name}.across"), turned, sin)?);
        self.add(&format!("{name}.rotated"), x, turned)
    }
}
