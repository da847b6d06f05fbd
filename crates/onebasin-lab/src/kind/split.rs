//! Networks trained on different parts of the data: the paper's Figures 5, 10 and 11.

use serde::Deserialize;

use super::found::{Findings, Reading};
use super::{lines, worths};
use crate::error::Result;
use crate::figure::Figure;
use crate::plan::{Plan, describe, wrong};
use crate::setting::TrainingSetting;
use crate::shelf::DataPart;
use crate::stage::{Net, Variant};

/// A on the first part of the split data, B on the second, a third network on all of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitData {
    /// The networks: seeds of A, B, and the one that sees everything.
    pub training: TrainingSetting,
    /// How B is aligned with A.
    pub method: Variant,
    /// Values of λ.
    pub points: usize,
}

impl SplitData {
    /// Measures on all of the data, which is `data.split` of neither.
    pub(super) fn plan(&self, plan: &Plan<'_>) -> Result<Reading> {
        let [a, b, all] = self.training.seeds[..] else {
            return Err(wrong(
                "setting.training",
                "three seeds are needed: of A, of B, and of the one that sees everything",
            ));
        };
        let subject = plan.subject(&self.training, None)?;
        let on = |which: usize, seed: u64| {
            plan.trained_on(&subject, &DataPart { split: Some(which), ..subject.data.clone() }, 0.5, seed, None)
        };
        let (a, b, all) = (on(1, a), on(2, b), plan.trained(&subject, all, None));
        let moved = plan.aligned(&subject, &a, &b, self.method);
        let planned = lines::plan(plan, &subject, &[[a.clone(), b.clone()]], &[self.method], self.points);
        let scored: Vec<(String, Vec<Net>)> = [
            ("A", vec![a.clone()]),
            ("B", vec![b.clone()]),
            ("naive", vec![a.between(&b, 0.5)]),
            ("merged", vec![a.between(&moved, 0.5)]),
            ("ensemble", vec![a, b]),
            ("all-data", vec![all]),
        ]
        .map(|(name, nets)| (name.to_owned(), nets))
        .to_vec();
        let scored: Vec<_> = scored.into_iter().map(|(name, nets)| (name, plan.score(&subject, nets))).collect();
        let facts = describe(&subject, &self.training);
        Ok(Box::new(move |store| {
            let (measured, worths) = (lines::read(&planned, store)?, worths::read(&scored, store)?);
            let mut found = Findings { facts: facts.clone(), ..Findings::default() };
            lines::put(&measured, "", &mut found.values);
            worths::put(&worths, &mut found.values);
            found.figures.push(Figure {
                name: "curves".to_owned(),
                title: "Loss and accuracy from A to B, on all training data and on test data".to_owned(),
                panels: lines::panels(&measured, ""),
            });
            found.figures.push(worths::reliability(&worths));
            found.tables.push(worths::table("On all training data, and on test data", &worths));
            Ok(found)
        }))
    }
}
