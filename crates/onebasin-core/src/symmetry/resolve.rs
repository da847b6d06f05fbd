//! A symmetry fitted to a network: every group has a size, every tensor a layout.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::SymmetryError;
use super::group::{Group, GroupId, GroupTable};
use super::joint::{check_choices, runs, whole};
use super::layout::{AxisLayout, expand, join_slices};
use super::pattern::{Pattern, Term, TermKind, visit_groups};
use super::saved::SavedSymmetry;
use super::sizes::{Coverage, GroupSizes, group_error};
use super::spec::SymmetrySpec;
use super::stack;
use crate::params::{Params, nearest};

/// The layout of every axis of one tensor, and the pattern it came from.
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
/// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
/// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
/// #     Ok(Params::from_iter([first, last]))
/// # };
/// let a = net([1., 2., 3., 4.], [5., 6.])?;
/// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
/// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
/// let symmetry = Symmetry::resolve(&spec, &a)?;
/// let layout = symmetry.tensor("fc2.weight")?;
/// assert_eq!((layout.pattern.to_string(), layout.axes.len()), (". h".to_owned(), 2));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorLayout {
    /// The pattern it came from.
    pub pattern: Pattern,
    /// The tensor's own shape; that of a stack begins with the number of its tensors.
    pub shape: Vec<usize>,
    /// One layout per axis; one for all axes from a family to its parent, where that stands on another axis, and from
    /// cases to what chooses among them. Such axes lie side by side in memory, so the tensor is one of fewer axes.
    pub axes: Vec<AxisLayout>,
}

impl TensorLayout {
    /// The shape in which the tensor is laid out: the length of each of [`axes`](Self::axes).
    ///
    /// ```
    /// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// use onebasin_core::{Params, Tensor};
    /// let experts = Tensor::from_f32(&[2, 3, 4], vec![0.; 24])?;
    /// let net = Params::from_iter([("w".to_owned(), experts)]);
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "g . u@g")])?, &net)?;
    /// assert_eq!(symmetry.tensor("w")?.laid_out(), [24]); // a family from axis 0 to axis 2
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn laid_out(&self) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.len).collect()
    }

    /// The layout that an axis of the tensor stands in.
    pub(crate) fn axis_of(&self, axis: usize) -> usize {
        runs(&self.pattern).iter().position(|run| run.contains(&axis)).unwrap_or(axis)
    }

    /// Whether an element of the symmetry can move an entry: whether a group of more than one unit stands on an axis.
    ///
    /// What none can move says nothing about which alignment is best.
    /// ```
    /// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// use onebasin_core::{Params, Tensor};
    /// let two = Tensor::from_f32(&[2], vec![0.; 2])?;
    /// let net = Params::from_iter(["bias", "mask"].map(|name| (name.to_owned(), two.clone())));
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("bias", "h"), ("mask", ".")])?, &net)?;
    /// assert!(symmetry.tensor("bias")?.moves() && !symmetry.tensor("mask")?.moves());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn moves(&self) -> bool {
        let digits = self.axes.iter().flat_map(|x| &x.occurrences).flat_map(|o| &o.digits);
        digits.into_iter().any(|d| d.group.is_some() && d.len > 1)
    }
}

