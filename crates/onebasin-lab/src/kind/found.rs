//! What kinds have in common: what comes of them, and how pairs are made of seeds.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::figure::Figure;
use crate::page;
use crate::setting::TrainingSetting;
use crate::store::Store;

/// What came of an experiment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// Numbers by name: `weight.test.barrier`.
    pub values: BTreeMap<String, f64>,
    /// Figures.
    pub figures: Vec<Figure>,
    /// Tables.
    pub tables: Vec<page::PageTable>,
    /// What was trained, and how.
    pub facts: Vec<(String, String)>,
}

/// Reads what the stages left, once all are done.
pub type Reading = Box<dyn Fn(&Store) -> Result<Findings>>;

/// Pairs of networks, by their seeds: the first with the second, the third with the fourth.
pub(super) fn pairs(training: &TrainingSetting) -> Result<Vec<[u64; 2]>> {
    let pairs: Vec<[u64; 2]> = training.seeds.chunks_exact(2).map(|s| [s[0], s[1]]).collect();
    if pairs.is_empty() || !training.seeds.len().is_multiple_of(2) {
        let why = format!("seeds come in pairs, found {:?}", training.seeds);
        return Err(crate::plan::wrong("setting.training", why));
    }
    Ok(pairs)
}
