//! Data sets: images as bytes, labels as classes.

pub mod augment;
mod cifar10;
mod digits;
mod idx;
mod mnist;
mod synthetic;

use std::ops::Range;
use std::path::Path;

use onebasin::stream::Stream;

use crate::error::{Error, Result};
use crate::network::Network;
pub use augment::Augment;
pub use synthetic::synthetic;

/// One split of a data set. Pixels are bytes; networks see them divided by 255, and normalised where the data set says
/// so.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    shape: Vec<usize>,
    classes: usize,
    images: Vec<u8>,
    labels: Vec<u8>,
    /// What a network sees of every byte, for one channel after the other; one table serves all channels or one each.
    values: Vec<[f32; 256]>,
}

/// A data set with its training and test splits.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    /// Its name, without the folder it was read from.
    pub name: String,
    /// What training sees.
    pub train: Dataset,
    /// What it never sees.
    pub test: Dataset,
    /// What a user should know of the files: for example, that they are not the original ones.
    pub notes: Vec<String>,
}

impl Data {
    /// Opens a data set by name.
    ///
    /// - `digits`: 10,000 + 2,000 drawn digits, 28 × 28, made on the spot, always the same.
    /// - `mnist:DIR`: the four IDX files of MNIST (gzipped or not) in folder DIR; data sets in the same format open too.
    /// - `cifar10:DIR`: the six files of CIFAR-10's binary version in folder DIR.
    ///
    /// # Errors
    /// For an unknown name (the known ones are listed), and files that are missing or not what they should be.
    pub fn open(spec: &str) -> Result<Self> {
        const KNOWN: &str = "known: `digits` (built in), `mnist:DIR` (folder of the four IDX files), \
                             `cifar10:DIR` (folder of the six binary batches)";
        let fail = |why: &str| Err(Error::Data { spec: spec.to_owned(), why: format!("{why}; {KNOWN}") });
        match spec.split_once(':') {
            None if spec == "digits" => Ok(digits::open()),
            None if matches!(spec, "mnist" | "cifar10") => fail("the folder is missing"),
            Some(("mnist" | "cifar10", "")) => fail("the folder is missing"),
            Some(("mnist", folder)) => mnist::open(spec, Path::new(folder)),
            Some(("cifar10", folder)) => cifar10::open(Path::new(folder)),
            _ => fail("unknown data set"),
        }
    }
}

impl Data {
    /// The same data with a random share of the training samples, the same for the same seed, in their old order; its name
    /// tells.
    ///
    /// # Errors
    /// If the share is not in (0, 1] or leaves no sample.
    pub fn with_share(mut self, share: f64, seed: u64) -> Result<Self> {
        let count = (share * self.train.len() as f64).round() as usize;
        if !(share > 0.0 && share <= 1.0) || count == 0 {
            return Err(Error::Options(format!(
                "{share} is no share of {} samples; give one in (0, 1]",
                self.train.len()
            )));
        }
        if share < 1.0 {
            let mut kept = Stream::new(seed, "data/share").permutation(self.train.len()).as_slice()[..count].to_vec();
            kept.sort_unstable();
            self.train = self.train.pick(&kept);
            self.name = format!("{} ({count} samples of seed {seed})", self.name);
        }
        Ok(self)
    }
}

impl Dataset {
    /// Takes images one after the other and one label each.
    ///
    /// # Errors
    /// If the counts do not fit or a label is no class.
    pub fn new(shape: &[usize], classes: usize, images: Vec<u8>, labels: Vec<u8>) -> Result<Self> {
        let fail = |why: String| Err(Error::Data { spec: "images and labels".to_owned(), why });
        let pixels: usize = shape.iter().product();
        if pixels.checked_mul(labels.len()) != Some(images.len()) || pixels == 0 {
            return fail(format!("{} labels of {pixels} pixels each do not fit {} pixels", labels.len(), images.len()));
        }
        if let Some(at) = labels.iter().position(|&l| usize::from(l) >= classes) {
            return fail(format!("label {at} is {}, not one of {classes} classes", labels[at]));
        }
        let values = vec![std::array::from_fn(|p| p as f32 / 255.0)];
        Ok(Self { shape: shape.to_vec(), classes, images, labels, values })
    }

