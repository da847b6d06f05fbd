//! Repair of merged networks: averaging shrinks the spread of activations, and here it is set right again.
//!
//! [`sites`] tells where a graph lets every unit be scaled and shifted; [`repair_weights`] does it without data. The crate
//! that runs networks measures activations and does it with them.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::graph::op::{Binary, PoolKind, Reduce, Unary};
use crate::graph::{Graph, Node, NodeId, Op, ValueId, ValueSource};
use crate::merge::MergeRule;
use crate::params::Params;
use crate::tensor::Tensor;

/// Spread of a unit, relative to the largest numbers beside it, below which it is rounding.
const STILL: f64 = 16.0 * f32::EPSILON as f64;

/// An affine operator whose parameters scale and shift every unit of its output.
///
/// [`sites`] finds those of a graph; what is measured there is corrected by [`Site::correct`].
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::repair::sites;
/// let mut g = Graph::new();
/// let mut x = g.input("x", &[1, 784])?;
/// x = g.linear("fc1", x, 512)?;
/// x = g.relu(x)?;
/// x = g.linear("fc2", x, 10)?;
/// g.output(x);
/// let site = &sites(&g)[0];
/// assert_eq!(g.value(site.scale).name, "fc1.weight");
/// assert_eq!(site.shift.map(|v| g.value(v).name.as_str()), Some("fc1.bias"));
/// assert_eq!((site.axes.clone(), site.units(&g)), (1..2, 512));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The operator.
    pub node: NodeId,
    /// Its gain or weight.
    pub scale: ValueId,
    /// Its bias, if it has one.
    pub shift: Option<ValueId>,
    /// Axes of its output that count its units.
    pub axes: Range<usize>,
    rows: Rows,
}

/// Where the numbers of a unit lie in a gain or weight: `[groups, blocks, per, inner]`, unit `group · per + row`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rows {
    blocks: usize,
    per: usize,
    inner: usize,
}

/// A repaired network, and what was done to it: what [`repair_weights`] gives, and repair with data.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::repair::repair_weights;
/// use onebasin_core::{Params, Tensor};
/// let mut g = Graph::new();
/// let mut x = g.input("x", &[1, 1])?;
/// x = g.linear("fc1", x, 2)?;
/// x = g.relu(x)?;
/// x = g.linear("fc2", x, 1)?;
/// g.output(x);
/// let net = |w: [f32; 2]| -> Result<Params, onebasin_core::Error> {
///     Ok(Params::from_iter([("fc1.weight".to_owned(), Tensor::from_f32(&[2, 1], w.to_vec())?)]))
/// };
/// let (a, b, merged) = (net([2., 2.])?, net([4., 0.])?, net([1., 1.])?);
/// let repaired = repair_weights(&g, [&a, &b], &merged, 0.5)?;
/// assert_eq!(repaired.params, net([3., 1.])?); // the second unit is still in B
/// assert_eq!((repaired.corrections[0].still, repaired.corrections[0].factor), (1, 3.0));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Repaired {
    /// The network.
    pub params: Params,
    /// One record per site, in running order.
    pub corrections: Vec<Correction>,
}

/// What was corrected at a site: which tensors, of how many units, and by how much on average.
///
/// ```
/// use onebasin_core::repair::Correction;
/// let (node, tensors) = ("fc1".to_owned(), vec!["fc1.weight".to_owned()]);
/// let correction = Correction { node, tensors, units: 512, still: 2, factor: 1.5 };
/// let text = r#"{"node":"fc1","tensors":["fc1.weight"],"units":512,"still":2,"factor":1.5}"#;
/// assert_eq!(serde_json::to_string(&correction)?, text);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// Name of the operator.
    pub node: String,
    /// The tensors that were changed.
    pub tensors: Vec<String>,
    /// Number of units.
    pub units: usize,
    /// Units left as they were, because they have no spread in one of the networks.
    pub still: usize,
    /// Mean factor of the other units' spread; 1 if there is none.
    pub factor: f64,
}

