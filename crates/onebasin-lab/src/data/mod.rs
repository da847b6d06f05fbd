//! Data sets: images as bytes, labels as classes.
//!
//! What is not much is held in memory; photographs stay in their files and are decoded when they are looked at.

pub mod augment;
mod cifar;
mod digest;
mod digits;
mod idx;
mod imagenet;
mod jpeg;
mod mnist;
mod normalise;
mod pickle;
mod resample;
mod tarball;
mod text;
mod views;

use std::ops::Range;
use std::path::Path;

use onebasin_core::nearest;
use onebasin_core::stream::Stream;
use onebasin_nn::{Field, FieldKind, Network, Samples};

use crate::error::{Error, Result};
pub use augment::Augment;
pub use normalise::Normalise;
pub use text::{Reads, Text, alphabet};
use views::Photographs;

/// One split of a data set. Pixels are bytes; networks see them divided by 255, and normalised where the data set says
/// so.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// What to call it: its shape.
    name: String,
    /// What networks are fed: `images`.
    inputs: [Field; 1],
    /// What they ought to answer: `labels`.
    target: Field,
    classes: usize,
    images: Images,
    labels: Vec<u16>,
    /// What a network sees of every byte, for one channel after the other; one table serves all channels or one each.
    values: Vec<[f32; 256]>,
}

/// Where images are.
#[derive(Debug, Clone, PartialEq)]
enum Images {
    /// In memory, one after the other.
    Held(Vec<u8>),
    /// In a file each.
    Files(Photographs),
}

const SETS: [&str; 5] = ["digits", "mnist", "cifar10", "cifar100", "imagenet"];

/// What [`Data::open`] opens, in words.
pub const KNOWN: &str = "`digits` (built in), `mnist:DIR` (folder of the four IDX files), `cifar10:PATH` and `cifar100:PATH` \
                         (folder of the binary or the Python version's files, or an official archive), `imagenet:DIR` (folder \
                         with train/CLASS/*.JPEG and val/CLASS/*.JPEG); all but imagenet are resized by an added size, as in \
                         `mnist:DIR@32`; for language models `text:FILE`, by the model's tokenizer, characters or bytes";

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
    /// Both splits under one name, which they tell as samples.
    pub fn new(name: &str, train: Dataset, test: Dataset, notes: Vec<String>) -> Self {
        let named = |split: Dataset| Dataset { name: name.to_owned(), ..split };
        Self { name: name.to_owned(), train: named(train), test: named(test), notes }
    }

    /// Opens a data set by name.
    ///
    /// - `digits`: 10,000 + 2,000 drawn digits, 28 × 28, made on the spot, always the same.
    /// - `mnist:DIR`: the four IDX files of MNIST (gzipped or not) in folder DIR; data sets in the same format open too.
    /// - `cifar10:PATH`, `cifar100:PATH`: the files of the binary or of the Python version in folder PATH or in the subfolder
    ///   that the official archives unpack to, or one of these archives (`.tar.gz`). Of CIFAR-100 the 100 fine classes.
    /// - `imagenet:DIR`: JPEGs in `DIR/train/CLASS/` and `DIR/val/CLASS/`, seen in 224 × 224 pixels; the folders are the
    ///   classes, in the order of their names.
    ///
    /// `digits@N`, `mnist:DIR@N`, `cifar10:PATH@N` and `cifar100:PATH@N` are resized to N × N.
    ///
    /// # Errors
    /// For an unknown name (the known ones are listed), and files that are missing or not what they should be.
    pub fn open(spec: &str) -> Result<Self> {
        let fail = |why: &str| Err(Error::Data { spec: spec.to_owned(), why: format!("{why}; known: {KNOWN}") });
        let (whole, side) = match spec.rsplit_once('@') {
            Some((whole, side)) if !whole.starts_with("imagenet:") => match side.parse::<usize>() {
                Ok(side) => (whole, Some(side)),
                Err(_) => (spec, None),
            },
            _ => (spec, None),
        };
        let data = match whole.split_once(':') {
            None if whole == "digits" => digits::open(),
            None if matches!(whole, "mnist" | "cifar10" | "cifar100" | "imagenet") => {
                return fail("the folder is missing");
            }
            Some(("mnist" | "cifar10" | "cifar100" | "imagenet", "")) => return fail("the folder is missing"),
            Some(("mnist", folder)) => mnist::open(whole, Path::new(folder))?,
            Some(("cifar10", path)) => cifar::open(&cifar::CIFAR10, Path::new(path))?,
            Some(("cifar100", path)) => cifar::open(&cifar::CIFAR100, Path::new(path))?,
            Some(("imagenet", folder)) => imagenet::open(Path::new(folder))?,
            other => {
                let set = other.map_or(whole, |(set, _)| set);
                let near = nearest(set, SETS).map(|near| spec.replacen(set, near, 1));
                return Err(Error::Unknown { what: "data set", name: spec.to_owned(), near, known: KNOWN.to_owned() });
            }
        };
        let Some(side) = side else { return Ok(data) };
        let (train, test) = (data.train.resized(side, side)?, data.test.resized(side, side)?);
        Ok(Self::new(&format!("{}@{side}", data.name), train, test, data.notes))
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
            let name = format!("{} ({count} samples of seed {seed})", self.name);
            return Ok(Self::new(&name, self.train, self.test, self.notes));
        }
        Ok(self)
    }

    /// One of two parts of the training set that together are all of it: in each, one half of the classes is scarce. The
    /// samples stay in their order, the test set stays whole, and the name tells.
    ///
    /// Formula: in a random order of the seed (stream `data/split`), let `L` be the samples of the classes below half of
    /// their number and `G` the others. Part 1 is the first fifth of `L` and the rest of `G`, part 2 the first fifth of `G`
    /// and the rest of `L`; a fifth is rounded down.
    ///
    /// # Errors
    /// If `part` is neither 1 nor 2, or the part has no sample.
    ///
    /// Source: the split data sets of Ainsworth et al. 2023, figure 5, as their code makes them, in another random order.
    pub fn split_by_class(mut self, part: usize, seed: u64) -> Result<Self> {
        if !matches!(part, 1 | 2) {
            return Err(Error::Options(format!("a data set is split in parts 1 and 2; there is no part {part}")));
        }
        let (labels, half) = (self.train.labels(), self.train.classes() / 2);
        let order = Stream::new(seed, "data/split").permutation(self.train.len());
        let halves: (Vec<u32>, Vec<u32>) =
            order.as_slice().iter().partition(|&&s| usize::from(labels[s as usize]) < half);
        let (few, many) = if part == 1 { halves } else { (halves.1, halves.0) };
        let mut kept = [&few[..few.len() / 5], &many[many.len() / 5..]].concat();
        if kept.is_empty() {
            return Err(Error::Options(format!("part {part} of {} samples is empty", self.train.len())));
        }
        kept.sort_unstable();
        self.train = self.train.pick(&kept);
        let name = format!("{} (part {part} of 2, split by class with seed {seed})", self.name);
        Ok(Self::new(&name, self.train, self.test, self.notes))
    }
}

