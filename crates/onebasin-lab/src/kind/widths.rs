//! The barrier by the width of the network: the paper's Figure 4.

use serde::Deserialize;

use super::epochs::by;
use super::found::{Findings, Reading, pairs};
use super::lines::{self, spread};
use crate::error::Result;
use crate::figure::{Axis, Figure};
use crate::plan::{Plan, describe, wrong};
use crate::setting::TrainingSetting;
use crate::stage::Variant;

/// The barrier of the same network at several widths.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Widths {
    /// The networks, with `{width}` in their name.
    pub training: TrainingSetting,
    /// How B is aligned with A.
    pub methods: Vec<Variant>,
    /// Values of λ.
    pub points: usize,
    /// How wide: two widths at least, rising.
    pub at: Vec<f64>,
}

impl Widths {
    /// Values beside those of every width: `rise.weight.test.barrier`, the most that the mean barrier rises from one width
    /// to the next; none or less says that it falls.
    pub(super) fn plan(&self, plan: &Plan<'_>) -> Result<Reading> {
        if !self.training.network.contains("{width}") {
            return Err(wrong("setting.training.network", "its name has no `{width}`"));
        }
        if self.at.len() < 2 || !self.at.is_sorted_by(|a, b| a < b) {
            return Err(wrong("setting", format!("`at` names two widths at least, rising, found {:?}", self.at)));
        }
        let (widths, pairs) = (self.at.clone(), pairs(&self.training)?);
        let (mut planned, mut facts) = (Vec::new(), Vec::new());
        for width in &widths {
            let subject = plan.subject(&self.training, Some(&width.to_string()))?;
            let nets: Vec<_> = pairs.iter().map(|s| s.map(|s| plan.trained(&subject, s, None))).collect();
            planned.push(lines::plan(plan, &subject, &nets, &self.methods, self.points));
            facts = describe(&subject, &self.training);
        }
        let names = widths.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
        facts[0].1 = format!("{} at widths {names}", self.training.network);
        Ok(Box::new(move |store| {
            let measured = planned.iter().map(|p| lines::read(p, store)).collect::<Result<Vec<_>>>()?;
            let mut found = Findings { facts: facts.clone(), ..Findings::default() };
            for (width, measured) in widths.iter().zip(&measured) {
                lines::put(measured, &format!("{width}."), &mut found.values);
                found.tables.push(lines::table(&format!("Width {width}"), measured));
            }
            for k in 0..measured[0].len() {
                for (split, train) in [("train", true), ("test", false)] {
                    let barrier =
                        |all: &Vec<lines::MeasuredLines>| spread(all[k].split(train).map(|s| s.barrier.mean_ends)).mean;
                    let steps = measured.windows(2).map(|w| barrier(&w[1]) - barrier(&w[0]));
                    let rise = steps.fold(f64::NEG_INFINITY, f64::max);
                    found.values.insert(format!("rise.{}.{split}.barrier", measured[0][k].name), rise);
                }
            }
            let x = Axis { label: "width".to_owned(), log: true, ..Axis::default() };
            let title = "The barrier between two networks by their width".to_owned();
            found.figures.push(Figure { name: "widths".to_owned(), title, panels: by(&widths, &measured, &x) });
            for (width, measured) in widths.iter().zip(&measured) {
                found.figures.push(Figure {
                    name: format!("width-{width}"),
                    title: format!("From A to B at width {width}"),
                    panels: lines::panels(measured, ""),
                });
            }
            Ok(found)
        }))
    }
}
