//! Two networks in one frame: both in canonical form, and B moved by an element of all kinds of groups.
//!
//! What permutations cannot say, an alignment cannot hold. So B is moved here and now: a pair in one frame is a pair of networks
//! that compute what A and B do, unit beside unit, and everything downstream merges, measures and solves it as it stands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use onebasin_core::canonical::{Canonical, Changes, Outline, balanced, canonical};
use onebasin_core::graph::Graph;
use onebasin_core::kinds::{Kind, Kinds, Motion};
use onebasin_core::matching::{Sweep, TurnedMatch, TurnedOptions, TurnedTold, match_by_parts, match_turned_on};
use onebasin_core::symmetry::{GroupId, Symmetry, discover};
use onebasin_core::{DType, Params};
use onebasin_nn::check::{CheckOptions, compare_graphs};
use onebasin_nn::exec::Program;
use onebasin_nn::samples::Chosen;
use onebasin_nn::{ActivationOptions, Samples, activation_similarity};

use crate::align::KeptMatch;
use crate::by_parts::Forms;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::model::{Model, Remade};
use crate::observer::{Progress, Step};
use crate::pair::Pair;

/// How much of a match a kill may cost.
const SAVE_EVERY: Duration = Duration::from_mins(1);

/// An element of all kinds of groups: what an alignment by permutations cannot hold.
///
/// It acts on B in its canonical form, balanced ([`canonical`], [`balanced`]), and brings it to A in its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Turned {
    /// Groups of the canonical form, and their kinds.
    pub kinds: Kinds,
    /// What moves B.
    pub motion: Motion,
}

/// Two networks in one frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Both networks, as they compute what A and B do.
    pub pair: Pair,
    /// What the canonical form of A changed.
    pub changes: Changes,
}

impl Pair {
    /// The canonical form of both networks, and the kinds of its groups; none where the graph is not known.
    fn forms(&self) -> Result<Option<([Canonical; 2], Kinds)>> {
        let (Some(a), Some(b)) = (self.a.form()?, self.b.form()?) else { return Ok(None) };
        if a.kinds != b.kinds {
            let why = "the canonical form of A has other groups: one has gains of norms that cannot be folded";
            return Err(Error::OtherKinds { path: self.b.path().to_owned(), why });
        }
        Ok(Some(([a.canonical, b.canonical], a.kinds)))
    }

    /// Whether more than permutations act on a group that is no family: a stream that nothing looks at unit by unit.
    pub(crate) fn has_free_stream(&self) -> Result<bool> {
        let Some([Outline { kinds, .. }, _]) = self.outlines()? else { return Ok(false) };
        let is_stream = |id: GroupId| {
            matches!(kinds.kind(id), Kind::Orthogonal | Kind::Centred) && kinds.symmetry.group(id).parent.is_none()
        };
        Ok((0..kinds.symmetry.groups().len()).map(GroupId).any(is_stream))
    }

