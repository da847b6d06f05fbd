//! Which line is which.

use super::drawing::{Anchor, Drawing, DrawnMark, Hand, Pen, breadth, rectangle, wrap};
use super::palette::Ink;
use super::{Colour, Figure, Line, Shape, Stroke};

/// A line of a legend.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LegendEntry {
    /// The name of a curve.
    pub(crate) label: String,
    stroke: Stroke,
    colour: Colour,
    markers: bool,
    band: bool,
}

/// The legends of a figure.
#[derive(Debug)]
pub(crate) enum Legends {
    /// One for all panels.
    Shared(Vec<LegendEntry>),
    /// One a panel; a field has none.
    Each(Vec<Vec<LegendEntry>>),
}

/// Size of a swatch.
const SWATCH: (f64, f64) = (26.0, 12.0);
const SIZE: f64 = 11.5;
const ROW: f64 = 18.0;

/// The legends of a figure: one, if all panels that have lines have the same.
pub(crate) fn legends(figure: &Figure) -> Legends {
    let entries = |lines: &[Line]| lines.iter().filter(|l| !l.label.is_empty()).map(entry).collect();
    let each: Vec<Vec<LegendEntry>> = figure
        .panels
        .iter()
        .map(|panel| match &panel.shape {
            Shape::Lines(lines) => entries(lines),
            Shape::Field(_) => Vec::new(),
        })
        .collect();
    let mut some = each.iter().filter(|entries| !entries.is_empty());
    match some.next() {
        Some(first) if some.clone().next().is_some() && some.all(|other| other == first) => {
            Legends::Shared(first.clone())
        }
        _ => Legends::Each(each),
    }
}

fn entry(line: &Line) -> LegendEntry {
    LegendEntry {
        label: line.label.clone(),
        stroke: line.style,
        colour: line.colour,
        markers: line.markers,
        band: line.band.is_some(),
    }
}

/// A piece of the line, as it is drawn.
pub(super) fn swatch(entry: &LegendEntry) -> Drawing {
    let (width, height) = SWATCH;
    let mut drawing = Drawing::new(width, height);
    let ink = Ink::Line(entry.colour);
    if entry.band {
        drawing.areas(vec![rectangle(1.0, 1.0, width - 2.0, height - 2.0)], ink, super::plot::BAND);
    }
    let middle = height / 2.0;
    drawing.strokes(vec![vec![(1.0, middle), (width - 1.0, middle)]], Pen::line(entry.colour, entry.stroke));
    if entry.markers {
        drawing.dot((width / 2.0, middle), 2.6, ink, ink);
    }
    drawing
}

/// A whole legend on a sheet, as wide as `width` allows.
pub(super) fn drawn(entries: &[LegendEntry], width: f64) -> Drawing {
    let mut drawing = Drawing::new(width, 0.0);
    let (mut x, mut y) = (0.0, 0.0);
    for entry in entries {
        let label = wrap(&entry.label, SIZE, width - SWATCH.0 - 8.0, 1).concat();
        let wide = SWATCH.0 + 6.0 + breadth(&label, SIZE);
        if x > 0.0 && x + wide > width {
            (x, y) = (0.0, y + ROW);
        }
        drawing.place(swatch(entry), x, y + 3.0);
        drawing.words((x + SWATCH.0 + 6.0, y + 13.0), label, Hand::new(SIZE, Anchor::Start, Ink::Text));
        x += wide + 16.0;
    }
    drawing.height =
        if drawing.marks.iter().any(|mark| matches!(mark, DrawnMark::Words { .. })) { y + ROW } else { 0.0 };
    drawing
}
