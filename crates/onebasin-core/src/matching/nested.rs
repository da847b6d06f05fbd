//! The best element of a group and its families, given their Grams.
//!
//! A group without families is one linear assignment. With families, the value of pairing unit i of A with unit j of B
//! is the optimum of the inner assignments; then one outer assignment on those values. For one family at each level
//! this is exact; families that meet in one product (`(kv q@kv v@kv)`) are solved in turn for each pair.

use super::similarity::Gram;
use crate::assignment::{Duals, Similarity, assign};
use crate::error::Result;
use crate::perm::Perm;
use crate::symmetry::{Alignment, GroupId, Symmetry};

/// A permutation and, for every family below, one element for each unit of the result: what one update chooses.
///
/// ```
/// use onebasin_core::matching::Element;
/// use onebasin_core::symmetry::Alignment;
/// use onebasin_core::Perm;
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
/// let h = symmetry.roots()[0];
/// let swap = Alignment::new(&symmetry, vec![vec![Perm::new(vec![1, 0])?]])?;
/// let mut alignment = Alignment::identity(&symmetry);
/// Element::of(&symmetry, &swap, h).store(&mut alignment, h);
/// assert_eq!(alignment, swap);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    perm: Perm,
    families: Vec<(GroupId, Vec<Element>)>,
}

/// The outcome of an update: the best element found, its value, and the value of the current one; values are sums of
/// entries of the Grams. [`best_element`] has an example.
#[derive(Debug)]
pub struct Best {
    /// The best element found; never worth less than the current one, up to rounding.
    pub element: Element,
    /// Its value.
    pub value: f64,
    /// Value of the current element on the same Grams.
    pub current: f64,
    /// The proof of the outer assignment: the warm start of a similar one.
    pub duals: Duals,
}

/// Rounds of the inner ascent when several families meet; each is exact for one family given the others.
const ROUNDS: usize = 20;

/// The best element of `id` on `grams`; `warm` as in [`assign`].
///
/// Formula: without families `max_σ Σ_i s[i, σ(i)]`, `s` being the sum of the Grams. With families `s[i, j]` is the
/// best value of the families of that pair, by the same rule; families that meet in one product are improved in turn,
/// at most 20 times.
///
/// Cost: one assignment, and with families `n²` of theirs.
///
/// # Errors
/// Those of [`assign`].
///
/// ```
/// use onebasin_core::matching::{Element, best_element, weight_grams};
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
/// let (h, mut alignment) = (symmetry.roots()[0], Alignment::identity(&symmetry));
/// let grams = weight_grams(&symmetry, h, &alignment, &a, &b)?;
/// let best = best_element(&symmetry, h, &grams, &Element::of(&symmetry, &alignment, h), None)?;
/// assert_eq!((best.current, best.value), (82.0, 91.0));
/// best.element.store(&mut alignment, h);
/// assert_eq!(alignment.apply(&symmetry, &b)?, a);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn best_element(
    symmetry: &Symmetry,
    id: GroupId,
    grams: &[Gram],
    current: &Element,
    warm: Option<&Duals>,
) -> Result<Best> {
    let n = symmetry.group(id).size;
    let (flat, nested): (Vec<&Gram>, Vec<&Gram>) = grams.iter().partition(|g| g.digits.len() == 1);
    let mut similarity = flat.first().map_or_else(|| vec![0.0; n * n], |g| g.data.clone());
    for gram in flat.iter().skip(1) {
        similarity.iter_mut().zip(&gram.data).for_each(|(s, g)| *s += g);
    }
    let mut inner: Vec<Vec<(GroupId, Element)>> = Vec::new();
    let mut current_value: f64 = (0..n).map(|i| similarity[i * n + current.perm.at(i)]).sum();
    if !nested.is_empty() {
        for i in 0..n {
            for j in 0..n {
                let block: Vec<Gram> = nested.iter().map(|g| restrict(g, i, j)).collect();
                let mut start = None;
                if current.perm.at(i) == j {
                    let unit = current.unit(i);
                    current_value += families_value(symmetry, &block, &unit);
                    start = Some(unit);
                }
                let (elements, value) = best_families(symmetry, id, &block, start)?;
                similarity[i * n + j] += value;
                inner.push(elements);
            }
        }
    }
    let assignment = assign(&Similarity::new(n, similarity)?, warm)?;
    let families = symmetry.children(id).into_iter().map(|child| {
        let of = |i: usize| {
            let found = inner.get(i * n + assignment.perm.at(i)).and_then(|e| e.iter().find(|(g, _)| *g == child));
            found.map_or_else(|| Element::identity(symmetry, child), |(_, e)| e.clone())
        };
        (child, (0..n).map(of).collect())
    });
    let families = families.collect();
    let (value, duals) = (assignment.value, assignment.duals);
    Ok(Best { element: Element { perm: assignment.perm, families }, value, current: current_value, duals })
}

