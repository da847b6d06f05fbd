//! A symmetry begun from names and shapes, for networks without a graph.

mod fold;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use fold::{Named, folded};

/// The beginning of a [`SymmetrySpec`](super::SymmetrySpec): every tensor, layers that repeat told once, and the terms that names
/// and shapes alone decide.
///
/// ```
/// use onebasin_core::symmetry::Template;
/// let shapes: [(&str, &[usize]); 4] =
///     [("up.weight", &[32, 8]), ("up.bias", &[32]), ("down.weight", &[3, 32]), ("down.bias", &[3])];
/// let template = Template::of(shapes);
/// let terms: Vec<String> = template.lines.iter().map(|line| format!("{}: {}", line.name, line.pattern())).collect();
/// assert_eq!(terms, ["down.bias: .", "down.weight: . ?up", "up.bias: ?up", "up.weight: ?up ."]);
/// assert_eq!(template.open(), 3); // take the `?` of `up` away, and it is a symmetry
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Template {
    /// One for every tensor, or for that of all layers, by name.
    pub lines: Vec<TemplateLine>,
}

/// A tensor of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TemplateLine {
    /// Its name; `{l}` stands for the numbers of layers that are all alike.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// One term an axis.
    pub terms: Vec<TemplateTerm>,
}

/// An axis of a tensor of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TemplateTerm {
    /// Nothing in it can be exchanged: no other axis has its size, or one that its size may be made of.
    Fixed,
    /// If a group stands there, it is likely this one, named after the only layer that writes this size.
    Likely(String),
    /// Any of several groups of this size, or none.
    Open(usize),
}

impl std::fmt::Display for TemplateTerm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed => f.write_str("."),
            Self::Likely(group) => write!(f, "?{group}"),
            Self::Open(size) => write!(f, "?{size}"),
        }
    }
}

impl TemplateLine {
    /// Its terms as a pattern.
    pub fn pattern(&self) -> String {
        self.terms.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    fn is_open(&self) -> bool {
        self.terms.iter().any(|term| *term != TemplateTerm::Fixed)
    }
}

impl Template {
    /// Begins a symmetry.
    ///
    /// Nothing that could be wrong is filled in: an axis is `.` where its size stands on no other axis of a matrix or kernel, is no
    /// multiple and no sum of sizes that layers write, and divides none that is read but written nowhere. All else begins with
    /// `?` and is left to who knows the network. Which axis a layer writes is told by its bias, else by the name (`kernel`: the
    /// last; others: the first).
    ///
    /// Cost: for every different size, linear in the number of tensors and in that of sizes.
    ///
    /// ```
    /// use onebasin_core::symmetry::Template;
    /// let of = |l: usize| [(format!("h.{l}.up.weight"), [64, 16]), (format!("h.{l}.down.weight"), [16, 64])];
    /// let layers: Vec<_> = (0..3).flat_map(of).collect();
    /// let template = Template::of(layers.iter().map(|(name, shape)| (name.as_str(), &shape[..])));
    /// assert_eq!(template.lines[1].name, "h.{l}.up.weight");
    /// assert_eq!(template.lines[1].pattern(), "?64 ?16"); // which of the two is inside, shapes do not tell
    /// ```
    pub fn of<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Self {
        let named: Vec<Named> = folded(tensors);
        let sizes = Sizes::of(&named);
        let line = |tensor: &Named| {
            let terms = (0..tensor.shape.len()).map(|axis| sizes.term(tensor, axis)).collect();
            TemplateLine { name: tensor.name.clone(), shape: tensor.shape.clone(), terms }
        };
        Self { lines: named.iter().map(line).collect() }
    }

    /// Terms that are still open.
    pub fn open(&self) -> usize {
        self.lines.iter().flat_map(|line| &line.terms).filter(|term| **term != TemplateTerm::Fixed).count()
    }

    /// As a file of a symmetry, with what to do in it; read once no `?` is left.
    ///
    /// ```
    /// use onebasin_core::symmetry::{SymmetrySpec, Template};
    /// let shapes: [(&str, &[usize]); 2] = [("up.weight", &[32, 8]), ("down.weight", &[3, 32])];
    /// let text = Template::of(shapes).to_toml();
    /// assert!(SymmetrySpec::from_toml(&text).unwrap_err().to_string().contains("still open"));
    /// assert!(SymmetrySpec::from_toml(&text.replace('?', "")).is_ok());
    /// ```
    pub fn to_toml(&self) -> String {
        let mut text = "# Which units may be exchanged: one term an axis, as docs/symmetry.md tells.\n\
             # `.` was decided by shapes: nothing else has that size. `?name` is likely the group `name`, if units may be exchanged\n\
             # there at all; `?64` is any of several groups of 64 units, or none. Put a name in its place, the same one wherever the\n\
             # same units stand (along a residual stream everywhere), or `.` where order has a meaning.\n\
             [tensors]\n"
            .to_owned();
        let quoted = |name: &str| format!("{name:?}");
        let width = self.lines.iter().map(|line| quoted(&line.name).chars().count()).max().unwrap_or(0);
        for line in &self.lines {
            let (name, pattern) = (quoted(&line.name), quoted(&line.pattern()));
            let shape = if line.is_open() { format!("  # {:?}", line.shape) } else { String::new() };
            let _ = writeln!(text, "{name:width$} = {pattern}{shape}");
        }
        text
    }
}

/// What stands before the last point or stroke of a name, and what comes after.
fn module(name: &str) -> (&str, &str) {
    name.rfind(['.', '/']).map_or((name, ""), |at| (&name[..at], &name[at + 1..]))
}

/// A matrix or kernel, and what of it is written.
struct Layer<'n> {
    tensor: &'n Named,
    /// Its module, or its own name where that has other matrices.
    name: &'n str,
    /// The axis of what it writes.
    out: usize,
}

