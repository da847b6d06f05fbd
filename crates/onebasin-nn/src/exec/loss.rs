//! Softmax cross-entropy, stabilised by the largest output.

use crate::ops::Real;

/// Loss and number of correct answers, summed over samples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome {
    /// Sum of the cross-entropies, in nats.
    pub loss: f64,
    /// Samples whose largest output is the right class.
    pub correct: usize,
}

impl std::ops::Add for Outcome {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { loss: self.loss + other.loss, correct: self.correct + other.correct }
    }
}

impl std::iter::Sum for Outcome {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| a + b)
    }
}

/// `Σ_s (log Σ_c exp z_sc − z_s,label)` of `logits [labels, classes]`.
pub(crate) fn cross_entropy<T: Real>(logits: &[T], labels: &[u16]) -> Outcome {
    let sample = |(z, &label): (&[T], &u16)| {
        let largest = z.iter().fold(T::neg_infinity(), |m, &v| m.max(v));
        let sum: f64 = z.iter().map(|&v| (v - largest).wide().exp()).sum();
        let best = z.iter().position(|v| *v == largest);
        let loss = sum.ln() + largest.wide() - z[usize::from(label)].wide();
        Outcome { loss, correct: usize::from(best == Some(usize::from(label))) }
    };
    logits.chunks_exact((logits.len() / labels.len().max(1)).max(1)).zip(labels).map(sample).sum()
}

/// Writes the gradient of `scale ·` [`cross_entropy`]: `scale · (softmax z − 1_label)`.
pub(crate) fn cross_entropy_gradient<T: Real>(logits: &[T], labels: &[u16], scale: T, gradient: &mut [T]) {
    let classes = (logits.len() / labels.len().max(1)).max(1);
    for ((d, z), &label) in gradient.chunks_exact_mut(classes).zip(logits.chunks_exact(classes)).zip(labels) {
        let largest = z.iter().fold(T::neg_infinity(), |m, &v| m.max(v));
        d.iter_mut().zip(z).for_each(|(d, z)| *d = (*z - largest).exp());
        let sum: T = d.iter().copied().sum();
        for d in d.iter_mut() {
            *d *= scale / sum;
        }
        let at = &mut d[usize::from(label)];
        *at -= scale;
    }
}
