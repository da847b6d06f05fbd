//! What a pickle of torch says, as a tree of tensors.

use std::collections::HashSet;

use super::pickle::{Call, Id, Pickle, Value};
use super::tensor::TensorPlan;
use crate::parts::{Branch, BranchKind, Tree};

/// Nested values are looked into by recursion.
const MAX_DEPTH: usize = 256;
/// How often a value may be met, on average, since it is shared.
const MAX_SHARED: usize = 8;

/// A tree of whatever holds tensors in a pickle.
pub(super) struct TorchTree<'p, 'a> {
    pickle: &'p Pickle<'a>,
    /// By value, whether tensors lie in it.
    holds: Vec<bool>,
    /// By value, whether it is being looked into: what holds itself is not met again.
    entered: Vec<bool>,
    visits: usize,
}

/// What a value is for this reader.
enum Node<'p> {
    /// A tensor, or why it cannot be used.
    Tensor(Result<TensorPlan, String>),
    Map(Vec<(Id, Id)>),
    List(&'p [Id]),
    /// Parameters, buffers that are saved, and submodules.
    Module {
        tensors: Vec<(Id, Id)>,
        modules: Vec<(Id, Id)>,
        passing: Vec<Id>,
    },
    Object {
        class: String,
        state: Vec<(Id, Id)>,
    },
    Nothing,
}

impl<'p, 'a> TorchTree<'p, 'a> {
    /// The tree, or nothing if there are no tensors.
    ///
    /// # Errors
    /// If values are shared so often that their places cannot be counted.
    pub(super) fn of(pickle: &'p Pickle<'a>) -> Result<Option<Tree<TensorPlan>>, String> {
        let mut tree = Self { pickle, holds: Vec::new(), entered: vec![false; pickle.values.len()], visits: 0 };
        tree.mark();
        tree.build(pickle.root, 0)
    }

    /// Whether the pickle is nested deeper than is looked into.
    pub(super) fn is_deep(pickle: &Pickle<'_>) -> bool {
        let (mut level, mut seen) = (vec![pickle.root], HashSet::new());
        for _ in 0..MAX_DEPTH {
            level = level.iter().flat_map(|id| children(pickle.get(*id))).filter(|id| seen.insert(*id)).collect();
        }
        !level.is_empty()
    }

    /// Finds what holds tensors: every value is looked at once, those it holds before itself.
    fn mark(&mut self) {
        let count = self.pickle.values.len();
        self.holds = vec![false; count];
        let mut seen = vec![false; count];
        let mut path = vec![(self.pickle.root, false)];
        while let Some((id, done)) = path.pop() {
            let at = id as usize;
            let value = self.pickle.get(id);
            if done {
                self.holds[at] = children(value).any(|child| self.holds[child as usize]);
            } else if !std::mem::replace(&mut seen[at], true) {
                self.holds[at] = match value {
                    Value::Call(call) => TensorPlan::is_tensor(self.pickle, call),
                    Value::Kept(key) => self.pickle.kept_tensor(*key).is_some(),
                    _ => false,
                };
                if self.holds[at] {
                    continue;
                }
                path.push((id, true));
                path.extend(children(value).filter(|child| !seen[*child as usize]).map(|child| (child, false)));
            }
        }
    }

    fn build(&mut self, id: Id, depth: usize) -> Result<Option<Tree<TensorPlan>>, String> {
        if !self.holds[id as usize] || depth > MAX_DEPTH || std::mem::replace(&mut self.entered[id as usize], true) {
            return Ok(None);
        }
        let built = self.build_new(id, depth);
        self.entered[id as usize] = false;
        built
    }

