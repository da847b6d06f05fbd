//! Two networks in one frame: both in canonical form, and B moved by an element of all kinds of groups.
//!
//! What permutations cannot say, an alignment cannot hold. So B is moved here and now: a pair in one frame is a pair of networks
//! that compute what A and B do, unit beside unit, and everything downstream merges, measures and solves it as it stands.

use std::sync::Arc;

use onebasin_core::canonical::{Canonical, Changes, balanced, canonical};
use onebasin_core::graph::Graph;
use onebasin_core::kinds::{Kind, Kinds, Motion};
use onebasin_core::matching::{TurnedMatch, TurnedOptions, TurnedSweep, match_turned};
use onebasin_core::symmetry::GroupId;
use onebasin_core::{DType, Params};
use onebasin_nn::check::{CheckOptions, compare_graphs};
use onebasin_nn::exec::Program;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::model::{Model, Remade};
use crate::pair::Pair;

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
    /// The canonical form of both networks, balanced, and its kinds; none where the graph is not known.
    fn forms(&self) -> Result<Option<([Canonical; 2], Kinds)>> {
        let Some(graph) = self.a.graph().filter(|_| self.a.runs()) else { return Ok(None) };
        let [a, b] = self.ends();
        let mut forms = [canonical(graph, a)?, canonical(graph, b)?];
        let kinds = Kinds::discover(&forms[0].graph, [&forms[0].params, &forms[1].params])?;
        for form in &mut forms {
            let even = balanced(&kinds, &form.params)?.apply(&kinds, &form.params)?;
            form.params = over(&form.params, &even);
        }
        Ok(Some((forms, kinds)))
    }

    /// Whether more than permutations act on a group that is no family: a stream that nothing looks at unit by unit.
    pub(crate) fn has_free_stream(&self) -> Result<bool> {
        let Some((_, kinds)) = self.forms()? else { return Ok(false) };
        let is_stream = |id: GroupId| {
            matches!(kinds.kind(id), Kind::Orthogonal | Kind::Centred) && kinds.symmetry.group(id).parent.is_none()
        };
        Ok((0..kinds.symmetry.groups().len()).map(GroupId).any(is_stream))
    }

    /// Finds what brings B to A, over all kinds of groups, by weights.
    pub(crate) fn turn(&self, options: &TurnedOptions, context: &Context<'_>) -> Result<Option<(Turned, TurnedMatch)>> {
        let Some(([a, b], kinds)) = self.forms()? else { return Ok(None) };
        let found = match_turned(&kinds, &a.params, &b.params, options, &mut |sweep| {
            let TurnedSweep { sweep, objective, gain, changed } = sweep;
            context.detail(&format!("all kinds, sweep {sweep}: {objective:.6} (+{gain:.3e}), {changed} groups moved"));
            !context.observer.stops()
        })?;
        context.go_on()?;
        Ok(Some((Turned { motion: found.motion.clone(), kinds }, found)))
    }

    /// Both networks in the frame that an element brings them to, each compared with itself as it was.
    ///
    /// # Errors
    /// [`Error::Moved`] if one computes something else there, [`Error::NoGraph`] where no graph is known, and if the element is of
    /// other groups.
    pub fn in_frame(&self, turned: &Turned, context: &Context<'_>) -> Result<Frame> {
        let no_graph = || Error::NoGraph { path: self.a.path().to_owned() };
        let ([a, b], _) = self.forms()?.ok_or_else(no_graph)?;
        let moved = over(&b.params, &turned.motion.apply(&turned.kinds, &b.params)?);
        for (model, params) in [(&self.a, &a.params), (&self.b, &moved)] {
            same_function(model, &a.graph, params, context)?;
        }
        let remade = Remade { dtype: common_dtype(self.a.params()), untied: !a.changes.untied.is_empty() };
        let models = [(&self.a, a.params), (&self.b, moved)];
        let models = models.map(|(model, params)| Arc::new(model.remade(&a.graph, params, remade)));
        Ok(Frame { pair: self.with_models(models), changes: a.changes })
    }
}

/// These tensors, and what of the others is not among them.
fn over(all: &Params, own: &Params) -> Params {
    all.iter().map(|(name, tensor)| (name.to_owned(), own.get(name).unwrap_or(tensor).clone())).collect()
}

/// The element type of all floating-point tensors, if they have one.
fn common_dtype(params: &Params) -> Option<DType> {
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
