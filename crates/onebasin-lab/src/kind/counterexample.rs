//! Two networks that no permutation joins: the paper's Figures 6 and 7.

use serde::Deserialize;

use super::found::{Findings, Reading};
use crate::error::Result;
use crate::figure::{Axis, Colour, Figure, Line, MapStyle, Panel, PlaneValues, Shape, Stroke};
use crate::plan::{Plan, wrong};
use crate::stage::{CounterexampleStage, Stage, counterexample};

/// The grid on which they are compared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterexampleGrid {
    /// Points along each axis.
    pub grid: usize,
    /// Values of λ.
    pub points: usize,
}

impl CounterexampleGrid {
    pub(super) fn plan(&self, plan: &Plan<'_>) -> Result<Reading> {
        let Self { grid, points } = *self;
        if grid < 2 {
            return Err(wrong("setting", format!("a grid has two points along each axis at least, found {grid}")));
        }
        let cost = 4.0 * 100.0 * (grid * grid * points) as f64;
        let key = plan.add(Stage::Counterexample(CounterexampleStage { grid, points }), cost);
        Ok(Box::new(move |store| {
            let seen: counterexample::Accuracy = store.read_json(&key, counterexample::ACCURACY)?;
            let mut found = Findings::default();
            let mut lines = Vec::new();
            for (k, ([first, second], accuracy)) in seen.swaps.iter().enumerate() {
                let name = match (first, second) {
                    (false, false) => "identity",
                    (true, false) => "first layer swapped",
                    (false, true) => "second layer swapped",
                    (true, true) => "both layers swapped",
                };
                let least = accuracy.iter().copied().fold(f64::INFINITY, f64::min);
                let short = name.replace(" layer swapped", "").replace(" layers swapped", "");
                found.values.insert(format!("{short}.least-accuracy"), least);
                let tenth = (seen.lambda.len() - 1) / 10;
                found.values.insert(format!("{short}.accuracy-at-tenth"), accuracy[tenth]);
                lines.push(Line {
                    label: name.to_owned(),
                    points: seen.lambda.iter().copied().zip(accuracy.iter().copied()).collect(),
                    band: None,
                    style: if k % 2 == 0 { Stroke::Solid } else { Stroke::Dashed },
                    colour: Colour::Hue(k),
                    markers: false,
                });
            }
            let best = found.values.iter().filter(|(n, _)| n.ends_with("least-accuracy"));
            let best = best.map(|(_, v)| *v).fold(f64::NEG_INFINITY, f64::max);
            found.values.insert("best.least-accuracy".to_owned(), best);
            let axis = |label: &str| Axis { label: label.to_owned(), ..Axis::default() };
            found.figures.push(Figure {
                name: "accuracy".to_owned(),
                title: "Accuracy from A to π(B), for every permutation".to_owned(),
                panels: vec![Panel {
                    title: String::new(),
                    x: Axis { from: Some(0.0), to: Some(1.0), ..axis("λ (0 is A, 1 is B)") },
                    y: Axis { to: Some(1.0), ..axis("share classified right") },
                    shape: Shape::Lines(lines),
                }],
            });
            let places: Vec<f64> = (0..seen.grid).map(|k| (2 * k) as f64 / (seen.grid - 1) as f64 - 1.0).collect();
            let field = |title: &str, values: &[f64]| Panel {
                title: title.to_owned(),
                x: axis("x₁"),
                y: axis("x₂"),
                shape: Shape::Field(PlaneValues {
                    label: "output".to_owned(),
                    x: places.clone(),
                    y: places.clone(),
                    values: values.to_vec(),
                    style: MapStyle::Cells,
                    levels: 12,
                    cap: None,
                    log: false,
                    marks: Vec::new(),
                }),
            };
            found.figures.push(Figure {
                name: "outputs".to_owned(),
                title: "Outputs of A, of B, and of their midpoint".to_owned(),
                panels: vec![field("A", &seen.a), field("B", &seen.b), field("Midpoint", &seen.middle)],
            });
            Ok(found)
        }))
    }
}
