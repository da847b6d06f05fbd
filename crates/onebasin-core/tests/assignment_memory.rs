//! What assignment needs beside the matrix, counted by the allocator.
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]
#![allow(clippy::print_stdout, reason = "the figure is a result")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use onebasin_core::assignment::{Similarity, assign};
use onebasin_core::stream::Stream;

/// The system's allocator, counting what is held and the most that ever was.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(HELD.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_row_takes_at_most_a_kibibyte() {
    let n = 2048;
    let mut stream = Stream::new(0, "matrix");
    let (u, v): (Vec<f64>, Vec<f64>) = (0..n).map(|_| (stream.normal(), stream.normal())).unzip();
    let kinds: [(&str, Vec<f64>); 4] = [
        ("Gaussian", (0..n * n).map(|_| stream.normal()).collect()),
        ("rank 1", (0..n * n).map(|k| u[k / n] * v[k % n]).collect()),
        ("ten values", (0..n * n).map(|_| stream.below(10) as f64).collect()),
        ("half the rows dead", (0..n * n).map(|k| if u[k / n] > 0.0 { 0.0 } else { stream.normal() }).collect()),
    ];
    for (kind, matrix) in kinds {
        let similarity = Similarity::new(n, matrix).unwrap();
        let cold = assign(&similarity, None).unwrap();
        for warm in [None, Some(&cold.duals)] {
            let before = HELD.load(Relaxed);
            MOST.store(before, Relaxed);
            assign(&similarity, warm).unwrap();
            let row = (MOST.load(Relaxed) - before) / n;
            println!("{kind}, {}: {row} bytes a row", if warm.is_some() { "warm" } else { "cold" });
            assert!(row <= 1024, "{kind}: {row} bytes a row");
        }
    }
}