/// All groups of a network and, for every tensor, what its axes are made of.
///
/// It is the value that everything else asks: which units there are, and where they stand. Two ways lead to it: a text
/// ([`SymmetrySpec`]) or a graph ([`discover`](super::discover)), fitted to tensors by [`Symmetry::resolve`].
///
/// ```
/// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// use onebasin_core::{Params, Tensor};
/// let mut net = Params::new();
/// net.insert("fc1.weight", Tensor::from_f32(&[4, 3], vec![0.0; 12])?);
/// net.insert("fc2.weight", Tensor::from_f32(&[2, 4], vec![0.0; 8])?);
/// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h1 ."), ("fc2.weight", ". h1")])?;
/// let symmetry = Symmetry::resolve(&spec, &net)?;
/// assert_eq!(symmetry.groups()[0].size, 4);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
///
/// With serde it is a map `groups` from names to `size` and `parent` (of a family), and a map `tensors` from names to
/// `pattern` and `shape`. What is read is checked like what is made; nothing in it can make a panic.
///
/// ```
/// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
/// # use onebasin_core::{Params, Tensor};
/// let net = Params::from_iter([("b".to_owned(), Tensor::from_f32(&[4], vec![0.0; 4])?)]);
/// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("b", "h")])?, &net)?;
/// let text = r#"{"groups":{"h":{"size":4}},"tensors":{"b":{"pattern":"h","shape":[4]}}}"#;
/// assert_eq!(serde_json::to_string(&symmetry)?, text);
/// assert_eq!(serde_json::from_str::<Symmetry>(text)?, symmetry);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SavedSymmetry", into = "SavedSymmetry")]
pub struct Symmetry {
    groups: Arc<GroupTable>,
    tensors: BTreeMap<String, TensorLayout>,
    /// The tensors that stacks are made of, by the name of the stack.
    pub(super) stacks: BTreeMap<String, Vec<String>>,
    /// The stack that a tensor is part of, and its place there.
    pub(super) stacked: BTreeMap<String, (String, usize)>,
    spec: SymmetrySpec,
}

