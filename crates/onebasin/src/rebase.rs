//! What fine-tuning changed, carried to another base.

use std::path::{Path, PathBuf};

use onebasin_core::report::Input;
use onebasin_core::{Params, Tensor};
use onebasin_nn::samples::Chosen;
use onebasin_nn::{Samples, evaluate};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::align::Align;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::frame::Carried;
use crate::model::Model;
use crate::pair::Pair;
use crate::vocabulary::Vocabulary;
use crate::written::{Written, provenance};

/// How a fine-tune is carried to another base.
///
/// ```
/// let usual = onebasin::Rebase::default();
/// assert_eq!(usual.scale, 1.0);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rebase {
    /// What each change is multiplied by.
    pub scale: f64,
    /// How the old base is aligned with the new one.
    pub align: Align,
    /// Samples of the held-out split that are measured on, at most.
    pub samples: Option<usize>,
    /// Let the output take the place of an input.
    pub overwrite: bool,
}

impl Default for Rebase {
    fn default() -> Self {
        Self { scale: 1.0, align: Align::default(), samples: None, overwrite: false }
    }
}

/// Losses on held-out samples, of what one has and of what was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gained {
    /// The samples.
    pub data: String,
    /// The new base.
    pub onto: f64,
    /// Every fine-tune of the old base, as it is.
    pub tuned: Vec<f64>,
    /// The new base with what was carried to it.
    pub rebased: f64,
}

impl std::fmt::Display for Gained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { data, onto, tuned, rebased } = self;
        let tuned: Vec<String> = tuned.iter().map(|loss| format!("{loss:.4}")).collect();
        write!(
            f,
            "{data}: the new base {onto:.4}, with what was carried {rebased:.4}; the fine-tune as it is {}",
            tuned.join(", ")
        )
    }
}

/// A new base with what was carried to it.
#[derive(Debug, Clone)]
pub struct Rebased {
    model: Model,
    params: Params,
    options: Rebase,
    /// Files that the output must not replace.
    sources: Vec<PathBuf>,
    inputs: Vec<Input>,
    /// What it gained on the samples of the context, if there are any.
    pub gained: Option<Gained>,
}

