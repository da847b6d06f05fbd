//! Experiments as data: a file says which networks, which data, what is compared, and what the paper found.

use serde::Deserialize;
use toml::{Table, Value};

use onebasin_core::nearest;

use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::recipe::Recipe;

/// The experiments that come along, each a file of `experiments/`.
const BUILT_IN: [(&str, &str); 18] = [
    ("fig1-plane", include_str!("../../../experiments/fig1-plane.toml")),
    ("fig2-mnist", include_str!("../../../experiments/fig2-mnist.toml")),
    ("fig2-cifar10-mlp", include_str!("../../../experiments/fig2-cifar10-mlp.toml")),
    ("fig2-cifar10-resnet20", include_str!("../../../experiments/fig2-cifar10-resnet20.toml")),
    ("fig2-imagenet-resnet50", include_str!("../../../experiments/fig2-imagenet-resnet50.toml")),
    ("fig3-mnist", include_str!("../../../experiments/fig3-mnist.toml")),
    ("fig3-cifar10-mlp", include_str!("../../../experiments/fig3-cifar10-mlp.toml")),
    ("fig4-resnet20", include_str!("../../../experiments/fig4-resnet20.toml")),
    ("fig4-vgg16", include_str!("../../../experiments/fig4-vgg16.toml")),
    ("fig5-split-cifar100", include_str!("../../../experiments/fig5-split-cifar100.toml")),
    ("fig6-counterexample", include_str!("../../../experiments/fig6-counterexample.toml")),
    ("table2-vgg11", include_str!("../../../experiments/table2-vgg11.toml")),
    ("table3-merge-many", include_str!("../../../experiments/table3-merge-many.toml")),
    ("fig13-merge-many", include_str!("../../../experiments/fig13-merge-many.toml")),
    ("a1-mnist-vgg16", include_str!("../../../experiments/a1-mnist-vgg16.toml")),
    ("a5-timings", include_str!("../../../experiments/a5-timings.toml")),
    ("a7-one-pass", include_str!("../../../experiments/a7-one-pass.toml")),
    ("a11-steepest-descent", include_str!("../../../experiments/a11-steepest-descent.toml")),
];

/// How much is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Minutes on two cores, to show the same phenomenon.
    Quick,
    /// An hour on two cores: fewer epochs, images and widths than the paper's. Few experiments have it.
    Desk,
    /// The paper's recipe.
    Paper,
}

/// Which tests run an experiment at quick scale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tests {
    /// All of them.
    Ci,
    /// `cargo xtask nightly` alone: it takes long, or data that are rarely at hand.
    #[default]
    Nightly,
}

/// An experiment at one scale.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// Where in the paper it is.
    pub source: String,
    /// What is to be known when reading it.
    pub notes: Vec<String>,
    /// Which tests run it at quick scale.
    pub quick_runs_in: Tests,
    /// How much is computed.
    pub scale: Scale,
    /// What is done.
    pub kind: Kind,
    /// What the paper found, and what is wanted here.
    pub claims: Vec<Claim>,
}

/// A number of the paper, and the one here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// What the number is.
    pub what: String,
    /// The paper's, as text; it may say that there is none.
    pub paper: String,
    /// Which of the values found here.
    pub here: String,
    /// Factor by which the value is shown: 100 for percent.
    #[serde(default = "one")]
    pub times: f64,
    /// What it should be: `<= 0.02`, `>= 0.2`, before the factor.
    pub want: Option<String>,
    /// The scales at which it is looked at; all if none are given.
    #[serde(default)]
    pub scales: Vec<Scale>,
}

fn one() -> f64 {
    1.0
}

impl<'de> Deserialize<'de> for Scale {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::named(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no scale; known: quick, desk, paper")))
    }
}

impl Scale {
    /// Every scale, the smallest first.
    pub const ALL: [Self; 3] = [Self::Quick, Self::Desk, Self::Paper];

    /// The scale of this name.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == text)
    }

    /// `quick`, `desk` or `paper`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Desk => "desk",
            Self::Paper => "paper",
        }
    }
}

/// Names of the experiments that come along.
pub fn built_in() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

impl Experiment {
    /// The experiment of this name that comes along.
    ///
    /// # Errors
    /// If there is none; all are listed.
    pub fn named(name: &str, scale: Scale) -> Result<Self> {
        let found = BUILT_IN.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| Error::Unknown {
            what: "experiment",
            name: name.to_owned(),
            near: nearest(name, built_in()).map(str::to_owned),
            known: format!("\n  {}", built_in().collect::<Vec<_>>().join("\n  ")),
        })?;
        Self::read(name, text, scale)
    }

    /// Reads an experiment from TOML: `[setting]`, with what `[quick]`, `[desk]` or `[paper]` say instead.
    ///
    /// # Errors
    /// If it is not one, or has no `[desk]` and that is asked for.
    pub fn read(name: &str, text: &str, scale: Scale) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Head {
            title: String,
            source: String,
            #[serde(default)]
            notes: Vec<String>,
            kind: String,
            #[serde(default)]
            quick_runs_in: Tests,
            setting: Table,
            #[serde(default)]
            quick: Table,
            desk: Option<Table>,
            #[serde(default)]
            paper: Table,
            #[serde(default)]
            claim: Vec<Claim>,
        }
        let fail = |why: String| Error::Experiment { name: name.to_owned(), why };
        let head: Head = toml::from_str(text).map_err(|why| fail(why.to_string()))?;
        let mut setting = head.setting;
        let changes = match scale {
            Scale::Quick => head.quick,
            Scale::Desk => head.desk.ok_or_else(|| fail("has no scale between quick and paper".to_owned()))?,
            Scale::Paper => head.paper,
        };
        overlay(&mut setting, changes);
        let kind = Kind::read(&head.kind, setting).map_err(fail)?;
        if let Some(training) = kind.training() {
            Recipe::named(&training.recipe)?;
        }
        let claims = head.claim.into_iter().filter(|c| c.scales.is_empty() || c.scales.contains(&scale)).collect();
        Ok(Self {
            name: name.to_owned(),
            title: head.title,
            source: head.source,
            notes: head.notes,
            quick_runs_in: head.quick_runs_in,
            scale,
            kind,
            claims,
        })
    }
}

/// Puts what `changes` says into `table`, tables into tables.
fn overlay(table: &mut Table, changes: Table) {
    for (key, value) in changes {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(changes)) => overlay(inner, changes),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
