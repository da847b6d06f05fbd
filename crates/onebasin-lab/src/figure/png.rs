//! Drawings as PNG, by the rasteriser of `kuva`.

use kuva::backend::raster::RasterBackend;
use kuva::render::color::Color;
use kuva::render::render::{PathData, Primitive, Scene, TextAnchor, TextSpan};

use super::drawing::{Anchor, Drawing, DrawnMark, Hand, Pen, Point};
use super::palette::Ink;
use super::{Error, svg};

/// A picture has fewer pixels than this.
const MOST: f64 = 1e8;

/// The picture, `scale` pixels for each unit of the drawing.
pub(super) fn picture(figure: &str, drawing: &Drawing, scale: f64) -> Result<Vec<u8>, Error> {
    let scale = if scale.is_finite() && scale > 0.0 { scale } else { 1.0 };
    let (width, height) = (scale * drawing.width, scale * drawing.height);
    let fail =
        |why: String| Error::Picture { figure: figure.to_owned(), width: width as u64, height: height as u64, why };
    if width * height > MOST {
        return Err(fail("it is too large".to_owned()));
    }
    let mut scene = Scene::new(drawing.width, drawing.height).with_background(Some("#ffffff"));
    for mark in &drawing.marks {
        add(&mut scene, mark);
    }
    RasterBackend { scale: scale as f32 }.render_scene(&scene).map_err(fail)
}

fn colour(ink: Ink) -> Color {
    let [r, g, b] = ink.paper().0;
    Color::Rgb(r, g, b)
}

/// Areas are filled one by one; a hairline of the same ink closes the seams between those of a map.
fn add(scene: &mut Scene, mark: &DrawnMark) {
    match mark {
        DrawnMark::Areas { rings, ink, opacity } => {
            for ring in rings {
                let stroke = if matches!(ink, Ink::Shade(_)) { colour(*ink) } else { Color::None };
                let d = svg::path(ring) + "Z";
                let opacity = (*opacity < 1.0).then_some(*opacity);
                let fill = Some(colour(*ink));
                let path = PathData { d, fill, stroke, stroke_width: 1.0, opacity, stroke_dasharray: None };
                scene.add(Primitive::Path(Box::new(path)));
            }
        }
        DrawnMark::Strokes { paths, pen } => strokes(scene, paths, *pen),
        DrawnMark::Dot { at, radius, ink, rim } => {
            let rim = (rim != ink).then_some(*rim);
            scene.add(Primitive::Circle {
                cx: at.0,
                cy: at.1,
                r: *radius,
                fill: colour(*ink),
                fill_opacity: None,
                stroke: rim.map(colour),
                stroke_width: rim.map(|_| 1.6),
            });
        }
        DrawnMark::Words { at, text, hand } => words(scene, *at, text, *hand),
        DrawnMark::Window { x, y, width, height } => {
            let (x, y, width, height) = (*x, *y, *width, *height);
            scene.add(Primitive::ClipStart { x, y, width, height, id: String::new() });
        }
        DrawnMark::Wall => scene.add(Primitive::ClipEnd),
    }
}

/// Dashes are cut here, since the rasteriser begins anew at every point; an opacity becomes a paler ink.
fn strokes(scene: &mut Scene, paths: &[Vec<Point>], pen: Pen) {
    let stroke = match pen.ink.paper().0 {
        ink if pen.opacity < 1.0 => {
            let [r, g, b] = ink.map(|c| (255.0 - pen.opacity * (255.0 - f64::from(c))) as u8);
            Color::Rgb(r, g, b)
        }
        [r, g, b] => Color::Rgb(r, g, b),
    };
    for path in paths {
        let pieces = pen.dashes().map_or_else(|| vec![path.clone()], |[dash, gap]| dashed(path, dash, gap));
        for points in pieces {
            let stroke = stroke.clone();
            scene.add(Primitive::PolyLine { points, stroke, stroke_width: pen.width, stroke_dasharray: None });
        }
    }
}

/// A path as dashes.
fn dashed(path: &[Point], dash: f64, gap: f64) -> Vec<Vec<Point>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<Point> = path.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, dash);
    for pair in path.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let mut gone = 0.0;
        while length - gone > left {
            gone += left;
            let at = (from.0 + gone / length * (to.0 - from.0), from.1 + gone / length * (to.1 - from.1));
            if drawing {
                piece.push(at);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![at];
            }
            drawing = !drawing;
            left = if drawing { dash } else { gap };
        }
        left -= length - gone;
        if drawing {
            piece.push(to);
        }
    }
    pieces.extend((piece.len() > 1).then_some(piece));
    pieces
}

/// A halo is the words in the colour of the ground, all around.
fn words(scene: &mut Scene, at: Point, text: &str, hand: Hand) {
    let anchor = match hand.anchor {
        Anchor::Start => TextAnchor::Start,
        Anchor::Middle => TextAnchor::Middle,
        Anchor::End => TextAnchor::End,
    };
    let around = if hand.halo { 8 } else { 0 };
    let rim = (0..around).map(|i| {
        let (sin, cos) = (std::f64::consts::FRAC_PI_4 * f64::from(i)).sin_cos();
        ((at.0 + 1.4 * cos, at.1 + 1.4 * sin), Ink::Ground)
    });
    let (spans, size) = (vec![TextSpan { bold: hand.bold, ..TextSpan::plain(text) }], hand.size.round() as u32);
    for ((x, y), ink) in rim.chain([(at, hand.ink)]) {
        scene.add(Primitive::RichText { x, y, spans: spans.clone(), size, anchor, color: Some(colour(ink)) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_go_round_corners() {
        let path = [(0.0, 0.0), (3.0, 0.0), (3.0, 7.0)];
        let expected = vec![vec![(0.0, 0.0), (3.0, 0.0), (3.0, 1.0)], vec![(3.0, 3.0), (3.0, 7.0)]];
        assert_eq!(dashed(&path, 4.0, 2.0), expected);
        assert_eq!(dashed(&[], 4.0, 2.0), Vec::<Vec<Point>>::new());
    }
}
