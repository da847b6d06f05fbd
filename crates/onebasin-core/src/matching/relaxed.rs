//! Permutations relaxed to doubly stochastic matrices, and how these act on tensors.

use rayon::prelude::*;

use crate::error::Result;
use crate::linalg::{Mat, Scalar};
use crate::params::Params;
use crate::perm::Perm;
use crate::symmetry::{Alignment, GroupId, Occurrence, Symmetry, TensorLayout, for_each_index};

/// One square matrix for every relaxed group, row-major: entry `(i, j)` is how much of unit j of the source goes into unit
/// i of the result. Rows and columns sum to 1. A permutation σ has ones at `(i, σ(i))`.
pub type Matrices = Vec<Vec<f64>>;

/// Rows of a product computed by one task; fixed, so that results do not depend on the number of threads.
const ROWS: usize = 64;

/// Which groups of a symmetry are relaxed, and where they stand in every tensor.
///
/// Every root without families is relaxed. Roots with families are held at an element: the hull of nested permutations is
/// no product of doubly stochastic matrices, and their update is no linear assignment.
#[derive(Debug)]
pub struct Relaxation<'a> {
    symmetry: &'a Symmetry,
    groups: Vec<GroupId>,
    tensors: Vec<SoftTensor<'a>>,
    degree: usize,
}

/// A floating-point tensor and the axes on which relaxed groups stand.
#[derive(Debug)]
pub(super) struct SoftTensor<'a> {
    pub(super) name: &'a str,
    axes: Vec<SoftAxis>,
}

#[derive(Debug)]
struct SoftAxis {
    len: usize,
    inner: usize,
    /// The relaxed digits, those of one occurrence together.
    occurrences: Vec<Vec<RelaxedSite>>,
}

/// A digit of an axis that runs over a relaxed group.
#[derive(Debug)]
struct RelaxedSite {
    /// Index of the group among the relaxed ones.
    group: usize,
    units: usize,
    /// Where a unit stands on the axis: by unit, then by the other digits of its occurrence.
    positions: Vec<u32>,
}

impl<'a> Relaxation<'a> {
    /// Finds the relaxed groups and their places; `params` says which tensors are floating-point.
    ///
    /// # Errors
    /// If a tensor of the symmetry is missing.
    pub fn new(symmetry: &'a Symmetry, params: &Params) -> Result<Self> {
        let groups: Vec<GroupId> =
            symmetry.roots().into_iter().filter(|id| symmetry.children(*id).is_empty()).collect();
        let (mut tensors, mut degree) = (Vec::new(), 0);
        for (name, layout) in symmetry.tensors() {
            if params.require(name)?.dtype().is_float() && layout.moves() {
                let axes = soft_axes(layout, &groups);
                let most = |axis: &SoftAxis| axis.occurrences.iter().map(Vec::len).max().unwrap_or(0);
                degree = degree.max(axes.iter().map(most).sum());
                tensors.push(SoftTensor { name, axes });
            }
        }
        Ok(Self { symmetry, groups, tensors, degree })
    }

    /// The relaxed groups, in the order of their matrices: the roots without families, in the order of their ids.
    pub fn groups(&self) -> &[GroupId] {
        &self.groups
    }

    /// The largest number of places in which relaxed groups stand in one entry of a tensor: what an entry of a softly
    /// aligned tensor is a polynomial of, in the position on a segment of matrices.
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// The symmetry that is relaxed.
    pub fn symmetry(&self) -> &'a Symmetry {
        self.symmetry
    }

    pub(super) fn tensors(&self) -> &[SoftTensor<'a>] {
        &self.tensors
    }

    /// Number of units of every relaxed group.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().map(|id| self.symmetry.group(*id).size)
    }

    /// The barycentre of all permutations: `1/n` everywhere, for every group of `n` units.
    pub fn barycentre(&self) -> Matrices {
        self.sizes().map(|n| vec![1.0 / n as f64; n * n]).collect()
    }

    /// The matrices of an alignment: a one in every row and column.
    pub fn matrices(&self, alignment: &Alignment) -> Matrices {
        self.groups.iter().map(|id| matrix(&alignment.copies(*id)[0])).collect()
    }

    /// An alignment with the relaxed groups at the identity, so that only the others move.
    pub fn hold(&self, alignment: &Alignment) -> Alignment {
        let identities: Vec<Perm> = self.sizes().map(Perm::identity).collect();
        self.element(alignment, &identities)
    }

    /// An alignment with these permutations of the relaxed groups.
    pub fn element(&self, held: &Alignment, perms: &[Perm]) -> Alignment {
        let mut element = held.clone();
        self.groups.iter().zip(perms).for_each(|(id, perm)| element.set(*id, vec![perm.clone()]));
        element
    }
}

