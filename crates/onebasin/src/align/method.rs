//! The methods by name.

use serde::{Deserialize, Serialize};

/// How units of B are compared with those of A.
///
/// ```
/// use onebasin::Method;
/// assert_eq!(Method::FrankWolfe.name(), "frank-wolfe");
/// assert_eq!(Method::ALL.len(), 10);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The best of several: spectral where it can be trusted, else weight; with samples also activation, judged by the loss of
    /// held-out midpoints; without, where inputs are images, also activation on made-up ones, judged by how much of both
    /// networks the midpoint explains. Of transformers that are known by their configuration and are no kin: orthogonal.
    #[default]
    Auto,
    /// Nothing is moved: networks of one ancestor, or a baseline.
    None,
    /// Weights, and more than permutations where a network does not notice: a residual stream that is turned by an orthogonal
    /// matrix, units inside heads, signs of gates; local groups under what stands beside fixed axes, before the stream.
    Orthogonal,
    /// Permutations by weights, local groups under what stands beside fixed axes before the group that everything touches.
    Anchored,
    /// Weights: coordinate ascent and a joint climb from several starts, as far as the budget goes, the best kept. The paper's Algorithm 1 as published is
    /// [`Align::published`](super::Align::published).
    Weight,
    /// Weights without the noise that initialisation left in wide layers.
    Spectral,
    /// Weights, all groups at once, over matrices between permutations.
    FrankWolfe,
    /// Incoming weights, group after group, once: a baseline.
    Greedy,
    /// Correlations of activations on samples, or on made-up inputs where there are none; of transformers that are known all kinds of
    /// groups, streams by what their norms give. The paper's `E[ab]` (its section
    /// 3.1) is [`Align::uncentred`](super::Align::uncentred).
    Activation,
    /// The loss of the midpoint, by straight-through gradients (Algorithm 2 of the paper).
    Ste,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Auto,
        Self::None,
        Self::Orthogonal,
        Self::Anchored,
        Self::Weight,
        Self::Spectral,
        Self::FrankWolfe,
        Self::Greedy,
        Self::Activation,
        Self::Ste,
    ];

    /// Its name in options, reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Orthogonal => "orthogonal",
            Self::Anchored => "anchored",
            Self::Weight => "weight",
            Self::Spectral => "spectral",
            Self::FrankWolfe => "frank-wolfe",
            Self::Greedy => "greedy",
            Self::Activation => "activation",
            Self::Ste => "ste",
        }
    }

    /// Whether it looks at samples: has to, or is the better for it.
    pub fn sees_data(self) -> bool {
        match self {
            Self::Auto | Self::Activation | Self::Ste => true,
            Self::None
            | Self::Orthogonal
            | Self::Anchored
            | Self::Weight
            | Self::Spectral
            | Self::FrankWolfe
            | Self::Greedy => false,
        }
    }

    /// What it compares, in a few words for people who choose one.
    pub fn means(self) -> &'static str {
        match self {
            Self::Auto => {
                "The best of several: spectral where it can be trusted, else weight; also activation, on data or made-up images, judged by the midpoint; of known transformers orthogonal"
            }
            Self::None => "Nothing is moved: for networks of one ancestor, and as a baseline",
            Self::Orthogonal => {
                "Weights, and matrices where a network does not notice: the stream of a transformer, units inside its heads"
            }
            Self::Anchored => {
                "Weights, layers under the embeddings before the stream that joins them: permutations of transformers"
            }
            Self::Weight => {
                "Weights: several starts and a joint climb, the best kept; from the identity in one order, the paper's Algorithm 1"
            }
            Self::Spectral => "Weights without the noise that initialisation left in wide layers",
            Self::FrankWolfe => "All groups at once, over matrices between permutations",
            Self::Greedy => "Group after group by incoming weights, once: a baseline",
            Self::Activation => "Correlations of activations on data; of language models also on text that they write",
            Self::Ste => "The loss of the midpoint, by straight-through gradients from what auto finds",
        }
    }
}