/// The sites of a graph, in running order.
///
/// A site is the last operator before a nonlinearity that scales and shifts its units by parameters of its own: a
/// BatchNorm, LayerNorm or GroupNorm, or else a convolution or linear layer that is not followed by one. Without a bias it
/// only scales. No site is an operator
/// - whose gain, weight or bias is used elsewhere too, or is no parameter;
/// - that is followed by nothing but BatchNorms, or sites that normalise;
/// - whose units reach an output of the network with no nonlinearity but Softmax and Sigmoid between (logits).
///
/// Cost: at most one pass over the nodes for every parameter.
///
/// ```
/// use onebasin_core::graph::Graph;
/// let mut g = Graph::new();
/// let mut x = g.input("x", &[1, 784])?;
/// x = g.linear("fc1", x, 512)?;
/// x = g.relu(x)?;
/// x = g.linear("fc2", x, 10)?;
/// g.output(x);
/// let sites = onebasin_core::repair::sites(&g);
/// assert_eq!(sites.iter().map(|s| g.node(s.node).name.as_str()).collect::<Vec<_>>(), ["fc1"]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn sites(graph: &Graph) -> Vec<Site> {
    let candidates = candidates(graph);
    let normalised = |site: &Site| {
        let mut after = consumers(graph, site).peekable();
        let normalises = |(id, node): (NodeId, &Node)| match node.op {
            Op::BatchNorm { .. } => true,
            Op::LayerNorm { .. } | Op::GroupNorm { .. } => candidates.iter().any(|c| c.node == id),
            _ => false,
        };
        after.peek().is_some() && after.all(normalises)
    };
    let hidden = hidden(graph, &candidates);
    hidden.filter(|s| !s.is_layer(graph) || !normalised(s)).cloned().collect()
}

/// Rescales the rows of merged weights, without data.
///
/// Formula: row `w` of unit `i` becomes `w · ((1 − λ) ‖w_A‖ + λ ‖w_B‖) / ‖w‖`. Where the inputs of the layer are white
/// (uncorrelated, of equal variance), `‖w‖` is the spread of the unit's pre-activation up to a common factor, and this is
/// [REPAIR](https://arxiv.org/abs/2211.08403) without measuring. Biases stay: of centred inputs they are the means, and
/// a linear merge has interpolated them already.
///
/// The layers are all convolutions and linear layers whose weights are used once and that do not give logits, as for
/// [`sites`], but for those followed by a BatchNorm or an InstanceNorm, which take a scale away again. Rows without length
/// stay as they are.
///
/// Cost: one pass over the weights of the three networks.
///
/// # Errors
/// If a tensor is missing, is no float or does not fit the graph, or λ lies outside [0, 1].
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::merge::{Interpolation, merge};
/// use onebasin_core::repair::repair_weights;
/// use onebasin_core::{Params, Tensor};
/// let mut g = Graph::new();
/// let mut x = g.input("x", &[1, 2])?;
/// x = g.linear("fc1", x, 1)?;
/// x = g.relu(x)?;
/// x = g.linear("fc2", x, 1)?;
/// g.output(x);
/// let net = |w: [f32; 2]| {
///     let tensors = [("fc1.weight", vec![1, 2], w.to_vec()), ("fc1.bias", vec![1], vec![0.]),
///         ("fc2.weight", vec![1, 1], vec![1.]), ("fc2.bias", vec![1], vec![0.])];
///     tensors.into_iter().map(|(n, s, v)| Ok((n.to_owned(), Tensor::from_f32(&s, v)?))).collect::<Result<Params, onebasin_core::Error>>()
/// };
/// let (a, b) = (net([2., 0.])?, net([0., 2.])?);
/// let merged = merge(&a, &b, 0.5, Interpolation::Lerp)?;
/// let repaired = repair_weights(&g, [&a, &b], &merged, 0.5)?;
/// assert_eq!(repaired.params, net([2_f32.sqrt(), 2_f32.sqrt()])?);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn repair_weights(graph: &Graph, ends: [&Params; 2], merged: &Params, lambda: f64) -> Result<Repaired> {
    check_lambda(lambda)?;
    let mut repaired = Repaired { params: merged.clone(), corrections: Vec::new() };
    let candidates = candidates(graph);
    let kept = |site: &Site| {
        consumers(graph, site).any(|(_, node)| match node.op {
            Op::BatchNorm { .. } => true,
            Op::GroupNorm { groups, .. } => groups == site.units(graph),
            _ => false,
        })
    };
    for site in hidden(graph, &candidates).filter(|s| s.is_layer(graph) && !kept(s)) {
        let [a, b, m] = [ends[0], ends[1], merged].map(|params| site.norms(graph, params));
        let factors = factors([&a?, &b?], &m?, lambda, |_| 0.0);
        let scale: Vec<f64> = factors.iter().map(|r| r.unwrap_or(1.0)).collect();
        site.correct(graph, &mut repaired.params, &scale, None)?;
        repaired.corrections.push(site.correction(graph, &factors, false));
    }
    Ok(repaired)
}

