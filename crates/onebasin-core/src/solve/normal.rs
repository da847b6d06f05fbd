//! Least squares from sums: what is kept of many rows, and how it is solved.
//!
//! Rows come a few at a time and are not kept, unless there are fewer of them than inputs.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::error::Result;
use crate::linalg::{Cholesky, Mat, Scalar, symmetric_eigen, vectorized};
use crate::matching::RowProducts;

/// Columns of a panel of the Gram: panels are made side by side, and of each only what lies on and below the diagonal.
const PANEL: usize = 128;

/// Right-hand sides that are solved for together.
const COLUMNS: usize = 16;

/// Rows of a least-squares problem: what goes in and what should come out.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// `[rows, inputs]`.
    pub inputs: &'a [f32],
    /// `[rows, units]`.
    pub targets: &'a [f32],
    /// How much each row counts, `[rows]`; none: all the same, 1.
    pub weights: Option<&'a [f32]>,
}

/// What least squares needs of rows, added up: `Σ w x xᵀ`, `Σ w x rᵀ`, `Σ w x`, `Σ w r`, `Σ w r²`.
///
/// Products are f32 over the rows of one call, sums f64. Where there will be fewer rows than inputs the rows themselves
/// are kept, and the problem is solved in its dual form.
///
/// ```
/// use onebasin_core::solve::{NormalSums, Rows};
/// let mut all = NormalSums::new(1, 1, 2);
/// all.add(&Rows { inputs: &[1.0, 3.0], targets: &[1.0, 5.0], weights: None });
/// let fit = all.normal(true, 0.0).unwrap();
/// let line = fit.solve(&all, &[0.0]); // r = 2 x − 1
/// assert!((line.weights[0] - 2.0).abs() < 1e-9 && (line.bias[0] + 1.0).abs() < 1e-9);
/// ```
#[derive(Debug, Clone)]
pub struct NormalSums {
    inputs: usize,
    units: usize,
    design: Design,
    /// `Σ w x rᵀ`, `[inputs, units]`, where rows are not kept.
    cross: Vec<f64>,
    /// The same of the rows at hand.
    product: Vec<f32>,
    /// `Σ w x`.
    input_sum: Vec<f64>,
    /// `Σ w x²`, all inputs together.
    input_squares: f64,
    /// `Σ w r`.
    target_sum: Vec<f64>,
    /// `Σ w r²`.
    target_squares: Vec<f64>,
    /// `Σ w`.
    weight: f64,
}

/// What is kept of the inputs.
#[derive(Debug, Clone)]
enum Design {
    /// Panels of the Gram.
    Gram(Vec<Panel>),
    /// The rows, and what they should give, times `√w`; and `√w`.
    Rows { inputs: Vec<f32>, targets: Vec<f32>, roots: Vec<f64> },
    /// Nothing: targets have changed and inputs have not.
    Known,
}

/// Columns `from..from + width` of the Gram, from row `from` on; row-major.
#[derive(Debug, Clone)]
struct Panel {
    from: usize,
    width: usize,
    sums: Vec<f64>,
    /// Of the rows at hand.
    product: Vec<f32>,
}

/// A least-squares problem without its targets, factored: as many targets as wanted are solved for.
#[derive(Debug, Clone)]
pub struct Normal {
    factor: Cholesky,
    /// What was added to the diagonal.
    ridge: f64,
    /// Weighted mean of the inputs; zero without an intercept.
    mean: Vec<f64>,
    intercept: bool,
    /// The rows less their mean, in the dual form.
    dual: Option<Dual>,
}

#[derive(Debug, Clone)]
struct Dual {
    /// `[rows, inputs]`.
    inputs: Vec<f64>,
    roots: Vec<f64>,
}

/// What was solved for.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// `[units, inputs]`.
    pub weights: Vec<f64>,
    /// `[units]`; zero without an intercept.
    pub bias: Vec<f64>,
}

impl NormalSums {
    /// Empty sums for so many inputs and units, of which at most `rows` rows will come.
    pub fn new(inputs: usize, units: usize, rows: usize) -> Self {
        let design = if rows < inputs {
            Design::Rows { inputs: Vec::new(), targets: Vec::new(), roots: Vec::new() }
        } else {
            let width = inputs.div_ceil(inputs.div_ceil(PANEL).max(1)).max(1);
            let panel = |from: usize| {
                let width = width.min(inputs - from);
                let len = (inputs - from) * width;
                Panel { from, width, sums: vec![0.0; len], product: vec![0.0; len] }
            };
            Design::Gram((0..inputs).step_by(width).map(panel).collect())
        };
        Self { design, ..Self::of_targets(inputs, units) }
    }

