//! Apply and merge from file to file, tensor by tensor, whatever the size of the networks.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use onebasin_core::merge::{MergeRule, Products};
use onebasin_core::symmetry::{Alignment, Gather, Symmetry};
use onebasin_core::{Params, Tensor};

use crate::atomic::Check;
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::metadata::Metadata;
use crate::pipeline::{Pass, PassStep, Piece, PieceWork};
use crate::reader::Reader;
use crate::target::{Staging, Target};
use crate::write::TensorEntry;

/// Entries gathered at a time, small enough to stay in cache.
const BLOCK: usize = 4096;
/// A digest as long as every other.
const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Told of so many entries that are done; whether to go on.
pub type Passed<'a> = dyn Fn(u64) -> bool + Sync + 'a;

/// Who is asked while networks pass by from file to file.
///
/// ```
/// use onebasin_io::Asked;
/// let asked = Asked { progress: &|entries| entries < 1000, ..Asked::default() };
/// assert!((asked.progress)(0) && (asked.check)("m.safetensors".as_ref()).is_ok());
/// ```
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Told of entries that are done, and asked, with none, whether to go on.
    pub progress: &'a Passed<'a>,
    /// Whether what was made may take its place.
    pub check: &'a Check<'a>,
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Self { progress: &|_| true, check: &|_| Ok(()) }
    }
}

/// A checkpoint and the element of its symmetry that moves it.
#[derive(Debug, Clone, Copy)]
pub struct Moving<'a> {
    /// The network that moves; all its tensors are those of the symmetry.
    pub b: &'a Checkpoint,
    /// What may be exchanged.
    pub symmetry: &'a Symmetry,
    /// How it moves.
    pub alignment: &'a Alignment,
}

/// Writes `π(B)` and, as they are, the tensors `carried` of the same checkpoint.
///
/// `metadata` says what the header holds, given B's digest; the length of its text must not depend on the digest. Bytes
/// are those of [`Target::write`] after [`Alignment::apply`]. Files take their places if
/// `asked` agrees, and if B's are what they were.
///
/// Cost: every byte is read once, hashed for the digest, and written once; memory is two tensors of B and 256 MiB of
/// pieces at most, whatever the size of the network. Tensors of formats other than safetensors are in memory already.
///
/// # Errors
/// If a file cannot be read or written, or was changed meanwhile, a value is a NaN, or a tensor does not fit the
/// symmetry; nothing is written then.
pub fn apply_streamed(
    target: &Target,
    moving: &Moving<'_>,
    carried: &Params,
    metadata: &dyn Fn(&str) -> Metadata,
    asked: &Asked<'_>,
) -> Result<()> {
    let Asked { progress, check } = *asked;
    let (b, go_on) = (moving.b, || progress(0));
    let own = b.params.iter().map(|(name, t)| Ok((name, moving.source(name, t)?)));
    let all = carried.iter().map(Ok).chain(own).collect::<Result<Vec<_>>>()?;
    let steps = ordered(b, all.into_iter().map(|(name, t)| step(name, None, Some(t))));
    let entries = carried.iter().chain(b.params.iter()).map(|(name, t)| TensorEntry::new(name, t.dtype(), t.shape()));
    let staging = Staging::new(target, entries.collect(), &metadata(UNKNOWN), &go_on)?;
    let reader = Reader::new(b, carried, steps.iter().filter_map(|s| s.b));
    let work = |k: usize| -> Result<PieceWork<'_>> {
        let PassStep { name, b: Some(tensor), .. } = steps[k] else { unreachable!("every tensor is B's") };
        let gather = if carried.get(name).is_some() { None } else { Some(moving.gather(name, tensor)?) };
        let size = tensor.dtype().size();
        let staging = &staging;
        Ok(Box::new(move |piece: Piece<'_>| {
            let (start, len) = (piece.start * size, piece.entries * size);
            let Some(gather) = &gather else { return staging.write_at(name, start as u64, &piece.b[start..][..len]) };
            piece.scratch.resize(len, 0);
            gather.fill(piece.b, piece.start, piece.scratch);
            staging.write_at(name, start as u64, piece.scratch)
        }))
    };
    Pass { steps: &steps, a: None, b: &reader, output: target.path(), progress }.run(&work)?;
    reader.finish()?;
    b.unchanged()?;
    staging.finish(&metadata(b.digest()), &|made| sound(&[b], check, made))
}

