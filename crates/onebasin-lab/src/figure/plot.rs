//! A panel: axes, and lines in them.

use super::drawing::{Anchor, Drawing, DrawnMark, Hand, Pen, Point, breadth, rectangle, wrap};
use super::palette::Ink;
use super::scale::{AxisScale, Tick};
use super::{Axis, Line, Panel};

/// Width of a panel. On a screen 360 pixels wide a unit is nine tenths of a pixel.
pub(super) const WIDTH: f64 = 360.0;
/// Height of the axes of lines.
const HEIGHT: f64 = 196.0;
/// Size of words and numbers.
pub(super) const SIZE: f64 = 12.0;
/// Opacity of a band.
pub(super) const BAND: f64 = 0.18;
/// What lies above the axes: the label of y.
const TOP: f64 = 26.0;
/// What lies below them: numbers and the label of x.
const BELOW: f64 = 40.0;

/// Where the axes of a panel lie, and their scales.
#[derive(Debug, Clone)]
pub(super) struct Axes {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) x: AxisScale,
    pub(super) y: AxisScale,
}

impl Axes {
    /// Where a pair of numbers lies.
    pub(super) fn place(&self, x: f64, y: f64) -> Option<Point> {
        let (x, y) = (self.x.place(x)?, self.y.place(y)?);
        Some((self.left + x * self.width, self.top + (1.0 - y) * self.height))
    }

    /// Height of a panel with these axes.
    pub(super) fn bottom(&self) -> f64 {
        self.top + self.height + BELOW
    }
}

/// Lines in their axes, if any point can be placed.
pub(super) fn lines(panel: &Panel, lines: &[Line]) -> Option<Drawing> {
    let (x, y) = scales(panel, lines, 0.05)?;
    Some(curves(panel, lines, x, y))
}

/// What is drawn where nothing can be.
pub(super) fn empty() -> Drawing {
    let mut drawing = Drawing::new(WIDTH, 120.0);
    let frame = rectangle(1.0, 1.0, WIDTH - 2.0, 118.0);
    let mut closed = frame.clone();
    closed.push(frame[0]);
    drawing.strokes(vec![closed], Pen { stroke: super::Stroke::Dashed, ..Pen::new(Ink::Axis, 1.0) });
    drawing.words((WIDTH / 2.0, 64.0), "No finite values to draw", Hand::new(SIZE, Anchor::Middle, Ink::Faint));
    drawing
}

/// The scales that hold all lines and bands; along y with a `margin` where the axis leaves its ends open.
pub(super) fn scales(panel: &Panel, lines: &[Line], margin: f64) -> Option<(AxisScale, AxisScale)> {
    let seen =
        |(x, y): &(f64, f64)| super::scale::placeable(*x, panel.x.log) && super::scale::placeable(*y, panel.y.log);
    let points = || lines.iter().flat_map(|line| &line.points).filter(|p| seen(p));
    let bands = lines.iter().flat_map(|line| line.band.iter().flatten()).flat_map(|(low, high)| [*low, *high]);
    let aside = if lines.iter().any(|line| line.markers) { 0.02 } else { 0.0 };
    let x = AxisScale::of(&panel.x, points().map(|p| p.0), aside)?;
    points().next()?;
    let y = AxisScale::of(&panel.y, points().map(|p| p.1).chain(bands), margin)?;
    Some((x, y))
}

fn curves(panel: &Panel, lines: &[Line], x: AxisScale, y: AxisScale) -> Drawing {
    let (mut drawing, axes) = frame(panel, x, y, HEIGHT, true);
    let slack = 3.0;
    let (x, y) = (axes.left - slack, axes.top - slack);
    let (width, height) = (axes.width + 2.0 * slack, axes.height + 2.0 * slack);
    drawing.marks.push(DrawnMark::Window { x, y, width, height });
    for line in lines {
        drawing.areas(bands(line, &axes), Ink::Line(line.colour), BAND);
    }
    for line in lines {
        let ink = Ink::Line(line.colour);
        let placed: Vec<Option<Point>> = line.points.iter().map(|(x, y)| axes.place(*x, *y)).collect();
        let (alone, runs): (Vec<_>, Vec<_>) = placed
            .split(Option::is_none)
            .map(|run| run.iter().flatten().copied().collect())
            .partition(|r: &Vec<_>| r.len() < 2);
        let dots: Vec<Point> = if line.markers { runs.iter().flatten().copied().collect() } else { Vec::new() };
        drawing.strokes(runs, Pen::line(line.colour, line.style));
        for at in alone.into_iter().flatten().chain(dots) {
            drawing.dot(at, 2.6, ink, ink);
        }
    }
    drawing.marks.push(DrawnMark::Wall);
    drawing
}

