//! A network as a page: its layers in order, what their axes are made of, and what holds the rest in place.
//!
//! A part of an axis is filled with the colour and the texture of its kind of group; what stays is an empty frame. Names and
//! numbers stand in words beside it. What an axis says under a pointer or with the focus is text of the page, where a reader
//! who listens meets it in its place.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use onebasin::core::escaped;
use onebasin::{AxisPart, Folded, Overview, Run, SeenAxis, SeenTensor};

use super::html::{ending, heading};
use crate::figure::{self, escape};

/// Hues that marks have, and textures over them: together the kinds of groups that look different.
const MARKS: usize = 24;
/// Layers that a browser lays out together, once they come near the window.
const TOGETHER: usize = 50;
/// Kinds of groups that are listed where a page opens.
const LISTED: usize = 24;

/// An overview of a network as the bytes of an HTML file; the same overview gives the same bytes.
///
/// Layers that repeat are drawn once, with the names of all repetitions below them to be opened. `facts` are said at the end.
pub fn network(title: &str, overview: &Overview, facts: &[(String, String)]) -> String {
    let folded = overview.folded();
    let style = figure::style() + include_str!("style.css") + include_str!("network.css") + &lit();
    let mut html = heading(title, &lead(overview), &style);
    html.push_str("<nav aria-label=\"Contents\">\n<ol>\n");
    for (id, name) in [("groups", "Groups"), ("layers", "Layers, in order"), ("frozen", "What stays, and why")] {
        let _ = writeln!(html, "<li><a href=\"#{id}\">{name}</a></li>");
    }
    html.push_str("</ol>\n</nav>\n");
    groups(&mut html, overview, &folded);
    html.push_str(
        "<section id=\"layers\">\n<h2>Layers, in order</h2>\n<p>A box is an axis of a tensor, with its length. ",
    );
    html.push_str("Colour: units that may be exchanged. An empty frame: it stays; point at it, or reach it by Tab, to see why.</p>\n");
    if overview.layers.iter().all(|layer| layer.operators.is_empty()) {
        html.push_str("<p>There is no graph that says what runs first: they stand by name.</p>\n");
    }
    for runs in folded.runs.chunks(TOGETHER) {
        html.push_str("<ol class=\"layers part\">\n");
        for run in runs {
            layers(&mut html, overview, &folded, run);
        }
        html.push_str("</ol>\n");
    }
    html.push_str("</section>\n");
    frozen(&mut html, overview);
    if !facts.is_empty() {
        html.push_str("<section id=\"file\">\n<h2>The file</h2>\n<dl class=\"facts\">\n");
        for (name, value) in facts {
            let _ = writeln!(html, "<div><dt>{}</dt><dd>{}</dd></div>", shown(name), shown(value));
        }
        html.push_str("</dl>\n</section>\n");
    }
    html + ending()
}

fn lead(overview: &Overview) -> String {
    let sizes = format!(
        "{} in {}.",
        counted(overview.tensors.len(), "tensor", "tensors"),
        counted(overview.layers.len(), "layer", "layers")
    );
    if !overview.known {
        return format!("{sizes} What may be exchanged is not known: there is neither a graph nor a symmetry.");
    }
    format!(
        "{sizes} {} in {} may be exchanged: they are {} of the places along axes, and {} of the values move with them.",
        counted(overview.free_units, "unit", "units"),
        counted(overview.groups.len(), "group", "groups"),
        overview.places,
        overview.values,
    )
}

fn groups(html: &mut String, overview: &Overview, folded: &Folded) {
    html.push_str("<section id=\"groups\">\n<h2>Groups</h2>\n");
    if folded.kinds.is_empty() {
        html.push_str("<p>There are none: nothing may be exchanged.</p>\n</section>\n");
        return;
    }
    html.push_str("<p>The units of a group move together wherever the group stands. A family has a copy for every unit of another group, and each is permuted on its own.</p>\n");
    let list = |html: &mut String, kinds: std::ops::Range<usize>| {
        html.push_str("<ul class=\"groups\">\n");
        kinds.for_each(|kind| group(html, overview, folded, kind));
        html.push_str("</ul>\n");
    };
    let first = folded.kinds.len().min(LISTED);
    list(html, 0..first);
    if first < folded.kinds.len() {
        let more = counted(folded.kinds.len() - first, "more kind", "more kinds");
        let _ = writeln!(html, "<details>\n<summary>{more} of groups</summary>");
        list(html, first..folded.kinds.len());
        html.push_str("</details>\n");
    }
    html.push_str("</section>\n");
}