/// Writes what `rule` makes of A and `π(B)` and, as they are, the tensors `carried` of A's checkpoint.
///
/// `metadata` says what the header holds, given the digests of A and B, as for [`apply_streamed`]. Bytes are those of
/// [`Target::write`] after [`Alignment::apply`] and [`merge`](onebasin_core::merge::merge).
///
/// Cost: as [`apply_streamed`], A's bytes in pieces.
///
/// # Errors
/// As [`apply_streamed`], and if the networks differ in structure, or in values that have no mean
/// ([`TensorRule::check`](onebasin_core::merge::TensorRule::check)).
///
/// ```
/// # use onebasin_core::merge::MergeRule;
/// # use onebasin_core::symmetry::{Alignment, Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # use onebasin_io::{Asked, Metadata, Moving, Target, merge_streamed, read, write};
/// # let folder = tempfile::tempdir()?;
/// # let path = |name: &str| folder.path().join(name);
/// for (name, values) in [("a.safetensors", vec![0., 2.]), ("b.safetensors", vec![4., 2.])] {
///     let net = Params::from_iter([("w".to_owned(), Tensor::from_f32(&[2], values)?)]);
///     write(&path(name), &net, &Metadata::default())?;
/// }
/// let (a, b) = (read(&path("a.safetensors"))?, read(&path("b.safetensors"))?);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &a.params)?;
/// let moving = Moving { b: &b, symmetry: &symmetry, alignment: &Alignment::identity(&symmetry) };
/// let target = Target::like(&path("m.safetensors"), &a)?;
/// let rule = MergeRule::lerp(0.5)?;
/// merge_streamed(&target, &a, &moving, &Params::new(), &rule, &|_| Metadata::default(), &Asked::default())?;
/// assert_eq!(*read(&path("m.safetensors"))?.params.require("w")?.to_f64()?, [2., 2.]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn merge_streamed(
    target: &Target,
    a: &Checkpoint,
    moving: &Moving<'_>,
    carried: &Params,
    rule: &MergeRule<'_>,
    metadata: &dyn Fn([&str; 2]) -> Metadata,
    asked: &Asked<'_>,
) -> Result<()> {
    let Asked { progress, check } = *asked;
    let (steps, go_on) = (moving.steps(a, carried)?, || progress(0));
    let entry = |s: &PassStep<'_>| {
        let a = s.a.expect("every tensor is A's");
        let dtype = s.b.map_or(a.dtype(), |b| rule.tensor(s.name, a.shape(), a.dtype(), b.dtype()).dtype());
        TensorEntry::new(s.name, dtype, a.shape())
    };
    let staging = Staging::new(target, steps.iter().map(entry).collect(), &metadata([UNKNOWN; 2]), &go_on)?;
    let work = |k: usize| -> Result<PieceWork<'_>> {
        let PassStep { name, a: Some(ta), b: tb, .. } = steps[k] else { unreachable!("every tensor is A's") };
        let staging = &staging;
        let Some(tb) = tb else {
            let size = ta.dtype().size();
            return Ok(Box::new(move |piece| staging.write_at(name, (piece.start * size) as u64, piece.a)));
        };
        let gather = moving.gather(name, tb)?;
        let rule = rule.tensor(name, ta.shape(), ta.dtype(), tb.dtype());
        let (a_size, b_size, size) = (ta.dtype().size(), tb.dtype().size(), rule.dtype().size());
        Ok(Box::new(move |piece: Piece<'_>| {
            piece.scratch.resize(piece.entries * size, 0);
            let mut moved = vec![0; BLOCK * b_size];
            let blocks = piece.a.chunks(BLOCK * a_size).zip(piece.scratch.chunks_mut(BLOCK * size)).enumerate();
            for (start, a, out) in blocks.map(|(k, (a, out))| (piece.start + k * BLOCK, a, out)) {
                let moved = &mut moved[..out.len() / size * b_size];
                gather.fill(piece.b, start, moved);
                rule.check(name, start, a, moved).map_err(|e| moving.b.core_error(e))?;
                rule.fill(start, a, moved, out);
            }
            staging.write_at(name, (piece.start * size) as u64, piece.scratch)
        }))
    };
    moving.pass(a, &steps, carried, target, &work, progress)?;
    a.unchanged()?;
    moving.b.unchanged()?;
    staging.finish(&metadata([a.digest(), moving.b.digest()]), &|made| sound(&[a, moving.b], check, made))
}

/// Whether what was made may take its place: nobody changed what it was made from, and `check` agrees.
fn sound(
    inputs: &[&Checkpoint],
    check: &Check<'_>,
    made: &Path,
) -> std::result::Result<(), Box<dyn StdError + Send + Sync>> {
    check(made)?;
    Ok(inputs.iter().try_for_each(|input| input.unchanged())?)
}

