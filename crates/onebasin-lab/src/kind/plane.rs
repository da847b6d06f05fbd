//! The loss on a plane: the paper's Figure 1.

use serde::Deserialize;

use super::found::{Findings, Reading, pairs};
use crate::error::Result;
use crate::figure::{Axis, Figure, MapStyle, Mark, Panel, PlaneValues, Shape};
use crate::plan::{Plan, describe, wrong};
use crate::setting::TrainingSetting;
use crate::stage::{Variant, plane};

/// The plane through A, B and π(B).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaneOf {
    /// The networks.
    pub training: TrainingSetting,
    /// How B is aligned with A.
    pub method: Variant,
    /// Places along each direction.
    pub steps: usize,
    /// Losses above it are drawn as if they were it.
    pub cap: f64,
}

impl PlaneOf {
    pub(super) fn plan(&self, plan: &Plan<'_>) -> Result<Reading> {
        if self.steps < 2 {
            return Err(wrong(
                "setting",
                format!("a plane has two places along each direction at least, found {}", self.steps),
            ));
        }
        let subject = plan.subject(&self.training, None)?;
        let [a, b] = pairs(&self.training)?[0].map(|seed| plan.trained(&subject, seed, None));
        let moved = plan.aligned(&subject, &a, &b, self.method);
        let key = plan.plane(&subject, [a, b, moved], self.steps);
        let (facts, cap) = (describe(&subject, &self.training), self.cap);
        Ok(Box::new(move |store| {
            let map: plane::LossMap = store.read_json(&key, plane::PLANE)?;
            let mut found = Findings { facts: facts.clone(), ..Findings::default() };
            let (ends, middles) = ([[0.0, 0.0], [1.0, 0.0], map.moved], [[0.5, 0.0], map.moved.map(|m| m / 2.0)]);
            for (name, at) in
                ["a", "b", "moved", "middle-naive", "middle-aligned"].iter().zip([ends.as_slice(), &middles].concat())
            {
                found.values.insert(format!("{name}.loss"), nearest(&map, at));
            }
            let mark = |label: &str, [x, y]: [f64; 2]| Mark { label: label.to_owned(), x, y };
            let field = PlaneValues {
                label: "test loss, nats".to_owned(),
                x: map.x.clone(),
                y: map.y.clone(),
                values: map.loss.clone(),
                style: MapStyle::Contours,
                levels: 13,
                cap: Some(cap),
                log: false,
                marks: vec![mark("A", ends[0]), mark("B", ends[1]), mark("π(B)", ends[2])],
            };
            let axis = |label: &str| Axis { label: label.to_owned(), ..Axis::default() };
            found.figures.push(Figure {
                name: "plane".to_owned(),
                title: "The test loss on the plane through A, B and π(B)".to_owned(),
                panels: vec![Panel {
                    title: String::new(),
                    x: axis("along B − A, in its length"),
                    y: axis("at a right angle to it"),
                    shape: Shape::Field(field),
                }],
            });
            Ok(found)
        }))
    }
}

/// The loss at the place of the grid nearest to this one.
fn nearest(map: &plane::LossMap, [x, y]: [f64; 2]) -> f64 {
    let near = |axis: &[f64], at: f64| {
        (0..axis.len()).fold(0, |best, k| if (axis[k] - at).abs() < (axis[best] - at).abs() { k } else { best })
    };
    map.loss[near(&map.y, y) * map.x.len() + near(&map.x, x)]
}
