//! Files as bytes that stay on disk until they are looked at.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;

use crate::error::{Error, Result};

/// Maps a file into memory, read only, and keeps it open.
pub(crate) fn map(path: &Path) -> Result<(Bytes, File)> {
    let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
    let found = file.metadata().map_err(|e| Error::io(path, "open", e))?;
    if found.is_dir() {
        return Err(Error::IsFolder { path: path.to_owned() });
    }
    if found.len() == 0 {
        return Ok((Bytes::new(), file));
    }
    // SAFETY: the map is only read. Another process that truncates the file meanwhile would make reads fault; writers of
    // this crate replace files by renaming and never shorten one in place.
    #[allow(unsafe_code)]
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| Error::io(path, "map", e))?;
    Ok((Bytes::from_owner(map), file))
}
