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

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let mut program = args::CommandLine::parse();
    if let Some(source) = program.verb.source_mut() {
        source.memory = program.common.memory;
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

fn threads(count: Option<usize>) -> anyhow::Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count.unwrap_or(0));
    Ok(pool.build_global()?)
}
