//! Class probabilities: of one network or an ensemble, and how far they can be trusted.

use onebasin_core::Params;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::evaluate::each_shard;
use crate::exec::Program;
use crate::samples::{Field, FieldKind, Samples};
use crate::task::{Classes, Task};

/// Bins of confidence.
const BINS: usize = 15;

/// Class probabilities of samples.
///
/// ```
/// use onebasin_nn::Predictions;
/// let found = Predictions { classes: 2, probabilities: vec![0.9, 0.1, 0.4, 0.6] };
/// assert_eq!(found.scores(&[0, 0]).accuracy, 0.5);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Number of classes.
    pub classes: usize,
    /// `[samples, classes]`.
    pub probabilities: Vec<f64>,
}

/// What predictions are worth.
///
/// ```
/// use onebasin_nn::Predictions;
/// // Certain, and wrong half of the time.
/// let found = Predictions { classes: 2, probabilities: [1.0, 0.0].repeat(4) }.scores(&[0, 0, 1, 1]);
/// assert_eq!((found.accuracy, found.calibration_error, found.top_five), (0.5, 0.5, 1.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean cross-entropy, in nats.
    pub loss: f64,
    /// Share of samples classified right, in [0, 1].
    pub accuracy: f64,
    /// Share of samples whose class is among the five most probable, in [0, 1]; of equally probable ones, the first.
    pub top_five: f64,
    /// Expected calibration error: how far confidence is from accuracy, in [0, 1].
    pub calibration_error: f64,
}

/// Predicts the classes of all samples: the softmax of the first output. BatchNorms use their running statistics.
///
/// Formula: `p_sc = exp z_sc / Σ_k exp z_sk`, in f64 and stabilised by the largest output.
///
/// Shapes: `[samples, classes]`. Cost: one forward pass over the data, in shards side by side on threads.
///
/// # Errors
/// If a tensor of the network is missing, its inputs do not fit the samples, or their labels are of other classes.
///
/// ```
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::samples::synthetic;
/// use onebasin_nn::{Network, predict};
/// let network = Network::new("mlp:8x1", &[4], 3)?;
/// let (graph, params) = (network.graph()?, network.init(0)?);
/// let data = synthetic(&graph, 2, 0)?;
/// let found = predict(&Program::new(graph)?, &params, &data)?;
/// assert_eq!((found.classes, found.probabilities.len()), (3, 6));
/// assert!((found.probabilities[..3].iter().sum::<f64>() - 1.0).abs() < 1e-12);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn predict(program: &Program, params: &Params, data: &dyn Samples) -> Result<Predictions> {
    if let Some(Field { kind: FieldKind::Index { .. }, .. }) = data.target() {
        Task::<f32>::check(&Classes, program.graph(), data)?;
    }
    let classes = classes(program);
    let shards = each_shard(program, params, data, |space, _| {
        Ok(space.output().chunks_exact(classes).flat_map(softmax).collect::<Vec<f64>>())
    })?;
    Ok(Predictions { classes, probabilities: shards.concat() })
}

/// Numbers in the first output of a sample.
fn classes(program: &Program) -> usize {
    let graph = program.graph();
    graph.outputs().first().map_or(1, |v| graph.shape(*v).iter().skip(1).product())
}

/// The probabilities of one sample.
fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |m, v| m.max(*v));
    let raised: Vec<f64> = logits.iter().map(|v| f64::from(v - largest).exp()).collect();
    let sum: f64 = raised.iter().sum();
    raised.iter().map(|r| r / sum).collect()
}

/// The mean of the predictions of several networks, held one at a time; not a number where there is none.
///
/// Formula: `p = 1/K Σ_k p_k`. Cost: one forward pass of each.
///
/// # Errors
/// Those of [`predict`], and of whatever gives the networks.
///
/// ```
/// use onebasin_nn::exec::Program;
/// use onebasin_nn::samples::synthetic;
/// use onebasin_nn::{Network, predict_ensemble};
/// let network = Network::new("mlp:8x1", &[4], 3)?;
/// let graph = network.graph()?;
/// let data = synthetic(&graph, 2, 0)?;
/// let mut networks = (0..3).map(|seed| network.init(seed));
/// let found = predict_ensemble(&Program::new(graph)?, &mut networks, &data)?;
/// assert!((found.probabilities[..3].iter().sum::<f64>() - 1.0).abs() < 1e-12);
/// # Ok::<(), onebasin_nn::Error>(())
/// ```
pub fn predict_ensemble(
    program: &Program,
    models: &mut dyn Iterator<Item = Result<Params>>,
    data: &dyn Samples,
) -> Result<Predictions> {
    let classes = classes(program);
    let mut total = vec![0.0; data.len() * classes];
    let mut count = 0.0;
    for model in models {
        let one = predict(program, &model?, data)?;
        total.iter_mut().zip(one.probabilities).for_each(|(t, p)| *t += p);
        count += 1.0;
    }
    for t in &mut total {
        *t /= count;
    }
    Ok(Predictions { classes, probabilities: total })
}

/// Samples of similar confidence: one bar of a reliability diagram.
///
/// ```
/// use onebasin_nn::Predictions;
/// let bins = Predictions { classes: 2, probabilities: vec![0.97, 0.03, 0.5, 0.5] }.reliability(&[0, 0]);
/// assert_eq!((bins.len(), bins[14].samples, bins[14].confidence, bins[7].accuracy), (15, 1, 0.97, 1.0));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Number of them.
    pub samples: usize,
    /// Mean of their largest probabilities.
    pub confidence: f64,
    /// Share of them classified right.
    pub accuracy: f64,
}

