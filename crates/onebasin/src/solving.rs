//! What a solve brought: the record of it.

use std::fmt;

use onebasin_core::solve::LeftOut;
use onebasin_nn::SiteFit;
use serde::{Deserialize, Serialize};

/// How a merged network was solved, and how well it follows its ends.
///
/// ```
/// use onebasin::{Solving, nn::SiteFit};
/// let fit = |explained| vec![SiteFit { node: "fc1".to_owned(), explained }];
/// let (samples, name) = (1200, "cifar10".to_owned());
/// let (before, after) = (fit(0.2), fit(0.9));
/// let record = Solving { name, samples, held_out: 64, before, after, left: Vec::new(), distilled: 0 };
/// assert!(record.to_string().starts_with("1 layer solved on 1200 samples of cifar10, without labels"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Solving {
    /// What the samples are called.
    pub name: String,
    /// How many were solved on.
    pub samples: usize,
    /// How many others it was measured on; 0: there were no others, and some of the same were taken.
    pub held_out: usize,
    /// R² of every site of the plain average, BatchNorm statistics recomputed.
    pub before: Vec<SiteFit>,
    /// R² of every site of the solved network.
    pub after: Vec<SiteFit>,
    /// Operators with weights that keep the average.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftOut>,
    /// Steps that it was trained afterwards to answer as its ends do together; 0: it is what was solved.
    #[serde(default)]
    pub distilled: usize,
}

impl Solving {
    /// R² below which a merged network no longer answers as its ends do.
    const LOW: f64 = 0.5;

    /// What should be said of it before the result is trusted.
    pub(crate) fn warning(&self) -> Option<String> {
        let last = self.after.last().filter(|site| site.explained < Self::LOW)?;
        let first = self.after.iter().find(|site| site.explained < Self::LOW)?;
        Some(format!(
            "the merged network explains {:.0} % of what both networks answer (R² at `{}`); it loses them from `{}` on: do not \
             expect it to work",
            100.0 * last.explained.max(0.0),
            last.node,
            first.node
        ))
    }
}

impl fmt::Display for Solving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = |fits: &[SiteFit]| fits.iter().map(|s| s.explained).fold(f64::INFINITY, f64::min);
        let last = |fits: &[SiteFit]| fits.last().map_or(f64::NAN, |s| s.explained);
        let (count, layers) = (self.after.len(), if self.after.len() == 1 { "layer" } else { "layers" });
        write!(f, "{count} {layers} solved on {} samples of {}, without labels; ", self.samples, self.name)?;
        if self.distilled > 0 {
            write!(f, "then trained for {} steps to answer as both do together (distilled); ", self.distilled)?;
        }
        let on = if self.held_out > 0 { "other samples" } else { "some of the same samples" };
        write!(
            f,
            "share of what both networks compute that it explains (R², on {on}): at the output {:.2} (average {:.2}), in the \
             worst layer {:.2} ({:.2})",
            last(&self.after),
            last(&self.before),
            least(&self.after),
            least(&self.before)
        )?;
        if !self.left.is_empty() {
            let left: Vec<String> = self.left.iter().map(ToString::to_string).collect();
            write!(f, "; averaged only: {}", left.join("; "))?;
        }
        Ok(())
    }
}
