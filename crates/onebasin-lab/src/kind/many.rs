//! Many networks and their mean: the paper's Table 3 and Figure 13.

use serde::Deserialize;

use super::found::{Findings, Reading};
use super::worths;
use crate::error::Result;
use crate::plan::{Plan, describe, wrong};
use crate::setting::TrainingSetting;
use crate::shelf::DataPart;
use crate::stage::score::Worth;
use onebasin::Together;

use crate::stage::Net;

/// Many networks, their means, and their ensemble.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Many {
    /// The networks.
    pub training: TrainingSetting,
    /// How they are brought together.
    pub together: Vec<Together>,
    /// Share of the training samples that each sees, drawn by its seed.
    #[serde(default = "all")]
    pub share: f64,
}

fn all() -> f64 {
    1.0
}

impl Many {
    /// Values: those of `network-SEED`, `mean-of-networks` (their scores averaged), `best-network` (by test loss), `ensemble`,
    /// and the means by their method; `saved.METHOD` is the share by which its test loss lies below the networks' mean.
    pub(super) fn plan(&self, plan: &Plan<'_>) -> Result<Reading> {
        if self.training.seeds.is_empty() {
            return Err(wrong("setting.training", "there are no seeds, so no networks"));
        }
        let subject = plan.subject(&self.training, None)?;
        let seeds = self.training.seeds.clone();
        let net = |seed: &u64| {
            if self.share < 1.0 {
                let part = DataPart { share: Some((self.share, *seed)), ..subject.data.clone() };
                plan.trained_on(&subject, &part, self.share, *seed, None)
            } else {
                plan.trained(&subject, *seed, None)
            }
        };
        let nets: Vec<Net> = seeds.iter().map(net).collect();
        let mut scored: Vec<_> = seeds
            .iter()
            .zip(&nets)
            .map(|(seed, net)| (format!("network-{seed}"), plan.score(&subject, vec![net.clone()])))
            .collect();
        for together in &self.together {
            let mean = plan.mean(&subject, nets.clone(), *together);
            scored.push((together.name().to_owned(), plan.score(&subject, vec![mean])));
        }
        scored.push(("ensemble".to_owned(), plan.score(&subject, nets.clone())));
        let (facts, n) = (describe(&subject, &self.training), nets.len());
        let together = self.together.clone();
        Ok(Box::new(move |store| {
            let worths = worths::read(&scored, store)?;
            let mut found = Findings { facts: facts.clone(), ..Findings::default() };
            worths::put(&worths, &mut found.values);
            let over = |of: fn(&Worth) -> f64| worths[..n].iter().map(|(_, w)| of(w)).sum::<f64>() / n as f64;
            let mean_loss = over(|w| w.test.loss);
            found.values.insert("mean-of-networks.test.loss".to_owned(), mean_loss);
            found.values.insert("mean-of-networks.test.accuracy".to_owned(), over(|w| w.test.accuracy));
            found
                .values
                .insert("mean-of-networks.test.calibration-error".to_owned(), over(|w| w.test.calibration_error));
            let best = worths[..n].iter().map(|(_, w)| w.test.loss).fold(f64::INFINITY, f64::min);
            found.values.insert("best-network.test.loss".to_owned(), best);
            for method in &together {
                let loss = found.values[&format!("{}.test.loss", method.name())];
                found.values.insert(format!("saved.{}", method.name()), 1.0 - loss / mean_loss);
            }
            // All networks look alike, so one of them is drawn.
            let drawn: Vec<_> = [&worths[..1], &worths[n..]].concat();
            found.figures.push(worths::reliability(&drawn));
            found.tables.push(worths::table("The networks, their means, and their ensemble", &worths));
            Ok(found)
        }))
    }
}
