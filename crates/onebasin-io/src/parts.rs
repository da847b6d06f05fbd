//! Which of the things that a training run saves is the network.
//!
//! A file of nested maps is a tree of whatever holds tensors. Maps that could be a network are *parts*, named by their path;
//! what belongs to the training (optimizers and their moments, callbacks, loops) is none.

use std::path::Path;

use crate::error::Error;

/// Nested maps of tensors; what holds none is left out.
#[derive(Debug)]
pub(crate) enum Tree<T> {
    Tensor(T),
    /// A tensor that cannot be used, and why.
    Unusable(String),
    Map(Branch<T>),
}

/// What a map holds.
#[derive(Debug)]
pub(crate) struct Branch<T> {
    pub(crate) kind: BranchKind,
    pub(crate) entries: Vec<(String, Tree<T>)>,
    /// Whether it holds numbers, texts or anything else that is no tensor, as training runs do and networks do not.
    pub(crate) settings: bool,
}

/// What a map is in the program that saved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BranchKind {
    /// A dictionary.
    Map,
    /// A list, whose entries have numbers for names.
    List,
    /// A module with its submodules: a network whatever it is called.
    Module,
    /// The state of an optimizer.
    Optimizer,
    /// An object of this class.
    Object(String),
}

/// Entries that hold nothing but the network.
const STATE_DICTS: [&str; 5] =
    ["state_dict", "model_state_dict", "model_state", "network_state_dict", "net_state_dict"];
/// Entries that hold the network, or are a part of it.
const NETWORKS: [&str; 8] = ["model", "net", "network", "module", "models", "nets", "networks", "policy"];
/// Entries that hold the network, unless something else beside them is of it too, as running statistics are.
const WEIGHTS: [&str; 3] = ["weights", "params", "parameters"];
/// Networks that are trained side by side, none of which is the network.
const COMPANIONS: [&str; 16] = [
    "generator",
    "discriminator",
    "gen",
    "disc",
    "g",
    "d",
    "netg",
    "netd",
    "student",
    "teacher",
    "actor",
    "critic",
    "online",
    "target",
    "q_net",
    "q_target",
];
/// What stands behind such names.
const ENDS: [&str; 5] = ["_state_dict", "_state", "_weights", "_model", "_network"];
/// Words in names of averages of a network over its training.
const AVERAGES: [&str; 5] = ["ema", "swa", "avg", "averaged", "shadow"];
/// Words in names of what belongs to the training.
const TRAINING: [&str; 11] = [
    "optim",
    "optimizer",
    "optimizers",
    "optimiser",
    "optimisers",
    "opt",
    "adam",
    "adamw",
    "sgd",
    "scheduler",
    "schedulers",
];
/// Words in such names that could be those of layers too, if nothing else spoke of a training.
const PERHAPS_TRAINING: [&str; 14] = [
    "sched",
    "callback",
    "callbacks",
    "loop",
    "loops",
    "hub",
    "scaler",
    "amp",
    "rng",
    "metrics",
    "meters",
    "history",
    "sampler",
    "hyper",
];

/// The network's tensors, and what else there was.
#[derive(Debug)]
pub(crate) struct Taken<T> {
    /// Where they lie; none if that is the whole file.
    pub(crate) part: Option<String>,
    /// Every part that could have been taken, in the order of the file.
    pub(crate) parts: Vec<String>,
    pub(crate) tensors: Vec<(String, T)>,
    /// Names that were passed over, and why.
    pub(crate) passed_over: Vec<(String, String)>,
}

/// How names of a format are made of nested keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naming {
    /// What stands between them.
    pub(crate) separator: char,
    /// Whether names begin at the root of the file; in the part otherwise.
    pub(crate) from_root: bool,
}

