//! Two networks of the same structure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use onebasin_core::graph::Op;
use onebasin_core::matching::Weights;
use onebasin_core::symmetry::{GroupId, Symmetry};
use onebasin_core::{Params, escaped};
use onebasin_nn::Samples;
use onebasin_nn::check::{Check, CheckOptions, check, compare};
use onebasin_nn::exec::Program;

use crate::account::Account;
use crate::alike::alike;
use crate::beside::{Beside, beside};
use crate::blueprint::Blueprint;
use crate::context::Context;
use crate::error::{Error, InFile, Result};
use crate::inputs::{Kept, MadeUp, TEXTS};
use crate::model::Model;
use crate::vocabulary::{Vocabulary, in_tokens_of};

/// Two networks of the same structure: the reference A, which stays, and B, which moves.
///
/// [`align`](Self::align) finds the alignment, [`merge`](Self::merge) combines them by it, [`barrier`](Self::barrier)
/// measures the way from A to B. Cloning is cheap; networks are shared.
///
/// ```
/// use onebasin::{Align, Context, Merge, Model, Network, Pair};
/// let network = Network::new("mlp:16x2", &[8], 3)?;
/// let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
/// let pair = Pair::new(a, b)?;
/// let aligned = pair.align(&Align::default(), &Context::default())?;
/// let merged = pair.merge(&aligned, &Merge::default(), &Context::default())?.params()?;
/// assert_eq!(merged.len(), pair.a().params().len());
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pair {
    pub(crate) a: Arc<Model>,
    pub(crate) b: Arc<Model>,
    account: Account,
    /// The symmetry that was tested and passed.
    tested: Arc<Mutex<Option<Symmetry>>>,
    /// Inputs that were made up of both.
    made_up: Kept,
    /// Classes of each, where the merged network answers those of both.
    pub(crate) beside: Option<Beside>,
    /// How tokens of both correspond.
    pub(crate) vocabulary: Vocabulary,
}

impl Pair {
    /// Opens two files of networks of the same structure; any two formats.
    ///
    /// Cost: both files are mapped; nothing but headers is read before it is needed.
    ///
    /// # Errors
    /// Those of [`Model::open`], and if the networks differ in structure: tensors, shapes and element types are listed.
    ///
    /// ```no_run
    /// use onebasin::{Blueprint, Pair};
    /// let pair = Pair::open("a.pth", "b.safetensors", &Blueprint { network: Some("resnet50".into()), ..Default::default() })?;
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    pub fn open(a: impl AsRef<Path>, b: impl AsRef<Path>, blueprint: &Blueprint) -> Result<Self> {
        let models = Model::open_all([a.as_ref(), b.as_ref()], blueprint)?;
        let [a, b] = <[Model; 2]>::try_from(models).expect("two files are two networks");
        Self::new(a, b)
    }

    /// Takes two networks of the same structure. The symmetry is that of A, and so are the names of tensors; a network whose
    /// graph is not known is taken to have the other's. Transformers in folders may have different tokens: B is read with the rows
    /// of its tables where A has the same tokens, and of tokens that B has not, merged networks have what A has.
    ///
    /// Cost: that of comparing the graphs, and tensors that no graph uses with those that it does.
    ///
    /// # Errors
    /// [`Error::OtherGraph`] and [`Error::Differ`] if they differ in structure; [`Error::Unused`] if only one has a tensor that
    /// its graph does not use, or both have it with other values, so that no merge would be right.
    pub fn new(a: Model, b: Model) -> Result<Self> {
        // A merge of tied networks is untied, and goes with them all the same.
        let (a, b) = match [a.is_tied(), b.is_tied()] {
            [Some(true), Some(false)] => (a.untied()?, b),
            [Some(false), Some(true)] => (a, b.untied()?),
            _ => (a, b),
        };
        let (b, vocabulary) = in_tokens_of(&a, b)?;
        let (models, account) = alike(vec![a, b])?;
        let [a, b] = <[Model; 2]>::try_from(models).expect("two networks stay two").map(Arc::new);
        Ok(Self { a, b, account, tested: Arc::default(), made_up: Kept::default(), beside: None, vocabulary })
    }

