//! How much memory there is, and what asks for more is told.

use std::sync::OnceLock;

use crate::error::{Error, Result};

/// What is assumed where the system does not say.
const USUAL: u64 = 16 << 30;

/// Bytes of memory that this process may use: what the machine has or, on Linux, what its control groups allow, if that is
/// less. 16 GiB where the system does not say.
///
/// Cost: a few small files of the system are read, once.
///
/// ```
/// assert!(onebasin_nn::machine_memory() > 1 << 20);
/// ```
pub fn machine_memory() -> u64 {
    static FOUND: OnceLock<u64> = OnceLock::new();
    *FOUND.get_or_init(|| [total(), allowed()].into_iter().flatten().min().unwrap_or(USUAL))
}

/// What the machine has, as Linux tells.
fn total() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least that a control group of this process, or one around it, allows.
fn allowed() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut limits = vec!["/sys/fs/cgroup/memory.max".into(), "/sys/fs/cgroup/memory/memory.limit_in_bytes".into()];
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(kinds), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match kinds {
            "" => ("/sys/fs/cgroup", "memory.max"),
            kinds if kinds.split(',').any(|k| k == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        limits.extend(ends.map(|end| format!("{root}{}/{file}", &path[..end])));
    }
    limits.iter().filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok()).min()
}

/// Passes if so many bytes may be taken; `what` takes them.
pub(crate) fn ensure(what: impl FnOnce() -> String, needed: u128, limit: u64) -> Result<()> {
    if needed <= u128::from(limit) {
        return Ok(());
    }
    Err(Error::Memory { what: what(), needed: u64::try_from(needed).unwrap_or(u64::MAX), limit })
}

/// A number of bytes, as people read it.
pub(crate) fn gibibytes(bytes: u64) -> String {
    const GIB: f64 = (1_u64 << 30) as f64;
    match bytes as f64 / GIB {
        few if few < 1.0 => format!("{:.1} MiB", few * 1024.0),
        many => format!("{many:.1} GiB"),
    }
}
