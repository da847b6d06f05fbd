//! Aligning B with A: which method, how, and what came of it.

mod auto;
mod kept;
mod method;
mod methods;
mod saved;
mod state;
mod straight_through;
mod turned;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onebasin_core::graph::Op;
use onebasin_core::kinds::Kind;
use onebasin_core::matching::{
    ActivationSimilarity, Diagnosis, MatchOptions, Order, Source, Start, StopReason, Weights, ascend, diagnose,
};
use onebasin_core::report::{GroupCorrelation, Input, MatchRecord};
use onebasin_core::symmetry::{Alignment, Group, GroupId, Symmetry, SymmetrySpec};
use onebasin_core::{Params, Perm};
use onebasin_io::{Checkpoint, Metadata, PROVENANCE, SYMMETRY, read, read_alignment, write_alignment};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::account::Account;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::frame::Turned;
use crate::model::{Model, input, named};
use crate::names::Naming;
use crate::observer::Level;
use crate::pair::Pair;
use crate::written::{Written, provenance};
pub(crate) use kept::KeptMatch;
pub use method::Method;
use methods::{Found, Matching};
pub use straight_through::StraightThrough;

/// Header entry of an alignment that says what becomes of every tensor.
const ACCOUNT: &str = "onebasin.account";

/// Header entry of an alignment that says how tensors are called in B, where that is not as in A.
const NAMES: &str = "onebasin.names";

/// Header entry of an alignment that says which networks it was made for.
const MADE_FOR: &str = "onebasin.made_for";

/// How B is aligned with A.
///
/// The default is the method `auto` with seed 0: what nearly everybody wants.
///
/// ```
/// use onebasin::{Align, Method};
/// let by_activations = Align { method: Method::Activation, match_samples: 2000, ..Align::default() };
/// assert_eq!(by_activations.seed, 0);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Align {
    /// What is compared, and how.
    pub method: Method,
    /// Decides the order of groups in every sweep, random starts, and the order of samples.
    pub seed: u64,
    /// Sweeps over the groups at most, even if groups still change; 100 by default.
    pub max_sweeps: usize,
    /// What to start from; none tries signature, with a joint climb, identity and anchored, as far as the budget goes and while
    /// they pay, and keeps the best.
    pub start: Option<Start>,
    /// Orders of the sweeps tried from every start at most, the best of them kept; at least 1, by default 2.
    pub restarts: usize,
    /// Seconds that matches of weights may take together, as predicted from shapes for one core of a fixed machine, so that the
    /// same is chosen everywhere; one match is always made. By default two seconds where weights are compared as they are, a
    /// fifth of one where they are denoised, and no limit where a start is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// Bytes that a match may take beside the networks, as predicted; 4 GiB by default. It decides whether there is a joint climb.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// In which order a sweep visits the groups.
    pub order: Order,
    /// Training samples that activations, and `auto` with samples, look at; 10,000 by default. `auto` judges on others, and
    /// looks at fewer where less than a fifth would be left.
    pub match_samples: usize,
    /// Share of activations in a blend with weights, from 0 to 1 (activation only).
    pub blend: Option<f64>,
    /// Compare activations by `E[ab]`, as the paper does, instead of by their correlation; records call it `uncentred`.
    pub uncentred: bool,
    /// How straight-through matching goes (ste only).
    pub straight_through: StraightThrough,
    /// A file that keeps the state of a long match, to go on from: of straight-through matching after every comparison, of one over all
    /// kinds every minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<PathBuf>,
    /// Go on from that file, to the same bits as without a stop.
    pub resume: bool,
    /// Tell what kind of pair the networks are, in the record and as a [`Finding`](crate::Level::Finding); by default it is told.
    pub diagnose: bool,
}

impl Default for Align {
    fn default() -> Self {
        Self {
            method: Method::Auto,
            seed: 0,
            max_sweeps: 100,
            start: None,
            restarts: 2,
            budget: None,
            memory: None,
            order: Order::Random,
            match_samples: 10_000,
            blend: None,
            uncentred: false,
            straight_through: StraightThrough::default(),
            state: None,
            resume: false,
            diagnose: true,
        }
    }
}

impl Align {
    /// The paper's Algorithm 1 as published: coordinate ascent on weights from the identity, in one random order of this seed.
    ///
    /// Source: Ainsworth et al. 2023, section 3.2.
    pub fn published(seed: u64) -> Self {
        Self { method: Method::Weight, seed, start: Some(Start::Identity), restarts: 1, ..Self::default() }
    }

