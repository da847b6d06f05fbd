//! The table of barriers.

use onebasin::report::{Report, Split};

use super::splits;

/// One row per curve and split; the columns that fit the width.
pub fn table(report: &Report, width: usize) -> Option<String> {
    type Column = (&'static str, fn(&Split) -> String);
    const COLUMNS: [Column; 6] = [
        ("barrier", |s| format!("{:.4}", s.barrier.mean_ends)),
        ("middle", |s| format!("{:.4}", Split::midpoint(&s.loss))),
        ("mid acc", |s| format!("{:.2} %", 100.0 * Split::midpoint(&s.accuracy))),
        ("loss A", |s| format!("{:.4}", s.loss[0])),
        ("loss B", |s| format!("{:.4}", s.loss[s.loss.len() - 1])),
        ("chord", |s| format!("{:.4}", s.barrier.chord)),
    ];
    const FIRST: usize = 14;
    const EACH: usize = 10;
    let shown = &COLUMNS[..(width.saturating_sub(FIRST) / EACH).clamp(1, COLUMNS.len())];
    let row = |name: &str, split: &str, cells: &mut dyn Iterator<Item = String>| {
        let cells: String = cells.map(|c| format!("{c:>EACH$}")).collect();
        format!("{name:<8} {split:<5}{cells}")
    };
    let mut rows = vec![row("curve", "split", &mut shown.iter().map(|(title, _)| (*title).to_owned()))];
    for curve in &report.curves {
        for (name, split) in splits(curve) {
            rows.push(row(&curve.name, name, &mut shown.iter().map(|(_, cell)| cell(split))));
        }
    }
    Some(rows.join("\n"))
}
