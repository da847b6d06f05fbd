//! How long matching takes: the paper's A.5.

use onebasin_nn::Network;
use serde::Deserialize;

use super::found::{Findings, Reading};
use crate::error::Result;
use crate::page::{ColumnAlign, PageTable};
use crate::plan::{Plan, wrong};
use crate::stage::{Stage, TimingStage, timing};

/// Algorithm 1 on networks drawn at random.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    /// Network, shape of its samples, classes.
    pub networks: Vec<(String, Vec<usize>, usize)>,
    /// How often each is matched.
    pub runs: usize,
}

impl Timings {
    pub(super) fn plan(&self, plan: &Plan<'_>) -> Result<Reading> {
        if self.runs == 0 {
            return Err(wrong("setting", "each network is matched once at least; `runs` is 0"));
        }
        let mut planned = Vec::new();
        for (name, input, classes) in &self.networks {
            let network = Network::new(name, input, *classes)?;
            let numbers: usize = network.graph()?.params().map(|p| p.shape.iter().product::<usize>()).sum();
            let timing = TimingStage { network, seeds: [0, 1], runs: self.runs };
            // A second or two for ten million parameters.
            planned.push((name.clone(), plan.add(Stage::Timing(timing), self.runs as f64 * 1e4 * numbers as f64)));
        }
        Ok(Box::new(move |store| {
            let (mut found, mut rows) = (Findings::default(), Vec::new());
            for (name, key) in &planned {
                let seconds: timing::Seconds = store.read_json(key, timing::SECONDS)?;
                let mut runs = seconds.runs.clone();
                runs.sort_by(f64::total_cmp);
                let median = runs[runs.len() / 2];
                found.values.insert(format!("{name}.seconds"), median);
                let (least, most) = (runs[0], runs[runs.len() - 1]);
                rows.push(vec![
                    name.clone(),
                    format!("{:.1}", seconds.parameters as f64 / 1e6),
                    seconds.sweeps.to_string(),
                    format!("{median:.2} ({least:.2} to {most:.2})"),
                ]);
            }
            found.tables.push(PageTable {
                caption: "Weight matching of two networks drawn at random".to_owned(),
                head: ["network", "million parameters", "sweeps", "seconds, median (least to most)"]
                    .map(str::to_owned)
                    .to_vec(),
                rows,
                align: [vec![ColumnAlign::Left], vec![ColumnAlign::Right; 3]].concat(),
            });
            Ok(found)
        }))
    }
}
