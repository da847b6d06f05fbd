//! Ctrl-C stops long work at a safe point; a second one stops at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Set by the first signal: the program's observer passes it on.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Watches for signals. SIGXFSZ is caught so that a file size limit is an error of the write, not a death.
pub fn install() -> Result<()> {
    let mut asking = vec![SIGINT, SIGTERM];
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGHUP, SIGXFSZ};

        static LIMIT: AtomicBool = AtomicBool::new(false);
        asking.push(SIGHUP);
        flag::register(SIGXFSZ, &LIMIT).context("cannot watch for signals")?;
    }
    for signal in asking {
        // What is registered first runs first, and finds the flag as the signal before left it.
        flag::register_conditional_shutdown(signal, 128 + signal, &INTERRUPTED)
            .and_then(|_| flag::register(signal, &INTERRUPTED))
            .context("cannot watch for signals")?;
    }
    Ok(())
}

/// Whether the user asked to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
