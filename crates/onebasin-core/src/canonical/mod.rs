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
use crate::params::Params;
use crate::tensor::Tensor;
pub use balance::balanced;

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
    let mut form = Form { graph: graph.clone(), params: Params::new(), changes: Changes::default() };
    for (name, tensor) in params.iter() {
        let wide = tensor.dtype().is_float() && tensor.dtype().size() < DType::F32.size();
        form.params.insert(name, if wide { tensor.cast(DType::F32)? } else { tensor.clone() });
    }
    norms::fold(&mut form)?;
    attention::fold(&mut form)?;
    centre::centre(&mut form)?;
    let Form { graph, params, changes } = form;
    Ok(Canonical { graph, params, changes })
}

/// A network on its way.
struct Form {
    graph: Graph,
    params: Params,
    changes: Changes,
}

impl Form {
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