    /// Removes the state that a match over all kinds left, once its alignment is written; another file of that name stays.
    ///
    /// ```
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("mine.safetensors");
    /// std::fs::write(&path, "something else")?;
    /// onebasin::Align { state: Some(path.clone()), ..Default::default() }.forget_state();
    /// assert!(path.exists());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn forget_state(&self) {
        if let Some(path) = self.state.as_deref().filter(|path| kept::is_state(path)) {
            crate::kept::remove(path);
        }
    }

    pub(crate) fn ascent(&self) -> MatchOptions {
        MatchOptions { seed: self.seed, max_sweeps: self.max_sweeps, order: self.order }
    }

    fn check(&self) -> Result<()> {
        let fail = |option, expected, found: String| Err(Error::Option { option, expected, found });
        let other = || format!("the method {}", self.method.name());
        match self.blend {
            Some(beta) if !(0.0..=1.0).contains(&beta) => fail("blend", "a number from 0 to 1", beta.to_string()),
            Some(_) if self.method != Method::Activation => fail("blend", "for the method activation alone", other()),
            _ if self.uncentred && !self.method.sees_data() => {
                fail("uncentred", "for methods that see activations", other())
            }
            _ if self.restarts == 0 => fail("restarts", "at least 1", "0".to_owned()),
            _ if self.budget.is_some_and(|seconds| seconds.is_nan() || seconds < 0.0) => {
                fail("budget", "seconds from 0", self.budget.unwrap_or_default().to_string())
            }
            _ if self.resume && self.state.is_none() => {
                Err(Error::Needs { option: "resume", needs: "a file with the state" })
            }
            _ if self.max_sweeps == 0 => fail("max_sweeps", "at least 1", "0".to_owned()),
            _ => self.straight_through.check(),
        }
    }
}

/// An alignment with the symmetry it belongs to, and how it was found.
///
/// ```
/// use onebasin::{Align, Context, Model, Network, Pair};
/// # let network = Network::new("mlp:16x2", &[8], 3)?;
/// # let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
/// let aligned = Pair::new(a, b)?.align(&Align::default(), &Context::default())?;
/// let perm = aligned.perm("fc1").expect("the network has this group");
/// assert_eq!(perm.len(), 16);
/// println!("{aligned}");   // one line a group, and what was compared
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Aligned {
    /// Which units may be exchanged.
    pub symmetry: Symmetry,
    /// Which are.
    pub alignment: Alignment,
    /// How it was found, if it was found here.
    pub record: Option<MatchRecord>,
    /// The file it was read from, if any.
    pub file: Option<Input>,
    /// What becomes of every tensor of the pair it was made for.
    pub account: Account,
    /// The networks it was made for, if it was read from a file.
    pub made_for: Vec<MadeFor>,
    /// Where units of B are not only permuted: all of it, of which `alignment` is a part.
    pub turned: Option<Arc<Turned>>,
}

/// A network that an alignment was made for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MadeFor {
    /// The file.
    pub input: Input,
    /// [`onebasin_io::tensor_digest`], which stays the same where tensors are only filed otherwise.
    pub tensors: String,
}

impl Aligned {
    /// Reads an alignment and fits it to the network that it moves, whatever stands before the names of its tensors. What uses it
    /// tests that it was made for the networks it is used on.
    ///
    /// # Errors
    /// If the file is no alignment, or was made for a network of another structure.
    pub fn read(path: impl AsRef<Path>, b: &Model) -> Result<Self> {
        let path = path.as_ref();
        let checkpoint = read(path)?;
        if checkpoint.metadata.get(saved::KINDS).is_some() {
            return Self::read_all_kinds(path, &checkpoint, b);
        }
        let text = checkpoint.metadata.get(SYMMETRY).unwrap_or_default();
        let spec = SymmetrySpec::from_toml(text).unwrap_or_default();
        let account: Account = checkpoint.metadata.get_json(ACCOUNT)?.unwrap_or_default();
        let names: BTreeMap<String, String> = checkpoint.metadata.get_json(NAMES)?.unwrap_or_default();
        let all = b.all();
        let in_b = |name: &String| names.get(name).filter(|own| all.get(own).is_some()).unwrap_or(name).clone();
        let asked: Vec<String> = spec.names().collect();
        let wanted: Vec<String> = asked.iter().map(in_b).collect();
        let wanted: Vec<_> = wanted.iter().map(|name| (name.as_str(), None)).collect();
        let fitted = Naming::fit(&wanted, &named(&all), None);
        let naming = fitted.after(asked.iter().map(|name| (name.clone(), in_b(name))));
        let covered = asked.iter().filter_map(|n| Some((n.clone(), all.get(naming.in_file(n))?.clone())));
        let (symmetry, alignment) = read_alignment(&checkpoint, &covered.collect())?;
        let symmetry = if naming.is_same() {
            symmetry
        } else {
            let spec =
                symmetry.spec().renamed(&|name| naming.in_file(name).to_owned()).map_err(onebasin_core::Error::from)?;
            let covered = spec.names().filter_map(|n| Some((n.clone(), all.get(&n)?.clone())));
            Symmetry::resolve(&spec, &covered.collect())?
        };
        let made_for: Vec<MadeFor> = checkpoint.metadata.get_json(MADE_FOR)?.unwrap_or_default();
        let file = Some(input("alignment", path, checkpoint.digest()));
        Ok(Self { symmetry, alignment, record: None, file, account, made_for, turned: None })
    }

