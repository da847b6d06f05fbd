//! What a solve brought: the record of it.

use std::fmt;

use onebasin_core::solve::LeftOut;
use onebasin_nn::Profile;
use serde::{Deserialize, Serialize};

/// How a merged network was solved, and how well it follows its ends.
///
/// ```
/// use onebasin::Solving;
/// use onebasin::nn::{Profile, SiteFit};
/// let fit = |node: &str, explained| vec![SiteFit { node: node.to_owned(), explained }];
/// let fit = |explained| Profile { sites: fit("fc1", explained), outputs: fit("logits", explained) };
/// let (samples, name) = (1200, "cifar10".to_owned());
/// let (before, after) = (fit(0.2), fit(0.9));
/// let record = Solving { name, samples, held_out: 64, before, after, left: Vec::new(), distilled: 0, lean: false, units_only: false };
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
    /// R² of every site and output of the plain average, BatchNorm statistics recomputed.
    pub before: Profile,
    /// R² of every site and output of the solved network.
    pub after: Profile,
    /// Operators with weights that keep the average.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftOut>,
    /// Steps that it was trained afterwards to answer as its ends do together; 0: it is what was solved.
    #[serde(default)]
    pub distilled: usize,
    /// Whether only scales and shifts of units were fitted, and their weights are those of the average.
    #[serde(default)]
    pub units_only: bool,
    /// Whether it leans to the first network, and so is no midpoint.
    #[serde(default)]
    pub lean: bool,
}

impl Solving {
    /// R² below which a merged network no longer answers as its ends do.
    const LOW: f64 = 0.5;

    /// What should be said of it before the result is trusted.
    pub(crate) fn warning(&self) -> Option<String> {
        let [before, after] = [&self.before, &self.after].map(Profile::answered);
        let share = |r2: f64| 100.0 * r2.max(0.0);
        if after < before {
            return Some(format!(
                "solving made it worse: the merged network explains {:.0} % of what both networks answer, and their average {:.0} %; \
                 more samples help where there are few, else use the average",
                share(after),
                share(before)
            ));
        }
        if after >= Self::LOW {
            return None;
        }
        let lost = self.after.sites.iter().find(|site| site.explained < Self::LOW);
        let from = lost.map_or_else(String::new, |site| format!("; it loses them from `{}` on", site.node));
        let share = share(after);
        Some(format!(
            "the merged network explains {share:.0} % of what both networks answer (R²){from}: do not expect it to work"
        ))
    }
}

impl fmt::Display for Solving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = |profile: &Profile| profile.sites.iter().map(|s| s.explained).fold(f64::INFINITY, f64::min);
        let count = self.after.sites.len();
        let layers = if count == 1 { "layer" } else { "layers" };
        let how = if self.units_only { "scaled and shifted unit by unit" } else { "solved" };
        write!(f, "{count} {layers} {how} on {} samples of {}, without labels; ", self.samples, self.name)?;
        if self.lean {
            f.write_str("leaning to A, so no midpoint: what only B knows is lost; ")?;
        }
        if self.distilled > 0 {
            write!(f, "then trained for {} steps to answer as both do together (distilled); ", self.distilled)?;
        }
        let on = if self.held_out > 0 { "other samples" } else { "some of the same samples" };
        write!(
            f,
            "share of what both networks compute that it explains (R², on {on}): at the output {} (average {}), in the \
             worst layer {} ({})",
            told(self.after.answered()),
            told(self.before.answered()),
            told(least(&self.after)),
            told(least(&self.before))
        )?;
        if !self.left.is_empty() {
            let left: Vec<String> = self.left.iter().map(ToString::to_string).collect();
            write!(f, "; averaged only: {}", left.join("; "))?;
        }
        Ok(())
    }
}

/// R² for people: below −1 it says no more than that.
fn told(r2: f64) -> String {
    if r2 < -1.0 { "below −1".to_owned() } else { format!("{r2:.2}") }
}