impl Symmetry {
    /// Fits `spec` to the tensors of a network: expands templates, infers sizes, checks every axis.
    ///
    /// An axis whose only unknown size is that of one group determines it; sizes found so determine others, until
    /// nothing more follows. A group seen only in slices ends where its last slice ends.
    ///
    /// Cost: linear in the number of axes and in the boxes of their patterns.
    ///
    /// # Errors
    /// [`SymmetryError`]: tensors not covered, names the network lacks, ranks or sizes that contradict each other,
    /// sizes that cannot be inferred, families away from their parent, slices that do not cover their group.
    ///
    /// ```
    /// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// use onebasin_core::{Params, Tensor};
    /// let mut net = Params::new();
    /// net.insert("fc1.weight", Tensor::from_f32(&[4, 3], vec![0.0; 12])?);
    /// net.insert("fc2.weight", Tensor::from_f32(&[2, 5], vec![0.0; 10])?);
    /// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h1 ."), ("fc2.weight", ". h1")])?;
    /// let error = Symmetry::resolve(&spec, &net).unwrap_err();
    /// assert!(error.to_string().ends_with("`h1` is 4, the axis is 5; `h1` = 4 (from `fc1.weight`, axis 0)"));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn resolve(spec: &SymmetrySpec, params: &Params) -> Result<Self, SymmetryError> {
        let spec = spec.expand(params.names())?;
        let patterns = cover(&spec, params)?;
        let parents = parents(&patterns)?;
        let sizes = GroupSizes::infer(&spec, &parents, &patterns)?;
        let members = parents.into_iter().map(|(name, parent)| {
            let size = sizes.known[&name].0;
            (name, (size, parent))
        });
        let mut symmetry = Self::of_groups(GroupTable::new(&members.collect())?);
        for (name, pattern, shape) in patterns {
            let layout = lay_out(name, pattern, &shape, &symmetry.groups, &|| sizes.clone())?;
            if params.get(name).is_none() {
                symmetry.add_stack(name, &layout)?;
            }
            symmetry.spec.tensors.insert(name.to_owned(), pattern.clone());
            symmetry.tensors.insert(name.to_owned(), layout);
        }
        Ok(symmetry)
    }

    /// Groups that stand in no tensor yet.
    pub(super) fn of_groups(groups: GroupTable) -> Self {
        let sizes = groups.list().iter().map(|g| (g.name.clone(), g.size)).collect();
        let spec = SymmetrySpec { sizes, tensors: BTreeMap::new() };
        let (tensors, stacks, stacked) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { groups: Arc::new(groups), tensors, stacks, stacked, spec }
    }

    /// Adds a tensor of known groups.
    pub(super) fn add(&mut self, name: &str, pattern: Pattern, shape: &[usize]) -> Result<(), SymmetryError> {
        let layout = self.laid_out(name, &pattern, shape)?;
        if shape.len() == pattern.axes.len() && stack::members(name).is_some_and(|all| all.len() == shape[0]) {
            self.add_stack(name, &layout)?;
        }
        self.tensors.insert(name.to_owned(), layout);
        self.spec.tensors.insert(name.to_owned(), pattern);
        Ok(())
    }

    /// Adds the tensors of a stack, whose first axis is the units of one group, or stays.
    fn add_stack(&mut self, name: &str, layout: &TensorLayout) -> Result<(), SymmetryError> {
        let first = &layout.pattern.axes[0];
        let moves = match &first.kind {
            TermKind::Group { parent: None, slice: None, .. } | TermKind::Fixed | TermKind::Number(_) => true,
            TermKind::Group { .. }
            | TermKind::Product(_)
            | TermKind::Sum(_)
            | TermKind::Chooser(_)
            | TermKind::Cases(_) => false,
        };
        if !moves {
            let why = format!("its first axis is `{first}`; the tensors of a stack are the units of one group, or `.`");
            return Err(SymmetryError::Stack { stack: name.to_owned(), why });
        }
        let members = stack::members(name).unwrap_or_default();
        for (place, member) in members.iter().enumerate() {
            self.stacked.insert(member.clone(), (name.to_owned(), place));
        }
        self.stacks.insert(name.to_owned(), members);
        Ok(())
    }

    /// All groups: by depth of nesting, then by name, so that a parent precedes its families.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "(b + a + 1)")])?, &net(&[1., 2.])?);
    /// assert!(symmetry.is_err()); // nothing says how many units are a's
    /// let mut spec = SymmetrySpec::from_patterns([("w", "(b + a + 1)")])?;
    /// spec.sizes.insert("a".to_owned(), 2);
    /// let symmetry = Symmetry::resolve(&spec, &net(&[1., 2., 3., 4., 5., 6.])?)?;
    /// assert_eq!(symmetry.groups().iter().map(|g| (&g.name[..], g.size)).collect::<Vec<_>>(), [("a", 2), ("b", 3)]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn groups(&self) -> &[Group] {
        self.groups.list()
    }

    /// The groups, as alignments keep them.
    pub(super) fn shared(&self) -> Arc<GroupTable> {
        Arc::clone(&self.groups)
    }

    /// The group with this index.
    ///
    /// # Panics
    /// If there is no such group.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
    /// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
    /// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
    /// #     Ok(Params::from_iter([first, last]))
    /// # };
    /// let a = net([1., 2., 3., 4.], [5., 6.])?;
    /// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
    /// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
    /// let symmetry = Symmetry::resolve(&spec, &a)?;
    /// assert_eq!(symmetry.group(symmetry.group_named("h")?).name, "h");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn group(&self, id: GroupId) -> &Group {
        self.groups.group(id)
    }

    /// The group called `name`.
    ///
    /// Cost: one look into a map.
    ///
    /// # Errors
    /// [`SymmetryError::NoGroup`] tells the names there are.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// let net = Params::from_iter([("fc1.weight".to_owned(), Tensor::from_f32(&[4, 3], vec![0.0; 12])?)]);
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("fc1.weight", "h1 .")])?, &net)?;
    /// assert_eq!(symmetry.group(symmetry.group_named("h1")?).size, 4);
    /// assert_eq!(symmetry.group_named("h2").unwrap_err().to_string(), "there is no group `h2`; known: h1");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn group_named(&self, name: &str) -> crate::error::Result<GroupId> {
        let known = || self.groups().iter().map(|g| g.name.clone()).collect();
        self.groups.id(name).ok_or_else(|| SymmetryError::NoGroup { group: name.to_owned(), known: known() }.into())
    }

    /// Tensors and their layouts, in order of name; those of a stack as one, under its name.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net(&[1., 2.])?)?;
    /// let patterns = symmetry.tensors().map(|(name, layout)| format!("{name}: {}", layout.pattern));
    /// assert_eq!(patterns.collect::<Vec<_>>(), ["w: h"]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorLayout)> {
        self.tensors.iter().map(|(n, t)| (n.as_str(), t))
    }

    /// The same groups standing only in the tensors that `keep` names, all of those of a stack. Its alignments are alignments of this symmetry: a
    /// match on it looks at those tensors alone.
    ///
    /// Running statistics of BatchNorms are left out this way: they are no weights, and their size would drown them.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
    /// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
    /// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
    /// #     Ok(Params::from_iter([first, last]))
    /// # };
    /// let a = net([1., 2., 3., 4.], [5., 6.])?;
    /// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
    /// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
    /// let symmetry = Symmetry::resolve(&spec, &a)?;
    /// let first = symmetry.restrict(|name| name == "fc1.weight");
    /// assert_eq!((first.tensors().count(), first.groups()), (1, symmetry.groups()));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    #[must_use]
    pub fn restrict(&self, keep: impl Fn(&str) -> bool) -> Self {
        let mut restricted = self.clone();
        let keep = |name: &String| self.members(name).all(&keep);
        restricted.tensors.retain(|name, _| keep(name));
        restricted.spec.tensors.retain(|name, _| keep(name));
        restricted.stacks.retain(|name, _| keep(name));
        restricted.stacked.retain(|_, (name, _)| restricted.stacks.contains_key(name));
        restricted
    }

    /// The same symmetry of a network that has so many rows of one tensor alone, entries of its first axis, which must all stay.
    pub(crate) fn with_rows(&self, name: &str, rows: usize) -> Self {
        let mut cut = self.clone();
        if let Some(layout) = cut.tensors.get_mut(name) {
            layout.axes[0] = AxisLayout::fixed(rows);
            layout.shape[0] = rows;
        }
        cut
    }

    /// The layout of one tensor.
    ///
    /// Cost: one look into a map.
    ///
    /// # Errors
    /// [`SymmetryError::NoTensor`] if the symmetry does not know the tensor.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net(&[1., 2.])?)?;
    /// assert_eq!(symmetry.tensor("w")?.axes[0].len, 2);
    /// assert!(symmetry.tensor("v").is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn tensor(&self, name: &str) -> crate::error::Result<&TensorLayout> {
        self.tensors.get(name).ok_or_else(|| SymmetryError::NoTensor { tensor: name.to_owned() }.into())
    }

    /// The layout of a tensor that is no parameter, such as a value inside the network, from its pattern.
    ///
    /// # Errors
    /// [`SymmetryError`]: groups the symmetry lacks, a rank or a length that does not fit, families on another axis than
    /// their parent, slices that do not cover their group.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// let net = Params::from_iter([("fc1.weight".to_owned(), Tensor::from_f32(&[4, 3], vec![0.0; 12])?)]);
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("fc1.weight", "h1 .")])?, &net)?;
    /// assert_eq!(symmetry.layout("relu1", &". h1".parse()?, &[100, 4])?.axes.len(), 2);
    /// assert!(symmetry.layout("relu1", &". h2".parse()?, &[100, 4]).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn layout(&self, name: &str, pattern: &Pattern, shape: &[usize]) -> Result<TensorLayout, SymmetryError> {
        let layout = self.laid_out(name, pattern, shape)?;
        if let Some(run) = runs(pattern).into_iter().find(|run| run.len() > 1) {
            let why = format!("axes {} to {} of `{name}` ({pattern}) move together", run.start, run.end - 1);
            return Err(group_error(name, why));
        }
        Ok(layout)
    }

    /// The same where axes may move together.
    fn laid_out(&self, name: &str, pattern: &Pattern, shape: &[usize]) -> Result<TensorLayout, SymmetryError> {
        check_rank(name, pattern, shape)?;
        let mut unknown = None;
        for term in &pattern.axes {
            visit_groups(term, &mut |group, parent, _| {
                let known = self.groups.id(group).map(|id| self.group(id));
                if known.is_none_or(|g| self.groups.parent_name(g) != parent) {
                    let why = format!("the symmetry has no group as `{pattern}`, the pattern of `{name}`, has it");
                    unknown.get_or_insert_with(|| group_error(group, why));
                }
            });
        }
        if let Some(error) = unknown {
            return Err(error);
        }
        let known = |g: &Group| (g.name.clone(), (g.size, "in the symmetry".to_owned()));
        let sizes = || GroupSizes { known: self.groups().iter().map(known).collect() };
        lay_out(name, pattern, shape, &self.groups, &sizes)
    }

    /// The text this symmetry is made of: templates expanded, every size given.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// let spec = SymmetrySpec::from_patterns([("w", "h")])?;
    /// let symmetry = Symmetry::resolve(&spec, &net(&[1., 2.])?)?;
    /// assert_eq!(symmetry.spec().sizes["h"], 2);
    /// assert_eq!(symmetry.spec().tensors, spec.tensors);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn spec(&self) -> &SymmetrySpec {
        &self.spec
    }

    /// The chain of groups that index a family, outermost first; empty for a group that is no family.
    ///
    /// ```
    /// use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// use onebasin_core::{Params, Tensor};
    /// let net = Params::from_iter([("q".to_owned(), Tensor::from_f32(&[24], vec![0.; 24])?)]);
    /// let mut spec = SymmetrySpec::from_patterns([("q", "(kv q@kv d@q)")])?;
    /// spec.sizes.extend([("kv".to_owned(), 2), ("q".to_owned(), 3)]);
    /// let symmetry = Symmetry::resolve(&spec, &net)?;
    /// let [kv, q, d] = ["kv", "q", "d"].map(|name| symmetry.group_named(name).expect("it stands in `q`"));
    /// assert_eq!(symmetry.ancestors(d), [kv, q]);
    /// assert_eq!((symmetry.children(kv), symmetry.descendants(kv)), (vec![q], vec![q, d]));
    /// assert_eq!((symmetry.roots(), symmetry.root(d), symmetry.copies(d)), (vec![kv], kv, 6));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn ancestors(&self, id: GroupId) -> Vec<GroupId> {
        self.groups.ancestors(id)
    }

    /// The families directly indexed by a group; see [`ancestors`](Self::ancestors) for an example.
    pub fn children(&self, id: GroupId) -> Vec<GroupId> {
        (0..self.groups().len()).map(GroupId).filter(|g| self.group(*g).parent == Some(id)).collect()
    }

    /// All families below a group, at any depth; see [`ancestors`](Self::ancestors) for an example.
    pub fn descendants(&self, id: GroupId) -> Vec<GroupId> {
        (0..self.groups().len()).map(GroupId).filter(|g| *g != id && self.ancestors(*g).contains(&id)).collect()
    }

    /// Groups that are no family: what matching updates one at a time, each with all families below it.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
    /// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
    /// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
    /// #     Ok(Params::from_iter([first, last]))
    /// # };
    /// let a = net([1., 2., 3., 4.], [5., 6.])?;
    /// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
    /// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
    /// let symmetry = Symmetry::resolve(&spec, &a)?;
    /// assert_eq!(symmetry.roots(), [symmetry.group_named("h")?]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn roots(&self) -> Vec<GroupId> {
        (0..self.groups().len()).map(GroupId).filter(|g| self.group(*g).parent.is_none()).collect()
    }

    /// The outermost group above `id` (itself if it is no family).
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |first: [f32; 4], last: [f32; 2]| -> Result<Params, onebasin_core::Error> {
    /// #     let first = ("fc1.weight".to_owned(), Tensor::from_f32(&[2, 2], first.to_vec())?);
    /// #     let last = ("fc2.weight".to_owned(), Tensor::from_f32(&[1, 2], last.to_vec())?);
    /// #     Ok(Params::from_iter([first, last]))
    /// # };
    /// let a = net([1., 2., 3., 4.], [5., 6.])?;
    /// let b = net([3., 4., 1., 2.], [6., 5.])?; // A with its two hidden units exchanged
    /// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
    /// let symmetry = Symmetry::resolve(&spec, &a)?;
    /// let h = symmetry.group_named("h")?;
    /// assert_eq!((symmetry.root(h), symmetry.children(h)), (h, vec![]));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn root(&self, id: GroupId) -> GroupId {
        self.ancestors(id).first().copied().unwrap_or(id)
    }

    /// Number of independent copies of a group: the product of its ancestors' sizes, 1 for a root; see
    /// [`ancestors`](Self::ancestors) for an example.
    pub fn copies(&self, id: GroupId) -> usize {
        self.groups.copies(id)
    }
}

