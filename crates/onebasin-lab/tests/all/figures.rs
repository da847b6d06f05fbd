//! What figures and pages become, as bytes.

#[allow(dead_code, reason = "each test takes what it needs")]
use super::common;

use common::{HOSTILE, axis, barriers, figures, line, odd, page, plane};
use onebasin_lab::figure::{Colour, Figure, MapStyle, Panel, PlaneValues, Shape, Stroke};
use onebasin_lab::page::{Page, Section};

fn of(shape: Shape, log: bool) -> Figure {
    let panel = Panel { title: String::new(), x: axis("x", log), y: axis("y", log), shape };
    Figure { name: "one".to_owned(), title: "One".to_owned(), panels: vec![panel] }
}

fn field(x: Vec<f64>, y: Vec<f64>, values: Vec<f64>) -> PlaneValues {
    PlaneValues {
        label: "v".to_owned(),
        x,
        y,
        values,
        style: MapStyle::Contours,
        levels: 4,
        cap: None,
        log: false,
        marks: Vec::new(),
    }
}

fn html(figure: Figure) -> String {
    Page { sections: vec![Section { figures: vec![figure], ..Section::default() }], ..Page::default() }.html()
}

/// Rows of cells; what is in quotes may hold anything.
fn parse(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = csv.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty(), "the table ends in the middle");
    rows
}

#[test]
fn the_same_figure_gives_the_same_bytes() {
    for figure in figures() {
        let json = serde_json::to_string(&figure).expect("a figure can be written");
        let again: Figure = serde_json::from_str(&json).expect("and read");
        assert_eq!((again.svg(), again.csv()), (figure.svg(), figure.csv()));
        assert_eq!(figure.svg(), figure.clone().svg());
        assert_eq!(figure.csv(), figure.clone().csv());
        assert_eq!(figure.png(1.0).expect("a picture"), figure.clone().png(1.0).expect("a picture"));
        figure.check().expect("parts fit");
    }
    assert_eq!(page().html(), page().html());
}

#[test]
fn numbers_survive_the_table() {
    let figure = barriers();
    let rows = parse(&figure.csv());
    assert_eq!(rows[0], ["panel", "line", "x", "y", "low", "high"]);
    let mut rows = rows[1..].iter();
    for (at, panel) in figure.panels.iter().enumerate() {
        let Shape::Lines(lines) = &panel.shape else { panic!("lines") };
        for line in lines {
            for (i, (x, y)) in line.points.iter().enumerate() {
                let row = rows.next().expect("a row a point");
                assert_eq!(row[..2], [format!("{} {}", at + 1, panel.title), line.label.clone()]);
                assert_eq!((row[2].parse(), row[3].parse()), (Ok(*x), Ok(*y)));
                let ends = line.band.as_ref().map(|band| (Ok(band[i].0), Ok(band[i].1)));
                match ends {
                    Some(ends) => assert_eq!((row[4].parse(), row[5].parse()), ends),
                    None => assert_eq!(row[4..], ["", ""]),
                }
            }
        }
    }
    assert!(rows.next().is_none());

    let plane = plane();
    let rows = parse(&plane.csv());
    assert_eq!(rows[0], ["panel", "x", "y", "value"]);
    let Shape::Field(field) = &plane.panels[0].shape else { panic!("a field") };
    let (i, j) = (17, 23);
    let row = &rows[1 + j * field.x.len() + i];
    let value = field.values[j * field.x.len() + i];
    let found: Vec<f64> = row[1..].iter().map(|cell| cell.parse().expect("a number")).collect();
    assert_eq!(found, [field.x[i], field.y[j], value]);

    let rows = parse(&odd().csv());
    assert_eq!(rows[1][1], HOSTILE);
    assert!(rows.iter().any(|row| row[3] == "NaN"), "what diverged is in the table");
}

#[test]
fn what_json_lacks_is_saved_as_words() {
    let line =
        line("a", Colour::Grey, Stroke::Solid, |x| [f64::INFINITY, f64::NEG_INFINITY, f64::NAN][(2.0 * x) as usize]);
    let json = serde_json::to_string(&line).expect("it can be written");
    assert!(json.contains("\"inf\"") && json.contains("\"-inf\"") && json.contains("\"NaN\""), "{json}");
    let again: onebasin_lab::figure::Line = serde_json::from_str(&json).expect("and read");
    let bits = |points: &[(f64, f64)]| points.iter().map(|(x, y)| (x.to_bits(), y.to_string())).collect::<Vec<_>>();
    assert_eq!(bits(&again.points), bits(&line.points));
    let wrong =
        serde_json::from_str::<onebasin_lab::figure::Line>(&json.replace("-inf", "low")).expect_err("no number");
    assert!(wrong.to_string().contains("`low` is not a number"), "{wrong}");
}

