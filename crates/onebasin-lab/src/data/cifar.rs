//! CIFAR-10 and CIFAR-100: the files of the binary or of the Python version, in a folder or in their archive.
//!
//! A binary file is a row of records: the label (of CIFAR-100 the coarse one and the fine one), then 32 × 32 pixels of red,
//! of green, of blue. A Python file is a pickle of a dictionary with the labels and an array of one such row of pixels per
//! image. Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".

use std::fs::File;
use std::io::Read;
use std::path::Path;

use md5::Md5;
use sha2::{Digest, Sha256};

use super::imagenet::{MEAN, STD};
use super::pickle::Dictionary;
use super::{Data, Dataset, tarball};
use crate::error::{Error, Result};

const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;

/// One of the two data sets. Networks see both normalised like ImageNet, as in the paper's code.
pub(super) struct CifarKind {
    name: &'static str,
    title: &'static str,
    /// Classes of every label of a binary record; the last one counts.
    classes: &'static [u8],
    /// What the labels are called in Python files.
    key: &'static str,
    versions: [Version; 2],
    /// MD5 of the official archives.
    archives: [&'static str; 2],
}

/// The files of one version, the test set last.
struct Version {
    form: Form,
    /// What its archive unpacks to.
    folder: &'static str,
    files: &'static [Official],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Binary,
    Python,
}

struct Official {
    name: &'static str,
    records: usize,
    /// What torchvision checks them against; of the binary ones nothing is published.
    md5: Option<&'static str>,
}

const fn official(name: &'static str, records: usize, md5: Option<&'static str>) -> Official {
    Official { name, records, md5 }
}

/// Ten classes.
pub(super) const CIFAR10: CifarKind = CifarKind {
    name: "cifar10",
    title: "CIFAR-10",
    classes: &[10],
    key: "labels",
    versions: [
        Version {
            form: Form::Binary,
            folder: "cifar-10-batches-bin",
            files: &[
                official("data_batch_1.bin", 10_000, None),
                official("data_batch_2.bin", 10_000, None),
                official("data_batch_3.bin", 10_000, None),
                official("data_batch_4.bin", 10_000, None),
                official("data_batch_5.bin", 10_000, None),
                official("test_batch.bin", 10_000, None),
            ],
        },
        Version {
            form: Form::Python,
            folder: "cifar-10-batches-py",
            files: &[
                official("data_batch_1", 10_000, Some("c99cafc152244af753f735de768cd75f")),
                official("data_batch_2", 10_000, Some("d4bba439e000b95fd0a9bffe97cbabec")),
                official("data_batch_3", 10_000, Some("54ebc095f3ab1f0389bbae665268c751")),
                official("data_batch_4", 10_000, Some("634d18415352ddfa80567beed471001a")),
                official("data_batch_5", 10_000, Some("482c414d41f54cd18b22e5b47cb7c3cb")),
                official("test_batch", 10_000, Some("40351d587109b95175f43aff81a1287e")),
            ],
        },
    ],
    archives: ["c32a1d4ab5d03f1284b67883e8d87530", "c58f30108f718f92721af3b95e74349a"],
};

/// A hundred classes, of which every five make a coarse one.
pub(super) const CIFAR100: CifarKind = CifarKind {
    name: "cifar100",
    title: "CIFAR-100",
    classes: &[20, 100],
    key: "fine_labels",
    versions: [
        Version {
            form: Form::Binary,
            folder: "cifar-100-binary",
            files: &[official("train.bin", 50_000, None), official("test.bin", 10_000, None)],
        },
        Version {
            form: Form::Python,
            folder: "cifar-100-python",
            files: &[
                official("train", 50_000, Some("16019d7e3df5f24257cddd939b257f8d")),
                official("test", 10_000, Some("f0ef6b0ae62326f3e7ffdfab6717acfc")),
            ],
        },
    ],
    archives: ["03b5dce01913d631647c71ecec9e9cb8", "eb9058c3a382ffc7106e4002c42a8d85"],
};

/// What a file holds.
#[derive(Default)]
struct CifarPart {
    images: Vec<u8>,
    labels: Vec<u16>,
}

/// Opens a folder or an archive.
///
/// # Errors
/// If there is no such file, one is missing, or one is not what it should be.
pub(super) fn open(kind: &CifarKind, path: &Path) -> Result<Data> {
    let (parts, mut notes) = if path.is_file() { from_archive(kind, path)? } else { from_folder(kind, path)? };
    let official = |all: &[Official]| all.iter().map(|file| file.records).sum::<usize>();
    let (test, train) = kind.versions[0].files.split_last().expect("there is a test set");
    let official = [official(train), test.records];
    let split = |parts: Vec<CifarPart>| {
        let mut all = CifarPart::default();
        for part in parts {
            all.images.extend(part.images);
            all.labels.extend(part.labels);
        }
        Dataset::new(&SHAPE, kind.classes().into(), all.images, all.labels)?.normalised(&MEAN, &STD)
    };
    let mut train = parts;
    let test = split(train.split_off(train.len() - 1))?;
    let train = split(train)?;
    if [train.len(), test.len()] != official {
        let [many, few] = official;
        notes.push(format!("{} + {} images, the official {} has {many} + {few}", train.len(), test.len(), kind.title));
    }
    Ok(Data::new(kind.name, train, test, notes))
}

/// The files of the first version that the folder, or a subfolder that an archive unpacks to, has one of.
fn from_folder(kind: &CifarKind, path: &Path) -> Result<(Vec<CifarPart>, Vec<String>)> {
    let places = kind.versions.iter().map(|v| (path.to_owned(), v));
    let places = places.chain(kind.versions.iter().map(|v| (path.join(v.folder), v)));
    let found = places.into_iter().find(|(folder, v)| v.files.iter().any(|f| folder.join(f.name).is_file()));
    let Some((folder, version)) = found else {
        let known = kind.versions.iter().map(|v| format!("`{}`, … as in `{}`", v.files[0].name, v.folder));
        let known = known.collect::<Vec<_>>().join(" or ");
        let why = format!("expected a folder with the files of {} ({known}) or its archive, found neither", kind.title);
        return Err(Error::File { path: path.to_owned(), why });
    };
    let (mut parts, mut all, mut other) = (Vec::new(), Sha256::new(), Vec::new());
    for file in version.files {
        let path = folder.join(file.name);
        let mut read = || -> std::result::Result<CifarPart, String> {
            let source = File::open(&path).map_err(|e| format!("cannot open: {e}"))?;
            let bytes = version.read(kind, file, source)?;
            match file.md5 {
                None => all.update(&bytes),
                Some(known) if hex::encode(Md5::digest(&bytes)) == known => {}
                Some(_) => other.push(file.name),
            }
            version.decode(kind, file, &bytes)
        };
        parts.push(read().map_err(|why| Error::File { path: path.clone(), why })?);
    }
    let mut notes = Vec::new();
    if version.form == Form::Binary {
        let (title, digest) = (kind.title, hex::encode(all.finalize()));
        notes.push(format!("no digests are published of {title}'s binary files; SHA-256 of all in a row: {digest}"));
    }
    if !other.is_empty() {
        notes.push(format!("by their MD5 not the official files of {}: {}", kind.title, other.join(", ")));
    }
    Ok((parts, notes))
}

/// The files of the version that the archive has.
fn from_archive(kind: &CifarKind, path: &Path) -> Result<(Vec<CifarPart>, Vec<String>)> {
    let fail = |why: String| Error::File { path: path.to_owned(), why };
    let mut found = kind.versions.each_ref().map(|v| v.files.iter().map(|_| None).collect::<Vec<Option<CifarPart>>>());
    let digest = tarball::each(path, |name, source| {
        for (version, parts) in kind.versions.iter().zip(&mut found) {
            let Some(("", inside)) = name.split_once(version.folder) else { continue };
            let is = |file: &Official| inside.strip_prefix('/') == Some(file.name);
            let Some(at) = version.files.iter().position(is) else { continue };
            let file = &version.files[at];
            let bytes = version.read(kind, file, &mut *source)?;
            if parts[at].replace(version.decode(kind, file, &bytes)?).is_some() {
                return Err("stands in the archive twice".to_owned());
            }
        }
        Ok(())
    });
    let digest = digest.map_err(fail)?;
    let known = kind.versions.iter().zip(found).find(|(_, parts)| parts.iter().any(Option::is_some));
    let Some((version, parts)) = known else {
        let [a, b] = kind.versions.each_ref().map(|v| v.folder);
        return Err(fail(format!(
            "expected files in `{a}/` or `{b}/`, found none; is it an archive of {}?",
            kind.title
        )));
    };
    let mut whole = Vec::new();
    for (part, file) in parts.into_iter().zip(version.files) {
        whole.push(part.ok_or_else(|| fail(format!("`{}/{}` is missing in the archive", version.folder, file.name)))?);
    }
    let mut notes = Vec::new();
    if !kind.archives.contains(&&*digest) {
        notes.push(format!("not an official archive of {} (MD5 {digest})", kind.title));
    }
    Ok((whole, notes))
}

impl CifarKind {
    fn classes(&self) -> u8 {
        self.classes[self.classes.len() - 1]
    }
}

impl Version {
    /// All bytes of a file, if it is not larger than such a file can be.
    fn read(&self, kind: &CifarKind, file: &Official, source: impl Read) -> std::result::Result<Vec<u8>, String> {
        let most = match self.form {
            Form::Binary => file.records * (kind.classes.len() + PIXELS),
            // Python 3 writes half of all bytes as two, in protocol 2; an image has a name and labels beside its pixels.
            Form::Python => file.records * (2 * PIXELS + 256) + (1 << 20),
        };
        let mut bytes = Vec::new();
        source.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|e| format!("cannot be read: {e}"))?;
        if bytes.len() > most {
            let (records, title) = (file.records, kind.title);
            return Err(format!(
                "expected {records} images at most, found more than {most} bytes; is it a file of {title}?"
            ));
        }
        Ok(bytes)
    }

