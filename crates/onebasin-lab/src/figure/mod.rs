//! Figures as plain values, and what they can become: SVG, PNG, CSV, the drawings of a page, and text for a terminal.
//!
//! Read in this order: the values here → `numbers` (as they are saved) → `scale` (numbers to positions, ticks) → `palette` (inks, light and dark) →
//! `drawing` (what can be drawn) → `plot` (axes and lines), `field` (maps) → `panel` (either) → `legend` → `sheet` (all panels on one sheet)
//! → `words` → `svg`, `png`, `csv`, `terminal` → `table` (of barriers) → `report` (a report as a figure and as text).
//!
//! A figure draws the same bytes wherever it is drawn. What cannot be placed (NaN, infinities, numbers of 10³⁰⁰ and more,
//! on a logarithmic axis everything that is not positive) leaves a gap; a panel where nothing can be placed says so.

mod csv;
mod drawing;
mod field;
mod legend;
mod numbers;
mod palette;
mod panel;
mod plot;
mod png;
mod report;
mod scale;
mod sheet;
mod svg;
mod table;
mod terminal;
mod words;

use std::cmp::Ordering;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use palette::style;
pub(crate) use report::{NAIVE, along};
pub use report::{check, of_report, of_sites, plot, render, text};
pub(crate) use svg::escape;

/// Panels that belong together, under one title.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What its files are called, without an extension.
    pub name: String,
    /// What is seen, in a sentence.
    pub title: String,
    /// In reading order.
    pub panels: Vec<Panel>,
}

/// One pair of axes and what is drawn in them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// May be empty.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// What is drawn.
    pub shape: Shape,
}

/// One direction of a panel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// What is measured, with its unit.
    pub label: String,
    /// Whether equal distances are equal ratios.
    #[serde(default)]
    pub log: bool,
    /// Where the axis begins; the least value, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// Where the axis ends; the greatest value, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
}

/// What a panel shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Curves over x.
    Lines(Vec<Line>),
    /// A map: values over a plane.
    Field(PlaneValues),
}

/// One curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its name in the legend.
    pub label: String,
    /// `(x, y)`, joined in this order.
    #[serde(with = "numbers::pairs")]
    pub points: Vec<(f64, f64)>,
    /// `(low, high)` at every point, shaded.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "numbers::band")]
    pub band: Option<Vec<(f64, f64)>>,
    /// How it is stroked.
    #[serde(default)]
    pub style: Stroke,
    /// What colour it has.
    pub colour: Colour,
    /// Whether every point is a dot.
    #[serde(default)]
    pub markers: bool,
}

/// How a line is stroked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stroke {
    /// Without gaps.
    #[default]
    Solid,
    /// In dashes.
    Dashed,
    /// In dots.
    Dotted,
}

/// The colour of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// For what others are compared with.
    Grey,
    /// One of six that most colour-blind readers tell apart; the seventh is the first again.
    Hue(usize),
}

/// Values over a plane, on a grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaneValues {
    /// What is measured, with its unit.
    pub label: String,
    /// Where the columns of the grid lie, rising.
    pub x: Vec<f64>,
    /// Where the rows of the grid lie, rising.
    pub y: Vec<f64>,
    /// Row by row: the value at `(x[i], y[j])` is `values[j · x.len() + i]`.
    #[serde(with = "numbers::list")]
    pub values: Vec<f64>,
    /// How values become areas.
    #[serde(default)]
    pub style: MapStyle,
    /// How many shades, from 2 to 24.
    pub levels: usize,
    /// Values above it, +∞ too, are drawn as if they were it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<f64>,
    /// Whether equal steps of shade are equal ratios; every value must be positive.
    #[serde(default)]
    pub log: bool,
    /// Places with names.
    #[serde(default)]
    pub marks: Vec<Mark>,
}

/// How the values of a field become areas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapStyle {
    /// Filled contours: what lies between values is interpolated.
    #[default]
    Contours,
    /// A cell around each value, as of a matrix.
    Cells,
}