impl<'n> Layer<'n> {
    /// All of a network.
    fn all(named: &'n [Named]) -> Vec<Self> {
        let mut modules: BTreeMap<&str, Vec<&Named>> = BTreeMap::new();
        for tensor in named {
            modules.entry(module(&tensor.name).0).or_default().push(tensor);
        }
        let is_matrix = |tensor: &&&Named| tensor.shape.len() > 1;
        let layer = |tensor: &'n Named| {
            let beside = &modules[module(&tensor.name).0];
            let single = beside.iter().filter(is_matrix).count() == 1;
            let name = if single { module(&tensor.name).0 } else { &tensor.name };
            Self { tensor, name, out: written(tensor, beside) }
        };
        named.iter().filter(|tensor| tensor.shape.len() > 1).map(layer).collect()
    }

    /// Axes in which units may stand, and their sizes: those along which no kernel slides.
    fn axes(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.tensor.shape.iter().copied().enumerate().filter(|(axis, _)| !self.slides(*axis))
    }

    fn slides(&self, axis: usize) -> bool {
        let rank = self.tensor.shape.len();
        rank > 3 && if self.out == 0 { axis >= 2 } else { axis + 2 < rank }
    }

    fn size(&self) -> usize {
        self.tensor.shape[self.out]
    }
}

/// The axis that a matrix writes, told by the bias beside it, else by its name.
fn written(tensor: &Named, beside: &[&Named]) -> usize {
    let last = tensor.shape.len() - 1;
    for bias in beside.iter().filter(|other| other.shape.len() == 1) {
        match [0, last].map(|axis| tensor.shape[axis] == bias.shape[0]) {
            [true, false] => return 0,
            [false, true] => return last,
            [true, true] | [false, false] => {}
        }
    }
    if module(&tensor.name).1 == "kernel" { last } else { 0 }
}

/// The sizes that layers write and read.
struct Sizes<'n> {
    layers: Vec<Layer<'n>>,
    /// How many axes have a size.
    axes: BTreeMap<usize, usize>,
    /// Layers that write a size.
    writers: BTreeMap<usize, BTreeSet<&'n str>>,
    /// Sizes that are read, and written nowhere.
    only_read: BTreeSet<usize>,
}

impl<'n> Sizes<'n> {
    fn of(named: &'n [Named]) -> Self {
        let layers = Layer::all(named);
        let (mut axes, mut writers) = (BTreeMap::new(), BTreeMap::<usize, BTreeSet<&'n str>>::new());
        for layer in &layers {
            layer.axes().for_each(|(_, size)| *axes.entry(size).or_insert(0) += layer.tensor.times);
            writers.entry(layer.size()).or_default().insert(layer.name);
        }
        let only_read = axes.keys().copied().filter(|size| !writers.contains_key(size)).collect();
        Self { layers, axes, writers, only_read }
    }

    /// Whether no other axis has this size, nor one that it may be made of or, where it is written, be a part of.
    fn is_alone(&self, size: usize) -> bool {
        let parts: BTreeSet<usize> = self.writers.keys().copied().filter(|&part| part > 1 && part < size).collect();
        let is_made = parts.iter().any(|&part| size.is_multiple_of(part) || parts.contains(&(size - part)));
        let makes = self.writers.contains_key(&size)
            && self.only_read.iter().any(|&whole| whole > size && whole.is_multiple_of(size));
        size == 1 || (self.axes.get(&size).is_none_or(|&count| count == 1) && !is_made && !makes)
    }

    /// The layer that alone writes this size.
    fn alone_writes(&self, size: usize) -> Option<&'n str> {
        let mut writers = self.writers.get(&size)?.iter();
        writers.next().filter(|_| writers.next().is_none()).copied()
    }

    /// The layer that alone writes this size, unless what it writes comes back to it by sizes that one layer alone writes: then
    /// it may as well be the network's end, and what reads it the beginning.
    fn writer(&self, size: usize) -> Option<&'n str> {
        let writer = self.alone_writes(size)?;
        let (mut reached, mut sizes) = (BTreeSet::new(), vec![size]);
        while let Some(size) = sizes.pop() {
            let reads = |layer: &&Layer<'_>| layer.axes().any(|(axis, read)| read == size && axis != layer.out);
            for layer in self.layers.iter().filter(reads) {
                if layer.name == writer {
                    return None;
                }
                if self.alone_writes(layer.size()).is_some() && reached.insert(layer.size()) {
                    sizes.push(layer.size());
                }
            }
        }
        Some(writer)
    }

    fn term(&self, tensor: &Named, axis: usize) -> TemplateTerm {
        let size = tensor.shape[axis];
        let layer = self.layers.iter().find(|layer| layer.tensor.name == tensor.name);
        if layer.is_some_and(|layer| layer.slides(axis)) || self.is_alone(size) {
            return TemplateTerm::Fixed;
        }
        self.writer(size).map_or(TemplateTerm::Open(size), |writer| TemplateTerm::Likely(group(writer)))
    }
}

/// A name of a group for what a module writes.
fn group(module: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-./{}".contains(c);
    let name: String = module.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_alphabetic() || "_{".contains(c)) { name } else { format!("_{name}") }
}
