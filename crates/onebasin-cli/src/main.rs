//! The program `onebasin`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(onebasin_cli::run(std::env::args_os()))
}
