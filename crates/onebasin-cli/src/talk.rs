//! Talking to the user: results on standard output, everything else on standard error.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use onebasin::core::escaped;
use serde::Serialize;

use crate::args::CommonArgs;
use crate::hints;

/// How much to say, and in what form.
#[derive(Debug, Clone, Copy)]
pub struct Talk {
    json: bool,
    quiet: bool,
    verbose: bool,
}

impl Talk {
    pub fn new(common: &CommonArgs) -> Self {
        Self { json: common.json, quiet: common.quiet, verbose: common.verbose > 0 }
    }

    /// The result: JSON if asked for, text otherwise.
    pub fn result(self, value: &impl Serialize, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else if !self.quiet {
            out.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                writeln!(out)?;
            }
        }
        Ok(out.flush()?)
    }

    /// A remark, unless quiet.
    pub fn say(self, text: &str) {
        if !self.quiet {
            line(text);
        }
    }

    /// A detail, if asked for.
    pub fn detail(self, text: &str) {
        if self.verbose {
            line(text);
        }
    }

    /// A progress bar on standard error; invisible if quiet or not a terminal.
    pub fn bar(self, len: u64, template: &str) -> ProgressBar {
        let target = if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(len), target);
        let style = ProgressStyle::with_template(template).expect("the template is fixed").progress_chars("━╸ ");
        bar.set_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A bar that cannot be drawn is no reason to stop.
            write!(out, "{:.0}/s", state.per_sec()).ok();
        }));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

fn line(text: &str) {
    // Nothing is left to do if standard error itself is closed.
    writeln!(std::io::stderr().lock(), "{}", shown(text)).ok();
}

/// Says what failed, and why, as far as what was said does not end with it; nothing silences it.
pub fn error(error: &anyhow::Error) {
    let mut said = format!("error: {error}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.ends_with(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    line(&said);
    if let Some(hint) = hints::of(error) {
        line(&format!("hint: {hint}"));
    }
}

/// A text of several lines in which nothing moves the cursor or changes colours, whatever names it holds.
pub fn shown(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

/// Columns of the terminal on standard output; 80 where it is none.
pub fn width() -> usize {
    let columns = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    columns.or_else(|| std::env::var("COLUMNS").ok()?.parse().ok()).unwrap_or(80)
}

/// Whether standard output is a terminal that shows colours.
pub fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Whether the reader of standard output has gone (`onebasin … | head`), which is no failure.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |e: &std::io::Error| e.kind() == std::io::ErrorKind::BrokenPipe;
    error.downcast_ref::<std::io::Error>().is_some_and(closed)
}