/// The layout of a tensor whose groups are all known; `sizes` tells where their sizes come from, for an error.
fn lay_out(
    name: &str,
    pattern: &Pattern,
    shape: &[usize],
    groups: &GroupTable,
    sizes: &dyn Fn() -> GroupSizes,
) -> Result<TensorLayout, SymmetryError> {
    let of = |group: &str| {
        let id = groups.id(group).expect("every group of the pattern is known");
        (id, groups.group(id).size)
    };
    check_choices(name, pattern, &of)?;
    for (axis, (term, &len)) in pattern.axes.iter().zip(shape).enumerate() {
        let (extent, _) = expand(term, len, &of);
        if extent != len {
            return Err(sizes().mismatch(name, axis, pattern, extent, len));
        }
    }
    let mut axes = Vec::new();
    for run in runs(pattern) {
        let axis = run.start;
        let (term, len) = whole(pattern, shape, run);
        one_slice(&term, name, pattern)?;
        let (_, pieces) = expand(&term, len, &of);
        let layout = join_slices(len, pieces)
            .map_err(|(g, why)| group_error(&groups.group(g).name, format!("in `{name}`, axis {axis}: {why}")))?;
        check_families(&layout, groups, name, axis)?;
        axes.push(layout);
    }
    Ok(TensorLayout { pattern: pattern.clone(), shape: shape.to_vec(), axes })
}