/// The tensors of the part that is asked for, or of the one that is the network.
///
/// # Errors
/// [`Error::NoPart`] if there is none of that name, [`Error::SeveralParts`] if none is asked for and several are equally
/// plausible, both as [`Untaken::Error`]; [`Untaken::Why`] where names are absurdly long.
pub(crate) fn take<T>(path: &Path, root: Branch<T>, naming: Naming, asked: Option<&str>) -> Result<Taken<T>, Untaken> {
    let mut parts = Vec::new();
    root.list("", naming, &mut parts);
    let several = |parts| Untaken::Error(Error::SeveralParts { path: path.to_owned(), parts });
    let missing = |asked: &str, parts: &[String]| {
        Untaken::Error(Error::NoPart { path: path.to_owned(), part: asked.to_owned(), parts: parts.to_vec() })
    };
    let (place, branch) = match asked {
        None => {
            let hidden = root.entries.iter().all(|(name, tree)| root.is_training(name, tree) || is_object(tree));
            if hidden && let [only] = &parts[..] {
                let only = only.clone();
                root.descend(String::new(), &only, naming).ok_or_else(|| missing(&only, &parts))?
            } else if hidden && !parts.is_empty() {
                return Err(several(parts));
            } else {
                root.network(String::new(), naming).map_err(several)?
            }
        }
        Some(asked) => {
            let (place, branch) = root.descend(String::new(), asked, naming).ok_or_else(|| missing(asked, &parts))?;
            branch.network(place, naming).map_err(several)?
        }
    };
    let part = Some(place.clone()).filter(|place| !place.is_empty());
    let mut taken = Taken { part, parts, tensors: Vec::new(), passed_over: Vec::new() };
    let prefix = if naming.from_root { place } else { String::new() };
    let averages = branch.candidates().any(|(name, _)| !is_average(name));
    let mut collector = Collector { naming, room: 64 << 20, averages, taken: &mut taken };
    collector.branch(branch, &prefix, true).map_err(Untaken::Why)?;
    Ok(taken)
}

/// Why nothing was taken.
#[derive(Debug)]
pub(crate) enum Untaken {
    Error(Error),
    /// What is wrong with the file.
    Why(String),
}

impl<T> Branch<T> {
    /// Adds a map, unless it is empty; what was in it then counts as settings.
    pub(crate) fn add(&mut self, key: String, branch: Self) {
        if branch.entries.is_empty() {
            self.settings |= branch.settings;
        } else {
            self.entries.push((key, Tree::Map(branch)));
        }
    }

    /// Maps in it that could be networks or parts of one.
    fn candidates(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.entries.iter().filter_map(|(name, tree)| match tree {
            Tree::Map(branch) if !self.is_training(name, tree) && !is_object(tree) && branch.is_usable() => {
                Some((name.as_str(), branch))
            }
            _ => None,
        })
    }

    /// Whether an entry belongs to the training.
    fn is_training(&self, name: &str, tree: &Tree<T>) -> bool {
        let Tree::Map(branch) = tree else { return false };
        let listed = |list: &[&str]| words(name).any(|word| list.contains(&word.as_str()));
        match (&self.kind, &branch.kind) {
            (BranchKind::Module, _) | (_, BranchKind::Module) => false,
            (_, BranchKind::Optimizer) => true,
            (_, BranchKind::Map | BranchKind::List | BranchKind::Object(_)) => {
                listed(&TRAINING) || (listed(&PERHAPS_TRAINING) && (self.settings || branch.has_settings()))
            }
        }
    }

    fn has_tensors(&self) -> bool {
        self.entries.iter().any(|(_, tree)| !matches!(tree, Tree::Map(_)))
    }

    /// Whether anything but `key` holds what a network does not.
    fn has_settings_beside(&self, key: &str) -> bool {
        let other = |(name, tree): &(String, Tree<T>)| {
            self.is_training(name, tree) || matches!(tree, Tree::Map(branch) if branch.has_settings())
        };
        self.settings || self.entries.iter().filter(|(name, _)| name != key).any(other)
    }

    fn has_settings(&self) -> bool {
        self.settings || self.entries.iter().any(|(_, t)| matches!(t, Tree::Map(branch) if branch.has_settings()))
    }

