//! A folder that is replaced by another one in one step, as far as the file system lets it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::atomic::{Check, try_in};
use crate::error::{Error, Result};
use crate::place::{folder_of, follow};
use crate::scratch::{Scratch, clear_leftovers, sync};

/// The way of a folder of shards to its place.
///
/// It is made beside its place and changes places with what is there, so that a kill leaves one of the two whole. Files of
/// the old folder that are none of the checkpoint's go along. Where a folder cannot be replaced (another file system begins
/// there, or nothing may be made beside it) its files are, one after the other, and put back if one cannot be; a kill
/// meanwhile leaves a folder without its index, which the next write into it mends.
pub(crate) struct FolderLanding {
    /// What errors name.
    path: PathBuf,
    /// The end of its links.
    end: PathBuf,
    scratch: Scratch,
    /// The name of the folder that is made; none where only its files are.
    name: Option<OsString>,
}

impl FolderLanding {
    pub(crate) fn at(path: &Path) -> Result<Self> {
        let fail = |e| Error::io(path, "create", e);
        let (end, beside) = places(path)?;
        if end.is_dir() {
            clear_leftovers(&end);
        }
        let (scratch, name) = match (beside, Scratch::within(folder_of(&end))) {
            (Some(name), Ok(scratch)) => (scratch, Some(name)),
            (_, Err(e)) if !end.is_dir() => return Err(fail(e)),
            _ => (Scratch::within(&end).map_err(fail)?, None),
        };
        if let Some(name) = &name {
            std::fs::create_dir(scratch.new_folder().join(name)).map_err(fail)?;
        }
        Ok(Self { path: path.to_owned(), end, scratch, name })
    }

    /// Passes only if one can be made, of which nothing is left.
    pub(crate) fn probe(path: &Path) -> Result<()> {
        let (end, beside) = places(path)?;
        let tried = beside.map(|_| try_in(folder_of(&end)));
        let tried = match tried {
            Some(Ok(())) => Ok(()),
            Some(Err(e)) if !end.is_dir() => Err(e),
            _ => try_in(&end),
        };
        tried.map_err(|(action, e)| Error::io(path, action, e))
    }

    /// The folder that is made.
    fn made(&self) -> PathBuf {
        self.name.as_ref().map_or_else(|| self.scratch.new_folder(), |name| self.scratch.new_folder().join(name))
    }

    /// Where the file of this name is made.
    pub(crate) fn draft(&self, name: &OsString) -> PathBuf {
        self.made().join(name)
    }

    /// Asks whether what was made may take its place.
    pub(crate) fn check(&self, check: &Check<'_>) -> Result<()> {
        check(&self.made()).map_err(|source| Error::Refused { path: self.path.clone(), source })
    }

    /// Puts the files that are made, and on disk, in their places, the last of `names` last; `owned` knows the names that
    /// are replaced.
    pub(crate) fn land(self, names: &[OsString], owned: &dyn Fn(&str) -> bool) -> Result<()> {
        let fail = |e| Error::io(&self.path, "rename into place", e);
        let made = self.made();
        sync(&made);
        if let Some(name) = &self.name
            && self.scratch.place_folder(name, owned).map_err(fail)?.is_some()
        {
            sync(folder_of(&self.end));
            return Ok(());
        }
        let inside = Scratch::within(&self.end).map_err(fail)?;
        let scratch = if self.name.is_some() {
            for name in names {
                std::fs::rename(made.join(name), inside.new_folder().join(name)).map_err(fail)?;
            }
            &inside
        } else {
            &self.scratch
        };
        scratch.place(names, owned).map_err(fail)?;
        sync(&self.end);
        Ok(())
    }
}

/// The end of a path's links, and the name under which a folder can take its place, if one can.
fn places(path: &Path) -> Result<(PathBuf, Option<OsString>)> {
    let fail = |e| Error::io(path, "create", e);
    let end = if path.exists() { path.canonicalize().map_err(fail)? } else { follow(path)? };
    let parent = folder_of(&end);
    if !parent.is_dir() {
        return Err(Error::NoFolder { path: path.to_owned(), folder: parent.to_owned() });
    }
    if let Err(e) = std::fs::symlink_metadata(&end)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(fail(e));
    }
    let fixed = end.is_dir() && !same_device(&end, parent);
    let name = end.file_name().filter(|_| !fixed).map(ToOwned::to_owned);
    Ok((end, name))
}

#[cfg(unix)]
fn same_device(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).ok();
    device(one) == device(other)
}

#[cfg(not(unix))]
fn same_device(_: &Path, _: &Path) -> bool {
    true
}
