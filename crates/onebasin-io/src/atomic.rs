//! Files that appear whole or not at all.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::place::{Place, folder_of, pour, spares};
use crate::position::write_all_at;
use crate::scratch::{Scratch, plain, sync};

/// Asked while files are written; when it says no, the write removes what it began and fails with [`Error::Interrupted`].
pub type GoOn<'a> = dyn Fn() -> bool + Sync + 'a;

/// Looks at the whole of what was written, a file or a folder at its temporary place, before it takes its own; an error
/// removes it, and is that of the write ([`Error::Refused`]).
pub type Check<'a> = dyn Fn(&Path) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> + Sync + 'a;

/// Bytes written between two questions whether to go on.
const PIECE: usize = 1 << 20;

/// Writes a file in a hidden folder beside its place: `fill` writes, the file is flushed to disk and renamed to `path`.
///
/// Links are followed: they stay, and what they lead to is replaced. Pipes and devices are written to when all of the file
/// is there, and never replaced.
///
/// On any error nothing is left and whatever was at `path` stays as it was. A killed process leaves at worst the hidden
/// folder (`.onebasin-….tmp`), never half a file at `path`; the next write into the same folder removes it.
///
/// # Errors
/// A missing folder, a folder in place of the file, a full disk, or what `fill` returns.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("note.txt");
/// onebasin_io::write_atomic(&path, |out| out.write_all(b"whole"))?;
/// assert_eq!(std::fs::read(&path)?, b"whole");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    write_atomic_while(path, &|| true, fill)
}

/// The same, given up with [`Error::Interrupted`] as soon as `go_on` says no, which is asked once for every mebibyte.
///
/// # Errors
/// As [`write_atomic`], and the interruption.
pub fn write_atomic_while(
    path: &Path,
    go_on: &GoOn<'_>,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let staged = Staged::create(path, go_on)?;
    staged.draft.fill(fill)?;
    staged.commit()
}

/// Passes only if a file can be written at `path`, which is left as it is: before hours of work for it.
///
/// # Errors
/// As [`write_atomic`].
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// onebasin_io::probe(&folder.path().join("result.json"))?;
/// assert!(onebasin_io::probe(&folder.path().join("nowhere/result.json")).is_err());
/// assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn probe(path: &Path) -> Result<()> {
    try_in(&Place::of(path)?.workplace()).map_err(|(action, e)| Error::io(path, action, e))
}

/// Writes a file without a name into `folder`.
pub(crate) fn try_in(folder: &Path) -> std::result::Result<(), (&'static str, std::io::Error)> {
    let mut file = tempfile::tempfile_in(folder).map_err(|e| ("create", plain(&e)))?;
    file.write_all(b"\n").and_then(|()| file.sync_all()).map_err(|e| ("write", e))
}

/// Passes only if no file at `path` is one of `inputs`, by whatever links or names.
///
/// # Errors
/// [`Error::IsInput`] names both.
pub fn spare(path: &Path, inputs: &[PathBuf]) -> Result<()> {
    spares(std::iter::once(path.to_owned()), inputs)
}

/// A file that grows in a scratch folder.
pub(crate) struct Draft<'g> {
    /// What errors name.
    path: PathBuf,
    file: File,
    go_on: &'g GoOn<'g>,
}

