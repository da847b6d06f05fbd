//! Zip archives, as far as checkpoints are kept in them: directories of both sizes, entries stored or deflated.
//!
//! The central directory alone says what there is; of a local header only its length is taken, which differs from writer to
//! writer by what pads it. Source: PKWARE's APPNOTE 6.3.10, sections 4.3 to 4.5.

use std::io::Read;

use bytes::Bytes;
use flate2::Crc;
use flate2::read::DeflateDecoder;

/// The first bytes of an archive that is not empty.
pub(crate) const ZIP: &[u8] = b"PK\x03\x04";
/// Bytes of the record at the end, without its comment.
const END: usize = 22;
/// Bytes of a header in the directory, without name, extra fields and comment.
const HEADER: usize = 46;
/// Bytes of a local header, without name and extra fields.
const LOCAL: usize = 30;

/// What an archive holds.
#[derive(Debug)]
pub(crate) struct Archive {
    bytes: Bytes,
    /// In the order of the directory.
    pub(crate) entries: Vec<Entry>,
}

/// A file in an archive.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// As it is written there.
    pub(crate) name: Vec<u8>,
    /// Bytes that it claims to have.
    pub(crate) size: u64,
    packed: u64,
    method: u16,
    encrypted: bool,
    crc: u32,
    local: u64,
}

impl Archive {
    /// Reads the directory, as [`entries`] does.
    ///
    /// # Errors
    /// As [`entries`].
    pub(crate) fn open(bytes: &Bytes) -> Result<Self, String> {
        Ok(Self { bytes: bytes.clone(), entries: entries(bytes)? })
    }

    /// The entry of this name; of several the last, as other readers do.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.name == name)
    }

    /// The bytes of an entry, with their checksum checked: a slice of the file where they are not compressed.
    ///
    /// Memory is asked for as bytes come, and never more than the entry claims.
    ///
    /// # Errors
    /// If the entry lies outside of the file, does not have the bytes that it claims, or is kept in another way.
    pub(crate) fn read(&self, entry: &Entry) -> Result<Bytes, String> {
        let local = usize::try_from(entry.local)
            .ok()
            .filter(|at| self.bytes.get(*at..).is_some_and(|rest| rest.starts_with(ZIP)));
        let local = local.ok_or("its local header is missing")?;
        let length = |at| number::<2>(&self.bytes, local + at).map(|n| n as usize);
        let names = length(26).zip(length(28)).map(|(name, extra)| name + extra);
        let begin = local + LOCAL + names.ok_or("its local header is cut short")?;
        let end = usize::try_from(entry.packed).ok().and_then(|packed| begin.checked_add(packed));
        let packed = end.and_then(|end| (end <= self.bytes.len()).then(|| self.bytes.slice(begin..end)));
        let packed = packed.ok_or("it reaches beyond the end of the file")?;
        let wrong = |found: u64| format!("{} bytes expected, {found} found", entry.size);
        let data = match entry.method {
            _ if entry.encrypted => return Err("it is encrypted".to_owned()),
            0 if entry.size == entry.packed => packed,
            0 => return Err(wrong(entry.packed)),
            8 => {
                let mut data = Vec::new();
                let mut unpacked = DeflateDecoder::new(&packed[..]).take(entry.size.saturating_add(1));
                let found = unpacked.read_to_end(&mut data).map_err(|e| format!("it cannot be inflated: {e}"))? as u64;
                if found > entry.size {
                    return Err(format!("it is larger than its declared uncompressed size of {} bytes", entry.size));
                }
                if found < entry.size {
                    return Err(wrong(found));
                }
                Bytes::from(data)
            }
            other => return Err(format!("it is compressed by method {other}; known: stored, deflated")),
        };
        let mut sum = Crc::new();
        sum.update(&data);
        // torch can be told to compute no sums, and writes 0 then.
        if entry.crc != 0 && sum.sum() != entry.crc {
            return Err("its checksum is wrong; the file is damaged".to_owned());
        }
        Ok(data)
    }
}

