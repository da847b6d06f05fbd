//! The method `auto`: the best of several methods, by what their midpoints do.

use onebasin_core::Params;
use onebasin_core::matching::trusted_spectral;
use onebasin_core::merge::{Interpolation, merge};
use onebasin_core::report::Judged;
use onebasin_nn::evaluate::BATCH;
use onebasin_nn::exec::Program;
use onebasin_nn::samples::{Chosen, dead_leaves, of_images};
use onebasin_nn::{Ends, Samples, evaluate_on, profile, recompute_batch_norm};

use super::methods::{FREE, Found, Matching};
use crate::error::Result;

/// Samples on which methods are judged.
const JUDGED: usize = 10_000;
/// Made-up images that are looked at, at most, and at least: fewer say too little of how units correspond.
const IMAGES: [usize; 2] = [60, 500];
/// Times that a network runs for an image: both where activations are compared, and for a fifth of them both, the average and
/// its statistics, for two methods.
const RUNS: f64 = 3.6;
/// Multiply-adds a second of a running network, on one core of the machine of `docs/results/performance.md`.
const SPEED: f64 = 2e10;

/// What may be left unexplained by activations on made-up images, as a share of what is by weights, for them to be chosen: they
/// fit such images better than others.
const CLEAR: f64 = 0.95;

/// Cosine of the weights of A and of B, aligned, above which they were one network once, and weights tell all: independently
/// trained networks come to .1 to .5, and made-up images say less than that.
const ALIKE: f64 = 0.9;

/// Of so many samples, how many are looked at, at most `most`, and how many judge: not the same ones, 10,000 and at least a
/// fifth where there are fewer, and never none.
fn parted(samples: usize, most: usize) -> [usize; 2] {
    let seen = most.min(samples.saturating_sub((samples / 5).clamp(1, JUDGED))).max(1);
    [seen, samples.saturating_sub(seen).clamp(1, JUDGED)]
}

