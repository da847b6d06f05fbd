//! What is said of pairs of known kind: the study of `docs/results/trust.md`.

use std::collections::BTreeMap;

use onebasin::{Align, Blueprint, Context, Model, Pair};
use onebasin_core::matching::{Diagnosis, Kinship};
use onebasin_core::stream::Stream;
use onebasin_core::symmetry::Alignment;
use onebasin_core::{Params, Tensor};
use onebasin_lab::data::Dataset;
use onebasin_lab::{Data, TrainOptions, TrainState, train};
use onebasin_nn::Network;
use onebasin_testkit::data_or_skip;

/// How the second network of a pair came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Made {
    Identical,
    Planted,
    PlantedNoisyHalf,
    PlantedNoisyFourFifths,
    FineTuned,
    FineTunedPlanted,
    Folds,
    Independent,
    OtherTask,
    Untrained,
}

impl Made {
    const ALL: [Self; 10] = [
        Self::Identical,
        Self::Planted,
        Self::PlantedNoisyHalf,
        Self::PlantedNoisyFourFifths,
        Self::FineTuned,
        Self::FineTunedPlanted,
        Self::Folds,
        Self::Independent,
        Self::OtherTask,
        Self::Untrained,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Planted => "renumbered",
            Self::PlantedNoisyHalf => "renumbered, noise of half the spread",
            Self::PlantedNoisyFourFifths => "renumbered, noise of .8 of the spread",
            Self::FineTuned => "fine-tuned on other samples",
            Self::FineTunedPlanted => "fine-tuned and renumbered",
            Self::Folds => "one start, other samples",
            Self::Independent => "trained independently",
            Self::OtherTask => "other pixels, other labels",
            Self::Untrained => "two draws of initial weights",
        }
    }

    /// Whether a verdict is right, or says that it cannot tell.
    fn allows(self, kind: Kinship) -> bool {
        match self {
            Self::Identical => kind == Kinship::Identical,
            Self::Planted => kind == Kinship::Renumbered,
            Self::PlantedNoisyHalf | Self::PlantedNoisyFourFifths | Self::FineTunedPlanted => {
                matches!(kind, Kinship::Alignable | Kinship::SameAncestor)
            }
            Self::FineTuned | Self::Folds => kind == Kinship::SameAncestor,
            Self::Independent => matches!(kind, Kinship::Alignable | Kinship::TooSmall),
            Self::OtherTask | Self::Untrained => matches!(kind, Kinship::Unrelated | Kinship::TooSmall),
        }
    }
}

fn noisy(params: &Params, share: f64, seed: u64) -> Params {
    let one = |(name, tensor): (&str, &Tensor)| {
        let mut stream = Stream::new(seed, name);
        let values = tensor.to_f64().unwrap();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let spread = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
        let values: Vec<f64> = values.iter().map(|v| v + share * spread * stream.normal()).collect();
        (name.to_owned(), Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &values).unwrap())
    };
    params.iter().map(one).collect()
}

/// The same images with their pixels, and their labels, in another order.
fn other_task(data: &Dataset, seed: u64) -> Dataset {
    let (pixels, labels) = (Stream::new(seed, "pixels").permutation(784), Stream::new(seed, "labels").permutation(10));
    let images = data.images().unwrap().chunks(784).flat_map(|image| (0..784).map(|k| image[pixels.at(k)]));
    let named = data.labels().iter().map(|label| labels.at(usize::from(*label)) as u16);
    Dataset::new(data.shape(), 10, images.collect(), named.collect()).unwrap()
}

struct Study {
    network: Network,
    data: Dataset,
}

impl Study {
    fn trained(&self, start: u64, samples: std::ops::Range<u32>, task: Option<u64>) -> Params {
        self.further(&TrainState::fresh(&self.network, start).unwrap(), samples, task)
    }

    fn further(&self, state: &TrainState, samples: std::ops::Range<u32>, task: Option<u64>) -> Params {
        let part = self.data.pick(&samples.collect::<Vec<_>>());
        let part = task.map_or_else(|| part.clone(), |seed| other_task(&part, seed));
        let options = TrainOptions { epochs: 4, batch: 50, ..TrainOptions::default() };
        train(&self.network.graph().unwrap(), &part, state, &options, &mut |_| true).unwrap().params
    }

