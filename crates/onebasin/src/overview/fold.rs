//! Layers that repeat, told once.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::order::pieces;
use super::{Overview, SeenLayer};

/// Most layers in what repeats.
const LONGEST: usize = 128;
/// A repetition saves at least so many layers.
const SAVED: usize = 2;

/// The layers of an [`Overview`], those that repeat told once.
///
/// Neighbouring layers repeat if operators, types, shapes, patterns and reasons are the same, names are the same but for their
/// numbers, and every group is either one in all repetitions (a residual stream) or another one in each (hidden units). The
/// groups that stand in the same place of each are of one kind. Where names count, all layers of a repetition begin with the
/// same number.
///
/// Cost: near linear in the number of layers, for repetitions of at most 128 layers.
///
/// ```
/// use onebasin::{Model, Network, Overview};
/// let network = Network::new("resnet20-a", &[3, 32, 32], 10)?;
/// let seen = Overview::of(&Model::of(&network, network.init(0)?)?)?;
/// let folded = seen.folded();
/// let run = folded.runs.iter().find(|run| run.times > 1).expect("a stage of equal blocks");
/// assert_eq!(run.layers[0].name, "layer1.{0..2}.conv1");
/// assert_eq!((&folded.kinds[1].name[..], folded.kinds[1].groups.len()), ("layer1.{0..2}.conv1", 3));
/// # Ok::<(), onebasin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// Runs of layers; together they are all layers, in order.
    pub runs: Vec<Run>,
    /// Kinds of groups, in the order in which layers show them.
    pub kinds: Vec<Kind>,
    /// The kind of every group.
    pub kind_of: Vec<usize>,
}

/// Layers that follow each other, and do so a number of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The first of its layers, as a place in [`Overview::layers`].
    pub first: usize,
    /// Number of repetitions; 1 for a layer that does not repeat.
    pub times: usize,
    /// The layers of one repetition, with names for all.
    pub layers: Vec<FoldedLayer>,
}

/// Names of a layer that stand for all repetitions: `layers.{0..31}.mlp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldedLayer {
    /// Its name.
    pub name: String,
    /// Names of its tensors.
    pub tensors: Vec<String>,
}

/// Groups that are the same thing in different repetitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// A name for all.
    pub name: String,
    /// Places in [`Overview::groups`]: one of every repetition.
    pub groups: Vec<usize>,
}

impl Folded {
    /// A term or a pattern with the names of kinds in the place of those of groups.
    pub fn term(&self, overview: &Overview, term: &str) -> String {
        tokens(term, |name| {
            let group = overview.groups.iter().position(|group| group.name == name);
            group.map_or_else(|| name.to_owned(), |group| self.kinds[self.kind_of[group]].name.clone())
        })
    }
}

impl FoldedLayer {
    /// What the name of a tensor says beyond that of the layer: `weight`.
    pub fn within<'n>(&self, name: &'n str) -> &'n str {
        let rest = name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix(['.', '/']));
        rest.filter(|rest| !rest.is_empty()).unwrap_or(name)
    }
}

impl Run {
    /// What the names of its layers begin with, for all repetitions: `model.layers.{0..31}`; nothing where they differ.
    pub fn stem(&self) -> &str {
        let Some(first) = self.layers.first() else { return "" };
        let end = first.name.find('}').map_or(0, |at| at + 1);
        let stem = &first.name[..end];
        if self.layers.iter().all(|layer| layer.name.starts_with(stem)) { stem } else { "" }
    }
}