    /// Empty sums for other targets of inputs that have been added up already.
    #[must_use]
    pub fn again(&self) -> Self {
        let design = match self.design {
            Design::Rows { .. } => Design::Rows { inputs: Vec::new(), targets: Vec::new(), roots: Vec::new() },
            Design::Gram(_) | Design::Known => Design::Known,
        };
        Self { design, ..Self::of_targets(self.inputs, self.units) }
    }

    fn of_targets(inputs: usize, units: usize) -> Self {
        Self {
            inputs,
            units,
            design: Design::Known,
            cross: vec![0.0; inputs * units],
            product: Vec::new(),
            input_sum: vec![0.0; inputs],
            input_squares: 0.0,
            target_sum: vec![0.0; units],
            target_squares: vec![0.0; units],
            weight: 0.0,
        }
    }

    /// Bytes that sums of this size take, but for rows that are kept.
    pub fn bytes(inputs: usize, units: usize) -> usize {
        (inputs * inputs * 3 / 4 + inputs * units) * (size_of::<f64>() + size_of::<f32>())
    }

    /// Bytes that it takes at the most to add up so many rows, in one go, and to solve them.
    ///
    /// Formula: where rows are not kept, sums and the matrix that is factored, `8 · inputs²`; where they are, the rows in f32 and
    /// in f64, and the matrix, `8 · rows²`.
    pub fn peak(inputs: usize, units: usize, rows: usize) -> usize {
        let (single, double) = (size_of::<f32>(), size_of::<f64>());
        if rows < inputs {
            return rows * ((single + double) * (inputs + units) + double * rows) + double * inputs * units;
        }
        Self::bytes(inputs, units) + double * inputs * inputs
    }

    /// Adds rows.
    ///
    /// Cost: `inputs² / 2 + inputs · units` multiply-adds a row, panels side by side on threads.
    ///
    /// # Panics
    /// If the numbers are not those of whole rows.
    pub fn add(&mut self, rows: &Rows<'_>) {
        let (x, r) = self.add_moments(rows);
        let (inputs, units) = (self.inputs, self.units);
        let count = r.len() / units.max(1);
        match &mut self.design {
            Design::Rows { inputs, targets, roots } => {
                inputs.extend_from_slice(&x);
                targets.extend_from_slice(&r);
                roots.extend((0..count).map(|row| rows.weights.map_or(1.0, |w| f64::from(w[row]).sqrt())));
                return;
            }
            Design::Gram(panels) => panels.par_iter_mut().for_each(|panel| panel.add(&x, count, inputs)),
            Design::Known => {}
        }
        self.product.resize(inputs * units, 0.0);
        f32::matmul(&mut self.product, Mat::new(&x, count, inputs).t(), Mat::new(&r, count, units), false);
        widen(&mut self.cross, &self.product);
    }

    /// Whether products of rows are summed, which a device may do: rows that are kept have none.
    pub fn sums_products(&self) -> bool {
        !matches!(self.design, Design::Rows { .. })
    }

    /// Adds rows, whose products are summed on a device until [`Self::take`] fetches them.
    ///
    /// # Errors
    /// Those of the device.
    ///
    /// # Panics
    /// As [`Self::add`].
    pub fn add_on(&mut self, rows: &Rows<'_>, products: &mut dyn RowProducts) -> Result<()> {
        let (x, r) = self.add_moments(rows);
        products.add(&x, &r, matches!(self.design, Design::Gram(_)))
    }

    /// Takes what a device has summed.
    ///
    /// # Errors
    /// Those of the device.
    pub fn take(&mut self, products: &dyn RowProducts) -> Result<()> {
        let [square, cross] = products.sums()?;
        self.cross.iter_mut().zip(cross).for_each(|(sum, more)| *sum += more);
        if let Design::Gram(panels) = &mut self.design {
            for Panel { from, width, sums, .. } in panels {
                let rows = square[*from * self.inputs..].chunks_exact(self.inputs);
                for (sums, row) in sums.chunks_exact_mut(*width).zip(rows) {
                    sums.iter_mut().zip(&row[*from..]).for_each(|(sum, more)| *sum += more);
                }
            }
        }
        Ok(())
    }

