//! Data sets: images as bytes, labels as classes.

mod digits;
mod idx;
mod mnist;

use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::network::Network;

/// One split of a data set. Pixels are bytes; networks see them divided by 255.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    shape: Vec<usize>,
    classes: usize,
    images: Vec<u8>,
    labels: Vec<u8>,
}

/// A data set with its training and test splits.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    ///
    /// # Errors
    /// For an unknown name (the known ones are listed), and files that are missing or not what they should be.
    pub fn open(spec: &str) -> Result<Self> {
        const KNOWN: &str = "known: `digits` (built in), `mnist:DIR` (folder of the four IDX files)";
        let fail = |why: &str| Err(Error::Data { spec: spec.to_owned(), why: format!("{why}; {KNOWN}") });
        match spec.split_once(':') {
            None if spec == "digits" => Ok(digits::open()),
            None if spec == "mnist" => fail("the folder is missing"),
            Some(("mnist", "")) => fail("the folder is missing"),
            Some(("mnist", folder)) => mnist::open(spec, Path::new(folder)),
            _ => fail("unknown data set"),
        }
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
        Ok(Self { shape: shape.to_vec(), classes, images, labels })
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
        Self { shape: self.shape.clone(), classes: self.classes, images, labels }
    }

    /// Writes a run of images, divided by 255.
    pub fn fill(&self, samples: Range<usize>, out: &mut [f32]) {
        let pixels = self.input_len();
        scale(&self.images[samples.start * pixels..samples.end * pixels], out);
    }

    /// Writes chosen images, divided by 255, and their labels.
    pub fn gather(&self, samples: &[u32], out: &mut [f32], labels: &mut [u8]) {
        let pixels = self.input_len();
        for ((&s, out), label) in samples.iter().zip(out.chunks_exact_mut(pixels)).zip(labels) {
            scale(&self.images[s as usize * pixels..][..pixels], out);
            *label = self.labels[s as usize];
        }
    }

    /// Passes only if a network has this data set's input and classes.
    pub fn check_fits(&self, network: &Network) -> Result<()> {
        if self.input_len() == network.input && self.classes == network.classes {
            return Ok(());
        }
        let why = format!(
            "its images have {} numbers and {} classes, network `{}` takes {} and answers {}",
            self.input_len(),
            self.classes,
            network.name,
            network.input,
            network.classes
        );
        Err(Error::Data { spec: format!("{:?} images", self.shape), why })
    }
}

fn scale(pixels: &[u8], out: &mut [f32]) {
    out.iter_mut().zip(pixels).for_each(|(o, &p)| *o = f32::from(p) / 255.0);
}
