//! What judging outputs adds up to.

/// Loss and right answers, summed.
///
/// ```
/// use onebasin_nn::exec::Outcome;
/// let one = Outcome { loss: 0.5, correct: Some(1), count: 1 };
/// let both = one + Outcome { loss: 1.0, correct: Some(0), count: 1 };
/// assert_eq!(both, Outcome { loss: 1.5, correct: Some(1), count: 2 });
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome {
    /// Sum of the losses.
    pub loss: f64,
    /// How many answers are right; none where nothing is right or wrong.
    pub correct: Option<usize>,
    /// How many answers were judged: samples, or their positions.
    pub count: usize,
}

impl std::ops::Add for Outcome {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let correct = match (self.correct, other.correct) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        Self { loss: self.loss + other.loss, correct, count: self.count + other.count }
    }
}

impl std::iter::Sum for Outcome {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| a + b)
    }
}
