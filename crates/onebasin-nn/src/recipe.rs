//! The paper's training runs, by name.

use crate::data::Augment;
use crate::error::{Error, Result};
use crate::optim::{Optimizer, Schedule};
use crate::train::TrainOptions;

/// How one of the paper's networks is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    /// Its name.
    pub name: &'static str,
    /// What it trains.
    pub what: &'static str,
    /// Passes over the data.
    pub epochs: usize,
    /// Samples in a step.
    pub batch: usize,
    /// How gradients become steps.
    pub optimizer: Optimizer,
    /// Peak learning rate.
    pub rate: f64,
    /// Learning rate over time.
    pub schedule: Schedule,
    /// How images are changed at random, if they are.
    pub augment: Option<Augment>,
}

const SGD: Optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 };
const COSINE: Schedule = Schedule::Cosine { warmup_epochs: 1.0 };

/// Every recipe.
///
/// Source: Ainsworth et al. 2023, A.3, and the scripts of its authors where the text is silent. Where they disagree
/// (weight decay and warm-up of ResNets: 1e-4 and 5 epochs in the scripts), the text is followed. The paper says nothing
/// of how its ImageNet networks were trained: `imagenet-resnet50` is He et al. 2016, section 3.4, with a cosine, and
/// `vgg11` is our own.
pub const RECIPES: [Recipe; 7] = [
    Recipe {
        name: "mnist-mlp",
        what: "multilayer perceptrons on MNIST",
        epochs: 100,
        batch: 500,
        optimizer: Optimizer::Adam,
        rate: 1e-3,
        schedule: Schedule::Constant,
        augment: None,
    },
    Recipe {
        name: "cifar10-mlp",
        what: "multilayer perceptrons on CIFAR-10",
        epochs: 100,
        batch: 100,
        optimizer: Optimizer::Adam,
        rate: 1e-3,
        schedule: Schedule::Constant,
        augment: Some(Augment::ZoomRotate),
    },
    Recipe {
        name: "vgg16",
        what: "VGG16 with LayerNorm on CIFAR-10, any width",
        epochs: 100,
        batch: 100,
        optimizer: SGD,
        rate: 0.1,
        schedule: COSINE,
        augment: Some(Augment::ZoomRotate),
    },
    Recipe {
        name: "resnet20",
        what: "ResNet20 with LayerNorm on CIFAR-10 and CIFAR-100, any width",
        epochs: 250,
        batch: 100,
        optimizer: SGD,
        rate: 0.1,
        schedule: COSINE,
        augment: Some(Augment::ZoomRotate),
    },
    Recipe {
        name: "mnist-vgg16",
        what: "VGG16 with LayerNorm on MNIST, a pair that does not merge",
        epochs: 25,
        batch: 100,
        optimizer: SGD,
        rate: 1e-3,
        schedule: COSINE,
        augment: None,
    },
    Recipe {
        name: "vgg11",
        what: "VGG11 without biases on CIFAR-10, as OT-Fusion's",
        epochs: 300,
        batch: 128,
        optimizer: SGD,
        rate: 0.05,
        schedule: COSINE,
        augment: Some(Augment::CropFlip),
    },
    Recipe {
        name: "imagenet-resnet50",
        what: "ResNet50 with BatchNorm on ImageNet",
        epochs: 90,
        batch: 256,
        optimizer: Optimizer::Sgd { momentum: 0.9, weight_decay: 1e-4 },
        rate: 0.1,
        schedule: COSINE,
        augment: Some(Augment::CropFlip),
    },
];

impl Recipe {
    /// The recipe of this name.
    ///
    /// # Errors
    /// If there is none; all are listed.
    pub fn named(name: &str) -> Result<Self> {
        RECIPES.into_iter().find(|r| r.name == name).ok_or_else(|| {
            let known = RECIPES.map(|r| format!("\n  {}: {}", r.name, r.what)).concat();
            Error::Options(format!("there is no recipe `{name}`; known are{known}"))
        })
    }

    /// The options of a run from this seed.
    #[must_use]
    pub fn options(&self, seed: u64) -> TrainOptions {
        let Self { epochs, batch, optimizer, rate, schedule, augment, .. } = *self;
        TrainOptions { seed, epochs, batch, optimizer, rate, schedule, augment }
    }
}

impl Default for TrainOptions {
    fn default() -> Self {
        RECIPES[0].options(0)
    }
}
