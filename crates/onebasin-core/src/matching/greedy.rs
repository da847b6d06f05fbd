//! Greedy matching: one pass from the input to the output, each group by what comes in. A baseline.

use super::nested::{Element, best_element};
use super::similarity::weight_grams;
use super::source::Source;
use super::weight::Weights;
use crate::error::Result;
use crate::symmetry::{Alignment, GroupId, Symmetry};

/// Aligns the groups once, in the source's order, by the cosine similarity of what comes in.
///
/// What comes in are the tensors of a group whose other groups were aligned before. A group without any stays as it is, and
/// so do residual streams beyond their first tensors: nothing that comes later is looked at.
///
/// Cost: three products per site.
///
/// Source: the greedy baseline in the code of Ainsworth et al. 2023, which looks at kernels alone; here biases count too.
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
        let layout = symmetry.tensor(name).ok();
        let digits = layout.iter().flat_map(|l| &l.axes).flat_map(|x| &x.occurrences).flat_map(|o| &o.digits);
        let roots: Vec<GroupId> = digits.filter_map(|d| d.group).map(|g| symmetry.root(g)).collect();
        roots.contains(&root) && roots.iter().all(|g| known.contains(g))
    };
    symmetry.restrict(stands)
}
