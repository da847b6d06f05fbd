//! Tasks of the project: `cargo xtask test` runs everything that must hold.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the terminal")]

mod python;

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask test       format, lints, documentation, and every test, those of the Python package included
       cargo xtask wheel      the wheel of the Python package, in target/wheels
       cargo xtask nightly    every experiment of the paper at quick scale, which takes about half an hour; data sets are
                              looked for in $ONEBASIN_TEST_DATA, or ../shared/data
       cargo xtask fuzz SECONDS [TARGET]   every target of fuzz/ for so long, or one; what breaks it is left in
                              fuzz/artifacts";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test(),
        ["wheel"] => python::wheel(),
        ["nightly"] => nightly(),
        ["fuzz", seconds] => fuzz(seconds, None),
        ["fuzz", seconds, target] => fuzz(seconds, Some(target)),
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
    let mut skipped = cargo(&["test", "--workspace", "--", "--nocapture"], &[])?;
    skipped.extend(python::test()?);
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

/// Coverage of LLVM, which the fuzzer goes by; what a nightly compiler would add is its search for wrong uses of memory,
/// and of the code here none is unsafe.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
                        -Ccodegen-units=1 --cfg fuzzing";

/// Runs the targets of `fuzz/`, each from its corpus and the golden files of its format.
fn fuzz(seconds: &str, only: Option<&str>) -> Result<()> {
    const GOLDENS: &str = "crates/onebasin-io/tests/goldens";
    const TARGETS: [&str; 10] =
        ["safetensors", "torch", "npz", "flax", "onnx", "index", "pattern", "symmetry", "alignment", "discover"];
    seconds.parse::<u32>().context("SECONDS must be a number")?;
    // A target named on the command line keeps the flags from the build scripts.
    let version = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let version = String::from_utf8(version.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let build = ["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", host];
    cargo(&build, &[("RUSTFLAGS", COVERAGE)])?;
    let mut broken = Vec::new();
    for target in TARGETS.into_iter().filter(|target| only.is_none_or(|only| only == *target)) {
        let (found, artifacts) = (format!("fuzz/target/corpus/{target}"), format!("fuzz/artifacts/{target}/"));
        [&found, &artifacts].into_iter().try_for_each(std::fs::create_dir_all)?;
        let mut run = Command::new(format!("fuzz/target/{host}/release/{target}"));
        run.args([&found, &format!("fuzz/corpus/{target}"), GOLDENS, &format!("{GOLDENS}/graphs")]);
        run.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={artifacts}"));
        run.args(["-timeout=20", "-rss_limit_mb=4096", "-max_len=65536", "-print_final_stats=1", "-verbosity=0"]);
        println!("\n{target}, {seconds} s");
        if !run.status().context("cannot start the fuzzer")?.success() {
            broken.push(target);
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("broken, with what broke it in fuzz/artifacts: {}", broken.join(", "))
}

/// Runs cargo, passing its output on, and returns the lines by which tests say that they were skipped.
///
/// Without incremental compilation, unless it is asked for: notes for the next time cost more than they save where all is
/// compiled once.
fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Vec<String>> {
    let incremental = std::env::var("CARGO_INCREMENTAL").unwrap_or_else(|_| "0".to_owned());
    let mut command = Command::new(env!("CARGO"));
    run(command.args(arguments).env("CARGO_INCREMENTAL", incremental).envs(environment.iter().copied()))
}

/// Runs a command, passing its output on, and returns the lines by which tests say that they were skipped.
fn run(command: &mut Command) -> Result<Vec<String>> {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let shown = words.replacen(env!("CARGO"), "cargo", 1);
    println!("\n$ {shown}");
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {shown}"))?;
    let output = child.stdout.take().context("the command has no output")?;
    let mut skipped = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        skipped.extend(line.find("SKIPPED ").map(|at| line[at..].to_owned()));
    }
    if !child.wait()?.success() {
        bail!("`{shown}` failed");
    }
    Ok(skipped)
}