    /// Passes only if a network is the one that this alignment, where it comes from a file, was made for.
    ///
    /// Cost: a digest of its file, and of its tensors where that is another.
    ///
    /// # Errors
    /// [`Error::MadeForOther`].
    pub(crate) fn check_made_for(&self, role: &'static str, model: &Model) -> Result<()> {
        let Some(made_for) = self.made_for.iter().find(|made| made.input.role == role) else { return Ok(()) };
        let is = |made: &MadeFor| {
            model.input(role).is_some_and(|found| found.sha256 == made.input.sha256)
                || model.tensor_digest() == made.tensors
        };
        if is(made_for) {
            return Ok(());
        }
        Err(Error::MadeForOther {
            alignment: self.file.as_ref().map_or_else(String::new, |file| file.name.clone()),
            role,
            expected: made_for.input.name.clone(),
            path: model.path().to_owned(),
            exchanged: self.made_for.iter().any(is),
        })
    }

    /// Writes it as safetensors, with how it was found in its header: one u32 tensor a group.
    ///
    /// # Errors
    /// If it cannot be written; what was there before is then untouched.
    pub fn write(&self, path: impl AsRef<Path>, pair: &Pair) -> Result<Written> {
        let path = path.as_ref();
        let inputs: Vec<Input> = [pair.a.input("a"), pair.b.input("b")].into_iter().flatten().collect();
        let options = json!(self.record);
        let mut header = self.header(&inputs);
        let made =
            |(model, role): (&Model, &str)| Some(MadeFor { input: model.input(role)?, tensors: model.tensor_digest() });
        let made_for: Vec<MadeFor> = [(&*pair.a, "a"), (&*pair.b, "b")].into_iter().filter_map(made).collect();
        header.set_json(MADE_FOR, &json!(made_for));
        if pair.b.is_renamed() {
            header.set_json(NAMES, &json!(pair.b.own_names()));
        }
        match &self.turned {
            Some(turned) => Self::write_turned(path, turned, header)?,
            None => write_alignment(path, &self.symmetry, &self.alignment, header)?,
        }
        Ok(Written { output: path.to_owned(), inputs, options, account: Some(self.account.clone()), solved: None })
    }

