//! Tensors of a checkpoint found by their values.

use std::collections::HashMap;
use std::rc::Rc;

use onebasin_core::{DType, Tensor};

use super::recipe::{Recipe, runs, slice};
use super::values::{as_type, common, fingerprint, is_telling, ordered, slice_fingerprints};

/// Most axes, those of length 1 left out, whose orders are all tried.
const AXES: usize = 5;

/// Most tensors that are compared in full with one tensor, and most places where a slice is looked for.
const TRIES: usize = 64;

/// Most blocks along the first axis that are looked for one by one, such as the directions of a recurrent layer.
const BLOCKS: usize = 8;

/// Most runs of single slices that one tensor gives to another, such as the gates of a layer with one unit.
const SINGLES: usize = 4;

/// A tensor of the checkpoint that a tensor of the model is, and how.
pub(super) type Equal = (usize, Recipe);

/// The tensors that are searched, by fingerprints of their values.
///
/// Cost: a pass over the bytes of all tensors for each element type of the model, and one more for every axis as soon as
/// a tensor is none of them as a whole; then a look into a map, and one comparison in full, for each tensor of the model.
pub(super) struct Search<'t> {
    tensors: Vec<(&'t str, &'t Tensor)>,
    wholes: HashMap<DType, Wholes>,
    slices: HashMap<DType, Slices>,
    found: HashMap<(DType, Vec<usize>, u64), Rc<Vec<Equal>>>,
}

/// Tensors by the type of comparison, their number of elements and their fingerprint, with what tells orders apart.
type Wholes = HashMap<(DType, usize, u64), Vec<(usize, u64)>>;

#[derive(Default)]
struct Slices {
    /// Fingerprints of the slices of every axis.
    axes: HashMap<(usize, usize), (DType, Vec<u64>)>,
    /// Where slices of this fingerprint lie.
    places: HashMap<(DType, u64), Vec<SlicePlace>>,
}

/// Tensor, axis, position.
type SlicePlace = (usize, usize, usize);

/// A run of slices of a tensor.
struct Run {
    tensor: usize,
    axis: usize,
    start: usize,
    len: usize,
    dtype: DType,
}

impl<'t> Search<'t> {
    pub(super) fn new(tensors: Vec<(&'t str, &'t Tensor)>) -> Self {
        Self { tensors, wholes: HashMap::new(), slices: HashMap::new(), found: HashMap::new() }
    }

    pub(super) fn tensor(&self, k: usize) -> (&'t str, &'t Tensor) {
        self.tensors[k]
    }

    /// Every tensor that holds the same values, in whatever shape and order of axes.
    pub(super) fn wholes(&mut self, wanted: &Tensor) -> Rc<Vec<Equal>> {
        let dtype = wanted.dtype();
        let key = (dtype, wanted.shape().to_vec(), ordered(wanted));
        if let Some(known) = self.found.get(&key) {
            return Rc::clone(known);
        }
        let tensors = &self.tensors;
        let index = self.wholes.entry(dtype).or_insert_with(|| wholes(tensors, dtype));
        let mut equal = Vec::new();
        for compared in types(tensors, dtype) {
            let Some(wanted) = as_type(wanted, compared) else { continue };
            let Some(bucket) = index.get(&(compared, wanted.len(), fingerprint(&wanted))) else { continue };
            let mut classes: HashMap<(&[usize], u64), Option<Recipe>> = HashMap::new();
            for &(k, order) in bucket {
                let (name, tensor) = tensors[k];
                let tries = classes.len();
                let class = classes.entry((tensor.shape(), order)).or_insert_with(|| {
                    let from = as_type(tensor, compared).filter(|_| tries < TRIES)?;
                    rearranged(&from, Recipe::tensor(name, tensor), &wanted)
                });
                if let Some(recipe) = class {
                    let mut recipe = recipe.clone();
                    recipe.renamed(&|_| Some(name.to_owned()));
                    equal.push((k, recipe));
                }
            }
        }
        let equal = Rc::new(equal);
        self.found.insert(key, Rc::clone(&equal));
        equal
    }

