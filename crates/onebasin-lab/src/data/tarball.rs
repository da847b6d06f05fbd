//! Files in a gzipped tar archive, read where they lie: nothing is unpacked, and names are only compared.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use md5::{Digest, Md5};

/// Bytes that archives of data sets may have, packed and unpacked.
const MAX: u64 = 1 << 30;

/// Everything that is read through it goes into a digest.
struct Digested<R> {
    source: R,
    digest: Md5,
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(out)?;
        self.digest.update(&out[..len]);
        Ok(len)
    }
}

/// Shows every plain file of an archive by its whole name, and gives the archive's MD5.
///
/// Headers that give the next file another name or shape (those of PAX and GNU) are passed over like files of other kinds.
///
/// # Errors
/// If the archive cannot be read, is larger than 1 GiB packed or unpacked, or what looks at a file fails.
pub(super) fn each(
    path: &Path,
    mut look: impl FnMut(&str, &mut dyn Read) -> Result<(), String>,
) -> Result<String, String> {
    let broken = |e: io::Error| format!("cannot be read as a gzipped tar archive: {e}");
    let file = File::open(path).map_err(|e| format!("cannot open: {e}"))?;
    let len = file.metadata().map_err(broken)?.len();
    if len > MAX {
        return Err(format!("expected an archive of at most {MAX} bytes, found {len}"));
    }
    let source = Digested { source: file.take(MAX), digest: Md5::new() };
    let mut archive = tar::Archive::new(GzDecoder::new(source).take(MAX));
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.header().entry_type().is_file() {
            look(&name, &mut entry).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(broken)?;
    if rest.limit() == 0 {
        return Err(format!("unpacks to {MAX} bytes or more, no archive of this data set does"));
    }
    let mut source = rest.into_inner().into_inner();
    io::copy(&mut source, &mut io::sink()).map_err(broken)?;
    Ok(hex::encode(source.digest.finalize()))
}
