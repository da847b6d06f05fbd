//! Work on a thread of its own, while the interpreter is free.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use onebasin::{Context, Level, Observer, Progress, Step};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::error::raised;
use crate::samples::Samples;

/// How often Python hears of it, and signals are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Time that work has to end once it was told to; then it is left to end by itself.
const TO_END: Duration = Duration::from_millis(300);
/// Bytes of the stack of work: as much as a program's first thread usually has.
const STACK: usize = 8 << 20;

/// What work says, and whether it is to stop.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    stop: AtomicBool,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    progress: Option<(Step, u64, u64, String)>,
    remarks: Vec<(Level, String)>,
}

impl Watch {
    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a step works with: these samples, and this observer.
    pub(crate) fn context<'a>(&'a self, train: Option<&'a Samples>, test: Option<&'a Samples>) -> Context<'a> {
        let of = |samples: &'a Samples| &*samples.arrays as &dyn onebasin::Samples;
        Context { train: train.map(of), test: test.map(of), observer: self, ..Context::default() }
    }
}

impl Observer for Watch {
    fn progress(&self, at: &Progress<'_>) {
        self.said().progress = Some((at.step, at.done, at.total, at.how.to_owned()));
    }

    fn remark(&self, level: Level, text: &str) {
        self.said().remarks.push((level, text.to_owned()));
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Does work while other threads of Python run. `tell`, where there is one, is called on the calling thread:
/// `tell.progress(step, done, total, how)`, and `tell.remark(level, text)` with `level` one of `detail`, `finding`, `note`.
///
/// # Errors
/// That of the work; what `tell` raised; `KeyboardInterrupt` within half a second of Ctrl-C, whatever the work is at.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    tell: Option<Py<PyAny>>,
    work: impl FnOnce(&Watch) -> onebasin::Result<T> + Send + 'static,
) -> PyResult<T> {
    let watch = Arc::new(Watch::default());
    let (done, wait) = channel();
    let wait = Mutex::new(wait);
    let watched = Arc::clone(&watch);
    let work = move || drop(done.send(work(&watched)));
    let thread = std::thread::Builder::new().name("onebasin".to_owned()).stack_size(STACK).spawn(work)?;
    loop {
        let result = py.detach(|| wait.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(TICK));
        let heard = pass_on(py, tell.as_ref(), &watch).and_then(|()| py.check_signals());
        if let Err(error) = heard {
            watch.stop.store(true, Ordering::Relaxed);
            let began = Instant::now();
            py.detach(|| {
                while began.elapsed() < TO_END && !thread.is_finished() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            return Err(error);
        }
        match result {
            Ok(result) => return result.map_err(|error| raised(&error)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let why = thread.join().err().and_then(|panic| panic.downcast::<String>().ok());
                let why = why.map_or_else(|| "it said nothing".to_owned(), |why| *why);
                return Err(PyRuntimeError::new_err(format!("a fault of onebasin, which should be reported: {why}")));
            }
        }
    }
}

/// Tells Python what was said since it last heard.
fn pass_on(py: Python<'_>, tell: Option<&Py<PyAny>>, watch: &Watch) -> PyResult<()> {
    let said = std::mem::take(&mut *watch.said());
    let Some(tell) = tell else { return Ok(()) };
    for (level, text) in said.remarks {
        let level = match level {
            Level::Detail => "detail",
            Level::Finding => "finding",
            Level::Note => "note",
        };
        tell.call_method1(py, "remark", (level, text))?;
    }
    if let Some((step, done, total, how)) = said.progress {
        tell.call_method1(py, "progress", (format!("{step:?}").to_lowercase(), done, total, how))?;
    }
    Ok(())
}
