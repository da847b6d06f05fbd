//! Ctrl-C stops long work at a safe point; a second one stops at once.

use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use onebasin_io::INTERRUPTED;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

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

/// Fails if the user asked to stop.
pub fn check() -> Result<()> {
    if interrupted() {
        bail!("interrupted; nothing was written");
    }
    Ok(())
}
