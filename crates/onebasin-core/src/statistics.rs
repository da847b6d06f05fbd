//! Running statistics of normalisations, where no graph says what they are.

use std::collections::BTreeSet;

use crate::params::Params;
use crate::tensor::Tensor;

/// Names of the tensors that are running statistics of normalisations, by how frameworks call them.
///
/// They move with their channels but are no weights: their size would outweigh all else, and their mean over networks is not
/// the statistic of the mean. Known are `running_mean`, `running_var` and `num_batches_tracked` (PyTorch); `moving_mean`,
/// `moving_variance` (Keras), `moving_avg`; and `mean` and `var` somewhere below `batch_stats` (Flax). The last part of a name
/// counts, after a point, slash or underscore, whatever its case and whatever follows a colon. A variance must not be negative
/// anywhere: what is called one and is has another meaning, and so has the mean beside it. A counter counts beside another statistic.
///
/// Cost: a comparison per name, and a look at every variance.
///
/// ```
/// use onebasin_core::{Params, Tensor, running_statistics};
/// let mut net = Params::new();
/// for (name, value) in [("bn.weight", 1.), ("bn.running_mean", -2.), ("bn.running_var", 3.), ("odd.running_var", -1.)] {
///     net.insert(name, Tensor::from_f32(&[1], vec![value])?);
/// }
/// assert!(running_statistics(&net).into_iter().eq(["bn.running_mean", "bn.running_var"]));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn running_statistics(params: &Params) -> BTreeSet<&str> {
    let known = params.iter().filter_map(|(name, tensor)| Some((name, Statistic::of(name)?, tensor)));
    let known: Vec<(&str, Statistic, &Tensor)> = known.collect();
    let negative = |tensor: &Tensor| tensor.to_f64().is_ok_and(|values| values.iter().any(|v| *v < 0.0));
    let odd: BTreeSet<&str> = known
        .iter()
        .filter(|(_, kind, tensor)| *kind == Statistic::Variance && negative(tensor))
        .map(|(name, _, _)| beside(name))
        .collect();
    let measured = known.iter().filter(|(_, kind, _)| *kind != Statistic::Count);
    let measured: BTreeSet<&str> =
        measured.map(|(name, _, _)| beside(name)).filter(|place| !odd.contains(place)).collect();
    known.iter().map(|(name, _, _)| *name).filter(|name| measured.contains(beside(name))).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statistic {
    Mean,
    Variance,
    Count,
}

impl Statistic {
    fn of(name: &str) -> Option<Self> {
        let lower = name.split(':').next().unwrap_or(name).to_ascii_lowercase();
        let ends = |word: &str| {
            lower.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '/', '_']))
        };
        let any = |words: &[&str]| words.iter().any(|word| ends(word));
        let flax = lower.split(['/', '.']).any(|part| part == "batch_stats");
        if any(&["running_mean", "moving_mean", "moving_avg"]) || (flax && any(&["mean"])) {
            Some(Self::Mean)
        } else if any(&["running_var", "running_variance", "moving_var", "moving_variance"]) || (flax && any(&["var"]))
        {
            Some(Self::Variance)
        } else if any(&["num_batches_tracked"]) {
            Some(Self::Count)
        } else {
            None
        }
    }
}

/// What a statistic and those beside it share of their names.
fn beside(name: &str) -> &str {
    let name = name.split(':').next().unwrap_or(name);
    let last = name.rfind(['.', '/']).map_or(0, |at| at + 1);
    let short = name[last..].len();
    // `bn1_running_mean` has no point before its word.
    let words =
        ["running_", "moving_", "num_batches_"].iter().filter_map(|word| name[last..].to_ascii_lowercase().find(word));
    &name[..last + words.min().unwrap_or(0).min(short)]
}
