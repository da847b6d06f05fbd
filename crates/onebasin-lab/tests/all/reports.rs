//! What a report becomes: a figure, its files, and text for a terminal.

use std::path::Path;

use onebasin_core::barrier::lambda_grid;
use onebasin_core::report::{Curve, Report, SCHEMA, Split};
use onebasin_lab::figure::{self, Shape};

/// A curve that rises from `least` by `rise` in the middle; its accuracy falls by as much of its tenth.
fn curve(name: &str, least: f64, rise: f64) -> Curve {
    let lambda = lambda_grid(25).expect("two ends");
    let bump = |l: &f64| (-(l - 0.5).powi(2) / 0.03).exp();
    let split = |shift: f64| {
        let loss = lambda.iter().map(|l| least + shift + rise * bump(l)).collect();
        let accuracy = lambda.iter().map(|l| 0.98 - shift - 0.1 * rise * bump(l)).collect();
        Split::new(&lambda, loss, accuracy).expect("finite losses")
    };
    let (train, test) = (split(0.0), split(0.02));
    Curve { name: name.to_owned(), lambda, train, test }
}

fn report(curves: Vec<Curve>) -> Report {
    Report {
        schema: SCHEMA.to_owned(),
        version: "0.0.0".to_owned(),
        inputs: Vec::new(),
        data: "digits".to_owned(),
        device: None,
        repair: None,
        matching: Vec::new(),
        curves,
    }
}

fn two() -> Report {
    report(vec![curve("naive", 0.06, 1.4), curve("aligned", 0.06, 0.02)])
}

/// The naive curve and seven methods that all do as well.
fn many() -> Report {
    let methods = ["auto", "weight", "spectral", "frank-wolfe", "greedy", "activation", "ste"];
    report([vec![curve("naive", 0.06, 1.4)], methods.map(|name| curve(name, 0.06, 0.02)).to_vec()].concat())
}

/// Without right answers.
fn speechless(mut of: Report) -> Report {
    for curve in &mut of.curves {
        curve.train.accuracy.clear();
        curve.test.accuracy.clear();
    }
    of
}

/// The rows between title, legend and axis.
fn rows(text: &str) -> Vec<&str> {
    text.lines().filter(|row| row.contains(['│', '┤'])).collect()
}

fn is_braille(c: char) -> bool {
    ('\u{2801}'..='\u{28ff}').contains(&c)
}

#[test]
fn a_report_in_a_terminal_is_this_text() {
    assert_eq!(figure::text(&two(), 60, false), include_str!("common/terminal.txt").trim_end_matches('\n'));
}

#[test]
fn the_lowest_line_stands_clear_of_the_axis() {
    for (report, width) in [(two(), 40), (two(), 80), (many(), 60)] {
        let text = figure::text(&report, width, false);
        let rows = rows(&text);
        let lowest = rows.iter().rposition(|row| row.contains(is_braille)).expect("lines");
        assert_eq!(lowest + 2, rows.len(), "one row is free:\n{text}");
        assert!(rows[lowest].matches(is_braille).count() > 20, "the aligned curve lies there:\n{text}");
        assert!(text.contains('└'), "the axis has a row of its own:\n{text}");
    }
}

#[test]
fn lines_are_told_apart_without_colour() {
    let text = figure::text(&two(), 80, false);
    let legend = text.lines().nth(1).expect("a legend");
    let (naive, aligned) = legend.split_once(" naive   ").expect("two entries");
    assert_ne!(naive, aligned.trim_end_matches(" aligned"), "{legend}");

    let text = figure::text(&many(), 76, false);
    let signs = ['o', 'x', '+', '*', '#', '%', '@'];
    let plot = rows(&text).concat();
    for sign in signs {
        assert!(plot.matches(sign).count() >= 2, "`{sign}` stands along its line:\n{text}");
        let piece = format!("⠒{sign}⠒⠒ ");
        assert_eq!(text.matches(&piece).count(), 1, "`{sign}` stands in the legend:\n{text}");
    }
}

#[test]
fn nothing_is_wider_than_the_terminal() {
    for report in [two(), many(), speechless(many()), report(Vec::new())] {
        for width in 1..130 {
            let text = figure::text(&report, width, false);
            let widest = text.lines().map(|row| row.chars().count()).max().unwrap_or(0);
            assert!(widest <= width, "{widest} columns in {width}:\n{text}");
            let drawn = text.contains('└');
            assert_eq!(drawn, width >= 40 && !report.curves.is_empty(), "{width}:\n{text}");
        }
    }
}

