//! What becomes of every tensor of a pair: merged, following another, copied from A, or left out.

use std::collections::{BTreeMap, BTreeSet};

use onebasin_core::symmetry::Symmetry;
use onebasin_core::{Params, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::Model;
use crate::unused::{Differs, Likely, Rules, Unused, few, folded_norms, is_bookkeeping, module};

/// What becomes of the tensors of two networks when they are merged.
///
/// Every tensor of A and of B is in one of four places, and none is there in silence. Displayed, it is one line.
///
/// ```
/// use onebasin::{Model, Network, Pair};
/// let network = Network::new("mlp:16x2", &[8], 3)?;
/// let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
/// let pair = Pair::new(a, b)?;
/// assert_eq!(pair.account().to_string(), "6 tensors merged");
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Tensors that are merged.
    pub merged: usize,
    /// How many of them have units that may be exchanged; 0 before a match.
    pub moved: usize,
    /// Tensors stored twice: the name of the copy, and of the tensor whose result it gets.
    pub follow: BTreeMap<String, String>,
    /// Tensors that the network does not use, or that were asked to be: A's are copied.
    pub copied: BTreeSet<String>,
    /// Tensors that are in no result: asked to be ignored, or bookkeeping that only B has.
    pub left_out: BTreeSet<String>,
}

impl Account {
    /// The same, with the number of tensors that a symmetry moves.
    pub(crate) fn of(&self, symmetry: &Symmetry) -> Self {
        let moving = symmetry.tensors().filter(|(_, layout)| layout.moves()).map(|(name, _)| name);
        let own = moving.flat_map(|name| symmetry.members(name)).filter(|name| !self.follow.contains_key(*name));
        Self { moved: own.count(), ..self.clone() }
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { merged, moved, follow, copied, left_out } = self;
        write!(f, "{merged} tensors merged")?;
        if *moved > 0 {
            write!(f, ", {moved} of them aligned first")?;
        }
        let followers = follow.iter().map(|(copy, of)| format!("`{copy}` as `{of}`")).collect::<Vec<_>>();
        let named = |names: &BTreeSet<String>| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>();
        for (what, names) in
            [("stored twice", followers), ("copied from A", named(copied)), ("left out", named(left_out))]
        {
            if !names.is_empty() {
                write!(f, "; {what}: {}", few(&names))?;
            }
        }
        Ok(())
    }
}

/// Whether all its values are one value, so that no order of units changes it.
fn is_uniform(tensor: &Tensor) -> bool {
    let size = tensor.dtype().size().max(1);
    let bytes = tensor.bytes();
    bytes.len() <= size || bytes.chunks_exact(size).all(|value| value == &bytes[..size])
}

/// The tensors equal to this one, by name.
fn equal_to<'p>(params: &'p Params, tensor: &Tensor) -> Vec<&'p str> {
    params.iter().filter(|(_, other)| *other == tensor).map(|(name, _)| name).collect()
}

/// Finds a place for every tensor that the networks do not use; tensors stored twice become tensors of all networks.
///
/// Whole and single numbers that only some ONNX files hold, such as shapes, axes and fills, are of their graphs, which are
/// compared as such; each exporter has its own.
///
/// # Errors
/// [`Error::Unused`] lists those that have none.
pub(crate) fn settle(models: &mut [Model]) -> Result<Account> {
    let rules = models.iter().fold(Rules::default(), |rules, model| rules.and(model.rules()));
    let ruled = |name: &&str| rules.ignores(name) || rules.carries(name);
    if let (Some(tensor), Some(_)) = (models[0].params().names().find(ruled), models[0].graph()) {
        return Err(Error::Used { tensor: tensor.to_owned() });
    }
    let mut account = Account::default();
    let names: BTreeSet<String> = models.iter().flat_map(|m| m.rest().names()).map(str::to_owned).collect();
    let mut lost = Vec::new();
    for name in names {
        let found: Vec<Option<Tensor>> = models.iter().map(|m| m.rest().get(&name).cloned()).collect();
        let in_a = found[0].is_some();
        let mut place =
            |copied: bool| if copied { &mut account.copied } else { &mut account.left_out }.insert(name.clone());
        if rules.ignores(&name) {
            place(in_a && models[0].keeps_all());
            continue;
        }
        let all = || found.iter().flatten();
        if rules.carries(&name) || all().all(|t| is_bookkeeping(&name, t)) {
            place(in_a);
            continue;
        }
        if !all().all(is_uniform)
            && let Some(original) = original(&name, models, &found)?
        {
            if in_a {
                account.follow.insert(name, original);
            } else {
                place(false);
            }
            continue;
        }
        let everywhere = all().count() == models.len();
        if everywhere && all().all(|t| Some(t) == found[0].as_ref()) {
            place(true);
            continue;
        }
        let of_graphs = |(model, tensor): (&Model, &Option<Tensor>)| {
            tensor.as_ref().is_none_or(|t| model.keeps_all() && (!t.dtype().is_float() || t.len() <= 1))
        };
        if !everywhere && models.iter().zip(&found).all(of_graphs) {
            place(in_a);
            continue;
        }
        let how = if everywhere {
            Differs::Values
        } else if in_a {
            Differs::OnlyA
        } else {
            Differs::OnlyB
        };
        lost.push((name, how));
    }
    let first = &models[0];
    let with_graph = models.iter().filter(|m| m.graph().is_some());
    let folded: BTreeSet<&str> = with_graph.flat_map(|m| folded_norms(m.rest().iter())).collect();
    let stays = |name: &&String| {
        let tensor = first.rest().get(name).filter(|t| t.dtype().is_float() && !is_uniform(t));
        tensor.is_some() && folded.contains(module(name)) && !rules.carries(name) && !rules.ignores(name)
    };
    lost.extend(account.copied.iter().filter(stays).map(|name| (name.clone(), Differs::Nowhere)));
    if !lost.is_empty() {
        let unused = |(tensor, how): (String, Differs)| Unused { likely: Likely::of(&tensor, &folded), tensor, how };
        return Err(Error::Unused { tensors: lost.into_iter().map(unused).collect() });
    }
    account.merged = first.params().len();
    for model in models {
        model.follow(&account.follow);
        model.leave_out(&account.left_out);
    }
    Ok(account)
}

/// The used tensor that one that is not used is a copy of, in every network that has it.
///
/// # Errors
/// [`Error::Ambiguous`] if it equals several that do not move together.
fn original(name: &str, models: &[Model], copies: &[Option<Tensor>]) -> Result<Option<String>> {
    let mut equal: Option<Vec<&str>> = None;
    for (model, copy) in models.iter().zip(copies) {
        let Some(copy) = copy else { continue };
        let here = equal_to(model.params(), copy);
        equal = Some(match equal {
            None => here,
            Some(before) => before.into_iter().filter(|n| here.contains(n)).collect(),
        });
    }
    let equal = equal.unwrap_or_default();
    match &equal[..] {
        [] => Ok(None),
        [one] => Ok(Some((*one).to_owned())),
        [one, others @ ..] => {
            let symmetry = models[0].symmetry()?;
            let pattern = |n: &str| symmetry.tensor(symmetry.standing(n)).map(|t| t.pattern.to_string());
            let first = pattern(one)?;
            for other in others {
                if pattern(other)? != first {
                    let originals = equal.iter().map(|n| (*n).to_owned()).collect();
                    return Err(Error::Ambiguous { tensor: name.to_owned(), originals });
                }
            }
            Ok(Some((*one).to_owned()))
        }
    }
}
