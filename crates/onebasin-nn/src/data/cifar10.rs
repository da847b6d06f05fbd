//! CIFAR-10: the six files of its binary version in a folder.
//!
//! A file is a row of records of 3073 bytes: the label, then 32 × 32 pixels of red, of green, of blue.
//! Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Data, Dataset};
use crate::error::{Error, Result};

const TRAIN: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST: [&str; 1] = ["test_batch.bin"];
const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;
const CLASSES: usize = 10;
/// Records of an official file.
const RECORDS: usize = 10_000;
/// Mean and standard deviation of red, green and blue: ImageNet's, which the paper's code uses here too.
const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const STD: [f64; 3] = [0.229, 0.224, 0.225];

pub(super) fn open(folder: &Path) -> Result<Data> {
    let mut digests = Vec::new();
    let mut split = |names: &[&str]| {
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        for name in names {
            let digest = read(&folder.join(name), &mut images, &mut labels)?;
            digests.push(format!("{name} {digest}"));
        }
        Dataset::new(&SHAPE, CLASSES, images, labels)?.normalised(&MEAN, &STD)
    };
    let (train, test) = (split(&TRAIN)?, split(&TEST)?);
    let mut notes =
        vec![format!("CIFAR-10's files have no published digests; their SHA-256 are\n  {}", digests.join("\n  "))];
    if [train.len(), test.len()] != [TRAIN.len() * RECORDS, RECORDS] {
        notes.push(format!("{} + {} images, the official CIFAR-10 has 50000 + 10000", train.len(), test.len()));
    }
    Ok(Data { name: "cifar10".to_owned(), train, test, notes })
}

/// Appends a file's images and labels, and gives its SHA-256.
fn read(path: &Path, images: &mut Vec<u8>, labels: &mut Vec<u8>) -> Result<String> {
    const RECORD: usize = 1 + PIXELS;
    const MAX: usize = RECORD * RECORDS;
    let fail = |why: String| Error::File { path: path.to_owned(), why };
    let file = File::open(path).map_err(|e| fail(format!("cannot open: {e}")))?;
    let mut bytes = Vec::new();
    file.take(MAX as u64 + 1).read_to_end(&mut bytes).map_err(|e| fail(format!("cannot be read: {e}")))?;
    if bytes.len() > MAX || bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) {
        let found = if bytes.len() > MAX { format!("more than {MAX}") } else { bytes.len().to_string() };
        let why = format!("expected between 1 and {RECORDS} records of {RECORD} bytes, found {found} bytes");
        return Err(fail(format!("{why}; CIFAR-10's binary version is needed")));
    }
    for (k, record) in bytes.chunks_exact(RECORD).enumerate() {
        if usize::from(record[0]) >= CLASSES {
            return Err(fail(format!("record {k}: the label is {}, not one of {CLASSES} classes", record[0])));
        }
        labels.push(record[0]);
        images.extend_from_slice(&record[1..]);
    }
    Ok(hex::encode(Sha256::digest(&bytes)))
}
