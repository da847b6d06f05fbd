//! Ctrl-C stops work at a safe point, or within a second where there is none; a second one stops at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::talk;

/// Set by the first signal: the program's observer passes it on.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Whether the work has heard of it.
static HEARD: AtomicBool = AtomicBool::new(false);
/// Whether work that has heard of it writes what a later run goes on from.
static KEEPS: AtomicBool = AtomicBool::new(false);

/// Whether work is under way that keeps its state, and asks after every step, however long one takes.
static STEPS: AtomicBool = AtomicBool::new(false);

/// Time that work has to hear of a signal. Nothing is lost with what is cut off then: files appear whole or not at all.
const TO_HEAR: Duration = Duration::from_millis(750);
/// Time that it has to end.
const TO_END: Duration = Duration::from_millis(950);
/// Time that it has to write its state.
const TO_KEEP: Duration = Duration::from_secs(20);

/// Watches for signals. SIGXFSZ is caught so that a file size limit is an error of the write, not a death.
pub fn install() -> Result<()> {
    watch().context("cannot watch for signals")
}

fn watch() -> std::io::Result<()> {
    let mut asking = vec![SIGINT, SIGTERM];
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGHUP, SIGXFSZ};

        static LIMIT: AtomicBool = AtomicBool::new(false);
        asking.push(SIGHUP);
        flag::register(SIGXFSZ, &LIMIT)?;
    }
    for signal in &asking {
        // What is registered first runs first, and finds the flag as the signal before left it.
        flag::register_conditional_shutdown(*signal, 128 + signal, &INTERRUPTED)?;
        flag::register(*signal, &INTERRUPTED)?;
    }
    #[cfg(unix)]
    {
        use std::io::Read;
        use std::os::unix::net::UnixStream;

        let (mut signalled, signal) = UnixStream::pair()?;
        for asked in asking {
            signal_hook::low_level::pipe::register(asked, signal.try_clone()?)?;
        }
        let wait = move || {
            if signalled.read(&mut [0]).is_ok_and(|count| count > 0) {
                end();
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    }
    Ok(())
}

/// Ends the program unless the work does so itself.
fn end() -> ! {
    let began = Instant::now();
    let heard = || HEARD.load(Ordering::Relaxed) || STEPS.load(Ordering::Relaxed);
    let limit = || match (heard(), KEEPS.load(Ordering::Relaxed)) {
        (false, _) => TO_HEAR,
        (true, false) => TO_END,
        (true, true) => TO_KEEP,
    };
    while began.elapsed() < limit() {
        std::thread::sleep(Duration::from_millis(20));
    }
    talk::error(&anyhow::anyhow!("interrupted"), false);
    std::process::exit(1)
}

/// Says that work which hears of a signal writes what a later run goes on from.
pub fn keeps_a_state() {
    KEEPS.store(true, Ordering::Relaxed);
}

/// Says whether work is under way that asks after every step.
pub fn steps(under_way: bool) {
    STEPS.store(under_way, Ordering::Relaxed);
}

/// Whether the user asked to stop.
pub fn interrupted() -> bool {
    let asked = INTERRUPTED.load(Ordering::Relaxed);
    HEARD.fetch_or(asked, Ordering::Relaxed);
    asked
}
