//! Class probabilities: of one network or an ensemble, and how far they can be trusted.

use onebasin::Params;
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::error::Result;
use crate::evaluate::each_shard;
use crate::exec::Program;

/// Bins of confidence.
const BINS: usize = 15;

/// Class probabilities of every sample of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Number of classes.
    pub classes: usize,
    /// `[samples, classes]`.
    pub probabilities: Vec<f64>,
}

/// What predictions are worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Share of samples classified right, in [0, 1].
    pub accuracy: f64,
    /// Expected calibration error: how far confidence is from accuracy, in [0, 1].
    pub calibration_error: f64,
}

/// Predicts the classes of all samples: the softmax of the first output. BatchNorms use their running statistics.
///
/// Shapes: `[samples, classes]`. Cost: one forward pass over the data, in shards side by side on threads.
///
/// # Errors
/// If a tensor of the network is missing, or its first input or output does not fit the data.
pub fn predict(program: &Program, params: &Params, data: &Dataset) -> Result<Predictions> {
    let classes = data.classes();
    let shards = each_shard(program, params, data, |space, _| {
        space.output().chunks_exact(classes).flat_map(softmax).collect::<Vec<f64>>()
    })?;
    Ok(Predictions { classes, probabilities: shards.concat() })
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |m, v| m.max(*v));
    let raised: Vec<f64> = logits.iter().map(|v| f64::from(v - largest).exp()).collect();
    let sum: f64 = raised.iter().sum();
    raised.iter().map(|r| r / sum).collect()
}

/// The mean of the predictions of several networks, held one at a time.
///
/// # Errors
/// Those of [`predict`].
pub fn predict_ensemble(
    program: &Program,
    models: &mut dyn Iterator<Item = Result<Params>>,
    data: &Dataset,
) -> Result<Predictions> {
    let mut total = vec![0.0; data.len() * data.classes()];
    let mut count = 0.0;
    for model in models {
        let one = predict(program, &model?, data)?;
        total.iter_mut().zip(one.probabilities).for_each(|(t, p)| *t += p);
        count += 1.0;
    }
    for t in &mut total {
        *t /= count;
    }
    Ok(Predictions { classes: data.classes(), probabilities: total })
}

impl Predictions {
    /// Compares with what is right.
    ///
    /// Formula: with the confidence `c_s` of a sample the largest of its probabilities and `r_s` 1 where that class is
    /// right, the calibration error is `Σ_bins |Σ_{s in bin} (r_s − c_s)| / samples`, over 15 bins of confidence of the
    /// same width.
    ///
    /// Source: Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.
    ///
    /// # Panics
    /// If there are not as many labels as samples.
    #[must_use]
    pub fn scores(&self, labels: &[u16]) -> Scores {
        assert_eq!(labels.len() * self.classes, self.probabilities.len(), "one label per sample");
        let (mut loss, mut correct, mut gaps) = (0.0, 0.0, [0.0_f64; BINS]);
        for (p, &label) in self.probabilities.chunks_exact(self.classes).zip(labels) {
            let best = (0..p.len()).fold(0, |best, k| if p[k] > p[best] { k } else { best });
            let right = f64::from(best == usize::from(label));
            loss -= p[usize::from(label)].max(f64::MIN_POSITIVE).ln();
            correct += right;
            gaps[((p[best] * BINS as f64) as usize).min(BINS - 1)] += right - p[best];
        }
        let count = labels.len() as f64;
        let calibration_error = gaps.iter().map(|g| g.abs()).sum::<f64>() / count;
        Scores { loss: loss / count, accuracy: correct / count, calibration_error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_that_is_right_as_often_as_it_says_is_calibrated() {
        let predictions = Predictions { classes: 2, probabilities: [0.75, 0.25].repeat(4) };
        let scores = predictions.scores(&[0, 0, 0, 1]);
        assert!(scores.calibration_error < 1e-15, "{scores:?}");
        assert!((scores.accuracy - 0.75).abs() < 1e-15);
        assert!((scores.loss - -(0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln())).abs() < 1e-15);
    }

    #[test]
    fn overconfidence_is_the_distance_to_accuracy() {
        let predictions = Predictions { classes: 2, probabilities: [1.0, 0.0].repeat(4) };
        assert!((predictions.scores(&[0, 0, 0, 1]).calibration_error - 0.25).abs() < 1e-15);
    }

    #[test]
    fn errors_of_different_bins_do_not_cancel() {
        let predictions = Predictions { classes: 2, probabilities: vec![0.9, 0.1, 0.6, 0.4] };
        assert!((predictions.scores(&[1, 0]).calibration_error - 0.65).abs() < 1e-15);
    }
}
