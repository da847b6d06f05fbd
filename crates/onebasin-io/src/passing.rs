//! Large files that pass by and should not push everything else out of the page cache.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a checkpoint above which its pages are let go of.
const LARGE: u64 = 4 << 30;
/// Bytes of a file after which the system is told so.
const EVERY: u64 = 32 << 20;

/// How much of a file has passed by.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    large: bool,
    bytes: AtomicU64,
}

impl Passing {
    /// For a file of a checkpoint of `total` bytes.
    pub(crate) fn of(total: u64) -> Self {
        Self { large: total > LARGE, bytes: AtomicU64::new(0) }
    }

    /// Tells the system, now and then, that the pages before `end` are not needed any more: all of them where there is no
    /// end. Pages that are not on disk yet are written first.
    pub(crate) fn passed(&self, file: &File, len: usize, end: Option<u64>) {
        let before = self.bytes.fetch_add(len as u64, Ordering::Relaxed);
        if self.large && before / EVERY != (before + len as u64) / EVERY {
            forget(file, end);
        }
    }
}

#[cfg(target_os = "linux")]
fn forget(file: &File, end: Option<u64>) {
    let end = end.and_then(std::num::NonZeroU64::new);
    // Advice: nothing is lost where the system does not take it.
    rustix::fs::fadvise(file, 0, end, rustix::fs::Advice::DontNeed).ok();
}

#[cfg(not(target_os = "linux"))]
fn forget(_: &File, _: Option<u64>) {}