/// The inner products of A and `π(B)`, which [`MergeRule::slerp`] needs: those of [`Products::of`], in one more pass of the
/// same cost as [`merge_streamed`], without writing.
///
/// # Errors
/// As [`merge_streamed`]; `target` is what an interruption names.
pub fn products_streamed(
    target: &Target,
    a: &Checkpoint,
    moving: &Moving<'_>,
    progress: &Passed<'_>,
) -> Result<Products> {
    let nothing = Params::new();
    let steps = moving.steps(a, &nothing)?;
    let found = Mutex::new(BTreeMap::<&str, BTreeMap<usize, _>>::new());
    let work = |k: usize| -> Result<PieceWork<'_>> {
        let PassStep { name, a: Some(ta), b: Some(tb), .. } = steps[k] else {
            unreachable!("every tensor has two ends")
        };
        let (gather, size, found) = (moving.gather(name, tb)?, tb.dtype().size(), &found);
        Ok(Box::new(move |piece: Piece<'_>| {
            if ta.dtype().is_float() && tb.dtype().is_float() {
                piece.scratch.resize(piece.entries * size, 0);
                gather.fill(piece.b, piece.start, piece.scratch);
                let blocks = Products::blocks(ta.dtype(), piece.a, tb.dtype(), piece.scratch);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.entry(name).or_default().insert(piece.start, blocks);
            }
            Ok(())
        }))
    };
    moving.pass(a, &steps, &nothing, target, &work, progress)?;
    let mut products = Products::default();
    for pieces in found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values() {
        products.add(&pieces.into_values().flatten().collect::<Vec<_>>());
    }
    Ok(products)
}

impl<'a> Moving<'a> {
    /// The tensor of B that becomes the one of this name: another one of its stack, or itself.
    fn source(&self, name: &str, own: &'a Tensor) -> Result<&'a Tensor> {
        if self.symmetry.stack_of(name).is_none() {
            return Ok(own);
        }
        let gather = self.gather(name, own)?;
        self.b.params.require(gather.source(name)).map_err(|e| self.b.core_error(e))
    }

    fn gather(&self, name: &str, tensor: &Tensor) -> Result<Gather> {
        Gather::new(self.symmetry, self.alignment, name, tensor).map_err(|e| self.b.core_error(e))
    }

    /// Every tensor of A with B's of the same name, and those that are carried, in the order of A's files.
    fn steps(&self, a: &'a Checkpoint, carried: &'a Params) -> Result<Vec<PassStep<'a>>> {
        a.params.check_same_structure(&self.b.params).map_err(|e| self.b.core_error(e))?;
        let pair = |(name, t)| {
            let own = self.b.params.get(name).map(|own| self.source(name, own)).transpose()?;
            Ok(step(name, Some(t), own))
        };
        let pairs = a.params.iter().map(pair).collect::<Result<Vec<_>>>()?;
        Ok(ordered(a, pairs.into_iter().chain(carried.iter().map(|(name, t)| step(name, Some(t), None)))))
    }

    fn pass<'w>(
        &self,
        a: &Checkpoint,
        steps: &[PassStep<'_>],
        carried: &Params,
        target: &Target,
        work: &(dyn Fn(usize) -> Result<PieceWork<'w>> + Sync),
        progress: &Passed<'_>,
    ) -> Result<()> {
        let (from_a, from_b) = (
            Reader::new(a, carried, steps.iter().filter_map(|s| s.a)),
            Reader::new(self.b, carried, steps.iter().filter_map(|s| s.b)),
        );
        Pass { steps, a: Some(&from_a), b: &from_b, output: target.path(), progress }.run(work)?;
        from_a.finish()?;
        from_b.finish()
    }
}

fn step<'a>(name: &'a str, a: Option<&'a Tensor>, b: Option<&'a Tensor>) -> PassStep<'a> {
    PassStep { name, entries: a.or(b).map_or(0, Tensor::len), a, b }
}

/// Steps in the order in which their tensors lie in the files of `checkpoint`.
fn ordered<'a>(checkpoint: &Checkpoint, steps: impl Iterator<Item = PassStep<'a>>) -> Vec<PassStep<'a>> {
    let mut steps: Vec<PassStep<'a>> = steps.collect();
    steps.sort_by_cached_key(|s| s.a.or(s.b).and_then(|tensor| checkpoint.locate(tensor)));
    steps
}
