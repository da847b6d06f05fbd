//! Names of layers that are all alike, told once.

use std::collections::{BTreeMap, BTreeSet};

/// A tensor, or one of every layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// `{l}` where numbers of layers stood.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// How many tensors it stands for.
    pub(super) times: usize,
}

/// Placeholders, from outside in.
const PLACEHOLDERS: [&str; 4] = ["{l}", "{m}", "{n}", "{o}"];

/// Tensors by name, those of layers told once: where names differ in one number, and under each of its values the same names
/// and shapes stand, among them two matrices or more of different modules. (A layer of one matrix hands its units on to the next
/// layer, for which one name for all has no words.)
pub(super) fn folded<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Vec<Named> {
    let mut all: BTreeMap<String, (Vec<usize>, usize)> =
        tensors.into_iter().map(|(name, shape)| (name.to_owned(), (shape.to_vec(), 1))).collect();
    let mut looked_at = BTreeSet::new();
    while let Some(stem) = next_stem(&all, &looked_at) {
        let depth = PLACEHOLDERS.iter().filter(|&&placeholder| stem.contains(placeholder)).count();
        let layers = layers_of(&all, &stem);
        if let (Some(placeholder), true) = (PLACEHOLDERS.get(depth), are_alike(&layers)) {
            let times = layers.len();
            for (index, rests) in layers {
                for (rest, (shape, of_each)) in rests {
                    all.remove(&format!("{stem}{index}{rest}"));
                    all.insert(format!("{stem}{placeholder}{rest}"), (shape, of_each * times));
                }
            }
        }
        looked_at.insert(stem);
    }
    all.into_iter().map(|(name, (shape, times))| Named { name, shape, times }).collect()
}

/// By number: what comes after it, with shape and times.
type Numbered = BTreeMap<String, BTreeMap<String, (Vec<usize>, usize)>>;

/// The shortest text before a number that ends a part of a name, that was not looked at yet.
fn next_stem(all: &BTreeMap<String, (Vec<usize>, usize)>, looked_at: &BTreeSet<String>) -> Option<String> {
    let stems = all.keys().flat_map(|name| numbers(name).map(|(from, _)| &name[..from]));
    let fresh = stems.filter(|stem| !looked_at.contains(*stem));
    fresh.min_by_key(|stem| (stem.len(), *stem)).map(str::to_owned)
}

/// Where numbers stand that end a part of a name.
fn numbers(name: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let ends = name.char_indices().filter(|(_, c)| matches!(c, '.' | '/')).map(|(at, _)| at);
    ends.filter_map(|end| {
        let before = &name[..end];
        let from = before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        (from < end).then_some((from, end))
    })
}

fn layers_of(all: &BTreeMap<String, (Vec<usize>, usize)>, stem: &str) -> Numbered {
    let mut layers = Numbered::new();
    for (name, seen) in all {
        if let Some((from, end)) = numbers(name).find(|(from, _)| &name[..*from] == stem) {
            layers.entry(name[from..end].to_owned()).or_default().insert(name[end..].to_owned(), seen.clone());
        }
    }
    layers
}

fn are_alike(layers: &Numbered) -> bool {
    let Some(first) = layers.values().next() else { return false };
    let matrices = first.iter().filter(|(_, (shape, _))| shape.len() > 1);
    let modules: BTreeSet<&str> = matrices.map(|(rest, _)| super::module(rest).0).collect();
    layers.len() > 1 && modules.len() > 1 && layers.values().all(|layer| layer == first)
}

#[cfg(test)]
mod tests {
    use super::folded;

    fn names(tensors: &[(&str, &[usize])]) -> Vec<(String, usize)> {
        folded(tensors.iter().copied()).into_iter().map(|named| (named.name, named.times)).collect()
    }

    #[test]
    fn layers_that_are_alike_are_told_once_and_others_not() {
        let blocks: Vec<String> =
            (0..11).flat_map(|l| [format!("h.{l}.a.weight"), format!("h.{l}.b.weight")]).collect();
        let blocks: Vec<(&str, &[usize])> = blocks.iter().map(|name| (name.as_str(), &[8, 8][..])).collect();
        assert_eq!(names(&blocks), [("h.{l}.a.weight".to_owned(), 11), ("h.{l}.b.weight".to_owned(), 11)]);
        let chain: [(&str, &[usize]); 2] = [("fc1.weight", &[8, 8]), ("fc2.weight", &[8, 8])];
        assert_eq!(names(&chain).len(), 2);
        let uneven: [(&str, &[usize]); 4] = [
            ("s.0.a.weight", &[8, 8]),
            ("s.0.b.weight", &[8, 8]),
            ("s.1.a.weight", &[8, 8]),
            ("s.1.b.weight", &[8, 4]),
        ];
        assert_eq!(names(&uneven).len(), 4);
    }

    #[test]
    fn layers_of_layers_have_a_placeholder_each() {
        let part = |l: usize, m: usize, w: &str| format!("net/layers_{l}/experts_{m}/{w}/kernel");
        let all: Vec<String> =
            (0..2).flat_map(|l| (0..3).flat_map(move |m| ["up", "down"].map(|w| part(l, m, w)))).collect();
        let all: Vec<(&str, &[usize])> = all.iter().map(|name| (name.as_str(), &[4, 4][..])).collect();
        let expected = ["down", "up"].map(|w| (format!("net/layers_{{l}}/experts_{{m}}/{w}/kernel"), 6));
        assert_eq!(names(&all), expected);
    }
}
