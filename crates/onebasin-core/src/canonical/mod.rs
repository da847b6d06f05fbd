//! One form of a network for all that compute the same by trivial means: norms without gains, writers without means.
//!
//! A gain of a norm is a scale that its readers could as well hold; a bias of values is one of the output, since weights of attention
//! sum to 1; a mean that a LayerNorm takes away need not be written. Where two networks put these numbers in different places their
//! average is wrong, and symmetries other than permutations stand behind them. [`canonical`] puts them where they belong, exactly, and
//! [`balanced`] gives both sides of a free product the same size.

mod attention;
mod balance;
mod centre;
mod norms;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dtype::DType;
use crate::error::Result;
use crate::graph::Graph;
use crate::kinds::Kinds;
use crate::params::Params;
use crate::tensor::Tensor;
pub use balance::balanced;
use norms::Fold;

/// A network in its canonical form, and what was done to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Canonical {
    /// The graph: that of the network, but for parameters that are used apart now.
    pub graph: Graph,
    /// Its parameters, in single precision at least.
    pub params: Params,
    /// What was done.
    pub changes: Changes,
}

/// What [`canonical`] did to a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Parameters of their own, by what they were part of before.
    pub untied: BTreeMap<String, String>,
    /// Gains of norms that are 1 now.
    pub gains: Vec<String>,
    /// Biases of norms that are 0 now.
    pub norm_biases: Vec<String>,
    /// Biases of values that stand in the output's now.
    pub value_biases: Vec<String>,
    /// Biases of keys that did nothing and are 0 now.
    pub key_biases: Vec<String>,
    /// Tensors whose mean over the stream is 0 now.
    pub centred: Vec<String>,
}

impl Changes {
    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counted = [
            (self.gains.len(), "gains and"),
            (self.norm_biases.len(), "biases of norms folded into what reads them;"),
            (self.value_biases.len(), "biases of values moved on;"),
            (self.key_biases.len(), "biases of keys dropped;"),
            (self.centred.len(), "tensors centred"),
        ];
        let parts: Vec<String> = counted.iter().map(|(n, what)| format!("{n} {what}")).collect();
        f.write_str(&parts.join(" "))?;
        for (own, of) in &self.untied {
            write!(f, "; `{own}` is no longer `{of}`")?;
        }
        Ok(())
    }
}

/// A network of this graph in its canonical form: it computes the same, up to rounding.
///
/// Formula: for every reader `W` of a norm with gain `g` and bias `β`: `W ← W diag(g)`, `b ← b + W β`; where a reader has no bias
/// `β ← β / g` stays in the norm. A gain that is a number more than a parameter becomes 1 as well. Biases of values:
/// `b_O ← b_O + Σ_heads O_h b_V,h`. Biases of keys, where positions do not turn them: 0, since a softmax does not see them. Means over
/// a stream that only LayerNorms read: taken from what writes it and from what reads its norms. A parameter that folding would change
/// elsewhere too becomes one of its own.
///
/// Cost: a few passes over the parameters, and one discovery.
///
/// # Errors
/// If a parameter is missing.
///
/// ```
/// use onebasin_core::canonical::canonical;
/// use onebasin_core::graph::{Graph, Op};
/// use onebasin_core::{Params, Tensor};
/// let mut graph = Graph::new();
/// let x = graph.input("x", &[1, 2])?;
/// let gain = graph.param("norm.weight", &[2])?;
/// let h = graph.push("norm", Op::LayerNorm { axes: vec![1], epsilon: 1e-6, centred: false }, &[x, gain])?;
/// let y = graph.linear("fc", h, 1)?;
/// graph.output(y);
/// let net = [("norm.weight", vec![2], vec![3., 5.]), ("fc.weight", vec![1, 2], vec![1., 1.]), ("fc.bias", vec![1], vec![0.])];
/// let net: Result<Params, onebasin_core::Error> =
///     net.into_iter().map(|(name, shape, values)| Ok((name.to_owned(), Tensor::from_f32(&shape, values)?))).collect();
/// let found = canonical(&graph, &net?)?;
/// assert_eq!(found.params.require("norm.weight")?.to_f32()?[..], [1., 1.]);
/// assert_eq!(found.params.require("fc.weight")?.to_f32()?[..], [3., 5.]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
pub fn canonical(graph: &Graph, params: &Params) -> Result<Canonical> {
    let outline = Outline::new(graph, params)?;
    let (params, changes) = outline.form(params)?;
    Ok(Canonical { graph: outline.graph, params, changes })
}

