//! Kinds of groups: what else than permutations a network does not notice.
//!
//! Units that nothing looks at one by one may be mixed: the residual stream of a transformer, once the gains of its norms are 1, by any
//! orthogonal matrix; units of queries and keys, or of values, inside a head, by any matrix whose inverse, transposed, acts on what
//! they are contracted with; pairs of units that rotary positions turn, by a rotation of their own; linear gates by a sign. A graph
//! says which: every operator names what it lets pass ([`Kinds::discover`]), a group gets the largest kind that all it meets do, and
//! an element of all of them is a [`Motion`].

mod classes;
mod fibres;
mod gain;
mod motion;
mod passes;
mod rotary;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::{Graph, ValueId};
use crate::params::Params;
use crate::symmetry::{GroupId, Symmetry, TermKind, discover};
pub(crate) use gain::gain;
pub use motion::Motion;
pub use turn::{Side, Turn, balance};

/// Which elements of a group leave a network's function alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Units change places.
    Permutation,
    /// They change places, and where only linear operators read them, their signs.
    Signed,
    /// Any orthogonal matrix.
    Orthogonal,
    /// Any orthogonal matrix that keeps the vector of ones: what a LayerNorm passes.
    Centred,
    /// A rotation for every pair of units that rotary positions turn; no permutation.
    Phases,
    /// Nothing: rotary positions tell all units apart.
    Still,
}

impl Kind {
    /// Whether units change places on their own: of matrices that is a special case.
    pub fn permutes(self) -> bool {
        match self {
            Self::Permutation | Self::Signed => true,
            Self::Orthogonal | Self::Centred | Self::Phases | Self::Still => false,
        }
    }

    /// Whether more than permutations act.
    pub fn turns(self) -> bool {
        match self {
            Self::Signed | Self::Orthogonal | Self::Centred | Self::Phases => true,
            Self::Permutation | Self::Still => false,
        }
    }

    /// Its name in texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Permutation => "permutation",
            Self::Signed => "signed",
            Self::Orthogonal => "orthogonal",
            Self::Centred => "orthogonal, ones kept",
            Self::Phases => "rotations of pairs",
            Self::Still => "still",
        }
    }
}

/// A symmetry whose groups have kinds.
///
/// Its groups are those that [`discover`] finds, and one more for the units of every head that rotary positions turn.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::kinds::{Kind, Kinds, Motion};
/// use onebasin_core::stream::Stream;
/// use onebasin_core::{Params, Tensor};
/// // Two linear layers in a row: what stands between them may be any basis.
/// let mut graph = Graph::new();
/// let x = graph.input("x", &[1, 2])?;
/// let h = graph.linear("fc1", x, 3)?;
/// let y = graph.linear("fc2", h, 1)?;
/// graph.output(y);
/// let mut stream = Stream::new(0, "network");
/// let mut net = Params::new();
/// for param in graph.params() {
///     let values = (0..param.shape.iter().product::<usize>()).map(|_| stream.normal()).collect();
///     net.insert(&param.name[..], Tensor::from_f64(&param.shape, values)?);
/// }
/// let kinds = Kinds::discover(&graph, [&net, &net])?;
/// assert_eq!(kinds.named("fc1"), Some(Kind::Orthogonal));
/// let turned = Motion::random(&kinds, &mut stream);
/// let back = turned.inverse(&kinds).apply(&kinds, &turned.apply(&kinds, &net)?)?;
/// let (one, other) = (net.require("fc1.weight")?.to_f64()?, back.require("fc1.weight")?.to_f64()?);
/// assert!(one.iter().zip(&*other).all(|(a, b)| (a - b).abs() < 1e-12));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Kinds {
    /// Where the units stand.
    pub symmetry: Symmetry,
    /// By group.
    of_groups: Vec<Kind>,
    /// Groups whose elements need not keep lengths.
    free: BTreeSet<GroupId>,
    /// On which side a tensor stands; of those that are not turned, none.
    sides: BTreeMap<(GroupId, String), Side>,
    /// Tensors that are used more than once, and how often.
    uses: BTreeMap<String, usize>,
}

