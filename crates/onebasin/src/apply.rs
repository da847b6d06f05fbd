//! Acting with an alignment, from file to file.

use std::path::Path;

use onebasin_core::Params;
use onebasin_core::merge::MergeRule;
use onebasin_core::report::Input;
use onebasin_io::{Asked, Moving, apply_streamed};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::align::Aligned;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::frame::Turned;
use crate::model::{Model, is_onnx, shapes};
use crate::observer::{Progress, Step};
use crate::unused::{Differs, Likely, Unused, folded_norms, is_bookkeeping};
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
    /// Undo the alignment instead, of a network that it was applied to.
    pub inverse: bool,
    /// Use an alignment on a network that it was not made for.
    pub force: bool,
    /// Let the result take the place of a file that it is made from.
    pub overwrite: bool,
}

/// Writes π(B): a network with its units renumbered, computing what it computed before. Where the network can be run here, that
/// is tested on random inputs.
///
/// Tensors that the alignment does not cover are copied, if it was made for a pair in which they were found to be none of the
/// network's.
///
/// Cost: every byte of the file is read and written once; memory is two tensors and 256 MiB at most, whatever the size of the
/// network (an ONNX model, and a network that is run, are held whole).
///
/// # Errors
/// If a file cannot be read or written, the alignment was made for another network ([`Error::MadeForOther`]), a value is not
/// finite, a tensor is not covered ([`Error::Unused`]), the network computes
/// something else ([`Error::Moved`]), or the observer stops it; nothing is written then.
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
    if let Some(turned) = &aligned.turned {
        return apply_turned(aligned, turned, b, output.as_ref(), *options, context);
    }
    let target = b.target(output.as_ref())?;
    if !options.overwrite {
        target.spares(&b.sources())?;
    }
    let undoes = || aligned.file.as_ref().is_some_and(|file| b.was_made_with(&file.sha256));
    if !(options.force || options.inverse && undoes()) {
        aligned.check_made_for("b", b)?;
    }
    let inverse = options.inverse.then(|| aligned.inverse());
    let Aligned { symmetry, alignment, file, account, .. } = inverse.as_ref().unwrap_or(aligned);
    let (covered, rest) = part(aligned, b)?;
    let options = json!({ "inverse": options.inverse });
    let inputs = |digest: &str| -> Vec<Input> { file.iter().cloned().chain(b.input_as("b", digest)).collect() };
    let made = |digest: &str| provenance("apply", &inputs(digest), &options);
    let in_memory = is_onnx(target.path()) || b.is_renamed();
    if in_memory {
        let moved = alignment.apply(symmetry, &covered)?;
        b.ensure_moved(&moved, context)?;
        b.check_finite()?;
        b.write_while(&target, &moved, &made(b.checkpoint().digest()), &|| !context.observer.stops())?;
    } else {
        let expected = shapes(covered.iter().chain(rest.iter()));
        let checkpoint = b.checkpoint().with_params(covered);
        let moving = Moving { b: &checkpoint, symmetry, alignment };
        let passing = Passing::new(Step::Applying, b.weight_count(), context);
        let check = |made: &Path| -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
            let found = b.check_written(made, &expected)?;
            Ok(b.ensure_moved(&found, context)?)
        };
        let asked = Asked { progress: &|n| passing.more(n), check: &check };
        apply_streamed(&target, &moving, &rest, &|digest| b.header(&made(digest)), &asked)?;
    }
    let account = Some(account.clone());
    Ok(Written {
        output: target.path().to_owned(),
        inputs: inputs(b.checkpoint().digest()),
        options,
        account,
        solved: None,
    })
}

/// Acts with an alignment that turns units as well: the canonical form of the network is written, moved.
fn apply_turned(
    aligned: &Aligned,
    turned: &Turned,
    b: &Model,
    output: &Path,
    options: Apply,
    context: &Context<'_>,
) -> Result<Written> {
    if options.inverse {
        return Err(Error::Turns { what: "undoing" });
    }
    if !options.force {
        aligned.check_made_for("b", b)?;
    }
    let (moved, changes) = if b.is_large() {
        b.check_on_a_part(turned, context)?;
        b.turned_by_parts(turned)?
    } else {
        b.turned(turned, context)?
    };
    let target = moved.target(output)?;
    if !options.overwrite {
        target.spares(&b.sources())?;
    }
    let options = json!({ "inverse": false, "canonical": changes });
    let digest = b.checkpoint().digest();
    let inputs: Vec<Input> = aligned.file.iter().cloned().chain(b.input_as("b", digest)).collect();
    let params = if b.is_large() {
        moved.mixed_when_read(moved.params(), &MergeRule::lerp(0.0)?, None)?
    } else {
        moved.as_written(moved.params().clone(), None)?
    };
    moved.write_while(&target, &params, &provenance("apply", &inputs, &options), &|| !context.observer.stops())?;
    let account = Some(aligned.account.clone());
    Ok(Written { output: target.path().to_owned(), inputs, options, account, solved: None })
}

/// The tensors that an alignment covers, and those that are copied.
///
/// # Errors
/// [`Error::Unused`] lists those that are neither.
fn part(aligned: &Aligned, b: &Model) -> Result<(Params, Params)> {
    let Aligned { symmetry, account, .. } = aligned;
    let rules = b.rules();
    let (mut covered, mut rest, mut lost) = (Params::new(), Params::new(), Vec::new());
    for (name, tensor) in b.all().iter() {
        let known = account.copied.contains(name) || account.left_out.contains(name) || rules.carries(name);
        if symmetry.covers(name) {
            covered.insert(name, tensor.clone());
        } else if known || is_bookkeeping(name, tensor) {
            rest.insert(name, tensor.clone());
        } else if !rules.ignores(name) {
            lost.push(name.to_owned());
        }
    }
    let folded = folded_norms(rest.iter());
    let of = |tensor: String| Unused { likely: Likely::of(&tensor, &folded), how: Differs::Nowhere, tensor };
    let tensors: Vec<Unused> = lost.into_iter().map(of).collect();
    if tensors.is_empty() { Ok((covered, rest)) } else { Err(Error::Unused { tensors }) }
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
