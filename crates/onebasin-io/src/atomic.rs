//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Set by the program's signal handler: every write in progress stops, removes what it began, and returns
/// [`Error::Interrupted`].
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Bytes written between two looks at [`INTERRUPTED`].
const PIECE: usize = 1 << 20;

/// Writes a file through a hidden sibling: `fill` writes, the sibling is flushed to disk and renamed over `path`.
///
/// On any error, and when [`INTERRUPTED`] is set, the sibling is removed and whatever was at `path` stays as it was. A
/// killed process leaves at worst the sibling, never half a file at `path`.
///
/// # Errors
/// A missing folder, a folder in place of the file, a full disk, an interruption, or what `fill` returns.
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    stage(path, fill)?.commit()
}

/// A file that is written beside its place; dropping it removes it.
pub(crate) struct Staged {
    path: PathBuf,
    sibling: tempfile::NamedTempFile,
}

/// The first half of [`write_atomic`]: all that can fail for want of space, or be interrupted.
pub(crate) fn stage(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<Staged> {
    let mut staged = Staged::create(path)?;
    let written = {
        let mut writer = BufWriter::with_capacity(1 << 20, Interruptible(staged.sibling.as_file_mut()));
        fill(&mut writer).and_then(|()| writer.flush())
    };
    written.map_err(|e| staged.error(e))?;
    staged.flush()?;
    Ok(staged)
}

impl Staged {
    /// An empty hidden sibling of `path`.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let folder = folder_of(path);
        if !folder.is_dir() {
            return Err(Error::NoFolder { path: path.to_owned(), folder: folder.to_owned() });
        }
        if path.is_dir() {
            return Err(Error::IsFolder { path: path.to_owned() });
        }
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let sibling = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".tmp")
            .permissions(permissions(path))
            .tempfile_in(folder)
            .map_err(|e| Error::io(path, "create", e))?;
        Ok(Self { path: path.to_owned(), sibling })
    }

    /// Writes at a place of its own, so that threads need not wait for each other.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        use std::os::unix::fs::FileExt;
        for (k, piece) in bytes.chunks(PIECE).enumerate() {
            if interrupted() {
                return Err(Error::Interrupted { path: self.path.clone() });
            }
            let at = offset + (k * PIECE) as u64;
            self.sibling.as_file().write_all_at(piece, at).map_err(|e| self.error(e))?;
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
        if interrupted() {
            return Err(Error::Interrupted { path: self.path.clone() });
        }
        Ok(())
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
        if interrupted() {
            return Error::Interrupted { path: self.path.clone() };
        }
        Error::io(&self.path, "write", e)
    }
}

/// The folder a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// The permissions of the file to be replaced, or those of any new file.
fn permissions(path: &Path) -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).map_or_else(|_| std::fs::Permissions::from_mode(0o666), |m| m.permissions())
}

struct Interruptible<'a>(&'a mut File);

impl Write for Interruptible<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if interrupted() {
            return Err(std::io::Error::other("interrupted"));
        }
        self.0.write(&bytes[..bytes.len().min(PIECE)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