    /// Slices of tensors, one after the other along an axis, that hold the same values; of equally long ones the tensor
    /// that `prefer` gives the most for.
    pub(super) fn pieces(&mut self, wanted: &Tensor, prefer: &dyn Fn(&str) -> usize) -> Option<Recipe> {
        self.joined(wanted, prefer).or_else(|| {
            // Blocks side by side: the directions of a recurrent layer, layers in one tensor.
            let blocks = *wanted.shape().first().filter(|n| (2..=BLOCKS).contains(*n))?;
            let parts = (0..blocks).map(|k| {
                let block = slice(wanted, 0, k, 1)?;
                let wholes = self.wholes(&block);
                let whole = wholes.iter().max_by_key(|(k, _)| (prefer(self.tensors[*k].0), std::cmp::Reverse(*k)));
                whole.filter(|_| is_telling(&block)).map(|(_, r)| r.clone()).or_else(|| self.joined(&block, prefer))
            });
            Some(Recipe::joined(parts.collect::<Option<Vec<_>>>()?, 0))
        })
    }

    fn joined(&mut self, wanted: &Tensor, prefer: &dyn Fn(&str) -> usize) -> Option<Recipe> {
        let dtype = wanted.dtype();
        let tensors = &self.tensors;
        let index = self.slices.entry(dtype).or_insert_with(|| slices(tensors, dtype));
        let squeezed = squeezed(wanted.shape());
        if squeezed.is_empty() || squeezed.len() > AXES {
            return None;
        }
        let flat = Tensor::new(dtype, &squeezed, wanted.bytes().clone()).ok()?;
        for compared in types(tensors, dtype) {
            let Some(flat) = as_type(&flat, compared) else { continue };
            for axis in 0..squeezed.len() {
                let sums = slice_fingerprints(&flat, axis);
                let runs = cover(index, &sums, compared, &|k| prefer(tensors[k].0));
                let made = runs.and_then(|runs| put_together(tensors, &flat, axis, &runs));
                if let Some(recipe) = made {
                    return Some(recipe.reshaped(wanted.shape()));
                }
            }
        }
        None
    }
}

/// The types that tensors are compared in with one of this type.
fn types(tensors: &[(&str, &Tensor)], dtype: DType) -> Vec<DType> {
    let mut types: Vec<DType> = Vec::new();
    for (_, tensor) in tensors {
        let compared = common(dtype, tensor.dtype());
        if !types.contains(&compared) {
            types.push(compared);
        }
    }
    types
}

fn wholes(tensors: &[(&str, &Tensor)], dtype: DType) -> Wholes {
    let mut index = Wholes::new();
    for (k, (_, tensor)) in tensors.iter().enumerate() {
        let compared = common(dtype, tensor.dtype());
        let Some(tensor) = as_type(tensor, compared) else { continue };
        index.entry((compared, tensor.len(), fingerprint(&tensor))).or_default().push((k, ordered(&tensor)));
    }
    index
}

fn slices(tensors: &[(&str, &Tensor)], dtype: DType) -> Slices {
    let mut index = Slices::default();
    for (k, (_, tensor)) in tensors.iter().enumerate() {
        let compared = common(dtype, tensor.dtype());
        let Some(tensor) = as_type(tensor, compared).filter(is_telling) else { continue };
        for axis in (0..tensor.shape().len()).filter(|a| tensor.shape()[*a] > 1) {
            let sums = slice_fingerprints(&tensor, axis);
            for (at, &sum) in sums.iter().enumerate() {
                let places = index.places.entry((compared, sum)).or_default();
                if places.len() < TRIES {
                    places.push((k, axis, at));
                }
            }
            index.axes.insert((k, axis), (compared, sums));
        }
    }
    index
}

