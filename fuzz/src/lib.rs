//! What the targets share.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use onebasin_core::{Params, Tensor};
use onebasin_io::read;
use tempfile::TempDir;

/// Where this process puts its files.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("there is a folder for temporary files")).path()
}

/// A file of these bytes.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, bytes).expect("there is room for a file");
    path
}

/// Opens a checkpoint of these bytes, and looks at every tensor of it.
pub fn open(name: &str, bytes: &[u8]) {
    if let Ok(found) = read(&file(name, bytes)) {
        look(&found.params);
        found.digest();
    }
}

/// Looks at every tensor.
pub fn look(params: &Params) {
    for (name, tensor) in params.iter() {
        assert_eq!(tensor.read().map(|bytes| bytes.len()), Ok(tensor.byte_len()), "{name}");
        tensor.check_finite(name).ok();
    }
}

/// A network of one hidden layer.
pub fn net() -> Params {
    let shapes: [(&str, &[usize]); 4] =
        [("fc1.weight", &[4, 3]), ("fc1.bias", &[4]), ("fc2.weight", &[2, 4]), ("fc2.bias", &[2])];
    let tensor = |shape: &[usize]| Tensor::from_f32(shape, vec![0.5; shape.iter().product()]).expect("the values fit");
    shapes.map(|(name, shape)| (name.to_owned(), tensor(shape))).into_iter().collect()
}