/// Factors that give every unit's spread in a merged network the interpolated spread `(1 − λ) σ_A + λ σ_B`; none where one
/// of the three is zero but for rounding.
///
/// Formula: `((1 − λ) σ_A + λ σ_B) / σ`, unit by unit.
///
/// Rounding is measured against the largest spread of the same network, and for the merged one against the unit's `level`
/// too: the size of the numbers that its spread is left of. Below `16 ε` of those, ε that of f32, a spread is zero.
///
/// Shapes: one spread per unit in A, in B and in the merged network.
///
/// # Panics
/// If A or B has fewer units than the merged network.
///
/// Source: Jordan et al. 2023 ([REPAIR](https://arxiv.org/abs/2211.08403)), the spread of their target. We differ in leaving
/// units alone that do not move.
///
/// ```
/// use onebasin_core::repair::factors;
/// let (a, b, merged) = ([1.0, 2.0], [3.0, 2.0], [1.0, 0.0]);
/// assert_eq!(factors([&a, &b], &merged, 0.5, |_| 0.0), [Some(2.0), None]);
/// ```
pub fn factors(ends: [&[f64]; 2], merged: &[f64], lambda: f64, level: impl Fn(usize) -> f64) -> Vec<Option<f64>> {
    let floor = |spread: &[f64]| STILL * spread.iter().fold(0.0, |m: f64, s| m.max(*s));
    let [a, b, m] = [ends[0], ends[1], merged].map(floor);
    let factor = |unit: usize| {
        let (sa, sb, s) = (ends[0][unit], ends[1][unit], merged[unit]);
        let moves = sa > a && sb > b && s > m.max(STILL * level(unit));
        moves.then(|| ((1.0 - lambda) * sa + lambda * sb) / s)
    };
    (0..merged.len()).map(factor).collect()
}

/// Passes only if λ lies between 0 and 1.
///
/// # Errors
/// [`Error::Option`] with the λ found.
///
/// ```
/// use onebasin_core::repair::check_lambda;
/// assert!(check_lambda(0.5).is_ok() && check_lambda(1.5).is_err() && check_lambda(f64::NAN).is_err());
/// ```
pub fn check_lambda(lambda: f64) -> Result<()> {
    MergeRule::lerp(lambda).map(drop)
}

