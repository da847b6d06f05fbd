//! A panel of lines drawn with characters, for a terminal.
//!
//! A character holds 2 × 4 dots of braille. Lines are told apart by their strokes and, where they have markers, by a sign
//! that stands along them; colours only help. Signs of different lines stand in different columns, so that lines which
//! coincide all show theirs.

use super::palette::HUES;
use super::scale::Tick;
use super::words::{cut, wrap};
use super::{Colour, Line, Panel, Shape, Stroke, plot};

/// The dots of a character, column by column, as bits of its code.
const DOTS: [[u32; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
/// The character without dots.
const BLANK: u32 = 0x2800;
/// The signs of lines with markers; the ninth is the first again.
const SIGNS: [char; 8] = ['o', 'x', '+', '*', '#', '%', '@', '&'];
/// The terminal's own colours that are nearest to the hues of figures.
const HUE: [usize; HUES] = [6, 1, 2, 5, 3, 4];
/// Columns of the piece of a line that stands in the legend.
const SWATCH: usize = 4;
/// What stands below the axis of λ.
const QUARTERS: [(f64, char); 5] = [(0.0, '0'), (0.25, '¼'), (0.5, '½'), (0.75, '¾'), (1.0, '1')];

/// A place in dots; y grows downwards.
type Dot = (usize, usize);

/// How one line is drawn.
#[derive(Debug, Clone, Copy)]
struct Brush {
    colour: Colour,
    stroke: Stroke,
    sign: Option<Sign>,
}

/// What stands along a line: in the column `first`, and then in every `every`-th.
#[derive(Debug, Clone, Copy)]
struct Sign {
    character: char,
    first: usize,
    every: usize,
}

#[derive(Debug, Clone, Default)]
struct TerminalCell {
    dots: u32,
    /// Of the line drawn last.
    colour: Option<Colour>,
    /// Signs lie over all dots.
    sign: Option<(char, Colour)>,
}

#[derive(Debug)]
struct Canvas {
    columns: usize,
    rows: usize,
    cells: Vec<TerminalCell>,
}

/// The lines over λ from 0 to 1: title and legend, then `rows` rows of lines, the axis and its numbers; `columns` wide at
/// most. Where the axis of y leaves its end open, a row is free below the lowest line. Nothing for a map, where no point
/// can be placed, or without room.
///
/// Without `colour` there are no escape codes; with it the terminal's own palette.
pub(super) fn lines(panel: &Panel, columns: usize, rows: usize, colour: bool) -> Option<String> {
    let lines = match &panel.shape {
        Shape::Lines(lines) => lines,
        Shape::Field(_) => return None,
    };
    let (x, y) = plot::scales(panel, lines, 1.0 / rows.checked_sub(2).filter(|r| *r > 0)? as f64)?;
    let ticks = y.ticks(4);
    let gutter = ticks.iter().map(|tick| tick.label.chars().count()).max().unwrap_or(0);
    let mut canvas = Canvas::new(columns.checked_sub(gutter + 2).filter(|c| *c > SWATCH)?, rows);
    let brushes = brushes(lines);
    let dot =
        |place: f64, dots: usize| (0.0..=1.0).contains(&place).then(|| (place * (dots - 1) as f64).round() as usize);
    let across = |v: f64| dot(x.place(v)?, 2 * canvas.columns);
    let down = |v: f64| dot(1.0 - y.place(v)?, 4 * rows);
    let placed = |line: &Line| line.points.iter().map(|(x, y)| Some((across(*x)?, down(*y)?))).collect();
    let all: Vec<Vec<Option<Dot>>> = lines.iter().map(placed).collect();
    let numbers = ticks.iter().filter_map(|tick| Some((down(tick.at)? / 4, tick))).collect::<Vec<_>>();
    let quarters: Vec<(usize, char)> =
        QUARTERS.iter().filter_map(|(at, sign)| Some((across(*at)? / 2, *sign))).collect();
    for (points, brush) in all.iter().zip(&brushes) {
        for run in points.split(Option::is_none) {
            canvas.line(&run.iter().flatten().copied().collect::<Vec<_>>(), *brush);
        }
    }
    let mut drawn = wrap(&panel.title, columns);
    drawn.extend(legend(lines, &brushes, columns, colour));
    drawn.extend((0..rows).map(|row| number(&numbers, row, gutter) + &canvas.row(row, colour)));
    drawn.extend(axis(&quarters, canvas.columns).map(|row| " ".repeat(gutter) + " " + &row));
    Some(drawn.iter().fold(String::new(), |all, row| all + row.trim_end() + "\n"))
}

/// The number of a row, if it has one, and the axis.
fn number(numbers: &[(usize, &Tick)], row: usize, gutter: usize) -> String {
    match numbers.iter().find(|(at, _)| *at == row) {
        Some((_, tick)) => format!("{:>gutter$} ┤", tick.label),
        None => format!("{:gutter$} │", ""),
    }
}

/// The axis of λ and its numbers, from the axis of y on.
fn axis(quarters: &[(usize, char)], columns: usize) -> [String; 2] {
    let sign = |column: usize| quarters.iter().find(|(at, _)| *at == column).map(|(_, sign)| *sign);
    let line = (0..columns).map(|column| if sign(column).is_some() { '┬' } else { '─' });
    let below = (0..columns).map(|column| sign(column).unwrap_or(' '));
    [std::iter::once('└').chain(line).collect(), std::iter::once(' ').chain(below).collect()]
}

/// A brush for every line; signs share the columns out.
fn brushes(lines: &[Line]) -> Vec<Brush> {
    let signs = lines.iter().filter(|line| line.markers).count();
    let every = (3 * signs).max(12);
    let mut next = 0..signs;
    let sign =
        |at: usize| Sign { character: SIGNS[at % SIGNS.len()], first: every * (2 * at + 1) / (2 * signs), every };
    let brush = |line: &Line| {
        let sign = if line.markers { next.next().map(sign) } else { None };
        Brush { colour: line.colour, stroke: line.style, sign }
    };
    lines.iter().map(brush).collect()
}

/// A piece of every line and its name, as many in a row as have room.
fn legend(lines: &[Line], brushes: &[Brush], columns: usize, colour: bool) -> Vec<String> {
    const GAP: usize = 3;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut left = 0;
    for (line, brush) in lines.iter().zip(brushes).filter(|(line, _)| !line.label.is_empty()) {
        let label = cut(&line.label, columns.saturating_sub(SWATCH + 1));
        let wide = SWATCH + 1 + label.chars().count();
        let mut piece = Canvas::new(SWATCH, 1);
        let sign = brush.sign.map(|sign| Sign { first: 1, every: SWATCH, ..sign });
        piece.line(&[(0, 1), (2 * SWATCH - 1, 1)], Brush { sign, ..*brush });
        let entry = format!("{} {label}", piece.row(0, colour));
        match rows.last_mut() {
            Some(row) if left >= GAP + wide => {
                row.push(entry);
                left -= GAP + wide;
            }
            _ => {
                rows.push(vec![entry]);
                left = columns.saturating_sub(wide);
            }
        }
    }
    rows.iter().map(|row| row.join(&" ".repeat(GAP))).collect()
}

impl Brush {
    /// Whether a line has a dot after so many others.
    fn inks(&self, at: usize) -> bool {
        match self.stroke {
            Stroke::Solid => true,
            Stroke::Dashed => at % 8 < 5,
            Stroke::Dotted => at.is_multiple_of(3),
        }
    }
}

impl Canvas {
    fn new(columns: usize, rows: usize) -> Self {
        Self { columns, rows, cells: vec![TerminalCell::default(); columns * rows] }
    }

    /// A line through dots of the canvas.
    fn line(&mut self, through: &[Dot], brush: Brush) {
        let mut signed = None;
        for (at, (x, y)) in path(through).into_iter().enumerate() {
            let (column, row) = (x / 2, y / 4);
            debug_assert!(column < self.columns && row < self.rows, "dots lie on the canvas");
            let cell = &mut self.cells[row * self.columns + column];
            if brush.inks(at) {
                cell.dots |= DOTS[x % 2][y % 4];
                cell.colour = Some(brush.colour);
            }
            let sign = brush.sign.filter(|sign| column % sign.every == sign.first && signed != Some(column));
            if let Some(sign) = sign {
                cell.sign = Some((sign.character, brush.colour));
                signed = Some(column);
            }
        }
    }

    /// A row of characters; a code stands where the colour changes, and the row ends without one.
    fn row(&self, row: usize, colour: bool) -> String {
        let mut text = String::new();
        let mut now = None;
        for cell in &self.cells[row * self.columns..(row + 1) * self.columns] {
            let character = match (cell.sign, cell.dots) {
                (Some((sign, _)), _) => sign,
                (None, 0) => ' ',
                (None, dots) => char::from_u32(BLANK + dots).unwrap_or(' '),
            };
            let wanted = if colour { cell.sign.map(|(_, c)| c).or(cell.colour).and_then(code) } else { None };
            if wanted != now {
                text += &wanted.map_or_else(|| "\x1b[39m".to_owned(), |code| format!("\x1b[{code}m"));
                now = wanted;
            }
            text.push(character);
        }
        if now.is_some() {
            text += "\x1b[39m";
        }
        text
    }
}

/// The code of a colour; grey is the colour of the text.
fn code(colour: Colour) -> Option<usize> {
    match colour {
        Colour::Grey => None,
        Colour::Hue(hue) => Some(30 + HUE[hue % HUES]),
    }
}

/// The dots on the way through others, each step once.
fn path(through: &[Dot]) -> Vec<Dot> {
    let mut path: Vec<Dot> = through.first().copied().into_iter().collect();
    for pair in through.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1));
        let between = |a: usize, b: usize, i: usize| {
            (a as f64 + i as f64 / steps as f64 * (b as f64 - a as f64)).round() as usize
        };
        path.extend((1..=steps).map(|i| (between(from.0, to.0, i), between(from.1, to.1, i))));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(stroke: Stroke, sign: Option<Sign>, through: &[Dot]) -> Vec<String> {
        let mut canvas = Canvas::new(6, 2);
        canvas.line(through, Brush { colour: Colour::Hue(0), stroke, sign });
        (0..2).map(|row| canvas.row(row, false)).collect()
    }

    #[test]
    fn strokes_differ() {
        let level = [(0, 0), (11, 0)];
        assert_eq!(rows(Stroke::Solid, None, &level)[0], "⠉⠉⠉⠉⠉⠉");
        assert_eq!(rows(Stroke::Dashed, None, &level)[0], "⠉⠉⠁ ⠉⠉");
        assert_eq!(rows(Stroke::Dotted, None, &level)[0], "⠁⠈ ⠁⠈ ");
        let sign = Sign { character: 'o', first: 1, every: 3 };
        assert_eq!(rows(Stroke::Solid, Some(sign), &level)[0], "⠉o⠉⠉o⠉");
    }

    #[test]
    fn lines_have_no_holes() {
        assert_eq!(rows(Stroke::Solid, None, &[(0, 7), (11, 0)]), ["   ⣀⠔⠊", "⡠⠔⠉   "]);
        assert_eq!(path(&[(2, 0), (0, 3), (0, 3)]), [(2, 0), (1, 1), (1, 2), (0, 3)]);
        assert!(path(&[]).is_empty());
    }

    #[test]
    fn codes_stand_where_the_colour_changes() {
        let mut canvas = Canvas::new(3, 1);
        canvas.line(&[(2, 0), (5, 0)], Brush { colour: Colour::Hue(6), stroke: Stroke::Solid, sign: None });
        assert_eq!(canvas.row(0, true), " \x1b[36m⠉⠉\x1b[39m");
        assert_eq!(canvas.row(0, false), " ⠉⠉");
        canvas.line(&[(0, 0), (5, 0)], Brush { colour: Colour::Grey, stroke: Stroke::Solid, sign: None });
        assert_eq!(canvas.row(0, true), "⠉⠉⠉");
    }
}
