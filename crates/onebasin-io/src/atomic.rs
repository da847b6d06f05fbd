//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::position::write_all_at;

/// Asked while files are written; when it says no, the write removes what it began and fails with [`Error::Interrupted`].
pub type GoOn<'a> = dyn Fn() -> bool + Sync + 'a;

/// Bytes written between two questions whether to go on.
const PIECE: usize = 1 << 20;

/// Writes a file through a hidden sibling: `fill` writes, the sibling is flushed to disk and renamed over `path`.
///
/// On any error the sibling is removed and whatever was at `path` stays as it was. A killed process leaves at worst the
/// sibling, never half a file at `path`.
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
    stage(path, go_on, fill)?.commit()
}

/// A file that is written beside its place; dropping it removes it.
pub(crate) struct Staged<'g> {
    path: PathBuf,
    sibling: tempfile::NamedTempFile,
    go_on: &'g GoOn<'g>,
}

/// The first half of [`write_atomic`]: all that can fail for want of space, or be interrupted.
pub(crate) fn stage<'g>(
    path: &Path,
    go_on: &'g GoOn<'g>,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<Staged<'g>> {
    let mut staged = Staged::create(path, go_on)?;
    let written = {
        let file = Interruptible { file: staged.sibling.as_file_mut(), go_on };
        let mut writer = BufWriter::with_capacity(PIECE, file);
        fill(&mut writer).and_then(|()| writer.flush())
    };
    written.map_err(|e| staged.error(e))?;
    staged.flush()?;
    Ok(staged)
}

impl<'g> Staged<'g> {
    /// An empty hidden sibling of `path`.
    pub(crate) fn create(path: &Path, go_on: &'g GoOn<'g>) -> Result<Self> {
        let folder = folder_of(path);
        if !folder.is_dir() {
            return Err(Error::NoFolder { path: path.to_owned(), folder: folder.to_owned() });
        }
        if path.is_dir() {
            return Err(Error::IsFolder { path: path.to_owned() });
        }
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let prefix = format!(".{name}.");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        #[cfg(unix)]
        builder.permissions(permissions(path));
        let sibling = builder.tempfile_in(folder).map_err(|e| Error::io(path, "create", e))?;
        Ok(Self { path: path.to_owned(), sibling, go_on })
    }

    /// Writes at a place of its own, so that threads need not wait for each other.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        for (k, piece) in bytes.chunks(PIECE).enumerate() {
            self.check()?;
            let at = offset + (k * PIECE) as u64;
            write_all_at(self.file(), piece, at).map_err(|e| self.error(e))?;
        }
        Ok(())
    }

    /// What was written, to be let go of.
    pub(crate) fn file(&self) -> &File {
        self.sibling.as_file()
    }

    /// Waits until all that was written is on disk.
    pub(crate) fn flush(&self) -> Result<()> {
        self.sibling.as_file().sync_all().map_err(|e| Error::io(&self.path, "flush to disk", e))?;
        self.check()
    }

    /// Fails if the write is to be given up.
    fn check(&self) -> Result<()> {
        if (self.go_on)() { Ok(()) } else { Err(Error::Interrupted { path: self.path.clone() }) }
    }

    /// The second half of [`write_atomic`]: the file takes its place.
    pub(crate) fn commit(self) -> Result<()> {
        let path = &self.path;
        self.sibling.persist(path).map_err(|e| Error::io(path, "rename into place", e.error))?;
        // The rename itself must reach the disk; systems that cannot open a folder do not need it.
        if let Ok(folder) = File::open(folder_of(path)) {
            folder.sync_all().ok();
        }
        Ok(())
    }

    fn error(&self, e: std::io::Error) -> Error {
        if !(self.go_on)() {
            return Error::Interrupted { path: self.path.clone() };
        }
        Error::io(&self.path, "write", e)
    }
}

/// The folder a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The permissions of the file to be replaced, or those of any new file. Elsewhere than on Unix a folder gives them.
#[cfg(unix)]
fn permissions(path: &Path) -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).map_or_else(|_| std::fs::Permissions::from_mode(0o666), |m| m.permissions())
}

struct Interruptible<'a> {
    file: &'a mut File,
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