impl Dataset {
    /// Takes images one after the other and one label each.
    ///
    /// # Errors
    /// If the counts do not fit or a label is no class.
    pub fn new(shape: &[usize], classes: usize, images: Vec<u8>, labels: Vec<u16>) -> Result<Self> {
        let fail = |why: String| Err(Error::Data { spec: "images and labels".to_owned(), why });
        let pixels: usize = shape.iter().product();
        if pixels.checked_mul(labels.len()) != Some(images.len()) || pixels == 0 {
            return fail(format!("{} labels of {pixels} pixels each do not fit {} pixels", labels.len(), images.len()));
        }
        if let Some(at) = labels.iter().position(|&l| usize::from(l) >= classes) {
            return fail(format!("label {at} is {}, not one of {classes} classes", labels[at]));
        }
        let values = vec![std::array::from_fn(|p| p as f32 / 255.0)];
        Ok(Self::of(shape, classes, Images::Held(images), labels, values))
    }

    fn of(shape: &[usize], classes: usize, images: Images, labels: Vec<u16>, values: Vec<[f32; 256]>) -> Self {
        let field = |name: &str, shape: &[usize], kind| Field { name: name.to_owned(), shape: shape.to_vec(), kind };
        Self {
            name: format!("{shape:?} images"),
            inputs: [field("images", shape, FieldKind::Real)],
            target: field("labels", &[], FieldKind::Index { below: classes }),
            classes,
            images,
            labels,
            values,
        }
    }

