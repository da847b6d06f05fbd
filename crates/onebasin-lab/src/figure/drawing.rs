//! What can be drawn: areas, strokes, dots, words.

use std::collections::BTreeMap;

use super::palette::Ink;
use super::{Colour, Stroke};

/// A place on a drawing; y grows downwards.
pub(super) type Point = (f64, f64);

/// Marks on a sheet, the later over the earlier.
#[derive(Debug, Clone, Default)]
pub(super) struct Drawing {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) marks: Vec<DrawnMark>,
}

/// One thing that is drawn.
#[derive(Debug, Clone)]
pub(super) enum DrawnMark {
    /// Areas of one ink, side by side and in one sense of rotation.
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
            self.marks.push(DrawnMark::Areas { rings, ink, opacity });
        }
    }

    pub(super) fn strokes(&mut self, paths: Vec<Vec<Point>>, pen: Pen) {
        if !paths.is_empty() {
            self.marks.push(DrawnMark::Strokes { paths, pen });
        }
    }

    pub(super) fn words(&mut self, at: Point, text: impl Into<String>, hand: Hand) {
        self.marks.push(DrawnMark::Words { at, text: text.into(), hand });
    }

    pub(super) fn dot(&mut self, at: Point, radius: f64, ink: Ink, rim: Ink) {
        self.marks.push(DrawnMark::Dot { at, radius, ink, rim });
    }

    /// Puts another drawing on this one, its corner at `(dx, dy)`.
    pub(super) fn place(&mut self, other: Self, dx: f64, dy: f64) {
        let moved = |(x, y): Point| (x + dx, y + dy);
        let all = |paths: Vec<Vec<Point>>| paths.into_iter().map(|p| p.into_iter().map(moved).collect()).collect();
        self.marks.extend(other.marks.into_iter().map(|mark| match mark {
            DrawnMark::Areas { rings, ink, opacity } => DrawnMark::Areas { rings: all(rings), ink, opacity },
            DrawnMark::Strokes { paths, pen } => DrawnMark::Strokes { paths: all(paths), pen },
            DrawnMark::Dot { at, radius, ink, rim } => DrawnMark::Dot { at: moved(at), radius, ink, rim },
            DrawnMark::Words { at, text, hand } => DrawnMark::Words { at: moved(at), text, hand },
            DrawnMark::Window { x, y, width, height } => DrawnMark::Window { x: x + dx, y: y + dy, width, height },
            DrawnMark::Wall => DrawnMark::Wall,
        }));
    }
}

/// A rectangle as a ring.
pub(super) fn rectangle(x: f64, y: f64, width: f64, height: f64) -> Vec<Point> {
    vec![(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
}

/// The outline of areas that lie side by side: edges that two of them share are left out, and points on straight edges.
/// Holes turn the other way.
///
/// Cost: `O(n log n)` in the number of edges.
pub(super) fn merged(rings: &[Vec<Point>]) -> Vec<Vec<Point>> {
    type PlaceKey = (i64, i64);
    let key = |p: &Point| ((p.0 * 1e4).round() as i64, (p.1 * 1e4).round() as i64);
    let mut edges: BTreeMap<(PlaceKey, PlaceKey), (usize, Point)> = BTreeMap::new();
    for ring in rings {
        for (from, to) in ring.iter().zip(ring.iter().cycle().skip(1)) {
            let (a, b) = (key(from), key(to));
            match edges.get_mut(&(b, a)) {
                _ if a == b => {}
                Some((1, _)) => drop(edges.remove(&(b, a))),
                Some((count, _)) => *count -= 1,
                None => edges.entry((a, b)).or_insert((0, *from)).0 += 1,
            }
        }
    }
    let mut outlines = Vec::new();
    while let Some((&(start, mut next), _)) = edges.first_key_value() {
        let mut outline: Vec<Point> = Vec::new();
        let mut edge = (start, next);
        while let Some((count, from)) = edges.get_mut(&edge) {
            outline.push(*from);
            *count -= 1;
            if *count == 0 {
                edges.remove(&edge);
            }
            let least = (next, (i64::MIN, i64::MIN));
            let Some((&onward, _)) = edges.range(least..).next().filter(|(e, _)| e.0 == next) else { break };
            (edge, next) = (onward, onward.1);
        }
        let ring = straightened(&outline);
        outlines.extend((ring.len() > 2).then_some(ring));
    }
    outlines
}

/// A ring without the points that lie on the straight line between their neighbours.
fn straightened(ring: &[Point]) -> Vec<Point> {
    let n = ring.len();
    let bends = |i: usize| {
        let (p, q, r) = (ring[(i + n - 1) % n], ring[i], ring[(i + 1) % n]);
        ((q.0 - p.0) * (r.1 - q.1) - (q.1 - p.1) * (r.0 - q.0)).abs() > 1e-6
    };
    (0..n).filter(|i| bends(*i)).map(|i| ring[i]).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_side_by_side_have_one_outline() {
        let cell = |i: i32, j: i32| rectangle(f64::from(i), f64::from(j), 1.0, 1.0);
        let block: Vec<Vec<Point>> = (0..3).flat_map(|i| (0..3).map(move |j| cell(i, j))).collect();
        assert_eq!(merged(&block), [rectangle(0.0, 0.0, 3.0, 3.0)]);
        let around: Vec<Vec<Point>> = block.iter().filter(|ring| ring[0] != (1.0, 1.0)).cloned().collect();
        let hole = vec![(1.0, 1.0), (1.0, 2.0), (2.0, 2.0), (2.0, 1.0)];
        assert_eq!(merged(&around), [rectangle(0.0, 0.0, 3.0, 3.0), hole]);
        let apart = merged(&[cell(0, 0), cell(1, 1)]);
        let area = |ring: &Vec<Point>| {
            let next = ring.iter().cycle().skip(1);
            ring.iter().zip(next).map(|(p, q)| p.0 * q.1 - q.0 * p.1).sum::<f64>() / 2.0
        };
        assert_eq!(apart.iter().map(area).sum::<f64>(), 2.0);
        assert!(merged(&[]).is_empty());
    }

    #[test]
    fn words_fit_their_room() {
        assert_eq!(wrap("one two", 10.0, 1000.0, 2), ["one two"]);
        for (text, most) in [("one two three four five", 2), (&"x".repeat(99) as &str, 1), ("", 1)] {
            let lines = wrap(text, 10.0, 60.0, most);
            assert!(lines.len() <= most && lines.iter().all(|line| breadth(line, 10.0) <= 60.0), "{lines:?}");
        }
    }
}