impl Site {
    /// Number of units: the product of the lengths of [`axes`](Self::axes).
    ///
    /// # Panics
    /// If the site is not of this graph.
    /// ```
    /// use onebasin_core::graph::{Graph, op::Conv};
    /// let mut g = Graph::new();
    /// let mut x = g.input("x", &[1, 3, 8, 8])?;
    /// x = g.conv("conv1", x, 16, 3, Conv::square(1, 1), true)?;
    /// x = g.relu(x)?;
    /// x = g.conv("conv2", x, 4, 1, Conv::square(1, 0), true)?;
    /// g.output(x);
    /// assert_eq!(onebasin_core::repair::sites(&g)[0].units(&g), 16);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn units(&self, graph: &Graph) -> usize {
        graph.shape(graph.node(self.node).outputs[0])[self.axes.clone()].iter().product()
    }

    /// Makes every unit's output `y` to `scale · y + shift`; without a bias it is only scaled.
    ///
    /// Formula: the unit's row of the gain or weight becomes `scale · w`, its bias `scale · b + shift`; with `shift`
    /// none, the bias stays as it is. In f64, rounded to the tensor's element type.
    ///
    /// Shapes: one number of `scale`, and of `shift`, per unit.
    ///
    /// # Errors
    /// If a tensor is missing, is no float, or does not fit the graph.
    ///
    /// # Panics
    /// If `scale` has fewer numbers than the site has units.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// use onebasin_core::{Params, Tensor};
    /// let mut g = Graph::new();
    /// let mut x = g.input("x", &[1, 1])?;
    /// x = g.linear("fc1", x, 2)?;
    /// x = g.relu(x)?;
    /// x = g.linear("fc2", x, 1)?;
    /// g.output(x);
    /// let site = &onebasin_core::repair::sites(&g)[0];
    /// let mut net = Params::new();
    /// net.insert("fc1.weight", Tensor::from_f32(&[2, 1], vec![1., 2.])?);
    /// net.insert("fc1.bias", Tensor::from_f32(&[2], vec![3., 4.])?);
    /// site.correct(&g, &mut net, &[1., 10.], Some(&[0.5, 0.]))?;
    /// assert_eq!(net.require("fc1.weight")?.to_f32()?[..], [1., 20.]);
    /// assert_eq!(net.require("fc1.bias")?.to_f32()?[..], [3.5, 40.]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn correct(&self, graph: &Graph, params: &mut Params, scale: &[f64], shift: Option<&[f64]>) -> Result<()> {
        let tensor = fitting(graph, params, self.scale)?;
        let values = tensor.to_f64().map_err(|e| e.named(&graph.value(self.scale).name))?;
        let scaled = values.iter().enumerate().map(|(at, w)| w * scale[self.rows.unit(at)]).collect::<Vec<_>>();
        let scaled = Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &scaled)?;
        params.insert(graph.value(self.scale).name.clone(), scaled);
        if let (Some(bias), Some(shift)) = (self.shift, shift) {
            let tensor = fitting(graph, params, bias)?;
            let values = tensor.to_f64().map_err(|e| e.named(&graph.value(bias).name))?;
            let moved = values.iter().zip(scale).zip(shift).map(|((b, r), s)| b * r + s).collect::<Vec<_>>();
            let moved = Tensor::from_f64_as(tensor.dtype(), tensor.shape(), &moved)?;
            params.insert(graph.value(bias).name.clone(), moved);
        }
        Ok(())
    }

    /// The record of a correction by these factors; `shifted` says whether the bias was changed too.
    ///
    /// ```
    /// use onebasin_core::graph::Graph;
    /// let mut g = Graph::new();
    /// let mut x = g.input("x", &[1, 4])?;
    /// x = g.linear("fc1", x, 3)?;
    /// x = g.relu(x)?;
    /// x = g.linear("fc2", x, 1)?;
    /// g.output(x);
    /// let site = &onebasin_core::repair::sites(&g)[0];
    /// let record = site.correction(&g, &[Some(2.0), None, Some(4.0)], true);
    /// assert_eq!(record.tensors, ["fc1.weight", "fc1.bias"]);
    /// assert_eq!((record.units, record.still, record.factor), (3, 1, 3.0));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn correction(&self, graph: &Graph, factors: &[Option<f64>], shifted: bool) -> Correction {
        let tensors = [Some(self.scale), self.shift.filter(|_| shifted)];
        let moved = factors.iter().flatten();
        let (count, sum) = (moved.clone().count(), moved.sum::<f64>());
        Correction {
            node: graph.node(self.node).name.clone(),
            tensors: tensors.into_iter().flatten().map(|v| graph.value(v).name.clone()).collect(),
            units: factors.len(),
            still: factors.len() - count,
            factor: if count == 0 { 1.0 } else { sum / count as f64 },
        }
    }

    /// Lengths of every unit's weights.
    fn norms(&self, graph: &Graph, params: &Params) -> Result<Vec<f64>> {
        let mut squares = vec![0.0; self.units(graph)];
        let weights =
            fitting(graph, params, self.scale)?.to_f64().map_err(|e| e.named(&graph.value(self.scale).name))?;
        for (at, w) in weights.iter().enumerate() {
            squares[self.rows.unit(at)] += w * w;
        }
        Ok(squares.into_iter().map(f64::sqrt).collect())
    }

    /// Whether it is a convolution or a linear layer.
    fn is_layer(&self, graph: &Graph) -> bool {
        matches!(graph.node(self.node).op, Op::Linear | Op::Conv(_) | Op::ConvTranspose { .. })
    }

    fn new(graph: &Graph, node: NodeId, free: impl Fn(ValueId) -> bool) -> Option<Self> {
        let Node { op, inputs, outputs, .. } = graph.node(node);
        let [_, scale, rest @ ..] = &inputs[..] else { return None };
        let (shift, shape) = (rest.first().copied(), graph.shape(*scale));
        let plain = Rows { blocks: 1, per: shape.iter().product(), inner: 1 };
        let (axes, rows) = match op {
            Op::BatchNorm { .. } | Op::GroupNorm { .. } => (1..2, plain),
            Op::LayerNorm { axes, .. } => {
                let (first, last) = (*axes.first()?, *axes.last()?);
                if first == 0 || last + 1 - first != axes.len() {
                    return None;
                }
                (first..last + 1, plain)
            }
            Op::Linear | Op::Conv(_) => {
                let rank = graph.shape(outputs[0]).len();
                let axis = if *op == Op::Linear { rank - 1 } else { 1 };
                (axis..axis + 1, Rows { blocks: 1, per: shape[0], inner: shape[1..].iter().product() })
            }
            Op::ConvTranspose { conv, .. } => {
                let blocks = shape[0] / conv.groups.max(1);
                (1..2, Rows { blocks, per: shape[1], inner: shape[2..].iter().product() })
            }
            Op::MatMul
            | Op::Pool(_)
            | Op::LocalResponseNorm { .. }
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Where
            | Op::Softmax { .. }
            | Op::Reduce { .. }
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Expand(_)
            | Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::ScatterElements { .. }
            | Op::TopK { .. }
            | Op::CumSum { .. }
            | Op::NonZero
            | Op::Resize { .. }
            | Op::Recurrent { .. }
            | Op::Unknown(_) => return None,
        };
        let own = free(*scale) && shift.is_none_or(free);
        own.then_some(Self { node, scale: *scale, shift, axes, rows })
    }
}