    /// The path of every part.
    fn list(&self, path: &str, naming: Naming, parts: &mut Vec<String>) {
        for (name, tree) in &self.entries {
            let Tree::Map(branch) = tree else { continue };
            let path = join(path, name, naming);
            let inner = branch.candidates().any(|(name, inner)| is_known(name) || inner.kind == BranchKind::Module);
            if self.is_training(name, tree) || !branch.is_usable() {
                continue;
            }
            let object = matches!(branch.kind, BranchKind::Object(_));
            if object || (inner && !branch.is_network() && !WEIGHTS.contains(&name.as_str())) {
                branch.list(&path, naming, parts);
            } else if !matches!(self.kind, BranchKind::Object(_)) || is_known(name) || branch.kind == BranchKind::Module
            {
                parts.push(path);
            }
        }
    }

    /// Whether a tensor that can be used lies in it.
    fn is_usable(&self) -> bool {
        self.entries.iter().any(|(_, tree)| match tree {
            Tree::Tensor(_) => true,
            Tree::Unusable(_) => false,
            Tree::Map(branch) => branch.is_usable(),
        })
    }

    /// Whether it is one network, whatever is in it.
    fn is_network(&self) -> bool {
        self.kind == BranchKind::Module || self.has_tensors()
    }

    /// The branch at a path, and the path as the file has it.
    fn descend(self, place: String, path: &str, naming: Naming) -> Option<(String, Self)> {
        if path.is_empty() {
            return Some((place, self));
        }
        let rest = |name: &str| {
            let rest = path.strip_prefix(name)?;
            if rest.is_empty() { Some(rest) } else { rest.strip_prefix(naming.separator) }
        };
        // Names may hold the separator themselves.
        for (name, tree) in self.entries {
            if let (Some(rest), Tree::Map(branch)) = (rest(&name), tree)
                && let Some(found) = branch.descend(join(&place, &name, naming), rest, naming)
            {
                return Some(found);
            }
        }
        None
    }

    /// The network in it, and its path; the paths of several that are equally plausible otherwise.
    fn network(mut self, place: String, naming: Naming) -> Result<(String, Self), Vec<String>> {
        if self.kind == BranchKind::Module {
            return Ok((place, self));
        }
        let Some(choice) =
            self.choice().map_err(|names| names.iter().map(|n| join(&place, n, naming)).collect::<Vec<_>>())?
        else {
            return Ok((place, self));
        };
        let (name, tree) = self.entries.swap_remove(choice);
        let Tree::Map(branch) = tree else { return Ok((place, self)) };
        let place = join(&place, &name, naming);
        if WEIGHTS.contains(&name.as_str()) { Ok((place, branch)) } else { branch.network(place, naming) }
    }

    /// Which entry is the network; none if all of it is.
    fn choice(&self) -> Result<Option<usize>, Vec<String>> {
        let at = |name: &str| self.entries.iter().position(|(found, _)| found == name);
        let candidates: Vec<&str> = self.candidates().map(|(name, _)| name).collect();
        if let Some(name) = STATE_DICTS.iter().find(|name| candidates.contains(name)) {
            return Ok(at(name));
        }
        let others_known = |key: &str| candidates.iter().all(|name| *name == key || is_known(name));
        for (name, alone) in NETWORKS.iter().map(|n| (n, false)).chain(WEIGHTS.iter().map(|n| (n, true))) {
            let training = self.has_settings_beside(name)
                || self.entries.len() == 1
                || (!self.has_tensors() && others_known(name));
            if candidates.contains(name) && training && (!alone || others_known(name)) {
                return Ok(at(name));
            }
        }
        if self.has_tensors() {
            return Ok(None);
        }
        let whole = |branch: &Self| {
            let inner = |(name, tree): &(String, Tree<T>)| match tree {
                Tree::Tensor(_) | Tree::Unusable(_) => name.contains('.'),
                Tree::Map(_) => STATE_DICTS.contains(&name.as_str()) || WEIGHTS.contains(&name.as_str()),
            };
            branch.kind == BranchKind::Module || branch.entries.iter().any(inner)
        };
        let list = self.kind == BranchKind::List;
        let companion = |name: &str| list || is_companion(name);
        let companions = self.candidates().filter(|(name, branch)| companion(name) && (self.settings || whole(branch)));
        let companions: Vec<&str> = companions.map(|(name, _)| name).collect();
        let main = candidates.iter().filter(|name| !is_average(name)).count();
        match companions[..] {
            [only] if main == 1 => Ok(at(only)),
            [] | [_] if main == 0 && candidates.len() == 1 => Ok(at(candidates[0])),
            [] | [_] => Ok(None),
            _ => Err(companions.iter().map(|&name| name.to_owned()).collect()),
        }
    }
}

