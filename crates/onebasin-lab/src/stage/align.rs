//! An alignment, by one of the paper's methods or ours.

use onebasin_core::Params;
use onebasin_core::matching::activation::ActivationKind;
use onebasin_core::matching::{Fixed, MatchOptions, PortfolioOptions, Weights, ascend, best_of, greedy, objective};
use onebasin_core::symmetry::{Alignment, Symmetry};
use onebasin_io::write_alignment;
use onebasin_nn::exec::Program;
use onebasin_nn::task::Classes;
use onebasin_nn::{
    ActivationOptions, Network, SteOptions, SteState, activation_similarity, gradient, straight_through,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::net::{ALIGNMENT, symmetries};
use super::{Net, Room};
use crate::data::Data;
use crate::error::{Error, Result};
use crate::shelf::Part;

/// How it was found.
pub const RECORD: &str = "record.json";

/// How B is aligned with A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The paper's Algorithm 1 on weights, from the identity.
    Weight,
    /// One sweep of it.
    OnePass,
    /// Activations by `E[ab]` (section 3.1).
    Activation,
    /// Activations by correlation.
    Correlation,
    /// Algorithm 2, from what Algorithm 1 finds.
    StraightThrough,
    /// Weights by our best means: several starts and orders, and a joint climb.
    Portfolio,
    /// Layer after layer by incoming weights, once.
    Greedy,
    /// Steepest descent of the loss from A (A.11).
    SteepestDescent,
}

impl Method {
    /// Its name in experiments and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::OnePass => "one-pass",
            Self::Activation => "activation",
            Self::Correlation => "correlation",
            Self::StraightThrough => "straight-through",
            Self::Portfolio => "portfolio",
            Self::Greedy => "greedy",
            Self::SteepestDescent => "steepest-descent",
        }
    }

    /// Whether it looks at data.
    pub fn sees_data(self) -> bool {
        matches!(self, Self::Activation | Self::Correlation | Self::StraightThrough | Self::SteepestDescent)
    }
}

/// B aligned with A.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Align {
    /// What both are.
    pub network: Network,
    /// The reference.
    pub a: Net,
    /// The one that moves.
    pub b: Net,
    /// How.
    pub method: Method,
    /// What the method looks at, if it does.
    pub data: Option<Part>,
    /// Decides the order of groups and samples.
    pub seed: u64,
    /// How the target moves, in straight-through matching.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<SteOptions>,
    /// Where, if not on the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// How an alignment was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `⟨A, B⟩` as they came.
    pub start_objective: f64,
    /// `⟨A, π(B)⟩` at the end.
    pub objective: f64,
    /// Sweeps over the groups, where there were any.
    pub sweeps: usize,
}

impl Align {
    pub(super) fn run(&self, room: &Room<'_>) -> Result<()> {
        let (a, b) = (self.a.load(room.store)?, self.b.load(room.store)?);
        let [symmetry, weights] = symmetries(&self.network, &a)?;
        let program = Program::new(self.network.graph()?)?;
        let order: Vec<String> = program.graph().params().map(|p| p.name.clone()).collect();
        let pair = Pair { room, program: &program, all: &symmetry, weights: &weights, a: &a, b: &b, order };
        let (alignment, sweeps) = pair.find(self)?;
        let record = Record {
            start_objective: objective(&weights, &Alignment::identity(&symmetry), &a, &b)?,
            objective: objective(&weights, &alignment, &a, &b)?,
            sweeps,
        };
        let how = json!({ "program": "onebasin", "method": self.method, "seed": self.seed });
        write_alignment(&room.store.path(room.key, ALIGNMENT), &symmetry, &alignment, &how)?;
        room.store.write_json(room.key, RECORD, &record)
    }
}

struct Pair<'a> {
    room: &'a Room<'a>,
    program: &'a Program,
    all: &'a Symmetry,
    /// Without running statistics.
    weights: &'a Symmetry,
    a: &'a Params,
    b: &'a Params,
    order: Vec<String>,
}

