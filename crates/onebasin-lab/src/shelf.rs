//! Data sets by name: where they lie, what is known of them before they are opened, and parts of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::data::Data;
use crate::error::Result;

/// A data set, or a part of one, as an experiment names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataPart {
    /// `digits`, `mnist`, `cifar10`, `cifar100` or `imagenet`; all but the last also as `mnist@32`, resized.
    pub set: String,
    /// SHA-256 of the whole set, if it was opened.
    pub digest: Option<String>,
    /// One of the two parts of the paper's split data sets, 1 or 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<usize>,
    /// A random share of the training samples, drawn by this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<(f64, u64)>,
    /// The first training samples only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// The first test samples only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
}

/// What is known of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Shape of an image.
    pub shape: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
    /// Training samples.
    pub train: usize,
    /// Test samples.
    pub test: usize,
    /// SHA-256 of everything, if it was opened.
    pub digest: Option<String>,
}

/// Seed of the split data sets and of nothing else.
const SPLIT: u64 = 123;

/// Where data sets lie. What was opened stays open.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    open: Mutex<BTreeMap<String, Arc<Data>>>,
}

impl Shelf {
    /// Data sets are folders of this one, named like the sets: `FOLDER/mnist`, `FOLDER/cifar10`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), open: Mutex::default() }
    }

    /// Opens a whole data set.
    ///
    /// # Errors
    /// If it is not there, or not what it should be.
    pub fn whole(&self, set: &str) -> Result<Arc<Data>> {
        let mut open = self.open.lock().expect("nothing panics while it is held");
        if let Some(data) = open.get(set) {
            return Ok(data.clone());
        }
        let (name, _) = set.split_once('@').unwrap_or((set, ""));
        let spec = if name == "digits" {
            set.to_owned()
        } else {
            let size = &set[name.len()..];
            format!("{name}:{}{size}", self.folder.join(name).display())
        };
        let data = Arc::new(Data::open(&spec)?);
        open.insert(set.to_owned(), data.clone());
        Ok(data)
    }

    /// What is known of a data set, by opening it.
    ///
    /// # Errors
    /// As [`Self::whole`].
    pub fn facts(&self, set: &str) -> Result<Facts> {
        let data = self.whole(set)?;
        Ok(Facts {
            shape: data.train.shape().to_vec(),
            classes: data.train.classes(),
            train: data.train.len(),
            test: data.test.len(),
            digest: Some(data.digest()),
        })
    }

    /// Opens a part of a data set.
    ///
    /// # Errors
    /// As [`Self::whole`], and if there is no such part.
    pub fn open(&self, part: &DataPart) -> Result<Data> {
        let mut data = Data::clone(&*self.whole(&part.set)?);
        if let Some(which) = part.split {
            data = data.split_by_class(which, SPLIT)?;
        }
        if let Some((share, seed)) = part.share {
            data = data.with_share(share, seed)?;
        }
        if let Some(n) = part.train {
            data.train = data.train.take(n);
        }
        if let Some(n) = part.test {
            data.test = data.test.take(n);
        }
        Ok(data)
    }
}

impl Facts {
    /// What a data set is said to be, without opening it.
    pub fn published(set: &str) -> Option<Self> {
        let (name, side) = match set.split_once('@') {
            Some((name, side)) if name != "imagenet" => (name, Some(side.parse().ok()?)),
            _ => (set, None),
        };
        let (shape, classes, train, test): (&[usize], _, _, _) = match name {
            "digits" => (&[28, 28], 10, 10_000, 2_000),
            "mnist" => (&[28, 28], 10, 60_000, 10_000),
            "cifar10" => (&[3, 32, 32], 10, 50_000, 10_000),
            "cifar100" => (&[3, 32, 32], 100, 50_000, 10_000),
            "imagenet" => (&[3, 224, 224], 1000, 1_281_167, 50_000),
            _ => return None,
        };
        let mut shape = shape.to_vec();
        if let Some(side) = side {
            let axes = shape.len();
            shape[axes - 2..].fill(side);
        }
        Some(Self { shape, classes, train, test, digest: None })
    }

    /// The same of a part.
    #[must_use]
    pub fn of(mut self, part: &DataPart) -> Self {
        if part.split.is_some() {
            self.train /= 2;
        }
        if let Some((share, _)) = part.share {
            self.train = (share * self.train as f64).round() as usize;
        }
        self.train = part.train.map_or(self.train, |n| n.min(self.train));
        self.test = part.test.map_or(self.test, |n| n.min(self.test));
        self
    }
}