impl SoftTensor<'_> {
    /// Applies the matrices to the values of a tensor.
    ///
    /// Formula: `out[.. v_d = i ..] = Σ_j P[i, j] · in[.. v_d = j ..]` for every relaxed digit d, one after the other.
    /// Cost: `2 n · numel` flops for every axis on which a group of `n` units stands.
    pub(super) fn apply(&self, matrices: &[Vec<f64>], mut values: Vec<f64>) -> Vec<f64> {
        self.axes.iter().for_each(|axis| axis.apply(matrices, &mut values));
        values
    }

    /// Adds to `gradient` what `⟨a, P·b⟩` changes by with every entry of the matrices.
    ///
    /// Formula: for every relaxed digit, the Gram of a's slices with those of b, all other digits softly aligned.
    /// Cost: for every axis one product, and one more for every other axis.
    pub(super) fn add_gradient(&self, matrices: &[Vec<f64>], a: &[f64], b: &[f64], gradient: &mut [Vec<f64>]) {
        if a.is_empty() {
            return;
        }
        for (k, axis) in self.axes.iter().enumerate() {
            let mut beside = b.to_vec();
            let others = self.axes.iter().enumerate().filter(|(other, _)| *other != k);
            others.for_each(|(_, other)| other.apply(matrices, &mut beside));
            for sites in &axis.occurrences {
                for (d, site) in sites.iter().enumerate() {
                    let rest = || sites.iter().enumerate().filter(|(e, _)| *e != d).map(|(_, other)| other);
                    if rest().next().is_none() {
                        site.add_gram(axis, a, &beside, &mut gradient[site.group]);
                    } else {
                        let mut moved = beside.clone();
                        rest().for_each(|other| other.apply(axis, &matrices[other.group], &mut moved));
                        site.add_gram(axis, a, &moved, &mut gradient[site.group]);
                    }
                }
            }
        }
    }
}

/// The matrix of a permutation.
pub(super) fn matrix(perm: &Perm) -> Vec<f64> {
    let n = perm.len();
    let mut matrix = vec![0.0; n * n];
    (0..n).for_each(|i| matrix[i * n + perm.at(i)] = 1.0);
    matrix
}

fn soft_axes(layout: &TensorLayout, groups: &[GroupId]) -> Vec<SoftAxis> {
    let lens: Vec<usize> = layout.axes.iter().map(|a| a.len).collect();
    let sites = |occurrence: &Occurrence| -> Vec<RelaxedSite> {
        let digits = occurrence.digits.iter().enumerate();
        let relaxed = digits.filter_map(|(d, x)| Some((d, groups.iter().position(|g| Some(*g) == x.group)?)));
        relaxed.map(|(digit, group)| site(occurrence, digit, group)).collect()
    };
    let axes = layout.axes.iter().enumerate().map(|(k, axis)| SoftAxis {
        len: axis.len,
        inner: lens[k + 1..].iter().product(),
        occurrences: axis.occurrences.iter().map(sites).filter(|s| !s.is_empty()).collect(),
    });
    axes.filter(|a| !a.occurrences.is_empty()).collect()
}

fn site(occurrence: &Occurrence, digit: usize, group: usize) -> RelaxedSite {
    let units = occurrence.digits[digit].len;
    let others: Vec<usize> =
        occurrence.digits.iter().enumerate().map(|(d, x)| if d == digit { 1 } else { x.len }).collect();
    let mut positions = Vec::new();
    for unit in 0..units {
        for_each_index(&others, |values| {
            let mut values = values.to_vec();
            values[digit] = unit;
            positions.push(occurrence.position(&values) as u32);
        });
    }
    RelaxedSite { group, units, positions }
}

impl SoftAxis {
    fn apply(&self, matrices: &[Vec<f64>], values: &mut [f64]) {
        for site in self.occurrences.iter().flatten() {
            site.apply(self, &matrices[site.group], values);
        }
    }
}

impl RelaxedSite {
    fn context(&self) -> usize {
        self.positions.len() / self.units
    }

    /// The entries where the digit stands, a row for every unit; columns run over (outer axes, context, inner axes).
    fn unfold(&self, axis: &SoftAxis, values: &[f64]) -> Vec<f64> {
        let (context, inner) = (self.context(), axis.inner);
        let columns = values.len() / axis.len * context;
        let mut rows = vec![0.0; self.units * columns];
        rows.par_chunks_mut(columns).enumerate().for_each(|(unit, row)| {
            let positions = &self.positions[unit * context..][..context];
            for (outer, block) in row.chunks_exact_mut(context * inner).enumerate() {
                for (run, &p) in block.chunks_exact_mut(inner).zip(positions) {
                    run.copy_from_slice(&values[(outer * axis.len + p as usize) * inner..][..inner]);
                }
            }
        });
        rows
    }

    fn apply(&self, axis: &SoftAxis, matrix: &[f64], values: &mut [f64]) {
        if values.is_empty() {
            return;
        }
        let (n, context, inner) = (self.units, self.context(), axis.inner);
        let source = self.unfold(axis, values);
        let columns = source.len() / n;
        let mut result = vec![0.0; source.len()];
        result.par_chunks_mut(ROWS * columns).zip(matrix.par_chunks(ROWS * n)).for_each(|(out, rows)| {
            f64::matmul(out, Mat::new(rows, rows.len() / n, n), Mat::new(&source, n, columns), false);
        });
        values.par_chunks_exact_mut(axis.len * inner).enumerate().for_each(|(outer, block)| {
            for (unit, positions) in self.positions.chunks_exact(context).enumerate() {
                let row = &result[unit * columns + outer * context * inner..][..context * inner];
                for (run, &p) in row.chunks_exact(inner).zip(positions) {
                    block[p as usize * inner..][..inner].copy_from_slice(run);
                }
            }
        });
    }

    fn add_gram(&self, axis: &SoftAxis, a: &[f64], b: &[f64], gram: &mut [f64]) {
        let n = self.units;
        let (a, b) = (self.unfold(axis, a), self.unfold(axis, b));
        let columns = a.len() / n;
        gram.par_chunks_mut(ROWS * n).zip(a.par_chunks(ROWS * columns)).for_each(|(out, rows)| {
            let m = rows.len() / columns;
            f64::matmul(out, Mat::new(rows, m, columns), Mat::new(&b, n, columns).t(), true);
        });
    }
}
