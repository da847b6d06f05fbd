//! Where in a network a node stands, as exporters say it, and what tensors stand there.

use std::collections::HashMap;

use onebasin_core::graph::op::Cell;
use onebasin_core::{Params, Tensor};

use super::recipe::Recipe;
use crate::onnx::OnnxModel;
use crate::onnx::model::Node;

/// The module a node belongs to, such as `layers.0.norm1`; the root is empty. None where the model does not say it.
///
/// The exporter of torch writes the modules around a node into its metadata; the older one into its name.
pub(super) fn scope(model: &OnnxModel, node: &Node) -> Option<String> {
    let output = node.makes().next()?;
    if let Some(scopes) = model.scopes.get(output) {
        // A list in Python's notation, whose last entry is the node itself.
        let names: Vec<&str> = scopes.split('\'').skip(1).step_by(2).collect();
        return names.len().checked_sub(2).map(|k| names[k].to_owned());
    }
    let path = node.name.strip_prefix('/')?;
    let (modules, _) = path.rsplit_once('/').unwrap_or(("", path));
    Some(modules.replace('/', "."))
}

/// Everything before the last dot of a tensor's name.
pub(super) fn owner(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(owner, _)| owner)
}

pub(super) fn last(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// Whether a tensor belongs to a module or to one within it.
pub(super) fn is_within(name: &str, scope: &str) -> bool {
    scope.is_empty() || name.strip_prefix(scope).is_some_and(|rest| rest.starts_with('.'))
}

/// How well a tensor's name fits a place in the network.
pub(super) fn fit(name: &str, scope: Option<&str>) -> usize {
    let Some(scope) = scope else { return 0 };
    let shared = name.split('.').zip(scope.split('.')).take_while(|(a, b)| a == b).count();
    shared + if owner(name) == scope { 2000 } else { 0 } + if is_within(name, scope) { 1000 } else { 0 }
}

/// What an input of a node is to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A matrix that stands to the right in a product: a layer's weight with its axes exchanged.
    Product,
    Weight,
    Bias,
    Any,
}

/// Operators whose inputs are x, a weight and a bias.
const WITH_BIAS: [&str; 7] = [
    "Conv",
    "ConvTranspose",
    "Gemm",
    "LayerNormalization",
    "BatchNormalization",
    "InstanceNormalization",
    "GroupNormalization",
];

fn role(node: &Node, slot: usize) -> Role {
    let op = node.op_type.as_str();
    if WITH_BIAS.contains(&op) {
        return [Role::Any, Role::Weight, Role::Bias].get(slot).copied().unwrap_or(Role::Any);
    }
    match (op, slot) {
        ("MatMul", 1) => Role::Product,
        ("Mul" | "PRelu", _) | ("Gather", 0) => Role::Weight,
        ("Add", _) => Role::Bias,
        _ => Role::Any,
    }
}

/// Whether a tensor is what a weight is computed from (`weight_norm`, `spectral_norm`), and no weight itself.
pub(super) fn is_parametrised(name: &str, params: &Params) -> bool {
    let twin = |end: &str, other: &str| {
        name.strip_suffix(end).is_some_and(|base| params.get(&format!("{base}{other}")).is_some())
    };
    name.contains("parametrizations.")
        || twin("_g", "_v")
        || twin("_v", "_g")
        || twin("_orig", "_u")
        || twin("_u", "_orig")
        || twin("_v", "_orig")
}

/// Where a tensor of the model is used.
pub(super) struct Place<'m> {
    pub(super) node: &'m Node,
    pub(super) slot: usize,
    pub(super) scope: Option<&'m str>,
    /// How many recurrent nodes of the module run before this one.
    pub(super) layer: usize,
}

/// What a tensor of this shape may be by where it is used: tensors of the module in one of the shapes that exporters
/// make of them, the most direct ones only.
pub(super) fn proposals(
    place: &Place<'_>,
    shape: &[usize],
    params: &Params,
    free: &dyn Fn(&str) -> bool,
) -> Vec<Recipe> {
    let Some(scope) = place.scope else { return Vec::new() };
    if let Some(cell) = cell(place.node) {
        return recurrent(place, cell, scope, shape, params).into_iter().collect();
    }
    let role = role(place.node, place.slot);
    let fits = |(name, tensor): (&str, &Tensor)| {
        let statistic = matches!(last(name), "running_mean" | "running_var");
        let usable = tensor.dtype().is_float() && free(name) && !statistic && !is_parametrised(name, params);
        usable.then(|| shaped(&Recipe::tensor(name, tensor), tensor.shape(), shape, role)).flatten()
    };
    let is_bias = |recipe: &Recipe| {
        let names = recipe.names();
        names.iter().all(|n| ["bias", "beta", "shift"].iter().any(|word| last(n).contains(word)))
    };
    let of = |belongs: &dyn Fn(&str) -> bool| {
        let all: Vec<Recipe> = params.iter().filter(|(n, _)| belongs(n)).filter_map(fits).collect();
        let wanted: Vec<Recipe> = match role {
            Role::Any => Vec::new(),
            Role::Bias => all.iter().filter(|r| is_bias(r)).cloned().collect(),
            Role::Weight | Role::Product => all.iter().filter(|r| !is_bias(r)).cloned().collect(),
        };
        if wanted.is_empty() { all } else { wanted }
    };
    let direct = of(&|name| owner(name) == scope);
    if direct.is_empty() { of(&|name| is_within(name, scope)) } else { direct }
}