impl Predictions {
    /// Compares with what is right.
    ///
    /// Formula: with the confidence `c_s` of a sample the largest of its probabilities and `r_s` 1 where that class is
    /// right, the calibration error is `Σ_bins |Σ_{s in bin} (r_s − c_s)| / samples`, over [`Self::reliability`]'s bins. The
    /// loss is `−1/n Σ_s log p_s,label`, of probabilities of `f64`'s least normal number at least.
    ///
    /// Shapes: one label a sample, below [`Self::classes`]. Cost: linear in samples and classes.
    ///
    /// Source: Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.
    ///
    /// # Panics
    /// If there are not as many labels as samples.
    #[must_use]
    pub fn scores(&self, labels: &[u32]) -> Scores {
        let (mut loss, mut correct, mut among) = (0.0, 0.0, 0.0);
        for (p, label) in self.each(labels) {
            loss -= p[label].max(f64::MIN_POSITIVE).ln();
            correct += f64::from(best(p) == label);
            let before = |(k, q): (usize, &f64)| *q > p[label] || (*q == p[label] && k < label);
            among += f64::from(p.iter().enumerate().filter(|&at| before(at)).count() < 5);
        }
        let count = labels.len() as f64;
        let gap = |bin: &Bin| bin.samples as f64 * (bin.accuracy - bin.confidence).abs();
        let calibration_error = self.reliability(labels).iter().map(gap).sum::<f64>() / count;
        Scores { loss: loss / count, accuracy: correct / count, top_five: among / count, calibration_error }
    }

    /// Share of every class's samples that are classified right, in [0, 1]; none where a class has no sample.
    ///
    /// Shapes: one label a sample, below [`Self::classes`]; one share a class. Cost: linear in samples and classes.
    ///
    /// # Panics
    /// If there are not as many labels as samples.
    ///
    /// ```
    /// use onebasin_nn::Predictions;
    /// let found = Predictions { classes: 3, probabilities: [0.6, 0.4, 0.0].repeat(2) };
    /// assert_eq!(found.by_class(&[0, 1]), [Some(1.0), Some(0.0), None]);
    /// ```
    #[must_use]
    pub fn by_class(&self, labels: &[u32]) -> Vec<Option<f64>> {
        let mut right = vec![(0.0, 0.0); self.classes];
        for (p, label) in self.each(labels) {
            right[label].0 += f64::from(best(p) == label);
            right[label].1 += 1.0;
        }
        right.into_iter().map(|(right, all)| (all > 0.0).then_some(right / all)).collect()
    }

    /// How often predictions are right by their confidence, in 15 bins of the same width; empty bins are zeros.
    ///
    /// Shapes: one label a sample. Cost: linear in samples and classes.
    ///
    /// Source: Guo et al. 2017, reliability diagrams.
    ///
    /// # Panics
    /// If there are not as many labels as samples.
    #[must_use]
    pub fn reliability(&self, labels: &[u32]) -> Vec<Bin> {
        let mut bins = vec![Bin::default(); BINS];
        for (p, label) in self.each(labels) {
            let best = best(p);
            let bin = &mut bins[((p[best] * BINS as f64) as usize).min(BINS - 1)];
            bin.samples += 1;
            bin.confidence += p[best];
            bin.accuracy += f64::from(best == label);
        }
        for bin in &mut bins {
            let count = bin.samples.max(1) as f64;
            (bin.confidence, bin.accuracy) = (bin.confidence / count, bin.accuracy / count);
        }
        bins
    }

    /// The probabilities of every sample, with its label.
    fn each<'a>(&'a self, labels: &'a [u32]) -> impl Iterator<Item = (&'a [f64], usize)> {
        assert_eq!(labels.len() * self.classes, self.probabilities.len(), "one label per sample");
        self.probabilities.chunks_exact(self.classes).zip(labels.iter().map(|l| *l as usize))
    }
}

/// The most probable class; of equally probable ones, the first.
fn best(p: &[f64]) -> usize {
    (0..p.len()).fold(0, |best, k| if p[k] > p[best] { k } else { best })
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

    /// Against sorting; membership is a sample's own, not the batch's.
    #[test]
    fn five_are_a_samples_own() {
        let (classes, samples) = (100, 300);
        let mut stream = onebasin_core::stream::Stream::new(0, "top");
        let probabilities: Vec<f64> =
            (0..samples * classes).map(|_| (stream.uniform() * 50.0).floor() / 50.0).collect();
        let labels: Vec<u32> = (0..samples).map(|_| stream.below(classes) as u32).collect();
        let predictions = Predictions { classes, probabilities };
        let among = |(p, label): &(&[f64], &u32)| {
            let mut order: Vec<usize> = (0..classes).collect();
            order.sort_by(|&i, &j| p[j].total_cmp(&p[i]));
            order[..5].contains(&(**label as usize))
        };
        let expected = predictions.probabilities.chunks_exact(classes).zip(&labels).filter(among).count();
        let found = predictions.scores(&labels).top_five;
        assert_eq!(found, expected as f64 / samples as f64);
        assert!(found < 0.15, "{found}");
    }
}