/// Puts tensors under their names.
struct Collector<'a, T> {
    naming: Naming,
    /// Bytes of names that are still believed.
    room: usize,
    /// Whether averages at the top are passed over, since what they are averages of is there.
    averages: bool,
    taken: &'a mut Taken<T>,
}

impl<T> Collector<'_, T> {
    fn branch(&mut self, branch: Branch<T>, prefix: &str, top: bool) -> Result<(), String> {
        let training: Vec<bool> = branch
            .entries
            .iter()
            .map(
                |(name, tree)| {
                    if top { branch.is_training(name, tree) } else { is_of_kind(tree, &BranchKind::Optimizer) }
                },
            )
            .collect();
        for ((name, tree), training) in branch.entries.into_iter().zip(training) {
            self.room = self
                .room
                .checked_sub(prefix.len() + name.len() + 1)
                .ok_or("its names are too long to be those of tensors")?;
            let path = join(prefix, &name, self.naming);
            let passed_over = match tree {
                Tree::Tensor(tensor) => {
                    self.taken.tensors.push((path, tensor));
                    continue;
                }
                Tree::Unusable(why) => why,
                Tree::Map(_) if training => "belongs to the training, not to the network".to_owned(),
                Tree::Map(_) if top && self.averages && is_average(&name) => {
                    "an average of the network beside it".to_owned()
                }
                Tree::Map(Branch { kind: BranchKind::Object(class), .. }) => {
                    format!("belongs to an object of class {class}, which is no network")
                }
                Tree::Map(inner) => {
                    self.branch(inner, &path, false)?;
                    continue;
                }
            };
            self.taken.passed_over.push((path, passed_over));
        }
        Ok(())
    }
}

fn join(path: &str, name: &str, naming: Naming) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}{}{name}", naming.separator) }
}

/// Words of a name: of `lastOptimizer_state`, last, optimizer and state.
fn words(name: &str) -> impl Iterator<Item = String> {
    let parts = name.split(|c: char| !c.is_ascii_alphanumeric());
    parts.filter(|word| !word.is_empty()).flat_map(|part| {
        let starts = part.char_indices().filter(|(at, c)| {
            *at > 0 && c.is_ascii_uppercase() && part[..*at].ends_with(|before: char| before.is_ascii_lowercase())
        });
        let mut cuts: Vec<usize> = std::iter::once(0).chain(starts.map(|(at, _)| at)).collect();
        cuts.push(part.len());
        cuts.windows(2).map(|cut| part[cut[0]..cut[1]].to_ascii_lowercase()).collect::<Vec<_>>()
    })
}

fn is_average(name: &str) -> bool {
    words(name).any(|word| AVERAGES.contains(&word.as_str()))
}

fn is_companion(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let end = ENDS.iter().find_map(|end| lower.strip_suffix(end));
    COMPANIONS.contains(&end.unwrap_or(&lower)) || lower.ends_with("_state_dict") && !is_average(name)
}

fn is_known(name: &str) -> bool {
    let listed = STATE_DICTS.contains(&name) || NETWORKS.contains(&name) || WEIGHTS.contains(&name);
    listed || is_companion(name) || is_average(name)
}

fn is_of_kind<T>(tree: &Tree<T>, kind: &BranchKind) -> bool {
    matches!(tree, Tree::Map(branch) if branch.kind == *kind)
}

fn is_object<T>(tree: &Tree<T>) -> bool {
    matches!(tree, Tree::Map(Branch { kind: BranchKind::Object(_), .. }))
}