fn check_rank(name: &str, pattern: &Pattern, shape: &[usize]) -> Result<(), SymmetryError> {
    if pattern.axes.len() == shape.len() {
        return Ok(());
    }
    Err(SymmetryError::Rank {
        tensor: name.to_owned(),
        pattern: pattern.to_string(),
        expected: pattern.axes.len(),
        found: shape.len(),
        shape: shape.to_vec(),
    })
}

fn cover<'a>(spec: &'a SymmetrySpec, params: &'a Params) -> Result<Coverage<'a>, SymmetryError> {
    let stacks = spec.tensors.keys().filter(|name| params.get(name).is_none());
    let stacks: BTreeMap<&str, Vec<String>> =
        stacks.filter_map(|name| Some((name.as_str(), stack::members(name)?))).collect();
    let wanted = spec.tensors.keys().filter(|name| !stacks.contains_key(name.as_str()));
    let unknown: Vec<_> = wanted
        .chain(stacks.values().flatten())
        .filter(|name| params.get(name).is_none())
        .map(|name| (name.clone(), nearest(name, params.names()).map(str::to_owned)))
        .collect();
    if !unknown.is_empty() {
        return Err(SymmetryError::UnknownTensors { tensors: unknown });
    }
    let mut stacked: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, member) in stacks.iter().flat_map(|(name, members)| members.iter().map(move |m| (*name, m.as_str()))) {
        let other = if spec.tensors.contains_key(member) { Some(member) } else { stacked.insert(member, name) };
        if let Some(other) = other {
            return Err(SymmetryError::Templates {
                tensor: member.to_owned(),
                templates: [other.to_owned(), name.to_owned()],
            });
        }
    }
    let known = |name: &&str| spec.tensors.contains_key(*name) || stacked.contains_key(*name);
    let uncovered: Vec<_> = params.names().filter(|n| !known(n)).map(str::to_owned).collect();
    if !uncovered.is_empty() {
        return Err(SymmetryError::Uncovered { tensors: uncovered });
    }
    let mut covered = Vec::new();
    for (name, pattern) in &spec.tensors {
        let shape = match stacks.get(name.as_str()) {
            None => params.get(name).map_or_else(Vec::new, |tensor| tensor.shape().to_vec()),
            Some(members) => stack_shape(name, members, params)?,
        };
        check_rank(name, pattern, &shape)?;
        covered.push((name.as_str(), pattern, shape));
    }
    Ok(covered)
}