/// The longest runs that follow each other over all slices.
fn cover(index: &Slices, sums: &[u64], compared: DType, prefer: &dyn Fn(usize) -> usize) -> Option<Vec<Run>> {
    let (mut runs, mut at) = (Vec::new(), 0);
    while at < sums.len() {
        let places = index.places.get(&(compared, sums[at]))?;
        let run = |&(tensor, axis, start): &SlicePlace| {
            let (dtype, others) = &index.axes[&(tensor, axis)];
            let len = sums[at..].iter().zip(&others[start..]).take_while(|(a, b)| a == b).count();
            Run { tensor, axis, start, len, dtype: *dtype }
        };
        let best = places.iter().map(run).max_by_key(|r| (r.len, prefer(r.tensor), std::cmp::Reverse(r.tensor)))?;
        at += best.len;
        runs.push(best);
        if runs.len() > TRIES {
            return None;
        }
    }
    (!is_renumbered(&runs)).then_some(runs)
}

/// Whether runs are the units of a tensor in another order, and not its blocks: exporters exchange gates and heads, which
/// have one length, and never units. What holds the units of a model in another order is that network renumbered.
fn is_renumbered(runs: &[Run]) -> bool {
    let mut sources: HashMap<(usize, usize), (usize, usize)> = HashMap::new();
    for run in runs {
        let (count, block) = sources.entry((run.tensor, run.axis)).or_default();
        (*count, *block) = (*count + 1, gcd(run.len, *block));
    }
    sources.values().any(|&(count, block)| count > SINGLES && block == 1)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What these runs make, if it is the tensor.
fn put_together(tensors: &[(&str, &Tensor)], wanted: &Tensor, axis: usize, runs: &[Run]) -> Option<Recipe> {
    let mut at = 0;
    let mut parts = Vec::with_capacity(runs.len());
    for run in runs {
        let (name, tensor) = tensors[run.tensor];
        let piece = slice(wanted, axis, at, run.len).filter(is_telling)?;
        let from = slice(&as_type(tensor, run.dtype)?, run.axis, run.start, run.len)?;
        let recipe = Recipe::tensor(name, tensor).sliced(run.axis, run.start, run.len);
        parts.push(rearranged(&from, recipe, &piece)?);
        at += run.len;
    }
    Some(Recipe::joined(parts, axis))
}

fn squeezed(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|n| *n != 1).collect()
}

/// The way from one tensor to another of the same elements, if it is a reshape, an order of axes, or both.
fn rearranged(from: &Tensor, recipe: Recipe, to: &Tensor) -> Option<Recipe> {
    if from.len() != to.len() || from.dtype() != to.dtype() {
        return None;
    }
    if from.bytes() == to.bytes() {
        return Some(recipe.reshaped(to.shape()));
    }
    let (inner, outer) = (squeezed(from.shape()), squeezed(to.shape()));
    if inner.len().max(outer.len()) > AXES {
        return None;
    }
    let orders = orders(inner.len().max(outer.len()));
    for order in &orders {
        let shape: Vec<usize> = if inner.len() >= outer.len() {
            inner.clone()
        } else {
            let mut shape = outer.clone();
            order.iter().zip(&outer).for_each(|(&o, &n)| shape[o] = n);
            shape
        };
        if holds(from, &shape, order, to) {
            return Some(recipe.reshaped(&shape).transposed(order).reshaped(to.shape()));
        }
    }
    None
}

/// Whether a tensor, in this shape and with its axes in this order, is the other one.
fn holds(from: &Tensor, shape: &[usize], order: &[usize], to: &Tensor) -> bool {
    let (size, bytes) = (to.dtype().size(), from.bytes());
    let mut rest = to.bytes().chunks_exact(size);
    runs(shape, order, |at, len, stride| {
        (0..len).all(|k| rest.next() == Some(&bytes[(at + k * stride) * size..][..size]))
    })
}

/// All orders of `n` axes but the one they have.
fn orders(n: usize) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..n {
        all = all
            .iter()
            .flat_map(|order| {
                (0..n).filter(|k| !order.contains(k)).map(move |k| order.iter().copied().chain([k]).collect())
            })
            .collect();
    }
    all.remove(0);
    all
}