    /// Two networks that answer different classes, as a pair whose merge answers the classes of A and then those of B.
    ///
    /// Formula: of `c_A` and `c_B` classes the merged network has `c_A + c_B`. Every tensor with an entry a class is padded with
    /// zeros at the other's classes; units are aligned and averaged as ever, and the rows of every class are those of the network
    /// that knows it, reading the averaged units. A solve aims at A's answers for A's classes and at B's for B's, whatever λ is.
    ///
    /// Both must be built-in networks of one name, whose number of classes may differ: their name and classes say the graph of the
    /// result. The result is written as safetensors.
    ///
    /// Cost: a copy of the padded tensors.
    ///
    /// # Errors
    /// [`Error::SideBySide`] if one is no built-in network, or they are not of one name; else as [`Self::new`].
    ///
    /// Source: merged networks with a head for each task, ZipIt! (Stoica et al. 2023, arXiv 2305.03053), section 5. There heads stay
    /// apart; here classes share one answer.
    ///
    /// ```
    /// use onebasin::{Align, Context, Merge, Model, Network, Pair};
    /// let model = |classes, seed| Model::of(&Network::new("mlp:16x2", &[8], classes)?, Network::new("mlp:16x2", &[8], classes)?.init(seed)?);
    /// let pair = Pair::side_by_side(model(3, 0)?, model(2, 1)?)?;
    /// let aligned = pair.align(&Align::default(), &Context::default())?;
    /// let merged = pair.merge(&aligned, &Merge::default(), &Context::default())?.params()?;
    /// assert_eq!(merged.require("fc3.weight")?.shape(), [5, 16]);
    /// // A stays as it is, so its classes are read as A reads them.
    /// let own = Network::new("mlp:16x2", &[8], 3)?.init(0)?;
    /// assert_eq!(merged.require("fc3.bias")?.to_f32()?[..3], own.require("fc3.bias")?.to_f32()?[..]);
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    #[allow(clippy::needless_pass_by_value, reason = "as in `Pair::new`")]
    pub fn side_by_side(a: Model, b: Model) -> Result<Self> {
        let ([a, b], beside) = beside(&a, &b)?;
        Ok(Self { beside: Some(beside), ..Self::new(a, b)? })
    }

    /// What becomes of every tensor when they are merged.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The reference, which stays as it is.
    pub fn a(&self) -> &Model {
        &self.a
    }

    /// The network that moves.
    pub fn b(&self) -> &Model {
        &self.b
    }

    /// Passes only if every weight of both is finite, but for infinities that both hold alike, as masks do: as many of either
    /// sign in a tensor of one name.
    ///
    /// # Errors
    /// As [`Model::check_finite`].
    pub fn check_finite(&self) -> Result<()> {
        let [a, b] = self.ends();
        a.check_finite_beside(b).in_file(self.a.path())?;
        b.check_finite_beside(a).in_file(self.b.path())
    }

    /// Tests a symmetry on A: a random element of it must leave what A computes on random inputs as it was.
    ///
    /// None where A cannot run here, so that nothing can be tested, and the observer is told; and where it has been tested
    /// before.
    ///
    /// # Errors
    /// [`Error::WrongSymmetry`] names the groups at fault.
    pub fn ensure(&self, symmetry: &Symmetry, context: &Context<'_>) -> Result<Option<Check>> {
        let mut tested = self.tested.lock().unwrap_or_else(PoisonError::into_inner);
        if tested.as_ref() == Some(symmetry) {
            return Ok(None);
        }
        let found = self.a.ensure(symmetry, context)?;
        *tested = Some(symmetry.clone());
        Ok(found)
    }

    /// Inputs made up of both networks, where there are no data; made once.
    pub(crate) fn made_up(&self, seed: u64, context: &Context<'_>) -> Result<Arc<MadeUp>> {
        self.made_up.made_up([&self.a, &self.b], TEXTS, seed, context)
    }

    /// The same, with so many texts where both are language models.
    pub(crate) fn made_up_texts(&self, texts: usize, seed: u64, context: &Context<'_>) -> Result<Arc<MadeUp>> {
        self.made_up.made_up([&self.a, &self.b], texts, seed, context)
    }

    /// The same, if they were made.
    pub(crate) fn was_made_up(&self, seed: u64) -> Option<Arc<MadeUp>> {
        self.made_up.was_made_up(seed)
    }

    /// The same two networks in another form.
    pub(crate) fn with_models(&self, [a, b]: [Arc<Model>; 2]) -> Self {
        let merged = self.account.merged + a.params().len() - self.a.params().len();
        let account = Account { merged, ..self.account.clone() };
        let (made_up, vocabulary) = (self.made_up.clone(), self.vocabulary.clone());
        Self { a, b, account, tested: Arc::default(), made_up, beside: None, vocabulary }
    }

    /// Passes on what became known of A when it was paired, beside what was known of it alone.
    pub(crate) fn tell_of_pairing(&self, alone: &Model, context: &Context<'_>) {
        for text in self.a.remarks().iter().filter(|text| !alone.remarks().contains(text)) {
            context.note(&format!("{}: {text}", self.a.path().display()));
        }
    }

    /// Gives merged tensors, or B's where they stand beside A's, what A alone has: rows of tokens that B has not.
    pub(crate) fn keep_tokens(&self, params: &mut Params) -> Result<()> {
        match &self.vocabulary {
            Vocabulary::Unknown | Vocabulary::Same => Ok(()),
            Vocabulary::Other(tokens) => tokens.keep(params, &self.a),
        }
    }

    pub(crate) fn ends(&self) -> [&Params; 2] {
        [self.a.params(), self.b.params()]
    }
}

