//! Bringing networks together that are to be merged: one structure, one set of names, a place for every tensor.

use std::collections::BTreeSet;

use onebasin_core::escaped;
use onebasin_core::graph::Graph;

use crate::account::{Account, settle};
use crate::error::{Error, Result};
use crate::model::{Model, named};
use crate::names::Naming;

/// Makes networks alike: a network without a graph gets that of another, tensors get the names they have in the first, and
/// whatever the graph does not use gets its place.
///
/// # Errors
/// If graphs or tensors differ, or a tensor has no place.
pub(crate) fn alike(models: Vec<Model>) -> Result<(Vec<Model>, Account)> {
    let known = models.iter().find_map(|m| m.graph().cloned());
    let mut models = models.into_iter().map(|model| with_graph(model, known.as_ref())).collect::<Result<Vec<_>>>()?;
    let Some((first, others)) = models.split_first_mut() else { return Ok((models, Account::default())) };
    let taken: Vec<Model> = others.iter_mut().map(|other| std::mem::replace(other, Model::nothing())).collect();
    for (place, other) in others.iter_mut().zip(taken) {
        *place = named_as(first, other)?;
    }
    let mut unlike = Vec::new();
    if let Some((first, others)) = models.split_first() {
        for other in others {
            unlike.extend(first.configured_unlike(other)?);
        }
    }
    let account = settle(&mut models)?;
    let (first, others) = models.split_first().expect("there is a first network");
    others.iter().try_for_each(|other| first.check_like(other))?;
    let held = architecture(&models);
    let names: BTreeSet<String> = held.iter().map(|(name, _)| format!("`{}`", escaped(name))).collect();
    let held = models.into_iter().map(|model| model.with_held(held.clone()));
    let told = |(k, model): (usize, Model)| match k {
        0 if names.is_empty() => unlike.iter().cloned().fold(model, Model::remarked),
        0 => unlike.iter().cloned().fold(model, Model::remarked).remarked(said(&names)),
        _ => model,
    };
    Ok((held.enumerate().map(told).collect(), account))
}

/// Axes of parameters that are the same in all networks to the bit, and vary: of what is built in and not learned, such as
/// rotary frequencies, filter banks and grids. None where all networks are one network.
fn architecture(models: &[Model]) -> BTreeSet<(String, usize)> {
    let (Some((first, others)), Some(graph)) = (models.split_first(), models.first().and_then(Model::graph)) else {
        return BTreeSet::new();
    };
    if others.is_empty() || first.symmetry_is_given() {
        return BTreeSet::new();
    }
    let (mut held, mut differ) = (BTreeSet::new(), false);
    for name in graph.params().map(|param| &param.name) {
        let Some(tensor) = first.params().get(name) else { continue };
        let same = others.iter().all(|other| other.params().get(name).is_some_and(|t| t.same_bits(tensor)));
        differ |= !same;
        if same {
            let varies = (0..tensor.shape().len()).filter(|axis| !tensor.is_uniform(*axis));
            held.extend(varies.map(|axis| (name.clone(), axis)));
        }
    }
    if differ { held } else { BTreeSet::new() }
}

/// What is held in place, in words.
fn said(names: &BTreeSet<String>) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "{}{more}: the same in all networks to the bit, so part of the architecture and no weight; whatever stands along \
         them stays in its place",
        shown.join(", ")
    )
}

fn with_graph(model: Model, known: Option<&Graph>) -> Result<Model> {
    match (model.graph(), known) {
        (None, Some(graph)) if !model.symmetry_is_given() => {
            let path = model.path().to_owned();
            let fitted = model.fitted(graph, None);
            fitted.map_err(|source| Error::At { path, source: Box::new(source) })
        }
        (None | Some(_), _) => Ok(model),
    }
}

/// A network under the names that its tensors have in another.
fn named_as(first: &Model, other: Model) -> Result<Model> {
    let same_network = match (first.network(), other.network()) {
        (Some(a), Some(b)) => a.name == b.name,
        (None, _) | (_, None) => false,
    };
    if let (Some(a), Some(b), false) = (first.graph(), other.graph(), same_network) {
        let names = a.same_as(b).map_err(|difference| Error::OtherGraph {
            a: first.path().to_owned(),
            b: other.path().to_owned(),
            difference,
        })?;
        let changed: std::collections::BTreeMap<String, String> =
            names.into_iter().filter(|(there, here)| there != here).collect();
        if changed.is_empty() {
            return Ok(other);
        }
        let text = format!("{} of its tensors have other names than in {}", changed.len(), first.path().display());
        return Ok(other.renamed(&changed)?.remarked(text));
    }
    let naming = Naming::fit(&named(first.params()), &named(other.params()), None).only()?;
    if naming.is_same() {
        return Ok(other);
    }
    let text = naming.said();
    Ok(other.renamed(&naming.back())?.remarked(text))
}
