//! Tasks of the project: `cargo xtask test` runs everything that must hold.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the terminal")]

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask test       format, lints, documentation, and every test
       cargo xtask nightly    every experiment of the paper at quick scale, which takes about half an hour; data sets are
                              looked for in $ONEBASIN_TEST_DATA, or ../shared/data";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test(),
        ["nightly"] => nightly(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
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

/// Runs every experiment of the paper at quick scale, and says which could not be run or do not show what they should.
fn nightly() -> Result<()> {
    cargo(&["build", "--release"], &[])?;
    let data = std::env::var("ONEBASIN_TEST_DATA").unwrap_or_else(|_| "../shared/data".to_owned());
    let program = "target/release/onebasin";
    let list = Command::new(program).args(["reproduce", "--list"]).output().context("cannot start the program")?;
    let (mut failed, mut count) = (Vec::new(), 0);
    for name in
        String::from_utf8(list.stdout)?.lines().filter(|l| !l.starts_with(' ')).filter_map(|l| l.split(':').next())
    {
        let mut run = Command::new(program);
        run.args(["reproduce", name, "--data", &data, "--output", "target/nightly"]).stderr(Stdio::inherit());
        let output = run.output().context("cannot start the program")?;
        let text = String::from_utf8(output.stdout)?;
        println!("{text}");
        count += 1;
        if !output.status.success() || text.contains("DOES NOT HOLD") {
            failed.push(name.to_owned());
        }
    }
    if failed.is_empty() {
        println!("all {count} experiments show what they should; pages are in target/nightly");
        return Ok(());
    }
    bail!("{} of {count} experiments could not be run or do not hold: {}", failed.len(), failed.join(", "))
}

/// Runs cargo, passing its output on, and returns the lines by which tests say that they were skipped.
///
/// Without incremental compilation, unless it is asked for: notes for the next time cost more than they save where all is
/// compiled once.
fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Vec<String>> {
    println!("\n$ cargo {}", arguments.join(" "));
    let incremental = std::env::var("CARGO_INCREMENTAL").unwrap_or_else(|_| "0".to_owned());
    let mut child = Command::new(env!("CARGO"))
        .args(arguments)
        .env("CARGO_INCREMENTAL", incremental)
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
