//! Least squares from sums.

use onebasin_core::solve::{NormalSums, Rows};
use onebasin_core::stream::Stream;

/// Rows, targets, weights of rows and a prior.
struct Problem {
    inputs: usize,
    units: usize,
    x: Vec<f32>,
    r: Vec<f32>,
    weights: Option<Vec<f32>>,
    prior: Vec<f64>,
}

impl Problem {
    fn new(seed: u64, [rows, inputs, units]: [usize; 3], weighted: bool) -> Self {
        let mut stream = Stream::new(seed, "least squares");
        let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| stream.normal() as f32 + 0.5).collect() };
        let (x, r) = (draw(rows * inputs), draw(rows * units));
        let weights = weighted.then(|| draw(rows).into_iter().map(f32::abs).collect());
        let prior = draw(units * inputs).into_iter().map(f64::from).collect();
        Self { inputs, units, x, r, weights, prior }
    }

    fn rows(&self) -> usize {
        self.r.len() / self.units
    }

    /// Sums over pieces, absorbed in order.
    fn sums(&self, most: usize, pieces: usize) -> NormalSums {
        let mut all = NormalSums::new(self.inputs, self.units, most);
        let each = self.rows().div_ceil(pieces);
        for start in (0..self.rows()).step_by(each) {
            let end = (start + each).min(self.rows());
            let mut part = NormalSums::new(self.inputs, self.units, most);
            part.add(&Rows {
                inputs: &self.x[start * self.inputs..end * self.inputs],
                targets: &self.r[start * self.units..end * self.units],
                weights: self.weights.as_ref().map(|w| &w[start..end]),
            });
            all.absorb(part);
        }
        all
    }

    /// Gradients of `Σ w |W x + b − r|² / 2 + d |W − W₀|² / 2`, by weight and by bias, as shares of `Σ w |x| |r|`.
    fn slope(&self, w: &[f64], bias: &[f64], ridge: f64) -> (f64, f64) {
        let (mut by_weight, mut by_bias) = (vec![0.0; w.len()], vec![0.0; self.units]);
        let mut size = 0.0_f64;
        for row in 0..self.rows() {
            let x = &self.x[row * self.inputs..][..self.inputs];
            let count = self.weights.as_ref().map_or(1.0, |w| f64::from(w[row]));
            for unit in 0..self.units {
                let own = &w[unit * self.inputs..][..self.inputs];
                let given: f64 = own.iter().zip(x).map(|(w, x)| w * f64::from(*x)).sum::<f64>() + bias[unit];
                let error = count * (given - f64::from(self.r[row * self.units + unit]));
                by_bias[unit] += error;
                for (slope, x) in by_weight[unit * self.inputs..].iter_mut().zip(x) {
                    *slope += error * f64::from(*x);
                }
                size += count * f64::from(self.r[row * self.units + unit]).abs();
            }
        }
        for ((slope, w), prior) in by_weight.iter_mut().zip(w).zip(&self.prior) {
            *slope += ridge * (w - prior);
        }
        let largest = |all: &[f64]| all.iter().map(|s| s.abs()).fold(0.0, f64::max) / size;
        (largest(&by_weight), largest(&by_bias))
    }
}

/// At a minimum no gradient is left, whichever form the problem is solved in.
#[test]
fn solutions_are_minima() {
    for seed in 0..40 {
        let sizes = [3 + seed as usize * 7 % 60, 1 + seed as usize * 5 % 40, 1 + seed as usize % 7];
        for (weighted, intercept) in [(false, true), (true, true), (true, false)] {
            let problem = Problem::new(seed, sizes, weighted);
            for most in [problem.rows(), usize::MAX] {
                let sums = problem.sums(most, 3);
                let normal = sums.normal(intercept, 1e-2).unwrap();
                let found = normal.solve(&sums, &problem.prior);
                let (by_weight, by_bias) = problem.slope(&found.weights, &found.bias, normal.ridge());
                assert!(by_weight < 1e-5, "{sizes:?}, weighted {weighted}, intercept {intercept}: {by_weight}");
                assert!(if intercept { by_bias < 1e-5 } else { found.bias.iter().all(|b| *b == 0.0) }, "{by_bias}");
            }
        }
    }
}

#[test]
fn both_forms_agree_on_moments_and_other_targets() {
    let problem = Problem::new(7, [12, 30, 4], true);
    let other = Problem { r: problem.r.iter().map(|r| r * r).collect(), ..Problem::new(7, [12, 30, 4], true) };
    let both = [12, usize::MAX].map(|most| {
        let sums = problem.sums(most, 2);
        let normal = sums.normal(true, 1e-3).unwrap();
        let mut again = sums.again();
        again.add(&Rows { inputs: &other.x, targets: &other.r, weights: other.weights.as_deref() });
        let found = normal.solve(&again, &problem.prior);
        let moments = normal.moments(&sums, &found.weights);
        (found, moments)
    });
    let near = |a: f64, b: f64| (a - b).abs() < 1e-3 * (1.0 + a.abs());
    assert!(both[0].0.weights.iter().zip(&both[1].0.weights).all(|(a, b)| near(*a, *b)));
    assert!(both[0].0.bias.iter().zip(&both[1].0.bias).all(|(a, b)| near(*a, *b)));
    assert!(both[0].1.iter().zip(&both[1].1).all(|(a, b)| near(a.0, b.0) && near(a.1, b.1)));
}

/// Against the rows themselves.
#[test]
fn moments_are_those_of_what_is_given() {
    let problem = Problem::new(3, [50, 150, 3], false);
    let (rows, inputs) = (problem.rows(), problem.x.len() / problem.rows());
    for most in [rows, usize::MAX] {
        let sums = problem.sums(most, 3);
        let normal = sums.normal(true, 1e-3).unwrap();
        let weights = normal.solve(&sums, &problem.prior).weights;
        for (found, unit) in normal.moments(&sums, &weights).into_iter().zip(weights.chunks_exact(inputs)) {
            let row = |x: &[f32]| x.iter().zip(unit).map(|(x, w)| f64::from(*x) * w).sum::<f64>();
            let given: Vec<f64> = problem.x.chunks_exact(inputs).map(row).collect();
            let mean = given.iter().sum::<f64>() / rows as f64;
            let variance = given.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / rows as f64;
            let near = |a: f64, b: f64| (a - b).abs() < 1e-4 * (1.0 + b.abs());
            assert!(near(found.0, mean) && near(found.1, variance), "{found:?}, {mean}, {variance}");
        }
    }
}

#[test]
fn inputs_that_say_the_same_or_nothing_leave_the_prior() {
    let (x, r) = ([0.0_f32, 0.0, 0.0, 0.0], [1.0_f32, 3.0]);
    let mut sums = NormalSums::new(2, 1, usize::MAX);
    sums.add(&Rows { inputs: &x, targets: &r, weights: None });
    let found = sums.normal(true, 0.0).unwrap().solve(&sums, &[5.0, -5.0]);
    assert_eq!((&found.weights[..], &found.bias[..]), (&[5.0, -5.0][..], &[2.0][..]));
    let mut broken = NormalSums::new(2, 1, usize::MAX);
    broken.add(&Rows { inputs: &[f32::NAN, 1.0], targets: &[1.0], weights: None });
    assert!(broken.normal(true, 1e-3).is_none());
}
