//! Many networks: aligned with each other and averaged.

mod alignments;
mod measured;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use onebasin_core::Params;
use onebasin_core::matching::{
    ManyMatch, ManyOptions, ManyProgress, Round, Start, UniverseOptions, match_cycle_consistent, match_reference,
    merge_many, merge_many_from, merge_tree,
};
use onebasin_core::merge::mean;
use onebasin_core::report::Input;
use onebasin_core::symmetry::{Alignment, Symmetry};
use onebasin_nn::{Ends, Samples};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::account::Account;
use crate::alike::alike;
use crate::blueprint::Blueprint;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::merge::Merge;
use crate::model::Model;
use crate::repair::{Finish, Repair, Used};
use crate::solving::Solving;
use crate::written::{Written, provenance};
pub use measured::{Measured, OfClass, PairBarrier, Reached};

/// Networks of the same structure. Names of tensors are those of the first; cloning is cheap, networks are shared.
///
/// ```
/// use onebasin::{Context, Many, MergeMany, Model, Network};
/// let network = Network::new("mlp:16x2", &[8], 3)?;
/// let models = (0..3).map(|seed| Model::of(&network, network.init(seed)?)).collect::<Result<Vec<_>, _>>()?;
/// let many = Many::new(models)?;
/// let mean = MergeMany::default().run(&many, &Context::default())?;
/// assert_eq!(mean.alignments.len(), many.models().len());
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Many {
    models: Arc<[Model]>,
    account: Account,
}

impl Many {
    /// Opens files of networks of the same structure; any formats.
    ///
    /// # Errors
    /// Those of [`Model::open`] and [`Self::new`].
    pub fn open<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>, blueprint: &Blueprint) -> Result<Self> {
        Self::new(Model::open_all(paths, blueprint)?)
    }

    /// Takes networks of the same structure; the symmetry is that of the first.
    ///
    /// # Errors
    /// If there is none, or as [`Pair::new`](crate::Pair::new), for any of them and the first.
    pub fn new(models: Vec<Model>) -> Result<Self> {
        if models.is_empty() {
            return Err(Error::Option { option: "models", expected: "at least one network", found: "none".to_owned() });
        }
        let (models, account) = alike(models)?;
        Ok(Self { models: models.into(), account })
    }

    /// The networks, in the order in which they were given.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// What becomes of every tensor when they are merged.
    pub fn account(&self) -> &Account {
        &self.account
    }
}

/// How many networks are brought together.
///
/// ```
/// use onebasin::Together;
/// assert_eq!(Together::default().name(), "rounds");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Together {
    /// Not at all: as they come.
    Naive,
    /// Each in turn with the mean of the others, until none changes: the paper's MergeMany (Algorithm 3).
    #[default]
    Rounds,
    /// Each with the first, which stays as it is: what was sent to many and comes back.
    Reference,
    /// Pairs, then pairs of pairs.
    Tree,
    /// All at once into a common numbering, so that alignments agree around every cycle.
    Universe,
}

impl Together {
    /// Its name in options, experiments and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Rounds => "rounds",
            Self::Reference => "reference",
            Self::Tree => "tree",
            Self::Universe => "universe",
        }
    }
}

/// How many networks become one.
///
/// ```
/// use onebasin::{MergeMany, Together};
/// let tree = MergeMany { method: Together::Tree, ..MergeMany::default() };
/// assert_eq!(tree.max_rounds, 100);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MergeMany {
    /// How they are aligned.
    pub method: Together,
    /// Decides the order of networks and groups.
    pub seed: u64,
    /// What the first matches start from.
    pub start: Start,
    /// Rounds, or iterations, at most.
    pub max_rounds: usize,
    /// How much each network counts in the mean, such as the samples it was trained on; 0 leaves it out. None given: all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
    /// What is done to the mean: nothing, or its layers are solved.
    pub repair: Repair,
    /// Training samples, without their labels, on which layers are solved. 1200 by default.
    pub solve_samples: usize,
    /// Test the symmetry on random inputs first, where the network runs.
    pub check: bool,
    /// Let the result take the place of a file that it is made from.
    pub overwrite: bool,
    /// Folder in which the alignments found so far are kept where the observer stops a match: what
    /// [`run_from`](Self::run_from) goes on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<PathBuf>,
}