    /// Writes it as [`write`](Self::write) does, without the files it was made for: for networks that lie in none.
    ///
    /// # Errors
    /// If it cannot be written; what was there before is then untouched.
    ///
    /// ```
    /// use onebasin::{Align, Aligned, Context, Model, Network, Pair};
    /// # let folder = tempfile::tempdir()?;
    /// let network = Network::new("mlp:16x2", &[8], 3)?;
    /// let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
    /// let pair = Pair::new(a, b)?;
    /// let aligned = pair.align(&Align::default(), &Context::default())?;
    /// aligned.save(folder.path().join("aligned.safetensors"))?;
    /// let read = Aligned::read(folder.path().join("aligned.safetensors"), pair.b())?;
    /// assert_eq!(read.alignment, aligned.alignment);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let header = self.header(&[]);
        match &self.turned {
            Some(turned) => Self::write_turned(path.as_ref(), turned, header),
            None => Ok(write_alignment(path.as_ref(), &self.symmetry, &self.alignment, header)?),
        }
    }

    /// Passes only if units are permuted and nothing else.
    ///
    /// # Errors
    /// [`Error::Turns`] says what needs that.
    pub fn permutes(&self, what: &'static str) -> Result<()> {
        if self.turned.is_some() { Err(Error::Turns { what }) } else { Ok(()) }
    }

    /// An alignment whose file says kinds of groups.
    fn read_all_kinds(path: &Path, file: &Checkpoint, b: &Model) -> Result<Self> {
        let (symmetry, turned) = Self::read_turned(file, b)?;
        Ok(Self {
            symmetry,
            alignment: turned.motion.alignment.clone(),
            record: None,
            file: Some(input("alignment", path, file.digest())),
            account: file.metadata.get_json(ACCOUNT)?.unwrap_or_default(),
            made_for: file.metadata.get_json(MADE_FOR)?.unwrap_or_default(),
            turned: Some(turned),
        })
    }

    /// What the header tells of how it was found, of these files.
    fn header(&self, inputs: &[Input]) -> Metadata {
        let mut header = Metadata::default();
        header.set_json(PROVENANCE, &provenance("match", inputs, &json!(self.record)));
        header.set_json(ACCOUNT, &json!(self.account));
        header
    }

    /// The permutation of a group; of a family, that of its first copy. Entry `i` is the unit of B that becomes unit `i`.
    pub fn perm(&self, group: &str) -> Option<&Perm> {
        let id = self.symmetry.groups().iter().position(|g| g.name == group)?;
        self.alignment.copies(GroupId(id)).first()
    }

    /// π(B): the tensors of B, their units renumbered. Bytes are moved, never computed with.
    ///
    /// Cost: one pass over the tensors.
    ///
    /// # Errors
    /// If a tensor does not fit the symmetry.
    pub fn apply(&self, b: &Params) -> Result<Params> {
        self.permutes("acting on tensors alone")?;
        Ok(self.alignment.apply(&self.symmetry, b)?)
    }

    /// The alignment that undoes this one.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let turned = self.turned.as_ref().map(|turned| {
            Arc::new(Turned { kinds: turned.kinds.clone(), motion: turned.motion.inverse(&turned.kinds) })
        });
        Self { alignment: self.alignment.inverse(&self.symmetry), turned, record: None, ..self.clone() }
    }

    /// Units that move, by group: name, moved, all.
    pub fn moved<'a>(&'a self) -> Vec<(&'a str, usize, usize)> {
        let groups = self.symmetry.groups().iter().enumerate();
        let group = |(id, group): (usize, &'a Group)| {
            let copies = self.alignment.copies(GroupId(id));
            let moved = copies.iter().map(|p| p.len() - p.fixed_points()).sum();
            (group.name.as_str(), moved, group.size * copies.len())
        };
        groups.map(group).collect()
    }
}

impl std::fmt::Display for Aligned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (group, moved, all)) in self.moved().into_iter().enumerate() {
            let turned = self.turned.as_ref().filter(|turned| turned.motion.turns.contains_key(&GroupId(at)));
            match turned.map(|turned| turned.kinds.kind(GroupId(at))) {
                Some(kind @ (Kind::Orthogonal | Kind::Centred | Kind::Phases)) => {
                    writeln!(f, "{group}: {all} units turned ({})", kind.name())?;
                }
                Some(Kind::Signed | Kind::Permutation | Kind::Still) | None => {
                    writeln!(f, "{group}: {moved} of {all} units moved")?;
                }
            }
        }
        let Some(record) = &self.record else { return Ok(()) };
        record.correlation.iter().try_for_each(|c| writeln!(f, "{}: correlation {:.3}", c.group, c.correlation))?;
        let MatchRecord { compared, start_objective, objective, stop, .. } = record;
        write!(f, "{compared} compared, ⟨A, π(B)⟩ {start_objective:.6} → {objective:.6}; {stop}")
    }
}

impl Pair {
    /// Passes only if an alignment that comes from a file was made for this pair.
    pub(crate) fn check_made_for(&self, aligned: &Aligned) -> Result<()> {
        aligned.check_made_for("a", &self.a)?;
        aligned.check_made_for("b", &self.b)
    }

