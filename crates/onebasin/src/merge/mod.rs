//! Merging an aligned pair, in memory or from file to file.

mod options;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use onebasin_core::canonical::Changes;
use onebasin_core::merge::{Interpolation, MergeRule, Products, merge_aligned, merge_by_group, merge_within};
use onebasin_core::report::Input;
use onebasin_core::symmetry::{GroupId, Symmetry};
use onebasin_core::{DType, Params};
use onebasin_io::{Asked, Moving, alignment_to_params, merge_streamed, products_streamed};
use onebasin_nn::Samples;
use serde_json::{Value, json};

use crate::account::Account;
use crate::align::Aligned;
use crate::apply::Passing;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::frame::Turned;
use crate::inputs::MadeUp;
use crate::kept::{self, KeptSolve};
use crate::model::{is_onnx, shapes};
use crate::observer::Step;
use crate::pair::Pair;
use crate::repair::{Finish, Repair};
use crate::shares::ends_by_group;
use crate::solving::Solving;
use crate::vocabulary::Vocabulary;
use crate::written::{Written, provenance};
pub use options::Merge;

/// The seed of inputs that are made up.
const SEED: u64 = 0;

/// A pair and how it is to be merged: everything has been checked, and nothing computed that can wait.
///
/// [`Self::write`] goes from file to file in bounded memory where it can; [`Self::params`] gives the tensors.
///
/// ```
/// use onebasin::{Align, Blueprint, Context, Merge, Model, Network, Pair};
/// # let folder = tempfile::tempdir()?;
/// # let network = Network::new("mlp:16x2", &[8], 3)?;
/// # let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
/// let pair = Pair::new(a, b)?;
/// let aligned = pair.align(&Align::default(), &Context::default())?;
/// let merged = pair.merge(&aligned, &Merge { lambda: 0.3, ..Merge::default() }, &Context::default())?;
/// let path = folder.path().join("merged.safetensors");
/// assert_eq!(merged.write(&path)?.options["lambda"], 0.3);
/// assert_eq!(*Model::open(&path, &Blueprint::default())?.params(), merged.params()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Merged<'a> {
    pub(crate) pair: Pair,
    pub(crate) aligned: Aligned,
    pub(crate) options: Merge,
    by_group: BTreeMap<GroupId, f64>,
    /// Whether the network has to run: to repair it, or to recompute its BatchNorm statistics.
    finishes: bool,
    /// Whether layers are solved without samples.
    makes_up: bool,
    canonical: Option<Changes>,
    pub(crate) context: Context<'a>,
}