impl Default for MergeMany {
    fn default() -> Self {
        Self {
            method: Together::default(),
            seed: 0,
            start: Start::Signature,
            max_rounds: 100,
            weights: Vec::new(),
            repair: Repair::None,
            solve_samples: Merge::default().solve_samples,
            check: true,
            overwrite: false,
            keep: None,
        }
    }
}

/// The mean of many networks, in the numbering of the first.
///
/// ```
/// use onebasin::{Arrays, Context, Field, FieldKind, Many, MergeMany, Model, Network};
/// # let field = |name: &str, shape: Vec<usize>, kind| Field { name: name.to_owned(), shape, kind };
/// # let pixels = (field("x", vec![2], FieldKind::Real), vec![0.0, 1.0, 1.0, 0.0]);
/// # let labels = (field("y", vec![], FieldKind::Index { below: 2 }), vec![1.0, 0.0]);
/// # let samples = Arrays::new("two points", vec![pixels], Some(labels))?;
/// let network = Network::new("mlp:16x2", &[2], 2)?;
/// let models: Vec<Model> = (0..3).map(|seed| Model::of(&network, network.init(seed)?)).collect::<Result<_, _>>()?;
/// let context = Context { train: Some(&samples), test: Some(&samples), ..Context::default() };
/// let mean = MergeMany::default().run(&Many::new(models)?, &context)?;
/// let measured = mean.measure(&context)?;
/// assert_eq!((measured.models.len(), measured.pairs.len()), (3, 3));
/// assert_eq!(measured.most_behind(1).len(), 1); // of two classes
/// println!("the mean's test loss is {:.3}, the ensemble's {:.3}", measured.mean.test.loss, measured.ensemble.test.loss);
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Mean {
    /// Which units may be exchanged.
    pub symmetry: Symmetry,
    /// The alignment of every network.
    pub alignments: Vec<Alignment>,
    /// How they were found; none where they were left as they come.
    pub found: Option<ManyMatch>,
    /// The mean of the moved networks; BatchNorm statistics recomputed where there were samples, layers solved where that was
    /// asked for.
    pub params: Params,
    /// How it was solved, where it was.
    pub solved: Option<Solving>,
    many: Many,
    options: MergeMany,
}

impl MergeMany {
    /// Aligns networks with each other and averages them.
    ///
    /// Formula: `Σ_k w_k π_k(θ_k) / Σ_k w_k`, with `π_1` nothing and the others such that all pairs are alike, whatever the
    /// weights.
    /// Cost: of `K` networks `K` matches a round (rounds), `K − 1` in all (tree).
    ///
    /// # Errors
    /// If the symmetry is not known or wrong, a weight is not finite, or the observer stops it.
    ///
    /// Source: Ainsworth et al. 2023, Algorithm 3; universe: Crisostomi et al. 2024.
    ///
    /// ```
    /// use onebasin::{Context, Many, MergeMany, Model, Network};
    /// let network = Network::new("mlp:16x2", &[8], 3)?;
    /// let models: Vec<Model> = (0..3).map(|seed| Model::of(&network, network.init(seed)?)).collect::<Result<_, _>>()?;
    /// let mean = MergeMany::default().run(&Many::new(models)?, &Context::default())?;
    /// assert_eq!(mean.alignments.len(), 3);
    /// assert!(mean.alignments[0].is_identity());
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    pub fn run(&self, many: &Many, context: &Context<'_>) -> Result<Mean> {
        self.merge(many, None, context)
    }