#[test]
fn a_formula_is_no_formula_in_the_table() {
    let figure = of(Shape::Lines(vec![line("=1+1", Colour::Grey, Stroke::Solid, |x| x)]), false);
    assert_eq!(parse(&figure.csv())[1][1], "'=1+1");
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let says = |figure: Figure| {
        figure.png(0.5).expect("a picture");
        assert!(figure.svg().contains("No finite values"), "{}", figure.svg());
        assert!(html(figure).contains("No finite values"));
    };
    for log in [false, true] {
        says(of(Shape::Lines(Vec::new()), log));
        says(of(Shape::Lines(vec![line("a", Colour::Grey, Stroke::Solid, |_| f64::NEG_INFINITY)]), log));
        says(of(Shape::Field(field(vec![], vec![], vec![])), log));
        says(of(Shape::Field(field(vec![1.0, 2.0], vec![1.0, 2.0], vec![f64::NAN; 4])), log));
    }
    says(of(Shape::Lines(vec![line("a", Colour::Grey, Stroke::Solid, |x| -x)]), true));
    let none = Figure { panels: Vec::new(), ..barriers() };
    assert!(none.svg().starts_with("<svg") && none.csv() == "panel,line,x,y\n");
    html(none);
}

#[test]
fn nothing_that_can_be_written_down_breaks_a_drawing() {
    let odd = [f64::NAN, f64::INFINITY, -1e300, 9e299, -0.0, 5e-324, 1.0, 1.0 + 1e-15];
    for log in [false, true] {
        for a in odd {
            for b in odd {
                let mut curve = line("a", Colour::Hue(usize::MAX), Stroke::Dotted, |x| if x < 0.5 { a } else { b });
                curve.points.push((b, a));
                curve.band = Some(vec![(a, b); 3]);
                let curves = of(Shape::Lines(vec![curve]), log);
                let map = PlaneValues {
                    levels: usize::MAX,
                    cap: Some(a),
                    log,
                    ..field(vec![a, b, 3.0], vec![b, 2.0], vec![a, b, 1.0])
                };
                let cells = PlaneValues { style: MapStyle::Cells, levels: 0, ..map.clone() };
                for figure in [curves, of(Shape::Field(map), log), of(Shape::Field(cells), log)] {
                    let svg = figure.svg();
                    assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{a} and {b}, {log}:\n{svg}");
                    figure.csv();
                }
            }
        }
    }
}

#[test]
fn contradictions_are_named() {
    let mut figure = of(Shape::Field(field(vec![0.0, 1.0], vec![0.0, 1.0], vec![0.0; 3])), false);
    let said = figure.check().expect_err("a value is missing").to_string();
    assert_eq!(said, "figure `one`, panel 1: the field has 3 values, expected 4, one a place; write the figure again");
    figure.panels[0].shape = Shape::Field(field(vec![1.0, 1.0], vec![], vec![]));
    assert!(figure.check().expect_err("x does not rise").to_string().contains("1 before 1, expected rising numbers"));
    assert!(barriers().png(1e5).expect_err("too large").to_string().contains("smaller scale"));
}

#[test]
fn a_page_shows_hostile_names_and_obeys_none() {
    let html = page().html();
    assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("javascript:"));
    assert_eq!(html.matches("</style>").count(), 1);
    assert_eq!(html.matches("</title>").count(), 1);
    assert!(html.contains("&lt;script&gt;alert(1)"));
    assert!(!odd().svg().contains("<script"));
}

/// With `ONEBASIN_LOOK` naming a folder, leaves everything there to be looked at.
#[test]
fn pictures_are_left_where_they_are_asked_for() {
    let Some(folder) = std::env::var_os("ONEBASIN_LOOK").map(std::path::PathBuf::from) else { return };
    for figure in figures() {
        std::fs::write(folder.join(format!("{}.svg", figure.name)), figure.svg()).expect("room");
        std::fs::write(folder.join(format!("{}.png", figure.name)), figure.png(2.0).expect("a picture")).expect("room");
    }
}