    fn build_new(&mut self, id: Id, depth: usize) -> Result<Option<Tree<TensorPlan>>, String> {
        self.visits += 1;
        if self.visits > MAX_SHARED * self.pickle.values.len() {
            return Err("its values are shared over and over".to_owned());
        }
        let map = |kind, entries| Branch { kind, entries, settings: false };
        let mut branch = match self.node(id) {
            Node::Tensor(Ok(tensor)) => return Ok(Some(Tree::Tensor(tensor))),
            Node::Tensor(Err(why)) => return Ok(Some(Tree::Unusable(why))),
            Node::Nothing => return Ok(None),
            Node::List(items) => {
                let mut branch = map(BranchKind::List, Vec::new());
                for (at, item) in items.iter().enumerate() {
                    self.add(&mut branch, Some(at.to_string()), *item, depth)?;
                }
                branch
            }
            Node::Map(entries) => {
                let optimizer = entries.iter().any(|(key, _)| self.pickle.text(*key) == Some("param_groups"));
                let kind = if optimizer { BranchKind::Optimizer } else { BranchKind::Map };
                self.branch(kind, &entries, depth)?
            }
            Node::Object { class, state } => self.branch(BranchKind::Object(class), &state, depth)?,
            Node::Module { tensors, modules, passing } => {
                let kept: Vec<(Id, Id)> = tensors.into_iter().filter(|(key, _)| !passing.contains(key)).collect();
                let mut branch = self.branch(BranchKind::Module, &kept, depth)?;
                let inner = self.branch(BranchKind::Module, &modules, depth)?;
                branch.entries.extend(inner.entries);
                branch.settings = false;
                branch
            }
        };
        if depth == 0
            && let BranchKind::Object(_) = branch.kind
        {
            branch.kind = BranchKind::Map;
        }
        Ok(Some(Tree::Map(branch)).filter(|tree| !matches!(tree, Tree::Map(branch) if branch.entries.is_empty())))
    }

    fn branch(&mut self, kind: BranchKind, entries: &[(Id, Id)], depth: usize) -> Result<Branch<TensorPlan>, String> {
        let mut branch = Branch { kind, entries: Vec::new(), settings: false };
        for (key, value) in entries {
            let key = match self.pickle.get(*key) {
                Value::Text(text) => Some((*text).to_owned()),
                Value::Int(number) => Some(number.to_string()),
                _ => None,
            };
            self.add(&mut branch, key, *value, depth)?;
        }
        Ok(branch)
    }

    fn add(
        &mut self,
        branch: &mut Branch<TensorPlan>,
        key: Option<String>,
        value: Id,
        depth: usize,
    ) -> Result<(), String> {
        let found = self.build(value, depth + 1)?;
        match (key, found) {
            (Some(key), Some(tree)) => branch.entries.push((key, tree)),
            (None, Some(_)) => branch.settings = true,
            (_, None) => branch.settings |= !self.is_hollow(value),
        }
        Ok(())
    }

    /// Whether a value without tensors says nothing: an empty map, or an object that nothing is known of.
    fn is_hollow(&self, id: Id) -> bool {
        match self.pickle.get(id) {
            Value::Dict(entries) => entries.is_empty(),
            Value::Call(call) => call.entries.is_empty(),
            _ => false,
        }
    }

    fn node(&self, id: Id) -> Node<'p> {
        let pickle = self.pickle;
        let call = match pickle.get(id) {
            Value::List(items) | Value::Tuple(items) => return Node::List(items),
            Value::Dict(entries) => return Node::Map(entries.clone()),
            Value::Call(call) => call,
            Value::Kept(key) => return pickle.kept_tensor(*key).map_or(Node::Nothing, |t| Node::Tensor(Ok(t.clone()))),
            Value::Other | Value::Int(_) | Value::Text(_) | Value::Bytes(_) | Value::Name(..) => return Node::Nothing,
        };
        if TensorPlan::is_tensor(pickle, call) {
            return Node::Tensor(TensorPlan::of(pickle, call));
        }
        let Some((module, name)) = class(pickle, call) else { return Node::Nothing };
        let state = call.state.map(|state| entries_of(pickle, state)).unwrap_or_default();
        let field = |name: &str| state.iter().find(|(key, _)| pickle.text(*key) == Some(name)).map(|(_, value)| *value);
        if let (Some(parameters), Some(modules)) = (field("_parameters"), field("_modules")) {
            let mut tensors = entries_of(pickle, parameters);
            tensors.extend(field("_buffers").map(|buffers| entries_of(pickle, buffers)).unwrap_or_default());
            let passing = field("_non_persistent_buffers_set").map(|set| names_of(pickle, set)).unwrap_or_default();
            let same = |key: &Id| passing.iter().any(|name| pickle.text(*key) == Some(name));
            let passing = tensors.iter().map(|(key, _)| *key).filter(same).collect();
            return Node::Module { tensors, modules: entries_of(pickle, modules), passing };
        }
        if module.starts_with("__torch__") {
            return Node::Module { tensors: state, modules: Vec::new(), passing: Vec::new() };
        }
        if !call.items.is_empty() {
            return Node::List(&call.items);
        }
        if module == "collections" || !call.entries.is_empty() {
            return Node::Map(entries_of(pickle, id));
        }
        Node::Object { class: format!("{module}.{name}"), state }
    }
}

