//! Networks that are never held whole: compared, brought into one frame and merged part by part.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use onebasin_core::canonical::{Changes, Outline, balanced};
use onebasin_core::kinds::{Kinds, Motion};
use onebasin_core::matching::{Part, Reading, named, parts};
use onebasin_core::merge::{MergeRule, TensorRule};
use onebasin_core::symmetry::{Alignment, GroupId};
use onebasin_core::{DType, Params, Storage, Tensor};
use onebasin_nn::machine_memory;

use crate::context::Context;
use crate::error::{Error, InFile, Result};
use crate::frame::{Frame, Turned, common_dtype};
use crate::model::{Model, Remade};
use crate::pair::Pair;

type CoreResult<T> = std::result::Result<T, onebasin_core::Error>;

/// Bytes that a number of each network takes where all are held while they are compared, moved and merged.
const HELD_EACH: u64 = 40;

impl Pair {
    /// Whether both networks, with all that is made of them, are too much to be held at once.
    pub(crate) fn is_large(&self) -> bool {
        self.a.is_large()
    }

    /// What the canonical forms of both will be; none where the graph is not known.
    pub(crate) fn outlines(&self) -> Result<Option<[Outline; 2]>> {
        let (Some(a), Some(b)) = (self.a.outline()?, self.b.outline()?) else { return Ok(None) };
        if a.kinds != b.kinds {
            let why = "the canonical form of A has other groups: one has gains of norms that cannot be folded";
            return Err(Error::OtherKinds { path: self.b.path().to_owned(), why });
        }
        Ok(Some([a, b]))
    }

    /// Both networks in the frame that an element brings them to, made when they are looked at; each compared on a part of itself.
    pub(crate) fn in_frame_by_parts(&self, turned: &Turned, context: &Context<'_>) -> Result<Frame> {
        let still = Turned { motion: Motion::identity(&turned.kinds), kinds: turned.kinds.clone() };
        self.a.check_on_a_part(&still, context)?;
        self.b.check_on_a_part(turned, context)?;
        let (a, changes) = self.a.turned_by_parts(&still)?;
        let (b, _) = self.b.turned_by_parts(turned)?;
        Ok(Frame { pair: self.with_models([Arc::new(a), Arc::new(b)]), changes })
    }

    /// The merged tensors, made when they are looked at and not kept.
    pub(crate) fn merged_by_parts(&self, rule: &MergeRule<'_>, dtype: Option<DType>) -> Result<Params> {
        self.a.mixed_when_read(self.b.params(), rule, dtype)
    }
}

/// Both networks' canonical forms, read part by part.
pub(crate) struct Forms<'a> {
    pub(crate) models: [&'a Model; 2],
    pub(crate) outlines: &'a [Outline; 2],
}

impl Reading for Forms<'_> {
    fn together(&self) -> Vec<Vec<String>> {
        self.outlines[0].together()
    }

    fn read(&self, names: &[String], rows: Option<Range<usize>>) -> CoreResult<[Params; 2]> {
        let of = |k: usize| form_of(&self.outlines[k], self.models[k].params(), names, rows.as_ref());
        let (a, b) = rayon::join(|| of(0), || of(1));
        Ok([a?, b?])
    }
}

/// Tensors of a network in its canonical form, balanced.
fn form_of(outline: &Outline, params: &Params, names: &[String], rows: Option<&Range<usize>>) -> CoreResult<Params> {
    let mut sources: Vec<String> = names.iter().map(|name| outline.source(name).to_owned()).collect();
    sources.sort();
    sources.dedup();
    let own = named(params, &sources, rows)?;
    own.check_finite_beside(&own)?;
    let (form, _) = outline.form(&own)?;
    let even = balanced(&outline.kinds, &form)?;
    let made = |name: &String| {
        let tensor = form.require(name)?;
        let is_moved = !even.turns.is_empty() && outline.kinds.symmetry.covers(name);
        Ok((name.clone(), if is_moved { even.moved(&outline.kinds, &form, name)? } else { tensor.clone() }))
    };
    names.iter().map(made).collect()
}

/// A network in another form, each part of which is made when it is looked at.
struct Parted {
    outline: Outline,
    motion: Motion,
    params: Params,
    parts: Vec<Part>,
    /// The parts that were made last.
    made: Mutex<Vec<(usize, Arc<Params>)>>,
}

/// Parts that are kept: of names in their order, attention and feed-forward of a layer take turns.
const KEPT: usize = 2;

impl Parted {
    fn members(&self, part: &Part) -> Vec<String> {
        let symmetry = &self.outline.kinds.symmetry;
        part.names.iter().flat_map(|name| symmetry.members(name)).map(str::to_owned).collect()
    }