    /// The same from given alignments, one a network, such as those of the last round of federated training: what has not moved
    /// since is not looked for again. For rounds and with a reference.
    ///
    /// # Errors
    /// As [`run`](Self::run), and if the alignments are not of these networks or the method has no start.
    ///
    /// ```
    /// use onebasin::{Context, Many, MergeMany, Model, Network};
    /// let network = Network::new("mlp:16x2", &[8], 3)?;
    /// let models: Vec<Model> = (0..3).map(|seed| Model::of(&network, network.init(seed)?)).collect::<Result<_, _>>()?;
    /// let (many, context) = (Many::new(models)?, Context::default());
    /// let first = MergeMany::default().run(&many, &context)?;
    /// let again = MergeMany::default().run_from(&many, &first.alignments, &context)?;
    /// assert_eq!(again.found.map(|found| found.rounds[0].changed_models), Some(0));
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    pub fn run_from(&self, many: &Many, start: &[Alignment], context: &Context<'_>) -> Result<Mean> {
        match self.method {
            Together::Rounds | Together::Reference => self.merge(many, Some(start), context),
            Together::Naive | Together::Tree | Together::Universe => Err(Error::Option {
                option: "method",
                expected: "rounds or reference, to start from alignments",
                found: self.method.name().to_owned(),
            }),
        }
    }

    fn merge(&self, many: &Many, start: Option<&[Alignment]>, context: &Context<'_>) -> Result<Mean> {
        self.check_weights(many)?;
        let (models, first) = (many.models(), &many.models[0]);
        let used = Used { batch_norm: usize::MAX, solve: self.solve_samples };
        if let Repair::Data | Repair::Weights = self.repair {
            let (option, expected) = ("repair", "none or solve, for many networks");
            return Err(Error::Option { option, expected, found: self.repair.name().to_owned() });
        }
        self.repair.check(context.train, used)?;
        models.iter().try_for_each(Model::check_finite)?;
        let symmetry = first.symmetry()?;
        if self.check {
            first.ensure(&symmetry, context)?;
        }
        let weights = first.weights_of(&symmetry);
        let params: Vec<&Params> = models.iter().map(Model::params).collect();
        let found = self.align(&weights, &params, start, context)?;
        if let (true, Some(folder), Some(found)) = (context.observer.stops(), &self.keep, &found) {
            many.write_alignments(folder, &symmetry, &found.alignments)?;
            let folder = folder.display();
            context.note(&format!("{folder}: the alignments found so far; a match that starts from them goes on"));
        }
        context.go_on()?;
        let alignments = match &found {
            Some(found) => found.alignments.clone(),
            None => vec![Alignment::identity(&symmetry); models.len()],
        };
        if self.check && first.runs() {
            for (model, alignment) in models.iter().zip(&alignments).filter(|(_, a)| !a.is_identity()) {
                model.ensure_moved(&alignment.apply(&symmetry, model.params())?, context)?;
                context.go_on()?;
            }
        }
        let shares = (!self.weights.is_empty()).then_some(self.weights.as_slice());
        let mut merged = mean(&symmetry, &params, &alignments, shares)?;
        let mut solved = None;
        if let Some(samples) = context.train {
            let program = first.program_for(samples)?;
            let (train, repair, memory) = (context.train, self.repair, first.memory());
            let finish = Finish { program: &program, train, used, repair, memory, lean: false, kept: None, context };
            if self.repair.solves() {
                let moved = models.iter().zip(&alignments).map(|(model, a)| a.apply(&symmetry, model.params()));
                let moved = moved.collect::<Result<Vec<Params>, _>>()?;
                let mut ends = Ends::equal(moved.iter().collect());
                if let Some(shares) = shares {
                    let total: f64 = shares.iter().sum();
                    ends.shares = shares.iter().map(|share| share / total).collect();
                }
                (merged, solved) = finish.solve_and_tell(&ends, &merged)?;
            } else {
                merged = finish.measured(&merged)?;
            }
        } else if !first.statistics().is_empty() {
            context.note("the statistics of BatchNorms were averaged; with data they are recomputed");
        }
        first.copied(&mut merged);
        Ok(Mean { symmetry, alignments, found, params: merged, solved, many: many.clone(), options: self.clone() })
    }