    /// Finds the alignment of B with A.
    ///
    /// Formula: `max ⟨A, π(B)⟩` over the permutations π that leave what B computes as it is, or the same of activations
    /// ([`Method`] says which). Networks of the same bits are not compared: nothing moves.
    /// Cost: for `n` units a layer a few products of `n × n` matrices and a few assignments, a second for a network of ten
    /// million weights; activations cost two forward passes over the samples, straight-through matching a training run.
    ///
    /// # Errors
    /// If the symmetry is not known, a weight is not finite, samples are needed and not there, or the observer stops it.
    ///
    /// Source: Ainsworth et al. 2023, sections 3.1 to 3.3; the default is a portfolio of ours.
    pub fn align(&self, options: &Align, context: &Context<'_>) -> Result<Aligned> {
        options.check()?;
        if let Some(aligned) = self.align_large(options, context)? {
            return Ok(aligned);
        }
        self.check_finite()?;
        let symmetry = self.a.symmetry()?;
        self.say_what_cannot_move(&symmetry, context);
        let weights = self.a.weights_of(&symmetry);
        let matching = Matching::new(self, &symmetry, &weights, options, context)?;
        let by_itself = matches!(options.method, Method::Auto | Method::Activation);
        if options.method == Method::Orthogonal {
            return self.align_turned(options, context);
        }
        let asks_more = options.blend.is_some() || options.uncentred;
        if by_itself && !asks_more && self.is_turned_by_itself()? {
            let found = matching.anchored()?;
            if !self.is_kin(&found.alignment, options.seed)? {
                return self.align_turned(options, context);
            }
            return matching.conclude(options.method.name(), found);
        }
        if options.resume && options.method != Method::Ste {
            let needs = "straight-through matching, or a match over all kinds of groups, which keep their state";
            return Err(Error::Needs { option: "resume", needs });
        }
        let found = matching.run()?;
        let by_products = options.method == Method::Activation && options.uncentred;
        matching.conclude(if by_products { UNCENTRED } else { options.method.name() }, found)
    }

    /// What kind of pair the networks are under an alignment ([`onebasin_core::matching::diagnose`]); `seed` draws what it is
    /// compared with.
    ///
    /// # Errors
    /// If tensors do not fit the alignment's symmetry.
    ///
    /// ```
    /// use onebasin::{Align, Context, Model, Network, Pair};
    /// # let network = Network::new("mlp:16x2", &[8], 3)?;
    /// # let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
    /// let pair = Pair::new(a, b)?;
    /// let aligned = pair.align(&Align::default(), &Context::default())?;
    /// println!("{}", pair.diagnose(&aligned, 0)?);
    /// # Ok::<(), onebasin::Error>(())
    /// ```
    pub fn diagnose(&self, aligned: &Aligned, seed: u64) -> Result<Diagnosis> {
        aligned.permutes("a diagnosis afterwards")?;
        let weights = self.a.weights_of(&aligned.symmetry);
        let [a, b] = self.ends();
        Ok(diagnose(&Weights::new(&weights, a, b)?, &aligned.alignment, seed)?)
    }

    /// A note where nothing may be exchanged, with the operators that are not known.
    fn say_what_cannot_move(&self, symmetry: &Symmetry, context: &Context<'_>) {
        if !symmetry.groups().is_empty() {
            return;
        }
        let nodes = self.a.graph().into_iter().flat_map(onebasin_core::graph::Graph::nodes);
        let unknown: Vec<String> = nodes
            .filter(|n| matches!(n.op, Op::Unknown(_)))
            .map(|n| format!("`{}` ({})", n.name, n.op.name()))
            .take(4)
            .collect();
        let why = if unknown.is_empty() {
            "every unit is tied to an input, an output or a constant".to_owned()
        } else {
            format!("operators that are not known fix what they touch: {}", unknown.join(", "))
        };
        context.note(&format!("no units may be exchanged, so the networks are merged as they are: {why}"));
    }

    /// Goes on from an alignment by straight-through matching: the alignment whose midpoint has the lowest loss.
    ///
    /// # Errors
    /// As [`Self::align`].
    pub fn refine(&self, start: &Aligned, options: &Align, context: &Context<'_>) -> Result<Aligned> {
        options.check()?;
        start.permutes("straight-through matching")?;
        let weights = self.a.weights_of(&start.symmetry);
        let matching = Matching::new(self, &start.symmetry, &weights, options, context)?;
        let found = matching.straight_through(&start.alignment)?;
        matching.conclude(Method::Ste.name(), found)
    }