    /// Finds what brings B to A, over all kinds of groups, by weights, part by part.
    pub(crate) fn turn(
        &self,
        options: &TurnedOptions,
        kept: &KeptMatch<'_>,
        context: &Context<'_>,
    ) -> Result<Option<(Turned, TurnedMatch)>> {
        let Some(outlines) = self.outlines()? else { return Ok(None) };
        let kinds = outlines[0].kinds.clone();
        let forms = Forms { models: [&self.a, &self.b], outlines: &outlines };
        let (mut saved, mut failed) = (Instant::now(), None);
        let found = match_by_parts(&kinds, &forms, options, kept.load(&kinds)?, &mut |told| {
            match told {
                TurnedTold::Part(done, total, sweep, state) => {
                    let how = format!("sweep {sweep}");
                    let (done, total) = (done as u64, total as u64);
                    context.observer.progress(&Progress { step: Step::Matching, done, total, how: &how });
                    if saved.elapsed() > SAVE_EVERY || context.observer.stops() {
                        failed = kept.save(&kinds, state).err();
                        saved = Instant::now();
                    }
                }
                TurnedTold::Sweep(Sweep { sweep, objective, gain, changed_groups, .. }) => context.detail(&format!(
                    "all kinds, sweep {sweep}: {objective:.6} (+{gain:.3e}), {changed_groups} groups moved"
                )),
            }
            Ok(failed.is_none() && !context.observer.stops())
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if context.observer.stops() {
            return Err(Error::Interrupted { steps: None, resumable: kept.path.is_some() });
        }
        Ok(Some((Turned { motion: found.motion.clone(), kinds }, found)))
    }

    /// The same by activations: on samples, or on text that both networks write.
    pub(crate) fn turn_on(
        &self,
        samples: &dyn Samples,
        most: usize,
        context: &Context<'_>,
    ) -> Result<Option<(Turned, TurnedMatch)>> {
        let Some(([a, b], kinds)) = self.forms()? else { return Ok(None) };
        let chosen = Chosen::first(samples, most);
        let (program, total) = (Program::new(a.graph.clone())?, chosen.len() as u64);
        let plain = Symmetry::resolve(discover(&a.graph).spec(), &a.params).map_err(onebasin_core::Error::from)?;
        let seen = activation_similarity(
            &program,
            [&a.params, &b.params],
            &plain,
            &chosen,
            &ActivationOptions::default(),
            &mut |done| {
                context.observer.progress(&Progress { step: Step::Activations, done: done as u64, total, how: "" });
                !context.observer.stops()
            },
        );
        context.go_on()?;
        let found = match_turned_on(&kinds, &a.params, &b.params, (&plain, &seen?), &TurnedOptions::default())?;
        Ok(Some((Turned { motion: found.motion.clone(), kinds }, found)))
    }

    /// Both networks in the frame that an element brings them to, each compared with itself as it was.
    ///
    /// # Errors
    /// [`Error::Moved`] if one computes something else there, [`Error::NoGraph`] where no graph is known, and if the element is of
    /// other groups.
    pub fn in_frame(&self, turned: &Turned, context: &Context<'_>) -> Result<Frame> {
        let still = Turned { motion: Motion::identity(&turned.kinds), kinds: turned.kinds.clone() };
        let (a, changes) = self.a.turned(&still, context)?;
        let (b, _) = self.b.turned(turned, context)?;
        Ok(Frame { pair: self.with_models([Arc::new(a), Arc::new(b)]), changes })
    }
}

/// A new base in its canonical form, and old networks brought there.
pub(crate) struct Carried {
    pub(crate) onto: Model,
    pub(crate) old: Params,
    pub(crate) tuned: Vec<Params>,
}

impl Pair {
    /// B and networks that were tuned from it, brought into the frame of A in its canonical form: all by what balances and turns B.
    pub(crate) fn carry(&self, turned: &Turned, tuned: &[Model], context: &Context<'_>) -> Result<Carried> {
        let Frame { pair, .. } = self.in_frame(turned, context)?;
        let graph = self.b.graph().ok_or_else(|| Error::NoGraph { path: self.b.path().to_owned() })?;
        let old = canonical(graph, self.b.params())?;
        let kinds = &turned.kinds;
        let whole = turned.motion.after(kinds, &balanced(kinds, &old.params)?);
        let moved = |params: &Params| -> Result<Params> {
            let form = canonical(graph, params)?;
            Ok(over(&form.params, &whole.apply(kinds, &form.params)?))
        };
        let tuned = tuned.iter().map(|model| moved(model.params())).collect::<Result<_>>()?;
        Ok(Carried { onto: Model::clone(&pair.a), old: moved(self.b.params())?, tuned })
    }
}

/// A network in its canonical form, balanced, and the kinds of its groups.
pub(crate) struct Form {
    pub(crate) canonical: Canonical,
    pub(crate) kinds: Kinds,
}

impl Model {
    /// The canonical form of a network that can be run; none of others.
    pub(crate) fn form(&self) -> Result<Option<Form>> {
        let Some(graph) = self.graph().filter(|_| self.runs()) else { return Ok(None) };
        let outline = Outline::new(graph, self.params())?;
        let (params, changes) = outline.form(self.params())?;
        let Outline { graph, kinds, .. } = outline;
        let mut form = Canonical { graph, params, changes };
        let even = balanced(&kinds, &form.params)?.apply(&kinds, &form.params)?;
        form.params = over(&form.params, &even);
        Ok(Some(Form { canonical: form, kinds }))
    }

    /// The network as an element of all kinds moves its canonical form, compared with what it was, and what that form changed.
    pub(crate) fn turned(&self, turned: &Turned, context: &Context<'_>) -> Result<(Self, Changes)> {
        let no_graph = || Error::NoGraph { path: self.path().to_owned() };
        let Form { canonical: form, kinds } = self.form()?.ok_or_else(no_graph)?;
        if kinds != turned.kinds {
            let why = "the element is of other groups";
            return Err(Error::OtherKinds { path: self.path().to_owned(), why });
        }
        let moved = over(&form.params, &turned.motion.apply(&kinds, &form.params)?);
        same_function(self, &form.graph, &moved, context)?;
        let remade = Remade { dtype: common_dtype(self.params()), untied: !form.changes.untied.is_empty() };
        Ok((self.remade(&form.graph, moved, remade), form.changes))
    }
}

/// These tensors, and what of the others is not among them.
fn over(all: &Params, own: &Params) -> Params {
    all.iter().map(|(name, tensor)| (name.to_owned(), own.get(name).unwrap_or(tensor).clone())).collect()
}

/// The element type of all floating-point tensors, if they have one.
pub(crate) fn common_dtype(params: &Params) -> Option<DType> {
    let mut dtypes = params.iter().map(|(_, tensor)| tensor.dtype()).filter(|dtype| dtype.is_float());
    let first = dtypes.next()?;
    dtypes.all(|dtype| dtype == first).then_some(first)
}

/// Passes if a network in another form computes what it did.
fn same_function(model: &Model, graph: &Graph, params: &Params, context: &Context<'_>) -> Result<()> {
    let (before, after) = (model.program()?, Program::new(graph.clone())?);
    let found = compare_graphs((&before, model.params()), (&after, params), &CheckOptions::default())?;
    context.detail(&format!("in the common frame, {}: {found}", model.path().display()));
    if found.passes() { Ok(()) } else { Err(Error::Moved(found)) }
}