/// A place with a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// What stands beside it.
    pub label: String,
    /// Along x.
    pub x: f64,
    /// Along y.
    pub y: f64,
}

/// Why a figure cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Parts of it contradict each other.
    #[error("figure `{figure}`, panel {panel}: {what} has {found}, expected {expected}; write the figure again")]
    Inconsistent {
        /// Name of the figure.
        figure: String,
        /// Which panel, from 1.
        panel: usize,
        /// Which part.
        what: String,
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// The picture could not be made.
    #[error("figure `{figure}`: no picture of {width} × {height} pixels: {why}; draw it with a smaller scale")]
    Picture {
        /// Name of the figure.
        figure: String,
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// What the renderer said.
        why: String,
    },
    /// A file's extension says no format that can be drawn.
    #[error("{path}: a plot is a .svg or a .png file", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
}

impl Figure {
    /// Passes only if every band has a pair for each point, and every field a value for each place of a rising grid.
    ///
    /// Drawing needs no check: what is missing is left out.
    ///
    /// # Errors
    /// The first part that does not fit.
    pub fn check(&self) -> Result<(), Error> {
        for (at, panel) in self.panels.iter().enumerate() {
            let wrong = |what: String, found: String, expected: String| {
                Err(Error::Inconsistent { figure: self.name.clone(), panel: at + 1, what, found, expected })
            };
            match &panel.shape {
                Shape::Lines(lines) => {
                    for line in lines {
                        let (points, band) =
                            (line.points.len(), line.band.as_ref().map_or(line.points.len(), Vec::len));
                        if points != band {
                            let what = format!("the band of `{}`", line.label);
                            return wrong(what, format!("{band} pairs"), format!("{points}, one a point"));
                        }
                    }
                }
                Shape::Field(field) => {
                    for (axis, grid) in [("x", &field.x), ("y", &field.y)] {
                        let rises = |w: &&[f64]| w[0].partial_cmp(&w[1]) == Some(Ordering::Less);
                        if let Some([before, after]) = grid.windows(2).find(|w| !rises(w)) {
                            let found = format!("{before} before {after}");
                            return wrong(format!("the grid along {axis}"), found, "rising numbers".to_owned());
                        }
                    }
                    let (places, values) = (field.x.len() * field.y.len(), field.values.len());
                    if places != values {
                        return wrong(
                            "the field".to_owned(),
                            format!("{values} values"),
                            format!("{places}, one a place"),
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// All panels on one sheet: a file of its own without scripts, light on paper, light or dark on a screen as its reader
    /// prefers, described for readers who listen.
    pub fn svg(&self) -> String {
        svg::file(&sheet::sheet(self), &self.title, &words::described(self))
    }

    /// The same on white paper, as a PNG picture of `scale` pixels for each of its units; its text is set in DejaVu Sans.
    ///
    /// Cost: time and memory in the number of pixels.
    ///
    /// # Errors
    /// If there are too many pixels.
    pub fn png(&self, scale: f64) -> Result<Vec<u8>, Error> {
        png::picture(&self.name, &sheet::sheet(self), scale)
    }

    /// Every number as one long table.
    ///
    /// Lines have the columns `panel, line, x, y`, and `low, high` if any has a band; fields `panel, x, y, value`; a figure
    /// with both has all of them. Panels are counted from 1 and named. A number reads back to the bits that it has.
    pub fn csv(&self) -> String {
        csv::table(self)
    }
}

/// One panel as an SVG element of a page, 360 units wide, its title and legend left out. Its colours are classes of
/// [`style`].
pub(crate) fn inline(panel: &Panel, label: &str) -> String {
    svg::element(&panel::draw(panel), label)
}

/// The legends of a figure's panels, or the one that all share.
pub(crate) fn legends(figure: &Figure) -> legend::Legends {
    legend::legends(figure)
}

/// A line of a legend as an SVG element of a page.
pub(crate) fn swatch(entry: &legend::LegendEntry) -> String {
    svg::swatch(&legend::swatch(entry))
}

pub(crate) use legend::{LegendEntry, Legends};