    /// The same images, seen as `(pixel / 255 − mean) / std` with one mean and one standard deviation per channel (axis
    /// 0), rounded to `f32` once.
    ///
    /// # Errors
    /// If there are not as many means and deviations as channels, or a deviation is not positive.
    pub fn normalised(self, mean: &[f64], std: &[f64]) -> Result<Self> {
        let channels = if self.shape().len() == 3 { self.shape()[0] } else { 1 };
        if [mean.len(), std.len()] != [channels; 2] || !std.iter().all(|s| *s > 0.0) {
            let why = format!("means {mean:?} and deviations {std:?} do not normalise its channels");
            return Err(Error::Data { spec: self.name, why });
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
        &self.inputs[0].shape
    }

    /// Numbers in one image.
    pub fn input_len(&self) -> usize {
        self.inputs[0].len()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The labels.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// The pixels, one image after the other, if they are in memory.
    pub fn images(&self) -> Option<&[u8]> {
        match &self.images {
            Images::Held(images) => Some(images),
            Images::Files(_) => None,
        }
    }

    /// The first `n` samples.
    #[must_use]
    pub fn take(&self, n: usize) -> Self {
        let n = n.min(self.len());
        let images = match &self.images {
            Images::Held(images) => Images::Held(images[..n * self.input_len()].to_vec()),
            Images::Files(files) => Images::Files(files.pick(0..n)),
        };
        self.with(images, self.labels[..n].to_vec())
    }

    /// Chosen samples, in the order given.
    ///
    /// # Panics
    /// If there is no such sample.
    #[must_use]
    pub fn pick(&self, samples: &[u32]) -> Self {
        let (pixels, chosen) = (self.input_len(), samples.iter().map(|&s| s as usize));
        let images = match &self.images {
            Images::Held(images) => {
                Images::Held(chosen.clone().flat_map(|s| &images[s * pixels..][..pixels]).copied().collect())
            }
            Images::Files(files) => Images::Files(files.pick(chosen.clone())),
        };
        self.with(images, chosen.map(|s| self.labels[s]).collect())
    }

    fn with(&self, images: Images, labels: Vec<u16>) -> Self {
        Self::of(self.shape(), self.classes, images, labels, self.values.clone())
    }

    /// Writes chosen images, as networks see them, and their labels.
    ///
    /// # Errors
    /// If a file cannot be read or decoded.
    pub fn gather(&self, samples: &[u32], out: &mut [f32], labels: &mut [f32]) -> Result<()> {
        for ((&s, out), label) in samples.iter().zip(out.chunks_exact_mut(self.input_len())).zip(labels) {
            self.see(s as usize, out)?;
            *label = f32::from(self.labels[s as usize]);
        }
        Ok(())
    }

    /// Writes chosen images, each augmented, and their labels. Of images in files a part of random place, size and aspect
    /// is seen, mirrored or not, whatever the augmentation.
    ///
    /// Sample `s` has the stream `augment/{epoch}/{s}` of the seed: what becomes of it depends neither on the other
    /// samples nor on their order.
    ///
    /// # Errors
    /// If a file cannot be read or decoded.
    pub fn gather_augmented(
        &self,
        samples: &[u32],
        augment: Augment,
        (seed, epoch): (u64, usize),
        out: &mut [f32],
        labels: &mut [f32],
    ) -> Result<()> {
        let mut image = vec![0.0; self.input_len()];
        for ((&s, out), label) in samples.iter().zip(out.chunks_exact_mut(self.input_len())).zip(labels) {
            let mut stream = Stream::new(seed, &format!("augment/{epoch}/{s}"));
            if let Images::Files(files) = &self.images {
                self.look_up(&files.augmented(s as usize, &mut stream)?, out);
            } else {
                self.see(s as usize, &mut image)?;
                augment.apply(&image, self.shape(), &mut stream, out);
            }
            *label = f32::from(self.labels[s as usize]);
        }
        Ok(())
    }

    fn see(&self, sample: usize, out: &mut [f32]) -> Result<()> {
        match &self.images {
            Images::Held(images) => self.look_up(&images[sample * out.len()..][..out.len()], out),
            Images::Files(files) => self.look_up(&files.centre(sample)?, out),
        }
        Ok(())
    }

    /// Writes what a network sees of an image's bytes.
    fn look_up(&self, image: &[u8], out: &mut [f32]) {
        let channel = out.len() / self.values.len();
        for ((out, bytes), values) in out.chunks_exact_mut(channel).zip(image.chunks_exact(channel)).zip(&self.values) {
            out.iter_mut().zip(bytes).for_each(|(o, &byte)| *o = values[usize::from(byte)]);
        }
    }

    /// Passes only if a network has this data set's samples, flattened or not, and its classes.
    pub fn check_fits(&self, network: &Network) -> Result<()> {
        let shape = network.input == self.shape() || network.input == [self.input_len()];
        if shape && self.classes == network.classes {
            return Ok(());
        }
        let why = format!(
            "its images have shape {:?} and {} classes, network `{}` takes {:?} and answers {}",
            self.shape(),
            self.classes,
            network.name,
            network.input,
            network.classes
        );
        Err(Error::Data { spec: self.name.clone(), why })
    }
}

impl Samples for Dataset {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn inputs(&self) -> &[Field] {
        &self.inputs
    }

    fn target(&self) -> Option<&Field> {
        Some(&self.target)
    }

    /// Writes a run of images, as networks see them.
    fn fill(&self, _input: usize, samples: Range<usize>, out: &mut [f32]) -> onebasin_nn::Result<()> {
        Ok(samples.zip(out.chunks_exact_mut(self.input_len())).try_for_each(|(s, out)| self.see(s, out))?)
    }

    fn fill_target(&self, samples: Range<usize>, out: &mut [f32]) -> onebasin_nn::Result<()> {
        out.iter_mut().zip(&self.labels[samples]).for_each(|(out, label)| *out = f32::from(*label));
        Ok(())
    }
}