    fn second(&self, made: Made, a: &Params, seed: u64) -> Params {
        let model = Model::of(&self.network, a.clone()).unwrap();
        let symmetry = model.symmetry().unwrap();
        let renumbered = |net: &Params| {
            Alignment::random(&symmetry, &mut Stream::new(seed, "planted")).apply(&symmetry, net).unwrap()
        };
        let tuned = || {
            let begun = TrainState { params: a.clone(), ..TrainState::fresh(&self.network, 0).unwrap() };
            self.further(&begun, 1500..2000, None)
        };
        match made {
            Made::Identical => a.clone(),
            Made::Planted => renumbered(a),
            Made::PlantedNoisyHalf => noisy(&renumbered(a), 0.5, seed),
            Made::PlantedNoisyFourFifths => noisy(&renumbered(a), 0.8, seed),
            Made::FineTuned => tuned(),
            Made::FineTunedPlanted => renumbered(&tuned()),
            Made::Folds => self.trained(seed, 1500..3000, None),
            Made::Independent => self.trained(seed + 100, 0..1500, None),
            Made::OtherTask => self.trained(seed + 200, 0..1500, Some(seed)),
            Made::Untrained => self.network.init(seed + 300).unwrap(),
        }
    }

    fn told(&self, a: &Params, b: Params) -> Diagnosis {
        let [a, b] = [a.clone(), b].map(|net| Model::of(&self.network, net).unwrap());
        let aligned = Pair::new(a, b).unwrap().align(&Align::default(), &Context::default()).unwrap();
        aligned.record.unwrap().diagnosis.unwrap()
    }
}

/// Convolutions, BatchNorms and shortcuts, trained from two seeds.
#[test]
fn two_real_resnets_are_alignable() {
    let Some(folder) = data_or_skip("two_real_resnets_are_alignable") else { return };
    let file = |name: &str| folder.join("checkpoints/cifar10_resnet20").join(name);
    let pair =
        Pair::open(file("resnet20_a.safetensors"), file("resnet20_b.safetensors"), &Blueprint::default()).unwrap();
    let told = pair.align(&Align::default(), &Context::default()).unwrap().record.unwrap().diagnosis.unwrap();
    assert_eq!(told.kind, Kinship::Alignable, "{told}");
}

#[test]
#[allow(clippy::print_stdout, reason = "it prints a table")]
#[ignore = "minutes: cargo test -p onebasin-lab --test all verdicts -- --ignored --nocapture"]
fn pairs_of_known_kind_are_told_apart() {
    let data = Data::open("digits").unwrap().train;
    let kinds = [
        Kinship::Identical,
        Kinship::Renumbered,
        Kinship::SameAncestor,
        Kinship::Alignable,
        Kinship::Unrelated,
        Kinship::TooSmall,
    ];
    let mut counts: BTreeMap<Made, BTreeMap<usize, usize>> = BTreeMap::new();
    let mut wrong = Vec::new();
    println!(
        "| network | pair | verdict | p numbering | p matched | likeness | least | cosine |\n|---|---|---|---|---|---|---|---|"
    );
    for (width, depth) in [(4, 1), (8, 1), (8, 2), (16, 1), (16, 2), (32, 1), (64, 2), (128, 1), (256, 2), (512, 1)] {
        let network = Network::new(&format!("mlp:{width}x{depth}"), &[784], 10).unwrap();
        let study = Study { network, data: data.clone() };
        for seed in 1..=4 {
            let trained = study.trained(seed, 0..1500, None);
            for made in Made::ALL {
                let a = if made == Made::Untrained { study.network.init(seed).unwrap() } else { trained.clone() };
                let told = study.told(&a, study.second(made, &a, seed));
                let kind = kinds.iter().position(|k| *k == told.kind).expect("units can move");
                *counts.entry(made).or_default().entry(kind).or_default() += 1;
                if let Some(t) = told.tested {
                    println!(
                        "| {}, {seed} | {} | {:?} | {:.1e} | {:.1e} | {:.2} | {:.2} | {:.3} |",
                        study.network.name,
                        made.name(),
                        told.kind,
                        t.numbering,
                        t.matched,
                        t.likeness,
                        t.least,
                        told.matched
                    );
                }
                if !made.allows(told.kind) {
                    wrong.push(format!("{}, {}: {told}", study.network.name, made.name()));
                }
            }
        }
    }
    println!("\n| pair | {} |", kinds.map(|k| format!("{k:?}")).join(" | "));
    for (made, row) in counts {
        let row: Vec<String> = (0..kinds.len()).map(|k| row.get(&k).copied().unwrap_or(0).to_string()).collect();
        println!("| {} | {} |", made.name(), row.join(" | "));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
