//! The Python package: its extension, its tests, its wheel.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cargo, run};

/// Builds the extension into the package's folder and runs the package's tests; returns what was skipped.
///
/// The interpreter is `$ONEBASIN_PYTHON`, or `python3` if it has NumPy, or that in an environment of its own with NumPy from the
/// package index. Tests of torch, Flax, Matplotlib and mypy run where the interpreter has them.
pub(crate) fn test() -> Result<Vec<String>> {
    let interpreter = match interpreter() {
        Ok(found) => found,
        Err(why) => {
            println!("SKIPPED python: {why:#}");
            return Ok(vec![format!("SKIPPED python: {why:#}")]);
        }
    };
    cargo(&["build", "-p", "onebasin-py"], &[])?;
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let extension = if cfg!(windows) { "_onebasin.pyd" } else { "_onebasin.abi3.so" };
    let made = format!("target/debug/{prefix}_onebasin{suffix}");
    std::fs::copy(&made, Path::new("python/onebasin").join(extension))
        .with_context(|| format!("cannot copy {made}"))?;
    run(Command::new(interpreter).args(["-m", "tests"]).current_dir("python"))
}

/// Builds the wheel into `target/wheels`.
pub(crate) fn wheel() -> Result<()> {
    let mut build = Command::new("maturin");
    build.args(["build", "--release", "--out", "target/wheels"]);
    run(&mut build).context("a wheel is built by maturin: pip install maturin").map(drop)
}

fn interpreter() -> Result<PathBuf> {
    let has_numpy = |python: &Path| {
        let found = Command::new(python).args(["-c", "import numpy"]).output();
        found.is_ok_and(|output| output.status.success())
    };
    if let Some(named) = std::env::var_os("ONEBASIN_PYTHON").map(PathBuf::from) {
        if !has_numpy(&named) {
            bail!("{}, which ONEBASIN_PYTHON names, has no NumPy", named.display());
        }
        return Ok(named);
    }
    let system = PathBuf::from("python3");
    let own = PathBuf::from("target/python").join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if has_numpy(&system) {
        return Ok(system);
    }
    if has_numpy(&own) {
        return Ok(std::path::absolute(own)?);
    }
    let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    if !done(Command::new(&system).args(["-m", "venv", "target/python"])) {
        bail!("there is no python3 with the module venv, nor one with NumPy; name one in ONEBASIN_PYTHON");
    }
    if !done(Command::new(&own).args(["-m", "pip", "install", "numpy"])) {
        bail!("NumPy is not installed and cannot be had; name an interpreter that has it in ONEBASIN_PYTHON");
    }
    Ok(std::path::absolute(own)?)
}