impl Pair {
    /// Combines A and π(B).
    ///
    /// Formula: `(1 − λ) A + λ π(B)`, tensor by tensor, or the great circle between them. λ = 0 gives A and λ = 1 gives π(B), bit
    /// for bit. With samples, the statistics of BatchNorms are recomputed on them; without, they are interpolated like all else,
    /// which ruins most networks that have them, and the observer is told so ([`Level::Note`](crate::Level::Note)). Layers that
    /// are solved without samples are solved on inputs made up of the two networks, which the observer is told and the record
    /// says (`made_up_inputs`).
    /// Cost: testing the symmetry takes two forward passes of four samples; the rest is done when the result is asked for.
    ///
    /// # Errors
    /// [`Error::WrongSymmetry`] if the symmetry changes what A computes, [`Error::Moved`] if the alignment changes what B computes,
    /// [`Error::MadeForOther`] if it was made for others; also if an option makes no sense, samples are needed
    /// and not there, or a group is not known.
    ///
    /// Source: Ainsworth et al. 2023, section 2; slerp: Shoemake 1985; λ by group is ours.
    ///
    /// ```
    /// use onebasin::{Align, Context, Merge, Model, Network, Pair};
    /// # let network = Network::new("mlp:16x2", &[8], 3)?;
    /// # let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
    /// let pair = Pair::new(a, b)?;
    /// let aligned = pair.align(&Align::default(), &Context::default())?;
    /// let at = |lambda| pair.merge(&aligned, &Merge { lambda, ..Merge::default() }, &Context::default())?.params();
    /// assert_eq!(at(0.0)?, *pair.a().params());
    /// assert_eq!(at(1.0)?, aligned.apply(pair.b().params())?);
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    pub fn merge<'a>(&self, aligned: &Aligned, options: &Merge, context: &Context<'a>) -> Result<Merged<'a>> {
        if let Some(turned) = &aligned.turned {
            self.check_beside(options)?;
            self.a.hidden_states_are_used().into_iter().for_each(|text| context.note(text));
            if !options.force {
                self.check_made_for(aligned)?;
            }
            if self.is_large() {
                return self.merge_large(turned, aligned, options, context);
            }
            let frame = self.in_frame(turned, context)?;
            let still = aligned.still(&frame.pair)?;
            return Ok(Merged { canonical: Some(frame.changes), ..frame.pair.merge(&still, options, context)? });
        }
        options.check()?;
        self.check_beside(options)?;
        if options.width > 1.0 {
            self.check_wide(options, context)?;
        }
        if !options.force {
            self.check_made_for(aligned)?;
        }
        let has_data = context.train.is_some_and(|samples| !samples.is_empty()) && options.batch_norm_samples > 0;
        let has_statistics = !self.a.statistics().is_empty();
        let recomputes = has_data && has_statistics && self.a.graph().is_some();
        let finishes = recomputes || options.repair != Repair::None || self.beside.is_some();
        let between = options.is_between();
        let makes_up = options.makes_up(context);
        if !(options.repair.solves() && context.train.is_none()) {
            options.repair.check(context.train, options.used())?;
        }
        if options.check {
            if self.a.runs() {
                self.check_finite()?;
            }
            self.ensure(&aligned.symmetry, context)?;
            if self.b.runs() {
                self.b.ensure_moved(&aligned.apply(self.b.params())?, context)?;
            }
        }
        match (has_data, has_statistics) {
            (true, false) if options.repair == Repair::None => {
                context.detail("the network has no BatchNorm, so the merged weights are left as they are");
            }
            (_, true) if self.a.graph().is_none() && between => context.note(
                "the merged network cannot be used as it stands: the statistics of its BatchNorms are interpolated, which ruins \
                 most networks; they are recomputed only where the network's graph is known, and with data",
            ),
            (false, true) if between && !options.repair.solves() => context.note(
                "the merged network cannot be used as it stands: the statistics of its BatchNorms are interpolated, which ruins \
                 most networks; merge with data, on which they are recomputed",
            ),
            (true | false, _) => {}
        }
        let by_group = by_group(options, aligned)?;
        self.tell_of_tokenizers(context)?;
        context.go_on()?;
        let (pair, aligned, options) = (self.clone(), aligned.clone(), options.clone());
        Ok(Merged { pair, aligned, options, by_group, finishes, makes_up, canonical: None, context: *context })
    }
}

impl Pair {
    /// Merges networks that are too large to be held, in one frame: tensors are made when they are written.
    fn merge_large<'a>(
        &self,
        turned: &Turned,
        aligned: &Aligned,
        options: &Merge,
        context: &Context<'a>,
    ) -> Result<Merged<'a>> {
        let needs = |option, needs| Err(Error::Needs { option, needs });
        if options.repair != Repair::None {
            return needs("repair", "networks that fit into memory");
        }
        if options.interpolation == Interpolation::Slerp {
            return needs("interpolation slerp", "networks that fit into memory");
        }
        let frame = self.in_frame_by_parts(turned, context)?;
        let still = aligned.still(&frame.pair)?;
        let unchecked = Merge { check: false, ..options.clone() };
        let merged = frame.pair.merge(&still, &unchecked, context)?;
        Ok(Merged { canonical: Some(frame.changes), options: options.clone(), ..merged })
    }

    /// Passes only if what is asked for can be done with classes side by side.
    fn check_beside(&self, options: &Merge) -> Result<()> {
        let needs = |needs| Err(Error::Needs { option: "classes side by side", needs });
        match options.repair {
            _ if self.beside.is_none() => Ok(()),
            Repair::Distil => needs("repair by solve at most: there is no answer of both together to distil"),
            Repair::Data | Repair::Weights | Repair::Affine => {
                needs("repair by solve, or none: half of each answer has no spread to restore")
            }
            Repair::None | Repair::Solve if options.width > 1.0 => needs("a width of 1"),
            Repair::None | Repair::Solve => Ok(()),
        }
    }

    /// A note where both lie in folders with tokenizers that differ.
    pub(crate) fn tell_of_tokenizers(&self, context: &Context<'_>) -> Result<()> {
        match &self.vocabulary {
            Vocabulary::Same => return Ok(()),
            Vocabulary::Other(tokens) => {
                context.note(&tokens.count.to_string());
                return Ok(());
            }
            Vocabulary::Unknown => (),
        }
        let [a, b] = [self.a.path(), self.b.path()];
        if !(a.is_dir() && b.is_dir()) {
            return Ok(());
        }
        let mut differing = onebasin_io::differing_companions(a, b)?;
        differing.retain(|name| {
            ["tokenizer.json", "vocab", "merges", "spiece", "tokenizer.model", "sentencepiece"]
                .iter()
                .any(|of| name.starts_with(of))
        });
        if !differing.is_empty() {
            context.note(&format!(
                "{} of A and B differ: if a row of the embeddings is another token in B, the average of both is neither; A's \
                 tokenizer goes along",
                differing.join(", ")
            ));
        }
        Ok(())
    }

    /// Does what a merge with these options needs before an alignment is looked for: makes sure that it would not be refused
    /// once one is found, since groups are known and the symmetry leaves what A computes as it is; and makes the inputs up that
    /// solving without data needs, which aligning then looks at too.
    ///
    /// Cost: two forward passes of four samples, and that of [`remembered`](onebasin_nn::remembered()) where inputs are made up.
    ///
    /// # Errors
    /// Those of [`Self::merge`] that do not depend on an alignment.
    pub fn prepare(&self, options: &Merge, context: &Context<'_>) -> Result<()> {
        options.check()?;
        self.check_beside(options)?;
        let symmetry = self.a.symmetry()?;
        options.group_lambda.keys().try_for_each(|name| group_named(&symmetry, name).map(drop))?;
        // What is too large to be held is tested on a part of it, once an alignment is found.
        if options.check && !self.is_large() {
            self.check_finite()?;
            self.ensure(&symmetry, context)?;
        }
        if options.makes_up(context) {
            self.made_up_texts(options.texts(), SEED, context)?;
        }
        Ok(())
    }
}

