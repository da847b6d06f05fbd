//! Acting with an alignment, from file to file.

use std::path::Path;

use onebasin_core::report::Input;
use onebasin_io::{Moving, apply_streamed};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::align::Aligned;
use crate::context::Context;
use crate::error::Result;
use crate::model::{Model, is_onnx};
use crate::observer::{Progress, Step};
use crate::written::{Written, provenance};

/// How an alignment acts.
///
/// ```
/// use onebasin::Apply;
/// assert!(!Apply::default().inverse);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Apply {
    /// Undo the alignment instead.
    pub inverse: bool,
}

/// Writes π(B): a network with its units renumbered, computing what it computed before. The symmetry is believed here;
/// where an alignment comes from elsewhere, [`Model::ensure`] tests it first.
///
/// Cost: every byte of the file is read and written once; memory is two tensors and 256 MiB at most, whatever the size of the
/// network (an ONNX model is held whole).
///
/// # Errors
/// If a file cannot be read or written, a value is not finite, or the observer stops it; nothing is written then.
///
/// ```
/// use onebasin::{Align, Apply, Blueprint, Context, Model, Network, Pair, apply};
/// # let folder = tempfile::tempdir()?;
/// # let path = |name: &str| folder.path().join(name);
/// let network = Network::new("mlp:16x2", &[8], 3)?;
/// for seed in [0, 1] {
///     Model::of(&network, network.init(seed)?)?.save(path(&format!("{seed}.safetensors")))?;
/// }
/// let pair = Pair::open(path("0.safetensors"), path("1.safetensors"), &Blueprint::default())?;
/// let aligned = pair.align(&Align::default(), &Context::default())?;
/// apply(&aligned, pair.b(), path("moved.safetensors"), &Apply::default(), &Context::default())?;
/// let moved = Model::open(path("moved.safetensors"), &Blueprint::default())?;
/// assert_eq!(*moved.params(), aligned.apply(pair.b().params())?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn apply(
    aligned: &Aligned,
    b: &Model,
    output: impl AsRef<Path>,
    options: &Apply,
    context: &Context<'_>,
) -> Result<Written> {
    let target = b.target(output.as_ref())?;
    let inverse = options.inverse.then(|| aligned.inverse());
    let Aligned { symmetry, alignment, file, .. } = inverse.as_ref().unwrap_or(aligned);
    let options = json!({ "inverse": options.inverse });
    let inputs = |digest: &str| -> Vec<Input> { file.iter().cloned().chain(b.input_as("b", digest)).collect() };
    let made = |digest: &str| provenance("apply", &inputs(digest), &options);
    if is_onnx(target.path()) {
        b.check_finite()?;
        let moved = alignment.apply(symmetry, b.params())?;
        b.write_while(&target, &moved, &made(b.checkpoint().digest()), &|| !context.observer.stops())?;
    } else {
        let moving = Moving { b: b.checkpoint(), symmetry, alignment };
        let passing = Passing::new(Step::Applying, b.weight_count(), context);
        apply_streamed(&target, &moving, b.rest(), &|digest| b.header(&made(digest)), &|n| passing.more(n))?;
    }
    Ok(Written { output: target.path().to_owned(), inputs: inputs(b.checkpoint().digest()), options })
}

/// Weights that pass by from file to file, counted for the observer.
pub(crate) struct Passing<'a> {
    step: Step,
    done: std::sync::atomic::AtomicU64,
    total: u64,
    context: &'a Context<'a>,
}

impl<'a> Passing<'a> {
    pub(crate) fn new(step: Step, weights: usize, context: &'a Context<'a>) -> Self {
        Self { step, done: 0.into(), total: weights as u64, context }
    }

    /// So many more are done; whether to go on.
    pub(crate) fn more(&self, count: u64) -> bool {
        if count > 0 {
            let done = count + self.done.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
            self.context.observer.progress(&Progress { step: self.step, done, total: self.total, how: "" });
        }
        !self.context.observer.stops()
    }
}
