//! Networks side by side: loss, accuracy, the five best classes, calibration.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::figure::{Axis, Colour, Figure, Line, Panel, Shape, Stroke};
use crate::page::{ColumnAlign, PageTable};
use crate::stage::score::{self, Worth};
use crate::store::{Key, Store};

/// Reads what was scored, with names.
pub(super) fn read(planned: &[(String, Key)], store: &Store) -> Result<Vec<(String, Worth)>> {
    planned.iter().map(|(name, key)| Ok((name.clone(), store.read_json(key, score::SCORES)?))).collect()
}

/// Adds `{name}.test.loss` and its like.
pub(super) fn put(all: &[(String, Worth)], values: &mut BTreeMap<String, f64>) {
    for (name, worth) in all {
        for (split, s) in [("train", worth.train), ("test", worth.test)] {
            let numbers = [
                ("loss", s.loss),
                ("accuracy", s.accuracy),
                ("top-five", s.top_five),
                ("calibration-error", s.calibration_error),
            ];
            for (number, value) in numbers {
                values.insert(format!("{name}.{split}.{number}"), value);
            }
        }
    }
}

/// The table of all.
pub(super) fn table(caption: &str, all: &[(String, Worth)]) -> PageTable {
    let percent = |v: f64| format!("{:.2} %", 100.0 * v);
    let row = |(name, w): &(String, Worth)| {
        vec![
            name.clone(),
            format!("{:.4}", w.train.loss),
            percent(w.train.accuracy),
            format!("{:.4}", w.test.loss),
            percent(w.test.accuracy),
            percent(w.test.top_five),
            percent(w.test.calibration_error),
        ]
    };
    let head = ["network", "train loss", "accuracy", "test loss", "accuracy", "five best", "calibration error"];
    let align = [vec![ColumnAlign::Left], vec![ColumnAlign::Right; 6]].concat();
    PageTable {
        caption: caption.to_owned(),
        head: head.map(str::to_owned).to_vec(),
        rows: all.iter().map(row).collect(),
        align,
    }
}

/// How often predictions are right by their confidence; bins with fewer than a hundredth of the samples are left out.
pub(super) fn reliability(all: &[(String, Worth)]) -> Figure {
    let line = |(k, (name, worth)): (usize, &(String, Worth))| {
        let samples: usize = worth.reliability.iter().map(|b| b.samples).sum();
        let bins = worth.reliability.iter().filter(|b| 100 * b.samples >= samples && b.samples > 0);
        Line {
            label: name.clone(),
            points: bins.map(|b| (b.confidence, b.accuracy)).collect(),
            band: None,
            style: Stroke::Solid,
            colour: Colour::Hue(k),
            markers: true,
        }
    };
    let mut lines: Vec<Line> = all.iter().enumerate().map(line).collect();
    lines.insert(
        0,
        Line {
            label: "calibrated".to_owned(),
            points: vec![(0.0, 0.0), (1.0, 1.0)],
            band: None,
            style: Stroke::Dotted,
            colour: Colour::Grey,
            markers: false,
        },
    );
    let axis = |label: &str| Axis { label: label.to_owned(), from: Some(0.0), to: Some(1.0), ..Axis::default() };
    Figure {
        name: "reliability".to_owned(),
        title: "How often predictions are right, by their confidence (test data)".to_owned(),
        panels: vec![Panel {
            title: String::new(),
            x: axis("confidence"),
            y: axis("share classified right"),
            shape: Shape::Lines(lines),
        }],
    }
}
