//! Where an output goes: a file, whatever links lead to it, or a stream.

use std::fs::{self, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::atomic::GoOn;
use crate::error::{Error, Result};
use crate::input::identity;

/// Links followed at most, as the system does.
const LINKS: usize = 40;
/// Bytes given to a stream at a time.
const PIECE: usize = 1 << 16;
/// Time between two questions whether a pipe has a reader, or room.
const PAUSE: Duration = Duration::from_millis(5);

/// Where one file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file to be made or replaced: the end of all links.
    File(PathBuf),
    /// A pipe or a device, written to and never replaced.
    Stream(PathBuf),
}

impl Place {
    /// Where `path` leads.
    ///
    /// # Errors
    /// If the folder is missing, or what lies there is a folder, a disk or a socket.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let is_folder = || Error::IsFolder { path: path.to_owned() };
        let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if path.file_name().is_none() || (slash && folder_of(path).is_dir()) {
            return Err(is_folder());
        }
        let end = follow(path)?;
        let folder = folder_of(&end);
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(is_folder()),
            // A file that this process has open, such as its standard output, is written to as it stands.
            Ok(found) if found.is_file() && !holds_descriptors(folder) => Ok(Self::File(end)),
            Ok(found) if found.is_file() || is_stream(found.file_type()) => Ok(Self::Stream(path.to_owned())),
            Ok(_) => {
                let why = "is a disk or a socket, which is never written to; name a file";
                Err(Error::Unwritable { path: path.to_owned(), why })
            }
            Err(_) if !folder.is_dir() => Err(Error::NoFolder { path: path.to_owned(), folder: folder.to_owned() }),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Self::File(end)),
            Err(e) => Err(Error::io(path, "write", e)),
        }
    }

    /// The folder in which it is made.
    pub(crate) fn workplace(&self) -> PathBuf {
        match self {
            Self::File(path) => folder_of(path).to_owned(),
            Self::Stream(_) => std::env::temp_dir(),
        }
    }

    /// The name under which it is made.
    pub(crate) fn name(&self) -> std::ffi::OsString {
        let (Self::File(path) | Self::Stream(path)) = self;
        path.file_name().map_or_else(|| "output".into(), ToOwned::to_owned)
    }
}

/// The folder a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The end of the links that begin at `path`, whether something lies there or not. Links to what a process has open are no
/// names, and end it.
pub(crate) fn follow(path: &Path) -> Result<PathBuf> {
    let mut end = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&end) {
            Ok(_) if holds_descriptors(folder_of(&end)) => return Ok(end),
            Ok(next) => end = folder_of(&end).join(next),
            Err(_) => return Ok(end),
        }
    }
    Err(Error::Unwritable { path: path.to_owned(), why: "leads in a circle of links" })
}

/// Whether what lies in a folder of `/proc` are the files that a process has open, rather than a folder reached through it.
fn holds_descriptors(folder: &Path) -> bool {
    folder.starts_with("/proc") && folder.file_name().is_some_and(|name| name == "fd")
}

#[cfg(unix)]
fn is_stream(kind: FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    kind.is_fifo() || kind.is_char_device()
}

#[cfg(not(unix))]
fn is_stream(_: FileType) -> bool {
    true
}

/// Whether two paths lead to one file or folder.
fn same(one: &Path, other: &Path) -> bool {
    let (Ok(found), Ok(sought)) = (fs::metadata(one), fs::metadata(other)) else { return false };
    match (identity(&found), identity(&sought)) {
        (Some(found), Some(sought)) => found == sought,
        _ => one.canonicalize().ok().is_some_and(|one| other.canonicalize().is_ok_and(|other| one == other)),
    }
}

/// Passes only if none of `outputs` is one of `inputs`, by whatever links or names.
///
/// # Errors
/// [`Error::IsInput`] names both.
pub(crate) fn spares<'a>(outputs: impl Iterator<Item = PathBuf>, inputs: &[impl AsRef<Path> + 'a]) -> Result<()> {
    for output in outputs {
        if let Some(input) = inputs.iter().map(AsRef::as_ref).find(|input| same(&output, input)) {
            return Err(Error::IsInput { path: output.clone(), input: input.to_owned() });
        }
    }
    Ok(())
}

/// Writes all that `from` holds to a stream. A pipe is waited for until somebody reads it.
pub(crate) fn pour(mut from: impl Read, to: &Path, go_on: &GoOn<'_>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits() as i32);
    let patient = |wait: &dyn Fn(&io::Error) -> bool, work: &mut dyn FnMut() -> io::Result<usize>| {
        loop {
            match work() {
                Err(e) if wait(&e) && go_on() => std::thread::sleep(PAUSE),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    };
    let mut stream = None;
    patient(&no_reader, &mut || {
        stream = Some(options.open(to)?);
        Ok(0)
    })?;
    let Some(mut stream) = stream else { return Ok(()) };
    let mut piece = vec![0; PIECE];
    loop {
        let count = patient(&|_| false, &mut || from.read(&mut piece))?;
        if count == 0 {
            return stream.flush();
        }
        let mut rest = &piece[..count];
        while !rest.is_empty() {
            match patient(&|e| e.kind() == ErrorKind::WouldBlock, &mut || stream.write(rest))? {
                0 => return Err(ErrorKind::WriteZero.into()),
                written => rest = &rest[written..],
            }
        }
    }
}

/// Whether a pipe could not be opened since nobody reads it yet.
fn no_reader(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error())
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}
