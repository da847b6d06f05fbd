//! Curves from A to B: the paper's Figure 2, and whatever compares methods on pairs.

use serde::Deserialize;

use super::found::{Findings, Reading, pairs};
use super::lines;
use crate::error::Result;
use crate::figure::Figure;
use crate::plan::{Plan, describe};
use crate::setting::TrainingSetting;
use crate::stage::Variant;

/// Curves from A to B.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curves {
    /// The networks.
    pub training: TrainingSetting,
    /// How B is aligned with A.
    pub methods: Vec<Variant>,
    /// Values of λ.
    pub points: usize,
}

impl Curves {
    pub(super) fn plan(&self, plan: &Plan<'_>) -> Result<Reading> {
        let subject = plan.subject(&self.training, None)?;
        let trained = |seed: u64| plan.trained(&subject, seed, None);
        let nets: Vec<_> = pairs(&self.training)?.into_iter().map(|seeds| seeds.map(trained)).collect();
        let planned = lines::plan(plan, &subject, &nets, &self.methods, self.points);
        let facts = describe(&subject, &self.training);
        Ok(Box::new(move |store| {
            let measured = lines::read(&planned, store)?;
            let mut found = Findings { facts: facts.clone(), ..Findings::default() };
            lines::put(&measured, "", &mut found.values);
            found.figures.push(Figure {
                name: "curves".to_owned(),
                title: "Loss and accuracy from A to B".to_owned(),
                panels: lines::panels(&measured, ""),
            });
            found.tables.push(lines::table("Along the line from A to B", &measured));
            Ok(found)
        }))
    }
}
