//! An alignment, by one of the paper's methods or ours.

use onebasin::{Aligned, Context, Graph, Method, Pair, Params, StraightThrough};
use onebasin_core::matching::Weights;
use onebasin_io::{Metadata, PROVENANCE, write_alignment};
use onebasin_nn::exec::Program;
use onebasin_nn::{Network, SteOptions, gradient};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use super::net::ALIGNMENT;
use super::{Net, Room, StageObserver};
use crate::error::{Error, Result};
use crate::shelf::DataPart;

/// How it was found.
pub const RECORD: &str = "record.json";

/// How B is aligned with A, as experiments and figures name it: the paper's ways, ours, or any [`Method`] by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// The paper's Algorithm 1 on weights as published, from the identity.
    Weight,
    /// One sweep of it.
    OnePass,
    /// Activations by `E[ab]`, as published (section 3.1).
    Uncentred,
    /// Algorithm 2, from what Algorithm 1 finds.
    StraightThrough,
    /// Weights by our best means: several starts and orders, and a joint climb.
    Portfolio,
    /// Steepest descent of the loss from A (A.11).
    SteepestDescent,
    /// A method as the library has it, where none of the names above is meant.
    Plain(Method),
}

impl Serialize for Variant {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Variant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let all: Vec<Self> = Self::OWN
            .into_iter()
            .chain(Method::ALL.into_iter().filter(|method| *method != Method::Orthogonal).map(Self::Plain))
            .collect();
        all.iter().copied().find(|variant| variant.name() == name).ok_or_else(|| {
            let known = all.iter().map(|variant| variant.name()).collect::<Vec<_>>().join(", ");
            D::Error::custom(format!("unknown method `{name}`; known: {known}"))
        })
    }
}

impl Variant {
    const OWN: [Self; 6] =
        [Self::Weight, Self::OnePass, Self::Uncentred, Self::StraightThrough, Self::Portfolio, Self::SteepestDescent];

    /// Its name in experiments and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::OnePass => "one-pass",
            Self::Uncentred => "uncentred",
            Self::StraightThrough => "straight-through",
            Self::Portfolio => "portfolio",
            Self::SteepestDescent => "steepest-descent",
            Self::Plain(method) => method.name(),
        }
    }

    /// Whether it looks at data.
    pub fn sees_data(self) -> bool {
        match self {
            Self::Uncentred | Self::StraightThrough | Self::SteepestDescent => true,
            Self::Weight | Self::OnePass | Self::Portfolio => false,
            Self::Plain(method) => method.sees_data(),
        }
    }

    /// Multiply-adds, about, given those of a pass over the data.
    pub(crate) fn cost(self, pass: f64) -> f64 {
        match self {
            Self::StraightThrough | Self::Plain(Method::Ste) => 60.0 * pass,
            Self::SteepestDescent => 3.0 * pass,
            Self::Portfolio => 4e11,
            Self::Weight | Self::OnePass => 4e10,
            Self::Uncentred => 4.0 * pass,
            Self::Plain(method) => {
                if method.sees_data() {
                    4.0 * pass
                } else {
                    4e10
                }
            }
        }
    }

    /// What it is in the library's terms. Straight-through matching and steepest descent begin like this.
    fn options(self, seed: u64) -> onebasin::Align {
        let own = |method| onebasin::Align { method, seed, match_samples: usize::MAX, ..onebasin::Align::default() };
        let options = match self {
            Self::Weight | Self::StraightThrough | Self::SteepestDescent => onebasin::Align::published(seed),
            Self::OnePass => onebasin::Align { max_sweeps: 1, ..onebasin::Align::published(seed) },
            Self::Uncentred => onebasin::Align { uncentred: true, ..own(Method::Activation) },
            Self::Portfolio => own(Method::Weight),
            Self::Plain(method) => own(method),
        };
        onebasin::Align { diagnose: false, ..options }
    }
}

/// B aligned with A.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlignStage {
    /// What both are.
    pub network: Network,
    /// The reference.
    pub a: Net,
    /// The one that moves.
    pub b: Net,
    /// How.
    pub method: Variant,
    /// What the method looks at, if it does.
    pub data: Option<DataPart>,
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
pub struct AlignRecord {
    /// `⟨A, B⟩` as they came.
    pub start_objective: f64,
    /// `⟨A, π(B)⟩` at the end.
    pub objective: f64,
    /// Sweeps over the groups, where there were any.
    pub sweeps: usize,
}