/// The shape of a stack: the number of its tensors, and what they all have.
fn stack_shape(name: &str, members: &[String], params: &Params) -> Result<Vec<usize>, SymmetryError> {
    let tensors: Vec<_> = members.iter().filter_map(|member| params.get(member)).collect();
    for (member, tensor) in members.iter().zip(&tensors) {
        if (tensor.shape(), tensor.dtype()) != (tensors[0].shape(), tensors[0].dtype()) {
            let of = |tensor: &crate::Tensor| format!("{} of shape {:?}", tensor.dtype(), tensor.shape());
            let why = format!(
                "`{}` is {}, `{member}` {}; the tensors of a stack are of one type and shape",
                members[0],
                of(tensors[0]),
                of(tensor)
            );
            return Err(SymmetryError::Stack { stack: name.to_owned(), why });
        }
    }
    Ok([&[members.len()], tensors[0].shape()].concat())
}

fn parents(patterns: &Coverage<'_>) -> Result<BTreeMap<String, Option<String>>, SymmetryError> {
    let mut parents: BTreeMap<String, (Option<String>, String)> = BTreeMap::new();
    let mut conflict = None;
    for (tensor, pattern, _) in patterns {
        for term in &pattern.axes {
            visit_groups(term, &mut |name, parent, _| {
                let written = parent.map(str::to_owned);
                let (first, place) = parents.entry(name.to_owned()).or_insert((written.clone(), (*tensor).to_owned()));
                if *first != written {
                    let form = |p: &Option<String>| p.as_ref().map_or(name.to_owned(), |p| format!("{name}@{p}"));
                    let why = format!("written `{}` in `{place}` but `{}` in `{tensor}`", form(first), form(&written));
                    conflict.get_or_insert(group_error(name, why));
                }
            });
        }
    }
    if let Some(error) = conflict {
        return Err(error);
    }
    for (name, (parent, place)) in &parents {
        if let Some(parent) = parent
            && !parents.contains_key(parent)
        {
            return Err(group_error(name, format!("`{name}@{parent}` in `{place}`: there is no group `{parent}`")));
        }
    }
    Ok(parents.into_iter().map(|(name, (parent, _))| (name, parent)).collect())
}

