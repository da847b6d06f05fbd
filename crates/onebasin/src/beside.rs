//! Networks that answer different classes, side by side: one network that answers those of both.

use onebasin_core::graph::Graph;
use onebasin_core::solve::{sites, solving_order};
use onebasin_core::{Params, Tensor, escaped};
use onebasin_io::Checkpoint;
use onebasin_nn::{Ends, Network};

use crate::error::{Error, Result};
use crate::model::Model;

/// Classes that stand side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beside {
    /// Number of classes of A, which come first, and of B.
    pub(crate) classes: [usize; 2],
    /// Tensors with an entry for every class, under A's names.
    heads: Vec<String>,
}

/// Two built-in networks of one name as networks of the classes of both, each zero at the other's.
///
/// # Errors
/// [`Error::SideBySide`] names the network that does not fit.
pub(crate) fn beside(a: &Model, b: &Model) -> Result<([Model; 2], Beside)> {
    let networks = [built_in(a)?.clone(), built_in(b)?.clone()];
    let classes = networks.each_ref().map(|network| network.classes);
    let [of_a, of_b] = networks.each_ref().map(|n| Network { classes: 1, input: Vec::new(), ..n.clone() });
    if of_a != of_b {
        let why = format!("it is `{}`, and A is `{}`", escaped(&networks[1].name), escaped(&networks[0].name));
        return Err(unfit(b, &why));
    }
    let wide = |network: &Network| Network { classes: classes[0] + classes[1], ..network.clone() };
    let wide = networks.each_ref().map(wide);
    let mut heads = Vec::new();
    for (one, all) in named(a, &networks[0])?.params().zip(named(a, &wide[0])?.params()) {
        if one.shape != all.shape {
            heads.push(one.name.clone());
        }
    }
    let models = [a.padded(&wide[0], 0)?, b.padded(&wide[1], classes[0])?];
    Ok((models, Beside { classes, heads }))
}

impl Beside {
    /// Gives a merged network the rows of every class as the network has them that knows it: of two networks that are zero at each
    /// other's classes, the sum.
    pub(crate) fn put(&self, merged: &mut Params, ends: [&Params; 2]) -> Result<()> {
        for name in &self.heads {
            let [a, b] = [ends[0].require(name)?, ends[1].require(name)?];
            let sum: Vec<f64> = a.to_f64()?.iter().zip(b.to_f64()?.iter()).map(|(a, b)| a + b).collect();
            merged.insert(name, Tensor::from_f64_as(a.dtype(), a.shape(), &sum)?);
        }
        Ok(())
    }

    /// Lets each network count alone at the answers for its own classes.
    pub(crate) fn share(&self, graph: &Graph, ends: &mut Ends<'_>) {
        let [a, b] = self.classes;
        let alone = [(1.0, 0.0), (0.0, 1.0)].map(|(at_a, at_b)| [vec![at_a; a], vec![at_b; b]].concat());
        let graph = solving_order(graph);
        for site in sites(&graph).0.iter().filter(|site| graph.outputs().contains(&site.target)) {
            ends.by_unit.insert(site.target, alone.to_vec());
        }
    }
}

fn unfit(model: &Model, why: &str) -> Error {
    Error::SideBySide { path: model.path().to_owned(), why: why.to_owned() }
}

fn built_in(model: &Model) -> Result<&Network> {
    model.network().ok_or_else(|| unfit(model, "it is none of the built-in networks, or is not known to be one"))
}

/// The graph of a built-in network under the names of a file.
fn named(model: &Model, network: &Network) -> Result<Graph> {
    Ok(network.graph()?.with_param_names(|name| model.naming().in_file(name).to_owned())?)
}

impl Model {
    /// The same network with more classes: its own from `first` on, all others zero.
    fn padded(&self, network: &Network, first: usize) -> Result<Self> {
        let graph = named(self, network)?;
        let mut params = Params::new();
        for value in graph.params() {
            params.insert(&value.name, padded(self.params().require(&value.name)?, &value.shape, first)?);
        }
        let checkpoint = self.checkpoint();
        let (metadata, digest) = (checkpoint.metadata.clone(), checkpoint.digest().to_owned());
        let checkpoint = Checkpoint::identified(self.path(), params, metadata, digest);
        Ok(self.as_network(network.clone(), graph, checkpoint))
    }
}

/// A tensor in a larger shape, from `first` on along the axis that grows; zeros elsewhere.
fn padded(tensor: &Tensor, shape: &[usize], first: usize) -> Result<Tensor> {
    let Some(axis) = (0..shape.len()).find(|axis| tensor.shape().get(*axis) != Some(&shape[*axis])) else {
        return Ok(tensor.clone());
    };
    let inner: usize = shape[axis + 1..].iter().product();
    let (from, to) = (tensor.shape()[axis] * inner, shape[axis] * inner);
    let numbers = tensor.to_f64()?;
    let mut out = vec![0.0; numbers.len() / from.max(1) * to];
    for (row, numbers) in out.chunks_exact_mut(to.max(1)).zip(numbers.chunks_exact(from.max(1))) {
        row[first * inner..][..from].copy_from_slice(numbers);
    }
    Ok(Tensor::from_f64_as(tensor.dtype(), shape, &out)?)
}