impl Pair<'_> {
    /// The alignment, and how many sweeps it took.
    fn find(&self, how: &Align) -> Result<(Alignment, usize)> {
        let options = MatchOptions { seed: how.seed, ..MatchOptions::default() };
        let plain = self.compare(self.a)?;
        match how.method {
            Method::Weight => self.ascend(&plain, &options),
            Method::OnePass => self.ascend(&plain, &MatchOptions { max_sweeps: 1, ..options }),
            Method::Greedy => Ok((greedy(&plain)?, 1)),
            Method::Portfolio => {
                let options = PortfolioOptions { ascent: options, ..PortfolioOptions::default() };
                let runs = best_of(&plain, &options, &mut |_| (self.room.tell)(0.5, ""))?;
                self.room.at(0.9, "")?;
                let best = &runs[0].found;
                Ok((best.alignment.clone(), best.sweeps.len()))
            }
            Method::Activation => self.activations(how, ActivationKind::Uncentred, &options),
            Method::Correlation => self.activations(how, ActivationKind::Pearson, &options),
            Method::StraightThrough => {
                let (start, sweeps) = self.ascend(&plain, &options)?;
                let options = how.target.clone().unwrap_or_default();
                Ok((self.straight_through(how, &start, &options)?, sweeps))
            }
            Method::SteepestDescent => {
                let data = self.data(how)?;
                let downhill = scaled(&gradient(self.program, self.a, &data.train, &Classes)?, -1.0)?;
                let trained = self.weights.restrict(|name| downhill.get(name).is_some());
                let b: Params =
                    trained.tensors().filter_map(|(n, _)| Some((n.to_owned(), self.b.get(n)?.clone()))).collect();
                let order = self.order.iter().map(String::as_str);
                self.ascend(&Weights::new(&trained, &downhill, &b)?.in_order(order), &options)
            }
        }
    }

    fn compare<'n>(&'n self, a: &'n Params) -> Result<Weights<'n>> {
        let weights = Weights::new(self.weights, a, self.b)?.in_order(self.order.iter().map(String::as_str));
        Ok(match self.room.device {
            Some(device) => weights.on(device.accelerator),
            None => weights,
        })
    }

    fn data(&self, how: &Align) -> Result<Data> {
        let part = how.data.as_ref().ok_or_else(|| Error::Experiment {
            name: how.method.name().to_owned(),
            why: "this method looks at data".to_owned(),
        })?;
        self.room.shelf.open(part)
    }

    fn ascend(
        &self,
        source: &dyn onebasin_core::matching::Source,
        options: &MatchOptions,
    ) -> Result<(Alignment, usize)> {
        let identity = Alignment::identity(source.symmetry());
        let found = ascend(source, &identity, options, &mut |s| (self.room.tell)(0.5, &format!("sweep {}", s.sweep)))?;
        self.room.at(0.9, "")?;
        Ok((found.alignment, found.sweeps.len()))
    }

    fn activations(&self, how: &Align, kind: ActivationKind, options: &MatchOptions) -> Result<(Alignment, usize)> {
        let data = self.data(how)?.train;
        let ends = [self.a, self.b];
        let all = data.len() as f64;
        let mut go_on = |done: usize| (self.room.tell)(0.9 * done as f64 / all, "activations");
        let seen =
            activation_similarity(self.program, ends, self.weights, &data, &ActivationOptions { kind }, &mut go_on);
        let seen = seen?;
        let roots = self.weights.roots().into_iter();
        let grams = roots.map(|r| (r, seen.grams(r).to_vec())).filter(|(_, grams)| !grams.is_empty());
        self.ascend(&Fixed::new(self.weights, grams), options)
    }

    fn straight_through(&self, how: &Align, start: &Alignment, options: &SteOptions) -> Result<Alignment> {
        let data = self.data(how)?.train;
        let all = ((data.len() - options.held_out).div_ceil(options.batch) * options.epochs) as f64;
        let ends = [self.a, self.b];
        let state = SteState::fresh(self.all, ends, start, options.pull)?;
        let state = straight_through(self.program, self.all, ends, &data, &Classes, state, options, &mut |c| {
            (self.room.tell)(c.state.step as f64 / all, &format!("best loss {:.4}", c.state.best_loss))
        })?;
        self.room.at(1.0, "")?;
        Ok(state.best)
    }
}

/// All tensors times a number.
fn scaled(params: &Params, by: f32) -> Result<Params> {
    let scale = |(name, t): (&str, &onebasin_core::Tensor)| {
        let values = t.to_f32()?.iter().map(|v| by * v).collect();
        Ok((name.to_owned(), onebasin_core::Tensor::from_f32(t.shape(), values)?))
    };
    params.iter().map(scale).collect()
}
