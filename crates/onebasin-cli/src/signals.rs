//! Ctrl-C stops long work at a safe point; a second one stops at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

/// Set by the first signal: the program's observer passes it on.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Watches for signals. SIGXFSZ is caught so that a file size limit is an error of the write, not a death.
pub fn install() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGXFSZ]).context("cannot watch for signals")?;
    std::thread::spawn(move || {
        for signal in signals.forever().filter(|s| *s != SIGXFSZ) {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                signal_hook::low_level::exit(128 + signal);
            }
        }
    });
    Ok(())
}

/// Whether the user asked to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
