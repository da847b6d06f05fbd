//! What every tensor of a model is among the tensors of a checkpoint.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use onebasin_core::{Params, Tensor};

use super::folded::{batch_norms, is_folded};
use super::recipe::Recipe;
use super::scope::{Place, fit, is_parametrised, is_within, last, layers, owner, proposals, scope};
use super::search::Search;
use super::values::{as_type, common, is_mask, is_telling, is_uniform, ordered};
use super::{Derived, Evidence, Origins};
use crate::onnx::OnnxModel;
use crate::unexplained::{Cause, Unexplained};

/// Most tensors of the same values that are named.
const ALIKE: usize = 8;

/// What frameworks call parameters and running statistics: one that the checkpoint lacks is no constant.
const PARAMETERS: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// What was found, and the model with every use that is not as its name says under a name of its own.
pub(super) struct Explained {
    pub(super) model: OnnxModel,
    pub(super) origins: Origins,
    pub(super) derived: Vec<Derived>,
    pub(super) constants: Vec<String>,
    pub(super) tied: Vec<(String, String)>,
    pub(super) missing: Vec<Unexplained>,
    pub(super) same_values: bool,
}

/// One use of a tensor of floats of the model.
struct Use<'m> {
    node: usize,
    slot: usize,
    name: &'m str,
    tensor: &'m Tensor,
    /// Whether it is an `Identity` of the tensor that has the name.
    renamed: bool,
}

/// What a use is.
#[derive(Debug, Clone)]
enum Meaning {
    /// The tensor of the checkpoint of its own name.
    Own,
    Made(Recipe, Evidence, Vec<String>),
    Missing(Cause),
    Constant,
}

pub(super) fn explain(model: &OnnxModel, networks: &[&Params]) -> Explained {
    let empty = Params::new();
    let first = networks.first().copied().unwrap_or(&empty);
    let uses = uses(model, first);
    let own = |u: &Use<'_>| first.get(u.name).is_some_and(|t| t.dtype().is_float() && t.shape() == u.tensor.shape());
    let named: BTreeSet<&str> = uses.iter().filter(|u| own(u)).map(|u| u.name).collect();
    let plain = uses.iter().all(|u| u.tensor.len() == 1 || (own(u) && !u.renamed));
    let all_used = first.iter().all(|(n, t)| t.len() == 1 || !t.dtype().is_float() || named.contains(n));
    if named.is_empty() && uses.iter().all(|u| u.tensor.len() == 1) || plain && all_used {
        return by_names(model, &uses, first);
    }
    let mut explainer = Explainer::new(model, networks, first, &uses, named);
    let meanings = explainer.meanings();
    explainer.rewritten(meanings)
}

/// The model as it is; masks, and single numbers that the checkpoint does not have, are constants.
fn by_names(model: &OnnxModel, uses: &[Use<'_>], first: &Params) -> Explained {
    let fixed = |u: &&Use<'_>| !first.is_empty() && (first.get(u.name).is_none() || is_mask(u.tensor));
    let constants: BTreeSet<String> = uses.iter().filter(fixed).map(|u| u.name.to_owned()).collect();
    let constants: Vec<String> = constants.into_iter().collect();
    Explained {
        model: model.clone(),
        origins: Origins { constants: constants.iter().cloned().collect(), ..Origins::default() },
        derived: Vec::new(),
        constants,
        tied: Vec::new(),
        missing: Vec::new(),
        same_values: true,
    }
}

/// All uses of tensors of floats, in running order; an `Identity` that makes a name of the checkpoint is that tensor, which
/// was equal to the one it is made of.
fn uses<'m>(model: &'m OnnxModel, first: &Params) -> Vec<Use<'m>> {
    let floats = model.params.iter().filter(|(_, t)| t.dtype().is_float() && !t.is_empty());
    let mut tensors: HashMap<&str, (&str, &Tensor, bool)> = floats.map(|(n, t)| (n, (n, t, false))).collect();
    let mut uses = Vec::new();
    for (k, node) in model.nodes.iter().enumerate() {
        if let ([input], [output], true) = (&node.inputs[..], &node.outputs[..], node.is("Identity"))
            && let Some(&known) = tensors.get(input.as_str())
        {
            let is_own = first.get(output).is_some_and(|t| t.shape() == known.1.shape());
            tensors.insert(output, if is_own { (output, known.1, true) } else { known });
            continue;
        }
        for (slot, input) in node.inputs.iter().enumerate() {
            if let Some(&(name, tensor, renamed)) = tensors.get(input.as_str()) {
                uses.push(Use { node: k, slot, name, tensor, renamed });
            }
        }
    }
    uses
}