fn group(html: &mut String, overview: &Overview, folded: &Folded, kind: usize) {
    let all = &folded.kinds[kind].groups;
    let group = &overview.groups[all[0]];
    let mut sizes = counted(group.size, "unit", "units");
    if group.parent.is_some() {
        sizes = format!("{} × {sizes}", counted(group.copies, "copy", "copies"));
    }
    if all.len() > 1 {
        sizes = format!("{} groups × {sizes}", all.len());
    }
    let units: usize = all.iter().map(|group| overview.groups[*group].units).sum();
    if units != group.size {
        let _ = write!(sizes, " = {units}");
    }
    let mut places = counted(all.iter().map(|g| overview.groups[*g].axes).sum(), "axis", "axes");
    if let Some(parent) = &group.parent {
        places = format!("a copy for every unit of {}; in {places}", folded.term(overview, parent));
    } else {
        places = format!("in {places}");
    }
    let _ = writeln!(
        html,
        "<li class=\"k{mark}\"><i class=\"m{mark}\"></i><span><b>{}</b> {} <small>{}</small></span></li>",
        shown(&folded.kinds[kind].name),
        escape(&sizes),
        shown(&places),
        mark = kind % MARKS,
    );
}

fn layers(html: &mut String, overview: &Overview, folded: &Folded, run: &Run) {
    let period = run.layers.len();
    if run.times > 1 {
        let stem = run.stem();
        let stem = if stem.is_empty() { String::new() } else { format!("<code>{}</code>, ", shown(stem)) };
        let _ = writeln!(
            html,
            "<li class=\"fold\">\n<h3 class=\"times\"><b>× {}</b> {stem}{}</h3>\n<ol class=\"layers\">",
            run.times,
            counted(period, "layer", "layers each"),
        );
    }
    for k in 0..period {
        layer(html, overview, folded, run, k);
    }
    if run.times > 1 {
        let _ = writeln!(html, "</ol>\n<details>\n<summary>All {} by name</summary>\n<ol class=\"named\">", run.times);
        for r in 0..run.times {
            html.push_str("<li><ul>");
            let of_one = &overview.layers[run.first + r * period..][..period];
            for tensor in of_one.iter().flat_map(|layer| &layer.tensors).map(|k| &overview.tensors[*k]) {
                let pattern = tensor.pattern.as_deref().unwrap_or_default();
                let _ = write!(html, "<li><b>{}</b> {:?} {}", shown(&tensor.name), tensor.shape, shown(pattern));
            }
            html.push_str("</ul></li>\n");
        }
        html.push_str("</ol>\n</details>\n</li>\n");
    }
}

fn layer(html: &mut String, overview: &Overview, folded: &Folded, run: &Run, k: usize) {
    let (layer, names) = (&overview.layers[run.first + k], &run.layers[k]);
    let operators = escape(&layer.operators.iter().map(|op| escaped(op)).collect::<Vec<_>>().join(", "));
    let _ = writeln!(html, "<li>\n<h3>{} <small>{operators}</small></h3>\n<ul class=\"tensors\">", shown(&names.name));
    let tensors: Vec<(&SeenTensor, &str)> =
        layer.tensors.iter().zip(&names.tensors).map(|(k, n)| (&overview.tensors[*k], names.within(n))).collect();
    for same in tensors.chunk_by(|a, b| a.0.is_like(b.0)) {
        let names = same.iter().map(|(_, name)| format!("<code>{}</code>", shown(name))).collect::<Vec<_>>().join(", ");
        let tensor = same[0].0;
        let shape = if tensor.shape.is_empty() { "one value".to_owned() } else { sizes(&tensor.shape) };
        let _ = write!(html, "<li><p>{names} <small>{} {shape}</small>", tensor.dtype);
        if tensor.not_finite > 0 {
            let _ = write!(html, " <strong>{} values are not finite</strong>", tensor.not_finite);
        }
        html.push_str("</p>");
        if !tensor.axes.is_empty() {
            html.push_str("<div class=\"axes\">");
            axes(html, overview, folded, run.times > 1, &tensor.axes);
            html.push_str("</div>");
        }
        html.push_str("</li>\n");
    }
    html.push_str("</ul>\n</li>\n");
}

/// Axes one after the other; neighbours that stay for one reason in one box.
fn axes(html: &mut String, overview: &Overview, folded: &Folded, repeated: bool, axes: &[SeenAxis]) {
    let stays = |axis: &SeenAxis| axis.free == 0 && axis.parts.iter().all(|part| part.groups.is_empty());
    let together = |a: &SeenAxis, b: &SeenAxis| {
        stays(a) && stays(b) && ((&a.why, a.len > 1) == (&b.why, b.len > 1) || (a.len == 1 && b.len == 1))
    };
    let mut first = 0;
    for same in axes.chunk_by(together) {
        axis(html, overview, folded, repeated, first, same);
        first += same.len();
    }
}

