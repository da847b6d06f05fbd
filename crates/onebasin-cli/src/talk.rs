//! Talking to the user: results on standard output, everything else on standard error.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use onebasin::core::escaped;
use serde::Serialize;

use crate::args::{CommonArgs, STDOUT};
use crate::hints;

/// How much to say, and in what form.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Talk {
    json: bool,
    quiet: bool,
    verbose: bool,
    /// Standard output is taken by something else that is written.
    aside: bool,
    /// When the program began.
    began: Instant,
}

impl Talk {
    pub fn new(common: &CommonArgs) -> Self {
        Self {
            json: common.json,
            quiet: common.quiet,
            verbose: common.verbose > 0,
            aside: false,
            began: Instant::now(),
        }
    }

    /// The same, where one of these is written to standard output: the result then goes to standard error.
    pub fn beside<'a>(self, outputs: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let standard = [STDOUT, "/dev/fd/1", "/proc/self/fd/1"].map(Path::new);
        Self { aside: outputs.into_iter().any(|path| standard.contains(&&**path)), ..self }
    }

    /// Whether details are asked for.
    pub fn is_verbose(self) -> bool {
        self.verbose
    }

    /// The result: JSON if asked for, text otherwise. The JSON is an object that names its schema, `onebasin.check/1`, if it does
    /// not by itself; docs/schemas tells what stands in it.
    pub fn result(self, schema: &str, value: &impl Serialize, text: &str) -> Result<()> {
        let mut said = Vec::new();
        if self.json {
            let mut value = serde_json::to_value(value)?;
            if let Some(fields) = value.as_object_mut() {
                fields.entry(SCHEMA).or_insert_with(|| schema.into());
            }
            said = as_json(&value)?;
        } else if !self.quiet {
            said.extend_from_slice(text.as_bytes());
            if !text.ends_with('\n') {
                said.push(b'\n');
            }
        }
        self.print(&said)
    }

    /// Data, as it is.
    pub fn print(self, bytes: &[u8]) -> Result<()> {
        let mut out: Box<dyn Write> =
            if self.aside { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
        out.write_all(bytes)?;
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
            line(&format!("[{:8.1} s] {text}", self.began.elapsed().as_secs_f64()));
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
        // The tick has a thread of its own, which the system may refuse.
        let spare = || std::thread::Builder::new().spawn(|| ()).is_ok_and(|thread| thread.join().is_ok());
        if !bar.is_hidden() && spare() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        bar
    }
}

fn line(text: &str) {
    // Nothing is left to do if standard error itself is closed.
    writeln!(std::io::stderr().lock(), "{}", shown(text)).ok();
}

/// The field that names the schema of a result.
const SCHEMA: &str = "schema";

fn as_json(value: &serde_json::Value) -> Result<Vec<u8>> {
    let mut said = serde_json::to_vec_pretty(value)?;
    said.push(b'\n');
    Ok(said)
}

/// A failure that the result tells, which was printed already.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Told(pub String);

/// Says what failed, and why, as far as what was said does not end with it; nothing silences it. Where `json` is asked for, standard
/// output tells it too.
pub fn error(error: &anyhow::Error, json: bool) {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.ends_with(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    let hint = hints::of(error);
    line(&format!("error: {said}"));
    if let Some(hint) = &hint {
        line(&format!("hint: {hint}"));
    }
    if json && error.downcast_ref::<Told>().is_none() {
        let kind = error.chain().find_map(|cause| cause.downcast_ref::<onebasin::Error>());
        let kind = kind.map_or_else(|| "Failed".to_owned(), onebasin::Error::kind);
        error_as_json(&kind, &said, hint.as_deref());
    }
}

/// The same of a command line that is not understood.
pub fn error_as_json(kind: &str, said: &str, hint: Option<&str>) {
    let value = serde_json::json!({ SCHEMA: "onebasin.error/1", "kind": kind, "error": said, "hint": hint });
    // Who does not read standard output does not miss it.
    as_json(&value).and_then(|said| Ok(std::io::stdout().write_all(&said)?)).ok();
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
    let written = |e: &onebasin_io::Error| match e {
        onebasin_io::Error::Io { path, source, .. } => path == Path::new(STDOUT) && closed(source),
        _ => false,
    };
    error.downcast_ref::<std::io::Error>().is_some_and(closed)
        || error.downcast_ref::<onebasin_io::Error>().is_some_and(written)
        || error.downcast_ref::<onebasin::Error>().is_some_and(|e| matches!(e, onebasin::Error::File(e) if written(e)))
}
