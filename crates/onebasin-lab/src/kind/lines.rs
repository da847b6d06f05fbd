//! Curves of several pairs: their numbers, and how they are drawn and listed.

use std::collections::BTreeMap;

use onebasin_core::report::{Curve, Split};

use crate::error::Result;
use crate::figure::{Axis, Colour, Line, NAIVE, Panel, Stroke, along};
use crate::page::{ColumnAlign, PageTable};
use crate::plan::{Plan, Subject};
use crate::stage::{Net, Variant, line};
use crate::store::{Key, Store};

/// Lines of one method, one for every pair.
#[derive(Debug, Clone)]
pub(super) struct PlannedLines {
    pub name: String,
    pub lines: Vec<Key>,
}

/// The same, measured.
#[derive(Debug, Clone)]
pub(super) struct MeasuredLines {
    pub name: String,
    pub curves: Vec<Curve>,
}

/// Plans the naive line and one for every method, for all pairs.
pub(super) fn plan(
    plan: &Plan<'_>,
    subject: &Subject,
    pairs: &[[Net; 2]],
    methods: &[Variant],
    points: usize,
) -> Vec<PlannedLines> {
    let naive = pairs.iter().map(|[a, b]| plan.line(subject, a, b, points)).collect();
    let mut all = vec![PlannedLines { name: NAIVE.to_owned(), lines: naive }];
    for method in methods {
        let line = |[a, b]: &[Net; 2]| plan.line(subject, a, &plan.aligned(subject, a, b, *method), points);
        all.push(PlannedLines { name: method.name().to_owned(), lines: pairs.iter().map(line).collect() });
    }
    all
}

/// Reads what was planned.
pub(super) fn read(planned: &[PlannedLines], store: &Store) -> Result<Vec<MeasuredLines>> {
    let one = |p: &PlannedLines| {
        let curves = p.lines.iter().map(|key| store.read_json(key, line::CURVE)).collect::<Result<_>>()?;
        Ok(MeasuredLines { name: p.name.clone(), curves })
    };
    planned.iter().map(one).collect()
}

/// Mean, least and greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// The spread of a number over pairs.
pub(super) fn spread(values: impl IntoIterator<Item = f64>) -> Spread {
    let values: Vec<f64> = values.into_iter().collect();
    let of = |f: fn(f64, f64) -> f64| values.iter().copied().reduce(f).unwrap_or(f64::NAN);
    Spread { mean: values.iter().sum::<f64>() / values.len() as f64, low: of(f64::min), high: of(f64::max) }
}

/// How one number is had from a split of a curve.
type SplitNumber = fn(&Split) -> f64;

/// Numbers of a split of a curve, by name.
const NUMBERS: [(&str, SplitNumber); 9] = [
    ("barrier", |s| s.barrier.mean_ends),
    ("chord", |s| s.barrier.chord),
    ("middle", |s| Split::midpoint(&s.loss)),
    ("middle-accuracy", |s| Split::midpoint(&s.accuracy)),
    ("loss-a", |s| s.loss[0]),
    ("loss-b", |s| *s.loss.last().expect("a curve has two ends")),
    ("accuracy-a", |s| s.accuracy[0]),
    ("accuracy-b", |s| *s.accuracy.last().expect("a curve has two ends")),
    // How far the least accuracy on the way lies below the mean of the ends.
    ("accuracy-drop", |s| {
        let ends = 0.5 * (s.accuracy[0] + s.accuracy.last().expect("a curve has two ends"));
        ends - s.accuracy.iter().copied().fold(f64::INFINITY, f64::min)
    }),
];

impl MeasuredLines {
    /// The curves of one split.
    pub(super) fn split(&self, train: bool) -> impl Iterator<Item = &Split> {
        self.curves.iter().map(move |c| if train { &c.train } else { &c.test })
    }

