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
///
/// A similarity of your own is a source; here units are paired by a number that each of them has:
///
/// ```
/// use onebasin_core::error::Result;
/// use onebasin_core::matching::{Gram, MatchOptions, Root, Source, ascend};
/// use onebasin_core::symmetry::{Alignment, GroupId, Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// struct ByNumber<'a> {
///     symmetry: &'a Symmetry,
///     roots: Vec<Root>,
///     numbers: [[f64; 3]; 2],
/// }
/// impl Source for ByNumber<'_> {
///     fn symmetry(&self) -> &Symmetry {
///         self.symmetry
///     }
///     fn roots(&self) -> &[Root] {
///         &self.roots
///     }
///     fn grams(&self, root: GroupId, _: &Alignment) -> Result<Vec<Gram>> {
///         let [a, b] = &self.numbers;
///         let data = a.iter().flat_map(|x| b.iter().map(move |y| x * y)).collect();
///         Ok(vec![Gram { digits: vec![root], lens: vec![3], data }])
///     }
///     fn objective(&self, alignment: &Alignment) -> Result<f64> {
///         let [a, b] = &self.numbers;
///         let moved = alignment.copies(self.roots[0].id)[0].gather(b);
///         Ok(a.iter().zip(moved).map(|(x, y)| x * y).sum())
///     }
/// }
/// let net = Params::from_iter([("bias".to_owned(), Tensor::from_f32(&[3], vec![0.; 3])?)]);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("bias", "h")])?, &net)?;
/// let roots = symmetry.roots().into_iter().map(Root::new).collect();
/// let source = ByNumber { symmetry: &symmetry, roots, numbers: [[1., 2., 3.], [30., 10., 20.]] };
/// let found = ascend(&source, &Alignment::identity(&symmetry), &MatchOptions::default(), &mut |_| true)?;
/// assert_eq!(found.alignment.copies(symmetry.roots()[0])[0].as_slice(), [1, 2, 0]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub trait Source: Sync {
    /// The symmetry whose alignments are valued.
    fn symmetry(&self) -> &Symmetry;

    /// The roots that count, in the order of [`Order::Forward`](super::Order::Forward).
    fn roots(&self) -> &[Root];

    /// What each choice of a root and its families is worth, given the others: every Gram's digits begin with the root,
    /// and Grams of the same digits are added.
    ///
    /// # Errors
    /// What keeps the similarity from being computed.
    fn grams(&self, root: GroupId, current: &Alignment) -> Result<Vec<Gram>>;

    /// The value of an alignment. Along a change of one root it must change by what the Grams say, but for rounding.
    ///
    /// # Errors
    /// What keeps the value from being computed.
    fn objective(&self, alignment: &Alignment) -> Result<f64>;

    /// What the value changes by where only the elements of a root and its families change, in f64; asked for where Grams
    /// cannot tell.
    fn gain(&self, root: GroupId, from: &Alignment, to: &Alignment) -> Result<f64> {
        let _ = root;
        Ok(self.objective(to)? - self.objective(from)?)
    }

    /// Memory for the Grams of every root along one ascent, in the order of [`Self::roots`], if keeping them saves anything.
    fn caches(&self) -> Option<Vec<Box<dyn GramCache + '_>>> {
        None
    }
}

/// The Grams of one root of a source, kept while an alignment changes bit by bit.
///
/// ```
/// use onebasin_core::matching::{Source, Weights};
/// use onebasin_core::symmetry::Alignment;
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
/// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
/// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
/// #     Ok(Params::from_iter([first, last]))
/// # };
/// let a = net([1., 2., 3., 4.], [5., 6.])?;
/// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
/// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
/// let symmetry = Symmetry::resolve(&spec, &a)?;
/// let weights = Weights::new(&symmetry, &a, &b)?;
/// let mut caches = weights.caches().expect("weights keep their Grams");
/// assert_eq!(caches[0].grams(&Alignment::identity(&symmetry))?[0].data, [41., 30., 61., 41.]);
/// assert!(!caches[0].forget_if_updated()); // they were made from scratch
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub trait GramCache: Send {
    /// The Grams, as [`Source::grams`] gives them, up to rounding.
    ///
    /// # Errors
    /// What keeps the similarity from being computed; so below.
    fn grams(&mut self, current: &Alignment) -> Result<Cow<'_, [Gram]>>;

    /// Whether there is room to keep them. Roots whose Grams are not kept are looked at one at a time.
    fn keeps(&self) -> bool {
        true
    }

    /// The Grams over a sample of what they are sums of, where that costs much less: of weights, over an eighth of the columns
    /// or 256 of them, where the group has 64 units or more and no families, and networks are single precision and on no
    /// device.
    fn sample(&mut self, current: &Alignment) -> Result<Option<Cow<'_, [Gram]>>> {
        let _ = current;
        Ok(None)
    }

    /// Whether there is such a sample.
    fn samples(&self) -> bool {
        false
    }

    /// Whether the current element, that was last looked at by a sample, is proven the best without the Grams; `units` are its
    /// permutation.
    ///
    /// Formula: `⟨a_i, b_j⟩ ≤ R_ij + ‖a_i‖ ‖b_j‖` over the columns left out, `R` being the sample; and prices `d_i / 2`, `d_i` being
    /// the similarity of unit i and its partner over all columns, prove their pairs the best if no pair is worth more than
    /// its two prices. Pairs that the bound leaves in doubt are multiplied one by one.
    fn proves(&mut self, current: &Alignment, units: &[usize]) -> Result<bool> {
        let _ = (current, units);
        Ok(false)
    }

    /// Forgets the Grams if they were brought up to date since they were last made from scratch; whether it did.
    fn forget_if_updated(&mut self) -> bool;
}

