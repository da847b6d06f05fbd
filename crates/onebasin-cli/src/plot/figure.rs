//! The figure: loss and accuracy along λ, train and test.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use kuva::backend::png::PngBackend;
use kuva::backend::svg::SvgBackend;
use kuva::plot::{LegendEntry, LegendShape, LinePlot, LineStyle};
use kuva::render::figure::Figure;
use kuva::render::layout::Layout;
use kuva::render::plots::Plot;
use kuva::render::render::Scene;
use onebasin_core::report::{Curve, Report, Split};

use super::{Style, splits};

enum Format {
    Svg,
    Png,
}

fn format(path: &Path) -> Result<Format> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("svg") => Ok(Format::Svg),
        Some("png") => Ok(Format::Png),
        _ => bail!("{}: a plot is a .svg or a .png file", path.display()),
    }
}

/// Passes only if the extension says a format that can be drawn.
pub fn check(path: &Path) -> Result<()> {
    format(path).map(|_| ())
}

/// The figure as a file's bytes, in the format of its extension.
pub fn render(path: &Path, report: &Report) -> Result<Vec<u8>> {
    let scene = figure(report);
    match format(path)? {
        Format::Svg => Ok(SvgBackend::new().render_scene(&scene).into_bytes()),
        Format::Png => {
            PngBackend::new().render_scene(&scene).map_err(|why| anyhow!("{}: cannot draw: {why}", path.display()))
        }
    }
}

fn figure(report: &Report) -> Scene {
    let panels = [("Loss", loss as fn(&Split) -> &[f64]), ("Accuracy", accuracy)];
    let plots: Vec<Vec<Plot>> = panels.iter().map(|(_, values)| lines(report, *values)).collect();
    let layouts = panels.iter().zip(&plots).map(|((title, _), plots)| {
        let layout = Layout::auto_from_plots(plots).with_title(*title).with_x_label("λ (0 is A, 1 is B)");
        let layout = layout.with_x_axis_min(0.0).with_x_axis_max(1.0).with_x_tick_step(0.25);
        if *title == "Loss" { layout.with_y_axis_min(0.0) } else { layout.with_y_axis_max(1.0) }
    });
    let layouts = layouts.collect();
    Figure::new(1, 2)
        .with_plots(plots)
        .with_layouts(layouts)
        .with_cell_size(460.0, 360.0)
        .with_shared_legend_entries(legend(report))
        .with_shared_legend_right_middle()
        .render()
}

fn dashes() -> LineStyle {
    LineStyle::Custom("7 5".to_owned())
}

fn loss(split: &Split) -> &[f64] {
    &split.loss
}

fn accuracy(split: &Split) -> &[f64] {
    &split.accuracy
}

fn lines(report: &Report, values: fn(&Split) -> &[f64]) -> Vec<Plot> {
    let style = Style::of(report);
    let line = |curve: &Curve, name: &str, split: &Split| {
        let points: Vec<(f64, f64)> = curve.lambda.iter().copied().zip(values(split).iter().copied()).collect();
        let line = LinePlot::new().with_data(points).with_color(style.colour(curve, name)).with_stroke_width(2.0);
        Plot::Line(if style.is_dashed(curve, name) { line.with_line_style(dashes()) } else { line })
    };
    report.curves.iter().flat_map(|c| splits(c).map(|(name, split)| line(c, name, split))).collect()
}

fn legend(report: &Report) -> Vec<LegendEntry> {
    let style = Style::of(report);
    let entry = |curve: &Curve, split: &str| LegendEntry {
        label: format!("{}, {split}", curve.name),
        color: style.colour(curve, split).to_owned(),
        shape: LegendShape::Line,
        dasharray: if style.is_dashed(curve, split) { dashes().dasharray() } else { None },
    };
    report.curves.iter().flat_map(|c| splits(c).map(|(name, _)| entry(c, name))).collect()
}
