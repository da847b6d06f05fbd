//! What experiments that train networks have in common.

use serde::Deserialize;

/// Networks, their data, and how they are trained.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSetting {
    /// The network; `{width}` stands for each of an experiment's widths.
    pub network: String,
    /// The data set.
    pub data: String,
    /// The recipe, of [`Recipe`](crate::Recipe).
    pub recipe: String,
    /// Seeds of the networks.
    pub seeds: Vec<u64>,
    /// Instead of the recipe's.
    pub epochs: Option<usize>,
    /// Instead of the recipe's.
    pub batch: Option<usize>,
    /// Instead of the recipe's.
    pub rate: Option<f64>,
    /// Instead of the recipe's, which must be one of SGD.
    pub weight_decay: Option<f32>,
    /// The first samples of the training data only, to train and to measure on.
    pub samples: Option<usize>,
    /// The first samples of training and test data only, to measure on.
    pub measure: Option<[usize; 2]>,
}
