//! Threads to work on.

use crate::error::{Error, Result};

/// A pool of threads that work can be done on, instead of all of the machine's cores.
///
/// Results do not depend on the number of threads, to the last bit. A program that has a rayon pool of its own can use that
/// instead: work runs on the pool it is called from.
///
/// ```
/// use onebasin::Threads;
/// let pool = Threads::new(2)?;
/// let sum = pool.run(|| (1..=4).sum::<i32>());
/// assert_eq!(sum, 10);
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Debug)]
pub struct Threads(rayon::ThreadPool);

impl Threads {
    /// A pool of this many threads; 0 is one for every core.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub fn new(count: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build();
        pool.map(Self).map_err(|why| Error::Option {
            option: "threads",
            expected: "a number of threads that the system can start",
            found: format!("{count} ({why})"),
        })
    }

    /// Does work on these threads: whatever this library is asked for inside `work`.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.install(work)
    }
}