    /// Adds all of rows but their products; the rows, times the roots of their weights.
    fn add_moments<'r>(&mut self, rows: &Rows<'r>) -> (Cow<'r, [f32]>, Cow<'r, [f32]>) {
        let (inputs, units) = (self.inputs, self.units);
        let count = rows.targets.len() / units.max(1);
        assert_eq!((rows.inputs.len(), rows.targets.len()), (count * inputs, count * units), "rows do not fit");
        let weight = |row: usize| rows.weights.map_or(1.0, |w| f64::from(w[row]));
        self.weight += (0..count).map(weight).sum::<f64>();
        vectorized(
            #[inline(always)]
            || {
                for (row, r) in rows.targets.chunks_exact(units.max(1)).enumerate() {
                    let w = weight(row);
                    for ((sum, squares), r) in self.target_sum.iter_mut().zip(&mut self.target_squares).zip(r) {
                        let wr = w * f64::from(*r);
                        *sum += wr;
                        *squares += wr * f64::from(*r);
                    }
                }
            },
        );
        if !matches!(self.design, Design::Known) {
            let mut squares = vec![0.0; inputs];
            vectorized(
                #[inline(always)]
                || {
                    for (row, x) in rows.inputs.chunks_exact(inputs.max(1)).enumerate() {
                        let w = weight(row);
                        for ((sum, squares), x) in self.input_sum.iter_mut().zip(&mut squares).zip(x) {
                            let wx = w * f64::from(*x);
                            *sum += wx;
                            *squares += wx * f64::from(*x);
                        }
                    }
                },
            );
            self.input_squares += squares.iter().sum::<f64>();
        }
        let Some(weights) = rows.weights else { return (Cow::Borrowed(rows.inputs), Cow::Borrowed(rows.targets)) };
        let roots: Vec<f32> = weights.iter().map(|w| w.sqrt()).collect();
        (times(rows.inputs, &roots, inputs).into(), times(rows.targets, &roots, units).into())
    }

    /// Adds what others have added up, of rows that come after these.
    pub fn absorb(&mut self, other: Self) {
        let add = |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
        add(&mut self.cross, &other.cross);
        add(&mut self.input_sum, &other.input_sum);
        add(&mut self.target_sum, &other.target_sum);
        add(&mut self.target_squares, &other.target_squares);
        self.input_squares += other.input_squares;
        self.weight += other.weight;
        match (&mut self.design, other.design) {
            (Design::Gram(to), Design::Gram(from)) => {
                to.iter_mut().zip(from).for_each(|(to, from)| add(&mut to.sums, &from.sums));
            }
            (Design::Rows { inputs, targets, roots }, Design::Rows { inputs: i, targets: t, roots: r }) => {
                inputs.extend(i);
                targets.extend(t);
                roots.extend(r);
            }
            (Design::Gram(_) | Design::Rows { .. } | Design::Known, _) => {}
        }
    }

    /// Mean and variance of the targets, unit by unit.
    pub fn target_moments(&self) -> impl Iterator<Item = (f64, f64)> {
        let weight = self.weight.max(f64::MIN_POSITIVE);
        self.target_sum.iter().zip(&self.target_squares).map(move |(sum, squares)| {
            let mean = sum / weight;
            (mean, (squares / weight - mean * mean).max(0.0))
        })
    }

    /// The Gram of the inputs less their mean: what lies on and below its diagonal.
    fn centred(&self, mean: &[f64]) -> Vec<f64> {
        let inputs = self.inputs;
        let mut gram = vec![0.0; inputs * inputs];
        self.each_below(|row, from, sums| {
            let centred = sums.iter().zip(&mean[from..]).map(|(sum, m)| sum - self.weight * mean[row] * m);
            gram[row * inputs + from..].iter_mut().zip(centred).for_each(|(g, c)| *g = c);
        });
        gram
    }

    /// Visits what lies on and below the diagonal of the Gram: a row, the first of some columns, and the sums there.
    fn each_below(&self, mut visit: impl FnMut(usize, usize, &[f64])) {
        let Design::Gram(panels) = &self.design else { return };
        for Panel { from, width, sums, .. } in panels {
            for (row, sums) in (*from..self.inputs).zip(sums.chunks_exact(*width)) {
                visit(row, *from, &sums[..(row + 1 - from).min(*width)]);
            }
        }
    }

    /// Factors the problem. `ridge` is the weight of staying near the prior, as a share of the mean square of an input; it
    /// is raised tenfold until the factor exists. None if the inputs are not finite.
    ///
    /// Cost: `inputs³ / 3` multiply-adds, or `rows² · inputs` in the dual form.
    ///
    /// # Panics
    /// If these are [sums for other targets](Self::again).
    pub fn normal(&self, intercept: bool, ridge: f64) -> Option<Normal> {
        let inputs = self.inputs;
        let weight = self.weight.max(f64::MIN_POSITIVE);
        let mean: Vec<f64> = self.input_sum.iter().map(|s| if intercept { s / weight } else { 0.0 }).collect();
        let level = self.input_squares / inputs.max(1) as f64;
        if !level.is_finite() {
            return None;
        }
        let (size, dual) = match &self.design {
            Design::Gram(_) => (inputs, None),
            Design::Rows { inputs: rows, roots, .. } => {
                let row = |(row, root): (&[f32], &f64)| {
                    row.iter().zip(&mean).map(|(x, m)| f64::from(*x) - root * m).collect::<Vec<_>>()
                };
                let rows = rows.chunks_exact(inputs.max(1)).zip(roots).flat_map(row).collect::<Vec<_>>();
                (roots.len(), Some(Dual { inputs: rows, roots: roots.clone() }))
            }
            Design::Known => panic!("sums for other targets have no inputs"),
        };
        let floor = if level > 0.0 { level * 1e-12 } else { 1.0 };
        let mut added = (ridge * level).max(floor);
        loop {
            let mut matrix = match &dual {
                Some(Dual { inputs: rows, .. }) => {
                    let (mut matrix, rows) = (vec![0.0; size * size], Mat::new(rows, size, inputs));
                    f64::matmul(&mut matrix, rows, rows.t(), false);
                    matrix
                }
                None => self.centred(&mean),
            };
            (0..size).for_each(|at| matrix[at * size + at] += added);
            if let Some(factor) = Cholesky::new(matrix, size) {
                return Some(Normal { factor, ridge: added, mean, intercept, dual });
            }
            added *= 10.0;
            if !(added.is_finite() && added < level.max(1.0) * 1e12) {
                return None;
            }
        }
    }
}

