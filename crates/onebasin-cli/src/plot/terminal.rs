//! The loss on the test data as a terminal plot.

use kuva::backend::terminal::TerminalBackend;
use kuva::plot::LinePlot;
use kuva::render::layout::Layout;
use kuva::render::plots::Plot;
use kuva::render::render::render_multiple;
use onebasin::report::{Curve, Report};

use super::{colour_of, is_dashed};

/// Columns below which axes and their numbers leave no room for lines.
const NARROWEST: usize = 40;
const WIDEST: usize = 76;
const ROWS: usize = 16;

/// The plot, if the terminal is wide enough for one.
pub fn plot(report: &Report, width: usize, colour: bool) -> Option<String> {
    if width < NARROWEST {
        return None;
    }
    let columns = width.min(WIDEST);
    let lines: Vec<Plot> = report.curves.iter().flat_map(lines).collect();
    let layout = Layout::auto_from_plots(&lines)
        .with_width(8.0 * columns as f64)
        .with_height(16.0 * ROWS as f64)
        .with_term_rows(ROWS as u32)
        .with_show_grid(false)
        .with_y_axis_min(0.0)
        .with_x_axis_min(0.0)
        .with_x_axis_max(1.0)
        .with_x_tick_step(0.25);
    let drawn = TerminalBackend::new(columns, ROWS).render_scene(&render_multiple(lines, layout));
    let drawn = if colour { drawn } else { console::strip_ansi_codes(&drawn).into_owned() };
    let rows: Vec<&str> = drawn.lines().map(str::trim_end).filter(|row| !row.is_empty()).collect();
    let names: Vec<String> =
        report.curves.iter().map(|c| format!("{} {}", if is_dashed(c) { "╌╌" } else { "──" }, c.name)).collect();
    Some(format!("test loss from A (λ = 0) to B (λ = 1): {}\n{}\n", names.join(", "), rows.join("\n")))
}

/// The curve as one line, or as dashes: the terminal draws no broken lines, so the first half of every step is drawn.
fn lines(curve: &Curve) -> Vec<Plot> {
    let points: Vec<(f64, f64)> = curve.lambda.iter().copied().zip(curve.test.loss.iter().copied()).collect();
    let line =
        |points: Vec<(f64, f64)>, of: &str| Plot::Line(LinePlot::new().with_data(points).with_color(colour_of(of)));
    if !is_dashed(curve) {
        return vec![line(points, "train")];
    }
    let half = |w: &[(f64, f64)]| vec![w[0], (0.5 * (w[0].0 + w[1].0), 0.5 * (w[0].1 + w[1].1))];
    points.windows(2).map(|w| line(half(w), "test")).collect()
}
