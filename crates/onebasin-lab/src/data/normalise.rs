//! How images are prepared for a network.

use serde::{Deserialize, Serialize};

use super::Data;
use crate::error::{Error, Result};

/// How images are prepared for a network: it sees `(pixel / 255 − mean) / std`, one mean and one deviation per channel.
///
/// ```
/// use onebasin_lab::data::Normalise;
/// let usual: Normalise = "mean=0.1307 std=0.3081".parse()?;
/// assert_eq!((usual.mean[0], usual.to_string()), (0.1307, "mean 0.1307, std 0.3081".to_owned()));
/// # Ok::<(), onebasin_lab::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Normalise {
    /// One for every channel.
    pub mean: Vec<f64>,
    /// One for every channel, positive.
    pub std: Vec<f64>,
}

impl Normalise {
    /// Header entry of a checkpoint that says how its inputs were prepared, where that is not as its data set says.
    pub const HEADER: &str = "onebasin.inputs";
}

impl std::str::FromStr for Normalise {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = || Error::Options(format!("`{text}` should be mean=M,… std=S,… with a number for every channel"));
        let numbers = |name: &str| {
            let part = text.split_whitespace().find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            let all = part.ok_or_else(fail)?.split(',').map(|n| n.trim().parse::<f64>().ok().filter(|n| n.is_finite()));
            all.collect::<Option<Vec<f64>>>().ok_or_else(fail)
        };
        Ok(Self { mean: numbers("mean")?, std: numbers("std")? })
    }
}

impl std::fmt::Display for Normalise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |all: &[f64]| all.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
        write!(f, "mean {}, std {}", text(&self.mean), text(&self.std))
    }
}

impl Data {
    /// The same data, its images prepared so instead of as the data set says; its name tells.
    ///
    /// # Errors
    /// If there are not as many means and deviations as channels, or a deviation is not positive.
    pub fn prepared(self, how: &Normalise) -> Result<Self> {
        let name = format!("{} ({how})", self.name);
        let train = self.train.normalised(&how.mean, &how.std)?;
        let test = self.test.normalised(&how.mean, &how.std)?;
        Ok(Self::new(&name, train, test, self.notes))
    }
}
