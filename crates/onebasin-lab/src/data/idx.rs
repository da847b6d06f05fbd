//! IDX files: a magic number, the length of every axis, then bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};

/// An array of unsigned bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Idx {
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes with `axes` axes, gzipped or not.
pub(super) fn read(path: &Path, axes: usize) -> Result<Idx> {
    let fail = |why: String| Error::File { path: path.to_owned(), why };
    let file = File::open(path).map_err(|e| fail(format!("cannot open: {e}")))?;
    let source: Box<dyn Read> =
        if path.extension().is_some_and(|e| e == "gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    decode(source, axes).map_err(fail)
}

fn decode(mut source: impl Read, axes: usize) -> std::result::Result<Idx, String> {
    /// More bytes than any data set of this format has; a larger claim is refused before memory is asked for.
    const MAX: usize = 1 << 31;
    let mut header = vec![0; 4 * (axes + 1)];
    source.read_exact(&mut header).map_err(|e| format!("the header of {} bytes cannot be read: {e}", header.len()))?;
    let words: Vec<u32> = header.as_chunks::<4>().0.iter().map(|&b| u32::from_be_bytes(b)).collect();
    let magic = 0x0800 + axes as u32;
    if words[0] != magic {
        return Err(format!("expected the magic number {magic:#06x} (bytes in {axes} axes), found {:#06x}", words[0]));
    }
    let shape: Vec<usize> = words[1..].iter().map(|&w| w as usize).collect();
    let len = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MAX);
    let len = len.ok_or_else(|| format!("the header claims shape {shape:?}, more than {MAX} bytes"))?;
    let mut bytes = Vec::new();
    source.take(len as u64 + 1).read_to_end(&mut bytes).map_err(|e| format!("the data cannot be read: {e}"))?;
    if bytes.len() != len {
        let found = if bytes.len() > len { "more".to_owned() } else { bytes.len().to_string() };
        return Err(format!("shape {shape:?} needs {len} bytes, found {found}"));
    }
    Ok(Idx { shape, bytes })
}
