//! An overview as lines for a terminal.

use std::fmt::Write as _;

use onebasin_core::escaped;

use super::{Folded, Overview, Run, SeenTensor};

/// Groups that are listed; of more, the rest is summed.
const LISTED: usize = 40;

pub(super) fn text(overview: &Overview, width: usize, all: bool) -> String {
    let folded = overview.folded();
    let mut text = String::new();
    for run in &folded.runs {
        tensors(&mut text, overview, &folded, run, width, all);
    }
    if overview.known {
        groups(&mut text, overview, &folded, width, all);
        totals(&mut text, overview, width);
    }
    text
}

fn tensors(text: &mut String, overview: &Overview, folded: &Folded, run: &Run, width: usize, all: bool) {
    let period = run.layers.len();
    let told = if all { run.times } else { 1 };
    if run.times > 1 && !all {
        let what = match run.stem() {
            "" => counted(period, "layer"),
            stem => format!("{}, {}", escaped(stem), counted(period, "layer")),
        };
        lines(text, &format!("×{}: {what}", run.times), width, 0);
    }
    let indent = if run.times > 1 && !all { 2 } else { 0 };
    for (k, layer) in overview.layers[run.first..run.first + period * told].iter().enumerate() {
        if all {
            for tensor in layer.tensors.iter().map(|tensor| &overview.tensors[*tensor]) {
                line(text, &tensor.name, tensor, tensor.pattern.as_deref().unwrap_or_default(), width, 0);
            }
            continue;
        }
        let names = &run.layers[k];
        let named: Vec<(&SeenTensor, &String)> =
            layer.tensors.iter().map(|tensor| &overview.tensors[*tensor]).zip(&names.tensors).collect();
        for same in named.chunk_by(|a, b| a.0.is_like(b.0)) {
            let (tensor, first) = same[0];
            let others = same[1..].iter().map(|(_, name)| format!(", {}", names.within(name)));
            let pattern = tensor.pattern.as_deref().unwrap_or_default();
            let pattern = if run.times > 1 { folded.term(overview, pattern) } else { pattern.to_owned() };
            line(text, &others.fold(first.clone(), |all, name| all + &name), tensor, &pattern, width, indent);
        }
    }
}

/// A tensor: on one line where it fits.
fn line(text: &mut String, name: &str, tensor: &SeenTensor, pattern: &str, width: usize, indent: usize) {
    let name = if name.is_empty() { "\"\"".into() } else { escaped(name) };
    let what = format!("{} {:?}", tensor.dtype, tensor.shape);
    let warning = match tensor.not_finite {
        0 => String::new(),
        n => format!("  {n} values are not finite!"),
    };
    let whole = format!("{:indent$}{name:32}  {what:20}  {pattern}{warning}", "");
    if whole.chars().count() <= width {
        let _ = writeln!(text, "{}", whole.trim_end());
    } else {
        lines(text, &name, width, indent);
        lines(text, &format!("{what}  {pattern}{warning}"), width, indent + 2);
    }
}

fn groups(text: &mut String, overview: &Overview, folded: &Folded, width: usize, all: bool) {
    lines(text, &format!("{}, {} free units", counted(overview.groups.len(), "group"), overview.free_units), width, 0);
    let listed = if all { folded.kinds.len() } else { LISTED };
    for kind in folded.kinds.iter().take(listed) {
        let group = &overview.groups[kind.groups[0]];
        let units: usize = kind.groups.iter().map(|group| overview.groups[*group].units).sum();
        let mut product = group.size.to_string();
        if let Some(parent) = &group.parent {
            product = format!("{} {} × {product}", counted(group.copies, "copy"), by(&folded.term(overview, parent)));
        }
        if kind.groups.len() > 1 {
            product = format!("{} groups × {product}", kind.groups.len());
        }
        let units =
            if product == units.to_string() { counted(units, "unit") } else { format!("{product} = {units} units") };
        lines(text, &format!("{}: {units}", escaped(&kind.name)), width, 2);
    }
    let left: Vec<usize> = folded.kinds.iter().skip(listed).flat_map(|kind| kind.groups.iter().copied()).collect();
    if !left.is_empty() {
        let units: usize = left.iter().map(|group| overview.groups[*group].units).sum();
        lines(text, &format!("and {} more with {units} units (-v lists all)", left.len()), width, 2);
    }
}

fn totals(text: &mut String, overview: &Overview, width: usize) {
    let share = |share: super::Share| format!("{share} ({} of {})", share.free, share.all);
    lines(text, &format!("free places along axes: {}", share(overview.places)), width, 0);
    lines(text, &format!("free values: {}", share(overview.values)), width, 0);
    if overview.frozen.is_empty() {
        return;
    }
    lines(text, "frozen, by reason:", width, 0);
    for frozen in &overview.frozen {
        let sums = format!("{}, {}", counted(frozen.axes, "axis"), counted(frozen.places, "place"));
        lines(text, &format!("{sums}: {}", escaped(&frozen.why)), width, 2);
    }
}

/// Which units index a family.
fn by(parent: &str) -> String {
    format!("(one a unit of {})", escaped(parent))
}

fn counted(n: usize, what: &str) -> String {
    match (n, what) {
        (1, _) => format!("1 {what}"),
        (_, "copy") => format!("{n} copies"),
        (_, "axis") => format!("{n} axes"),
        (_, _) => format!("{n} {what}s"),
    }
}

/// Words in lines of at most `width`, those after the first further in; words are broken only where they are longer.
fn lines(text: &mut String, words: &str, width: usize, indent: usize) {
    let width = width.max(indent + 8);
    let mut column = indent;
    text.push_str(&" ".repeat(indent));
    for (k, word) in words.split(' ').enumerate() {
        let mut left: Vec<char> = word.chars().collect();
        if k > 0 && column + 1 + left.len() <= width {
            text.push(' ');
            column += 1;
        } else if k > 0 {
            text.push('\n');
            text.push_str(&" ".repeat(indent + 2));
            column = indent + 2;
        }
        while column + left.len() > width {
            let room = (width - column).max(1);
            let break_after = left[..room].iter().rposition(|c| "._/".contains(*c)).map_or(0, |at| at + 1);
            let rest = left.split_off(if break_after > room / 2 { break_after } else { room });
            text.extend(left);
            text.push('\n');
            text.push_str(&" ".repeat(indent + 2));
            column = indent + 2;
            left = rest;
        }
        column += left.len();
        text.extend(left);
    }
    text.push('\n');
}