/// The best elements of all families of one pair of units, and their joint value.
fn best_families(
    symmetry: &Symmetry,
    parent: GroupId,
    grams: &[Gram],
    start: Option<Vec<(GroupId, Element)>>,
) -> Result<(Vec<(GroupId, Element)>, f64)> {
    let identity = || symmetry.children(parent).into_iter().map(|c| (c, Element::identity(symmetry, c))).collect();
    let mut elements: Vec<(GroupId, Element)> = start.unwrap_or_else(identity);
    let below = |gram: &Gram, child: GroupId| gram.digits.contains(&child);
    let coupled = grams.iter().any(|g| elements.iter().filter(|(c, _)| below(g, *c)).count() > 1);
    for _ in 0..if coupled { ROUNDS } else { 1 } {
        let mut improved = false;
        for k in 0..elements.len() {
            let child = elements[k].0;
            let own: Vec<Gram> = grams
                .iter()
                .filter(|g| below(g, child))
                .map(|g| contract(symmetry, g, &elements, |d| !is_below(symmetry, d, child)))
                .collect();
            let best = best_element(symmetry, child, &own, &elements[k].1, None)?;
            if best.value > best.current {
                improved |= best.element != elements[k].1;
                elements[k].1 = best.element;
            }
        }
        if !improved {
            break;
        }
    }
    let value = families_value(symmetry, grams, &elements);
    Ok((elements, value))
}

/// The value of given families of one pair of units.
fn families_value(symmetry: &Symmetry, grams: &[Gram], elements: &[(GroupId, Element)]) -> f64 {
    grams.iter().map(|g| contract(symmetry, g, elements, |_| true).data[0]).sum()
}

/// The value of an element of a root, given its Grams.
pub(super) fn value_of(symmetry: &Symmetry, grams: &[Gram], root: GroupId, element: &Element) -> f64 {
    families_value(symmetry, grams, &[(root, element.clone())])
}

fn is_below(symmetry: &Symmetry, id: GroupId, top: GroupId) -> bool {
    id == top || symmetry.ancestors(id).contains(&top)
}

/// The part of a Gram where the first digit is unit `i` of A and unit `j` of B.
pub(super) fn restrict(gram: &Gram, i: usize, j: usize) -> Gram {
    let lens = gram.lens[1..].to_vec();
    let side: usize = lens.iter().product();
    let full = side * gram.lens[0];
    let rows = (i * side..(i + 1) * side).flat_map(|r| &gram.data[r * full + j * side..][..side]);
    Gram { digits: gram.digits[1..].to_vec(), lens, data: rows.copied().collect() }
}

