//! The loss on the plane through A, B and π(B).

use onebasin_nn::exec::{Flat, Program};
use onebasin_nn::task::Classes;
use onebasin_nn::{Network, evaluate_on};
use serde::{Deserialize, Serialize};

use super::{Net, Room};
use crate::error::{Error, Result};
use crate::shelf::DataPart;

/// A [`LossMap`].
pub const PLANE: &str = "plane.json";

/// The plane through three networks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlaneStage {
    /// What all are.
    pub network: Network,
    /// A, B and π(B).
    pub nets: [Net; 3],
    /// Places along each direction.
    pub steps: usize,
    /// What they are measured on.
    pub data: DataPart,
    /// Where, if not on the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// Losses on a plane. A lies at (0, 0), B at (1, 0); one unit is the distance of A and B in either direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossMap {
    /// Along `B − A`.
    pub x: Vec<f64>,
    /// Along what `π(B) − A` has at a right angle to it.
    pub y: Vec<f64>,
    /// Where π(B) lies.
    pub moved: [f64; 2],
    /// Loss on the test data, row by row.
    pub loss: Vec<f64>,
}

/// How far the map reaches beyond the square in which the three lie.
const MARGIN: f64 = 0.5;

impl PlaneStage {
    /// Formula: with `d = B − A`, `c = π(B) − A` and `e = c − (c·d / d·d) d`, the place `(x, y)` is
    /// `A + x d + y (|d| / |e|) e`.
    pub(super) fn run(&self, room: &Room<'_>) -> Result<()> {
        let program = Program::new(self.network.graph()?)?;
        let [a, b, c] = &self.nets;
        let flat = |net: &Net| Ok::<_, Error>(program.flatten(&net.load(room.store)?)?);
        let (a, b, c) = (flat(a)?, flat(b)?, flat(c)?);
        let minus = |v: &Flat| -> Vec<f64> {
            v.weights.iter().zip(&a.weights).map(|(v, a)| f64::from(*v) - f64::from(*a)).collect()
        };
        let dot = |u: &[f64], v: &[f64]| u.iter().zip(v).map(|(u, v)| u * v).sum::<f64>();
        let (d, mut e) = (minus(&b), minus(&c));
        let along = dot(&e, &d) / dot(&d, &d);
        e.iter_mut().zip(&d).for_each(|(e, d)| *e -= along * d);
        let stretch = (dot(&d, &d) / dot(&e, &e)).sqrt();
        for e in &mut e {
            *e *= stretch;
        }
        let reach = 1.0 + 2.0 * MARGIN;
        let axis: Vec<f64> = (0..self.steps).map(|i| reach * i as f64 / (self.steps - 1) as f64 - MARGIN).collect();
        let data = room.shelf.open(&self.data)?.test;
        let runner = room.runner(&program, &program.unflatten(&a)?)?;
        let mut loss = Vec::with_capacity(self.steps * self.steps);
        for y in &axis {
            for x in &axis {
                let weights =
                    a.weights.iter().zip(&d).zip(&e).map(|((a, d), e)| (f64::from(*a) + x * d + y * e) as f32);
                let place = Flat { weights: weights.collect(), statistics: a.statistics.clone() };
                loss.push(evaluate_on(runner, &program, &program.unflatten(&place)?, &data, &Classes)?.loss);
                room.at(loss.len() as f64 / (self.steps * self.steps) as f64, "")?;
            }
        }
        let map = LossMap { x: axis.clone(), y: axis, moved: [along, 1.0 / stretch], loss };
        room.store.write_json(room.key, PLANE, &map)
    }
}