    fn decode(&self, kind: &CifarKind, file: &Official, bytes: &[u8]) -> std::result::Result<CifarPart, String> {
        match self.form {
            Form::Binary => binary(kind, file, bytes),
            Form::Python => python(kind, file, bytes),
        }
    }
}

fn binary(kind: &CifarKind, file: &Official, bytes: &[u8]) -> std::result::Result<CifarPart, String> {
    let before = kind.classes.len();
    let record = before + PIXELS;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        let (most, found) = (file.records, bytes.len());
        return Err(format!("expected between 1 and {most} records of {record} bytes, found {found} bytes"));
    }
    let mut part = CifarPart { images: Vec::with_capacity(bytes.len()), labels: Vec::new() };
    for (k, record) in bytes.chunks_exact(record).enumerate() {
        let (labels, pixels) = record.split_at(before);
        if let Some((label, classes)) = labels.iter().zip(kind.classes).find(|(label, classes)| label >= classes) {
            return Err(format!("record {k}: the label is {label}, not one of {classes} classes"));
        }
        part.labels.push(labels[before - 1].into());
        part.images.extend_from_slice(pixels);
    }
    Ok(part)
}

fn python(kind: &CifarKind, file: &Official, bytes: &[u8]) -> std::result::Result<CifarPart, String> {
    let dictionary = Dictionary::read(bytes)?;
    let labels = dictionary.numbers(kind.key, kind.classes().into())?;
    let images = dictionary.matrix("data")?;
    let (rows, columns) = (images.rows, images.columns);
    if columns != PIXELS || rows != labels.len() || !(1..=file.records).contains(&rows) {
        let most = file.records;
        return Err(format!(
            "expected 1 to {most} images of {PIXELS} bytes and as many labels, found {rows} of {columns} and {} labels",
            labels.len()
        ));
    }
    Ok(CifarPart { images: images.bytes.into_owned(), labels })
}
