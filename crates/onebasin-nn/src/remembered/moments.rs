//! What BatchNorms remember, and what enters them.

use onebasin_core::Params;
use onebasin_core::graph::{Graph, Op, ValueId, ValueSource};

use super::pull::{Pull, Slopes};
use crate::error::{Error, Result};
use crate::exec::{Program, Workspace, outputs};
use crate::ops::batch_norm::Moments;

/// A BatchNorm with statistics among the parameters.
pub(super) struct Norm {
    node: String,
    input: ValueId,
    statistics: [ValueId; 2],
    epsilon: f64,
}

/// The BatchNorms of a graph that remember what they were fed.
pub(super) fn remembering(graph: &Graph) -> Vec<Norm> {
    let param = |v: ValueId| matches!(graph.value(v).source, ValueSource::Param);
    let norms = graph.nodes().iter().filter_map(|node| {
        let (Op::BatchNorm { epsilon }, &[input, _, _, mean, variance]) = (&node.op, &node.inputs[..]) else {
            return None;
        };
        let (node, epsilon) = (node.name.clone(), *epsilon);
        (param(mean) && param(variance)).then_some(Norm { node, input, statistics: [mean, variance], epsilon })
    });
    norms.collect()
}

/// A network whose BatchNorms' inputs are outputs too.
pub(super) struct Listening {
    pub(super) program: Program,
    heard: Vec<Heard>,
}

/// A BatchNorm that is listened to.
struct Heard {
    norm: Norm,
    /// Which output its input is.
    output: usize,
    channels: usize,
    /// Positions of a channel in one sample.
    positions: usize,
}

/// What the BatchNorms of one network remember: mean and variance of every channel.
pub(super) struct Memory(Vec<[Vec<f64>; 2]>);

impl Listening {
    /// # Errors
    /// If no BatchNorm remembers anything, or a node cannot run.
    pub(super) fn new(graph: &Graph) -> Result<Self> {
        let mut graph = graph.clone();
        let norms = remembering(&graph);
        for norm in &norms {
            graph.output(norm.input);
        }
        let program = Program::new(graph)?;
        let known = outputs(program.graph());
        let heard = norms.into_iter().filter_map(|norm| {
            let output = known.iter().position(|v| *v == norm.input)?;
            let shape = program.graph().shape(norm.input);
            Some(Heard { norm, output, channels: shape[1], positions: shape[2..].iter().product() })
        });
        let heard: Vec<Heard> = heard.collect();
        if heard.is_empty() {
            let why = "the network has no BatchNorm that remembers statistics; dead leaves ask for none";
            return Err(Error::Options(why.to_owned()));
        }
        Ok(Self { program, heard })
    }

    /// Moments of what entered every BatchNorm in the last forward pass.
    pub(super) fn moments(&self, space: &Workspace) -> Vec<Moments> {
        let outputs = space.outputs();
        self.heard.iter().map(|h| Moments::within(outputs[h.output], h.channels, h.positions)).collect()
    }
}

/// Moments of all shards, in their order.
pub(super) fn together(shards: Vec<Vec<Moments>>) -> Vec<Moments> {
    let both = |a: Vec<Moments>, b: Vec<Moments>| a.into_iter().zip(&b).map(|(a, b)| a.combine(b)).collect();
    shards.into_iter().reduce(both).unwrap_or_default()
}

impl Memory {
    /// # Errors
    /// If a tensor is missing or does not fit, or is not finite.
    pub(super) fn of(listening: &Listening, params: &Params) -> Result<Self> {
        let graph = listening.program.graph();
        let one = |heard: &Heard| {
            let read = |value: ValueId| {
                let name = &graph.value(value).name;
                let found = params.require(name)?.to_f64()?.into_owned();
                let right = found.len() == heard.channels && found.iter().all(|x| x.is_finite());
                let why = || format!("tensor `{name}` should be {} finite statistics", heard.channels);
                if right { Ok(found) } else { Err(Error::Options(why())) }
            };
            let [mean, variance] = heard.norm.statistics;
            Ok([read(mean)?, read(variance)?])
        };
        Ok(Self(listening.heard.iter().map(one).collect::<Result<_>>()?))
    }
}

/// How far a channel is from what is remembered of it.
struct Gap {
    /// `(μ − m) / (s + ε)`, so that its square times `s + ε` counts.
    mean: f64,
    /// `s + ε`.
    scale: f64,
    /// `log((v + ε) / (s + ε))`.
    spread: f64,
    /// `v + ε`.
    variance: f64,
}

impl Memory {
    /// The channels of a BatchNorm.
    fn gaps<'a>(&'a self, number: usize, epsilon: f64, found: &'a Moments) -> impl Iterator<Item = Gap> + 'a {
        let [mean, variance] = &self.0[number];
        let channels = mean.iter().zip(variance).zip(found.mean.iter().zip(&found.squares));
        channels.map(move |((m, s), (mean, squares))| {
            let (scale, variance) = (s.max(0.0) + epsilon, squares / found.count.max(1.0) + epsilon);
            Gap { mean: (mean - m) / scale, scale, spread: libm::log(variance / scale), variance }
        })
    }

    /// `D`: the mean over BatchNorms of the mean over channels.
    ///
    /// # Errors
    /// If it is not finite.
    pub(super) fn distance(&self, listening: &Listening, found: &[Moments]) -> Result<f64> {
        let mut sum = 0.0;
        for (number, (heard, moments)) in listening.heard.iter().zip(found).enumerate() {
            let gaps = self.gaps(number, heard.norm.epsilon, moments);
            let all: f64 = gaps.map(|g| g.mean * g.mean * g.scale + 0.25 * g.spread * g.spread).sum();
            let mean = all / heard.channels.max(1) as f64;
            if !mean.is_finite() {
                let why = format!("node `{}`: what enters it is not finite; are the weights?", heard.norm.node);
                return Err(Error::Options(why));
            }
            sum += mean;
        }
        Ok(sum / listening.heard.len() as f64)
    }

    /// The gradient of `share · D` with respect to outputs, times the number of samples.
    pub(super) fn pull(&self, listening: &Listening, found: &[Moments], share: f64) -> Pull {
        let layers = listening.heard.len() as f64;
        let one = |(number, (heard, moments)): (usize, (&Heard, &Moments))| {
            let weight = share / (layers * heard.channels.max(1) as f64 * heard.positions.max(1) as f64);
            let gaps = || self.gaps(number, heard.norm.epsilon, moments);
            Slopes {
                output: heard.output,
                positions: heard.positions,
                mean: moments.mean.iter().map(|m| *m as f32).collect(),
                offset: gaps().map(|g| (2.0 * weight * g.mean) as f32).collect(),
                slope: gaps().map(|g| (weight * g.spread / g.variance) as f32).collect(),
            }
        };
        Pull(listening.heard.iter().zip(found).enumerate().map(one).collect())
    }
}
