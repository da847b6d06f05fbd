//! Curves as a figure, as a terminal plot, and as a table.

mod figure;
mod table;
mod terminal;

use onebasin::report::{Curve, Report, Split};

pub use figure::{check, render};
use table::table;

/// The table and, where the terminal is wide enough, the plot of the loss on the test data.
pub fn text(report: &Report, width: usize, colour: bool) -> String {
    terminal::plot(report, width, colour).map_or_else(String::new, |plot| plot + "\n") + &table(report, width)
}

/// The splits of a curve, named.
fn splits(curve: &Curve) -> [(&'static str, &Split); 2] {
    [("train", &curve.train), ("test", &curve.test)]
}

/// How the lines of a curve are drawn: the naive one is dashed.
fn is_dashed(curve: &Curve) -> bool {
    curve.name == "naive"
}

/// Colours of the splits, as red, green and blue: told apart by most colour-blind readers, and in grey.
fn colour_of(split: &str) -> &'static str {
    if split == "train" { "#0072b2" } else { "#d55e00" }
}