/// What the canonical form of a network will be, before its weights are looked at: so it can be made part by part.
///
/// ```
/// use onebasin_core::canonical::Outline;
/// # use onebasin_core::graph::{Graph, Op};
/// # use onebasin_core::{Params, Tensor};
/// # let mut graph = Graph::new();
/// # let x = graph.input("x", &[1, 2])?;
/// # let gain = graph.param("norm.weight", &[2])?;
/// # let h = graph.push("norm", Op::LayerNorm { axes: vec![1], epsilon: 1e-6, centred: false }, &[x, gain])?;
/// # let y = graph.linear("fc", h, 1)?;
/// # graph.output(y);
/// # let net = [("norm.weight", vec![2], vec![3., 5.]), ("fc.weight", vec![1, 2], vec![1., 1.]), ("fc.bias", vec![1], vec![0.])];
/// # let net: Result<Params, onebasin_core::Error> =
/// #     net.into_iter().map(|(name, shape, values)| Ok((name.to_owned(), Tensor::from_f32(&shape, values)?))).collect();
/// # let net = net?;
/// let outline = Outline::new(&graph, &net)?; // of a norm and the layer behind it
/// assert!(outline.together()[0].contains(&"norm.weight".to_owned()));
/// let (found, changes) = outline.form(&net)?;
/// assert_eq!(found.require("fc.weight")?.to_f32()?[..], [3., 5.]);
/// assert_eq!(changes.gains, ["norm.weight"]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// The graph: that of the network, but for parameters that are used apart.
    pub graph: Graph,
    /// Its groups and their kinds.
    pub kinds: Kinds,
    /// Parameters of their own, by what they were part of before.
    untied: BTreeMap<String, String>,
    folds: Vec<Fold>,
}

impl Outline {
    /// Looks at a graph, and at gains and biases of norms.
    ///
    /// Cost: one discovery.
    ///
    /// # Errors
    /// If a parameter is missing.
    pub fn new(graph: &Graph, params: &Params) -> Result<Self> {
        let (mut graph, mut untied) = (graph.clone(), BTreeMap::new());
        let folds = norms::plan(&mut graph, params, &mut untied)?;
        let mut shapes = params.clone();
        for (own, of) in &untied {
            shapes.insert(&own[..], params.require(of)?.clone());
        }
        for fold in &folds {
            let (name, left) = fold.left(params)?;
            shapes.insert(name, left);
        }
        let kinds = Kinds::discover(&graph, [&shapes, &shapes])?;
        Ok(Self { graph, kinds, untied, folds })
    }

    /// Sets of tensors that the form looks at together.
    pub fn together(&self) -> Vec<Vec<String>> {
        let mut found = norms::together(&self.graph);
        found.extend(self.untied.iter().map(|(own, of)| vec![own.clone(), of.clone()]));
        found
    }

    /// The tensor of the network that one of the form is made of.
    pub fn source<'a>(&'a self, name: &'a str) -> &'a str {
        self.untied.get(name).map_or(name, String::as_str)
    }

    /// What of the changes is known before the weights are looked at: what is untied, and which gains are folded.
    pub fn changes(&self) -> Changes {
        let gains = self.folds.iter().map(|fold| fold.gain().to_owned()).collect();
        Changes { untied: self.untied.clone(), gains, ..Changes::default() }
    }

    /// The form of a network, or of some of its tensors: of [`together`](Self::together) all or none, of a table whose rows nobody
    /// exchanges any of its rows; and what was changed.
    ///
    /// Cost: a few passes over the tensors.
    ///
    /// # Errors
    /// If one of a set is missing.
    pub fn form(&self, params: &Params) -> Result<(Params, Changes)> {
        let mut form =
            Form { graph: &self.graph, kinds: &self.kinds, params: Params::new(), changes: Changes::default() };
        for (name, tensor) in params.iter() {
            let wide = tensor.dtype().is_float() && tensor.dtype().size() < DType::F32.size();
            form.params.insert(name, if wide { tensor.cast(DType::F32)? } else { tensor.clone() });
        }
        for (own, of) in self.untied.iter().filter(|(_, of)| params.get(of).is_some()) {
            form.params.insert(&own[..], form.params.require(of)?.clone());
            form.changes.untied.insert(own.clone(), of.clone());
        }
        self.folds.iter().try_for_each(|fold| fold.act(&mut form))?;
        attention::fold(&mut form)?;
        centre::centre(&mut form)?;
        Ok((form.params, form.changes))
    }
}

/// A network, or a part of it, on its way.
struct Form<'o> {
    graph: &'o Graph,
    kinds: &'o Kinds,
    params: Params,
    changes: Changes,
}

impl Form<'_> {
    fn has(&self, name: &str) -> bool {
        self.params.get(name).is_some()
    }

    fn values(&self, name: &str) -> Result<Vec<f64>> {
        Ok(self.params.require(name)?.to_f64()?.into_owned())
    }

    fn set(&mut self, name: &str, values: &[f64]) -> Result<()> {
        let tensor = self.params.require(name)?;
        let tensor = Tensor::from_f64_as(tensor.dtype(), tensor.shape(), values)?;
        self.params.insert(name, tensor);
        Ok(())
    }
}