fn axis(html: &mut String, overview: &Overview, folded: &Folded, repeated: bool, first: usize, same: &[SeenAxis]) {
    let axis = &same[0];
    let term = |term: &str| if repeated { folded.term(overview, term) } else { term.to_owned() };
    let marks: BTreeSet<usize> =
        axis.parts.iter().flat_map(|part| &part.groups).map(|group| folded.kind_of[*group] % MARKS).collect();
    let classes = marks.iter().fold(String::new(), |all, mark| all + " k" + &mark.to_string());
    let width = same.iter().map(|axis| (axis.len.max(1) as f64).log2()).sum::<f64>();
    let _ = write!(html, "<span class=\"axis{classes}\" tabindex=\"0\" style=\"--n:{width:.1}\"><span class=\"bar\">");
    for part in &axis.parts {
        bar(html, folded, part, axis.parts.len() > 1);
    }
    let lens: Vec<usize> = same.iter().map(|axis| axis.len).collect();
    let label =
        if axis.free == 0 && marks.is_empty() { String::new() } else { format!("{} ", shown(&term(&axis.term))) };
    let _ = write!(html, "</span><span class=\"label\">{label}<b>{}</b></span>", sizes(&lens));
    html.push_str("<span class=\"tip\">");
    let which = match same.len() {
        1 => format!("axis {first}"),
        n => format!("axes {first} to {}", first + n - 1),
    };
    let _ = write!(html, "<b>{which}</b>: ");
    let _ = match (axis.free, axis.len) {
        (0, 1) if axis.why.is_some() => write!(html, "{}", shown(axis.why.as_deref().unwrap_or_default())),
        (0, _) if same.len() > 1 => write!(html, "all of them stay: {}", reason(axis)),
        (0, len) => write!(
            html,
            "{} {}: {}",
            counted(len, "place", "places"),
            if len == 1 { "stays" } else { "stay" },
            reason(axis)
        ),
        (free, len) if free == len => {
            let _ = write!(html, "{len} places, all free, as <code>{}</code>", shown(&term(&axis.term)));
            match axis.why {
                Some(_) => write!(html, "; inside of a unit the order stays: {}", reason(axis)),
                None => Ok(()),
            }
        }
        (free, len) => write!(
            html,
            "{free} of {len} places are free, as <code>{}</code>; the rest stays: {}",
            shown(&term(&axis.term)),
            reason(axis)
        ),
    };
    html.push_str("</span></span>");
}

/// Where a part stands along an axis: a layer of colour for each of its groups, or an empty frame.
fn bar(html: &mut String, folded: &Folded, part: &AxisPart, beside: bool) {
    let grow = if beside { format!(" style=\"flex-grow:{}\"", part.len.max(1)) } else { String::new() };
    let _ = write!(html, "<span{grow}>");
    let mut marks: Vec<usize> = part.groups.iter().map(|group| folded.kind_of[*group] % MARKS).collect();
    marks.dedup();
    for mark in &marks {
        let _ = write!(html, "<i class=\"m{mark}\"></i>");
    }
    if marks.is_empty() {
        html.push_str("<i></i>");
    }
    html.push_str("</span>");
}

fn reason(axis: &SeenAxis) -> String {
    let why = shown(axis.why.as_deref().unwrap_or("no reason is known"));
    axis.through.as_ref().map_or(why.clone(), |through| format!("{why} <small>({})</small>", shown(through)))
}

fn frozen(html: &mut String, overview: &Overview) {
    if !overview.known {
        return;
    }
    html.push_str("<section id=\"frozen\">\n<h2>What stays, and why</h2>\n");
    if overview.frozen.is_empty() {
        html.push_str("<p>Nothing does.</p>\n</section>\n");
        return;
    }
    html.push_str("<p>Axes of more than one entry of which all or some places stay, by what holds them.</p>\n<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Reasons\">\n<table>\n<thead>\n<tr><th scope=\"col\">reason</th><th scope=\"col\" class=\"right\">axes</th><th scope=\"col\" class=\"right\">places</th></tr>\n</thead>\n<tbody>\n");
    for sum in &overview.frozen {
        let _ = writeln!(
            html,
            "<tr><td class=\"long\">{}</td><td class=\"right\">{}</td><td class=\"right\">{}</td></tr>",
            shown(&sum.why),
            sum.axes,
            sum.places
        );
    }
    html.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}

/// Text from a file: no character of it is obeyed, or hides another.
fn shown(text: &str) -> String {
    if text.is_empty() { "\u{201c}\u{201d}".to_owned() } else { escape(&escaped(text)) }
}

fn sizes(lens: &[usize]) -> String {
    lens.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ")
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// The style of marks: a hue and a texture each, and what an axis or a group under the pointer or with the focus does to the
/// others.
fn lit() -> String {
    const TEXTURES: [&str; 4] = [
        "",
        ";background-image:repeating-linear-gradient(135deg,var(--ground) 0 2px,transparent 2px 6px)",
        ";background-image:repeating-linear-gradient(90deg,var(--ground) 0 2px,transparent 2px 5px)",
        ";background-image:radial-gradient(var(--ground) 1.4px,transparent 1.6px);background-size:5px 5px",
    ];
    let mut css = String::new();
    for mark in 0..MARKS {
        let (hue, texture) = (mark % 6, TEXTURES[mark / 6]);
        let _ = writeln!(css, ".m{mark}{{background-color:var(--hue{hue}){texture}}}");
        let _ = writeln!(css, "main:has(.k{mark}:is(:hover,:focus)) :is(.axis,.groups li):not(.k{mark}){{--bar:.25}}");
    }
    css
}
