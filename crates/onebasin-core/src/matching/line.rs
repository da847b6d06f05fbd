//! The best step along a segment on which the value is a polynomial.

use crate::error::Result;

/// The step in `[0, 1]` at which the value is highest, and that value.
///
/// The value is a polynomial f of the given degree; known are `f(0)`, its slope there and `f(1)`. Written as
/// `f(0) + slope·x + x²·q(x)`, q has two degrees less and is interpolated through `x = 1` and as many more points as it
/// needs, so quadratics need no further value. Maxima lie at the ends or where the derivative vanishes.
pub(super) fn best_step(
    degree: usize,
    start: f64,
    slope: f64,
    end: f64,
    between: &mut dyn FnMut(f64) -> Result<f64>,
) -> Result<(f64, f64)> {
    let rest = degree.saturating_sub(2);
    let mut nodes = vec![(1.0, end)];
    for k in 1..=rest {
        let x = k as f64 / (rest + 1) as f64;
        nodes.push((x, between(x)?));
    }
    let curved: Vec<(f64, f64)> = nodes.iter().map(|&(x, f)| (x, (f - start - slope * x) / (x * x))).collect();
    let polynomial = [vec![start, slope], interpolate(&curved)].concat();
    let inner = roots(&derivative(&polynomial)).into_iter().map(|x| (x, value(&polynomial, x)));
    let best = inner.chain([(1.0, end)]).fold((0.0, start), |best, x| if x.1 > best.1 { x } else { best });
    Ok(best)
}

/// Coefficients, constant first, of the polynomial through these points: Newton's form, expanded.
fn interpolate(points: &[(f64, f64)]) -> Vec<f64> {
    let mut differences: Vec<f64> = points.iter().map(|p| p.1).collect();
    for order in 1..points.len() {
        for k in (order..points.len()).rev() {
            differences[k] = (differences[k] - differences[k - 1]) / (points[k].0 - points[k - order].0);
        }
    }
    let mut polynomial: Vec<f64> = Vec::new();
    for (difference, point) in differences.iter().zip(points).rev() {
        let shifted = [vec![0.0], polynomial.clone()].concat();
        polynomial.push(0.0);
        polynomial = shifted.iter().zip(&polynomial).map(|(up, same)| up - point.0 * same).collect();
        polynomial[0] += difference;
    }
    polynomial
}

fn value(polynomial: &[f64], x: f64) -> f64 {
    polynomial.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

fn derivative(polynomial: &[f64]) -> Vec<f64> {
    polynomial.iter().enumerate().skip(1).map(|(k, c)| k as f64 * c).collect()
}

/// The roots inside (0, 1) at which the sign changes: between the roots of its derivative a polynomial is monotone.
fn roots(polynomial: &[f64]) -> Vec<f64> {
    if polynomial.len() < 2 {
        return Vec::new();
    }
    let cuts = [vec![0.0], roots(&derivative(polynomial)), vec![1.0]].concat();
    let mut found = Vec::new();
    for ends in cuts.windows(2) {
        let (mut low, mut high) = (ends[0], ends[1]);
        let rises = value(polynomial, high) > value(polynomial, low);
        let below = |x: f64| (value(polynomial, x) < 0.0) == rises;
        if !below(low) || below(high) {
            continue;
        }
        while high - low > f64::EPSILON {
            let middle = 0.5 * (low + high);
            if below(middle) { low = middle } else { high = middle }
        }
        found.push(0.5 * (low + high));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_step_is_the_best_of_many() {
        let mut stream = crate::stream::Stream::new(0, "line");
        for degree in 1..=6 {
            for _ in 0..50 {
                let mut f: Vec<f64> = (0..=degree).map(|_| stream.normal()).collect();
                f[1] = f[1].abs();
                let (step, reached) = best_step(degree, f[0], f[1], value(&f, 1.0), &mut |x| Ok(value(&f, x))).unwrap();
                let best = (0..=1000).map(|k| value(&f, f64::from(k) / 1000.0)).fold(f64::NEG_INFINITY, f64::max);
                assert!((0.0..=1.0).contains(&step) && (reached - value(&f, step)).abs() < 1e-10);
                assert!(reached >= best - 1e-10, "{f:?}: {reached} at {step}, but {best}");
            }
        }
    }
}