impl Matching<'_> {
    /// Spectral where it can be trusted, else weight; and activations, where there are samples or images can be made up.
    ///
    /// Candidates are judged by their midpoint on other samples: by its loss, or where inputs are made up, which have no
    /// labels, by how much of what both networks answer it explains.
    pub(super) fn auto(&self) -> Result<Found> {
        let plain = self.plain()?;
        let by_weights = match trusted_spectral(&plain)? {
            Some(([a, b], ranks)) => self.by_denoised([&a, &b], &ranks)?,
            None => self.by_weights(&plain)?,
        };
        drop(plain);
        if !self.pair.a.runs() {
            return Ok(by_weights);
        }
        if let Some(samples) = self.context.train {
            return self.best_on_data(by_weights, samples);
        }
        if self.likeness(&by_weights)? > ALIKE {
            return Ok(by_weights);
        }
        let seen = self.on_images(&by_weights);
        self.context.go_on()?;
        Ok(match seen {
            Ok(None) => by_weights,
            Ok(Some((by_activations, judged))) => {
                let lost = |judged: &Judged| 1.0 - judged.explained.unwrap_or(f64::NEG_INFINITY);
                let better = lost(&judged[1]) < CLEAR * lost(&judged[0]);
                self.chosen(if better { by_activations } else { by_weights }, judged)
            }
            Err(why) => {
                self.context
                    .note(&format!("weights alone are compared; on made-up images the networks do not run: {why}"));
                by_weights
            }
        })
    }

    fn best_on_data(&self, by_weights: Found, samples: &dyn Samples) -> Result<Found> {
        let [seen, judging] = parted(samples.len(), self.options.match_samples);
        if seen + judging > samples.len() {
            self.context
                .note("there are too few samples to hold some out, so methods are judged on what they looked at");
        }
        let program = self.pair.a.program_for(samples)?;
        let by_activations = self.activation_on(&program, &Chosen::first(samples, seen))?;
        let held: Vec<u32> = (0..samples.len() as u32).rev().take(judging).collect();
        let (held, norm) = (Chosen::new(samples, held)?, Chosen::first(samples, 4 * BATCH));
        let [weights, activations] =
            [&by_weights, &by_activations].map(|found| self.by_loss(&program, found, &held, &norm));
        let judged = [weights?, activations?];
        let better = judged[1].loss < judged[0].loss;
        Ok(self.chosen(if better { by_activations } else { by_weights }, judged))
    }

    /// Cosine of the weights of A and of B, aligned: of matrices and kernels, since gains are alike in all networks.
    fn likeness(&self, found: &Found) -> Result<f64> {
        let [a, b] = self.pair.ends();
        let mut sums = [0.0; 3];
        for name in self.symmetry.names() {
            let of_a = a.require(name)?;
            if of_a.shape().len() < 2 || !of_a.dtype().is_float() {
                continue;
            }
            let moved = found.alignment.moved(self.symmetry, b, name)?;
            let (of_a, moved) = (of_a.to_f64()?, moved.to_f64()?);
            for (x, y) in of_a.iter().zip(moved.iter()) {
                sums.iter_mut().zip([x * y, x * x, y * y]).for_each(|(sum, product)| *sum += product);
            }
        }
        let [product, a, b] = sums;
        Ok(product / (a * b).sqrt().max(f64::MIN_POSITIVE))
    }

    /// Without data: a match by activations on made-up images, if that fits the budget, and what both are worth.
    fn on_images(&self, by_weights: &Found) -> Result<Option<(Found, [Judged; 2])>> {
        let program = self.pair.a.program()?;
        let Some(images) = self.images(&program)? else { return Ok(None) };
        let [seen, judging] = parted(images.len(), images.len());
        let by_activations = self.activation_on(&program, &Chosen::first(&*images, seen))?;
        let held = Chosen::new(&*images, (seen as u32..(seen + judging) as u32).collect())?;
        let judged = [by_weights, &by_activations].map(|found| self.by_explained(&program, found, &held));
        let [weights, activations] = judged;
        Ok(Some((by_activations, [weights?, activations?])))
    }

    /// Images to look at: those that were made up already, or else as many dead leaves as fit the budget; none where inputs are
    /// no images, since noise does not tell which average is better.
    fn images(&self, program: &Program) -> Result<Option<Box<dyn Samples>>> {
        if !of_images(program.graph()) {
            return Ok(None);
        }
        if let Some(made) = self.pair.was_made_up(self.options.seed) {
            return Ok(Some(Box::new(made.samples.clone())));
        }
        let seconds = self.options.budget.unwrap_or(FREE);
        let [least, most] = IMAGES;
        let count = (seconds * SPEED / (RUNS * program.multiply_adds())) as usize;
        if count < least {
            let needed = least as f64 * RUNS * program.multiply_adds() / SPEED;
            let text = format!("activations on made-up images: {needed:.1} s predicted; does not fit the budget");
            self.context.detail(&text);
            return Ok(None);
        }
        Ok(Some(Box::new(dead_leaves(program.graph(), count.min(most), self.options.seed)?)))
    }

    /// A candidate, with what all of them are worth.
    fn chosen(&self, best: Found, judged: [Judged; 2]) -> Found {
        for judged in &judged {
            self.context.detail(&judged.to_string());
        }
        Found { judged: judged.into(), ..best }
    }

    /// A midpoint, its BatchNorm statistics recomputed, and what becomes of B for it.
    fn midpoint(&self, program: &Program, found: &Found, norm: &dyn Samples) -> Result<[Params; 2]> {
        self.context.go_on()?;
        let [a, b] = self.pair.ends();
        let moved = found.alignment.apply(self.symmetry, b)?;
        let middle = merge(a, &moved, 0.5, Interpolation::Lerp)?;
        Ok([recompute_batch_norm(program, &middle, norm, BATCH)?, moved])
    }

    fn by_loss(&self, program: &Program, found: &Found, held: &dyn Samples, norm: &dyn Samples) -> Result<Judged> {
        let [middle, _] = self.midpoint(program, found, norm)?;
        let runner = self.context.runner(program, &middle)?;
        let metrics = evaluate_on(runner, program, &middle, held, self.context.judge(held))?;
        Ok(Judged::by_loss(found.compared, metrics.loss, metrics.accuracy))
    }

    fn by_explained(&self, program: &Program, found: &Found, held: &dyn Samples) -> Result<Judged> {
        let [middle, moved] = self.midpoint(program, found, held)?;
        let ends = Ends::pair([self.pair.ends()[0], &moved], 0.5);
        let explained = profile(program, &ends, &middle, held)?.answered();
        Ok(Judged::by_explained(found.compared, explained))
    }
}