    fn made(&self, at: usize) -> CoreResult<Arc<Params>> {
        let mut kept = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, made)) = kept.iter().find(|(own, _)| *own == at) {
            return Ok(Arc::clone(made));
        }
        kept.truncate(KEPT - 1);
        let names = self.members(&self.parts[at]);
        let form = form_of(&self.outline, &self.params, &names, None)?;
        let moved = names.iter().map(|name| Ok((name.clone(), self.motion.moved(&self.outline.kinds, &form, name)?)));
        let made = Arc::new(moved.collect::<CoreResult<Params>>()?);
        kept.insert(0, (at, Arc::clone(&made)));
        Ok(made)
    }

    /// Some rows of a table that is never held whole.
    fn rows(&self, at: usize, name: &str, rows: &Range<usize>) -> CoreResult<Tensor> {
        let kinds = &self.outline.kinds;
        let form = form_of(&self.outline, &self.params, &self.members(&self.parts[at]), Some(rows))?;
        self.motion.moved_rows(kinds, form.require(name)?, name)
    }
}

/// A tensor of such a network.
struct PartedTensor {
    of: Arc<Parted>,
    part: usize,
    name: String,
    /// Bytes of a row of a table that is made in runs of rows.
    row: Option<usize>,
}

impl Storage for PartedTensor {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> std::result::Result<(), String> {
        let offset = offset as usize;
        let said = |error: onebasin_core::Error| error.to_string();
        let Some(row) = self.row else {
            let made = self.of.made(self.part).map_err(said)?;
            let bytes = made.require(&self.name).and_then(Tensor::read).map_err(said)?;
            to.copy_from_slice(&bytes[offset..][..to.len()]);
            return Ok(());
        };
        let mut filled = 0;
        for run in self.of.parts[self.part].rows.iter().flatten() {
            let (first, last) = ((run.start * row).max(offset), (run.end * row).min(offset + to.len()));
            if first >= last {
                continue;
            }
            // Only the rows that are asked for.
            let rows = first / row..last.div_ceil(row);
            let made = self.of.rows(self.part, &self.name, &rows).map_err(said)?;
            let bytes = made.read().map_err(said)?;
            to[first - offset..last - offset].copy_from_slice(&bytes[first - rows.start * row..][..last - first]);
            filled += last - first;
        }
        if filled == to.len() { Ok(()) } else { Err("the table ends before what is asked of it".to_owned()) }
    }
}

/// A tensor of a merged network.
struct MergedTensor {
    name: String,
    a: Tensor,
    b: Tensor,
    rule: TensorRule,
    /// What the merged values become.
    dtype: DType,
}

/// Entries that are merged at a time.
const PIECE: usize = 1 << 24;

impl Storage for MergedTensor {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> std::result::Result<(), String> {
        let said = |error: onebasin_core::Error| error.to_string();
        let size = self.dtype.size();
        let whole = (offset as usize).is_multiple_of(size) && to.len().is_multiple_of(size);
        if !whole {
            return Err("a part of a number was asked for".to_owned());
        }
        for (k, out) in to.chunks_mut(PIECE * size).enumerate() {
            let (start, count) = (offset as usize / size + k * PIECE, out.len() / size);
            let read = |tensor: &Tensor| {
                let mut bytes = vec![0; count * tensor.dtype().size()];
                if let Some((storage, at)) = tensor.place() {
                    storage.read_at(at + (start * tensor.dtype().size()) as u64, &mut bytes)?;
                } else {
                    let len = bytes.len();
                    bytes.copy_from_slice(&tensor.bytes()[start * tensor.dtype().size()..][..len]);
                }
                Ok::<_, String>(bytes)
            };
            let (a, b) = (read(&self.a)?, read(&self.b)?);
            self.rule.check(&self.name, start, &a, &b).map_err(said)?;
            let mut merged = vec![0; count * self.rule.dtype().size()];
            self.rule.fill(start, &a, &b, &mut merged);
            let merged = Tensor::new(self.rule.dtype(), &[count], merged.into()).map_err(said)?;
            out.copy_from_slice(merged.cast(self.dtype).map_err(said)?.bytes());
        }
        Ok(())
    }
}

impl Model {
    /// Whether two such networks, with all that is made of them, are too much to be held at once.
    pub(crate) fn is_large(&self) -> bool {
        self.params().element_count() as u64 * HELD_EACH > self.memory().unwrap_or_else(machine_memory)
    }

