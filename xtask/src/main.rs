//! Tasks of the project: `cargo xtask test` runs everything that must hold.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the terminal")]

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask test    format, lints, documentation, and every test";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = if let ["test"] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        test()
    } else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every check; the first that fails ends it. Skipped tests are listed at the end.
fn test() -> Result<()> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    let skipped = cargo(&["test", "--workspace", "--", "--nocapture"], &[])?;
    println!("\nall checks passed; {} tests skipped", skipped.len());
    for line in skipped {
        println!("  {line}");
    }
    Ok(())
}

/// Runs cargo, passing its output on, and returns the lines by which tests say that they were skipped.
fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Vec<String>> {
    println!("\n$ cargo {}", arguments.join(" "));
    let mut child = Command::new(env!("CARGO"))
        .args(arguments)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut skipped = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        skipped.extend(line.find("SKIPPED ").map(|at| line[at..].to_owned()));
    }
    if !child.wait()?.success() {
        bail!("`cargo {}` failed", arguments.join(" "));
    }
    Ok(skipped)
}
