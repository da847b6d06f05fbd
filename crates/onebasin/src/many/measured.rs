//! What many networks, their mean and their ensemble reach.

use onebasin_core::Params;
use onebasin_core::barrier::{Barrier, barrier, lambda_grid};
use onebasin_core::merge::{Interpolation, merge};
use onebasin_nn::evaluate::BATCH;
use onebasin_nn::exec::Program;
use onebasin_nn::samples::{Chosen, labels};
use onebasin_nn::{Predictions, Samples, Scores, evaluate, predict, predict_ensemble, recompute_batch_norm};
use serde::{Deserialize, Serialize};

use super::Mean;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::observer::{Progress, Step};

impl Mean {
    /// What the networks, their mean, their ensemble and the midpoints of pairs reach on training and test samples, which the
    /// context must have. Networks are moved when they are needed: memory does not grow with their number.
    ///
    /// # Errors
    /// If the networks do not run or classify, samples are missing or do not fit, or the observer stops it.
    pub fn measure(&self, context: &Context<'_>) -> Result<Measured> {
        let models = self.many.models();
        let what = "measuring a mean";
        let (train, test) = (context.samples(what)?, context.test.ok_or(Error::NeedsData { what })?);
        let program = models[0].program_for(train)?;
        let aligned = |k: usize| Ok(self.alignments[k].apply(&self.symmetry, models[k].params())?);
        let n = models.len();
        let measuring = Measuring {
            program: &program,
            splits: [train, test],
            labels: [labels(train)?, labels(test)?],
            aligned: &aligned,
            n,
            context,
            done: std::cell::Cell::new(0),
        };
        measuring.run(&self.params)
    }
}

/// What networks, their mean and their pairs reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Every network.
    pub models: Vec<Reached>,
    /// Their mean.
    pub mean: Reached,
    /// The mean of their probabilities: as many times the cost of the mean network.
    pub ensemble: Reached,
    /// Every two of them.
    pub pairs: Vec<PairBarrier>,
}

/// What is reached in one class: shares of its test samples that are classified right, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OfClass {
    /// The class.
    pub class: usize,
    /// By the worst and by the best network.
    pub networks: [f64; 2],
    /// By their mean.
    pub mean: f64,
    /// By their ensemble.
    pub ensemble: f64,
}

impl Measured {
    /// Every class that has test samples.
    pub fn classes(&self) -> Vec<OfClass> {
        let of = |class: usize| {
            let shares = || self.models.iter().filter_map(|model| model.by_class[class]);
            let networks = [shares().fold(1.0, f64::min), shares().fold(0.0, f64::max)];
            let (mean, ensemble) = (self.mean.by_class[class]?, self.ensemble.by_class[class]?);
            Some(OfClass { class, networks, mean, ensemble })
        };
        (0..self.mean.by_class.len()).filter_map(of).collect()
    }

    /// So many of them at most, in order: those in which the mean falls most behind the ensemble.
    pub fn most_behind(&self, count: usize) -> Vec<OfClass> {
        let mut classes = self.classes();
        classes.sort_by(|a, b| (a.mean - a.ensemble).total_cmp(&(b.mean - b.ensemble)));
        classes.truncate(count);
        classes.sort_by_key(|of| of.class);
        classes
    }
}

/// Scores on both splits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// On the training samples.
    pub train: Scores,
    /// On the test samples.
    pub test: Scores,
    /// Share of the test samples of every class that are classified right, in [0, 1]; none where it has none.
    pub by_class: Vec<Option<f64>>,
}

impl Reached {
    /// What predictions of the training samples and of the test samples are worth.
    fn of([train, test]: [Predictions; 2], labels: &[Vec<u32>; 2]) -> Self {
        Self { train: train.scores(&labels[0]), test: test.scores(&labels[1]), by_class: test.by_class(&labels[1]) }
    }
}

/// The barrier of the test loss between two aligned networks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairBarrier {
    /// One of them, counted from 0.
    pub a: usize,
    /// The other.
    pub b: usize,
    /// The barrier.
    pub test: Barrier,
}

/// λ of the barriers of pairs.
const POINTS: usize = 5;

struct Measuring<'a> {
    program: &'a Program,
    splits: [&'a dyn Samples; 2],
    labels: [Vec<u32>; 2],
    aligned: &'a dyn Fn(usize) -> onebasin_nn::Result<Params>,
    n: usize,
    context: &'a Context<'a>,
    done: std::cell::Cell<u64>,
}

impl Measuring<'_> {
    fn run(&self, mean: &Params) -> Result<Measured> {
        let models = (0..self.n).map(|k| self.reached(&(self.aligned)(k)?)).collect::<Result<Vec<_>>>()?;
        let (mean, ensemble) = (self.reached(mean)?, self.ensemble()?);
        let pairs = self.pairs(&models)?;
        Ok(Measured { models, mean, ensemble, pairs })
    }

    /// One more network is measured.
    fn step(&self) -> Result<()> {
        self.done.set(self.done.get() + 1);
        let total = (self.n + 3 + self.n * (self.n - 1) / 2) as u64;
        self.context.observer.progress(&Progress { step: Step::Evaluating, done: self.done.get(), total, how: "" });
        self.context.go_on()
    }

    fn reached(&self, params: &Params) -> Result<Reached> {
        self.step()?;
        let [train, test] = self.splits;
        let found = [predict(self.program, params, train)?, predict(self.program, params, test)?];
        Ok(Reached::of(found, &self.labels))
    }

    fn ensemble(&self) -> Result<Reached> {
        let together = |samples: &dyn Samples| -> Result<Predictions> {
            self.step()?;
            let networks = &mut (0..self.n).map(self.aligned);
            Ok(predict_ensemble(self.program, networks, samples)?)
        };
        let [train, test] = self.splits;
        Ok(Reached::of([together(train)?, together(test)?], &self.labels))
    }

    fn pairs(&self, models: &[Reached]) -> Result<Vec<PairBarrier>> {
        let lambda = lambda_grid(POINTS)?;
        let [train, test] = self.splits;
        let (norm, task) = (Chosen::first(train, 10 * BATCH), self.context.judge(test));
        let mut pairs = Vec::new();
        for a in 0..self.n {
            let from = (self.aligned)(a)?;
            for b in a + 1..self.n {
                let to = (self.aligned)(b)?;
                let mut loss = vec![models[a].test.loss];
                for l in &lambda[1..POINTS - 1] {
                    let between = merge(&from, &to, *l, Interpolation::Lerp)?;
                    let between = recompute_batch_norm(self.program, &between, &norm, BATCH)?;
                    loss.push(evaluate(self.program, &between, test, task)?.loss);
                }
                loss.push(models[b].test.loss);
                pairs.push(PairBarrier { a, b, test: barrier(&lambda, &loss)? });
                self.step()?;
            }
        }
        Ok(pairs)
    }
}
