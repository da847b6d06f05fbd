//! Every number of a figure as one table.

use super::{Figure, Line, Panel, Shape};

/// The columns, in this order; those that the figure has no use for are left out.
const COLUMNS: [&str; 7] = ["panel", "line", "x", "y", "low", "high", "value"];

/// One row a point or value, after a row of names.
pub(super) fn table(figure: &Figure) -> String {
    let fields = figure.panels.iter().filter(|panel| matches!(panel.shape, Shape::Field(_))).count();
    let lines = fields < figure.panels.len() || fields == 0;
    let bands = figure.panels.iter().flat_map(lines_of).any(|line| line.band.is_some());
    let used = [true, lines, true, true, bands, bands, fields > 0];
    let mut csv = String::new();
    let mut row = |cells: [String; 7]| {
        let kept: Vec<String> = cells.into_iter().zip(used).filter(|(_, used)| *used).map(|(cell, _)| cell).collect();
        csv += &(kept.join(",") + "\n");
    };
    row(COLUMNS.map(str::to_owned));
    for (at, panel) in figure.panels.iter().enumerate() {
        let name = quoted(format!("{} {}", at + 1, panel.title).trim_end());
        for line in lines_of(panel) {
            for (i, (x, y)) in line.points.iter().enumerate() {
                let ends = line.band.as_ref().and_then(|band| band.get(i));
                let [low, high] = ends.map_or_else(Default::default, |(low, high)| [low, high].map(f64::to_string));
                row([name.clone(), quoted(&line.label), x.to_string(), y.to_string(), low, high, String::new()]);
            }
        }
        if let Shape::Field(field) = &panel.shape {
            let places = field.y.iter().flat_map(|y| field.x.iter().map(move |x| (x, y)));
            for ((x, y), value) in places.zip(&field.values) {
                let [line, low, high] = <[String; 3]>::default();
                row([name.clone(), line, x.to_string(), y.to_string(), low, high, value.to_string()]);
            }
        }
    }
    csv
}

fn lines_of(panel: &Panel) -> &[Line] {
    match &panel.shape {
        Shape::Lines(lines) => lines,
        Shape::Field(_) => &[],
    }
}

/// A cell of words: in quotes where it has to be, and never a formula to a spreadsheet.
fn quoted(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