/// The class that a call makes an object of.
fn class<'a>(pickle: &Pickle<'a>, call: &Call) -> Option<(&'a str, &'a str)> {
    match class_name(pickle, call.callee)? {
        ("copy_reg" | "copyreg", "_reconstructor") => class_name(pickle, *pickle.items(call.arguments)?.first()?),
        name => Some(name),
    }
}

/// A class by its name, or as the format before zip archives keeps it: `("module", class, file, source)`.
fn class_name<'a>(pickle: &Pickle<'a>, id: Id) -> Option<(&'a str, &'a str)> {
    let Value::Kept(key) = pickle.get(id) else { return pickle.name(id) };
    let [tag, class, ..] = pickle.items(*key)? else { return None };
    (pickle.text(*tag)? == "module").then(|| pickle.name(*class))?
}

/// The entries of a dictionary, however it is made, or of a state that has one.
fn entries_of(pickle: &Pickle<'_>, id: Id) -> Vec<(Id, Id)> {
    match pickle.get(id) {
        Value::Dict(entries) => entries.clone(),
        // The state of an object with slots: (dictionary, slots).
        Value::Tuple(items) => items
            .first()
            .map(|first| match pickle.get(*first) {
                Value::Dict(entries) => entries.clone(),
                _ => Vec::new(),
            })
            .unwrap_or_default(),
        Value::Call(call) => {
            // Python 2 hands ordered dictionaries their entries as one list of pairs.
            let pair = |id: &Id| match pickle.items(*id)? {
                [key, value] => Some((*key, *value)),
                _ => None,
            };
            let list = pickle.items(call.arguments).and_then(|arguments| pickle.items(*arguments.last()?));
            let given = list.map(|list| list.iter().filter_map(pair).collect::<Vec<_>>()).unwrap_or_default();
            given.into_iter().chain(call.entries.iter().copied()).collect()
        }
        _ => Vec::new(),
    }
}

/// The texts of a set, whether it is made by an opcode or by a call with a list.
fn names_of<'a>(pickle: &Pickle<'a>, id: Id) -> Vec<&'a str> {
    let list = match pickle.get(id) {
        Value::Call(call) => pickle.items(call.arguments).and_then(|arguments| pickle.items(*arguments.first()?)),
        _ => pickle.items(id),
    };
    list.map(|list| list.iter().filter_map(|id| pickle.text(*id)).collect()).unwrap_or_default()
}

/// The values that a value holds.
fn children(value: &Value<'_>) -> impl Iterator<Item = Id> {
    let (items, entries, call): (&[Id], &[(Id, Id)], Option<&Call>) = match value {
        Value::List(items) | Value::Tuple(items) => (items, &[], None),
        Value::Dict(entries) => (&[], entries, None),
        Value::Call(call) => (&call.items, &call.entries, Some(call)),
        Value::Other | Value::Int(_) | Value::Text(_) | Value::Bytes(_) | Value::Name(..) | Value::Kept(_) => {
            (&[], &[], None)
        }
    };
    let call = call.into_iter().flat_map(|call| [Some(call.arguments), call.state].into_iter().flatten());
    items.iter().copied().chain(entries.iter().map(|(_, value)| *value)).chain(call)
}
