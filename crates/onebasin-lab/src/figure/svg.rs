//! Drawings as SVG: a file, with its colours in it, or an element of a page, with classes.

use std::fmt::Write as _;

use super::drawing::{Anchor, Drawing, DrawnMark, Hand, Pen, Point, merged};
use super::palette::{Ink, dark};

/// Where an ink goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Medium {
    /// Colours are written out for light, and are classes too, which a dark screen gives other colours. Readers of SVG
    /// that know no style sheets show the light ones.
    File,
    /// Colours are classes.
    Page,
}

/// Families of letters without serifs, for a file that has no page around it.
const FONTS: &str = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif";

/// A file of its own: in its size where there is room, else as wide as its place.
pub(super) fn file(drawing: &Drawing, title: &str, description: &str) -> String {
    let (width, height) = (short(drawing.width), short(drawing.height));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
         {height}\" style=\"max-width:100%;height:auto\" font-family=\"{FONTS}\" role=\"img\">\n<title>{}</title>\n\
         <desc>{}</desc>\n<style>\n{}</style>\n",
        escape(title),
        escape(description),
        dark()
    );
    write(&mut svg, drawing, Medium::File);
    svg.push_str("</svg>\n");
    svg
}

/// An element of a page, as wide as its container.
pub(super) fn element(drawing: &Drawing, label: &str) -> String {
    let (width, height) = (short(drawing.width), short(drawing.height));
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(label)
    );
    write(&mut svg, drawing, Medium::Page);
    svg.push_str("</svg>");
    svg
}

/// An element of a page that stands in a line of text.
pub(super) fn swatch(drawing: &Drawing) -> String {
    let (width, height) = (short(drawing.width), short(drawing.height));
    let mut svg = format!(
        "<svg class=\"swatch\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         aria-hidden=\"true\">"
    );
    write(&mut svg, drawing, Medium::Page);
    svg.push_str("</svg>");
    svg
}

/// Text that means itself in HTML and XML, between tags and in quoted attributes; characters that neither allows are `�`.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

fn write(svg: &mut String, drawing: &Drawing, medium: Medium) {
    for mark in &drawing.marks {
        match mark {
            DrawnMark::Areas { rings, ink, opacity } => {
                let d = merged(rings).iter().fold(String::new(), |d, ring| d + &path(ring) + "Z");
                let _ = write!(svg, "<path{}", paint(medium, Some(*ink), None));
                faded(svg, "fill-opacity", *opacity);
                if matches!(ink, Ink::Shade(_)) && rings.iter().all(|ring| upright(ring)) {
                    svg.push_str(" shape-rendering=\"crispEdges\"");
                }
                let _ = writeln!(svg, " d=\"{d}\"/>");
            }
            DrawnMark::Strokes { paths, pen } => strokes(svg, paths, *pen, medium),
            DrawnMark::Dot { at, radius, ink, rim } => {
                let paint = paint(medium, Some(*ink), (rim != ink).then_some(*rim));
                let rim = if rim == ink { "" } else { " stroke-width=\"1.6\"" };
                let (x, y, r) = (short(at.0), short(at.1), short(*radius));
                let _ = writeln!(svg, "<circle{paint}{rim} cx=\"{x}\" cy=\"{y}\" r=\"{r}\"/>");
            }
            DrawnMark::Words { at, text, hand } => words(svg, *at, text, *hand, medium),
            DrawnMark::Window { x, y, width, height } => {
                let [x, y, w, h] = [x, y, width, height].map(|v| short(*v));
                let _ = writeln!(
                    svg,
                    "<svg x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" viewBox=\"{x} {y} {w} {h}\" overflow=\"hidden\">"
                );
            }
            DrawnMark::Wall => svg.push_str("</svg>\n"),
        }
    }
}

/// Whether every edge is horizontal or vertical; such areas meet without seams if their edges are not softened.
fn upright(ring: &[Point]) -> bool {
    ring.iter().zip(ring.iter().cycle().skip(1)).all(|(p, q)| p.0 == q.0 || p.1 == q.1)
}

fn strokes(svg: &mut String, paths: &[Vec<Point>], pen: Pen, medium: Medium) {
    let d = paths.iter().fold(String::new(), |d, points| d + &path(points));
    let _ = write!(svg, "<path{} stroke-width=\"{}\"", paint(medium, None, Some(pen.ink)), short(pen.width));
    if let Some([stroke, gap]) = pen.dashes() {
        let _ = write!(svg, " stroke-dasharray=\"{stroke} {gap}\"");
    }
    if matches!(pen.ink, Ink::Line(_)) {
        svg.push_str(" stroke-linejoin=\"round\"");
    }
    faded(svg, "stroke-opacity", pen.opacity);
    let _ = writeln!(svg, " d=\"{d}\"/>");
}

fn words(svg: &mut String, at: Point, text: &str, hand: Hand, medium: Medium) {
    let paint = paint(medium, Some(hand.ink), hand.halo.then_some(Ink::Ground));
    let _ = write!(svg, "<text{paint} x=\"{}\" y=\"{}\" font-size=\"{}\"", short(at.0), short(at.1), short(hand.size));
    svg.push_str(match hand.anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    });
    if hand.bold {
        svg.push_str(" font-weight=\"600\"");
    }
    if hand.halo {
        svg.push_str(" stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\"");
    }
    let _ = writeln!(svg, ">{}</text>", escape(text));
}

fn faded(svg: &mut String, what: &str, opacity: f64) {
    if opacity < 1.0 {
        let _ = write!(svg, " {what}=\"{}\"", short(opacity));
    }
}

/// The attributes that say what something is filled and stroked with.
fn paint(medium: Medium, fill: Option<Ink>, stroke: Option<Ink>) -> String {
    let named = [("fill", fill), ("stroke", stroke)];
    let written = match medium {
        Medium::File => named.map(|(what, ink)| ink.map_or_else(String::new, |i| format!(" {what}=\"{}\"", i.paper()))),
        Medium::Page => [const { String::new() }; 2],
    };
    let classes: Vec<String> =
        named.iter().filter_map(|(what, ink)| Some(format!("{}-{}", &what[..1], (*ink)?.class().0))).collect();
    let style = [fill, stroke].into_iter().flatten().find_map(|ink| ink.class().1);
    let style = style.map_or_else(String::new, |style| format!(" style=\"{style}\""));
    let hollow = if fill.is_none() { " fill=\"none\"" } else { "" };
    format!(" class=\"{}\"{style}{hollow}{}", classes.join(" "), written.concat())
}

/// The path through points.
pub(super) fn path(points: &[Point]) -> String {
    points.iter().enumerate().fold(String::new(), |mut d, (i, (x, y))| {
        let _ = write!(d, "{}{} {}", if i == 0 { 'M' } else { 'L' }, short(*x), short(*y));
        d
    })
}

/// A number with two decimals at most.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_its_place() {
        assert_eq!(escape("a<b>&\"'\u{0}\u{1b}π\n"), "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}\u{fffd}π\n");
        let drawing = {
            let mut drawing = Drawing::new(10.0, 10.0);
            drawing.words((0.0, 0.0), "</text><script>", Hand::new(9.0, Anchor::Start, Ink::Text));
            drawing
        };
        for svg in [file(&drawing, "</title><script>", "</desc><script>"), element(&drawing, "\"><script>")] {
            assert!(!svg.contains("<script"), "{svg}");
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, -0.001, 1.5, 100.0, 0.126].map(short), ["0", "0", "1.5", "100", "0.13"]);
    }
}
