//! The barrier while networks are trained: the paper's Figure 3.

use serde::Deserialize;

use super::found::{Findings, Reading, pairs};
use super::lines::{self, MeasuredLines, colour, spread};
use crate::error::Result;
use crate::figure::{Axis, Figure, Line, Panel, Shape, Stroke};
use crate::plan::{Plan, describe, wrong};
use crate::setting::TrainingSetting;
use crate::stage::Variant;

/// The barrier after some epochs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epochs {
    /// The networks.
    pub training: TrainingSetting,
    /// How B is aligned with A, anew after each of the epochs.
    pub methods: Vec<Variant>,
    /// Values of λ.
    pub points: usize,
    /// After how many epochs.
    pub at: Vec<usize>,
}

impl Epochs {
    pub(super) fn plan(&self, plan: &Plan<'_>) -> Result<Reading> {
        let subject = plan.subject(&self.training, None)?;
        let within = 0..=subject.options.epochs;
        if self.at.is_empty() || !self.at.iter().all(|epoch| within.contains(epoch)) {
            return Err(wrong("setting", format!("`at` names epochs from 0 to {}, found {:?}", within.end(), self.at)));
        }
        let (at, pairs) = (self.at.clone(), pairs(&self.training)?);
        let planned: Vec<_> = at
            .iter()
            .map(|epoch| {
                let nets: Vec<_> = pairs.iter().map(|s| s.map(|s| plan.trained(&subject, s, Some(*epoch)))).collect();
                lines::plan(plan, &subject, &nets, &self.methods, self.points)
            })
            .collect();
        let facts = describe(&subject, &self.training);
        Ok(Box::new(move |store| {
            let measured = planned.iter().map(|p| lines::read(p, store)).collect::<Result<Vec<_>>>()?;
            let mut found = Findings { facts: facts.clone(), ..Findings::default() };
            for (epoch, measured) in at.iter().zip(&measured) {
                lines::put(measured, &format!("{epoch}."), &mut found.values);
            }
            let x: Vec<f64> = at.iter().map(|e| *e as f64).collect();
            let mut panels = by(&x, &measured, &Axis { label: "epochs of training".to_owned(), ..Axis::default() });
            for k in [0, at.len() - 1] {
                panels.extend(lines::panels(&measured[k], &after(at[k])).into_iter().take(1));
            }
            let title = "The barrier between two networks while they are trained".to_owned();
            found.figures.push(Figure { name: "epochs".to_owned(), title, panels });
            for (epoch, measured) in at.iter().zip(&measured) {
                if *epoch == at[0] || *epoch == at[at.len() - 1] {
                    found.tables.push(lines::table(&after(*epoch), measured));
                }
            }
            Ok(found)
        }))
    }
}

fn after(epoch: usize) -> String {
    format!("After {epoch} epoch{}", if epoch == 1 { "" } else { "s" })
}

/// Barriers of training and test loss over something, one line for every method; the band holds all pairs.
pub(super) fn by(at: &[f64], measured: &[Vec<MeasuredLines>], x: &Axis) -> Vec<Panel> {
    [("test", false), ("train", true)]
        .map(|(split, train)| {
            let line = |(k, first): (usize, &MeasuredLines)| {
                let over = |all: &Vec<MeasuredLines>| spread(all[k].split(train).map(|s| s.barrier.mean_ends));
                let points = at.iter().zip(measured).map(|(x, all)| (*x, over(all).mean)).collect();
                let band = (first.curves.len() > 1)
                    .then(|| measured.iter().map(|all| (over(all).low, over(all).high)).collect());
                let colour = colour(k, &first.name);
                Line { label: first.name.clone(), points, band, style: Stroke::Solid, colour, markers: true }
            };
            Panel {
                title: format!("Barrier of the loss, {split}"),
                x: x.clone(),
                y: Axis { label: "nats above the ends' mean".to_owned(), from: Some(0.0), ..Axis::default() },
                shape: Shape::Lines(measured[0].iter().enumerate().map(line).collect()),
            }
        })
        .to_vec()
}