impl NormalSums {
    /// The weights that minimise `Σ w |W x + b − r|² + Σ_u (d + pull_u) |W_u − W₀_u|²`: a ridge of its own for every unit, beside
    /// that of [`Self::normal`]. None if the inputs are not finite.
    ///
    /// Formula: with `G = Q Λ Qᵀ`, `W_u = Q (Λ + d + pull_u)⁻¹ Qᵀ (c_u + (d + pull_u) W₀_u)`.
    ///
    /// Shapes: `prior` is `[units, inputs]`, `pull` `[units]`.
    ///
    /// Cost: one decomposition of the Gram, and `2 · inputs² · units` multiply-adds.
    ///
    /// # Panics
    /// If rows are kept, or the numbers are of other sizes.
    ///
    /// ```
    /// use onebasin_core::solve::{NormalSums, Rows};
    /// let mut sums = NormalSums::new(1, 2, 2);
    /// sums.add(&Rows { inputs: &[1.0, -1.0], targets: &[3.0, 3.0, -3.0, -3.0], weights: None });
    /// let found = sums.pulled(false, 0.0, &[1.0, 1.0], &[0.0, 2.0]).unwrap();
    /// assert!((found.weights[0] - 3.0).abs() < 1e-9 && (found.weights[1] - 2.0).abs() < 1e-9);
    /// ```
    pub fn pulled(&self, intercept: bool, ridge: f64, prior: &[f64], pull: &[f64]) -> Option<Solution> {
        let Self { inputs, units, .. } = *self;
        assert!(matches!(self.design, Design::Gram(_)), "rows are kept");
        assert_eq!((prior.len(), pull.len()), (units * inputs, units), "the numbers are of other sizes");
        let weight = self.weight.max(f64::MIN_POSITIVE);
        let mean: Vec<f64> = self.input_sum.iter().map(|s| if intercept { s / weight } else { 0.0 }).collect();
        let target: Vec<f64> = self.target_sum.iter().map(|s| if intercept { s / weight } else { 0.0 }).collect();
        let level = self.input_squares / inputs.max(1) as f64;
        if !level.is_finite() {
            return None;
        }
        let (values, vectors) = symmetric_eigen(&self.centred(&mean), inputs)?;
        let held = (ridge * level).max(if level > 0.0 { level * 1e-12 } else { 1.0 });
        let mut sides = vec![0.0; units * inputs];
        for (unit, side) in sides.chunks_exact_mut(inputs.max(1)).enumerate() {
            for (row, side) in side.iter_mut().enumerate() {
                let cross = self.cross[row * units + unit] - weight * mean[row] * target[unit];
                *side = cross + (held + pull[unit]) * prior[unit * inputs + row];
            }
        }
        let (mut turned, basis) = (vec![0.0; units * inputs], Mat::new(&vectors, inputs, inputs));
        f64::matmul(&mut turned, Mat::new(&sides, units, inputs), basis, false);
        for (turned, pull) in turned.chunks_exact_mut(inputs.max(1)).zip(pull) {
            turned.iter_mut().zip(&values).for_each(|(t, value)| *t /= value.max(0.0) + held + pull);
        }
        let mut weights = vec![0.0; units * inputs];
        f64::matmul(&mut weights, Mat::new(&turned, units, inputs), basis.t(), false);
        let of_mean = |row: &[f64]| row.iter().zip(&mean).map(|(w, m)| w * m).sum::<f64>();
        let bias = weights.chunks_exact(inputs.max(1)).zip(&target).map(|(row, t)| t - of_mean(row)).collect();
        Some(Solution { weights, bias })
    }
}