struct Explainer<'a, 'u> {
    model: &'a OnnxModel,
    first: &'a Params,
    uses: &'u [Use<'a>],
    scopes: Vec<Option<String>>,
    layers: Vec<usize>,
    /// Tensors of the checkpoint that the model has by name.
    named: BTreeSet<&'a str>,
    /// Tensors of the checkpoint that the model uses.
    used: BTreeSet<String>,
    /// The tensor that stands for others which are equal to it in all networks.
    tied: BTreeMap<String, String>,
    batch_norms: Vec<&'a str>,
    search: Search<'a>,
}

impl<'a, 'u> Explainer<'a, 'u> {
    fn new(
        model: &'a OnnxModel,
        networks: &[&Params],
        first: &'a Params,
        uses: &'u [Use<'a>],
        named: BTreeSet<&'a str>,
    ) -> Self {
        let scopes: Vec<Option<String>> = model.nodes.iter().map(|n| scope(model, n)).collect();
        let whole = |name: &str, t: &Tensor| t.dtype().is_float() && !t.is_empty() && !is_parametrised(name, first);
        let floats = || first.iter().filter(|(name, t)| whole(name, t));
        let tied = ties(floats(), networks, &named);
        let unused = |module: &&str| !named.contains(format!("{module}.running_var").as_str());
        let batch_norms = batch_norms(first).into_iter().filter(unused).collect();
        Self {
            model,
            first,
            uses,
            layers: layers(&model.nodes, &scopes),
            scopes,
            used: named.iter().map(|&n| n.to_owned()).collect(),
            named,
            tied,
            batch_norms,
            search: Search::new(floats().collect()),
        }
    }

    fn scope(&self, u: &Use<'_>) -> Option<&str> {
        self.scopes[u.node].as_deref()
    }

    fn place<'p>(&'p self, u: &Use<'_>) -> Place<'p> {
        let scope = self.scopes[u.node].as_deref();
        Place { node: &self.model.nodes[u.node], slot: u.slot, scope, layer: self.layers[u.node] }
    }

    /// What every use is: first what names and values tell; then, where values are those of another state, what places
    /// tell; the rest is a constant or missing.
    fn meanings(&mut self) -> (Vec<Meaning>, bool) {
        let mut found: Vec<Option<Meaning>> = Vec::with_capacity(self.uses.len());
        let (mut agree, mut differ) = (false, false);
        for u in self.uses {
            let mask = is_mask(u.tensor).then_some(Meaning::Constant);
            let meaning = mask.or_else(|| self.by_name(u)).or_else(|| self.by_values(u));
            match &meaning {
                Some(Meaning::Own) if is_uniform(u.tensor) && self.holds(u, u.name) => {}
                Some(Meaning::Own) => {
                    let same = self.holds(u, u.name);
                    (agree, differ) = (agree || same, differ || !same);
                }
                Some(Meaning::Made(_, Evidence::Values, _)) => agree |= !is_uniform(u.tensor),
                Some(Meaning::Made(..) | Meaning::Missing(_) | Meaning::Constant) | None => {}
            }
            self.mark(meaning.as_ref());
            found.push(meaning);
        }
        let same_values = agree && !differ;
        if !same_values {
            self.doubted(&mut found);
            self.by_places(&mut found);
        }
        self.folded(&mut found);
        let any = found.iter().any(|m| matches!(m, Some(Meaning::Own | Meaning::Made(..))));
        let rest: Vec<Meaning> = self
            .uses
            .iter()
            .zip(&found)
            .map(|(u, m)| m.clone().unwrap_or_else(|| self.left(u, any, same_values)))
            .collect();
        (rest, same_values)
    }

    fn mark(&mut self, meaning: Option<&Meaning>) {
        if let Some(Meaning::Made(recipe, ..)) = meaning {
            self.used.extend(recipe.names().into_iter().map(str::to_owned));
        }
    }

    /// Whether a tensor of the checkpoint holds the values of a use.
    fn holds(&self, u: &Use<'_>, name: &str) -> bool {
        self.first.get(name).is_some_and(|tensor| equal(tensor, u.tensor))
    }

    fn by_name(&self, u: &Use<'_>) -> Option<Meaning> {
        if !self.named.contains(u.name) {
            return None;
        }
        if !self.holds(u, u.name)
            && let Some(module) = self.folded_into(u, self.first.get(u.name))
        {
            return Some(Meaning::Missing(Cause::FoldedBatchNorm { batch_norm: module.to_owned() }));
        }
        // Of tensors that were equal when they were exported only one is kept.
        let here =
            self.scope(u).map(|s| if s.is_empty() { last(u.name).to_owned() } else { format!("{s}.{}", last(u.name)) });
        let other = here.filter(|here| here != u.name && !self.named.contains(here.as_str()));
        let fits =
            |name: &String| self.first.get(name).filter(|t| t.dtype().is_float() && t.shape() == u.tensor.shape());
        if let Some((other, tensor)) = other.and_then(|name| fits(&name).map(|t| (name, t)))
            && self.tied.get(&other).is_none_or(|with| with != u.name)
            && (!self.holds(u, u.name) || equal(tensor, u.tensor))
        {
            let by = if equal(tensor, u.tensor) { Evidence::Values } else { Evidence::Place };
            return Some(Meaning::Made(Recipe::tensor(&other, tensor), by, vec![u.name.to_owned()]));
        }
        if u.renamed {
            let recipe = Recipe::tensor(u.name, self.first.get(u.name)?);
            let by = if self.holds(u, u.name) { Evidence::Values } else { Evidence::Place };
            return Some(Meaning::Made(recipe, by, Vec::new()));
        }
        Some(Meaning::Own)
    }

    fn by_values(&mut self, u: &Use<'_>) -> Option<Meaning> {
        if self.folded_here(u).is_some() {
            return None;
        }
        let wholes = self.search.wholes(u.tensor);
        let scope = self.scopes[u.node].clone();
        let scope = scope.as_deref();
        let (single, uniform) = (u.tensor.len() == 1, is_uniform(u.tensor));
        let fits = |name: &str| match scope {
            Some(scope) if single => owner(name) == scope,
            Some("") if uniform => owner(name).is_empty(),
            Some(scope) if uniform => is_within(name, scope),
            None if uniform => !single && !self.used.contains(name),
            _ => true,
        };
        let rank = |k: usize| {
            let name = self.search.tensor(k).0;
            (fit(name, scope), !self.used.contains(name), std::cmp::Reverse(k))
        };
        let candidates = || wholes.iter().filter(|(k, _)| fits(self.search.tensor(*k).0));
        if let Some((k, recipe)) = candidates().max_by_key(|(k, _)| rank(*k)) {
            let mut recipe = recipe.clone();
            recipe.renamed(&|name| self.tied.get(name).cloned());
            let chosen = recipe.names()[0].to_owned();
            let others = wholes.iter().map(|(k, _)| self.search.tensor(*k).0).filter(|n| *n != chosen);
            let alike = others.take(ALIKE).map(str::to_owned).collect();
            return Some(Meaning::Made(self.settled(u, *k, recipe), Evidence::Values, alike));
        }
        if single {
            return None;
        }
        let proposed = proposals(&self.place(u), u.tensor.shape(), self.first, &|_| true);
        let holds = |r: &Recipe| r.evaluate(self.first).is_some_and(|t| equal(&t, u.tensor));
        if let Some(recipe) = proposed.into_iter().find(|r| r.names().len() > 1 && holds(r)) {
            return Some(Meaning::Made(recipe, Evidence::Values, Vec::new()));
        }
        if !is_telling(u.tensor) {
            return None;
        }
        let used = self.used.clone();
        let prefer = |name: &str| 2 * fit(name, scope) + usize::from(!used.contains(name));
        let mut recipe = self.search.pieces(u.tensor, &prefer)?;
        recipe.renamed(&|name| self.tied.get(name).cloned());
        Some(Meaning::Made(recipe, Evidence::Values, Vec::new()))
    }

    /// A symmetric matrix holds the same values with its axes exchanged: its place then tells which it is.
    fn settled(&self, u: &Use<'_>, k: usize, recipe: Recipe) -> Recipe {
        let name = recipe.names()[0].to_owned();
        let proposed = proposals(&self.place(u), u.tensor.shape(), self.first, &|n| n == name);
        let holds = |r: &Recipe| r.evaluate(self.first).is_some_and(|t| equal(&t, u.tensor));
        let square = matches!(self.search.tensor(k).1.shape(), [a, b] if a == b);
        proposed.into_iter().find(|r| square && holds(r)).unwrap_or(recipe)
    }

    /// Forgets pieces of one tensor where the place tells another way to make it: in another state of the network they may
    /// be its units in another order.
    fn doubted(&self, found: &mut [Option<Meaning>]) {
        for (u, found) in self.uses.iter().zip(found) {
            let Some(Meaning::Made(recipe, Evidence::Values, _)) = &*found else { continue };
            let names = recipe.names();
            if names.len() == 1 || names.iter().any(|n| *n != names[0]) {
                continue;
            }
            let proposed = proposals(&self.place(u), u.tensor.shape(), self.first, &|n| !self.named.contains(n));
            let holds = |r: &Recipe| r.evaluate(self.first).is_some_and(|t| equal(&t, u.tensor));
            if proposed.len() == 1 && !proposed.iter().any(holds) {
                *found = None;
            }
        }
    }

    /// What the module of each use has of its shape, where that is one tensor only.
    fn by_places(&mut self, found: &mut [Option<Meaning>]) {
        for (k, u) in self.uses.iter().enumerate() {
            if found[k].is_some() || u.tensor.len() == 1 || self.folded_here(u).is_some() {
                continue;
            }
            let free = |name: &str| !self.named.contains(name);
            let mut proposed = proposals(&self.place(u), u.tensor.shape(), self.first, &free);
            if proposed.is_empty() {
                // A tensor that another module shares under this name.
                let shared = |name: &str| self.scope(u) == Some(owner(name));
                proposed = proposals(&self.place(u), u.tensor.shape(), self.first, &shared);
            }
            for recipe in &mut proposed {
                recipe.renamed(&|name| self.tied.get(name).cloned());
            }
            proposed.dedup();
            found[k] = match &proposed[..] {
                [] => None,
                [one] => Some(Meaning::Made(one.clone(), Evidence::Place, Vec::new())),
                several => {
                    let candidates = several.iter().map(ToString::to_string).collect();
                    Some(Meaning::Missing(Cause::Ambiguous { candidates }))
                }
            };
            let meaning = found[k].clone();
            self.mark(meaning.as_ref());
        }
    }

    /// The BatchNorm that a node stands in the place of, where that is none itself.
    fn folded_here(&self, u: &Use<'_>) -> Option<&'a str> {
        let scope = self.scope(u)?;
        let layer = matches!(self.model.nodes[u.node].op_type.as_str(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul");
        self.batch_norms.iter().copied().find(|module| layer && *module == scope)
    }

    /// The BatchNorm that was multiplied into a tensor, by its place or by its values.
    fn folded_into(&self, u: &Use<'_>, weight: Option<&Tensor>) -> Option<&'a str> {
        self.folded_here(u).or_else(|| {
            let weight = weight.filter(|w| w.shape().len() > 1)?;
            self.batch_norms.iter().copied().find(|module| is_folded(u.tensor, weight, module, self.first))
        })
    }

    /// BatchNorms that the model does not have: what they were multiplied into is no tensor of the checkpoint, whatever
    /// its name, place and shape say.
    fn folded(&self, found: &mut [Option<Meaning>]) {
        let unused = |module: &&&str| !self.used.contains(&format!("{module}.running_var"));
        let modules: Vec<&str> = self.batch_norms.iter().filter(unused).copied().collect();
        let mut at: BTreeMap<usize, &str> = BTreeMap::new();
        for (k, u) in self.uses.iter().enumerate() {
            let node = &self.model.nodes[u.node];
            if u.slot != 1 || !matches!(node.op_type.as_str(), "Conv" | "ConvTranspose" | "Gemm") {
                continue;
            }
            let name = match &found[k] {
                Some(Meaning::Own) if !self.holds(u, u.name) => Some(u.name.to_owned()),
                Some(Meaning::Made(recipe, Evidence::Place, _)) => recipe.names().first().map(|&n| n.to_owned()),
                _ => None,
            };
            let module = match (&found[k], name) {
                (Some(Meaning::Missing(Cause::FoldedBatchNorm { batch_norm })), _) => {
                    modules.iter().find(|m| *m == batch_norm)
                }
                (_, Some(name)) => modules.iter().find(|m| self.follows(&name, m) && !self.is_normalised(u.node)),
                (None, None) => modules.iter().find(|m| {
                    self.scope(u) == Some(**m) || self.first.iter().any(|(_, t)| is_folded(u.tensor, t, m, self.first))
                }),
                _ => None,
            };
            if let Some(module) = module {
                at.insert(u.node, module);
            }
        }
        for (k, u) in self.uses.iter().enumerate() {
            if let Some(module) = at.get(&u.node) {
                found[k] = Some(Meaning::Missing(Cause::FoldedBatchNorm { batch_norm: (*module).to_owned() }));
            }
        }
    }

    /// Whether a BatchNorm may come after a layer: it stands beside it and has as many channels.
    fn follows(&self, weight: &str, module: &str) -> bool {
        let channels = self.first.get(&format!("{module}.running_var")).map(Tensor::len);
        let shape = self.first.get(weight).map(Tensor::shape).unwrap_or_default();
        owner(owner(weight)) == owner(module) && shape.iter().take(2).any(|n| Some(*n) == channels)
    }

    fn is_normalised(&self, node: usize) -> bool {
        let outputs: Vec<&str> = self.model.nodes[node].makes().collect();
        let mut readers = self.model.nodes.iter().filter(|n| n.is("BatchNormalization"));
        readers.any(|n| n.inputs.first().is_some_and(|x| outputs.contains(&x.as_str())))
    }

    /// What is neither: a constant, unless it has the name of a parameter, or tensors of the checkpoint that nothing uses may have to do with it, or, where
    /// values do not tell, any tensor of the same lengths.
    fn left(&self, u: &Use<'_>, any: bool, same_values: bool) -> Meaning {
        if !any {
            return Meaning::Missing(Cause::Absent);
        }
        if self.first.get(u.name).is_some_and(|t| t.len() > 1) {
            return Meaning::Missing(Cause::Absent);
        }
        if u.tensor.len() == 1 {
            return Meaning::Constant;
        }
        let uniform = is_uniform(u.tensor);
        if !uniform && PARAMETERS.contains(&last(u.name)) {
            return Meaning::Missing(Cause::Absent);
        }
        let sorted = |shape: &[usize]| {
            let mut lengths: Vec<usize> = shape.iter().copied().filter(|n| *n != 1).collect();
            lengths.sort_unstable();
            lengths
        };
        let scope = self.scope(u);
        let lengths = sorted(u.tensor.shape());
        let alike =
            |tensor: &Tensor| !same_values && !uniform && lengths.len() > 1 && sorted(tensor.shape()) == lengths;
        let unused = |&(name, tensor): &(&str, &Tensor)| {
            let is_tied = self.tied.get(name).is_some_and(|with| self.used.contains(with));
            let is_free = alike(tensor) || (!self.used.contains(name) && !is_tied);
            tensor.dtype().is_float() && tensor.len() > 1 && is_free
        };
        let related = |&(name, tensor): &(&str, &Tensor)| match scope {
            _ if sorted(tensor.shape()) == lengths => !uniform || scope.is_some_and(|s| owner(name) == s),
            _ if uniform => false,
            Some("") => owner(name).is_empty(),
            Some(scope) => is_within(name, scope),
            None => tensor.shape().len() > 1 && u.tensor.shape().len() > 1,
        };
        let suspects: Vec<(&str, &Tensor)> = self.first.iter().filter(unused).filter(related).collect();
        let original = suspects.iter().find(|(name, t)| is_parametrised(name, self.first) && t.len() == u.tensor.len());
        match (suspects.first(), original) {
            (None, _) => Meaning::Constant,
            (_, Some((name, _))) => Meaning::Missing(Cause::Parametrised { original: (*name).to_owned() }),
            (Some(_), None) => Meaning::Missing(Cause::Absent),
        }
    }

    fn rewritten(mut self, (meanings, same_values): (Vec<Meaning>, bool)) -> Explained {
        let mut model = self.model.clone();
        let mut origins = Origins::default();
        let (mut derived, mut missing) = (Vec::new(), BTreeMap::new());
        let mut names = Names::of(&model);
        let mut keys: HashMap<(&str, String), String> = HashMap::new();
        let mut made: BTreeSet<&str> = BTreeSet::new();
        let mut weights: BTreeMap<(usize, usize), String> = BTreeMap::new();
        for (u, meaning) in self.uses.iter().zip(&meanings) {
            match meaning {
                Meaning::Own => {
                    made.insert(u.name);
                    weights.insert((u.node, u.slot), u.name.to_owned());
                }
                Meaning::Made(recipe, by, alike) => {
                    made.insert(u.name);
                    if let [name] = recipe.names()[..] {
                        weights.insert((u.node, u.slot), name.to_owned());
                    }
                    let description = described(u.name, recipe, *by, alike.clone());
                    let key = if let Some(key) = keys.get(&(u.name, description.how.clone())) {
                        key.clone()
                    } else {
                        let key = names.unique(u.name);
                        keys.insert((u.name, description.how.clone()), key.clone());
                        model.params.insert(&key, u.tensor.clone());
                        origins.recipes.insert(key.clone(), recipe.clone());
                        derived.push(description);
                        key
                    };
                    model.nodes[u.node].inputs[u.slot] = key;
                }
                Meaning::Missing(cause) => {
                    let (tensor, shape, cause) = (u.name.to_owned(), u.tensor.shape().to_vec(), cause.clone());
                    missing.entry(u.name).or_insert(Unexplained { tensor, shape, cause });
                }
                Meaning::Constant => {
                    origins.constants.insert(u.name.to_owned());
                }
            }
        }
        // A tensor that is a weight somewhere is none elsewhere only under a name of its own.
        origins.constants.retain(|name| !made.contains(name.as_str()) && !missing.contains_key(name.as_str()));
        let left_out = self.left_out(&weights, same_values);
        for (node, name) in left_out {
            let Some(tensor) = self.first.get(&name) else { continue };
            let recipe = Recipe::tensor(&name, tensor);
            let key = names.unique(&name);
            model.nodes[node].inputs.push(key.clone());
            model.params.insert(&key, tensor.clone());
            derived.push(described(&name, &recipe, Evidence::LeftOut, Vec::new()));
            origins.recipes.insert(key, recipe);
            self.used.insert(name);
        }
        let mut constants: Vec<String> = origins.constants.iter().cloned().collect();
        constants.sort_unstable();
        let tied = self.tied.into_iter().collect();
        Explained { model, origins, derived, constants, tied, missing: missing.into_values().collect(), same_values }
    }

    /// Biases that are not in the model, since they were zero: of layers without one whose module has one that nothing uses.
    fn left_out(&self, weights: &BTreeMap<(usize, usize), String>, same_values: bool) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for ((node, slot), weight) in weights {
            let layer = &self.model.nodes[*node];
            let is_layer =
                layer.domain.is_empty() && matches!(layer.op_type.as_str(), "Conv" | "ConvTranspose" | "Gemm");
            let name = match weight.strip_suffix("weight") {
                Some(module) if is_layer && *slot == 1 && layer.inputs.len() == 2 => format!("{module}bias"),
                _ => continue,
            };
            let (Some(bias), Some(weight)) = (self.first.get(&name), self.first.get(weight)) else { continue };
            let zero = || bias.bytes().iter().all(|b| *b == 0);
            let fits = bias.dtype().is_float()
                && bias.shape().len() == 1
                && weight.shape().iter().take(2).any(|n| *n == bias.len())
                && !self.used.contains(&name);
            if fits && (!same_values || zero()) {
                found.push((*node, name));
            }
        }
        found
    }
}

fn described(tensor: &str, recipe: &Recipe, by: Evidence, alike: Vec<String>) -> Derived {
    let from: BTreeSet<String> = recipe.names().into_iter().map(str::to_owned).collect();
    Derived { tensor: tensor.to_owned(), from: from.into_iter().collect(), how: recipe.to_string(), by, alike }
}

/// Names that no value of a model has.
struct Names {
    taken: HashSet<String>,
    next: usize,
}

impl Names {
    fn of(model: &OnnxModel) -> Self {
        let made = model.nodes.iter().flat_map(|n| n.makes().chain(n.reads()));
        let all = made.chain(model.inputs.iter().map(|v| v.name.as_str())).chain(model.params.names());
        Self { taken: all.map(str::to_owned).collect(), next: 0 }
    }

    fn unique(&mut self, name: &str) -> String {
        loop {
            let key = format!("{name}#{}", self.next);
            self.next += 1;
            if self.taken.insert(key.clone()) {
                return key;
            }
        }
    }
}

/// Whether two tensors of one shape hold the same values, in the shorter of their types.
fn equal(a: &Tensor, b: &Tensor) -> bool {
    let compared = common(b.dtype(), a.dtype());
    a.shape() == b.shape()
        && match (as_type(a, compared), as_type(b, compared)) {
            (Some(a), Some(b)) => a.bytes() == b.bytes(),
            _ => false,
        }
}

/// Tensors that are equal in all networks and not all one number: each with the one that stands for it, which is one
/// that the model has, if it has any.
fn ties<'t>(
    tensors: impl Iterator<Item = (&'t str, &'t Tensor)>,
    networks: &[&Params],
    named: &BTreeSet<&str>,
) -> BTreeMap<String, String> {
    let mut classes: BTreeMap<(Vec<usize>, &str, u64), Vec<&str>> = BTreeMap::new();
    for (name, tensor) in tensors.filter(|(_, t)| t.len() > 1) {
        let key = (tensor.shape().to_vec(), tensor.dtype().name(), ordered(tensor));
        classes.entry(key).or_default().push(name);
    }
    let mut tied = BTreeMap::new();
    for names in classes.values().filter(|names| names.len() > 1) {
        let with = *names.iter().find(|n| named.contains(*n)).unwrap_or(&names[0]);
        let alike = |name: &&&str| {
            networks.iter().all(|p| match (p.get(name), p.get(with)) {
                (Some(a), Some(b)) => a == b && !is_uniform(a),
                _ => false,
            })
        };
        for name in names.iter().filter(|n| **n != with).filter(alike) {
            tied.insert((*name).to_owned(), with.to_owned());
        }
    }
    tied
}
