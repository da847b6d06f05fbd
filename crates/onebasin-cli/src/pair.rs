//! A pair of networks to be matched, and what every method asks of it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use onebasin_core::Params;
use onebasin_core::graph::Op;
use onebasin_core::matching::{MatchOptions, Order, Progress, Start, Weights};
use onebasin_core::symmetry::Symmetry;
use onebasin_nn::data::{Dataset, synthetic};
use onebasin_nn::{Data, exec::Program};

use crate::args::{Matching, OrderName, StartName};
use crate::device::Device;
use crate::model::Model;
use crate::signals;
use crate::talk::Talk;

/// Synthetic images at most.
const SYNTHETIC: usize = 1000;

/// Where a match can be gone on with, and whether it is to be.
#[derive(Debug, Clone)]
pub struct Resume {
    pub file: PathBuf,
    pub go_on: bool,
}

/// A pair of networks, and what is needed to match them.
pub struct Pair<'a> {
    pub a: &'a Model,
    pub b: &'a Model,
    /// The symmetry of all tensors.
    pub symmetry: &'a Symmetry,
    /// The same without running statistics: they move with their channels but are no weights, and would outweigh all else.
    pub weights: &'a Symmetry,
    pub data: Option<&'a Data>,
    /// Where Grams of weights are computed, if not on the processor.
    pub device: Option<&'a Device>,
    /// Where straight-through matching keeps its state.
    pub resume: Option<Resume>,
    pub args: &'a Matching,
    pub talk: Talk,
}

impl Pair<'_> {
    /// How to ascend.
    pub fn options(&self) -> MatchOptions {
        let order = match self.args.order {
            OrderName::Random => Order::Random,
            OrderName::Forward => Order::Forward,
            OrderName::Alternating => Order::Alternating,
        };
        MatchOptions { seed: self.args.seed, max_sweeps: self.args.max_sweeps, order }
    }

    /// The weights of two networks to be compared, roots in the order of the network.
    pub fn compare<'n>(&'n self, a: &'n Params, b: &'n Params) -> Result<Weights<'n>> {
        let weights = Weights::new(self.weights, a, b)?.in_order(self.order());
        Ok(match self.device {
            Some(device) => device.take(weights),
            None => weights,
        })
    }

    /// Names of tensors as the network uses them, where a graph tells.
    fn order(&self) -> impl Iterator<Item = &str> {
        self.a.graph.iter().flat_map(|g| g.params().map(|p| p.name.as_str()))
    }

    /// Says how a match goes; false where it was interrupted.
    pub fn told(&self, what: &str, progress: Progress<'_>) -> bool {
        self.talk.detail(&match progress {
            Progress::Iteration(i) => {
                format!("{what}, iteration {}: {:.6}, gap {:.3e}, step {:.3}", i.iteration, i.value, i.gap, i.step)
            }
            Progress::Sweep(s) => format!(
                "{what}, sweep {}: {:.6} (+{:.3e}), {} of {} solved groups changed",
                s.sweep, s.objective, s.gain, s.changed_groups, s.solved_groups
            ),
        });
        !signals::interrupted()
    }

    /// What data are matched on, and the network that runs on them.
    pub fn running(&self) -> Result<(Program, &Data)> {
        let data = self.data.context("this method looks at data; give --data")?;
        if !self.a.runs() {
            bail!("this method runs the network, which cannot be run here; name it with --network or --graph");
        }
        Ok((self.a.program_for(data)?, data))
    }

    /// What activations are compared on: training samples, or synthetic images where there are no data.
    pub fn samples(&self) -> Result<(Program, Dataset)> {
        if self.data.is_some() {
            let (program, data) = self.running()?;
            return Ok((program, data.train.take(self.args.match_samples)));
        }
        let program = self.a.program()?;
        let graph = program.graph();
        let input = graph.inputs().next().context("the network has no input")?;
        let indices =
            graph.nodes().iter().any(|n| matches!(n.op, Op::Gather { .. }) && n.inputs.get(1) == Some(&input));
        if indices {
            bail!("activations need data here (--data): the network takes indices, and none can be made up");
        }
        let count = self.args.match_samples.min(SYNTHETIC);
        self.talk.say(&format!("note: no --data, so activations are compared on {count} synthetic images"));
        Ok((self.a.program()?, synthetic(&graph.shape(input)[1..], count, self.args.seed)?))
    }
}

/// The start of this name.
pub fn start_of(name: StartName) -> Start {
    match name {
        StartName::Identity => Start::Identity,
        StartName::Signature => Start::Signature,
        StartName::Anchored => Start::Anchored,
        StartName::Random => Start::Random,
    }
}