    /// The same images, seen as `(pixel / 255 − mean) / std` with one mean and one standard deviation per channel (axis
    /// 0), rounded to `f32` once.
    ///
    /// # Errors
    /// If there are not as many means and deviations as channels, or a deviation is not positive.
    pub fn normalised(self, mean: &[f64], std: &[f64]) -> Result<Self> {
        if [mean.len(), std.len()] != [self.shape[0]; 2] || !std.iter().all(|s| *s > 0.0) {
            let why = format!("means {mean:?} and deviations {std:?} do not normalise its channels");
            return Err(Error::Data { spec: format!("{:?} images", self.shape), why });
        }
        let table = |(mean, std): (&f64, &f64)| std::array::from_fn(|p| ((p as f64 / 255.0 - mean) / std) as f32);
        Ok(Self { values: mean.iter().zip(std).map(table).collect(), ..self })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Shape of one image.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Numbers in one image.
    pub fn input_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The labels.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The pixels, one image after the other.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// The first `n` samples.
    #[must_use]
    pub fn take(&self, n: usize) -> Self {
        let n = n.min(self.len());
        let (images, labels) = (self.images[..n * self.input_len()].to_vec(), self.labels[..n].to_vec());
        Self { shape: self.shape.clone(), classes: self.classes, images, labels, values: self.values.clone() }
    }

    /// Chosen samples, in the order given.
    ///
    /// # Panics
    /// If there is no such sample.
    #[must_use]
    pub fn pick(&self, samples: &[u32]) -> Self {
        let pixels = self.input_len();
        let images = samples.iter().flat_map(|&s| &self.images[s as usize * pixels..][..pixels]).copied().collect();
        let labels = samples.iter().map(|&s| self.labels[s as usize]).collect();
        Self { shape: self.shape.clone(), classes: self.classes, images, labels, values: self.values.clone() }
    }

    /// Writes a run of images, as networks see them.
    pub fn fill(&self, samples: Range<usize>, out: &mut [f32]) {
        for (s, out) in samples.zip(out.chunks_exact_mut(self.input_len())) {
            self.see(s, out);
        }
    }

    /// Writes chosen images, as networks see them, and their labels.
    pub fn gather(&self, samples: &[u32], out: &mut [f32], labels: &mut [u8]) {
        for ((&s, out), label) in samples.iter().zip(out.chunks_exact_mut(self.input_len())).zip(labels) {
            self.see(s as usize, out);
            *label = self.labels[s as usize];
        }
    }

    /// Writes chosen images, each augmented, and their labels.
    ///
    /// Sample `s` has the stream `augment/{epoch}/{s}` of the seed: what becomes of it depends neither on the other
    /// samples nor on their order.
    pub fn gather_augmented(
        &self,
        samples: &[u32],
        augment: Augment,
        (seed, epoch): (u64, usize),
        out: &mut [f32],
        labels: &mut [u8],
    ) {
        let mut image = vec![0.0; self.input_len()];
        for ((&s, out), label) in samples.iter().zip(out.chunks_exact_mut(self.input_len())).zip(labels) {
            self.see(s as usize, &mut image);
            let mut stream = Stream::new(seed, &format!("augment/{epoch}/{s}"));
            augment.apply(&image, &self.shape, &mut stream, out);
            *label = self.labels[s as usize];
        }
    }

    fn see(&self, sample: usize, out: &mut [f32]) {
        let pixels = self.input_len();
        let channel = pixels / self.values.len();
        let image = &self.images[sample * pixels..][..pixels];
        for ((out, bytes), values) in out.chunks_exact_mut(channel).zip(image.chunks_exact(channel)).zip(&self.values) {
            out.iter_mut().zip(bytes).for_each(|(o, &byte)| *o = values[usize::from(byte)]);
        }
    }

    /// Passes only if a network has this data set's samples, flattened or not, and its classes.
    pub fn check_fits(&self, network: &Network) -> Result<()> {
        let shape = network.input == self.shape || network.input == [self.input_len()];
        if shape && self.classes == network.classes {
            return Ok(());
        }
        let why = format!(
            "its images have shape {:?} and {} classes, network `{}` takes {:?} and answers {}",
            self.shape, self.classes, network.name, network.input, network.classes
        );
        Err(Error::Data { spec: format!("{:?} images", self.shape), why })
    }
}
