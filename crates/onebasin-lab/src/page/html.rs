//! Values to HTML.

use std::fmt::Write as _;

use super::{ColumnAlign, Page, PageTable, Section};
use crate::figure::{self, Figure, LegendEntry, Legends, escape};

/// What a page may do: use the styles and pictures that it carries.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// From how many sections on there is a table of contents.
const LONG: usize = 3;

/// Up to how many characters a cell of a table stands on one line.
const SHORT: usize = 28;

/// How many figures and tables there were so far.
#[derive(Default)]
struct Count {
    figures: usize,
    tables: usize,
}

/// The whole file.
pub(super) fn document(page: &Page) -> String {
    let mut html = heading(&page.title, &page.lead, &(figure::style() + include_str!("style.css")));
    contents(&mut html, page);
    let mut count = Count::default();
    for (at, part) in page.sections.iter().enumerate() {
        section(&mut html, part, at + 1, &mut count);
    }
    html + ending()
}

/// All of a file up to its title and lead.
pub(super) fn heading(title: &str, lead: &str, style: &str) -> String {
    let title = escape(title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>{title}</h1>\n"
    );
    if !lead.is_empty() {
        let _ = writeln!(html, "<p class=\"lead\">{}</p>", escape(lead));
    }
    html + "</header>\n"
}

/// What closes a file.
pub(super) fn ending() -> &'static str {
    "</main>\n</body>\n</html>\n"
}

fn contents(html: &mut String, page: &Page) {
    if page.sections.len() < LONG {
        return;
    }
    html.push_str("<nav aria-label=\"Contents\">\n<ol>\n");
    for (at, part) in page.sections.iter().enumerate() {
        let _ = writeln!(html, "<li><a href=\"#section-{}\">{}</a></li>", at + 1, escape(&part.title));
    }
    html.push_str("</ol>\n</nav>\n");
}

fn section(html: &mut String, part: &Section, number: usize, count: &mut Count) {
    let _ = writeln!(html, "<section id=\"section-{number}\">\n<h2>{}</h2>", escape(&part.title));
    for paragraph in &part.text {
        let _ = writeln!(html, "<p>{}</p>", escape(paragraph));
    }
    for shown in &part.figures {
        count.figures += 1;
        drawn(html, shown, count.figures);
    }
    for shown in &part.tables {
        count.tables += 1;
        table(html, shown, count.tables);
    }
    if !part.facts.is_empty() {
        html.push_str("<dl class=\"facts\">\n");
        for (name, value) in &part.facts {
            let _ = writeln!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), unbroken(value));
        }
        html.push_str("</dl>\n");
    }
    html.push_str("</section>\n");
}

/// Text whose words are broken only where they are longer than a line, not at their hyphens.
fn unbroken(text: &str) -> String {
    let word = |word: &str| match word.trim_end() {
        bare if bare.contains('-') => format!("<span>{}</span>{}", escape(bare), escape(&word[bare.len()..])),
        _ => escape(word),
    };
    text.split_inclusive(char::is_whitespace).map(word).collect()
}

/// A figure: its panels flow, each with its title and legend; a legend that all share stands below them.
fn drawn(html: &mut String, figure: &Figure, number: usize) {
    let (shared, each) = match figure::legends(figure) {
        Legends::Shared(entries) => (entries, Vec::new()),
        Legends::Each(each) => (Vec::new(), each),
    };
    let across = match figure.panels.len() {
        4 => 2,
        n => n.clamp(1, 3),
    };
    let _ = writeln!(html, "<figure id=\"figure-{number}\" class=\"drawn across-{across}\">\n<div class=\"panels\">");
    for (at, panel) in figure.panels.iter().enumerate() {
        html.push_str("<div class=\"panel\">\n");
        if !panel.title.is_empty() {
            let _ = writeln!(html, "<p class=\"panel-title\">{}</p>", escape(&panel.title));
        }
        let label = if panel.title.is_empty() { &figure.title } else { &panel.title };
        let label = format!("{label}: {} against {}", measured(panel), panel.x.label);
        let _ = writeln!(html, "{}", figure::inline(panel, &label));
        legend(html, each.get(at).map_or(&[], Vec::as_slice));
        html.push_str("</div>\n");
    }
    html.push_str("</div>\n");
    legend(html, &shared);
    caption(html, "Figure", number, &figure.title);
    html.push_str("</figure>\n");
}

/// What the panel shows along y, or as shades.
fn measured(panel: &figure::Panel) -> &str {
    match &panel.shape {
        figure::Shape::Field(field) => &field.label,
        figure::Shape::Lines(_) => &panel.y.label,
    }
}

fn legend(html: &mut String, entries: &[LegendEntry]) {
    if entries.is_empty() {
        return;
    }
    html.push_str("<ul class=\"legend\">\n");
    for entry in entries {
        let _ = writeln!(html, "<li>{}<span>{}</span></li>", figure::swatch(entry), escape(&entry.label));
    }
    html.push_str("</ul>\n");
}

fn caption(html: &mut String, kind: &str, number: usize, text: &str) {
    let _ = writeln!(html, "<figcaption><b>{kind} {number}.</b> {}</figcaption>", escape(text));
}

/// A table, its caption above it; one that is too wide scrolls by itself.
fn table(html: &mut String, table: &PageTable, number: usize) {
    let _ = writeln!(html, "<figure id=\"table-{number}\" class=\"tabled\">");
    caption(html, "Table", number, &table.caption);
    let _ = writeln!(
        html,
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Table {number}\">\n<table>\n<thead>"
    );
    row(html, &table.head, "th scope=\"col\"", &table.align);
    html.push_str("</thead>\n<tbody>\n");
    for cells in &table.rows {
        let missing = table.head.len().saturating_sub(cells.len());
        let cells: Vec<String> = cells.iter().cloned().chain(std::iter::repeat_n(String::new(), missing)).collect();
        row(html, &cells, "td", &table.align);
    }
    html.push_str("</tbody>\n</table>\n</div>\n</figure>\n");
}

fn row(html: &mut String, cells: &[String], tag: &str, align: &[ColumnAlign]) {
    let end = &tag[..2];
    html.push_str("<tr>");
    for (at, cell) in cells.iter().enumerate() {
        let class = match align.get(at) {
            Some(ColumnAlign::Right) => "right",
            Some(ColumnAlign::Centre) => "centre",
            _ if cell.chars().count() <= SHORT => "short",
            _ => "long",
        };
        let _ = write!(html, "<{tag} class=\"{class}\">{}</{end}>", escape(cell));
    }
    html.push_str("</tr>\n");
}