#[test]
fn colours_are_the_terminals_own() {
    let (plain, coloured) = (figure::text(&many(), 80, false), figure::text(&many(), 80, true));
    assert!(!plain.contains('\x1b'));
    let mut bare = String::new();
    for (at, part) in coloured.split('\x1b').enumerate() {
        let (code, rest) = if at == 0 { ("", part) } else { part.split_once('m').expect("a code ends") };
        assert!(at == 0 || ["[31", "[32", "[33", "[34", "[35", "[36", "[39"].contains(&code), "{code}");
        bare += rest;
    }
    let trimmed = |text: &str| text.lines().map(|row| row.trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(trimmed(&bare), trimmed(&plain));
}

#[test]
fn the_last_line_says_what_alignment_did() {
    let last = |report: &Report| figure::text(report, 80, false).lines().last().expect("a line").to_owned();
    assert_eq!(last(&two()), "accuracy in the middle: 82.0 % → 95.8 %");
    assert_eq!(last(&many()), "accuracy in the middle, ste: 82.0 % → 95.8 %");
    assert_eq!(last(&speechless(two())), "loss in the middle: 1.4800 → 0.1000");
    assert!(!figure::text(&report(vec![curve("naive", 0.1, 1.0)]), 80, false).contains("in the middle"));
}

#[test]
fn without_right_answers_there_is_no_accuracy() {
    let silent = speechless(two());
    assert!(!figure::text(&silent, 80, false).contains("acc"));
    let figure = figure::of_report(&silent);
    assert_eq!((figure.panels.len(), figure.title.as_str()), (1, "Loss from A to B"));
    assert_eq!(figure::of_report(&two()).panels.len(), 2);
    figure.png(1.0).expect("a picture");
}

#[test]
fn every_curve_and_split_is_a_line_of_its_own() {
    let figure = figure::of_report(&many());
    figure.check().expect("parts fit");
    for panel in &figure.panels {
        let Shape::Lines(lines) = &panel.shape else { panic!("lines") };
        assert_eq!(lines.len(), 16);
        for (at, line) in lines.iter().enumerate().take(14) {
            assert!(
                lines[..at].iter().all(|other| (other.style, other.colour) != (line.style, line.colour)),
                "{line:?}"
            );
        }
    }
}

#[test]
fn files_scale_and_follow_light_and_dark() {
    let file = |name: &str| figure::render(Path::new(name), &figure::of_report(&two())).expect("a picture");
    assert!(file("f.png").starts_with(b"\x89PNG"));
    let svg = String::from_utf8(file("f.svg")).expect("text");
    assert!(svg.starts_with("<svg xmlns=") && svg.contains(" viewBox=\"0 0 776 "), "{svg}");
    assert!(svg.contains("style=\"max-width:100%;height:auto\""), "{svg}");
    assert!(svg.contains("<title>Loss and accuracy from A to B</title>"), "{svg}");
    assert!(svg.contains("<desc>Loss: cross-entropy, nats over λ (0 is A, 1 is B); naive, train: 0.06"), "{svg}");
    assert!(svg.contains("@media screen and (prefers-color-scheme:dark)"), "{svg}");
    assert!(svg.contains(">naive, test</text>") && svg.contains(">aligned, train</text>"), "{svg}");
    for black in ["#000", "black", "rgb("] {
        assert!(!svg.contains(black), "{black}:\n{svg}");
    }
    let drawn = svg.split_once("</style>").expect("a style sheet").1;
    for mark in drawn.lines().filter(|l| ["<path", "<text", "<circle"].iter().any(|m| l.starts_with(m))) {
        assert!(mark.contains(" class=\"") && (mark.contains(" fill=") || mark.contains(" stroke=")), "{mark}");
    }
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    figure::check(Path::new("f.svg")).expect("a format");
    for name in ["f.pdf", "f", "f.SVG"] {
        let said = figure::render(Path::new(name), &figure::of_report(&two())).expect_err("no format").to_string();
        assert_eq!(said, format!("{name}: a plot is a .svg or a .png file"));
        figure::check(Path::new(name)).expect_err("no format");
    }
}

/// With `ONEBASIN_LOOK` naming a folder, leaves everything there to be looked at.
#[test]
fn pictures_are_left_where_they_are_asked_for() {
    let Some(folder) = std::env::var_os("ONEBASIN_LOOK").map(std::path::PathBuf::from) else { return };
    for (name, report) in [("two", two()), ("many", many())] {
        for extension in ["svg", "png"] {
            let path = folder.join(format!("report-{name}.{extension}"));
            std::fs::write(&path, figure::render(&path, &figure::of_report(&report)).expect("a picture"))
                .expect("room");
        }
        std::fs::write(folder.join(format!("report-{name}.txt")), figure::text(&report, 80, true)).expect("room");
    }
}