/// Carries what fine-tuning changed from an old base to a new one.
///
/// Formula: `θ_new + s Σ_k (g(θ_k) − g(θ_old))`, where `g` brings the old base to the new one; where that turns units, all networks are
/// in canonical form, so that the result is.
///
/// When it is worth it: the change that a fine-tune made is in the old base's weights, and what it is worth in others' is a part of
/// that. The fine-tune itself, on the old base, often answers better on what it was tuned for; this is for bases that are better at all
/// else. With samples in the context (a held-out split of what was tuned for) both are measured.
///
/// Cost: that of an alignment, and a pass over each network.
///
/// # Errors
/// Those of [`Pair::align`], if a network differs in structure, and if `scale` is no number.
pub fn rebase(from: Model, onto: Model, tuned: &[Model], options: &Rebase, context: &Context<'_>) -> Result<Rebased> {
    if !options.scale.is_finite() || tuned.is_empty() {
        let (option, expected) = ("scale", "a number, and at least one fine-tune");
        return Err(Error::Option { option, expected, found: options.scale.to_string() });
    }
    let alone = onto.clone();
    let pair = Pair::new(onto, from)?;
    pair.tell_of_pairing(&alone, context);
    // Beside a new base whose head is its own, so are those of the old ones.
    let own_head = pair.b().is_tied() == Some(false);
    let heads = |model: &Model| if own_head { model.clone().untied() } else { Ok(model.clone()) };
    let mut tuned: Vec<Model> = tuned.iter().map(heads).collect::<Result<_>>()?;
    if let Vocabulary::Other(tokens) = &pair.vocabulary {
        context.note(&tokens.count.to_string());
        tuned = tuned.iter().map(|model| tokens.read(model)).collect::<Result<_>>()?;
    }
    for model in &tuned {
        pair.b().check_like(model)?;
        model.check_finite()?;
    }
    let aligned = pair.align(&options.align, context)?;
    let Carried { onto, old, tuned: moved } = if let Some(turned) = &aligned.turned {
        pair.carry(turned, &tuned, context)?
    } else {
        pair.ensure(&aligned.symmetry, context)?;
        Carried {
            onto: Model::clone(pair.a()),
            old: aligned.apply(pair.b().params())?,
            tuned: tuned.iter().map(|model| aligned.apply(model.params())).collect::<Result<_>>()?,
        }
    };
    let (mut old, mut moved) = (old, moved);
    if let Vocabulary::Other(tokens) = &pair.vocabulary {
        // Rows that are the same everywhere: nothing is carried to tokens that the old base has not.
        [&mut old].into_iter().chain(&mut moved).try_for_each(|params| tokens.keep(params, &onto))?;
    }
    let mut params = Params::new();
    for (name, base) in onto.params().iter() {
        context.go_on()?;
        let Some(old) = old.get(name).filter(|_| base.dtype().is_float()) else {
            params.insert(name, base.clone());
            continue;
        };
        let (mut sum, old) = (base.to_f64()?.into_owned(), old.to_f64()?);
        for own in &moved {
            let own = own.require(name)?.to_f64()?;
            for (sum, (own, old)) in sum.iter_mut().zip(own.iter().zip(&*old)) {
                *sum += options.scale * (own - old);
            }
        }
        params.insert(name, Tensor::from_f64_as(base.dtype(), base.shape(), &sum)?);
    }
    let gained =
        context.test.map(|test| measured(&pair, &tuned, (&onto, &params), test, options, context)).transpose()?;
    let files = [(pair.b(), "from"), (pair.a(), "onto")].into_iter().chain(tuned.iter().map(|model| (model, "tuned")));
    let (sources, inputs) =
        files.map(|(model, role)| (model.sources(), model.input(role))).unzip::<_, _, Vec<_>, Vec<_>>();
    let (sources, inputs) = (sources.concat(), inputs.into_iter().flatten().collect());
    Ok(Rebased { model: onto, params, options: options.clone(), sources, inputs, gained })
}

fn measured(
    pair: &Pair,
    tuned: &[Model],
    (onto, params): (&Model, &Params),
    test: &dyn Samples,
    options: &Rebase,
    context: &Context<'_>,
) -> Result<Gained> {
    let chosen = Chosen::first(test, options.samples.unwrap_or(usize::MAX));
    let task = context.judge(test);
    let loss = |model: &Model, params: &Params| -> Result<f64> {
        context.go_on()?;
        Ok(evaluate(&model.program_for(test)?, params, &chosen, task)?.loss)
    };
    Ok(Gained {
        data: test.name().to_owned(),
        onto: loss(pair.a(), pair.a().params())?,
        tuned: tuned.iter().map(|model| loss(model, model.params())).collect::<Result<_>>()?,
        rebased: loss(onto, params)?,
    })
}

impl Rebased {
    /// The network, by name.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Writes it as the new base is written.
    ///
    /// # Errors
    /// If the output cannot be written, or would replace an input without being asked to.
    pub fn write(&self, output: impl AsRef<Path>, context: &Context<'_>) -> Result<Written> {
        let target = self.model.target(output.as_ref())?;
        if !self.options.overwrite {
            target.spares(&self.sources)?;
        }
        let options =
            json!({ "scale": self.options.scale, "method": self.options.align.method, "gained": self.gained });
        let params = self.model.as_written(self.params.clone(), None)?;
        let made = provenance("rebase", &self.inputs, &options);
        self.model.write_while(&target, &params, &made, &|| !context.observer.stops())?;
        let (output, inputs) = (target.path().to_owned(), self.inputs.clone());
        Ok(Written { output, inputs, options, account: None, solved: None })
    }
}