impl<'g> Draft<'g> {
    /// An empty file at `at`, with the permissions of the one it will replace.
    pub(crate) fn create(path: &Path, at: &Path, go_on: &'g GoOn<'g>) -> Result<Self> {
        let fail = |e| Error::io(path, "create", e);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(at).map_err(fail)?;
        if let Some(found) = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file) {
            file.set_permissions(found.permissions()).map_err(fail)?;
        }
        Ok(Self { path: path.to_owned(), file, go_on })
    }

    /// Writes all of it, in order, and flushes it.
    pub(crate) fn fill(&self, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
        let mut writer = BufWriter::with_capacity(PIECE, Interruptible { file: &self.file, go_on: self.go_on });
        fill(&mut writer).and_then(|()| writer.flush()).map_err(|e| self.error(e))?;
        self.flush()
    }

    /// Writes at a place of its own, so that threads need not wait for each other.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        for (k, piece) in bytes.chunks(PIECE).enumerate() {
            self.check()?;
            let at = offset + (k * PIECE) as u64;
            write_all_at(&self.file, piece, at).map_err(|e| self.error(e))?;
        }
        Ok(())
    }

    /// What was written, to be let go of.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Waits until all that was written is on disk.
    pub(crate) fn flush(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::io(&self.path, "flush to disk", e))?;
        self.check()
    }

    /// Fails if the write is to be given up.
    fn check(&self) -> Result<()> {
        if (self.go_on)() { Ok(()) } else { Err(Error::Interrupted { path: self.path.clone() }) }
    }

    fn error(&self, e: std::io::Error) -> Error {
        if !(self.go_on)() {
            return Error::Interrupted { path: self.path.clone() };
        }
        Error::io(&self.path, "write", e)
    }
}

/// A file that is written beside its place; dropping it removes it.
pub(crate) struct Staged<'g> {
    pub(crate) draft: Draft<'g>,
    pub(crate) landing: Landing,
}

/// The way of one file, or of several in one folder, to their places.
pub(crate) struct Landing {
    /// What errors name.
    path: PathBuf,
    pub(crate) place: Place,
    scratch: Scratch,
}

impl Landing {
    pub(crate) fn at(path: &Path) -> Result<Self> {
        let place = Place::of(path)?;
        let scratch = Scratch::within(&place.workplace()).map_err(|e| Error::io(path, "create", e))?;
        Ok(Self { path: path.to_owned(), place, scratch })
    }

    /// Where the file of this name is made.
    pub(crate) fn draft(&self, name: &OsString) -> PathBuf {
        self.scratch.new_folder().join(name)
    }

    /// Asks whether what was made may take its place.
    pub(crate) fn check(&self, check: &Check<'_>) -> Result<()> {
        let refused = |source| Error::Refused { path: self.path.clone(), source };
        check(&self.draft(&self.place.name())).map_err(refused)
    }

    /// Puts files that are made and on disk in their places. A stream takes the only one.
    pub(crate) fn land(self, names: &[OsString], go_on: &GoOn<'_>) -> Result<()> {
        let fail = |action| move |e| (action, e);
        let landed = match (&self.place, names) {
            (Place::File(path), [name]) => std::fs::rename(self.draft(name), path).map_err(fail("rename into place")),
            (Place::File(_), names) => self.scratch.place(names, &|_| false).map_err(fail("rename into place")),
            (Place::Stream(path), _) => {
                let made = File::open(self.draft(&self.place.name()));
                made.and_then(|made| pour(made, path, go_on)).map_err(fail("write"))
            }
        };
        landed.map_err(|(action, e)| {
            if go_on() { Error::io(&self.path, action, e) } else { Error::Interrupted { path: self.path.clone() } }
        })?;
        if let Place::File(path) = &self.place {
            // The rename itself must reach the disk.
            sync(folder_of(path));
        }
        Ok(())
    }
}

impl<'g> Staged<'g> {
    /// An empty file beside `path`.
    pub(crate) fn create(path: &Path, go_on: &'g GoOn<'g>) -> Result<Self> {
        let landing = Landing::at(path)?;
        let draft = Draft::create(path, &landing.draft(&landing.place.name()), go_on)?;
        Ok(Self { draft, landing })
    }

    /// The file takes its place.
    pub(crate) fn commit(self) -> Result<()> {
        let name = self.landing.place.name();
        self.landing.land(&[name], self.draft.go_on)
    }
}

struct Interruptible<'a> {
    file: &'a File,
    go_on: &'a GoOn<'a>,
}

impl Write for Interruptible<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !(self.go_on)() {
            return Err(std::io::Error::other("interrupted"));
        }
        self.file.write(&bytes[..bytes.len().min(PIECE)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