impl Model {
    /// Tests a symmetry on this network; see [`Pair::ensure`].
    ///
    /// # Errors
    /// [`Error::WrongSymmetry`] names the groups at fault.
    pub fn ensure(&self, symmetry: &Symmetry, context: &Context<'_>) -> Result<Option<Check>> {
        if !self.runs() {
            self.check_folded()?;
            context.note("the symmetry was not tested, since the network cannot be run here");
            if self.symmetry_is_given() {
                for text in lone_groups(symmetry) {
                    context.note(&text);
                }
            }
            return Ok(None);
        }
        let found = self.check(symmetry, &CheckOptions::default())?;
        if !found.passes() {
            return Err(Error::WrongSymmetry(found));
        }
        context.detail(&found.to_string());
        Ok(Some(found))
    }

    /// What a random element of a symmetry changes; see [`onebasin_nn::check()`].
    ///
    /// # Errors
    /// If the network does not run, or its graph lacks a BatchNorm that its file has ([`Error::Unused`]).
    pub fn check(&self, symmetry: &Symmetry, options: &CheckOptions) -> Result<Check> {
        self.check_folded()?;
        Ok(check(&self.program()?, self.params(), symmetry, options)?)
    }

    /// Passes only if this network computes with other tensors what it does with its own, where it can be run here.
    ///
    /// # Errors
    /// [`Error::Moved`].
    pub(crate) fn ensure_moved(&self, moved: &Params, context: &Context<'_>) -> Result<()> {
        if !self.runs() {
            return Ok(());
        }
        let found = match compare(&self.program()?, self.params(), moved, &CheckOptions::default()) {
            Err(why @ onebasin_nn::Error::NothingToCompare { .. }) => {
                context.note(&format!("{}, aligned, was not compared with itself: {why}", self.path().display()));
                return Ok(());
            }
            other => other?,
        };
        context.detail(&format!("aligned, {}: {found}", self.path().display()));
        if found.passes() { Ok(()) } else { Err(Error::Moved(found)) }
    }

    /// Passes only if another network has the same structure.
    pub(crate) fn check_like(&self, other: &Self) -> Result<()> {
        if let Some((tensor, node)) = self.graph().and_then(|graph| graph.quantized().next()) {
            let (path, dtype) = (self.path().to_owned(), self.params().require(tensor)?.dtype());
            return Err(Error::Quantized { path, tensor: tensor.to_owned(), dtype, node: node.to_owned() });
        }
        self.params().check_same_structure(other.params()).map_err(|source| Error::Differ {
            a: self.path().to_owned(),
            b: other.path().to_owned(),
            source: Box::new(source.into()),
        })
    }

    /// The symmetry of the weights that a match compares: running statistics, and copies of other tensors, move but are not
    /// compared.
    pub(crate) fn weights_of(&self, symmetry: &Symmetry) -> Symmetry {
        let statistics = self.statistics();
        symmetry.restrict(|name| !statistics.contains(name) && !self.follows(name))
    }

    /// The weights of two such networks to be compared, roots in the order of the network.
    pub(crate) fn compare<'n>(
        &'n self,
        weights: &'n Symmetry,
        [a, b]: [&'n Params; 2],
        context: &Context<'_>,
    ) -> Result<Weights<'n>> {
        let order = self.graph().into_iter().flat_map(|g| g.params().map(|p| weights.standing(&p.name)));
        let weights = Weights::new(weights, a, b)?.in_order(order);
        Ok(match context.device {
            Some(device) => device.compare(weights),
            None => weights,
        })
    }

    /// The network, ready to run on the samples that `what` looks at, and these.
    pub(crate) fn running<'c>(&self, context: &Context<'c>, what: &'static str) -> Result<(Program, &'c dyn Samples)> {
        let samples = context.samples(what)?;
        let unknown = self.graph().and_then(|g| g.nodes().iter().find(|n| matches!(n.op, Op::Unknown(_))));
        match unknown {
            Some(node) => Err(Error::DoesNotRun {
                path: self.path().to_owned(),
                node: node.name.clone(),
                operator: node.op.name().to_owned(),
            }),
            None => Ok((self.program_for(samples)?, samples)),
        }
    }
}

/// Groups that stand on one axis alone, in words: a name that was mistyped makes one.
fn lone_groups(symmetry: &Symmetry) -> Vec<String> {
    let mut sites: BTreeMap<GroupId, Vec<(&str, usize)>> = BTreeMap::new();
    for (tensor, layout) in symmetry.tensors() {
        for (axis, found) in layout.axes.iter().enumerate() {
            let digits = found.occurrences.iter().flat_map(|occurrence| &occurrence.digits);
            let groups: BTreeSet<GroupId> = digits.filter(|digit| digit.len > 1).filter_map(|d| d.group).collect();
            for group in groups {
                sites.entry(group).or_default().push((tensor, axis));
            }
        }
    }
    let lone = |(group, sites): (GroupId, Vec<(&str, usize)>)| match sites[..] {
        [(tensor, axis)] => Some(format!(
            "group `{}` stands on axis {axis} of `{}` and nowhere else, so nothing moves with its units: right where a network \
             takes them in any order, wrong if the same units have another name elsewhere",
            escaped(&symmetry.group(group).name),
            escaped(tensor)
        )),
        _ => None,
    };
    sites.into_iter().filter_map(lone).collect()
}
