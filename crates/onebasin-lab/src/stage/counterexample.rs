//! Two networks without error that no permutation joins without a barrier.

use serde::{Deserialize, Serialize};

use super::Room;
use crate::error::Result;

/// An [`Accuracy`].
pub const ACCURACY: &str = "accuracy.json";

/// Accuracy on a grid over the square, for every permutation and λ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CounterexampleStage {
    /// Points of the grid along each axis.
    pub grid: usize,
    /// Values of λ, evenly spaced.
    pub points: usize,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// λ.
    pub lambda: Vec<f64>,
    /// Which layers were swapped, and the accuracy at every λ.
    pub swaps: Vec<([bool; 2], Vec<f64>)>,
    /// Points of the grid along each axis of the outputs below.
    pub grid: usize,
    /// Outputs of A on a coarse grid, row by row from `y = −1`.
    pub a: Vec<f64>,
    /// Outputs of B.
    pub b: Vec<f64>,
    /// Outputs of their midpoint as they come.
    pub middle: Vec<f64>,
}

/// `2 – 2 – 2 – 1`, ReLU.
#[derive(Debug, Clone, Copy)]
struct Tiny {
    first: [[f64; 2]; 2],
    first_bias: [f64; 2],
    second: [[f64; 2]; 2],
    second_bias: [f64; 2],
    last: [f64; 2],
}

/// Places along each axis of the outputs that are kept.
const COARSE: usize = 41;

impl Tiny {
    fn new(first: f64, first_bias: [f64; 2], second: [f64; 2], second_bias: [f64; 2]) -> Self {
        let diagonal = |d: [f64; 2]| [[d[0], 0.0], [0.0, d[1]]];
        Self { first: diagonal([first; 2]), first_bias, second: diagonal(second), second_bias, last: [-1.0; 2] }
    }

    fn between(a: &Self, b: &Self, l: f64) -> Self {
        let pair = |a: [f64; 2], b: [f64; 2]| [0, 1].map(|i| (1.0 - l) * a[i] + l * b[i]);
        let square = |a: [[f64; 2]; 2], b: [[f64; 2]; 2]| [pair(a[0], b[0]), pair(a[1], b[1])];
        Self {
            first: square(a.first, b.first),
            first_bias: pair(a.first_bias, b.first_bias),
            second: square(a.second, b.second),
            second_bias: pair(a.second_bias, b.second_bias),
            last: pair(a.last, b.last),
        }
    }

    /// The units of a layer exchanged, and what reads them.
    fn swapped(mut self, [first, second]: [bool; 2]) -> Self {
        if first {
            self.first.swap(0, 1);
            self.first_bias.swap(0, 1);
            self.second.iter_mut().for_each(|row| row.swap(0, 1));
        }
        if second {
            self.second.swap(0, 1);
            self.second_bias.swap(0, 1);
            self.last.swap(0, 1);
        }
        self
    }

    fn output(&self, x: [f64; 2]) -> f64 {
        let layer = |w: &[[f64; 2]; 2], bias: [f64; 2], x: [f64; 2]| {
            [0, 1].map(|i| (w[i][0] * x[0] + w[i][1] * x[1] + bias[i]).max(0.0))
        };
        let h = layer(&self.second, self.second_bias, layer(&self.first, self.first_bias, x));
        self.last[0] * h[0] + self.last[1] * h[1]
    }
}

/// Share of a grid on [−1, 1]² where "output ≥ 0" says rightly whether x₁ ≤ 0 and x₂ ≥ 0.
fn accuracy(net: &Tiny, grid: usize) -> f64 {
    let at = |k: usize| (2 * k) as f64 / (grid - 1) as f64 - 1.0;
    let right = |k: usize| {
        let x = [at(k / grid), at(k % grid)];
        (net.output(x) >= 0.0) == (x[0] <= 0.0 && x[1] >= 0.0)
    };
    (0..grid * grid).filter(|&k| right(k)).count() as f64 / (grid * grid) as f64
}

/// Outputs on the coarse grid.
fn outputs(net: &Tiny) -> Vec<f64> {
    let at = |k: usize| (2 * k) as f64 / (COARSE - 1) as f64 - 1.0;
    (0..COARSE * COARSE).map(|k| net.output([at(k % COARSE), at(k / COARSE)])).collect()
}

impl CounterexampleStage {
    pub(super) fn run(&self, room: &Room<'_>) -> Result<()> {
        let a = Tiny::new(-1.0, [1.0, 0.0], [-1.0, 1.0], [1.0, 0.0]);
        let b = Tiny::new(1.0, [0.0, 1.0], [1.0, -1.0], [0.0, 1.0]);
        let lambda = onebasin_core::barrier::lambda_grid(self.points)?;
        let mut swaps = Vec::new();
        for swap in [[false, false], [true, false], [false, true], [true, true]] {
            let moved = b.swapped(swap);
            let along = lambda.iter().map(|l| accuracy(&Tiny::between(&a, &moved, *l), self.grid)).collect();
            swaps.push((swap, along));
            room.at(swaps.len() as f64 / 4.0, "")?;
        }
        let middle = outputs(&Tiny::between(&a, &b, 0.5));
        let found = Accuracy { lambda, swaps, grid: COARSE, a: outputs(&a), b: outputs(&b), middle };
        room.store.write_json(room.key, ACCURACY, &found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_right_everywhere_and_swapping_changes_nothing() {
        let a = Tiny::new(-1.0, [1.0, 0.0], [-1.0, 1.0], [1.0, 0.0]);
        let b = Tiny::new(1.0, [0.0, 1.0], [1.0, -1.0], [0.0, 1.0]);
        assert_eq!([accuracy(&a, 201), accuracy(&b, 201)], [1.0; 2]);
        for swap in [[true, false], [false, true], [true, true]] {
            for x in [[0.3, -0.7], [-0.2, 0.9], [0.5, 0.5]] {
                assert_eq!(b.swapped(swap).output(x), b.output(x));
            }
        }
    }
}
