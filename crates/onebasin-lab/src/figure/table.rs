//! The table of barriers, and what alignment did in words.

use onebasin_core::report::{Curve, Report, Split};

use super::report::{NAIVE, splits};
use super::words::{cut, wrap};

/// One row per curve and split; the columns that fit the width. Where there are no right answers there is no accuracy.
pub(super) fn table(report: &Report, width: usize) -> String {
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
    const SPLIT: usize = 6;
    let room = width.saturating_sub(SPLIT + EACH).max(8);
    let names = report.curves.iter().map(|c| c.name.chars().count()).fold(8, usize::max).min(room);
    let right = has_accuracy(&report.curves);
    let columns: Vec<Column> = COLUMNS.into_iter().filter(|(title, _)| right || *title != "mid acc").collect();
    let shown = &columns[..(width.saturating_sub(names + SPLIT) / EACH).clamp(1, columns.len())];
    let row = |name: &str, split: &str, cells: Vec<String>| {
        let start = format!("{:<names$} {split:<5}", cut(name, names));
        cut(&cells.iter().fold(start, |row, cell| row + &format!("{cell:>EACH$}")), width)
    };
    let mut rows = vec![row("curve", "split", shown.iter().map(|(title, _)| (*title).to_owned()).collect())];
    for curve in &report.curves {
        for (name, split) in splits(curve) {
            rows.push(row(&curve.name, name, shown.iter().map(|(_, cell)| cell(split)).collect()));
        }
    }
    rows.join("\n")
}

/// What alignment did to the network in the middle, on the test data: one sentence for every aligned curve, of its
/// accuracy, or of its loss where there are no right answers.
pub(super) fn middles(report: &Report, width: usize) -> Vec<String> {
    let Some(naive) = report.curves.iter().find(|c| c.name == NAIVE) else { return Vec::new() };
    let aligned: Vec<&Curve> = report.curves.iter().filter(|c| c.name != NAIVE).collect();
    let accuracy = has_accuracy(&report.curves);
    let (what, of): (_, fn(&Split) -> String) = if accuracy {
        ("accuracy", |s| format!("{:.1} %", 100.0 * Split::midpoint(&s.accuracy)))
    } else {
        ("loss", |s| format!("{:.4}", Split::midpoint(&s.loss)))
    };
    let sentence = |curve: &&Curve| {
        let whose = if aligned.len() > 1 { format!(", {}", curve.name) } else { String::new() };
        let said = format!("{what} in the middle{whose}: {} → {}", of(&naive.test), of(&curve.test));
        wrap(&said, width)
    };
    aligned.iter().flat_map(sentence).collect()
}

/// Whether every split says what is right.
pub(super) fn has_accuracy(curves: &[Curve]) -> bool {
    curves.iter().flat_map(splits).all(|(_, split)| !split.accuracy.is_empty())
}
