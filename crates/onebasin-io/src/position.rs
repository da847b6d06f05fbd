//! Reading and writing at a place of a file, so that threads need not share a cursor.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};

/// Fills `to` with what the file holds from `offset` on.
///
/// # Errors
/// [`ErrorKind::UnexpectedEof`] if the file ends before, or what the system says.
pub(crate) fn read_exact_at(file: &File, mut to: &mut [u8], mut offset: u64) -> Result<()> {
    while !to.is_empty() {
        match read_at(file, to, offset) {
            Ok(0) => return Err(Error::new(ErrorKind::UnexpectedEof, "failed to fill whole buffer")),
            Ok(count) => {
                to = &mut to[count..];
                offset += count as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Writes `bytes` into the file from `offset` on.
///
/// # Errors
/// [`ErrorKind::WriteZero`] if the system takes no more, or what it says.
pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> Result<()> {
    while !bytes.is_empty() {
        match write_at(file, bytes, offset) {
            Ok(0) => return Err(Error::new(ErrorKind::WriteZero, "failed to write whole buffer")),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, to: &mut [u8], offset: u64) -> Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, to, offset)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

// Windows moves the cursor too, which nothing here looks at.
#[cfg(windows)]
fn read_at(file: &File, to: &mut [u8], offset: u64) -> Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, to, offset)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_in_any_order() {
        let file = tempfile::tempfile().unwrap();
        write_all_at(&file, b"end", 7).unwrap();
        write_all_at(&file, b"begin", 0).unwrap();
        let mut found = [1; 8];
        read_exact_at(&file, &mut found, 2).unwrap();
        assert_eq!(&found, b"gin\0\0end");
        assert_eq!(read_exact_at(&file, &mut found, 3).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        read_exact_at(&file, &mut [], 100).unwrap();
    }
}