impl Panel {
    fn add(&mut self, x: &[f32], rows: usize, inputs: usize) {
        let Self { from, width, sums, product } = self;
        let below = inputs - *from;
        let columns = |width| Mat::strided(&x[*from..(rows - 1) * inputs + *from + width], rows, width, inputs);
        if rows == 0 {
            return;
        }
        f32::matmul(product, columns(below).t(), columns(*width), false);
        widen(sums, product);
    }
}

/// `to += from`.
fn widen(to: &mut [f64], from: &[f32]) {
    vectorized(
        #[inline(always)]
        || to.iter_mut().zip(from).for_each(|(t, f)| *t += f64::from(*f)),
    );
}

/// Every row times its factor.
fn times(rows: &[f32], factors: &[f32], len: usize) -> Vec<f32> {
    rows.chunks_exact(len.max(1)).zip(factors).flat_map(|(row, f)| row.iter().map(move |x| x * f)).collect()
}

impl Normal {
    /// The weights `W` and bias `b` that minimise `Σ w |W x + b − r|² + d |W − W₀|²` over the rows that `sums` has of
    /// targets; `d` is the ridge.
    ///
    /// Formula: `W = (Σ w x̃ r̃ᵀ + d W₀ᵀ)ᵀ (G + d I)⁻¹` with `x̃`, `r̃` less their means and `G = Σ w x̃ x̃ᵀ`, and
    /// `b = r̄ − W x̄`; in the dual form `W = W₀ + (R̃ − X̃ W₀ᵀ)ᵀ (X̃ X̃ᵀ + d I)⁻¹ X̃`. Without an intercept means are zero.
    ///
    /// Shapes: `prior` is `[units, inputs]`.
    ///
    /// Cost: `inputs² · units` multiply-adds, units side by side on threads; in the dual form `rows · (2 · inputs + rows) · units`.
    ///
    /// # Panics
    /// If the sums are of other sizes.
    #[must_use]
    pub fn solve(&self, sums: &NormalSums, prior: &[f64]) -> Solution {
        let (inputs, units) = (sums.inputs, sums.units);
        let weight = sums.weight.max(f64::MIN_POSITIVE);
        let target: Vec<f64> = sums.target_sum.iter().map(|s| if self.intercept { s / weight } else { 0.0 }).collect();
        let mut weights = prior.to_vec();
        match (&self.dual, &sums.design) {
            (None, Design::Gram(_) | Design::Known) => {
                let some = |(chunk, weights): (usize, &mut [f64])| {
                    let first = chunk * COLUMNS;
                    let count = weights.len() / inputs.max(1);
                    let mut sides = vec![0.0; inputs * count];
                    for (row, (sides, mean)) in sides.chunks_exact_mut(count.max(1)).zip(&self.mean).enumerate() {
                        for (column, side) in sides.iter_mut().enumerate() {
                            let unit = first + column;
                            let cross = sums.cross[row * units + unit] - weight * mean * target[unit];
                            *side = cross + self.ridge * weights[column * inputs + row];
                        }
                    }
                    self.factor.solve(&mut sides, count);
                    for (row, sides) in sides.chunks_exact(count.max(1)).enumerate() {
                        sides.iter().enumerate().for_each(|(column, s)| weights[column * inputs + row] = *s);
                    }
                };
                weights.par_chunks_mut((COLUMNS * inputs).max(1)).enumerate().for_each(some);
            }
            (Some(Dual { inputs: rows, roots }), Design::Rows { targets, .. }) => {
                let count = roots.len();
                let mut sides = vec![0.0; count * units];
                f64::matmul(&mut sides, Mat::new(rows, count, inputs), Mat::new(prior, units, inputs).t(), false);
                for ((side, row), root) in
                    sides.chunks_exact_mut(units.max(1)).zip(targets.chunks_exact(units)).zip(roots)
                {
                    side.iter_mut().zip(row).zip(&target).for_each(|((s, r), t)| *s = f64::from(*r) - root * t - *s);
                }
                self.factor.solve(&mut sides, units);
                f64::matmul(&mut weights, Mat::new(&sides, count, units).t(), Mat::new(rows, count, inputs), true);
            }
            (None | Some(_), _) => panic!("the sums are of another problem"),
        }
        let of_mean = |row: &[f64]| row.iter().zip(&self.mean).map(|(w, m)| w * m).sum::<f64>();
        let bias = weights.chunks_exact(inputs.max(1)).zip(&target).map(|(row, t)| t - of_mean(row)).collect();
        Solution { weights, bias }
    }

