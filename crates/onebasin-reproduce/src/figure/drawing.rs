//! What can be drawn: areas, strokes, dots, words.

use super::palette::Ink;
use super::{Colour, Stroke};

/// A place on a drawing; y grows downwards.
pub(super) type Point = (f64, f64);

/// Marks on a sheet, the later over the earlier.
#[derive(Debug, Clone, Default)]
pub(super) struct Drawing {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) marks: Vec<Mark>,
}

/// One thing that is drawn.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    /// Areas of one ink, which may overlap; a hairline of the same ink closes the seams between them.
    Areas { rings: Vec<Vec<Point>>, ink: Ink, opacity: f64 },
    /// Strokes of one pen.
    Strokes { paths: Vec<Vec<Point>>, pen: Pen },
    /// A disc with a rim.
    Dot { at: Point, radius: f64, ink: Ink, rim: Ink },
    /// Words.
    Words { at: Point, text: String, hand: Hand },
    /// From here on only what lies in the rectangle `(x, y, width, height)` is seen.
    Window { x: f64, y: f64, width: f64, height: f64 },
    /// Ends a window.
    Wall,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pen {
    pub(super) ink: Ink,
    pub(super) width: f64,
    pub(super) stroke: Stroke,
    pub(super) opacity: f64,
}

/// How words are drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hand {
    pub(super) size: f64,
    pub(super) anchor: Anchor,
    pub(super) ink: Ink,
    pub(super) bold: bool,
    /// A rim in the colour of the ground, for words on a map.
    pub(super) halo: bool,
}

/// Which point of words stands at their place; vertically it is the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Pen {
    pub(super) fn new(ink: Ink, width: f64) -> Self {
        Self { ink, width, stroke: Stroke::Solid, opacity: 1.0 }
    }

    /// A curve's pen.
    pub(super) fn line(colour: Colour, stroke: Stroke) -> Self {
        Self { stroke, ..Self::new(Ink::Line(colour), 1.8) }
    }

    /// Lengths of strokes and gaps; none for a solid line.
    pub(super) fn dashes(&self) -> Option<[f64; 2]> {
        match self.stroke {
            Stroke::Solid => None,
            Stroke::Dashed => Some([6.0, 3.5]),
            Stroke::Dotted => Some([1.6, 2.8]),
        }
    }
}

impl Hand {
    pub(super) fn new(size: f64, anchor: Anchor, ink: Ink) -> Self {
        Self { size, anchor, ink, bold: false, halo: false }
    }

    /// Bold.
    pub(super) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }
}

impl Drawing {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, marks: Vec::new() }
    }

    pub(super) fn areas(&mut self, rings: Vec<Vec<Point>>, ink: Ink, opacity: f64) {
        if !rings.is_empty() {
            self.marks.push(Mark::Areas { rings, ink, opacity });
        }
    }

    pub(super) fn strokes(&mut self, paths: Vec<Vec<Point>>, pen: Pen) {
        if !paths.is_empty() {
            self.marks.push(Mark::Strokes { paths, pen });
        }
    }

    pub(super) fn words(&mut self, at: Point, text: impl Into<String>, hand: Hand) {
        self.marks.push(Mark::Words { at, text: text.into(), hand });
    }

    pub(super) fn dot(&mut self, at: Point, radius: f64, ink: Ink, rim: Ink) {
        self.marks.push(Mark::Dot { at, radius, ink, rim });
    }

    /// Puts another drawing on this one, its corner at `(dx, dy)`.
    pub(super) fn place(&mut self, other: Self, dx: f64, dy: f64) {
        let moved = |(x, y): Point| (x + dx, y + dy);
        let all = |paths: Vec<Vec<Point>>| paths.into_iter().map(|p| p.into_iter().map(moved).collect()).collect();
        self.marks.extend(other.marks.into_iter().map(|mark| match mark {
            Mark::Areas { rings, ink, opacity } => Mark::Areas { rings: all(rings), ink, opacity },
            Mark::Strokes { paths, pen } => Mark::Strokes { paths: all(paths), pen },
            Mark::Dot { at, radius, ink, rim } => Mark::Dot { at: moved(at), radius, ink, rim },
            Mark::Words { at, text, hand } => Mark::Words { at: moved(at), text, hand },
            Mark::Window { x, y, width, height } => Mark::Window { x: x + dx, y: y + dy, width, height },
            Mark::Wall => Mark::Wall,
        }));
    }
}

/// A rectangle as a ring.
pub(super) fn rectangle(x: f64, y: f64, width: f64, height: f64) -> Vec<Point> {
    vec![(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
}

/// About how wide words are. Which font is used is not known here; common ones are narrower than this.
pub(super) fn breadth(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 'f' | 't' | 'r' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' | '(' | ')' => 0.38,
        '⁰'..='⁹' | '⁻' | '¹' | '²' | '³' => 0.42,
        'm' | 'w' | 'M' | 'W' | '<' | '>' | '=' | '+' | '&' | '@' | '%' | '−' | '×' | '→' => 0.92,
        c if c.is_ascii_uppercase() => 0.72,
        c if c.is_ascii() || (c as u32) < 0x2e80 => 0.62,
        _ => 1.0,
    };
    text.chars().map(em).sum::<f64>() * size
}

/// Words cut into lines no wider than `width`, at spaces where there are any; what is beyond `most` lines is `…`.
pub(super) fn wrap(text: &str, size: f64, width: f64, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let joined = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if breadth(&joined, size) <= width || line.is_empty() {
            line = joined;
        } else {
            lines.push(std::mem::replace(&mut line, word.to_owned()));
        }
    }
    lines.push(line);
    let cut = lines.len() > most;
    lines.truncate(most);
    let last = lines.len().saturating_sub(1);
    lines.into_iter().enumerate().map(|(i, line)| shorten(line, cut && i == last, size, width)).collect()
}

/// One line no wider than `width`, ending in `…` if something is left out.
fn shorten(mut line: String, cut: bool, size: f64, width: f64) -> String {
    if cut {
        line.push('…');
    }
    while breadth(&line, size) > width && line.chars().count() > 1 {
        line.pop();
        line.pop();
        line.push('…');
    }
    line
}