impl AlignStage {
    pub(super) fn run(&self, room: &Room<'_>) -> Result<()> {
        let pair = Pair::new(self.a.model(&self.network, room.store)?, self.b.model(&self.network, room.store)?)?;
        let aligned = self.find(&pair, room)?;
        room.at(0.95, "")?;
        let found = aligned.record.as_ref().expect("it was found here");
        let record = AlignRecord {
            start_objective: found.start_objective,
            objective: found.objective,
            // What visits the groups once keeps no record of it.
            sweeps: found.sweeps.len().max(1),
        };
        let mut header = Metadata::default();
        header.set_json(PROVENANCE, &json!({ "program": "onebasin", "method": self.method, "seed": self.seed }));
        write_alignment(&room.store.path(room.key, ALIGNMENT), &aligned.symmetry, &aligned.alignment, header)?;
        room.store.write_json(room.key, RECORD, &record)
    }

    fn find(&self, pair: &Pair, room: &Room<'_>) -> Result<Aligned> {
        let data = self.data.as_ref().map(|part| room.shelf.open(part)).transpose()?;
        let data = match (&data, self.method.sees_data()) {
            (Some(data), _) => Some(&data.train),
            (None, false) => None,
            (None, true) => {
                let (name, why) = (self.method.name().to_owned(), "this method looks at data".to_owned());
                return Err(Error::Experiment { name, why });
            }
        };
        let told = StageObserver::new(room);
        let train = data.map(|d| d as _);
        let context = Context { train, device: room.device, observer: &told, ..Context::default() };
        let options = self.method.options(self.seed);
        match (self.method, data) {
            (Variant::StraightThrough, Some(_)) => {
                let start = pair.align(&options, &context)?;
                let straight_through = self.target.as_ref().map_or_else(StraightThrough::default, goes_like);
                let found = pair.refine(&start, &onebasin::Align { straight_through, ..options }, &context)?;
                let record = found.record.zip(start.record).map(|(mut found, start)| {
                    found.sweeps = start.sweeps;
                    found
                });
                Ok(Aligned { record, ..found })
            }
            (Variant::SteepestDescent, Some(data)) => {
                let program = Program::new(self.network.graph()?)?;
                let downhill = gradient(&program, pair.a().params(), data, &onebasin_nn::task::Classes)?;
                descend(pair, program.graph(), &scaled(&downhill, -1.0)?, &options, &context)
            }
            (Variant::Weight | Variant::OnePass | Variant::Uncentred | Variant::Plain(_) | Variant::Portfolio, _)
            | (Variant::StraightThrough | Variant::SteepestDescent, None) => Ok(pair.align(&options, &context)?),
        }
    }
}

/// Aligns B with the direction in which A's loss falls.
fn descend(
    pair: &Pair,
    graph: &Graph,
    downhill: &Params,
    options: &onebasin::Align,
    context: &Context<'_>,
) -> Result<Aligned> {
    let symmetry = pair.a().symmetry()?;
    let trained = symmetry.restrict(|name| downhill.get(name).is_some());
    let b: Params = pair.b().params().iter().filter(|(n, _)| downhill.get(n).is_some()).map(owned).collect();
    let source = Weights::new(&trained, downhill, &b)?.in_order(graph.params().map(|p| p.name.as_str()));
    Ok(pair.align_by(&source, "descent of the loss", options, context)?)
}

fn owned((name, tensor): (&str, &onebasin::Tensor)) -> (String, onebasin::Tensor) {
    (name.to_owned(), tensor.clone())
}

/// The same in the library's terms.
fn goes_like(target: &SteOptions) -> StraightThrough {
    let SteOptions { epochs, pull, rate, schedule, patience, optimizer, held_out, .. } = *target;
    let held_out = Some(held_out);
    StraightThrough { epochs, pull, rate, schedule, patience, optimizer, held_out }
}

/// All tensors times a number.
fn scaled(params: &Params, by: f32) -> Result<Params> {
    let scale = |(name, t): (&str, &onebasin::Tensor)| {
        let values = t.to_f32()?.iter().map(|v| by * v).collect();
        Ok((name.to_owned(), onebasin::Tensor::from_f32(t.shape(), values)?))
    };
    params.iter().map(scale).collect()
}
