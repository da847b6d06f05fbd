//! Loss and accuracy on the way from A to B, naive and aligned.

use onebasin_core::Params;
use onebasin_core::barrier::lambda_grid;
use onebasin_core::report::{Curve, Report, SCHEMA};
use onebasin_nn::samples::Chosen;
use onebasin_nn::{Error as RunError, Samples, curve};
use serde::{Deserialize, Serialize};

use crate::align::Aligned;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::merge::Merge;
use crate::observer::{Progress, Step};
use crate::pair::Pair;
use crate::repair::{Finish, Repair, Used};

/// How the way from A to B is measured, by [`Pair::barrier`].
///
/// ```
/// use onebasin::{Measure, Repair};
/// let coarse = Measure { points: 5, samples: Some(500), repair: Repair::Weights, ..Measure::default() };
/// assert_eq!(coarse.batch_norm_samples, 5000);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Measure {
    /// Number of λ, both ends included; at least 2, by default 25. Where it is even, λ = ½ is measured as well.
    pub points: usize,
    /// How units get back the spread that averaging takes from them, at every λ.
    pub repair: Repair,
    /// Training samples on which BatchNorm statistics are recomputed and repair measures, at every λ; 0 interpolates them.
    pub batch_norm_samples: usize,
    /// Training samples on which layers are solved, at every λ but the ends.
    pub solve_samples: usize,
    /// Only the first so many samples of each split are measured on.
    pub samples: Option<usize>,
    /// Use alignments on networks that they were not made for.
    pub force: bool,
}

impl Default for Measure {
    fn default() -> Self {
        let Merge { repair, batch_norm_samples, solve_samples, force, .. } = Merge::default();
        Self { points: 25, repair, batch_norm_samples, solve_samples, samples: None, force }
    }
}

/// An end whose accuracy lies so far below what its file records is remarked on.
const FAR: f64 = 0.05;

impl Pair {
    /// Measures loss and accuracy on the straight line from A to B as it came, and to π(B) for every alignment given by name;
    /// on training and test samples, which the context must have.
    ///
    /// Cost: for every λ of every curve a merge and a pass over the samples of both splits.
    ///
    /// # Errors
    /// If the networks do not run, samples are missing or do not fit, a loss is not finite, or the observer stops it.
    ///
    /// Source: Ainsworth et al. 2023, Definition 2.1.
    ///
    /// ```
    /// use onebasin::{Align, Arrays, Context, Field, FieldKind, Measure, Model, Network, Pair};
    /// # let network = Network::new("mlp:16x2", &[2], 2)?;
    /// # let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
    /// # let field = |name: &str, shape: Vec<usize>, kind| Field { name: name.to_owned(), shape, kind };
    /// # let pixels = (field("x", vec![2], FieldKind::Real), vec![0.0, 1.0, 1.0, 0.0]);
    /// # let labels = (field("y", vec![], FieldKind::Index { below: 2 }), vec![1.0, 0.0]);
    /// # let samples = Arrays::new("two points", vec![pixels], Some(labels))?;
    /// let pair = Pair::new(a, b)?;
    /// let context = Context { train: Some(&samples), test: Some(&samples), ..Context::default() };
    /// let aligned = pair.align(&Align::published(0), &context)?;
    /// let report = pair.barrier(&[("weight", &aligned)], &Measure { points: 5, ..Measure::default() }, &context)?;
    /// assert_eq!(report.curves[1].name, "weight");
    /// println!("the loss rises by {:.3}", report.curves[1].test.barrier.mean_ends);
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    pub fn barrier(&self, aligned: &[(&str, &Aligned)], options: &Measure, context: &Context<'_>) -> Result<Report> {
        let what = "measuring a barrier";
        if !options.force {
            aligned.iter().try_for_each(|(_, found)| self.check_made_for(found))?;
        }
        self.tell_of_tokenizers(context)?;
        let (train, test) = (context.samples(what)?, context.test.ok_or(Error::NeedsData { what })?);
        let lambda = lambda_grid(options.points)?;
        let used = Used { batch_norm: options.batch_norm_samples, solve: options.solve_samples };
        options.repair.check(Some(train), used)?;
        let program = self.a.program_for(test)?;
        let (a, b) = (self.a.params(), self.b.params());
        let (repair, memory) = (options.repair, self.a.memory());
        let finish =
            Finish { program: &program, train: Some(train), used, repair, memory, lean: false, kept: None, context };
        let firsts = options.samples.map(|n| [Chosen::first(train, n), Chosen::first(test, n)]);
        let splits: [&dyn Samples; 2] = match &firsts {
            Some([train, test]) => [train, test],
            None => [train, test],
        };
        let runner = context.runner(&program, a)?;
        let mut naive = b.clone();
        self.keep_tokens(&mut naive)?;
        let mut ends: Vec<(&str, Option<Frame>, Params)> = vec![("naive", None, naive)];
        for (name, found) in aligned {
            let frame = found.turned.as_ref().map(|turned| self.in_frame(turned, context)).transpose()?;
            let mut end = match &frame {
                Some(frame) => frame.pair.b.params().clone(),
                None => found.apply(b)?,
            };
            frame.as_ref().map_or(self, |frame| &frame.pair).keep_tokens(&mut end)?;
            ends.push((name, frame, end));
        }
        let (mut done, total) = (0, (ends.len() * lambda.len()) as u64);
        let mut curves: Vec<Curve> = Vec::new();
        for (name, frame, end) in &ends {
            let own = frame.as_ref().map(|frame| frame.pair.a.program_for(test)).transpose()?;
            let (a, program) =
                (frame.as_ref().map_or(a, |frame| frame.pair.a.params()), own.as_ref().unwrap_or(&program));
            let finish = Finish { program, ..finish };
            let made = |l: f64, between: Params| {
                finish.apply([a, end], &between, l).map_err(|error| match error {
                    Error::Network(error) => error,
                    other => RunError::Options(other.to_string()),
                })
            };
            let task = context.judge(train);
            let found = curve(name, program, [a, end], &lambda, splits, task, runner, &made, &mut || {
                done += 1;
                context.observer.progress(&Progress { step: Step::Evaluating, done, total, how: "" });
                !context.observer.stops()
            });
            context.go_on()?;
            curves.push(found?);
        }
        for (model, end) in [(&self.a, 0), (&self.b, lambda.len() - 1)] {
            let found = curves.first().and_then(|curve| curve.test.accuracy.get(end).copied());
            if let (Some(recorded), Some(found)) = (model.recorded_accuracy(), found)
                && found + FAR < recorded
            {
                context.note(&format!(
                    "{} reaches {:.1} % here, where its file records {:.1} %: other data, or inputs prepared otherwise?",
                    model.path().display(),
                    100.0 * found,
                    100.0 * recorded
                ));
            }
        }
        let files = [self.a.input("a"), self.b.input("b")].into_iter().flatten();
        Ok(Report {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            inputs: files.chain(aligned.iter().filter_map(|(_, found)| found.file.clone())).collect(),
            data: train.name().to_owned(),
            device: runner.and(context.device).map(|device| device.name().to_owned()),
            repair: (options.repair != Repair::None).then(|| options.repair.name().to_owned()),
            matching: aligned.iter().filter_map(|(_, found)| found.record.clone()).collect(),
            curves,
        })
    }
}
