//! A page with everything that a page can hold.

use onebasin_lab::figure::{Axis, Colour, Figure, Line, MapStyle, Mark, Panel, PlaneValues, Shape, Stroke};
use onebasin_lab::page::{ColumnAlign, Page, PageTable, Section};

pub(crate) const HOSTILE: &str =
    "</title></style></svg><script>alert(1)</script>\"'&<img src=http://example.invalid/x.png>";

pub(crate) fn axis(label: &str, log: bool) -> Axis {
    Axis { label: label.to_owned(), log, ..Axis::default() }
}

pub(crate) fn line(label: &str, colour: Colour, style: Stroke, f: impl Fn(f64) -> f64) -> Line {
    let points = (0..=24).map(|i| f64::from(i) / 24.0).map(|x| (x, f(x))).collect();
    Line { label: label.to_owned(), points, band: None, style, colour, markers: false }
}

fn bump(x: f64) -> f64 {
    (-(x - 0.5).powi(2) / 0.03).exp()
}

/// Loss and accuracy along λ, as the paper has them.
pub(crate) fn barriers() -> Figure {
    let lambda = || Axis { from: Some(0.0), to: Some(1.0), ..axis("λ, from A (0) to B (1)", false) };
    let mut banded = line("weight matching, test", Colour::Hue(0), Stroke::Solid, |x| 0.08 + 0.02 * bump(x));
    banded.band = Some(banded.points.iter().map(|(_, y)| (y - 0.03, y + 0.05)).collect());
    let lines = |at: f64, up: f64| {
        vec![
            line("naive, test", Colour::Grey, Stroke::Solid, |x| at + up * bump(x)),
            line("naive, train", Colour::Grey, Stroke::Dashed, |x| at - 0.02 + 0.95 * up * bump(x)),
            line("activation matching, test", Colour::Hue(1), Stroke::Solid, |x| at + 0.25 * up * bump(x)),
            line("straight-through estimator, test", Colour::Hue(2), Stroke::Dotted, |x| at + 0.05 * up * bump(x)),
        ]
    };
    let mut loss = lines(0.08, 1.7);
    loss.push(banded);
    let mut accuracy = lines(0.98, -0.6);
    accuracy.push(Line {
        band: Some(vec![(0.97, 0.985); 25]),
        ..line("weight matching, test", Colour::Hue(0), Stroke::Solid, |_| 0.978)
    });
    let panel = |title: &str, y: &str, lines| Panel {
        title: title.to_owned(),
        x: lambda(),
        y: axis(y, false),
        shape: Shape::Lines(lines),
    };
    Figure {
        name: "barriers".to_owned(),
        title: "Loss and accuracy on the straight line between two networks trained on MNIST from different seeds."
            .to_owned(),
        panels: vec![panel("Loss", "Cross-entropy", loss), panel("Accuracy", "Fraction correct", accuracy)],
    }
}

/// Lines over logarithmic axes, with markers and gaps, and all hues.
pub(crate) fn widths() -> Figure {
    let lines = (0..6).map(|hue| {
        let points = (3..=12).map(|k| 2f64.powi(k));
        let value = |w: f64| if hue == 2 && w == 64.0 { f64::NAN } else { 3.0 * (1.0 + hue as f64) / w };
        let points = points.map(|w| (w, value(w))).collect();
        Line { points, markers: true, ..line(&format!("depth {}", hue + 1), Colour::Hue(hue), Stroke::Solid, |x| x) }
    });
    let shape = Shape::Lines(lines.collect());
    let panel =
        Panel { title: String::new(), x: axis("Width of the hidden layers", true), y: axis("Barrier", true), shape };
    Figure {
        name: "widths".to_owned(),
        title: "The barrier falls as networks grow wider.".to_owned(),
        panels: vec![panel],
    }
}

/// The plane through A, B and π(B).
pub(crate) fn plane() -> Figure {
    let grid = |n: usize, from: f64, to: f64| {
        (0..n).map(|i| from + (to - from) * i as f64 / (n - 1) as f64).collect::<Vec<f64>>()
    };
    let (x, y) = (grid(49, -0.35, 1.35), grid(41, -0.4, 1.1));
    let basin = |x: f64, y: f64, a: f64, b: f64, size: f64| ((x - a).powi(2) + (y - b).powi(2)) / size;
    let loss = |x: f64, y: f64| {
        let along = if (0.0..=0.62).contains(&x) { y.powi(2) / 0.05 } else { f64::INFINITY };
        let least =
            basin(x, y, 0.0, 0.0, 0.05).min(basin(x, y, 1.0, 0.75, 0.06)).min(basin(x, y, 0.62, 0.0, 0.05)).min(along);
        0.02 + 1.1 * least + 0.1 * (7.0 * x).sin().powi(2) * (5.0 * y).cos().powi(2)
    };
    let values: Vec<f64> = y.iter().flat_map(|y| x.iter().map(move |x| loss(*x, *y))).collect();
    let mark = |label: &str, x: f64, y: f64| Mark { label: label.to_owned(), x, y };
    let marks = vec![mark("A", 0.0, 0.0), mark("B", 1.0, 0.75), mark("π(B)", 0.62, 0.0)];
    let field = PlaneValues {
        label: "Loss on the training data".to_owned(),
        x,
        y,
        values,
        style: MapStyle::Contours,
        levels: 12,
        cap: Some(2.0),
        log: false,
        marks,
    };
    let size = 12;
    let cell = |i: usize, j: usize| if (i, j) == (3, 8) { f64::NAN } else { (1.0 + i.abs_diff(j) as f64).recip() };
    let matrix = PlaneValues {
        label: "Similarity".to_owned(),
        x: (0..size).map(|i| i as f64).collect(),
        y: (0..size).map(|i| i as f64).collect(),
        values: (0..size * size).map(|at| cell(at % size, at / size)).collect(),
        style: MapStyle::Cells,
        levels: 16,
        cap: None,
        log: true,
        marks: Vec::new(),
    };
    let panels = vec![
        Panel {
            title: "The plane through A, B and π(B)".to_owned(),
            x: axis("Along A to B", false),
            y: axis("Across", false),
            shape: Shape::Field(field),
        },
        Panel {
            title: "Units of one layer".to_owned(),
            x: axis("Unit of A", false),
            y: axis("Unit of B", false),
            shape: Shape::Field(matrix),
        },
    ];
    Figure {
        name: "plane".to_owned(),
        title: "One basin. The permuted network π(B) lies in the basin of A; B does not.".to_owned(),
        panels,
    }
}

