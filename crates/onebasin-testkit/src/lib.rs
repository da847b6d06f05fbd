//! Slow obvious twins, tolerances, data and stand-ins for tests. Never published; knows none of the other crates.

mod browser;

pub use browser::{Browser, Drawn, Look, browser_or_skip};

/// The best value of an assignment, by trying all of them. Meant for `n ≤ 8`.
pub fn best_assignment_value(n: usize, similarity: &[f64]) -> f64 {
    fn go(row: usize, n: usize, similarity: &[f64], used: &mut Vec<bool>) -> f64 {
        if row == n {
            return 0.0;
        }
        let mut best = f64::NEG_INFINITY;
        for j in 0..n {
            if !used[j] {
                used[j] = true;
                best = best.max(similarity[row * n + j] + go(row + 1, n, similarity, used));
                used[j] = false;
            }
        }
        best
    }
    go(0, n, similarity, &mut vec![false; n])
}

/// Passes only if two numbers agree to `factor · ε · scale`.
///
/// # Panics
/// If they do not.
pub fn assert_close(found: f64, expected: f64, factor: f64, scale: f64) {
    let tolerance = factor * f64::EPSILON * scale.abs().max(f64::MIN_POSITIVE);
    assert!((found - expected).abs() <= tolerance, "found {found}, expected {expected} ± {tolerance}");
}

/// The folder of real data for tests: `$ONEBASIN_TEST_DATA`, or `shared/data` beside the checkout.
///
/// Says by name that `test` is skipped where the folder is missing.
#[allow(clippy::print_stdout, reason = "the test task collects this line")]
pub fn data_or_skip(test: &str) -> Option<std::path::PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let folder = std::env::var_os("ONEBASIN_TEST_DATA").map_or_else(|| beside.into(), std::path::PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED {test}: no data; set ONEBASIN_TEST_DATA to a folder that holds mnist/ and checkpoints/");
    None
}

/// The folder of CIFAR-10's binary batches for tests: `$ONEBASIN_CIFAR10`.
///
/// Says by name that `test` is skipped where there is none.
#[allow(clippy::print_stdout, reason = "the test task collects this line")]
pub fn cifar10_or_skip(test: &str) -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("ONEBASIN_CIFAR10").map(std::path::PathBuf::from).filter(|f| f.is_dir());
    if folder.is_none() {
        println!("SKIPPED {test}: no data; set ONEBASIN_CIFAR10 to the folder of data_batch_1.bin and its like");
    }
    folder
}

/// Builds what stands in for CUDA's driver, compiler and cuBLAS on machines without a GPU into `folder`, which then belongs
/// into `LD_LIBRARY_PATH`; whether it could.
///
/// Says by name that `test` is skipped where there is no C++ compiler.
///
/// # Panics
/// If its source does not compile.
#[cfg(target_os = "linux")]
#[allow(clippy::print_stdout, reason = "the test task collects this line")]
pub fn cuda_stand_in_or_skip(test: &str, folder: &std::path::Path) -> bool {
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../onebasin-cuda");
    let driver = folder.join("libcuda.so");
    let built = std::process::Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()))
        .args(["-std=c++14", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-ffp-contract=off"])
        .arg(format!("-DHOST=\"{}\"", sources.join("kernels/host.cpp").display()))
        .args([sources.join("tests/fake/cuda.cpp").as_os_str(), "-o".as_ref(), driver.as_os_str()])
        .output();
    let Ok(built) = built else {
        println!("SKIPPED {test}: no C++ compiler; name one in CXX");
        return false;
    };
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    // One file by three names is loaded once.
    for name in ["libnvrtc.so", "libcublas.so"] {
        std::os::unix::fs::symlink(&driver, folder.join(name)).expect("the folder is new");
    }
    true
}
