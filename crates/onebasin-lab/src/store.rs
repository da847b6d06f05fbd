//! Where results lie: one folder per stage, named by the hash of everything that decides what comes of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use onebasin_core::Params;
use onebasin_io::{read, write_atomic};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The name of a stage: its kind, and the hash of its options and of the names of the stages it builds on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

/// Counted up when the same stage comes to other results than before; what was kept of earlier ones is then made anew.
const GENERATION: u32 = 1;

/// Marks a stage as done.
const DONE: &str = "done.json";

/// What is left of a stage that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// What was asked for.
    pub stage: serde_json::Value,
    /// SHA-256 of every file.
    pub files: BTreeMap<String, String>,
    /// Seconds of wall time of the run that ended it.
    pub seconds: f64,
}

impl Key {
    /// The name of a stage of this kind with these options.
    pub fn new(kind: &str, options: &serde_json::Value) -> Self {
        let text = format!("{GENERATION} {kind} {options}");
        Self(format!("{kind}-{}", &hex::encode(Sha256::digest(text))[..24]))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A folder of results.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Keeps others from a stage while it is held.
pub struct Lock(#[allow(dead_code, reason = "held until it is dropped")] File);

impl Store {
    /// A store in this folder, which is made if it is missing.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|why| Error::store(&folder, why))?;
        Ok(Self { folder })
    }

    /// The folder of a stage.
    pub fn room(&self, key: &Key) -> PathBuf {
        self.folder.join(key.as_str())
    }

    /// Where a file of a stage lies.
    pub fn path(&self, key: &Key, file: &str) -> PathBuf {
        self.room(key).join(file)
    }

    /// What is left of a stage, if it is done and all of these files are there.
    pub fn done(&self, key: &Key, files: &[String]) -> Option<Done> {
        let done: Done = serde_json::from_slice(&fs::read(self.path(key, DONE)).ok()?).ok()?;
        let there = |file: &String| done.files.contains_key(file) && self.path(key, file).is_file();
        files.iter().all(there).then_some(done)
    }

    /// The first file of a stage that is not what it was when the stage was done, if there is one.
    ///
    /// Cost: one pass over the files.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn changed(&self, key: &Key, done: &Done) -> Result<Option<String>> {
        for (name, was) in &done.files {
            if digest(&self.path(key, name))? != *was {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    /// Takes a stage for this process.
    ///
    /// # Errors
    /// If another process has it, or its folder cannot be made.
    pub fn lock(&self, key: &Key) -> Result<Lock> {
        let (room, path) = (self.room(key), self.path(key, "lock"));
        fs::create_dir_all(&room).map_err(|why| Error::store(&room, why))?;
        let file = File::create(&path).map_err(|why| Error::store(&path, why))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(fs::TryLockError::WouldBlock) => {
                Err(Error::store(room, "another process is at this stage; wait for it, or use another --cache"))
            }
            Err(fs::TryLockError::Error(why)) => Err(Error::store(path, why)),
        }
    }

    /// Marks a stage as done, with the digests of its files.
    ///
    /// # Errors
    /// If a file cannot be read or the mark not written.
    pub fn finish(&self, key: &Key, stage: serde_json::Value, files: &[String], seconds: f64) -> Result<()> {
        let digest = |name: &String| Ok((name.clone(), digest(&self.path(key, name))?));
        let done = Done { stage, files: files.iter().map(digest).collect::<Result<_>>()?, seconds };
        self.write_json(key, DONE, &done)
    }

    /// Reads a value that a stage left.
    ///
    /// # Errors
    /// If the file is not there or holds something else.
    pub fn read_json<T: DeserializeOwned>(&self, key: &Key, file: &str) -> Result<T> {
        let path = self.path(key, file);
        let bytes = fs::read(&path).map_err(|why| Error::store(&path, why))?;
        serde_json::from_slice(&bytes)
            .map_err(|why| Error::store(path, format!("{why}; remove its folder to make it anew")))
    }

    /// Writes a value.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_json(&self, key: &Key, file: &str, value: &impl Serialize) -> Result<()> {
        let path = self.path(key, file);
        let mut json = serde_json::to_vec_pretty(value).map_err(|why| Error::store(&path, why))?;
        json.push(b'\n');
        Ok(write_atomic(&path, |out| out.write_all(&json))?)
    }

    /// Reads the tensors of a file that a stage left.
    ///
    /// # Errors
    /// If it is not there or damaged.
    pub fn read_params(&self, key: &Key, file: &str) -> Result<Params> {
        Ok(read(&self.path(key, file))?.params)
    }
}

fn digest(path: &Path) -> Result<String> {
    let fail = |why| Error::store(path, why);
    let (mut file, mut hash, mut piece) = (File::open(path).map_err(fail)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece).map_err(fail)? {
            0 => return Ok(hex::encode(hash.finalize())),
            n => hash.update(&piece[..n]),
        }
    }
}
