//! The program `onebasin`: one file per verb.
//!
//! Standard output is data, standard error is talk. Exit codes: 0 done, 1 failed (bad input, interrupted), 2 wrong usage.

#![allow(unreachable_pub, reason = "a program exports nothing")]

mod args;
mod files;
mod hints;
mod signals;
mod talk;
mod verbs;
mod watch;

use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;

fn main() -> ExitCode {
    let mut program = match args::CommandLine::try_parse() {
        Ok(program) => program,
        Err(usage) => return said(&usage),
    };
    if let Some(source) = program.verb.source_mut() {
        source.memory = program.common.memory;
    }
    if let Some(matching) = program.verb.matching_mut() {
        matching.memory = program.common.memory;
    }
    let talk = talk::Talk::new(&program.common);
    let done =
        signals::install().and_then(|()| threads(program.common.threads)).and_then(|()| verbs::run(program.verb, talk));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if talk::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            talk::error(&error);
            if hints::is_usage(&error) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Help, a version, or what is wrong with the command line.
fn said(usage: &clap::Error) -> ExitCode {
    let code = ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
    match usage.print() {
        Err(why) if why.kind() != ErrorKind::BrokenPipe => {
            talk::error(&why.into());
            ExitCode::FAILURE
        }
        Ok(()) | Err(_) => code,
    }
}

/// Starts threads to work on: as many as asked for, by the option or in rayon's own variable.
fn threads(count: Option<usize>) -> anyhow::Result<()> {
    const VARIABLE: &str = "RAYON_NUM_THREADS";
    let named = || std::env::var(VARIABLE).ok().filter(|number| number.parse() != Ok(0));
    let count = match (count, named()) {
        (Some(count), _) => count,
        (None, Some(number)) if number.bytes().all(|b| b.is_ascii_digit()) && !number.is_empty() => {
            match number.parse() {
                Ok(count) if count <= args::MOST_THREADS => count,
                _ => bail!("{VARIABLE} must be a number from 1 to {}, found {number}", args::MOST_THREADS),
            }
        }
        (None, _) => 0,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count);
    pool.build_global().context("cannot start threads to work on; ask for fewer with --threads")
}