/// The directory of an archive.
///
/// Cost: linear in the directory; memory a small multiple of it.
///
/// # Errors
/// Says what is missing or lies outside of the file.
pub(crate) fn entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let window = bytes.len().saturating_sub(END + usize::from(u16::MAX));
    let ends = |at: &usize| {
        let comment = number::<2>(bytes, at + 20).unwrap_or(u64::MAX);
        bytes[*at..].starts_with(b"PK\x05\x06") && comment <= (bytes.len() - at - END) as u64
    };
    let last = bytes.len().checked_sub(END).ok_or("it is cut short")?;
    let end = (window..=last).rev().find(ends).ok_or("its directory is missing; the file is cut short")?;
    let short = || "its end is cut short".to_owned();
    let number2 = |at| number::<2>(bytes, at).ok_or_else(short);
    let number4 = |at| number::<4>(bytes, at).ok_or_else(short);
    let (mut count, mut size, mut start) = (number2(end + 10)?, number4(end + 12)?, number4(end + 16)?);
    let mut directory_end = end as u64;
    if let Some(locator) = end.checked_sub(20).filter(|at| bytes[*at..].starts_with(b"PK\x06\x07")) {
        let at = number::<8>(bytes, locator + 8).and_then(|at| usize::try_from(at).ok());
        let large = at.filter(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(b"PK\x06\x06")));
        let at = large.ok_or("its directory is not where its end says")?;
        let field = |offset| number::<8>(bytes, at + offset).ok_or_else(short);
        (count, size, start) = (field(32)?, field(40)?, field(48)?);
        directory_end = at as u64;
    }
    // Archives may lie behind other bytes, which all offsets leave out.
    let begin = directory_end.checked_sub(size).ok_or("its directory is larger than the file")?;
    let shift = begin.checked_sub(start).ok_or("its directory is not where its end says")?;
    let mut at = usize::try_from(begin).map_err(|e| e.to_string())?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let (entry, next) = Entry::parse(bytes, at, shift)
            .ok_or_else(|| format!("entry {} of {count} of its directory is cut short or no entry", entries.len()))?;
        entries.push(entry);
        at = next;
    }
    Ok(entries)
}

impl Entry {
    /// The entry whose header begins at `at`, and where the next one does.
    fn parse(bytes: &[u8], at: usize, shift: u64) -> Option<(Self, usize)> {
        if !bytes.get(at..at.checked_add(HEADER)?)?.starts_with(b"PK\x01\x02") {
            return None;
        }
        let length = |offset| number::<2>(bytes, at + offset).map(|n| n as usize);
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        let begin = at + HEADER;
        let mut entry = Self {
            name: bytes.get(begin..begin + name)?.to_vec(),
            size: number::<4>(bytes, at + 24)?,
            packed: number::<4>(bytes, at + 20)?,
            method: number::<2>(bytes, at + 10)? as u16,
            encrypted: number::<2>(bytes, at + 8)? & 1 == 1,
            crc: number::<4>(bytes, at + 16)? as u32,
            local: number::<4>(bytes, at + 42)?,
        };
        entry.widen(bytes.get(begin + name..begin + name + extra)?);
        entry.local = entry.local.checked_add(shift)?;
        Some((entry, begin + name + extra + comment))
    }

    /// Takes the numbers that did not fit 32 bits from the extra field that holds them.
    fn widen(&mut self, mut extra: &[u8]) {
        while let (Some(tag), Some(length)) = (number::<2>(extra, 0), number::<2>(extra, 2)) {
            let Some(mut field) = extra.get(4..4 + length as usize) else { return };
            extra = &extra[4 + length as usize..];
            if tag != 1 {
                continue;
            }
            for value in [&mut self.size, &mut self.packed, &mut self.local] {
                if *value == u64::from(u32::MAX)
                    && let Some(wide) = number::<8>(field, 0)
                {
                    *value = wide;
                    field = &field[8..];
                }
            }
        }
    }
}

/// The little-endian number of `N` bytes at `at`.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..N].copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(word))
}
