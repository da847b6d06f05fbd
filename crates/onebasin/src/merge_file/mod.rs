//! Merges that a file of mergekit's describes, with networks aligned first where it asks for that.

mod read;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use onebasin_core::kinds::Motion;
use onebasin_core::report::Input;
use onebasin_core::{DType, Params, Storage, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::align::{Align, Method};
use crate::blueprint::Blueprint;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::frame::Turned;
use crate::model::Model;
use crate::pair::Pair;
use crate::written::{Written, provenance};

/// What a file of mergekit's describes: `linear`, `slerp` or `task_arithmetic` over whole models.
///
/// `align: METHOD` at the top, which mergekit does not know, aligns every network with the first before they are combined;
/// without it they are taken as they come.
///
/// ```
/// use onebasin::{Method, MergeFile, Rule};
/// let text = "merge_method: linear\nalign: auto\nmodels:\n  - model: a\n    parameters: {weight: 1}\n  - model: b\n    parameters: {weight: 3}\n";
/// let file = MergeFile::parse("merge.yml".as_ref(), text)?;
/// assert_eq!((file.align, &file.rule), (Method::Auto, &Rule::Linear { normalize: true }));
/// assert_eq!(file.coefficients(), [0.25, 0.75]);
/// let error = MergeFile::parse("merge.yml".as_ref(), "models: []\nmerge_method: dare_ties\n").unwrap_err();
/// assert!(error.to_string().starts_with("merge.yml:2:15: "), "{error}");
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MergeFile {
    /// How they are combined.
    pub rule: Rule,
    /// The models, the base or else the first before all others.
    pub models: Vec<Part>,
    /// How every other model is aligned with the first.
    pub align: Method,
    /// Element type of the result; none is that of the first.
    pub dtype: Option<DType>,
    /// Layers that the models must have, where that is said.
    pub layers: Option<usize>,
}

/// A model and what it counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its folder, or file.
    pub path: PathBuf,
    /// Its weight, as the file has it; the share of slerp.
    pub weight: f64,
}

/// How models are combined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// `Σ w_k θ_k`, divided by `Σ w_k` where it is normalized.
    Linear {
        /// Whether weights are divided by their sum.
        normalize: bool,
    },
    /// The great circle between two, tensor by tensor; the straight line where |cos| > .9995.
    Slerp {
        /// How far from the first.
        t: f64,
    },
    /// `θ_0 + λ Σ w_k (θ_k − θ_0)`, divided by `Σ w_k` where it is normalized.
    TaskArithmetic {
        /// What the sum is multiplied by.
        lambda: f64,
        /// Whether weights are divided by their sum.
        normalize: bool,
    },
}

impl Rule {
    /// Its name in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear",
            Self::Slerp { .. } => "slerp",
            Self::TaskArithmetic { .. } => "task_arithmetic",
        }
    }

    fn normalizes(&self) -> bool {
        match self {
            Self::Linear { normalize } | Self::TaskArithmetic { normalize, .. } => *normalize,
            Self::Slerp { .. } => false,
        }
    }
}

/// The models of a [`MergeFile`] in one frame, to be combined when they are written.
#[derive(Debug, Clone)]
pub struct Combined {
    file: MergeFile,
    /// The first, in the frame of all.
    model: Model,
    params: Params,
    sources: Vec<PathBuf>,
    inputs: Vec<Input>,
    remarks: Vec<String>,
}