pub(super) fn fold(overview: &Overview) -> Folded {
    let signatures = signatures(overview);
    let groups: Vec<Vec<usize>> = overview.layers.iter().map(|layer| groups_of(overview, layer)).collect();
    let mut runs = Vec::new();
    let mut together: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut taken = vec![false; overview.groups.len()];
    let mut at = 0;
    while at < signatures.len() {
        let mut best = (1, 1);
        for period in 1..=LONGEST.min((signatures.len() - at) / 2) {
            let times = times(&signatures, &groups, &taken, at, period);
            let saves = times > 1 && period * (times - 1) >= SAVED && period * times > best.0 * best.1;
            if saves && begins_together(overview, at, period) {
                best = (period, times);
            }
        }
        let (period, times) = best;
        for (layer, k) in (at..at + period).zip(0..) {
            for (place, base) in groups[layer].iter().enumerate() {
                let all: Vec<usize> = (0..times).map(|r| groups[at + r * period + k][place]).collect();
                if times > 1 && all[1] != *base {
                    for group in &all {
                        taken[*group] = true;
                    }
                    together.insert(*base, all);
                }
            }
        }
        let layers = (at..at + period).map(|layer| named(overview, layer, period, times)).collect();
        runs.push(Run { first: at, times, layers });
        at += period * times;
    }
    let (kinds, kind_of) = kinds(overview, &groups, &together);
    Folded { runs, kinds, kind_of }
}

/// Whether what repeats is one turn of whatever its names count, and not the end of one and the beginning of the next.
fn begins_together(overview: &Overview, at: usize, period: usize) -> bool {
    let mut begin: BTreeMap<String, u64> = BTreeMap::new();
    (at..at + period).all(|layer| {
        let (this, next) = (pieces(&overview.layers[layer].name), pieces(&overview.layers[layer + period].name));
        let mut before = String::new();
        for ((text, _, digits), (_, _, later)) in this.iter().zip(&next) {
            before += text;
            if let (Ok(from), Ok(to)) = (digits.parse::<u64>(), later.parse::<u64>())
                && from.checked_add(1) == Some(to)
            {
                return *begin.entry(before).or_insert(from) == from;
            }
            before += digits;
        }
        true
    })
}

/// How often the `period` layers from `at` on follow each other.
fn times(signatures: &[usize], groups: &[Vec<usize>], taken: &[bool], at: usize, period: usize) -> usize {
    let mut shared = BTreeMap::new();
    let mut owner: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let mut owned: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let mut times = 1;
    while at + (times + 1) * period <= signatures.len() {
        for k in 0..period {
            let here = at + times * period + k;
            if signatures[here] != signatures[at + k] {
                return times;
            }
            for (base, group) in groups[at + k].iter().zip(&groups[here]) {
                let is_shared = *shared.entry(*base).or_insert(base == group);
                if is_shared || base == group {
                    if !is_shared || base != group {
                        return times;
                    }
                    continue;
                }
                let first = (*base, 0);
                let this = (*base, times);
                let fits = |owner: &mut BTreeMap<usize, (usize, usize)>, group: usize, place| {
                    !taken[group] && *owner.entry(group).or_insert(place) == place
                };
                if !fits(&mut owner, *base, first)
                    || !fits(&mut owner, *group, this)
                    || *owned.entry(this).or_insert(*group) != *group
                    || shared.get(group) == Some(&true)
                {
                    return times;
                }
            }
        }
        times += 1;
    }
    times
}

/// Equal numbers for layers that are alike but for the numbers in their names and for which groups they have.
fn signatures(overview: &Overview) -> Vec<usize> {
    let mut known = BTreeMap::new();
    let signature = |layer: &SeenLayer| {
        let mut text = format!("{} {:?}", bare(&layer.name), layer.operators);
        for tensor in layer.tensors.iter().map(|k| &overview.tensors[*k]) {
            let _ = write!(text, "|{} {} {:?} {}", bare(&tensor.name), tensor.dtype, tensor.shape, tensor.not_finite);
            for axis in &tensor.axes {
                let _ = write!(text, " {} {:?}", tokens(&axis.term, |_| "g".to_owned()), axis.why);
                for group in axis.parts.iter().flat_map(|part| &part.groups) {
                    let group = &overview.groups[*group];
                    let _ = write!(text, " {}×{}", group.copies, group.size);
                }
            }
        }
        let next = known.len();
        *known.entry(text).or_insert(next)
    };
    overview.layers.iter().map(signature).collect()
}