impl Rows {
    fn unit(self, at: usize) -> usize {
        let row = at / self.inner;
        row / (self.per * self.blocks) * self.per + row % self.per
    }
}

/// Every operator with a scale of its own, in running order.
fn candidates(graph: &Graph) -> Vec<Site> {
    let free = |value| is_own(graph, value);
    (0..graph.nodes().len()).filter_map(|node| Site::new(graph, NodeId(node), free)).collect()
}

/// Whether a value is a parameter that one operator alone uses, once: changing it changes nothing else.
///
/// Cost: one pass over the inputs of all nodes.
///
/// ```
/// use onebasin_core::graph::Graph;
/// use onebasin_core::repair::is_own;
/// let mut g = Graph::new();
/// let x = g.input("x", &[1, 4])?;
/// let h = g.linear("tied", x, 4)?;
/// assert!(is_own(&g, g.param_named("tied.weight")?));
/// let y = g.linear("tied", h, 4)?; // the same weights again
/// g.output(y);
/// assert!(!is_own(&g, g.param_named("tied.weight")?));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn is_own(graph: &Graph, value: ValueId) -> bool {
    let used = graph.nodes().iter().flat_map(|n| &n.inputs).chain(graph.outputs());
    graph.value(value).source == ValueSource::Param && used.filter(|v| **v == value).count() == 1
}

/// Those that do not give logits.
fn hidden<'a>(graph: &Graph, candidates: &'a [Site]) -> impl Iterator<Item = &'a Site> {
    let mut open = vec![false; graph.values().len()];
    graph.outputs().iter().for_each(|v| open[v.0] = true);
    for node in graph.nodes().iter().rev().filter(|n| passes(&n.op)) {
        if node.outputs.iter().any(|v| open[v.0]) {
            node.inputs.iter().for_each(|v| open[v.0] = true);
        }
    }
    let outputs: Vec<bool> = graph.nodes().iter().map(|n| n.outputs.iter().any(|v| open[v.0])).collect();
    candidates.iter().filter(move |site| !outputs[site.node.0])
}

/// Whether logits stay logits, or become probabilities.
fn passes(op: &Op) -> bool {
    match op {
        Op::Softmax { .. }
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Expand(_)
        | Op::Resize { .. } => true,
        Op::Unary(function) => matches!(function, Unary::Identity | Unary::Neg | Unary::Sigmoid),
        Op::Binary(function) => matches!(function, Binary::Add | Binary::Sub),
        Op::Reduce { kind, .. } => matches!(kind, Reduce::Sum | Reduce::Mean),
        Op::Pool(pool) => pool.kind != PoolKind::Max,
        Op::Linear
        | Op::MatMul
        | Op::Conv(_)
        | Op::ConvTranspose { .. }
        | Op::BatchNorm { .. }
        | Op::LayerNorm { .. }
        | Op::GroupNorm { .. }
        | Op::LocalResponseNorm { .. }
        | Op::Where
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::ScatterElements { .. }
        | Op::TopK { .. }
        | Op::CumSum { .. }
        | Op::NonZero
        | Op::Recurrent { .. }
        | Op::Unknown(_) => false,
    }
}

/// What reads a site's output.
fn consumers<'g>(graph: &'g Graph, site: &Site) -> impl Iterator<Item = (NodeId, &'g Node)> {
    let output = graph.node(site.node).outputs[0];
    let reads = move |(_, node): &(usize, &Node)| node.inputs.contains(&output);
    graph.nodes().iter().enumerate().filter(reads).map(|(id, node)| (NodeId(id), node))
}

/// The tensor of a parameter, if it has the graph's number of elements.
fn fitting<'p>(graph: &Graph, params: &'p Params, value: ValueId) -> Result<&'p Tensor> {
    let value = graph.value(value);
    let tensor = params.require(&value.name)?;
    if tensor.len() != value.shape.iter().product::<usize>() {
        let (tensor, found) = (value.name.clone(), tensor.shape().to_vec());
        return Err(Error::Shape { tensor, expected: value.shape.clone(), place: "the graph", found });
    }
    Ok(tensor)
}