impl MergeFile {
    /// Reads what a file says, whose path is for errors.
    ///
    /// # Errors
    /// [`Error::MergeFile`] with line and column, for what is no such file and for what is not done here: other methods,
    /// parameters by layer or filter, slices of layers, tokenizers put together.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        read::parse(path, text)
    }

    /// What every model is multiplied by, in the order of the models; of slerp, on the straight line.
    pub fn coefficients(&self) -> Vec<f64> {
        let sum: f64 = self.models.iter().map(|part| part.weight).sum();
        let by = if self.rule.normalizes() { 1.0 / sum } else { 1.0 };
        let weights = self.models.iter().map(|part| part.weight * by);
        match self.rule {
            Rule::Linear { .. } | Rule::Slerp { .. } => weights.collect(),
            Rule::TaskArithmetic { lambda, .. } => {
                let own: Vec<f64> = weights.skip(1).map(|weight| lambda * weight).collect();
                [vec![1.0 - own.iter().sum::<f64>()], own].concat()
            }
        }
    }

    /// Opens the models and brings all into the frame of the first, as `align` says, with the method of the file.
    ///
    /// Cost: that of an alignment for every model but the first; tensors are combined when they are written, in bounded memory
    /// where networks are read part by part.
    ///
    /// # Errors
    /// Those of opening and aligning, and if a model has other layers than the file says.
    pub fn combine(&self, align: &Align, blueprint: &Blueprint, context: &Context<'_>) -> Result<Combined> {
        let models = Model::open_all(self.models.iter().map(|part| &part.path), blueprint)?;
        for (model, layers) in models.iter().zip(self.layers.iter().cycle()) {
            if let Some(found) = model.layers().filter(|found| found != layers) {
                return Err(Error::Layers { path: model.path().to_owned(), expected: *layers, found });
            }
        }
        let own_head = models.iter().any(|model| model.is_tied() == Some(false));
        let models: Vec<Model> =
            models.into_iter().map(|model| if own_head { model.untied() } else { Ok(model) }).collect::<Result<_>>()?;
        let (sources, inputs): (Vec<_>, Vec<_>) =
            models.iter().map(|model| (model.sources(), model.input("model"))).unzip();
        let remarked = |model: &Model| -> Vec<String> {
            model.remarks().iter().map(|text| format!("{}: {text}", model.path().display())).collect()
        };
        let remarks = models.iter().flat_map(remarked).collect();
        let align = Align { method: self.align, ..align.clone() };
        let (first, others) = models.split_first().expect("a file names at least one model");
        let mut pairs = Vec::new();
        for other in others {
            let pair = Pair::new(first.clone(), other.clone())?;
            pair.tell_of_pairing(first, context);
            pair.tell_of_tokenizers(context)?;
            let aligned = pair.align(&align, context)?;
            context.detail(&format!("{}: {aligned}", other.path().display()));
            pairs.push((pair, aligned));
        }
        let kinds = pairs.iter().find_map(|(_, aligned)| Some(aligned.turned.as_ref()?.kinds.clone()));
        let (mut model, mut all) = (first.clone(), Vec::new());
        for (pair, aligned) in pairs {
            let still = || {
                kinds.as_ref().map(|kinds| Arc::new(Turned { kinds: kinds.clone(), motion: Motion::identity(kinds) }))
            };
            let turned = aligned.turned.clone().or_else(still);
            let (pair, mut moved) = if let Some(turned) = turned {
                let frame = if pair.is_large() {
                    pair.in_frame_by_parts(&turned, context)?
                } else {
                    pair.in_frame(&turned, context)?
                };
                let moved = frame.pair.b.params().clone();
                (frame.pair, moved)
            } else if aligned.alignment.is_identity() {
                let moved = pair.b.params().clone();
                (pair, moved)
            } else {
                pair.ensure(&aligned.symmetry, context)?;
                let moved = aligned.apply(pair.b.params())?;
                (pair, moved)
            };
            pair.keep_tokens(&mut moved)?;
            model = Model::clone(pair.a());
            all.push(moved);
        }
        if !model.statistics().is_empty() {
            context.note("the statistics of BatchNorms are combined like all else, which ruins most networks");
        }
        let params = self.params(&model, &all)?;
        let (sources, inputs) = (sources.concat(), inputs.into_iter().flatten().collect());
        Ok(Combined { file: self.clone(), model, params, sources, inputs, remarks })
    }

    /// The combined tensors, made when they are looked at.
    fn params(&self, model: &Model, others: &[Params]) -> Result<Params> {
        let how = match self.rule {
            Rule::Linear { .. } | Rule::TaskArithmetic { .. } => How::Line(self.coefficients()),
            Rule::Slerp { t } => How::Circle(t),
        };
        let dtype = self.dtype.or(model.written_as());
        let made = |(name, own): (&str, &Tensor)| {
            if !own.dtype().is_float() {
                return Ok((name.to_owned(), own.clone()));
            }
            let others = others.iter().map(|params| Ok(params.require(name)?.clone()));
            let ends = [Ok(own.clone())].into_iter().chain(others).collect::<Result<Vec<_>>>()?;
            let dtype = dtype.unwrap_or(own.dtype());
            let of = CombinedTensor { name: name.to_owned(), ends, how: how.clone(), dtype, shares: OnceLock::new() };
            Ok((name.to_owned(), Tensor::stored(dtype, own.shape(), Arc::new(of), 0)?))
        };
        model.params().iter().map(made).collect()
    }
}

