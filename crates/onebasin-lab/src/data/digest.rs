//! What a data set is, in 64 characters.

use sha2::{Digest, Sha256};

use super::{Data, Dataset, Images};

impl Data {
    /// SHA-256 of what both splits hold: shapes, classes, labels, what networks see of every byte, and images; of images in
    /// files, their names and lengths. Name and notes do not count.
    ///
    /// Cost: reads every image once; memory does not grow with the data. Images in files are not opened. One that is not
    /// there counts as such.
    pub fn digest(&self) -> String {
        let mut sha = Sha256::new();
        for (name, split) in [("train", &self.train), ("test", &self.test)] {
            sha.update(format!("{name} {:?} {} classes {} samples\n", split.shape(), split.classes, split.len()));
            split.add_to(&mut sha);
        }
        hex::encode(sha.finalize())
    }
}

impl Dataset {
    fn add_to(&self, sha: &mut Sha256) {
        self.values.iter().flatten().for_each(|value| sha.update(value.to_le_bytes()));
        self.labels.iter().for_each(|label| sha.update(label.to_le_bytes()));
        match &self.images {
            Images::Held(images) => {
                sha.update(b"bytes\n");
                sha.update(images);
            }
            Images::Files(files) => {
                sha.update(b"files\n");
                for (name, path) in files.paths() {
                    let name = name.as_os_str().as_encoded_bytes();
                    let len = std::fs::metadata(path).map_or(u64::MAX, |found| found.len());
                    sha.update((name.len() as u64).to_le_bytes());
                    sha.update(name);
                    sha.update(len.to_le_bytes());
                }
            }
        }
    }
}