/// The groups in a layer, place by place.
fn groups_of(overview: &Overview, layer: &SeenLayer) -> Vec<usize> {
    let axes = layer.tensors.iter().flat_map(|k| &overview.tensors[*k].axes);
    axes.flat_map(|axis| &axis.parts).flat_map(|part| part.groups.iter().copied()).collect()
}

/// A name without its numbers.
fn bare(name: &str) -> String {
    pieces(name).into_iter().map(|(text, _, _)| text + "0").collect()
}

fn named(overview: &Overview, layer: usize, period: usize, times: usize) -> FoldedLayer {
    let all: Vec<&SeenLayer> = (0..times).map(|r| &overview.layers[layer + r * period]).collect();
    let tensor = |k: usize| {
        let names: Vec<&str> = all.iter().map(|layer| overview.tensors[layer.tensors[k]].name.as_str()).collect();
        together_named(&names)
    };
    let names: Vec<&str> = all.iter().map(|layer| layer.name.as_str()).collect();
    FoldedLayer { name: together_named(&names), tensors: (0..all[0].tensors.len()).map(tensor).collect() }
}

/// One name for several that differ in numbers: `layers.{0..31}.mlp`, or `val_{98, …, 375}` where they do not count.
fn together_named(names: &[&str]) -> String {
    let [first, others @ ..] = names else { return String::new() };
    if others.iter().all(|name| name == first) {
        return (*first).to_owned();
    }
    let all: Vec<_> = names.iter().map(|name| pieces(name)).collect();
    let texts = |of: &[(String, usize, String)]| of.iter().map(|piece| piece.0.clone()).collect::<Vec<_>>();
    if all.iter().any(|one| texts(one) != texts(&all[0])) {
        return format!("{first}, …");
    }
    let mut name = String::new();
    for (k, (text, _, digits)) in all[0].iter().enumerate() {
        let last = &all[all.len() - 1][k].2;
        let counts = || {
            let first: Option<u64> = digits.parse().ok();
            all.iter().zip(0..).all(|(one, r)| {
                let counted = first.and_then(|first| first.checked_add(r)).map(|n| n.to_string());
                counted.as_ref() == Some(&one[k].2)
            })
        };
        name += text;
        if all.iter().all(|one| one[k].2 == *digits) {
            name += digits;
        } else if counts() {
            let _ = write!(name, "{{{digits}..{last}}}");
        } else {
            let between = if all.len() > 2 { " …" } else { "" };
            let _ = write!(name, "{{{digits},{between} {last}}}");
        }
    }
    name
}

/// A term with every name of a group in it replaced.
fn tokens(term: &str, replace: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    for token in term.split_inclusive([' ', '(', ')', '+', '@', '[', ']', ':']) {
        let end = token.trim_end_matches([' ', '(', ')', '+', '@', '[', ']', ':']).len();
        let (name, mark) = token.split_at(end);
        if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            text += &replace(name);
        } else {
            text += name;
        }
        text += mark;
    }
    text
}

fn kinds(
    overview: &Overview,
    groups: &[Vec<usize>],
    together: &BTreeMap<usize, Vec<usize>>,
) -> (Vec<Kind>, Vec<usize>) {
    let mut base = (0..overview.groups.len()).collect::<Vec<_>>();
    for (first, all) in together {
        for group in all {
            base[*group] = *first;
        }
    }
    let mut kinds: Vec<Kind> = Vec::new();
    let mut kind_of = vec![usize::MAX; overview.groups.len()];
    for group in groups.iter().flatten().copied().chain(0..overview.groups.len()).map(|group| base[group]) {
        if kind_of[group] != usize::MAX {
            continue;
        }
        let all = together.get(&group).cloned().unwrap_or_else(|| vec![group]);
        let names: Vec<&str> = all.iter().map(|group| overview.groups[*group].name.as_str()).collect();
        for group in &all {
            kind_of[*group] = kinds.len();
        }
        kinds.push(Kind { name: together_named(&names), groups: all });
    }
    (kinds, kind_of)
}