    /// Its tensors mixed with others by a rule, as its file has them or in this type, made when they are looked at.
    pub(crate) fn mixed_when_read(
        &self,
        others: &Params,
        rule: &MergeRule<'_>,
        dtype: Option<DType>,
    ) -> Result<Params> {
        let dtype = dtype.or(self.written_as());
        let mixed = |(name, own): (&str, &Tensor)| {
            let other = others.require(name)?;
            let of = rule.tensor(name, own.shape(), own.dtype(), other.dtype());
            let dtype = dtype.filter(|_| of.dtype().is_float()).unwrap_or(of.dtype());
            let storage = MergedTensor { name: name.to_owned(), a: own.clone(), b: other.clone(), rule: of, dtype };
            Ok((name.to_owned(), Tensor::stored(dtype, own.shape(), Arc::new(storage), 0)?))
        };
        self.params().iter().map(mixed).collect()
    }

    /// What the canonical form of a network that can be run will be; none of others.
    pub(crate) fn outline(&self) -> Result<Option<Outline>> {
        let Some(graph) = self.graph().filter(|_| self.runs()) else { return Ok(None) };
        Ok(Some(Outline::new(graph, self.params()).in_file(self.path())?))
    }

    /// The network as an element of all kinds moves its canonical form, made when it is looked at, and what that form changes.
    pub(crate) fn turned_by_parts(&self, turned: &Turned) -> Result<(Self, Changes)> {
        let no_graph = || Error::NoGraph { path: self.path().to_owned() };
        let outline = self.outline()?.ok_or_else(no_graph)?;
        if outline.kinds != turned.kinds {
            let why = "the element is of other groups";
            return Err(Error::OtherKinds { path: self.path().to_owned(), why });
        }
        let (graph, kinds) = (outline.graph.clone(), outline.kinds.clone());
        let all = parts(&kinds, &outline.together());
        let changes = outline.changes();
        let untied = !changes.untied.is_empty();
        let symmetry = &kinds.symmetry;
        let of = Parted {
            motion: turned.motion.clone(),
            params: self.params().clone(),
            made: Mutex::default(),
            parts: all,
            outline,
        };
        let of = Arc::new(of);
        let mut params = Params::new();
        for (at, part) in of.parts.iter().enumerate() {
            for name in of.members(part) {
                let own = self.params().require(of.outline.source(&name))?;
                let dtype = if own.dtype().is_float() && own.dtype().size() < 4 { DType::F32 } else { own.dtype() };
                let is_table = part.table() == Some(symmetry.standing(&name));
                let row = is_table.then(|| own.shape()[1..].iter().product::<usize>() * dtype.size());
                let shape = own.shape().to_vec();
                let storage = PartedTensor { of: Arc::clone(&of), part: at, name: name.clone(), row };
                params.insert(name, Tensor::stored(dtype, &shape, Arc::new(storage), 0)?);
            }
        }
        for (name, tensor) in self.params().iter().filter(|(name, _)| params.get(name).is_none()).collect::<Vec<_>>() {
            params.insert(name, tensor.clone());
        }
        let remade = Remade { dtype: common_dtype(self.params()), untied };
        Ok((self.remade(&graph, params, remade), changes))
    }

    /// Passes only if an element of all kinds leaves what a part of the network computes as it was: its first layer, with some of its
    /// tokens. Where no such part is known, that is said.
    pub(crate) fn check_on_a_part(&self, turned: &Turned, context: &Context<'_>) -> Result<()> {
        let part = match self.first_layer()? {
            Some(part) => {
                part.outline()?.and_then(|outline| Some((smaller(turned, &outline.kinds)?, outline.kinds, part)))
            }
            None => None,
        };
        let Some((motion, kinds, part)) = part else {
            context.note(&format!("{}: what is moved was not compared by function", self.path().display()));
            return Ok(());
        };
        part.turned(&Turned { kinds, motion }, context)?;
        Ok(())
    }
}

/// The element of all kinds of a network on a smaller one that has some of its groups, by their names.
fn smaller(turned: &Turned, kinds: &Kinds) -> Option<Motion> {
    let (mut perms, mut turns) = (Vec::new(), BTreeMap::new());
    for (at, group) in kinds.symmetry.groups().iter().enumerate() {
        let (id, own) = (GroupId(at), turned.kinds.symmetry.group_named(&group.name).ok()?);
        let is_same = turned.kinds.kind(own) == kinds.kind(id)
            && turned.kinds.symmetry.group(own).size == group.size
            && turned.kinds.symmetry.copies(own) == kinds.symmetry.copies(id);
        if !is_same {
            return None;
        }
        perms.push(turned.motion.alignment.copies(own).to_vec());
        if let Some(copies) = turned.motion.turns.get(&own) {
            turns.insert(id, copies.clone());
        }
    }
    Some(Motion { alignment: Alignment::new(&kinds.symmetry, perms).ok()?, turns })
}