/// The areas of a line's band, one for every run of points where both its ends can be placed.
fn bands(line: &Line, axes: &Axes) -> Vec<Vec<Point>> {
    let Some(band) = &line.band else { return Vec::new() };
    let ends: Vec<Option<(Point, Point)>> = line
        .points
        .iter()
        .zip(band)
        .map(|((x, _), (low, high))| Some((axes.place(*x, *low)?, axes.place(*x, *high)?)))
        .collect();
    let runs = ends.split(Option::is_none).map(|run| run.iter().flatten().copied().collect::<Vec<_>>());
    let ring = |run: Vec<(Point, Point)>| {
        run.iter().map(|ends| ends.0).chain(run.iter().rev().map(|ends| ends.1)).collect::<Vec<_>>()
    };
    runs.filter(|run| run.len() > 1).map(ring).collect()
}

/// Axes with numbers and labels and, where they are not hidden anyway, the lines of their grid.
pub(super) fn frame(panel: &Panel, x: AxisScale, y: AxisScale, height: f64, lines: bool) -> (Drawing, Axes) {
    let wanted = if height > 150.0 { 5 } else { 3 };
    let rows = y.ticks(wanted);
    let widest = rows.iter().map(|tick| breadth(&tick.label, SIZE)).fold(0.0, f64::max);
    let left = (widest + 9.0).clamp(30.0, WIDTH / 3.0);
    let (columns, right) = columns(&x, left);
    let top = if panel.y.label.is_empty() { 10.0 } else { TOP };
    let axes = Axes { left, top, width: WIDTH - left - right, height, x, y };
    let mut drawing = Drawing::new(WIDTH, axes.bottom());
    if lines {
        grid(&mut drawing, &axes, &rows, &columns);
    }
    numbers(&mut drawing, &axes, &rows, &columns);
    label(&mut drawing, &panel.y, (0.0, 14.0), Anchor::Start);
    label(&mut drawing, &panel.x, (left + axes.width / 2.0, axes.bottom() - 5.0), Anchor::Middle);
    (drawing, axes)
}

/// As many numbers along x as have room, and the room that the last one needs beyond the axis.
fn columns(x: &AxisScale, left: f64) -> (Vec<Tick>, f64) {
    let half = |tick: &Tick| breadth(&tick.label, SIZE) / 2.0;
    for wanted in [6, 5, 4, 3, 2] {
        let ticks = x.ticks(wanted);
        let right =
            ticks.last().map_or(0.0, |tick| half(tick) - (1.0 - x.place(tick.at).unwrap_or(1.0)) * (WIDTH - left));
        let right = right.max(8.0) + 2.0;
        let width = WIDTH - left - right;
        let apart = |pair: &[Tick]| {
            let gap = (x.place(pair[1].at).unwrap_or(0.0) - x.place(pair[0].at).unwrap_or(0.0)) * width;
            gap > half(&pair[0]) + half(&pair[1]) + 8.0
        };
        if ticks.windows(2).all(apart) {
            return (ticks, right);
        }
    }
    (x.ticks(1).into_iter().take(1).collect(), 10.0)
}

impl Axes {
    fn row(&self, tick: &Tick) -> f64 {
        self.place(self.x.low, tick.at).map_or(self.top, |p| p.1)
    }

    fn column(&self, tick: &Tick) -> f64 {
        self.place(tick.at, self.y.low).map_or(self.left, |p| p.0)
    }
}

fn grid(drawing: &mut Drawing, axes: &Axes, rows: &[Tick], columns: &[Tick]) {
    let (right, bottom) = (axes.left + axes.width, axes.top + axes.height);
    let across = rows.iter().map(|t| vec![(axes.left, axes.row(t)), (right, axes.row(t))]);
    let along = columns.iter().map(|t| vec![(axes.column(t), axes.top), (axes.column(t), bottom)]);
    drawing.strokes(across.chain(along).collect(), Pen::new(Ink::Grid, 1.0));
}

fn numbers(drawing: &mut Drawing, axes: &Axes, rows: &[Tick], columns: &[Tick]) {
    let (right, bottom) = (axes.left + axes.width, axes.top + axes.height);
    let notches = columns.iter().map(|t| vec![(axes.column(t), bottom), (axes.column(t), bottom + 4.0)]);
    let axis = std::iter::once(vec![(axes.left, bottom), (right, bottom)]);
    drawing.strokes(axis.chain(notches).collect(), Pen::new(Ink::Axis, 1.0));
    for tick in rows {
        let hand = Hand::new(SIZE, Anchor::End, Ink::Faint);
        drawing.words((axes.left - 6.0, axes.row(tick) + 4.0), &*tick.label, hand);
    }
    for tick in columns {
        let hand = Hand::new(SIZE, Anchor::Middle, Ink::Faint);
        drawing.words((axes.column(tick), bottom + 16.0), &*tick.label, hand);
    }
}

fn label(drawing: &mut Drawing, axis: &Axis, at: Point, anchor: Anchor) {
    if !axis.label.is_empty() {
        let room = if anchor == Anchor::Middle { 2.0 * at.0.min(WIDTH - at.0) } else { WIDTH - at.0 };
        let text = wrap(&axis.label, SIZE, room, 1).concat();
        drawing.words(at, text, Hand::new(SIZE, anchor, Ink::Text));
    }
}
