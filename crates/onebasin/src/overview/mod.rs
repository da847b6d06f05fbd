//! What a network holds and what of it may be exchanged, counted.
//!
//! Read in this order: the values here → `gather` (from a [`Model`] to them) → `order` (tensors as layers) → `fold` (layers
//! that repeat) → `text`.

mod fold;
mod gather;
mod order;
mod text;

use serde::Serialize;

use crate::error::Result;
use crate::model::Model;
pub use fold::{Folded, FoldedLayer, Kind, Run};

/// A network in numbers: its layers in running order, what every axis is made of, how much of it may be exchanged, and what
/// holds the rest in place.
///
/// **Free units** are the units of all groups; a family of `k` units over a parent that stands `n` times counts `n · k`:
///
/// `free_units = Σ_g copies(g) · size(g)`.
///
/// They say how large the symmetry is, and not how large it could have been: units that stay have no number of their own, since
/// an axis of 128 that stays may be 128 units or 8 times 16. So shares are of what can be counted:
///
/// - **places**: an axis of `n > 1` entries has `n` places. A place is free if some element of the symmetry puts another
///   entry there: `places = Σ free / Σ n`, over the axes of all tensors. An axis counts wherever it stands.
/// - **values**: a value of a tensor is free if one of its places is: of a tensor with `n_x` places along axis `x`, of which
///   `s_x` stay, `Π n_x − Π s_x` values are.
///
/// Cost: one pass over the tensors, which looks for values that are not finite, and one discovery.
///
/// ```
/// use onebasin::{Model, Network, Overview};
/// let network = Network::new("mlp:16x1", &[8], 3)?;
/// let seen = Overview::of(&Model::of(&network, network.init(0)?)?)?;
/// assert_eq!(seen.free_units, 16);
/// // fc1.weight is 16 × 8, fc1.bias 16, fc2.weight 3 × 16, fc2.bias 3: of 62 places along them 48 are free,
/// assert_eq!((seen.places.free, seen.places.all), (48, 62));
/// // and of 195 values all but the three of fc2.bias.
/// assert_eq!((seen.values.free, seen.values.all), (192, 195));
/// assert_eq!(seen.frozen[0].why, "an input of the network");
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    /// Whether it is known which units may be exchanged. Where it is not there are no groups, patterns and shares.
    pub known: bool,
    /// Units of all copies of all groups.
    pub free_units: usize,
    /// Places along axes of more than one entry.
    pub places: Share,
    /// Values of tensors.
    pub values: Share,
    /// Groups, a parent before its families.
    pub groups: Vec<SeenGroup>,
    /// Axes that stay, or of which some places do, summed by reason: what holds most places first.
    pub frozen: Vec<Frozen>,
    /// Tensors that the network uses, by name.
    pub tensors: Vec<SeenTensor>,
    /// The same tensors in the order in which the network uses them; by name where there is no graph.
    pub layers: Vec<SeenLayer>,
}

/// How many of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// How many of them an element of the symmetry can move.
    pub free: usize,
    /// How many there are.
    pub all: usize,
}

/// A group, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenGroup {
    /// Its name.
    pub name: String,
    /// Number of units of one copy.
    pub size: usize,
    /// For a family, the name of the group that indexes it.
    pub parent: Option<String>,
    /// Number of copies that are permuted independently: 1 for a group that is no family.
    pub copies: usize,
    /// Units of all copies.
    pub units: usize,
    /// Number of axes of tensors in which it stands.
    pub axes: usize,
    /// Number of tensors in which it stands.
    pub tensors: usize,
}

/// What one reason holds in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Frozen {
    /// The reason.
    pub why: String,
    /// Number of axes of more than one entry that stay, or of which some places do.
    pub axes: usize,
    /// Number of places along them that stay.
    pub places: usize,
    /// Number of tensors with such axes.
    pub tensors: usize,
}

/// A tensor, and what its axes are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenTensor {
    /// Its name.
    pub name: String,
    /// Type of its values.
    pub dtype: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What may be exchanged, where that is known.
    pub pattern: Option<String>,
    /// Number of values that are not finite.
    pub not_finite: usize,
    /// What stands along every axis; nothing where that is not known.
    pub axes: Vec<SeenAxis>,
}

/// An axis of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenAxis {
    /// Number of places.
    pub len: usize,
    /// Number of places that are free.
    pub free: usize,
    /// Its term of the pattern.
    pub term: String,
    /// What stands along it, in order: one part, or the parts of a concatenation.
    pub parts: Vec<AxisPart>,
    /// What holds places of it, or the order inside of its units; none where all of it is free.
    pub why: Option<String>,
    /// Where that comes from: an axis of another value, a node.
    pub through: Option<String>,
}

/// A part of an axis: a product of groups and of what stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AxisPart {
    /// Number of places.
    pub len: usize,
    /// The groups in it as places in [`Overview::groups`], outermost first; none where it stays.
    pub groups: Vec<usize>,
    /// Its term.
    pub term: String,
}

/// Tensors that are used together: a module's, or what a few operators in a row read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenLayer {
    /// The module's name, or that of the first node or tensor where tensors are in no module.
    pub name: String,
    /// What is computed with them; nothing where there is no graph.
    pub operators: Vec<String>,
    /// Places in [`Overview::tensors`], in the order in which they are used.
    pub tensors: Vec<usize>,
}

impl Overview {
    /// Looks through a network.
    ///
    /// # Errors
    /// If a tensor cannot be read, or the symmetry does not fit.
    pub fn of(model: &Model) -> Result<Self> {
        gather::overview(model)
    }

    /// Its layers with those that repeat told once; see [`Folded`].
    pub fn folded(&self) -> Folded {
        fold::fold(self)
    }

    /// It as lines for a terminal `width` columns wide: layers in order, repeated ones once unless `all` is asked for, then
    /// groups, totals, and what is frozen by what. Names are escaped.
    pub fn text(&self, width: usize, all: bool) -> String {
        text::text(self, width, all)
    }
}

impl SeenTensor {
    /// Whether all but the name is that of another.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.dtype, &self.shape, &self.axes, self.not_finite)
            == (other.dtype, &other.shape, &other.axes, other.not_finite)
    }
}

impl Share {
    /// In per cent; 0 of nothing.
    pub fn percent(self) -> f64 {
        if self.all == 0 { 0.0 } else { 100.0 * self.free as f64 / self.all as f64 }
    }
}

impl std::fmt::Display for Share {
    /// In per cent, to a tenth; what is not all is not 100 %, and what is not nothing not 0 %.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.percent() {
            _ if self.free == self.all && self.all > 0 => f.write_str("100 %"),
            share if share >= 99.95 => f.write_str("more than 99.9 %"),
            share if share < 0.05 && self.free > 0 => f.write_str("less than 0.1 %"),
            share => write!(f, "{share:.1} %"),
        }
    }
}
