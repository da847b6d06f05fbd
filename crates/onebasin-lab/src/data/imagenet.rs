//! ImageNet, or any photographs in folders: `train/CLASS/*.JPEG` and `val/CLASS/*.JPEG`.
//!
//! Source: Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge"; the layout is torchvision's.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onebasin_core::stream::Stream;

use super::views::{Photographs, SHAPE};
use super::{Data, Dataset, Images};
use crate::error::{Error, Result};

/// Mean and standard deviation of red, green and blue.
pub(super) const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
pub(super) const STD: [f64; 3] = [0.229, 0.224, 0.225];
/// Images of the official splits, and classes.
const OFFICIAL: [usize; 3] = [1_281_167, 50_000, 1000];

/// Lists the files, and decodes none. Samples stand in a fixed random order, so that the first ones are of all classes.
///
/// # Errors
/// If a folder cannot be listed, the splits have different classes, or a class has no image.
pub(super) fn open(folder: &Path) -> Result<Data> {
    let splits = ["train", "val"].map(|split| folder.join(split));
    let [train, val] = [classes(&splits[0])?, classes(&splits[1])?];
    if train != val {
        let odd: Vec<String> = train.symmetric_difference(&val).map(|name| name.display().to_string()).collect();
        let (shown, more) = odd.split_at(odd.len().min(5));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        let why = format!(
            "train has {} folders of classes and val {}; expected the same, found only in one of them {}{more}",
            train.len(),
            val.len(),
            shown.join(", ")
        );
        return Err(Error::File { path: folder.to_owned(), why });
    }
    let (train, test) = (split(&splits[0], &train, "train")?, split(&splits[1], &val, "val")?);
    let found = [train.len(), test.len(), train.classes()];
    let mut notes = Vec::new();
    if found != OFFICIAL {
        let [train, val, classes] = found;
        notes.push(format!("{train} + {val} images of {classes} classes, ImageNet has 1281167 + 50000 of 1000"));
    }
    Ok(Data::new("imagenet", train, test, notes))
}

/// The folders of a split.
fn classes(split: &Path) -> Result<BTreeSet<OsString>> {
    let folders = list(split)?.into_iter().filter(|path| path.is_dir());
    let names: BTreeSet<OsString> = folders.filter_map(|path| path.file_name().map(OsString::from)).collect();
    let why = match names.len() {
        0 => "expected one folder of JPEGs per class, found none; sort the images into such folders".to_owned(),
        n if n > 1 << 16 => format!("expected at most 65536 folders of classes, found {n}"),
        _ => return Ok(names),
    };
    Err(Error::File { path: split.to_owned(), why })
}

fn split(folder: &Path, classes: &BTreeSet<OsString>, name: &str) -> Result<Dataset> {
    let mut files: Vec<(Arc<Path>, u16)> = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let inside = list(&folder.join(class))?.into_iter().filter(|path| is_jpeg(path));
        let names: BTreeSet<OsString> = inside.filter_map(|path| path.file_name().map(OsString::from)).collect();
        if names.is_empty() {
            let why = "expected JPEGs (.jpeg or .jpg), found none; add some, or remove the folder from train and val";
            return Err(Error::File { path: folder.join(class), why: why.to_owned() });
        }
        files.extend(names.into_iter().map(|file| (Path::new(class).join(file).into(), label as u16)));
    }
    Stream::new(0, &format!("imagenet/{name}")).shuffle(&mut files);
    let (files, labels) = files.into_iter().unzip();
    let images = Images::Files(Photographs::new(folder, files));
    Dataset::of(&SHAPE, classes.len(), images, labels, Vec::new()).normalised(&MEAN, &STD)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |e: std::io::Error| Error::File { path: folder.to_owned(), why: format!("cannot be listed: {e}") };
    std::fs::read_dir(folder).map_err(fail)?.map(|entry| Ok(entry.map_err(fail)?.path())).collect()
}

fn is_jpeg(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("jpeg") || e.eq_ignore_ascii_case("jpg"))
}