impl Merged<'_> {
    /// The tensors of the merged network that its graph uses; all where the graph is not known.
    ///
    /// Cost: one pass over the weights, and what repair and BatchNorm statistics cost; memory is the result where a straight line
    /// is all there is, else two networks.
    ///
    /// # Errors
    /// If a weight is not finite, or the network cannot run where it has to.
    pub fn params(&self) -> Result<Params> {
        Ok(self.finished()?.0)
    }

    /// All tensors that [`write`](Self::write) would write, under their names in A, and how they were solved, where they were.
    ///
    /// Cost and errors: those of [`params`](Self::params).
    ///
    /// ```
    /// use onebasin::{Align, Context, Merge, Model, Network, Pair, Tensor};
    /// let network = Network::new("mlp:16x2", &[8], 3)?;
    /// let model = |seed| {
    ///     let mut params = network.init(seed)?;
    ///     params.insert("steps", Tensor::from_u32(&[], vec![5])?);
    ///     Model::with_graph("mine", params, network.graph()?)
    /// };
    /// let pair = Pair::new(model(0)?, model(1)?)?;
    /// let aligned = pair.align(&Align::default(), &Context::default())?;
    /// let (tensors, solved) = pair.merge(&aligned, &Merge::default(), &Context::default())?.tensors()?;
    /// assert!(tensors.get("steps").is_some() && solved.is_none());
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    pub fn tensors(&self) -> Result<(Params, Option<Solving>)> {
        let (params, solved) = self.finished()?;
        Ok((self.pair.a.whole(params), solved))
    }

    /// The same, and how it was solved, where it was.
    fn finished(&self) -> Result<(Params, Option<Solving>)> {
        let Self { pair, aligned, options, by_group, context, .. } = self;
        if options.width > 1.0 {
            return Ok((self.wide()?.params().clone(), None));
        }
        if self.canonical.is_some() && pair.is_large() {
            let mut merged = pair.merged_by_parts(&self.rule(None)?, options.dtype)?;
            pair.keep_tokens(&mut merged)?;
            return Ok((merged, None));
        }
        pair.check_finite()?;
        if !self.finishes && !self.is_circle() {
            let rule = self.rule(None)?;
            let (a, b) = (pair.a.params(), pair.b.params());
            let mut merged = merge_aligned(&aligned.symmetry, &aligned.alignment, a, b, &rule)?;
            pair.keep_tokens(&mut merged)?;
            return Ok((pair.a.as_written(merged, options.dtype)?, None));
        }
        let (a, mut moved) = (pair.a.params(), aligned.apply(pair.b.params())?);
        pair.keep_tokens(&mut moved)?;
        let mut merged = if by_group.is_empty() {
            merge_within(&aligned.symmetry, a, &moved, options.lambda, options.interpolation)?
        } else {
            merge_by_group(&aligned.symmetry, a, &moved, options.lambda, by_group)?
        };
        if let Some(beside) = &pair.beside {
            beside.put(&mut merged, [a, &moved])?;
        }
        let mut solved = None;
        if self.finishes {
            let program = context.train.map_or_else(|| pair.a.program(), |samples| pair.a.program_for(samples))?;
            let made = self.made_up()?;
            let mut used = options.used();
            used.solve = used.solve.min(made.as_ref().map_or(usize::MAX, |made| made.solved));
            let made = made.as_ref().map(|made| &made.samples as &dyn Samples);
            let (train, repair) = (made.or(context.train), options.repair);
            let (memory, lean) = (pair.a.memory(), options.lean);
            let of = self.solve_of(train);
            let moves = alignment_to_params(&aligned.symmetry, &aligned.alignment)?;
            let (path, resume) = (options.state.as_deref(), options.resume);
            let kept = path.map(|path| KeptSolve { path, of: &of, alignment: &moves, resume });
            let kept = kept.as_ref();
            let finish = Finish { program: &program, train, used, repair, memory, lean, kept, context };
            let ends = [a, &moved];
            if options.repair.solves() {
                let (graph, symmetry, by_name) = (program.graph(), &aligned.symmetry, self.by_name());
                let mut ends = ends_by_group(graph, symmetry, ends, options.lambda, &by_name)?;
                if let Some(beside) = &pair.beside {
                    beside.share(graph, &mut ends);
                }
                (merged, solved) = finish.solve_and_tell(&ends, &merged)?;
            } else {
                merged = finish.apply(ends, &merged, options.lambda)?;
            }
            pair.a.copied(&mut merged);
        }
        Ok((pair.a.as_written(merged, options.dtype)?, solved))
    }

    /// The formula of every tensor: along the great circle where there are products, else along the line.
    fn rule(&self, products: Option<Products>) -> Result<MergeRule<'_>> {
        let (symmetry, options) = (&self.aligned.symmetry, &self.options);
        let rule = match products {
            Some(products) => MergeRule::slerp(options.lambda, products)?.within(symmetry),
            None => MergeRule::by_group(symmetry, options.lambda, &self.by_group)?,
        };
        match options.dtype {
            Some(dtype) => Ok(rule.cast(dtype)?),
            None => Ok(rule),
        }
    }

    /// Whether the way from A to B is the great circle.
    fn is_circle(&self) -> bool {
        self.by_group.is_empty() && self.options.interpolation == Interpolation::Slerp
    }

    /// What decides how layers are solved: options, networks and samples.
    fn solve_of(&self, train: Option<&dyn Samples>) -> Value {
        let digests = [&self.pair.a, &self.pair.b].map(|model| model.checkpoint().digest().to_owned());
        let samples = train.map(|train| (train.name().to_owned(), train.len()));
        json!({ "options": self.recorded(), "networks": digests, "samples": samples, "memory": self.pair.a.memory() })
    }

    /// λ of single groups, by name.
    fn by_name(&self) -> BTreeMap<&str, f64> {
        self.by_group.iter().map(|(id, l)| (self.aligned.symmetry.group(*id).name.as_str(), *l)).collect()
    }

    /// What layers are solved on where there are no samples.
    fn made_up(&self) -> Result<Option<Arc<MadeUp>>> {
        if !self.makes_up {
            return Ok(None);
        }
        let made = self.pair.made_up_texts(self.options.texts(), SEED, &self.context)?;
        self.context.note(&format!(
            "no data, so layers are solved on {} made-up inputs, {}; on data they would fit better",
            made.samples.len(),
            made.how
        ));
        Ok(Some(made))
    }

    /// Writes the merged network in A's format: the same ONNX model, file or folder of shards, with how it came to be in its
    /// header. A path that ends in `.safetensors` is always one file. Files appear whole or not at all.
    ///
    /// Cost: from file to file in 256 MiB, whatever the size of the networks; as [`Self::params`] where the network has to run
    /// or the file is ONNX.
    ///
    /// # Errors
    /// If a file cannot be read or written, a value is not finite, or the observer stops it; nothing is written then.
    pub fn write(&self, output: impl AsRef<Path>) -> Result<Written> {
        let Self { pair, aligned, options, context, .. } = self;
        let (a, b) = (&pair.a, &pair.b);
        let target = if options.width > 1.0 { self.wide_target(output.as_ref())? } else { a.target(output.as_ref())? };
        if !options.overwrite {
            target.spares(&[a.sources(), b.sources()].concat())?;
        }
        let recorded = self.recorded();
        let inputs = |[of_a, of_b]: [&str; 2]| -> Vec<Input> {
            let ends = [a.input_as("a", of_a), b.input_as("b", of_b)];
            ends.into_iter().flatten().chain(aligned.file.clone()).collect()
        };
        let made = |digests: [&str; 2]| provenance("merge", &inputs(digests), &recorded);
        let digests = || [a.checkpoint().digest(), b.checkpoint().digest()];
        context.go_on()?;
        let mut solved = None;
        if options.width > 1.0 {
            let wide = self.wide()?;
            wide.write_while(&target, wide.params(), &made(digests()), &|| !context.observer.stops())?;
        } else if self.finishes || is_onnx(target.path()) || a.is_remade() || b.is_remade() {
            let params;
            (params, solved) = self.finished()?;
            a.write_while(&target, &params, &made(digests()), &|| !context.observer.stops())?;
            if let (Some(path), true) = (&options.state, solved.is_some()) {
                kept::remove(path);
            }
        } else {
            let moving = Moving { b: b.checkpoint(), symmetry: &aligned.symmetry, alignment: &aligned.alignment };
            let slerp = self.is_circle();
            let passing = Passing::new(Step::Merging, a.weight_count() * if slerp { 2 } else { 1 }, context);
            let progress = |n| passing.more(n);
            let products =
                if slerp { Some(products_streamed(&target, a.checkpoint(), &moving, &progress)?) } else { None };
            let rule = self.rule(products)?;
            let header = |digests: [&str; 2]| a.header(&made(digests));
            let expected = shapes(a.params().iter().chain(a.rest().iter()));
            let check = |made: &Path| {
                a.check_written(made, &expected)?;
                Ok(b.unchanged()?)
            };
            let asked = Asked { progress: &progress, check: &check };
            merge_streamed(&target, a.checkpoint(), &moving, a.rest(), &rule, &header, &asked)?;
        }
        let account = Some(self.account());
        let inputs = inputs(digests());
        Ok(Written { output: target.path().to_owned(), inputs, options: recorded, account, solved })
    }

    /// What became of every tensor: what was said where B was aligned, or of an alignment from a file, what it moves.
    fn account(&self) -> Account {
        let Self { pair, aligned, .. } = self;
        let found = || pair.account().of(&aligned.symmetry);
        aligned.record.as_ref().map_or_else(found, |_| aligned.account.clone())
    }

    /// What decided the result besides the files.
    fn recorded(&self) -> Value {
        let Self { aligned, options, context, .. } = self;
        let by_group = self.by_name();
        let solve_samples = options.repair.solves().then_some(options.solve_samples);
        let mut recorded = json!({
            "lambda": options.lambda, "interpolation": options.interpolation.to_string(),
            "dtype": options.dtype.map(DType::name), "data": context.train.map(Samples::name),
            "repair": options.repair.name(), "batch_norm_samples": options.batch_norm_samples, "solve_samples": solve_samples, "group_lambda": by_group, "matching": aligned.record,
            "tensors": self.account(),
        });
        if let Some(changes) = &self.canonical {
            recorded["canonical"] = json!(changes);
        }
        if let Vocabulary::Other(tokens) = &self.pair.vocabulary {
            recorded["tokens"] = json!(tokens.count);
        }
        if self.makes_up {
            recorded["made_up_inputs"] = json!(true);
        }
        if options.lean {
            recorded["lean"] = json!("a");
        }
        if let Some(beside) = &self.pair.beside {
            recorded["side_by_side"] = json!(beside.classes);
        }
        if options.width > 1.0 {
            recorded["width"] = json!(options.width);
        }
        recorded
    }
}

/// λ of groups that do not lie at [`Merge::lambda`]: as given, and 0 where too little corresponds.
fn by_group(options: &Merge, aligned: &Aligned) -> Result<BTreeMap<GroupId, f64>> {
    let id = |name: &str| group_named(&aligned.symmetry, name);
    let mut found = BTreeMap::new();
    if let Some(least) = options.min_correlation {
        let seen = aligned.record.as_ref().map_or(&[][..], |r| &r.correlation);
        if seen.is_empty() {
            let needs = "correlations of activations: an alignment by activations on data";
            return Err(Error::Needs { option: "min_correlation", needs });
        }
        for group in seen.iter().filter(|g| g.correlation < least) {
            found.insert(id(&group.group)?, 0.0);
        }
    }
    for (name, lambda) in &options.group_lambda {
        found.insert(id(name)?, *lambda);
    }
    Ok(found)
}

fn group_named(symmetry: &Symmetry, name: &str) -> Result<GroupId> {
    let groups = symmetry.groups();
    groups.iter().position(|g| g.name == name).map(GroupId).ok_or_else(|| Error::NoGroup {
        group: name.to_owned(),
        known: groups.iter().map(|g| g.name.clone()).collect(),
    })
}
