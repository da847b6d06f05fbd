//! Where similarities come from, as schedules see it.

use std::borrow::Cow;

use super::nested::{Element, value_of};
use super::similarity::Gram;
use crate::error::Result;
use crate::symmetry::{Alignment, GroupId, Symmetry};

/// A value to raise, group by group: weights, activations, or a blend.
///
/// With all other groups held, the value is linear in the element of one root: its Grams say what each choice is worth.
/// (Where a root stands twice in one entry it is not; see [`Root::quadratic`].)
pub trait Source: Sync {
    /// The symmetry whose alignments are valued.
    fn symmetry(&self) -> &Symmetry;

    /// The roots that count, in the order of [`Order::Forward`](super::Order::Forward).
    fn roots(&self) -> &[Root];

    /// What each choice of a root and its families is worth, given the others.
    fn grams(&self, root: GroupId, current: &Alignment) -> Result<Vec<Gram>>;

    /// The value of an alignment.
    fn objective(&self, alignment: &Alignment) -> Result<f64>;

    /// What the value changes by where only the elements of a root and its families change, in f64; asked for where Grams
    /// cannot tell.
    fn gain(&self, root: GroupId, from: &Alignment, to: &Alignment) -> Result<f64> {
        let _ = root;
        Ok(self.objective(to)? - self.objective(from)?)
    }

    /// Memory for the Grams along one ascent, if keeping them saves anything.
    fn cache(&self) -> Option<Box<dyn GramCache + '_>> {
        None
    }
}

/// The Grams of every root of a source, kept while an alignment changes bit by bit.
pub trait GramCache {
    /// The Grams of the root at this place in [`Source::roots`], as [`Source::grams`] gives them, up to rounding.
    fn grams(&mut self, root: usize, current: &Alignment) -> Result<Cow<'_, [Gram]>>;

    /// Forgets the Grams that were brought up to date since they were last made from scratch; the places of their roots.
    fn forget_updated(&mut self) -> Vec<usize>;
}

/// A root group as schedules see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Root {
    /// The group.
    pub id: GroupId,
    /// Indices in [`Source::roots`] of those whose Grams depend on this one (itself, if quadratic).
    pub neighbours: Vec<usize>,
    /// Whether its Grams depend on its own element.
    pub quadratic: bool,
    /// A gain below this, in f64, is rounding.
    pub tolerance: f64,
    /// A gain below this, on Grams, may be their rounding: [`Source::gain`] decides.
    pub rounding: f64,
}

impl Root {
    /// A root whose Grams depend on no other, with nothing known of rounding.
    pub fn new(id: GroupId) -> Self {
        Self { id, neighbours: Vec::new(), quadratic: false, tolerance: 0.0, rounding: 0.0 }
    }
}

/// Similarities that do not depend on the alignment of other groups, as activations give them.
#[derive(Debug, Clone)]
pub struct Fixed<'a> {
    symmetry: &'a Symmetry,
    roots: Vec<Root>,
    grams: Vec<Vec<Gram>>,
}

impl<'a> Fixed<'a> {
    /// Takes the Grams of every root that has any.
    pub fn new(symmetry: &'a Symmetry, grams: impl IntoIterator<Item = (GroupId, Vec<Gram>)>) -> Self {
        let (mut roots, mut all) = (Vec::new(), Vec::new());
        for (id, grams) in grams {
            let norm = |g: &Gram| g.data.iter().map(|v| v * v).sum::<f64>().sqrt();
            let tolerance = 64.0 * f64::EPSILON * grams.iter().map(norm).sum::<f64>();
            roots.push(Root { tolerance, ..Root::new(id) });
            all.push(grams);
        }
        Self { symmetry, roots, grams: all }
    }
}

impl Source for Fixed<'_> {
    fn symmetry(&self) -> &Symmetry {
        self.symmetry
    }

    fn roots(&self) -> &[Root] {
        &self.roots
    }

    fn grams(&self, root: GroupId, _: &Alignment) -> Result<Vec<Gram>> {
        let at = self.roots.iter().position(|r| r.id == root);
        Ok(at.map_or_else(Vec::new, |k| self.grams[k].clone()))
    }

    fn objective(&self, alignment: &Alignment) -> Result<f64> {
        let value = |(root, grams): (&Root, &Vec<Gram>)| {
            value_of(self.symmetry, grams, root.id, &Element::of(self.symmetry, alignment, root.id))
        };
        Ok(self.roots.iter().zip(&self.grams).map(value).sum())
    }
}

/// A weighted sum of sources over one symmetry.
pub struct Blend<'a> {
    parts: Vec<(f64, &'a dyn Source)>,
    roots: Vec<Root>,
}

impl<'a> Blend<'a> {
    /// `(1 − beta) · first / |first₀| + beta · second / |second₀|`, each scaled by its value at `start`, so that `beta` does not
    /// depend on units.
    ///
    /// # Panics
    /// If the sources are over different symmetries.
    pub fn new(first: &'a dyn Source, second: &'a dyn Source, beta: f64, start: [f64; 2]) -> Self {
        assert_eq!(first.symmetry().groups(), second.symmetry().groups(), "a blend needs one symmetry");
        let scale = |value: f64| if value.abs() > 0.0 { 1.0 / value.abs() } else { 1.0 };
        let parts = vec![((1.0 - beta) * scale(start[0]), first), (beta * scale(start[1]), second)];
        let mut ids: Vec<GroupId> = Vec::new();
        for root in parts.iter().flat_map(|(_, s)| s.roots()) {
            if !ids.contains(&root.id) {
                ids.push(root.id);
            }
        }
        let root = |&id: &GroupId| {
            let mut found = Root::new(id);
            for (weight, source) in &parts {
                let Some(own) = source.roots().iter().find(|r| r.id == id) else { continue };
                found.tolerance += weight * own.tolerance;
                found.rounding += weight * own.rounding;
                found.quadratic |= own.quadratic;
                let near = own.neighbours.iter().map(|k| source.roots()[*k].id);
                found.neighbours.extend(near.filter_map(|id| ids.iter().position(|i| *i == id)));
            }
            found.neighbours.sort_unstable();
            found.neighbours.dedup();
            found
        };
        let roots = ids.iter().map(root).collect();
        Self { parts, roots }
    }
}

impl Source for Blend<'_> {
    fn symmetry(&self) -> &Symmetry {
        self.parts[0].1.symmetry()
    }

    fn roots(&self) -> &[Root] {
        &self.roots
    }

    fn grams(&self, root: GroupId, current: &Alignment) -> Result<Vec<Gram>> {
        let mut all = Vec::new();
        for (weight, source) in &self.parts {
            for mut gram in source.grams(root, current)? {
                gram.data.iter_mut().for_each(|v| *v *= weight);
                all.push(gram);
            }
        }
        Ok(all)
    }

    fn objective(&self, alignment: &Alignment) -> Result<f64> {
        self.parts.iter().map(|(weight, source)| Ok(weight * source.objective(alignment)?)).sum()
    }
}