impl Kinds {
    /// Finds the groups of a graph and the largest kind of each.
    ///
    /// Gains of norms count as 1 where they are 1 in both networks: [`canonical`](mod@crate::canonical) makes them so.
    ///
    /// Cost: that of [`discover`], and a pass over the nodes for every group that they meet.
    ///
    /// # Errors
    /// Those of [`Symmetry::resolve`].
    pub fn discover(graph: &Graph, networks: [&Params; 2]) -> Result<Self> {
        let rotations = rotary::rotations(graph);
        let bypassed: BTreeMap<_, ValueId> = rotations.iter().map(|(id, (x, _))| (*id, *x)).collect();
        let names: Vec<&str> = rotations.values().map(|(x, _)| graph.value(*x).name.as_str()).collect();
        let plain = graph.bypass(&bypassed);
        let found = discover(&plain);
        let symmetry = Symmetry::resolve(found.spec(), networks[0])?;
        let is_all = |name: &str, number: f64| {
            let all = |net: &Params| {
                net.get(name).and_then(|t| t.to_f64().ok()).is_some_and(|v| v.iter().all(|v| *v == number))
            };
            networks.iter().all(|net| all(net))
        };
        let passed = passes::pass(&plain, &found, &symmetry, is_all);
        let mut turned_in_pairs = BTreeSet::new();
        for value in plain.ids().filter(|v| names.contains(&plain.value(*v).name.as_str())) {
            let Some(term) = found.value_pattern(value).and_then(|pattern| pattern.axes.last()) else { continue };
            if let TermKind::Group { name, .. } = &term.kind {
                turned_in_pairs.insert(symmetry.group_named(name)?);
            }
        }
        let mut kinds =
            Self { symmetry, of_groups: Vec::new(), free: BTreeSet::new(), sides: BTreeMap::new(), uses: graph.uses() };
        for id in (0..kinds.symmetry.groups().len()).map(GroupId) {
            let kind = kinds.of(id, &plain, &passed, turned_in_pairs.contains(&id));
            kinds.of_groups.push(kind);
        }
        Ok(kinds)
    }

    /// The largest kind of a group; where its elements act is entered.
    fn of(&mut self, id: GroupId, graph: &Graph, passed: &passes::Passed, in_pairs: bool) -> Kind {
        let least = if in_pairs { Kind::Still } else { Kind::Permutation };
        let sites: Vec<(&str, usize)> = graph
            .params()
            .filter_map(|param| Some((param.name.as_str(), graph.param_named(&param.name).ok()?)))
            .filter(|(_, value)| !passed.ones.contains(value))
            .filter_map(|(name, value)| Some((name, passed.place(value, id)?)))
            .collect();
        let stacked = self.symmetry.tensors().any(|(name, layout)| {
            let mut digits = layout.axes.iter().flat_map(|x| &x.occurrences).flat_map(|o| &o.digits);
            graph.param_named(name).is_err() && digits.any(|d| d.group == Some(id))
        });
        let live: BTreeSet<usize> = sites
            .iter()
            .filter(|(_, place)| !passed.classes.asked(*place).still)
            .map(|(_, place)| passed.classes.find(*place).0)
            .collect();
        let Some(class) = live.first().copied() else { return least };
        let asked = passed.classes.asked(class);
        let linear = passed.asked(id).all(|asked| !asked.still) && live.len() == 1;
        let is_parent = !self.symmetry.children(id).is_empty();
        let is_root = self.symmetry.group(id).parent.is_none();
        let kind = match (linear, in_pairs) {
            _ if stacked || is_parent => least,
            (true, true) => Kind::Phases,
            (true, false) if asked.centred => Kind::Centred,
            (true, false) => Kind::Orthogonal,
            (false, false) if is_root && !asked.centred => Kind::Signed,
            (false, _) => least,
        };
        if kind == least {
            return least;
        }
        if !asked.isometric {
            self.free.insert(id);
        }
        for (name, place) in sites {
            let (root, against) = passed.classes.find(place);
            if root == class {
                self.sides.insert((id, name.to_owned()), if against { Side::Against } else { Side::Along });
            }
        }
        kind
    }

    /// The kind of a group.
    pub fn kind(&self, id: GroupId) -> Kind {
        self.of_groups[id.0]
    }

    /// The same by name; none where there is no such group.
    pub fn named(&self, name: &str) -> Option<Kind> {
        self.symmetry.group_named(name).ok().map(|id| self.kind(id))
    }

    /// Whether elements of a group need not keep lengths, so that its sides may be balanced.
    pub fn is_free(&self, id: GroupId) -> bool {
        self.free.contains(&id)
    }

    /// How many nodes use a tensor: a tied one counts as often.
    pub fn uses(&self, tensor: &str) -> usize {
        self.uses.get(tensor).copied().unwrap_or(1)
    }

    /// On which side of a group a tensor stands; none where its units are not turned there.
    pub fn side(&self, id: GroupId, tensor: &str) -> Option<Side> {
        self.sides.get(&(id, tensor.to_owned())).copied()
    }

    /// Where the units of a group stand in a tensor: axis, copy, and the position of every unit, everything else on that axis held.
    pub fn fibres(&self, id: GroupId, tensor: &str) -> Vec<(usize, usize, Vec<usize>)> {
        let Ok(layout) = self.symmetry.tensor(tensor) else { return Vec::new() };
        let of =
            |(k, axis)| fibres::fibres(&self.symmetry, axis, id).into_iter().map(move |f| (k, f.copy, f.positions));
        layout.axes.iter().enumerate().flat_map(of).collect()
    }

    /// A symmetry of permutations alone; `uses` says how often a tensor is used, where that is more than once.
    pub fn permutations(symmetry: &Symmetry, uses: BTreeMap<String, usize>) -> Self {
        let of_groups = vec![Kind::Permutation; symmetry.groups().len()];
        Self { symmetry: symmetry.clone(), of_groups, free: BTreeSet::new(), sides: BTreeMap::new(), uses }
    }
}
