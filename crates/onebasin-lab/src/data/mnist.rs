//! MNIST: four IDX files in a folder.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::idx::{self, Idx};
use super::{Data, Dataset};
use crate::error::{Error, Result};

/// The original files (LeCun, Cortes, Burges): name, and SHA-256 of the bytes after the header.
const FILES: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte", "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757"),
    ("train-labels-idx1-ubyte", "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13"),
    ("t10k-images-idx3-ubyte", "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161"),
    ("t10k-labels-idx1-ubyte", "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5"),
];

pub(super) fn open(spec: &str, folder: &Path) -> Result<Data> {
    let mut notes = Vec::new();
    let mut load = |file: usize, axes: usize| -> Result<Idx> {
        let (name, original) = FILES[file];
        let path = find(folder, name)?;
        let array = idx::read(&path, axes)?;
        let digest = hex::encode(Sha256::digest(&array.bytes));
        if digest != original {
            notes.push(format!("{} is not the original MNIST file (SHA-256 of its data {digest})", path.display()));
        }
        Ok(array)
    };
    let mut split = |images: usize, labels: usize| -> Result<Dataset> {
        let (images, labels) = (load(images, 3)?, load(labels, 1)?);
        Dataset::new(&images.shape[1..], 10, images.bytes, labels.bytes.into_iter().map(u16::from).collect())
            .map_err(|e| Error::Data { spec: spec.to_owned(), why: e.to_string() })
    };
    let (train, test) = (split(0, 1)?, split(2, 3)?);
    Ok(Data::new("mnist", train, test, notes))
}

fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let dotted = name.replacen("-idx", ".idx", 1);
    let tried = [name.to_owned(), format!("{name}.gz"), dotted.clone(), format!("{dotted}.gz")];
    let found = tried.iter().map(|n| folder.join(n)).find(|p| p.is_file());
    found.ok_or_else(|| Error::File {
        path: folder.to_owned(),
        why: format!("there is no {} in this folder", tried.join(", nor ")),
    })
}
