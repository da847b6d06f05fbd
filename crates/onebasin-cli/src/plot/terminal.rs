//! The loss on the test data as a terminal plot.

use kuva::backend::terminal::TerminalBackend;
use kuva::plot::LinePlot;
use kuva::render::layout::Layout;
use kuva::render::plots::Plot;
use kuva::render::render::render_multiple;
use onebasin_core::report::{Curve, Report};

use super::Style;

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
    let style = Style::of(report);
    let lines: Vec<Plot> = report.curves.iter().flat_map(|c| lines(c, &style)).collect();
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
    let names: Vec<String> = report.curves.iter().map(|c| format!("{} {}", mark(&style, c, colour), c.name)).collect();
    Some(format!("test loss from A (λ = 0) to B (λ = 1): {}\n{}\n", names.join(", "), rows.join("\n")))
}

/// The line of a curve in the legend.
fn mark(style: &Style<'_>, curve: &Curve, colour: bool) -> String {
    let line = if style.is_dashed(curve, "test") { "╌╌" } else { "──" };
    let hex = style.colour(curve, "test");
    let part = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap_or(0);
    if colour && style.by_curve() {
        format!("\x1b[38;2;{};{};{}m{line}\x1b[0m", part(1), part(3), part(5))
    } else {
        line.to_owned()
    }
}

/// The curve as one line, or as dashes: the terminal draws no broken lines, so the first half of every step is drawn.
fn lines(curve: &Curve, style: &Style<'_>) -> Vec<Plot> {
    let points: Vec<(f64, f64)> = curve.lambda.iter().copied().zip(curve.test.loss.iter().copied()).collect();
    let line = |points: Vec<(f64, f64)>, of: &str| Plot::Line(LinePlot::new().with_data(points).with_color(of));
    if style.by_curve() {
        return vec![line(points, style.colour(curve, "test"))];
    }
    if !style.is_dashed(curve, "test") {
        return vec![line(points, style.colour(curve, "train"))];
    }
    let half = |w: &[(f64, f64)]| vec![w[0], (0.5 * (w[0].0 + w[1].0), 0.5 * (w[0].1 + w[1].1))];
    points.windows(2).map(|w| line(half(w), style.colour(curve, "test"))).collect()
}
