//! Reports as figures, and as text for a terminal.

use std::path::Path;

use onebasin_core::report::{Curve, Report, Split};
use onebasin_nn::SiteFit;

use super::{Axis, Colour, Error, Figure, Line, Panel, Shape, Stroke, table, terminal};

/// The name of the curve of B as it comes.
pub(crate) const NAIVE: &str = "naive";

/// Columns below which axes and their numbers leave no room for lines.
const NARROWEST: usize = 40;
const WIDEST: usize = 76;
const ROWS: usize = 14;
/// Pixels of a picture for each unit of the sheet.
const PIXELS: f64 = 2.0;

enum FigureFormat {
    Svg,
    Png,
}

fn format(path: &Path) -> Result<FigureFormat, Error> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("svg") => Ok(FigureFormat::Svg),
        Some("png") => Ok(FigureFormat::Png),
        _ => Err(Error::Format { path: path.to_owned() }),
    }
}

/// Passes only if the extension says a format that can be drawn.
///
/// # Errors
/// If it is neither `svg` nor `png`.
pub fn check(path: &Path) -> Result<(), Error> {
    format(path).map(|_| ())
}

/// A figure as a file's bytes, in the format of its extension.
///
/// # Errors
/// If the extension is neither `svg` nor `png`, or the picture cannot be made.
pub fn render(path: &Path, figure: &Figure) -> Result<Vec<u8>, Error> {
    match format(path)? {
        FigureFormat::Svg => Ok(figure.svg().into_bytes()),
        FigureFormat::Png => figure.png(PIXELS),
    }
}

/// The loss on the test data as a plot, where `width` columns are wide enough for one; the table of barriers; and in words
/// what alignment did in the middle. No line is wider than `width`; without `colour` there are no escape codes.
pub fn text(report: &Report, width: usize, colour: bool) -> String {
    let plot = (width >= NARROWEST).then(|| terminal::lines(&loss(report), width.min(WIDEST), ROWS, colour)).flatten();
    let mut text = plot.map_or_else(String::new, |plot| plot + "\n");
    text += &table::table(report, width);
    let text = table::middles(report, width).into_iter().fold(text, |text, line| text + "\n" + &line);
    done(report).map_or_else(|| text.clone(), |done| format!("{text}\n{done}"))
}

/// What was done to every average, in words; none where nothing was.
fn done(report: &Report) -> Option<String> {
    report.repair.as_ref().map(|repair| format!("every average repaired by `{repair}`"))
}

/// The first panel of a figure as a plot of characters; none where `width` columns leave no room for one.
pub fn plot(figure: &Figure, width: usize, colour: bool) -> Option<String> {
    let panel = figure.panels.first().filter(|_| width >= NARROWEST)?;
    terminal::lines(panel, width.min(WIDEST), ROWS, colour)
}

/// How well every layer follows both networks, of the average and once it is `done` (solved, distilled): R² from input to
/// output, and below −1 at −1.
pub fn of_sites(average: &[SiteFit], repaired: &[SiteFit], done: &str) -> Figure {
    const LOWEST: f64 = -1.0;
    let line = |label: &str, fits: &[SiteFit], colour| {
        let last = fits.len().saturating_sub(1).max(1) as f64;
        let points = fits.iter().enumerate().map(|(at, site)| (at as f64 / last, site.explained.max(LOWEST))).collect();
        Line { label: label.to_owned(), points, band: None, style: Stroke::Solid, colour, markers: true }
    };
    let lines = vec![line("average", average, Colour::Grey), line(done, repaired, Colour::Hue(0))];
    let x = "depth (0 is the first layer, 1 the last)".to_owned();
    let x = Axis { label: x, from: Some(0.0), to: Some(1.0), ..Axis::default() };
    let y = Axis { label: "R², share explained".to_owned(), to: Some(1.0), ..Axis::default() };
    let title = "What of both networks each layer still computes".to_owned();
    let panels = vec![Panel { title, x, y, shape: Shape::Lines(lines) }];
    Figure { name: "layers".to_owned(), title: "Where a merge breaks".to_owned(), panels }
}

/// Loss and accuracy along λ, one line for every curve and split: a colour for each curve, training dashed. Where there
/// are no right answers the loss stands alone.
pub fn of_report(report: &Report) -> Figure {
    let panel = |what: &str, y: &str, of: fn(&Split) -> &[f64]| {
        let lines = report.curves.iter().enumerate().flat_map(|(at, curve)| {
            splits(curve).map(|(name, split)| {
                let style = if name == "train" { Stroke::Dashed } else { Stroke::Solid };
                line(format!("{}, {name}", curve.name), curve, of(split), style, colour(&report.curves, at))
            })
        });
        along(what.to_owned(), Axis { label: y.to_owned(), ..Axis::default() }, lines.collect())
    };
    let mut panels = vec![panel("Loss", "cross-entropy, nats", |s| &s.loss)];
    if table::has_accuracy(&report.curves) {
        panels.push(panel("Accuracy", "share classified right", |s| &s.accuracy));
    }
    let what = if panels.len() > 1 { "Loss and accuracy" } else { "Loss" };
    let title = match done(report) {
        Some(done) => format!("{what} from A to B, {done}"),
        None => format!("{what} from A to B"),
    };
    Figure { name: "curves".to_owned(), title, panels }
}

/// The loss on the test data: the naive curve dotted, the others solid, with markers where they are several.
fn loss(report: &Report) -> Panel {
    let aligned = report.curves.iter().filter(|c| c.name != NAIVE).count();
    let lines = report.curves.iter().enumerate().map(|(at, curve)| {
        let naive = curve.name == NAIVE;
        let style = if naive { Stroke::Dotted } else { Stroke::Solid };
        let line = line(curve.name.clone(), curve, &curve.test.loss, style, colour(&report.curves, at));
        Line { markers: !naive && aligned > 1, ..line }
    });
    along("test loss from A (λ = 0) to B (λ = 1)".to_owned(), Axis::default(), lines.collect())
}

/// Lines along λ.
pub(crate) fn along(title: String, y: Axis, lines: Vec<Line>) -> Panel {
    let x = Axis { label: "λ (0 is A, 1 is B)".to_owned(), from: Some(0.0), to: Some(1.0), ..Axis::default() };
    Panel { title, x, y, shape: Shape::Lines(lines) }
}

fn line(label: String, curve: &Curve, values: &[f64], style: Stroke, colour: Colour) -> Line {
    let points = curve.lambda.iter().copied().zip(values.iter().copied()).collect();
    Line { label, points, band: None, style, colour, markers: false }
}

/// The colour of a curve: grey for the naive one, a hue each for the others.
fn colour(curves: &[Curve], at: usize) -> Colour {
    if curves[at].name == NAIVE {
        return Colour::Grey;
    }
    Colour::Hue(curves[..at].iter().filter(|c| c.name != NAIVE).count())
}

/// The splits of a curve, named.
pub(super) fn splits(curve: &Curve) -> [(&'static str, &Split); 2] {
    [("train", &curve.train), ("test", &curve.test)]
}