    /// Passes only if there is a weight for every network, none below 0 and one above.
    fn check_weights(&self, many: &Many) -> Result<()> {
        let (weights, networks) = (&self.weights, many.models().len());
        let fail = |expected, found| Err(Error::Option { option: "weights", expected, found });
        if weights.is_empty() {
            return Ok(());
        }
        if weights.len() != networks {
            return fail("one for every network", format!("{} for {networks}", weights.len()));
        }
        if let Some(wrong) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
            return fail("numbers from 0", wrong.to_string());
        }
        if weights.iter().all(|w| *w == 0.0) {
            return fail("above 0 for one network at least", "0 for all".to_owned());
        }
        Ok(())
    }

    fn align(
        &self,
        weights: &Symmetry,
        models: &[&Params],
        from: Option<&[Alignment]>,
        context: &Context<'_>,
    ) -> Result<Option<ManyMatch>> {
        let (seed, start, max_rounds) = (self.seed, self.start, self.max_rounds);
        let options = ManyOptions { seed, start, max_rounds, ..ManyOptions::default() };
        let round = |r: &Round| {
            let (round, objective, gain, changed) = (r.round, r.objective, r.gain, r.changed_models);
            context.detail(&format!("round {round}: {objective:.6} (+{gain:.3e}), {changed} changed"));
            !context.observer.stops()
        };
        Ok(match self.method {
            Together::Naive => None,
            Together::Rounds => Some(match from {
                Some(from) => merge_many_from(weights, models, from, &options, &mut |r| round(r))?,
                None => merge_many(weights, models, &options, &mut |r| round(r))?,
            }),
            Together::Reference => {
                Some(match_reference(weights, models, from, &options, &mut || !context.observer.stops())?)
            }
            Together::Tree => Some(merge_tree(weights, models, &options, &mut |r| round(r))?),
            Together::Universe => {
                let options =
                    UniverseOptions { polish: options, max_iterations: max_rounds, ..UniverseOptions::default() };
                Some(match_cycle_consistent(weights, models, &options, &mut |progress| match progress {
                    ManyProgress::Round(r) => round(r),
                    ManyProgress::Iteration(i) => {
                        context.detail(&format!("iteration {}: {:.6}, gap {:.3e}", i.iteration, i.value, i.gap));
                        !context.observer.stops()
                    }
                })?)
            }
        })
    }
}

impl Mean {
    /// All tensors that [`write`](Self::write) would write, under their names in the first network. They are taken out of
    /// [`params`](Self::params), so that nothing else holds them.
    pub fn take_tensors(&mut self) -> Params {
        self.many.models()[0].whole(std::mem::take(&mut self.params))
    }

    /// Writes the mean in the first network's format.
    ///
    /// # Errors
    /// If it cannot be written; what was there before is then untouched.
    pub fn write(&self, output: impl AsRef<Path>, context: &Context<'_>) -> Result<Written> {
        let models = self.many.models();
        let target = models[0].target(output.as_ref())?;
        if !self.options.overwrite {
            target.spares(&models.iter().flat_map(Model::sources).collect::<Vec<_>>())?;
        }
        let inputs: Vec<Input> = models.iter().filter_map(|m| m.input("model")).collect();
        let MergeMany { method, seed, start, repair, solve_samples, .. } = self.options;
        let weights = (!self.options.weights.is_empty()).then_some(&self.options.weights);
        let solve_samples = repair.solves().then_some(solve_samples);
        let (found, account) = (self.found.as_ref(), self.many.account().of(&self.symmetry));
        let options = json!({
            "method": method.name(), "seed": seed, "start": start, "weights": weights, "repair": repair.name(),
            "data": context.train.map(Samples::name), "solve_samples": solve_samples,
            "start_objective": found.map(|f| f.start_objective), "objective": found.map(|f| f.objective),
            "rounds": found.map(|f| &f.rounds), "stop": found.map(|f| f.stop), "tensors": &account,
        });
        let made = provenance("merge-many", &inputs, &options);
        models[0].write_while(&target, &self.params, &made, &|| !context.observer.stops())?;
        Ok(Written {
            output: target.path().to_owned(),
            inputs,
            options,
            account: Some(account),
            solved: self.solved.clone(),
        })
    }
}
