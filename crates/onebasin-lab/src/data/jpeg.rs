//! Photographs from JPEG files: red, green and blue, whatever the file holds.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::resample::View;
use crate::error::{Error, Result};

/// Bytes of a file; the largest of ImageNet has a fifth of it.
const MAX_BYTES: u64 = 1 << 26;
/// Pixels of a photograph.
const MAX_PIXELS: usize = 1 << 27;

/// A decoded photograph: height × width pixels of red, green and blue.
#[derive(Debug)]
pub(super) struct Photograph {
    pub height: usize,
    pub width: usize,
    pub pixels: Vec<u8>,
}

impl Photograph {
    /// The part whose upper left pixel is `(top, left)`.
    pub(super) fn part(&self, [top, left]: [usize; 2], [height, width]: [usize; 2]) -> View<'_> {
        let stride = 3 * self.width;
        View { bytes: &self.pixels[top * stride + 3 * left..], stride, channels: 3, height, width }
    }
}

/// Reads a photograph. Grey becomes three equal channels; CMYK is taken to be stored inverted, as Adobe does, and becomes
/// `c k / 255`; a turn that Exif asks for is not made.
///
/// # Errors
/// If the file cannot be read, is too large, is no JPEG, or ends early.
pub(super) fn read(path: &Path) -> Result<Photograph> {
    let fail = |why: String| Error::File { path: path.to_owned(), why };
    let file = File::open(path).map_err(|e| fail(format!("cannot open: {e}")))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| fail(format!("cannot be read: {e}")))?;
    decode(&bytes).map_err(|why| fail(format!("{why}; replace the file or remove it")))
}

fn decode(bytes: &[u8]) -> std::result::Result<Photograph, String> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("expected at most {MAX_BYTES} bytes, found more"));
    }
    if bytes.starts_with(b"\x89PNG") {
        return Err("expected a JPEG, found a PNG under its name".to_owned());
    }
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let broken = |e: zune_jpeg::errors::DecodeErrors| format!("cannot be decoded as JPEG: {e}");
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(broken)?;
    let (width, height) = decoder.dimensions().ok_or("cannot be decoded as JPEG: it says no size")?;
    if width * height > MAX_PIXELS {
        return Err(format!("expected at most {MAX_PIXELS} pixels, found {width} × {height}"));
    }
    if !ends(bytes) {
        return Err("expected a whole JPEG, found one that ends early".to_owned());
    }
    let pixels = decoder.decode().map_err(broken)?;
    if pixels.is_empty() || pixels.len() != 3 * width * height {
        return Err(format!("expected {width} × {height} pixels of three colours, found {} bytes", pixels.len()));
    }
    Ok(Photograph { height, width, pixels })
}

/// Whether there is an end of the image behind the start of its first scan. The decoder would fill what is missing with
/// grey.
fn ends(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END: [u8; 2] = [0xff, 0xd9];
    let mut at = 2;
    while let Some(&[mark, kind, high, low]) = bytes.get(at..at + 4) {
        match kind {
            START_OF_SCAN if mark == 0xff => return bytes[at..].array_windows().any(|&pair: &[u8; 2]| pair == END),
            // Bytes between segments, fill bytes, and markers without a length.
            _ if mark != 0xff => at += 1,
            0x00 | 0x01 | 0xd0..=0xd8 | 0xff => at += 1,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    false
}
