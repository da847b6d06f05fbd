//! Tensors that a network does not use: what they likely are, and rules for them.

use std::collections::BTreeSet;

use onebasin_core::Tensor;

/// The first of many names.
pub(crate) fn few(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

/// Which tensors are none of the network's, by patterns of names in which `*` stands for anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) ignore: Vec<String>,
    pub(crate) carry: Vec<String>,
}

impl Rules {
    pub(crate) fn ignores(&self, name: &str) -> bool {
        self.ignore.iter().any(|pattern| fits(pattern, name))
    }

    pub(crate) fn carries(&self, name: &str) -> bool {
        self.carry.iter().any(|pattern| fits(pattern, name))
    }

    /// Both rules.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let both = |a: &[String], b: &[String]| a.iter().chain(b).cloned().collect();
        Self { ignore: both(&self.ignore, &other.ignore), carry: both(&self.carry, &other.carry) }
    }
}

/// Whether a name fits a pattern in which `*` stands for any run of characters.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A tensor that cannot be merged, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// Its name.
    pub tensor: String,
    /// In what the networks differ.
    pub how: Differs,
    /// What it likely is.
    pub likely: Likely,
}

/// How a tensor that the network does not use differs in two networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Differs {
    /// Both have it, with other values or another shape.
    Values,
    /// Only A has it.
    OnlyA,
    /// Only B has it.
    OnlyB,
    /// It is the same in both, but moves with units that the graph does not tell.
    Nowhere,
}

/// What a tensor that a network does not use likely is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likely {
    /// Part of a BatchNorm that an exporter has folded into the layer before it.
    FoldedNorm,
    /// What a weight is computed from, which an exporter has computed ahead.
    Parametrised,
    /// A moving average of weights.
    MovingAverage,
    /// An adapter on top of the network.
    Adapter,
    /// State of an optimiser.
    OptimizerState,
    /// Nothing that its name tells.
    Unknown,
}

impl Likely {
    pub(crate) fn of(name: &str, folded: &BTreeSet<&str>) -> Self {
        let lower = name.to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
        if folded.contains(module(name)) {
            Self::FoldedNorm
        } else if has(&["parametrizations.", "weight_g", "weight_v", "weight_orig"]) {
            Self::Parametrised
        } else if has(&["ema", "averag", "swa_", "shadow"]) {
            Self::MovingAverage
        } else if has(&["lora_", "adapter", "ia3_"]) {
            Self::Adapter
        } else if has(&["exp_avg", "momentum", "optimizer", "opt_state"]) {
            Self::OptimizerState
        } else {
            Self::Unknown
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::FoldedNorm => {
                "the exporter has folded this BatchNorm into the layer before it: export the graph with BatchNorms kept \
                 (torch.onnx.export with optimize=False, or with dynamo=False and do_constant_folding=False)"
            }
            Self::Parametrised => {
                "a weight is computed from it, which the exporter has done ahead: remove the parametrisation before saving \
                 and exporting (torch.nn.utils.parametrize.remove_parametrizations), or export with optimize=False"
            }
            Self::MovingAverage => "a moving average of weights: ignore it, or merge it in place of the weights",
            Self::Adapter => "an adapter: merge it into the weights first, or ignore it",
            Self::OptimizerState => "state of an optimiser: ignore it",
            Self::Unknown => {
                "ignore it (no result has it), carry it (the result has A's), or give a graph that uses it"
            }
        }
    }
}

/// A line for every kind: how many there are, the first of them, in what they differ, and what to do.
pub(crate) fn unused_text(tensors: &[Unused]) -> String {
    let mut kinds: Vec<(Likely, Differs)> = tensors.iter().map(|t| (t.likely, t.how)).collect();
    kinds.sort();
    kinds.dedup();
    let of = |(likely, how): (Likely, Differs)| {
        let alike = tensors.iter().filter(|t| (t.likely, t.how) == (likely, how));
        let names: Vec<String> = alike.map(|t| format!("`{}`", t.tensor)).collect();
        let how = match how {
            Differs::Values => "not the same in A and B",
            Differs::OnlyA => "only in A",
            Differs::OnlyB => "only in B",
            Differs::Nowhere => "would stay where units move",
        };
        format!("\n  {} ({how}): {}", few(&names), likely.advice())
    };
    kinds.into_iter().map(of).collect()
}

/// The module a tensor is of.
pub(crate) fn module(name: &str) -> &str {
    name.rsplit_once(['.', '/']).map_or("", |(module, _)| module)
}

fn leaf(name: &str) -> &str {
    name.rsplit_once(['.', '/']).map_or(name, |(_, leaf)| leaf)
}

/// Whether a tensor counts or flags, and is no weight: torch's counter of batches, or a single whole number.
pub(crate) fn is_bookkeeping(name: &str, tensor: &Tensor) -> bool {
    leaf(name) == "num_batches_tracked" || (!tensor.dtype().is_float() && tensor.len() <= 1)
}

/// Modules whose running statistics the network does not use.
pub(crate) fn folded_norms<'n>(rest: impl Iterator<Item = (&'n str, &'n Tensor)>) -> BTreeSet<&'n str> {
    let is_statistic =
        |name: &str| matches!(leaf(name), "running_mean" | "running_var" | "moving_mean" | "moving_variance");
    rest.filter(|(name, tensor)| is_statistic(name) && tensor.dtype().is_float())
        .map(|(name, _)| module(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name) in
            [("*", "a.b"), ("model_ema.*", "model_ema.fc"), ("*.lora_*", "fc.lora_A.weight"), ("a*b*c", "abbc")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("ema", "ema.fc"), ("model_ema.*", "model.fc"), ("a*bc", "abd"), ("ab*ba", "aba")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
