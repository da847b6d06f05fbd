//! Optimisers and learning-rate schedules.

use onebasin_core::linalg::vectorized;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How gradients become steps.
///
/// ```
/// use onebasin_nn::optim::Optimizer;
/// let sgd = Optimizer::Sgd { momentum: 0.5, weight_decay: 0.0 };
/// let (mut weights, mut moments) = ([1.0], vec![vec![0.0]; sgd.moments()]);
/// sgd.step(&mut weights, &[&[2.0]], &mut moments, 0.25, 1); // v = 2
/// sgd.step(&mut weights, &[&[0.0]], &mut moments, 0.25, 2); // v = 1
/// assert_eq!((weights, moments[0][0]), ([0.25], 1.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    /// Adam (Kingma and Ba 2015) with β = (0.9, 0.999), ε = 1e-8, bias-corrected: `m ← β₁ m + (1 − β₁) g`,
    /// `v ← β₂ v + (1 − β₂) g²`, `w ← w − rate · m̂ / (√v̂ + ε)` with `m̂ = m / (1 − β₁ᵗ)` and `v̂ = v / (1 − β₂ᵗ)`.
    Adam,
    /// `v ← momentum · v + (g + weight_decay · w)`, `w ← w − rate · v`.
    Sgd {
        /// Momentum.
        momentum: f32,
        /// Coupled weight decay, applied to every parameter.
        weight_decay: f32,
    },
}

/// Learning rate as a function of the step.
///
/// ```
/// use onebasin_nn::optim::Schedule;
/// let cosine = Schedule::Cosine { warmup_epochs: 1.0 };
/// // Two epochs of 10 steps: the rate is reached after the first, and half of it in the middle of the second.
/// assert!((cosine.rate(0.1, 10, 10, 20) - 0.1).abs() < 1e-12);
/// assert!((cosine.rate(0.1, 15, 10, 20) - 0.05).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The same rate throughout.
    Constant,
    /// Linear from 1e-6 to the rate over `warmup_epochs`, then one cosine to 0.
    Cosine {
        /// Epochs of warm-up.
        warmup_epochs: f64,
    },
}

impl Schedule {
    /// The rate of step `step` (from 0) of `total`, with `per_epoch` steps in an epoch and peak `rate`.
    ///
    /// Formula, of a cosine with `w` steps of warm-up: `1e-6 + (rate − 1e-6) · step / w` before `w`, then
    /// `rate · ½ (1 + cos(π (step − w) / (total − w)))`.
    pub fn rate(self, rate: f64, step: u64, per_epoch: u64, total: u64) -> f64 {
        const FROM: f64 = 1e-6;
        let Self::Cosine { warmup_epochs } = self else { return rate };
        let warmup = warmup_epochs * per_epoch as f64;
        let step = step as f64;
        if step < warmup {
            return FROM + (rate - FROM) * step / warmup;
        }
        let progress = (step - warmup) / (total as f64 - warmup).max(1.0);
        rate * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
    }
}

/// Weights updated by one task; fixed, so that results do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

impl Optimizer {
    /// Number of state vectors as long as the weights: `m` and `v` of Adam, the velocity of SGD. They begin as zeros.
    pub fn moments(self) -> usize {
        match self {
            Self::Adam => 2,
            Self::Sgd { .. } => 1,
        }
    }

    /// Rate and ε of Adam's step of this number, from 1, with the corrections of bias in them:
    /// `w ← w − rate · m / (√v + ε)`.
    pub fn adam_step(rate: f64, step: u64) -> (f64, f64) {
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        let square = correction(0.999).sqrt();
        (rate * square / correction(0.9), 1e-8 * square)
    }

    /// One step (numbered from 1) with the sum of `gradients`, added in their order.
    ///
    /// Shapes: gradients and moments are as long as the weights. Cost: one pass over all of them, on threads.
    ///
    /// # Panics
    /// If there are not [`Self::moments`] moments.
    pub fn step(self, weights: &mut [f32], gradients: &[&[f32]], moments: &mut [Vec<f32>], rate: f64, step: u64) {
        let sum = |start: usize, len: usize| {
            let mut sum = vec![0.0_f32; len];
            for gradient in gradients {
                sum.iter_mut().zip(&gradient[start..]).for_each(|(s, g)| *s += *g);
            }
            sum
        };
        match (self, moments) {
            (Self::Adam, [m, v]) => {
                let (beta1, beta2) = (0.9_f32, 0.999_f32);
                let (scale, epsilon) = Self::adam_step(rate, step);
                let (scale, epsilon) = (scale as f32, epsilon as f32);
                let chunks = weights.par_chunks_mut(CHUNK).zip(m.par_chunks_mut(CHUNK)).zip(v.par_chunks_mut(CHUNK));
                chunks.enumerate().for_each(|(c, ((w, m), v))| {
                    vectorized(
                        #[inline(always)]
                        || {
                            let g = sum(c * CHUNK, w.len());
                            for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
                                *m = beta1 * *m + (1.0 - beta1) * g;
                                *v = beta2 * *v + (1.0 - beta2) * g * g;
                                *w -= scale * *m / (v.sqrt() + epsilon);
                            }
                        },
                    );
                });
            }
            (Self::Sgd { momentum, weight_decay }, [v]) => {
                let rate = rate as f32;
                let chunks = weights.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
                chunks.enumerate().for_each(|(c, (w, v))| {
                    vectorized(
                        #[inline(always)]
                        || {
                            let g = sum(c * CHUNK, w.len());
                            for ((w, v), g) in w.iter_mut().zip(v).zip(g) {
                                *v = momentum * *v + g + weight_decay * *w;
                                *w -= rate * *v;
                            }
                        },
                    );
                });
            }
            (Self::Adam | Self::Sgd { .. }, _) => unreachable!("moments are made for the optimiser"),
        }
    }
}
