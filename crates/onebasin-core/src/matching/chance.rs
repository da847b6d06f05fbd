//! How probable a number is among draws.

/// Probability up to which a result is taken for no accident.
pub(super) const LEVEL: f64 = 0.01;

/// Numbers drawn under a null hypothesis: an odd number of them, at least three.
#[derive(Debug)]
pub(super) struct Draws(pub(super) Vec<f64>);

impl Draws {
    pub(super) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// How far a value lies above the draws, in their standard deviations.
    pub(super) fn distance(&self, value: f64) -> f64 {
        (value - self.mean()) / self.spread()
    }

    /// The probability of a draw that is at least so large.
    ///
    /// Formula: `(1 + k) / (m + 1)` where `k > 0` of `m` draws are; else the smaller of that and the tail of Student's t at
    /// the distance to the mean over `√(1 + 1/m)`.
    pub(super) fn probability(&self, value: f64) -> f64 {
        let m = self.0.len() as f64;
        let reaching = self.0.iter().filter(|draw| **draw >= value).count();
        if reaching > 0 {
            return (1 + reaching) as f64 / (m + 1.0);
        }
        tail(self.distance(value) / (1.0 + 1.0 / m).sqrt(), self.0.len() - 1).min(1.0 / (m + 1.0))
    }

    /// The smallest number of a probability below the level.
    pub(super) fn least(&self) -> f64 {
        let m = self.0.len() as f64;
        let largest = self.0.iter().fold(f64::NEG_INFINITY, |most, draw| most.max(*draw));
        if 1.0 / (m + 1.0) <= LEVEL {
            return largest;
        }
        let (mut low, mut high) = (0.0, 1e3);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if tail(middle, self.0.len() - 1) > LEVEL { low = middle } else { high = middle }
        }
        largest.max(self.mean() + high * (1.0 + 1.0 / m).sqrt() * self.spread())
    }

    fn spread(&self) -> f64 {
        let centre = self.mean();
        let variance = self.0.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / (self.0.len() - 1) as f64;
        variance.sqrt().max(1e-12 * centre.abs().max(f64::MIN_POSITIVE * 1e12))
    }
}

/// The probability that Student's t with an even number of degrees of freedom exceeds `t`.
///
/// Formula: `½ (1 − s Σ_k c_k (1 − s²)^k)` with `s = t / √(ν + t²)`, `c_0 = 1`, `c_k = c_{k−1} (2k − 1) / 2k`, over
/// `k < ν / 2`.
///
/// Source: Abramowitz and Stegun 1964, 26.7.4.
fn tail(t: f64, freedom: usize) -> f64 {
    let freedom_squared = freedom as f64 + t * t;
    let (s, rest) = (t / freedom_squared.sqrt(), freedom as f64 / freedom_squared);
    let (mut sum, mut term) = (0.0, 1.0);
    for k in 1..=freedom / 2 {
        sum += term;
        term *= (2 * k - 1) as f64 / (2 * k) as f64 * rest;
    }
    (0.5 * (1.0 - s * sum)).max(1e-16)
}

#[cfg(test)]
mod tests {
    use super::{Draws, tail};

    #[test]
    fn the_tail_is_that_of_tables() {
        for (t, freedom, expected) in [(2.896, 8, 0.01), (1.734, 18, 0.05), (0.0, 38, 0.5), (6.965, 2, 0.01)] {
            assert!((tail(t, freedom) - expected).abs() < 1e-4, "{t}, {freedom}: {}", tail(t, freedom));
        }
    }

    #[test]
    fn what_is_least_is_just_improbable() {
        for count in [9, 19, 99] {
            let draws = Draws((0..count).map(f64::from).collect());
            assert!(draws.probability(1.0001 * draws.least()) <= 0.01 + 1e-9, "{count}");
            assert!(draws.probability(0.9 * draws.least()) > 0.01, "{count}");
        }
    }
}
