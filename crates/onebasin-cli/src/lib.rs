//! The program `onebasin`: one file per verb.
//!
//! Standard output is data, standard error is talk. Exit codes: 0 done, 1 failed (bad input, interrupted), 2 wrong usage.

#![allow(unreachable_pub, reason = "a program exports one function")]

mod args;
mod files;
mod hints;
mod signals;
mod talk;
mod verbs;
mod watch;

use std::ffi::OsString;
use std::io::ErrorKind;

use anyhow::{Context, bail};
use clap::Parser;

const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// Runs the program with these arguments, the first of which is its name; its exit code.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.collect();
    let mut program = match args::CommandLine::try_parse_from(&arguments) {
        Ok(program) => program,
        Err(usage) => return said(&usage, arguments.iter().any(|argument| argument == "--json")),
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
        Ok(()) => DONE,
        Err(error) if talk::is_closed_pipe(&error) => DONE,
        Err(error) => {
            talk::error(&error, program.common.json);
            if hints::is_usage(&error) { USAGE } else { FAILED }
        }
    }
}

/// Help, a version, or what is wrong with the command line.
fn said(usage: &clap::Error, json: bool) -> u8 {
    let code = u8::try_from(usage.exit_code()).unwrap_or(USAGE);
    if json && usage.use_stderr() {
        talk::error_as_json("Usage", usage.to_string().trim_end(), None);
    }
    match usage.print() {
        Err(why) if why.kind() != ErrorKind::BrokenPipe => {
            talk::error(&why.into(), false);
            FAILED
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
