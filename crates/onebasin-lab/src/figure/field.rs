//! Maps: filled contours or cells, places with names, and the bar that tells shades apart.

use super::drawing::{Anchor, Drawing, DrawnMark, Hand, Pen, Point, breadth, rectangle};
use super::palette::Ink;
use super::plot::{Axes, SIZE, WIDTH, frame};
use super::scale::AxisScale;
use super::{Axis, MapStyle, Panel, PlaneValues};

/// Height of the bar and of what is written below it.
const BAR: f64 = 12.0;
const BELOW_BAR: f64 = 22.0;

/// Values on a grid, as places on the scale of values: 0 is the least, 1 the greatest.
struct Grid<'f> {
    field: &'f PlaneValues,
    /// Row by row; nothing where there is no value.
    heights: Vec<Option<f64>>,
}

/// The map with its axes; nothing if there is no value to draw.
///
/// Both directions have one unit of length where their ratio leaves a readable shape.
pub(super) fn map(panel: &Panel, field: &PlaneValues) -> Option<Drawing> {
    let levels = field.levels.clamp(2, 24);
    let values = shades(field)?;
    let grid = Grid { field, heights: heights(field, &values) };
    let edges = |places: &[f64], log: bool| match field.style {
        MapStyle::Contours => places.to_vec(),
        MapStyle::Cells => {
            let each = (0..places.len()).flat_map(|i| <[f64; 2]>::from(cell(places, i, log)));
            each.collect()
        }
    };
    let x = AxisScale::of(&panel.x, edges(&field.x, panel.x.log).into_iter(), 0.0)?;
    let y = AxisScale::of(&panel.y, edges(&field.y, panel.y.log).into_iter(), 0.0)?;
    let ratio = if x.log || y.log { 0.75 } else { (y.high - y.low) / (x.high - x.low) };
    let height = (ratio.clamp(0.35, 1.1) * (WIDTH - 42.0)).round();
    let (mut drawing, axes) = frame(panel, x, y, height, false);
    drawing.marks.push(DrawnMark::Window { x: axes.left, y: axes.top, width: axes.width, height: axes.height });
    match field.style {
        MapStyle::Contours => contours(&mut drawing, &axes, &grid, levels),
        MapStyle::Cells => cells(&mut drawing, &axes, &grid, levels),
    }
    drawing.marks.push(DrawnMark::Wall);
    outline(&mut drawing, (axes.left, axes.top), (axes.width, axes.height));
    names(&mut drawing, &axes, field);
    bar(&mut drawing, field, &values, levels, &axes);
    Some(drawing)
}

/// The scale of values.
fn shades(field: &PlaneValues) -> Option<AxisScale> {
    let capped = field.values.iter().map(|v| field.cap.map_or(*v, |cap| if *v > cap { cap } else { *v }));
    let log = field.log && field.values.iter().all(|v| v.is_nan() || *v > 0.0);
    AxisScale::of(&Axis { log, to: field.cap, ..Axis::default() }, capped, 0.0)
}

fn heights(field: &PlaneValues, values: &AxisScale) -> Vec<Option<f64>> {
    let height = |v: &f64| match field.cap {
        Some(cap) if *v >= cap => Some(1.0),
        _ => values.place(*v).map(|h| h.clamp(0.0, 1.0)),
    };
    field.values.iter().map(height).collect()
}

/// From where to where the cell around a place reaches: half way to its neighbours.
fn cell(places: &[f64], i: usize, log: bool) -> (f64, f64) {
    let scale = |v: f64| if log { v.ln() } else { v };
    let (here, back) = (scale(places[i]), |v: f64| if log { v.exp() } else { v });
    let before = i.checked_sub(1).map(|j| here - scale(places[j]));
    let after = places.get(i + 1).map(|next| scale(*next) - here);
    let (before, after) = (before.or(after).unwrap_or(1.0), after.or(before).unwrap_or(1.0));
    (back(here - 0.5 * before), back(here + 0.5 * after))
}

impl Grid<'_> {
    fn height(&self, i: usize, j: usize) -> Option<f64> {
        self.heights.get(j * self.field.x.len() + i).copied().flatten()
    }

    /// The corners of the cell between four places, counter-clockwise, each with its height.
    fn corners(&self, axes: &Axes, i: usize, j: usize) -> Option<[(Point, f64); 4]> {
        let corner = |i: usize, j: usize| Some((axes.place(self.field.x[i], self.field.y[j])?, self.height(i, j)?));
        Some([corner(i, j)?, corner(i + 1, j)?, corner(i + 1, j + 1)?, corner(i, j + 1)?])
    }
}

