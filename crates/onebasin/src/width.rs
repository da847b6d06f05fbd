//! Merging into a wider network: what it takes, and the network it gives.

use std::path::Path;

use onebasin_core::merge::cast;
use onebasin_io::Target;
use onebasin_nn::Samples;
use onebasin_nn::samples::Chosen;
use onebasin_nn::{WidenOptions, widen};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::merge::{Merge, Merged};
use crate::model::{Model, is_onnx};
use crate::observer::{Progress, Step};
use crate::pair::Pair;
use crate::repair::{Repair, solve_options};

impl Merge {
    /// Passes only if the width, and what it goes with, are what they may be.
    pub(crate) fn check_width(&self) -> Result<()> {
        if !(1.0..=2.0).contains(&self.width) {
            let expected = "a number from 1 (as wide as A) to 2 (as wide as both together)";
            return Err(Error::Option { option: "width", expected, found: self.width.to_string() });
        }
        if self.width == 1.0 {
            return Ok(());
        }
        let needs = |needs| Err(Error::Needs { option: "a width above 1", needs });
        if self.repair != Repair::Solve {
            return needs("repair by solve, which makes one network of units that stand side by side");
        }
        if !(self.lambda > 0.0 && self.lambda < 1.0) {
            return needs("a λ above 0 and below 1: at either end there is nothing to widen");
        }
        if self.lean {
            return needs("a midpoint: what has no partner keeps a place of its own, and need not lean");
        }
        if !self.group_lambda.is_empty() || self.min_correlation.is_some() {
            return needs("one λ for all groups: units that correspond too little have places of their own");
        }
        Ok(())
    }
}

impl Pair {
    /// Passes only if the network can be widened: its graph is known, and there are samples.
    pub(crate) fn check_wide(&self, options: &Merge, context: &Context<'_>) -> Result<()> {
        if self.a.graph().is_none() {
            return Err(Error::NoGraph { path: self.a.path().to_owned() });
        }
        options.repair.check(context.train, options.used())
    }
}

impl Merged<'_> {
    /// The merged network: with the graph of A, or with one of its own where [`Merge::width`] is above 1. A built-in network
    /// stays one: its [`Network::widths`](crate::Network::widths) say the sizes that its name does not. An ONNX model stays one, in
    /// which all sizes are rewritten ([`OnnxModel::widened`](onebasin_io::OnnxModel::widened)).
    ///
    /// Cost: as [`Self::params`].
    ///
    /// # Errors
    /// As [`Self::params`]; also if no group of units can be widened, an end embedded in the wider graph computes something
    /// else, or a size stands in an ONNX model where it cannot be told from another number.
    ///
    /// ```
    /// use onebasin::nn::samples::synthetic;
    /// use onebasin::{Align, Context, Merge, Model, Network, Pair, Repair};
    /// let network = Network::new("mlp:16x2", &[8], 3)?;
    /// let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
    /// let data = synthetic(&network.graph()?, 200, 0)?;
    /// let context = Context { train: Some(&data), ..Context::default() };
    /// let pair = Pair::new(a, b)?;
    /// let aligned = pair.align(&Align::default(), &Context::default())?;
    /// let options = Merge { repair: Repair::Solve, width: 1.25, ..Merge::default() };
    /// let wide = pair.merge(&aligned, &options, &context)?.model()?;
    /// assert_eq!(wide.network().map(|network| &network.name[..]), Some("mlp:20x2"));
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    pub fn model(&self) -> Result<Model> {
        if self.options.width > 1.0 { self.wide() } else { Ok(self.pair.a.holding(self.params()?)) }
    }

    /// Where a wider network is written to.
    pub(crate) fn wide_target(&self, output: &Path) -> Result<Target> {
        let fail = |why| Err(Error::Unwritable { path: output.to_owned(), why });
        let a = &self.pair.a;
        match (a.network().is_some(), a.keeps_all(), is_onnx(output)) {
            (false, false, _) => fail(
                "a wider network has another graph than the ONNX file that it follows, and only built-in networks say their \
                 sizes in a header; merge ONNX models, name the built-in network, or merge at width 1",
            ),
            (false, true, false) => fail("a wider ONNX model is written as .onnx, which has its graph in it"),
            (true, _, true) => fail("a wider network is written as .safetensors, whose header says its sizes"),
            (true, _, false) | (false, true, true) => a.target(output),
        }
    }

    /// The wider network.
    pub(crate) fn wide(&self) -> Result<Model> {
        let Self { pair, aligned, options, context, .. } = self;
        pair.check_finite()?;
        let train = context.train.ok_or(Error::NeedsData { what: "a width above 1" })?;
        let samples = Chosen::first(train, options.solve_samples);
        let (program, back) = pair.a.named_program_for(&samples as &dyn Samples)?;
        let ends = [pair.a.params(), &aligned.apply(pair.b.params())?].map(|params| back.params(params));
        let how = WidenOptions {
            width: options.width,
            lambda: options.lambda,
            solve: solve_options(pair.a.memory(), false, options.repair),
        };
        let found = widen(&program, [&ends[0], &ends[1]], &samples, &how, &mut |done, all| {
            context.observer.progress(&Progress { step: Step::Solving, done: done as u64, total: all as u64, how: "" });
            !context.observer.stops()
        });
        context.go_on()?;
        let found = found?;
        for kept in &found.kept {
            context.note(&format!("keeps its width: {kept}"));
        }
        for check in found.embedded.iter().flatten() {
            context.detail(&format!("an end in the wider graph: {check}"));
        }
        let params = options.dtype.map_or(Ok(found.params.clone()), |dtype| cast(&found.params, dtype))?;
        pair.a.widened(&found.sizes, params, found.graph)
    }
}
