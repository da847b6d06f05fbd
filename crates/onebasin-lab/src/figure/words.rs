//! Words in a given number of columns, and a figure in words.

use super::{Figure, Panel, Shape, scale};

/// Text in lines of at most `width` characters, broken at spaces; what is longer than a line is cut.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => line.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| cut(line, width)).collect()
}

/// Text of at most `width` characters, ending in `…` if something is left out.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + if width > 0 { "…" } else { "" }
}

/// What every panel shows, and the range of every line, for readers who listen.
pub(super) fn described(figure: &Figure) -> String {
    figure.panels.iter().map(panel).collect::<Vec<_>>().join(" ")
}

fn panel(panel: &Panel) -> String {
    let title = if panel.title.is_empty() { String::new() } else { format!("{}: ", panel.title) };
    let ranges: Vec<String> = match &panel.shape {
        Shape::Lines(lines) => {
            let over = format!("{} over {}", panel.y.label, panel.x.label);
            let ys = |points: &[(f64, f64)]| range(points.iter().map(|p| p.1));
            let lines = lines.iter().map(|line| format!("{}: {}", line.label, ys(&line.points)));
            std::iter::once(over).chain(lines).collect()
        }
        Shape::Field(field) => {
            let over = format!("{} over {} and {}", field.label, panel.x.label, panel.y.label);
            vec![over, range(field.values.iter().copied())]
        }
    };
    format!("{title}{}.", ranges.join("; "))
}

/// Least and greatest of what can be placed.
fn range(values: impl Iterator<Item = f64> + Clone) -> String {
    let placed = values.filter(|v| scale::placeable(*v, false));
    match (placed.clone().reduce(f64::min), placed.reduce(f64::max)) {
        (Some(least), Some(greatest)) => format!("{} to {}", number(least), number(greatest)),
        _ => "nothing to draw".to_owned(),
    }
}

/// A number with four decimals, or in scientific form.
fn number(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) { format!("{value:.4}") } else { format!("{value:.3e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_no_wider_than_asked_for() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("λλλλλ", 4), ["λλλ…"]);
        assert_eq!(wrap("", 4), Vec::<String>::new());
        for width in 0..12 {
            assert!(wrap("words of some length", width).iter().all(|line| line.chars().count() <= width));
        }
    }
}
