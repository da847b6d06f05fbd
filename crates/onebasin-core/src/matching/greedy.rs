//! Greedy matching: one pass from the input to the output, each group by what comes in. A baseline.

use super::nested::{Element, best_element};
use super::similarity::weight_grams;
use super::source::Source;
use super::weight::Weights;
use crate::error::Result;
use crate::symmetry::{Alignment, GroupId, Symmetry};

/// Aligns the groups once, in the source's order, by the cosine similarity of what comes in.
///
/// Formula: units i of A and j of B have similarity `⟨a_i, b_j⟩ / (‖a_i‖ ‖b_j‖)`, 0 where one is zero, over all entries
/// that come in; then one assignment per group. What comes in are the tensors of a group whose other groups were
/// aligned before. A group without any stays as it is, and so do residual streams beyond their first tensors: nothing
/// that comes later is looked at.
///
/// Cost: three products per site, and one assignment per group.
///
/// # Errors
/// If a tensor is missing, or a float in A and none in B.
///
/// Source: the greedy baseline in the code of Ainsworth et al. 2023, which looks at kernels alone; here biases count too.
///
/// ```
/// use onebasin_core::matching::{Weights, greedy};
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
/// let found = greedy(&Weights::new(&symmetry, &a, &b)?)?;
/// assert_eq!(found.apply(&symmetry, &b)?, a);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn greedy(weights: &Weights<'_>) -> Result<Alignment> {
    let symmetry = weights.symmetry();
    let [a, b] = weights.networks();
    let mut alignment = Alignment::identity(symmetry);
    let mut known: Vec<GroupId> = Vec::new();
    for root in weights.roots().iter().map(|r| r.id) {
        known.push(root);
        let incoming = incoming(symmetry, root, &known);
        let mut grams = weight_grams(&incoming, root, &alignment, a, b)?;
        let mine = weight_grams(&incoming, root, &Alignment::identity(symmetry), a, a)?;
        let theirs = weight_grams(&incoming, root, &Alignment::identity(symmetry), b, b)?;
        for ((gram, mine), theirs) in grams.iter_mut().zip(&mine).zip(&theirs) {
            let n: usize = gram.lens.iter().product();
            let norm = |data: &[f64], i: usize| data[i * n + i].sqrt();
            for (at, value) in gram.data.iter_mut().enumerate() {
                let norms = norm(&mine.data, at / n) * norm(&theirs.data, at % n);
                *value = if norms > 0.0 { *value / norms } else { 0.0 };
            }
        }
        let current = Element::of(symmetry, &alignment, root);
        best_element(symmetry, root, &grams, &current, None)?.element.store(&mut alignment, root);
    }
    Ok(alignment)
}

/// The tensors of a root in which only known groups stand.
fn incoming(symmetry: &Symmetry, root: GroupId, known: &[GroupId]) -> Symmetry {
    let stands = |name: &str| {
        let layout = symmetry.tensor(symmetry.standing(name)).ok();
        let digits = layout.iter().flat_map(|l| &l.axes).flat_map(|x| &x.occurrences).flat_map(|o| &o.digits);
        let roots: Vec<GroupId> = digits.filter_map(|d| d.group).map(|g| symmetry.root(g)).collect();
        roots.contains(&root) && roots.iter().all(|g| known.contains(g))
    };
    symmetry.restrict(stands)
}