/// For every level the area at or above it, over that of the level below, and the lines between them.
fn contours(drawing: &mut Drawing, axes: &Axes, grid: &Grid<'_>, levels: usize) {
    let (columns, rows) = (grid.field.x.len().saturating_sub(1), grid.field.y.len().saturating_sub(1));
    let cells = (0..rows).flat_map(|j| (0..columns).map(move |i| (i, j)));
    let cells: Vec<[(Point, f64); 4]> = cells.filter_map(|(i, j)| grid.corners(axes, i, j)).collect();
    let mut lines = Vec::new();
    for level in 0..levels {
        let threshold = level as f64 / levels as f64;
        let mut rings: Vec<Vec<Point>> = Vec::new();
        for corners in &cells {
            if level == 0 || corners.iter().all(|c| c.1 >= threshold) {
                rings.push(corners.map(|c| c.0).to_vec());
            } else {
                let (parts, cuts) = above(corners, threshold);
                rings.extend(parts);
                lines.extend(cuts);
            }
        }
        drawing.areas(rings, shade(level, levels), 1.0);
    }
    drawing.strokes(lines, Pen { opacity: 0.35, ..Pen::new(Ink::Ground, 0.6) });
}

/// The part of a cell at or above a height, interpolated along its edges, and the lines that bound it inside the cell.
///
/// Where opposite corners are above, the mean of all four says whether they are joined.
fn above(corners: &[(Point, f64); 4], height: f64) -> (Vec<Vec<Point>>, Vec<Vec<Point>>) {
    let high = corners.map(|c| c.1 >= height);
    let crossing = |a: usize| {
        let ((p, from), (q, to)) = (corners[a], corners[(a + 1) % 4]);
        let share = (height - from) / (to - from);
        (p.0 + share * (q.0 - p.0), p.1 + share * (q.1 - p.1))
    };
    let saddle = high[0] == high[2] && high[1] == high[3] && high[0] != high[1];
    if saddle {
        let joined = corners.iter().map(|c| c.1).sum::<f64>() / 4.0 >= height;
        let peaks = if high[0] { [0, 2] } else { [1, 3] };
        let triangles = peaks.map(|a| vec![corners[a].0, crossing(a), crossing((a + 3) % 4)]);
        if !joined {
            let cuts = triangles.iter().map(|t| t[1..].to_vec()).collect();
            return (triangles.to_vec(), cuts);
        }
        let [a, b] = peaks;
        let ring = vec![corners[a].0, crossing(a), crossing(a + 1), corners[b].0, crossing(b), crossing((b + 1) % 4)];
        let cuts = vec![ring[1..3].to_vec(), ring[4..6].to_vec()];
        return (vec![ring], cuts);
    }
    let mut ring = Vec::new();
    let mut cut = Vec::new();
    for a in 0..4 {
        if high[a] {
            ring.push(corners[a].0);
        }
        if high[a] != high[(a + 1) % 4] {
            ring.push(crossing(a));
            cut.push(crossing(a));
        }
    }
    if ring.len() < 3 { (Vec::new(), Vec::new()) } else { (vec![ring], vec![cut]) }
}

/// The ink of a level: the middle of its shades.
fn shade(level: usize, levels: usize) -> Ink {
    Ink::Shade(level as f64 / (levels - 1) as f64)
}

fn cells(drawing: &mut Drawing, axes: &Axes, grid: &Grid<'_>, levels: usize) {
    let mut rings: Vec<Vec<Vec<Point>>> = vec![Vec::new(); levels];
    for j in 0..grid.field.y.len() {
        for i in 0..grid.field.x.len() {
            let Some(height) = grid.height(i, j) else { continue };
            let ((west, east), (south, north)) =
                (cell(&grid.field.x, i, axes.x.log), cell(&grid.field.y, j, axes.y.log));
            let corners = [(west, south), (east, south), (east, north), (west, north)];
            let ring: Vec<Point> = corners.iter().filter_map(|(x, y)| axes.place(*x, *y)).collect();
            if ring.len() == 4 {
                rings[((height * levels as f64) as usize).min(levels - 1)].push(ring);
            }
        }
    }
    for (level, rings) in rings.into_iter().enumerate() {
        drawing.areas(rings, shade(level, levels), 1.0);
    }
}

