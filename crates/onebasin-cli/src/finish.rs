//! What becomes of an average before it is used: BatchNorm statistics recomputed, activations repaired.

use onebasin_core::Params;
use onebasin_core::repair::repair_weights;
use onebasin_nn::data::Dataset;
use onebasin_nn::evaluate::BATCH;
use onebasin_nn::exec::Program;
use onebasin_nn::{RepairOptions, recompute_batch_norm, repair};

use crate::args::RepairName;

/// What is done to averages.
pub struct Finish<'a> {
    pub program: &'a Program,
    /// Training samples to measure on; none leaves BatchNorm statistics interpolated.
    pub data: Option<&'a Dataset>,
    pub repair: RepairName,
}

impl Finish<'_> {
    /// The average of `ends` at `lambda`, made ready.
    pub fn apply(&self, ends: [&Params; 2], average: &Params, lambda: f64) -> onebasin_nn::Result<Params> {
        match (self.repair, self.data) {
            (RepairName::Data, Some(data)) => {
                let options = RepairOptions { lambda, ..RepairOptions::default() };
                Ok(repair(self.program, ends, average, data, &options)?.params)
            }
            (RepairName::Weights, data) => {
                let repaired = repair_weights(self.program.graph(), ends, average, lambda)?.params;
                data.map_or(Ok(repaired.clone()), |data| recompute_batch_norm(self.program, &repaired, data, BATCH))
            }
            (RepairName::None | RepairName::Data, None) => Ok(average.clone()),
            (RepairName::None, Some(data)) => recompute_batch_norm(self.program, average, data, BATCH),
        }
    }
}