    /// What was added to the diagonal.
    pub fn ridge(&self) -> f64 {
        self.ridge
    }

    /// Mean and variance (divisor `n`) of what each unit gives over the rows that the problem is made of, `sums`, without its
    /// bias.
    ///
    /// Formula: `W x̄`, and `w G wᵀ / Σ w` for every row `w` of `W`. The problem must have an intercept.
    ///
    /// Cost: `inputs²` multiply-adds a unit, in the dual form `rows · inputs`.
    pub fn moments(&self, sums: &NormalSums, weights: &[f64]) -> Vec<(f64, f64)> {
        let (inputs, units, weight) = (self.mean.len(), sums.units, sums.weight.max(f64::MIN_POSITIVE));
        let mut squares = vec![0.0; units];
        match (&self.dual, &sums.design) {
            (Some(Dual { inputs: rows, roots }), _) => {
                let mut given = vec![0.0; units * roots.len()];
                f64::matmul(
                    &mut given,
                    Mat::new(weights, units, inputs),
                    Mat::new(rows, roots.len(), inputs).t(),
                    false,
                );
                let given = given.chunks_exact(roots.len().max(1));
                squares.iter_mut().zip(given).for_each(|(s, given)| *s = given.iter().map(|y| y * y).sum());
            }
            (None, Design::Gram(panels)) => {
                for Panel { from, width, sums, .. } in panels {
                    // What stands below the block on the diagonal stands to its right as well.
                    let mut twice = vec![0.0; units * (inputs - from)];
                    let rows = twice.chunks_exact_mut(inputs - from).zip(weights.chunks_exact(inputs));
                    for (twice, row) in rows {
                        let row = row[*from..].iter().enumerate();
                        twice.iter_mut().zip(row).for_each(|(t, (at, w))| *t = if at < *width { *w } else { 2.0 * w });
                    }
                    let mut product = vec![0.0; units * width];
                    let below = inputs - from;
                    f64::matmul(&mut product, Mat::new(&twice, units, below), Mat::new(sums, below, *width), false);
                    for (unit, (square, product)) in squares.iter_mut().zip(product.chunks_exact(*width)).enumerate() {
                        let row = &weights[unit * inputs + from..][..*width];
                        *square += row.iter().zip(product).map(|(w, p)| w * p).sum::<f64>();
                    }
                }
            }
            (None, Design::Rows { .. } | Design::Known) => panic!("the sums are of another problem"),
        }
        let dual = self.dual.is_some();
        let one = |(unit, square): (&[f64], f64)| {
            let mean = unit.iter().zip(&self.mean).map(|(w, m)| w * m).sum::<f64>();
            let square = square / weight - if dual { 0.0 } else { mean * mean };
            (mean, square.max(0.0))
        };
        weights.chunks_exact(inputs.max(1)).zip(squares).map(one).collect()
    }
}
