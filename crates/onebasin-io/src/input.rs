//! Files that are read from: opened once, read in place, and looked at again before a result is believed.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use onebasin_core::Storage;

use crate::error::{Error, Result};
use crate::position::read_exact_at;

/// A file that is open for reading. Bytes are copied out of it and never mapped, so one that is cut short meanwhile is an
/// error of the read.
#[derive(Debug)]
pub(crate) struct InputFile {
    path: PathBuf,
    file: File,
    stamp: Stamp,
}

/// What tells a file from another one, and from itself once it was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Option<std::time::SystemTime>,
    identity: Option<(u64, u64)>,
}

impl InputFile {
    /// Opens a file. A pipe is not waited for.
    ///
    /// # Errors
    /// If there is none, or it is no file that can be read in any order.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits() as i32);
        let file = options.open(path).map_err(|e| Error::io(path, "open", e))?;
        let found = file.metadata().map_err(|e| Error::io(path, "open", e))?;
        if found.is_dir() {
            return Err(Error::IsFolder { path: path.to_owned() });
        }
        if !found.is_file() {
            return Err(Error::NoFile { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), file, stamp: Stamp::of(&found) })
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The system's handle.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Its length when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.stamp.len
    }

    /// Fills `to` with what lies from `offset` on.
    pub(crate) fn fill(&self, offset: u64, to: &mut [u8]) -> Result<()> {
        read_exact_at(&self.file, to, offset).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Error::Changed { path: self.path.clone(), how: "is shorter now" },
            _ => Error::io(&self.path, "read", e),
        })
    }

    /// At most `most` bytes of its beginning.
    pub(crate) fn head(&self, most: u64) -> Result<Bytes> {
        let len = self.len().min(most);
        // Asked for first: memory that comes as zeros costs nothing to clear, and cannot be refused.
        let room = usize::try_from(len).ok().and_then(|len| Vec::<u8>::new().try_reserve_exact(len).ok());
        room.ok_or_else(|| Error::io(&self.path, "read", io::ErrorKind::OutOfMemory.into()))?;
        let mut bytes = vec![0; len as usize];
        self.fill(0, &mut bytes)?;
        Ok(bytes.into())
    }

    /// All of it.
    pub(crate) fn all(&self) -> Result<Bytes> {
        self.head(u64::MAX)
    }

    /// Passes only if it is still the file that was opened, and nobody has written to it.
    ///
    /// # Errors
    /// [`Error::Changed`]
    pub(crate) fn unchanged(&self) -> Result<()> {
        let changed = |how| Err(Error::Changed { path: self.path.clone(), how });
        let (was, Ok(now)) = (self.stamp, std::fs::metadata(&self.path).map(|found| Stamp::of(&found))) else {
            return changed("is gone");
        };
        match () {
            () if was == now => Ok(()),
            () if was.identity != now.identity => changed("is another file now"),
            () if was.len > now.len => changed("is shorter now"),
            () if was.len < now.len => changed("is longer now"),
            () => changed("was written to"),
        }
    }
}

impl Storage for InputFile {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> std::result::Result<(), String> {
        self.fill(offset, to).map_err(|e| e.to_string())
    }
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self { len: found.len(), modified: found.modified().ok(), identity: identity(found) }
    }
}

/// Device and inode, where the system has them.
#[cfg_attr(unix, allow(clippy::unnecessary_wraps, reason = "other systems have neither"))]
pub(crate) fn identity(found: &Metadata) -> Option<(u64, u64)> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((found.dev(), found.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = found;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let how = |change: &dyn Fn()| {
            std::fs::write(&path, b"12345678").unwrap();
            let input = InputFile::open(&path).unwrap();
            input.unchanged().unwrap();
            change();
            let cut = input.fill(2, &mut [0; 6]).err().map(|e| e.to_string());
            (input.unchanged().unwrap_err().to_string(), cut)
        };
        let (said, cut) = how(&|| File::options().write(true).open(&path).unwrap().set_len(3).unwrap());
        assert!(said.contains("is shorter now") && cut == Some(said), "{cut:?}");
        assert!(how(&|| std::fs::write(&path, b"123456789").unwrap()).0.contains("is longer now"));
        assert!(how(&|| std::fs::remove_file(&path).unwrap()).0.contains("is gone"));
        let later = || {
            let later = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
            File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        };
        assert!(how(&later).0.contains("was written to"));
        let replaced = || {
            std::fs::write(folder.path().join("other"), b"12345678").unwrap();
            std::fs::rename(folder.path().join("other"), &path).unwrap();
        };
        assert!(how(&replaced).0.contains("is another file now"));
    }
}