    /// Finds the alignment by activations that you recorded, of networks that need not run here.
    ///
    /// [`Align::blend`] and [`Align::uncentred`] count as for [`Method::Activation`]; `seen` must be of the network's groups.
    ///
    /// Cost: one assignment a group, and that of a match by weights where they are blended in.
    ///
    /// # Errors
    /// If the symmetry is not known, no group shows in what was seen, or the observer stops it.
    ///
    /// ```
    /// use onebasin::core::matching::{ActivationKind, ActivationSimilarity, TapMoments};
    /// use onebasin::{Align, Context, Model, Network, Pair};
    /// let network = Network::new("mlp:2x1", &[8], 3)?;
    /// let [a, b] = [0, 1].map(|seed| Model::of(&network, network.init(seed).unwrap()).unwrap());
    /// let (pair, symmetry) = (Pair::new(a, b)?, Model::of(&network, network.init(0)?)?.symmetry()?);
    /// let layout = symmetry.layout("relu1", &". fc1".parse()?, &[3, 2])?; // three samples of two units
    /// let mut tap = TapMoments::new(&symmetry, "relu1", &layout, 1)?;
    /// tap.add(&symmetry, &layout, &[1., 0., 2., 1., 4., 0.], &[0., 1., 1., 2., 0., 4.])?;
    /// let seen = ActivationSimilarity::new(&symmetry, vec![tap], ActivationKind::Pearson)?;
    /// let aligned = pair.align_on(seen, &Align::default(), &Context::default())?;
    /// assert_eq!(aligned.alignment.copies(symmetry.roots()[0])[0].as_slice(), [1, 0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn align_on(&self, seen: ActivationSimilarity, options: &Align, context: &Context<'_>) -> Result<Aligned> {
        options.check()?;
        let symmetry = self.a.symmetry()?;
        let weights = self.a.weights_of(&symmetry);
        let matching = Matching::new(self, &symmetry, &weights, options, context)?;
        let found = matching.by_seen(seen, false)?;
        matching.conclude(Method::Activation.name(), found)
    }

    /// Finds the alignment with the highest value of a similarity of your own, by coordinate ascent from the identity.
    ///
    /// `compared` says in the record what it compares. The source's symmetry may cover fewer tensors than the network's, but
    /// must have its groups.
    ///
    /// # Errors
    /// If the symmetry is not known, those of the source, or the observer stops it.
    pub fn align_by(
        &self,
        source: &dyn Source,
        compared: &'static str,
        options: &Align,
        context: &Context<'_>,
    ) -> Result<Aligned> {
        options.check()?;
        let symmetry = self.a.symmetry()?;
        let weights = self.a.weights_of(&symmetry);
        let matching = Matching::new(self, &symmetry, &weights, options, context)?;
        let start = Alignment::identity(source.symmetry());
        let found = ascend(source, &start, &options.ascent(), &mut |sweep| {
            matching.told(compared, onebasin_core::matching::Progress::Sweep(sweep))
        })?;
        context.go_on()?;
        let found = Found { stop: found.stop, sweeps: found.sweeps, ..Found::once(compared, found.alignment) };
        matching.conclude(compared, found)
    }
}

impl Matching<'_> {
    /// The record of what was found, and what kind of pair it is.
    fn conclude(&self, method: &str, found: Found) -> Result<Aligned> {
        let context = self.context;
        context.go_on()?;
        let plain = self.plain()?;
        let diagnosis = if self.options.diagnose && self.options.method != Method::None {
            Some(diagnose(&plain, &found.alignment, self.options.seed)?)
        } else {
            None
        };
        if let Some(diagnosis) = &diagnosis {
            context.observer.remark(Level::Finding, &diagnosis.to_string());
        }
        let correlation = found.seen.map_or_else(Vec::new, |seen| {
            let named =
                |(id, correlation)| GroupCorrelation { group: self.symmetry.group(id).name.clone(), correlation };
            seen.matched(self.weights, &found.alignment).into_iter().map(named).collect()
        });
        let record = MatchRecord {
            method: method.to_owned(),
            compared: found.compared.to_owned(),
            options: self.options.ascent(),
            device: context.device.map(|device| device.name().to_owned()),
            start_objective: plain.objective(&Alignment::identity(self.symmetry))?,
            objective: plain.objective(&found.alignment)?,
            stop: found.stop,
            sweeps: found.sweeps,
            runs: found.runs,
            plan: found.plan,
            judged: found.judged,
            diagnosis,
            correlation,
        };
        let (symmetry, mut account) = (self.symmetry.clone(), self.pair.account().of(self.symmetry));
        if self.options.method == Method::None {
            account.moved = 0;
        }
        let record = Some(record);
        Ok(Aligned {
            symmetry,
            alignment: found.alignment,
            record,
            file: None,
            account,
            made_for: Vec::new(),
            turned: None,
        })
    }
}

/// What a match by the means of products of activations is called, which is not the method by their correlations.
const UNCENTRED: &str = "uncentred";
/// How a match that needed no sweeps ended.
const DONE: StopReason = StopReason::Converged;
