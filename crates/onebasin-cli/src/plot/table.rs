//! The table of barriers.

use onebasin_core::report::{Report, Split};

use super::splits;

/// One row per curve and split; the columns that fit the width.
pub fn table(report: &Report, width: usize) -> String {
    type Column = (&'static str, fn(&Split) -> String);
    const COLUMNS: [Column; 6] = [
        ("barrier", |s| format!("{:.4}", s.barrier.mean_ends)),
        ("middle", |s| format!("{:.4}", Split::midpoint(&s.loss))),
        ("mid acc", |s| format!("{:.2} %", 100.0 * Split::midpoint(&s.accuracy))),
        ("loss A", |s| format!("{:.4}", s.loss[0])),
        ("loss B", |s| format!("{:.4}", s.loss[s.loss.len() - 1])),
        ("chord", |s| format!("{:.4}", s.barrier.chord)),
    ];
    const EACH: usize = 10;
    let names = report.curves.iter().map(|c| c.name.chars().count()).fold(8, usize::max);
    let shown = &COLUMNS[..(width.saturating_sub(names + 6) / EACH).clamp(1, COLUMNS.len())];
    let row = |name: &str, split: &str, cells: Vec<String>| {
        cells.iter().fold(format!("{name:<names$} {split:<5}"), |row, cell| row + &format!("{cell:>EACH$}"))
    };
    let mut rows = vec![row("curve", "split", shown.iter().map(|(title, _)| (*title).to_owned()).collect())];
    for curve in &report.curves {
        for (name, split) in splits(curve) {
            rows.push(row(&curve.name, name, shown.iter().map(|(_, cell)| cell(split)).collect()));
        }
    }
    rows.join("\n")
}