/// Places with their names, each name on the side where the fewest others are.
fn names(drawing: &mut Drawing, axes: &Axes, field: &PlaneValues) {
    type Box = (f64, f64, f64, f64);
    let meets = |a: &Box, b: &Box| a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3;
    let size = SIZE + 1.5;
    let places: Vec<(Point, &str)> =
        field.marks.iter().filter_map(|m| Some((axes.place(m.x, m.y)?, m.label.as_str()))).collect();
    let inside =
        |b: &Box| b.0 >= axes.left && b.2 <= axes.left + axes.width && b.1 >= axes.top && b.3 <= axes.top + axes.height;
    let mut taken: Vec<Box> = places.iter().map(|((x, y), _)| (x - 4.0, y - 4.0, x + 4.0, y + 4.0)).collect();
    for (at, label) in &places {
        drawing.dot(*at, 4.0, Ink::Text, Ink::Ground);
        let wide = breadth(label, size);
        let sides = [
            ((at.0 + 8.0, at.1 - 5.0), Anchor::Start, 0.0),
            ((at.0 - 8.0, at.1 - 5.0), Anchor::End, -wide),
            ((at.0 + 8.0, at.1 + 15.0), Anchor::Start, 0.0),
            ((at.0 - 8.0, at.1 + 15.0), Anchor::End, -wide),
        ];
        let cost = |((x, y), _, shift): &(Point, Anchor, f64)| {
            let own = (x + shift, y - size, x + shift + wide, y + 3.0);
            (taken.iter().filter(|other| meets(&own, other)).count() + 3 * usize::from(!inside(&own)), own)
        };
        let best = sides.iter().map(|side| (cost(side), side)).min_by_key(|((cost, _), _)| *cost);
        if let Some(((_, own), (place, anchor, _))) = best {
            taken.push(own);
            let hand = Hand { halo: true, ..Hand::new(size, *anchor, Ink::Text).bold() };
            drawing.words(*place, *label, hand);
        }
    }
}

/// A thin frame.
fn outline(drawing: &mut Drawing, corner: Point, size: (f64, f64)) {
    let mut ring = rectangle(corner.0, corner.1, size.0, size.1);
    ring.push(ring[0]);
    drawing.strokes(vec![ring], Pen::new(Ink::Axis, 1.0));
}

/// What the shades mean: a bar below the axes, with numbers.
fn bar(drawing: &mut Drawing, field: &PlaneValues, values: &AxisScale, levels: usize, axes: &Axes) {
    let top = axes.bottom() + 26.0;
    let (left, width) = (axes.left, axes.width);
    if !field.label.is_empty() {
        drawing.words((left, top - 6.0), &*field.label, Hand::new(SIZE, Anchor::Start, Ink::Text));
    }
    let step = width / levels as f64;
    for level in 0..levels {
        let ring = rectangle(left + step * level as f64, top, step, BAR);
        drawing.areas(vec![ring], shade(level, levels), 1.0);
    }
    outline(drawing, (left, top), (width, BAR));
    for tick in values.ticks(4) {
        let Some(place) = values.place(tick.at) else { continue };
        let capped = field.cap.is_some_and(|cap| (tick.at - cap).abs() <= 1e-9 * cap.abs());
        let label = if capped { format!("≥ {}", tick.label) } else { tick.label };
        let half = breadth(&label, SIZE) / 2.0;
        let x = (left + place * width).clamp(half, WIDTH - half);
        drawing.words((x, top + BAR + 14.0), label, Hand::new(SIZE, Anchor::Middle, Ink::Faint));
    }
    drawing.height = top + BAR + BELOW_BAR;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(ring: &[Point]) -> f64 {
        let next = ring.iter().cycle().skip(1);
        ring.iter().zip(next).map(|(p, q)| p.0 * q.1 - q.0 * p.1).sum::<f64>() / 2.0
    }

    #[test]
    fn what_is_above_and_what_is_below_make_the_cell() {
        let places = rectangle(0.0, 0.0, 1.0, 1.0);
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        for _ in 0..1000 {
            let heights = [random(), random(), random(), random()];
            let level = 0.5 * random();
            let cell = |sign: f64| [0, 1, 2, 3].map(|a| (places[a], sign * heights[a]));
            let whole = |sign: f64| cell(sign).iter().all(|c| c.1 >= sign * level);
            if whole(1.0) || whole(-1.0) {
                continue;
            }
            let (up, cuts) = above(&cell(1.0), level);
            let (down, same) = above(&cell(-1.0), -level);
            assert!(up.iter().chain(&down).all(|ring| area(ring) >= 0.0), "{heights:?} at {level}");
            let sum: f64 = up.iter().chain(&down).map(|ring| area(ring)).sum();
            assert!((sum - 1.0).abs() < 64.0 * f64::EPSILON, "{heights:?} at {level}: {sum}");
            assert_eq!(cuts.len(), same.len());
        }
    }

    #[test]
    fn a_plane_is_cut_along_a_line() {
        let corners = [((0.0, 0.0), 0.0), ((1.0, 0.0), 1.0), ((1.0, 1.0), 1.0), ((0.0, 1.0), 0.0)];
        let (rings, cuts) = above(&corners, 0.25);
        assert_eq!(rings.iter().map(|ring| area(ring)).sum::<f64>(), 0.75);
        assert_eq!(cuts, [[(0.25, 0.0), (0.25, 1.0)]]);
    }
}