/// A root group as schedules see it: which others must be solved again after it, and what counts as a gain.
///
/// ```
/// use onebasin_core::matching::{Root, Source, Weights};
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
/// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
/// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
/// #     Ok(Params::from_iter([first, last]))
/// # };
/// let a = net([1., 2., 3., 4.], [5., 6.])?;
/// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
/// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
/// let symmetry = Symmetry::resolve(&spec, &a)?;
/// let weights = Weights::new(&symmetry, &a, &b)?;
/// let root = &weights.roots()[0];
/// assert!(root.tolerance > 0.0 && root.neighbours.is_empty() && !root.quadratic); // no other group shares a tensor
/// assert_eq!(Root::new(root.id).tolerance, 0.0);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
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
    /// A root whose Grams depend on no other, with nothing known of rounding: every gain above 0 counts.
    pub fn new(id: GroupId) -> Self {
        Self { id, neighbours: Vec::new(), quadratic: false, tolerance: 0.0, rounding: 0.0 }
    }
}

/// Similarities that do not depend on the alignment of other groups, as activations give them; see [`Gram`] for an
/// example.
#[derive(Debug, Clone)]
pub struct Fixed<'a> {
    symmetry: &'a Symmetry,
    roots: Vec<Root>,
    grams: Vec<Vec<Gram>>,
}

impl<'a> Fixed<'a> {
    /// Takes the Grams of every root that has any. A gain below `64 ε Σ ‖Gram‖` is rounding.
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// use onebasin_core::matching::{Fixed, Gram, Source};
    /// use onebasin_core::symmetry::Alignment;
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net(&[1., 2.])?)?;
    /// let gram = |h| Gram { digits: vec![h], lens: vec![2], data: vec![1., 2., 3., 5.] };
    /// let source = Fixed::new(&symmetry, symmetry.roots().into_iter().map(|h| (h, vec![gram(h)])));
    /// assert_eq!(source.objective(&Alignment::identity(&symmetry))?, 1. + 5.);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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

/// A weighted sum of sources over one symmetry, such as activations and weights.
///
/// ```
/// use onebasin_core::matching::{Blend, Source, Weights};
/// use onebasin_core::symmetry::Alignment;
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
/// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
/// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
/// #     Ok(Params::from_iter([first, last]))
/// # };
/// let a = net([1., 2., 3., 4.], [5., 6.])?;
/// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
/// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
/// let symmetry = Symmetry::resolve(&spec, &a)?;
/// let (weights, identity) = (Weights::new(&symmetry, &a, &b)?, Alignment::identity(&symmetry));
/// let first = symmetry.restrict(|name| name == "fc1.weight");
/// let first = Weights::new(&first, &a, &b)?;
/// let start = [first.objective(&identity)?, weights.objective(&identity)?];
/// let blend = Blend::new(&first, &weights, 0.25, start);
/// assert!((blend.objective(&identity)? - 1.0).abs() < 1e-12); // ¾ · 22 / 22 + ¼ · 82 / 82
/// # Ok::<(), onebasin_core::Error>(())
/// ```
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
    /// ```
    /// use onebasin_core::matching::{Blend, Source, Weights};
    /// use onebasin_core::symmetry::Alignment;
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
    /// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
    /// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
    /// #     Ok(Params::from_iter([first, last]))
    /// # };
    /// let a = net([1., 2., 3., 4.], [5., 6.])?;
    /// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
    /// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
    /// let symmetry = Symmetry::resolve(&spec, &a)?;
    /// let (weights, identity) = (Weights::new(&symmetry, &a, &b)?, Alignment::identity(&symmetry));
    /// let same = Blend::new(&weights, &weights, 0.5, [82.0, 82.0]);
    /// assert_eq!(same.objective(&identity)?, 1.0);
    /// assert_eq!(same.roots().len(), weights.roots().len());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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