/// Sums a Gram over digits whose elements are held: every result unit against its source unit.
fn contract(symmetry: &Symmetry, gram: &Gram, held: &[(GroupId, Element)], hold: impl Fn(GroupId) -> bool) -> Gram {
    let kept: Vec<usize> = (0..gram.digits.len()).filter(|&d| !hold(gram.digits[d])).collect();
    if kept.len() == gram.digits.len() {
        return gram.clone();
    }
    let strides: Vec<usize> = (0..gram.lens.len()).map(|d| gram.lens[d + 1..].iter().product()).collect();
    let full: usize = gram.lens.iter().product();
    let mut offsets = Vec::new();
    let mut kept_offsets = Vec::new();
    crate::symmetry::for_each_index(&gram.lens, |values| {
        let at = |values: &[usize], which: &dyn Fn(usize) -> bool| -> usize {
            (0..values.len()).filter(|d| which(*d)).map(|d| values[d] * strides[d]).sum()
        };
        if kept.iter().all(|&d| values[d] == 0) {
            let source = sources(symmetry, gram, held, values);
            offsets.push((at(values, &|d| !kept.contains(&d)), at(&source, &|d| !kept.contains(&d))));
        }
        if (0..values.len()).all(|d| kept.contains(&d) || values[d] == 0) {
            kept_offsets.push(at(values, &|d| kept.contains(&d)));
        }
    });
    let sum = |r: usize, s: usize| offsets.iter().map(|(x, y)| gram.data[(r + x) * full + s + y]).sum::<f64>();
    let data = kept_offsets.iter().flat_map(|&r| kept_offsets.iter().map(move |&s| (r, s))).map(|(r, s)| sum(r, s));
    Gram {
        data: data.collect(),
        digits: kept.iter().map(|&d| gram.digits[d]).collect(),
        lens: kept.iter().map(|&d| gram.lens[d]).collect(),
    }
}

/// The source unit of every held digit; kept digits are left as they are.
fn sources(symmetry: &Symmetry, gram: &Gram, held: &[(GroupId, Element)], values: &[usize]) -> Vec<usize> {
    let mut source = values.to_vec();
    for (d, id) in gram.digits.iter().enumerate() {
        let mut chain = symmetry.ancestors(*id);
        chain.push(*id);
        let Some((top, element)) = held.iter().find(|(top, _)| chain.contains(top)) else { continue };
        let from = chain.iter().position(|g| g == top).expect("the chain holds it");
        let value =
            |g: GroupId| values[gram.digits.iter().position(|h| *h == g).expect("a family stands with its parent")];
        let inner = chain[from..].windows(2).fold(element, |e, pair| e.family(pair[1], value(pair[0])));
        source[d] = inner.perm.at(values[d]);
    }
    source
}

impl Element {
    /// The element of a group and its families that moves nothing.
    ///
    /// ```
    /// use onebasin_core::matching::Element;
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
    /// let h = symmetry.roots()[0];
    /// assert_eq!(Element::identity(&symmetry, h), Element::of(&symmetry, &Alignment::identity(&symmetry), h));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn identity(symmetry: &Symmetry, id: GroupId) -> Self {
        let n = symmetry.group(id).size;
        let families = symmetry.children(id).into_iter();
        let families = families.map(|c| (c, vec![Self::identity(symmetry, c); n])).collect();
        Self { perm: Perm::identity(n), families }
    }

    /// The part of an alignment that concerns a root and its families.
    ///
    /// # Panics
    /// If the alignment is of another symmetry.
    pub fn of(symmetry: &Symmetry, alignment: &Alignment, root: GroupId) -> Self {
        Self::copy_of(symmetry, alignment, root, 0)
    }

    fn copy_of(symmetry: &Symmetry, alignment: &Alignment, id: GroupId, copy: usize) -> Self {
        let n = symmetry.group(id).size;
        let family = |c| (0..n).map(|i| Self::copy_of(symmetry, alignment, c, copy * n + i)).collect();
        let families = symmetry.children(id).into_iter().map(|c| (c, family(c))).collect();
        Self { perm: alignment.copies(id)[copy].clone(), families }
    }

    /// Writes this element into an alignment, the permutations of the root's families included. Other groups stay.
    pub fn store(&self, alignment: &mut Alignment, root: GroupId) {
        let mut level = vec![(root, vec![self])];
        while let Some((id, copies)) = level.pop() {
            alignment.set(id, copies.iter().map(|e| e.perm.clone()).collect());
            for k in 0..copies.first().map_or(0, |e| e.families.len()) {
                let child = copies[0].families[k].0;
                level.push((child, copies.iter().flat_map(|e| &e.families[k].1).collect()));
            }
        }
    }

    fn unit(&self, i: usize) -> Vec<(GroupId, Self)> {
        self.families.iter().map(|(c, elements)| (*c, elements[i].clone())).collect()
    }

    fn family(&self, id: GroupId, unit: usize) -> &Self {
        let (_, elements) = self.families.iter().find(|(c, _)| *c == id).expect("a family of this group");
        &elements[unit]
    }
}