/// A tensor in another shape: axes of length 1 more or fewer, or a matrix with its axes exchanged.
fn shaped(recipe: &Recipe, from: &[usize], to: &[usize], role: Role) -> Option<Recipe> {
    let squeezed = |s: &[usize]| s.iter().copied().filter(|n| *n != 1).collect::<Vec<_>>();
    let exchanged = || (from.len() == 2 && to == [from[1], from[0]]).then(|| recipe.clone().transposed(&[1, 0]));
    let same = || (squeezed(from) == squeezed(to)).then(|| recipe.clone().reshaped(to));
    match role {
        Role::Product => exchanged().or_else(same),
        Role::Weight | Role::Bias | Role::Any => same().or_else(exchanged),
    }
}

/// The cell of a recurrent node.
pub(super) fn cell(node: &Node) -> Option<Cell> {
    match node.op_type.as_str() {
        _ if !node.domain.is_empty() => None,
        "LSTM" => Some(Cell::Lstm),
        "GRU" => Some(Cell::Gru { reset_after: true }),
        "RNN" => Some(Cell::Rnn),
        _ => None,
    }
}

/// The weights of a recurrent layer as torch names them, gates in the order that ONNX has and directions side by side.
fn recurrent(place: &Place<'_>, cell: Cell, scope: &str, shape: &[usize], params: &Params) -> Option<Recipe> {
    let dot = if scope.is_empty() { "" } else { "." };
    // Runs of gates: the first, and how many.
    let runs: &[(usize, usize)] = match cell {
        Cell::Lstm => &[(0, 1), (3, 1), (1, 2)],
        Cell::Gru { .. } => &[(1, 1), (0, 1), (2, 1)],
        Cell::Rnn => &[(0, 1)],
    };
    let gates: usize = runs.iter().map(|(_, count)| count).sum();
    let kinds: &[&str] = match place.slot {
        1 => &["weight_ih"],
        2 => &["weight_hh"],
        3 => &["bias_ih", "bias_hh"],
        _ => return None,
    };
    let directions = *shape.first()?;
    let direction = |k: usize| {
        let parts = kinds.iter().map(|kind| {
            let end = if k == 0 { "" } else { "_reverse" };
            let name = format!("{scope}{dot}{kind}_l{}{end}", place.layer);
            let tensor = params.get(&name).filter(|t| t.dtype().is_float() && !t.shape().is_empty())?;
            let hidden = tensor.shape()[0] / gates;
            let run = |(g, count): &(usize, usize)| Recipe::tensor(&name, tensor).sliced(0, g * hidden, count * hidden);
            (tensor.shape()[0] == hidden * gates).then(|| Recipe::joined(runs.iter().map(run).collect(), 0))
        });
        let joined = Recipe::joined(parts.collect::<Option<Vec<_>>>()?, 0);
        let one: Vec<usize> = [1].into_iter().chain(joined.shape()).collect();
        Some(joined.reshaped(&one))
    };
    let directions = (0..directions.min(2)).map(direction).collect::<Option<Vec<_>>>()?;
    let same = |r: &Recipe| r.shape()[1..] == directions[0].shape()[1..];
    if directions.is_empty() || !directions.iter().all(same) {
        return None;
    }
    Some(Recipe::joined(directions, 0)).filter(|r| r.shape() == shape)
}

/// How many recurrent nodes of the same module run before each node.
pub(super) fn layers(nodes: &[Node], scopes: &[Option<String>]) -> Vec<usize> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut layers = vec![0; nodes.len()];
    for ((layer, node), scope) in layers.iter_mut().zip(nodes).zip(scopes) {
        if let (Some(scope), Some(_)) = (scope, cell(node)) {
            let count = seen.entry(scope).or_default();
            *layer = *count;
            *count += 1;
        }
    }
    layers
}