impl Combined {
    /// The combined network, by name.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What the user should know of how models were opened.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Writes it as the first model is written, with its configuration and tokenizer.
    ///
    /// # Errors
    /// If a number is not finite, the output cannot be written, or it would replace an input without being asked to.
    pub fn write(&self, output: impl AsRef<Path>, overwrite: bool, context: &Context<'_>) -> Result<Written> {
        let target = self.model.target(output.as_ref())?;
        if !overwrite {
            target.spares(&self.sources)?;
        }
        // Models are named by the inputs: where they lie on a disk is nobody's business who gets the result.
        let MergeFile { rule, align, dtype, .. } = &self.file;
        let coefficients = self.file.coefficients();
        let options = json!({ "rule": rule, "align": align, "dtype": dtype, "coefficients": coefficients });
        let made = provenance("mergekit", &self.inputs, &options);
        self.model.write_while(&target, &self.params, &made, &|| !context.observer.stops())?;
        let (output, inputs) = (target.path().to_owned(), self.inputs.clone());
        Ok(Written { output, inputs, options, account: None, solved: None })
    }
}

#[derive(Debug, Clone)]
enum How {
    Line(Vec<f64>),
    Circle(f64),
}

/// A tensor of several networks, combined when it is looked at.
struct CombinedTensor {
    name: String,
    ends: Vec<Tensor>,
    how: How,
    dtype: DType,
    /// What ends are multiplied by, once that is known.
    shares: OnceLock<std::result::Result<Vec<f64>, String>>,
}

/// Numbers that are read at a time.
const PIECE: usize = 1 << 22;

/// Where vectors lie so nearly on one line that the circle between them cannot be told from it.
const STRAIGHT: f64 = 0.9995;

impl CombinedTensor {
    fn len(&self) -> usize {
        self.ends[0].len()
    }

    /// A run of the numbers of one end.
    fn run(tensor: &Tensor, start: usize, count: usize) -> std::result::Result<Vec<f64>, String> {
        let said = |error: onebasin_core::Error| error.to_string();
        let size = tensor.dtype().size();
        let mut bytes = vec![0; count * size];
        match tensor.place() {
            Some((storage, at)) => storage.read_at(at + (start * size) as u64, &mut bytes)?,
            None => bytes.copy_from_slice(&tensor.bytes()[start * size..][..count * size]),
        }
        let run = Tensor::new(tensor.dtype(), &[count], bytes.into()).map_err(said)?;
        Ok(run.to_f64().map_err(said)?.into_owned())
    }

    fn shares(&self) -> std::result::Result<&[f64], String> {
        let found = self.shares.get_or_init(|| match &self.how {
            How::Line(shares) => Ok(shares.clone()),
            How::Circle(t) => self.on_circle(*t),
        });
        found.as_ref().map(Vec::as_slice).map_err(Clone::clone)
    }

    /// Formula: `sin((1 − t) ω) / sin ω` and `sin(t ω) / sin ω`, ω being the angle between both; `1 − t` and t where it is 0.
    fn on_circle(&self, t: f64) -> std::result::Result<Vec<f64>, String> {
        let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
        for start in (0..self.len()).step_by(PIECE) {
            let count = PIECE.min(self.len() - start);
            let [a, b] = [0, 1].map(|k| Self::run(&self.ends[k], start, count));
            for (a, b) in a?.iter().zip(b?) {
                aa += a * a;
                bb += b * b;
                ab += a * b;
            }
        }
        let cosine = ab / (aa * bb).sqrt();
        if !cosine.is_finite() || cosine.abs() > STRAIGHT {
            return Ok(vec![1.0 - t, t]);
        }
        let omega = cosine.acos();
        Ok(vec![((1.0 - t) * omega).sin() / omega.sin(), (t * omega).sin() / omega.sin()])
    }
}

impl Storage for CombinedTensor {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> std::result::Result<(), String> {
        let size = self.dtype.size();
        if !((offset as usize).is_multiple_of(size) && to.len().is_multiple_of(size)) {
            return Err("a part of a number was asked for".to_owned());
        }
        let shares = self.shares()?;
        for (k, out) in to.chunks_mut(PIECE * size).enumerate() {
            let (start, count) = (offset as usize / size + k * PIECE, out.len() / size);
            let mut sum = vec![0.0; count];
            for (tensor, share) in self.ends.iter().zip(shares).filter(|(_, share)| **share != 0.0) {
                let values = Self::run(tensor, start, count)?;
                sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += share * value);
            }
            let made = Tensor::from_f64_as(self.dtype, &[count], &sum).map_err(|error| error.to_string())?;
            made.check_finite(&self.name).map_err(|error| error.to_string())?;
            out.copy_from_slice(made.bytes());
        }
        Ok(())
    }
}