    /// Adds means over pairs: `{prefix}{name}.test.barrier`, and with several pairs the least and greatest.
    fn put(&self, prefix: &str, values: &mut BTreeMap<String, f64>) {
        for (split, train) in [("train", true), ("test", false)] {
            for (number, of) in NUMBERS {
                let found = spread(self.split(train).map(of));
                let name = format!("{prefix}{}.{split}.{number}", self.name);
                if self.curves.len() > 1 {
                    values.insert(format!("{name}.low"), found.low);
                    values.insert(format!("{name}.high"), found.high);
                }
                values.insert(name, found.mean);
            }
        }
    }
}

/// Adds the means of all methods.
pub(super) fn put(all: &[MeasuredLines], prefix: &str, values: &mut BTreeMap<String, f64>) {
    for measured in all {
        measured.put(prefix, values);
    }
}

/// The colour of a method: grey for the naive curve, one each for the others.
pub(super) fn colour(at: usize, name: &str) -> Colour {
    if name == NAIVE { Colour::Grey } else { Colour::Hue(at.saturating_sub(1)) }
}

/// Loss and accuracy along λ: solid on test, dashed on training data; the band holds all pairs.
pub(super) fn panels(measured: &[MeasuredLines], title: &str) -> Vec<Panel> {
    let panel = |what: &str, of: fn(&Split) -> &[f64], y: Axis| {
        let mut lines = Vec::new();
        for (at, m) in measured.iter().enumerate() {
            for (split, style, train) in [("test", Stroke::Solid, false), ("train", Stroke::Dashed, true)] {
                let lambda = &m.curves[0].lambda;
                let over = |k: usize| spread(m.split(train).map(|s| of(s)[k]));
                let points: Vec<_> = lambda.iter().enumerate().map(|(k, l)| (*l, over(k).mean)).collect();
                let band = (m.curves.len() > 1 && !train)
                    .then(|| (0..lambda.len()).map(|k| (over(k).low, over(k).high)).collect());
                let label = format!("{}, {split}", m.name);
                lines.push(Line { label, points, band, style, colour: colour(at, &m.name), markers: false });
            }
        }
        let title = if title.is_empty() { what.to_owned() } else { format!("{title}: {}", what.to_lowercase()) };
        along(title, y, lines)
    };
    let loss = Axis { label: "cross-entropy, nats".to_owned(), from: Some(0.0), ..Axis::default() };
    let accuracy = Axis { label: "share classified right".to_owned(), to: Some(1.0), ..Axis::default() };
    vec![panel("Loss", |s| &s.loss, loss), panel("Accuracy", |s| &s.accuracy, accuracy)]
}

/// The table of barriers.
pub(super) fn table(caption: &str, measured: &[MeasuredLines]) -> PageTable {
    let number = |v: Spread| {
        if v.high > v.low { format!("{:.4} ({:.4} to {:.4})", v.mean, v.low, v.high) } else { format!("{:.4}", v.mean) }
    };
    let mut rows = Vec::new();
    for m in measured {
        for (split, train) in [("train", true), ("test", false)] {
            let of = |f: SplitNumber| spread(m.split(train).map(f));
            let percent = |f: SplitNumber| format!("{:.2} %", 100.0 * of(f).mean);
            rows.push(vec![
                m.name.clone(),
                split.to_owned(),
                number(of(NUMBERS[0].1)),
                number(of(NUMBERS[1].1)),
                format!("{:.4}", of(NUMBERS[4].1).mean),
                format!("{:.4}", of(NUMBERS[2].1).mean),
                format!("{:.4}", of(NUMBERS[5].1).mean),
                percent(NUMBERS[6].1),
                percent(NUMBERS[3].1),
                percent(NUMBERS[7].1),
            ]);
        }
    }
    let head = ["curve", "data", "barrier", "over the chord", "loss A", "middle", "B", "accuracy A", "middle", "B"];
    let align = [vec![ColumnAlign::Left; 2], vec![ColumnAlign::Right; 8]].concat();
    PageTable { caption: caption.to_owned(), head: head.map(str::to_owned).to_vec(), rows, align }
}
