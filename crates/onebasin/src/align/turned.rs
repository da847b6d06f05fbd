//! Aligning with more than permutations.

use std::sync::Arc;

use onebasin_core::Params;
use onebasin_core::matching::{Kinship, TurnedOptions, Weights, diagnose};
use onebasin_core::report::MatchRecord;
use onebasin_core::symmetry::Alignment;
use onebasin_nn::Samples;
use serde_json::json;

use super::{Align, Aligned, KeptMatch, Method};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::observer::Level;
use crate::pair::Pair;

/// Cosine of embeddings above which two networks were one once: strangers come to less than .2.
const ALIKE: f64 = 0.9;

impl Pair {
    /// Whether `auto` turns: where a network is known as a transformer whose stream nothing looks at unit by unit.
    pub(super) fn is_turned_by_itself(&self) -> Result<bool> {
        Ok(self.a.is_of_family() && self.has_free_stream()?)
    }

    /// The alignment of networks that are too large to be held, where they are transformers that are known: by weights, part by part.
    pub(super) fn align_large(&self, options: &Align, context: &Context<'_>) -> Result<Option<Aligned>> {
        let asked = matches!(options.method, Method::Auto | Method::Orthogonal);
        if !asked || !self.is_large() || !self.is_turned_by_itself()? {
            return Ok(None);
        }
        let alike = self.likeness_of_rows()?;
        if options.method == Method::Auto && alike > ALIKE {
            let text = format!(
                "rows of their embeddings have cosine {alike:.3}: they were one network once, and aligning them gains nothing"
            );
            context.observer.remark(Level::Finding, &text);
            let symmetry = self.a.symmetry()?;
            let (alignment, account) = (Alignment::identity(&symmetry), self.account().of(&symmetry));
            let (record, file, made_for, turned) = (None, None, Vec::new(), None);
            return Ok(Some(Aligned { symmetry, alignment, record, file, account, made_for, turned }));
        }
        context.note("the networks are too large to be held in memory, so they are compared by weights, part by part");
        self.align_turned(&Align { method: Method::Orthogonal, ..options.clone() }, context).map(Some)
    }

    /// The cosine of the first rows of the longest table of both.
    fn likeness_of_rows(&self) -> Result<f64> {
        const ROWS: usize = 1024;
        let [a, b] = self.ends();
        let tables = a.iter().filter(|(_, tensor)| tensor.shape().len() == 2);
        let Some((name, _)) = tables.max_by_key(|(_, tensor)| tensor.shape()[0]) else { return Ok(0.0) };
        let rows = |net: &Params| -> Result<Vec<f64>> {
            let table = net.require(name)?;
            Ok(table.rows_anew(Some(0..ROWS.min(table.shape()[0])))?.to_f64()?.into_owned())
        };
        let (x, y) = (rows(a)?, rows(b)?);
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let sizes = (dot(&x, &x) * dot(&y, &y)).sqrt();
        Ok(if sizes > 0.0 { dot(&x, &y) / sizes } else { 0.0 })
    }

    /// What permutations make of a pair, where that is all there is to it: the same network in another numbering, or one ancestor.
    pub(super) fn is_kin(&self, found: &Alignment, seed: u64) -> Result<bool> {
        let symmetry = self.a.symmetry()?;
        let weights = self.a.weights_of(&symmetry);
        let [a, b] = self.ends();
        Ok(match diagnose(&Weights::new(&weights, a, b)?, found, seed)?.kind {
            Kinship::Identical | Kinship::Fixed | Kinship::Renumbered | Kinship::SameAncestor => true,
            Kinship::Alignable | Kinship::Unrelated | Kinship::TooSmall => false,
        })
    }

    /// Aligns B by the best element over all kinds of groups.
    pub(super) fn align_turned(&self, options: &Align, context: &Context<'_>) -> Result<Aligned> {
        let usual = TurnedOptions::default();
        let turning = TurnedOptions { max_sweeps: options.max_sweeps.min(usual.max_sweeps), ..usual };
        let symmetry = self.a.symmetry()?;
        let no_graph = || Error::NoGraph { path: self.a.path().to_owned() };
        let sees = options.method == Method::Activation;
        let (turned, found) = match context.train {
            Some(samples) if sees => self.turn_on(samples, options.match_samples, context)?,
            None if sees => {
                let made = self.made_up(options.seed, context)?;
                let (count, how) = (made.samples.len(), &made.how);
                context.note(&format!("no data, so activations are compared on {count} made-up inputs, {how}"));
                self.turn_on(&made.samples, usize::MAX, context)?
            }
            Some(_) | None => {
                let ends = [&self.a, &self.b].map(|model| model.checkpoint().digest().to_owned());
                let of = json!([turning, ends]);
                let kept = KeptMatch { path: options.state.as_deref(), of: &of, resume: options.resume };
                self.turn(&turning, &kept, context)?
            }
        }
        .ok_or_else(no_graph)?;
        let cosine = |value: f64| if found.size > 0.0 { value / found.size } else { 0.0 };
        let (before, after) = (cosine(found.start), cosine(found.objective));
        let text = format!("in canonical form the weights have cosine {before:.4}, in one frame {after:.4}");
        context.observer.remark(Level::Finding, &text);
        let record = MatchRecord {
            method: if sees { Method::Activation } else { Method::Orthogonal }.name().to_owned(),
            compared: if sees { "activations in canonical form" } else { "weights in canonical form" }.to_owned(),
            options: options.ascent(),
            device: None,
            start_objective: found.start,
            objective: found.objective,
            stop: found.stop,
            sweeps: found.sweeps,
            runs: Vec::new(),
            plan: Vec::new(),
            judged: Vec::new(),
            diagnosis: None,
            correlation: Vec::new(),
        };
        Ok(Aligned {
            symmetry: turned.kinds.symmetry.clone(),
            alignment: turned.motion.alignment.clone(),
            record: Some(record),
            file: None,
            account: self.account().of(&symmetry),
            made_for: Vec::new(),
            turned: Some(Arc::new(turned)),
        })
    }
}

impl Aligned {
    /// What is left to do once B was brought into A's frame: nothing.
    pub(crate) fn still(&self, frame: &Pair) -> Result<Self> {
        let symmetry = frame.a.symmetry()?;
        let alignment = Alignment::identity(&symmetry);
        Ok(Self { symmetry, alignment, made_for: Vec::new(), turned: None, ..self.clone() })
    }
}