/// Refuses a product in which two factors are slices: which entries belong together would be ambiguous.
fn one_slice(term: &Term, tensor: &str, pattern: &Pattern) -> Result<usize, SymmetryError> {
    let slices = |terms: &[Term]| terms.iter().map(|t| one_slice(t, tensor, pattern)).collect::<Result<Vec<_>, _>>();
    match &term.kind {
        TermKind::Group { slice, .. } => Ok(usize::from(slice.is_some())),
        TermKind::Sum(parts) | TermKind::Cases(parts) => Ok(slices(parts)?.into_iter().max().unwrap_or(0)),
        TermKind::Product(factors) => {
            let sum = slices(factors)?.into_iter().sum();
            if sum > 1 {
                return Err(SymmetryError::Pattern {
                    tensor: Some(tensor.to_owned()),
                    pattern: pattern.to_string(),
                    column: term.column,
                    why: "at most one factor of a product may be a slice".to_owned(),
                });
            }
            Ok(sum)
        }
        TermKind::Fixed | TermKind::Number(_) | TermKind::Chooser(_) => Ok(0),
    }
}

/// Every family must stand in one product with its parent, once.
fn check_families(layout: &AxisLayout, groups: &GroupTable, tensor: &str, axis: usize) -> Result<(), SymmetryError> {
    for occurrence in &layout.occurrences {
        let present: Vec<GroupId> = occurrence.digits.iter().filter_map(|d| d.group).collect();
        for id in &present {
            let group = groups.group(*id);
            let Some(parent) = group.parent else { continue };
            let count = |g: GroupId| present.iter().filter(|p| **p == g).count();
            if count(parent) != 1 || count(*id) != 1 {
                let parent = &groups.group(parent).name;
                let why = format!(
                    "in `{tensor}`, axis {axis}: `{}@{parent}` must stand once, in one product with `{parent}`, which must stand there once",
                    group.name
                );
                return Err(group_error(&group.name, why));
            }
        }
    }
    Ok(())
}