/// Three panels: a hostile name, nothing to draw, one point.
pub(crate) fn odd() -> Figure {
    let nothing = vec![line("nothing", Colour::Hue(3), Stroke::Solid, |_| f64::NAN)];
    let hostile = vec![line(HOSTILE, Colour::Hue(0), Stroke::Dashed, |x| 1e6 * x * x)];
    let one = Line { points: vec![(1e-9, -3e5)], ..line("one point", Colour::Hue(4), Stroke::Solid, |x| x) };
    let panel = |title: &str, lines| Panel {
        title: title.to_owned(),
        x: axis(title, false),
        y: axis(title, false),
        shape: Shape::Lines(lines),
    };
    let panels = vec![panel(HOSTILE, hostile), panel("Nothing", nothing), panel("One point", vec![one])];
    Figure { name: "odd".to_owned(), title: format!("Oddities: {HOSTILE}"), panels }
}

pub(crate) fn figures() -> Vec<Figure> {
    vec![barriers(), widths(), plane(), odd()]
}

pub(crate) fn page() -> Page {
    let text = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<String>>();
    let table = PageTable {
        caption: "Accuracy of the midpoint, in percent. Ours are means of five pairs.".to_owned(),
        head: text(&["Network", "Data", "Method", "Paper", "Here", "Difference", "Holds"]),
        rows: vec![
            text(&["MLP, 3 × 512", "MNIST", "weight matching", "98.32", "98.29", "−0.03", "yes"]),
            text(&["ResNet20, 32 times as wide", "CIFAR-10", "weight matching", "94.10", "93.87", "−0.23", "yes"]),
            text(&["VGG16, LayerNorm", "CIFAR-10", "straight-through estimator", "90.04", "9.98", "−80.06", "no"]),
            text(&[HOSTILE, "—"]),
        ],
        align: vec![
            ColumnAlign::Left,
            ColumnAlign::Left,
            ColumnAlign::Left,
            ColumnAlign::Right,
            ColumnAlign::Right,
            ColumnAlign::Right,
            ColumnAlign::Centre,
        ],
    };
    let small = PageTable {
        caption: "Seeds.".to_owned(),
        head: text(&["Network", "Seed"]),
        rows: vec![text(&["A", "0"]), text(&["B", "1"])],
        align: vec![ColumnAlign::Left, ColumnAlign::Right],
    };
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let words = "Two networks that were trained from different seeds compute much the same function with their units numbered differently. Averaging their weights as they are ruins both; after one of them is renumbered the loss stays low all the way from one to the other.";
    Page {
        title: "Git Re-Basin, reproduced: one basin for networks modulo permutation symmetries".to_owned(),
        lead: "Every figure and table of the paper, made again from the data upwards, beside the paper’s own numbers."
            .to_owned(),
        sections: vec![
            Section {
                title: "Barriers between networks".to_owned(),
                text: text(&[words, words]),
                figures: vec![barriers()],
                tables: vec![table, small],
                ..Section::default()
            },
            Section { title: "Width".to_owned(), text: text(&[words]), figures: vec![widths()], ..Section::default() },
            Section {
                title: "The loss around them".to_owned(),
                text: text(&[words]),
                figures: vec![plane()],
                ..Section::default()
            },
            Section {
                title: format!("Oddities {HOSTILE}"),
                text: text(&[HOSTILE, &"unbreakable".repeat(20)]),
                figures: vec![odd()],
                facts: vec![
                    fact(
                        "Command",
                        "onebasin barrier a.safetensors b.safetensors --data mnist:DIR --method weight,activation,ste -o report.json --plot figure.svg",
                    ),
                    fact("SHA-256 of a.safetensors", &"0123456789abcdef".repeat(4)),
                    fact("Hardware", "2 cores, no GPU"),
                    fact("Name", HOSTILE),
                ],
                ..Section::default()
            },
        ],
    }
}
