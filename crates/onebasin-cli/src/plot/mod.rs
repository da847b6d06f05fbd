//! Curves as a figure, as a terminal plot, and as a table.

mod figure;
mod table;
mod terminal;

use onebasin_core::report::{Curve, Report, Split};

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

/// How the lines of a report are drawn.
///
/// Two curves or fewer: a colour for each split, the naive curve dashed. More: a colour for each curve, grey for the naive
/// one, training dashed. The colours are told apart by most colour-blind readers.
struct Style<'r> {
    report: &'r Report,
}

/// Okabe and Ito's colours.
const PALETTE: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
const NAIVE: &str = "naive";

impl<'r> Style<'r> {
    fn of(report: &'r Report) -> Self {
        Self { report }
    }

    fn by_curve(&self) -> bool {
        self.report.curves.len() > 2
    }

    fn colour(&self, curve: &Curve, split: &str) -> &'static str {
        if !self.by_curve() {
            return PALETTE[usize::from(split != "train")];
        }
        if curve.name == NAIVE {
            return "#999999";
        }
        let others = self.report.curves.iter().filter(|c| c.name != NAIVE);
        PALETTE[others.take_while(|c| c.name != curve.name).count() % PALETTE.len()]
    }

    fn is_dashed(&self, curve: &Curve, split: &str) -> bool {
        if self.by_curve() { split == "train" } else { curve.name == NAIVE }
    }
}
