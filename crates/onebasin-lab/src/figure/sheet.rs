//! All panels of a figure on one sheet of paper.

use super::drawing::{Anchor, Drawing, Hand, rectangle, wrap};
use super::legend::{Legends, drawn, legends};
use super::palette::Ink;
use super::panel::draw;
use super::plot::WIDTH;
use super::{Figure, Panel};

const TITLE: f64 = 15.0;
const HEAD: f64 = 13.0;
const MARGIN: f64 = 16.0;
const GAP: f64 = 24.0;
/// Panels side by side, at most.
const COLUMNS: usize = 3;

/// The sheet: the title, panels row by row with their titles and legends, a shared legend at the end.
pub(super) fn sheet(figure: &Figure) -> Drawing {
    let columns = match figure.panels.len() {
        4 => 2,
        n => n.clamp(1, COLUMNS),
    };
    let inner = columns as f64 * (WIDTH + GAP) - GAP;
    let width = inner + 2.0 * MARGIN;
    let mut sheet = Drawing::new(width, 0.0);
    sheet.areas(vec![Vec::new()], Ink::Ground, 1.0);
    let mut y = MARGIN;
    for line in wrap(&figure.title, TITLE, inner, 3).into_iter().filter(|line| !line.is_empty()) {
        y += TITLE;
        sheet.words((MARGIN, y), line, Hand::new(TITLE, Anchor::Start, Ink::Text).bold());
        y += 6.0;
    }
    y += 8.0;
    let (shared, each) = match legends(figure) {
        Legends::Shared(entries) => (entries, Vec::new()),
        Legends::Each(each) => (Vec::new(), each),
    };
    let cells: Vec<Drawing> = figure
        .panels
        .iter()
        .enumerate()
        .map(|(at, panel)| cell(panel, each.get(at).map_or(&[][..], Vec::as_slice)))
        .collect();
    let mut cells = cells.into_iter().peekable();
    while cells.peek().is_some() {
        let row: Vec<Drawing> = cells.by_ref().take(columns).collect();
        let tall = row.iter().map(|cell| cell.height).fold(0.0, f64::max);
        for (column, cell) in row.into_iter().enumerate() {
            sheet.place(cell, MARGIN + column as f64 * (WIDTH + GAP), y);
        }
        y += tall + 10.0;
    }
    let legend = drawn(&shared, inner);
    let tall = legend.height;
    sheet.place(legend, MARGIN, y);
    sheet.height = y + tall + MARGIN - 8.0;
    sheet.marks[0] = super::drawing::DrawnMark::Areas {
        rings: vec![rectangle(0.0, 0.0, sheet.width, sheet.height)],
        ink: Ink::Ground,
        opacity: 1.0,
    };
    sheet
}

/// A panel with its title above and its legend below.
fn cell(panel: &Panel, entries: &[super::LegendEntry]) -> Drawing {
    let mut cell = Drawing::new(WIDTH, 0.0);
    let mut y = 0.0;
    for line in wrap(&panel.title, HEAD, WIDTH, 2).into_iter().filter(|line| !line.is_empty()) {
        y += HEAD + 3.0;
        cell.words((0.0, y), line, Hand::new(HEAD, Anchor::Start, Ink::Text).bold());
    }
    y += 6.0;
    for part in [draw(panel), drawn(entries, WIDTH)] {
        let tall = part.height;
        cell.place(part, 0.0, y);
        y += tall + 4.0;
    }
    cell.height = y;
    cell
}
