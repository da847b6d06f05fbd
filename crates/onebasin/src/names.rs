//! One tensor under two names: what training frameworks put around a network shows in the names of its tensors.
//!
//! `module.` (data parallel), `_orig_mod.` (compiled), `model.` (Lightning), `student.backbone.`, in any order and depth: names
//! are fitted, not listed. Wrappers that frameworks put in the middle of a name are passed over; what then stands before all
//! names of one side is its prefix.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::{Error, Result};

/// Parts of names that only say how a module was wrapped.
const WRAPPERS: [&str; 5] =
    ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"];

/// Names of a file for names that are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Naming {
    /// The name in the file, for every name asked for that it is not.
    of: BTreeMap<String, String>,
    /// What stands before names of the file.
    pub(crate) file_prefix: String,
    /// What stands before names asked for.
    pub(crate) wanted_prefix: String,
    /// Another prefix of names of the file under which as many are found.
    also: Option<String>,
}

/// A name asked for, and the shape of its tensor, where that is known.
pub(crate) type Wanted<'a> = (&'a str, Option<&'a [usize]>);

impl Naming {
    /// Whether all names are the same in the file.
    pub(crate) fn is_same(&self) -> bool {
        self.of.is_empty()
    }

    /// The name in the file.
    pub(crate) fn in_file<'n>(&'n self, wanted: &'n str) -> &'n str {
        self.of.get(wanted).map_or(wanted, String::as_str)
    }

    /// The names asked for, by the names in the file; names that nobody asked for are not in it.
    pub(crate) fn back(&self) -> BTreeMap<String, String> {
        self.of.iter().map(|(wanted, file)| (file.clone(), wanted.clone())).collect()
    }

    /// The same after names in the file have changed; `wanted` are all names asked for.
    pub(crate) fn renamed<'n>(&self, wanted: impl Iterator<Item = &'n str>, new: &dyn Fn(&str) -> String) -> Self {
        let of = wanted.map(|name| (name.to_owned(), new(self.in_file(name)))).filter(|(a, b)| a != b).collect();
        Self { of, ..self.clone() }
    }

    /// The same for who asks by yet other names: of each the name asked for here.
    pub(crate) fn after(&self, names: impl Iterator<Item = (String, String)>) -> Self {
        let of =
            names.map(|(asked, wanted)| (asked, self.in_file(&wanted).to_owned())).filter(|(a, b)| a != b).collect();
        Self { of, ..self.clone() }
    }

    /// Names of a file without what stands before them and within them, as they are asked for, with those of the file; those
    /// of another prefix are left out.
    pub(crate) fn asked<'a>(&self, file: &[Wanted<'a>]) -> BTreeMap<String, &'a str> {
        let as_asked = |(name, plain): (&'a str, String)| {
            let rest = plain.strip_prefix(self.file_prefix.as_str())?;
            Some((format!("{}{rest}", self.wanted_prefix), name))
        };
        unwrapped(file).into_iter().filter_map(as_asked).collect()
    }

    /// Passes only if no other prefix of the file's names fits as well.
    ///
    /// # Errors
    /// [`Error::SeveralPrefixes`].
    pub(crate) fn only(self) -> Result<Self> {
        match self.also {
            Some(also) => Err(Error::SeveralPrefixes { prefixes: vec![self.file_prefix, also] }),
            None => Ok(self),
        }
    }

    /// In words, for a remark.
    pub(crate) fn said(&self) -> String {
        match (self.file_prefix.as_str(), self.wanted_prefix.as_str()) {
            ("", "") => "its names differ from those asked for by what wraps modules, such as `module.`".to_owned(),
            (file, "") => format!("its names begin with `{file}`"),
            ("", wanted) => format!("its names lack `{wanted}`"),
            (file, wanted) => format!("its names begin with `{file}` instead of `{wanted}`"),
        }
    }

    /// The names of a file that stand for the names asked for, as many as can be found; the most found with the shortest
    /// prefixes wins. With `prefix` the file's names begin with just that.
    ///
    /// Cost: linear in the number of names, and in their parts.
    pub(crate) fn fit<'a>(wanted: &[Wanted<'a>], file: &[Wanted<'a>], prefix: Option<&str>) -> Self {
        let shapes: HashMap<&str, Option<&[usize]>> = file.iter().copied().collect();
        let fits = |shape: Option<&[usize]>, name: &str| {
            shapes.get(name).is_some_and(|found| match (shape, found) {
                (Some(a), Some(b)) => a == *b,
                (None, _) | (_, None) => true,
            })
        };
        if prefix.is_none() && wanted.iter().all(|(name, _)| shapes.contains_key(name)) {
            return Self::default();
        }
        let (plain, bare) = (unwrapped(file), unwrapped(wanted));
        let of_plain: HashMap<&str, &str> = file.iter().map(|(n, _)| (plain[n].as_str(), *n)).collect();
        let candidates = match prefix {
            Some(prefix) => BTreeSet::from([(prefix.to_owned(), String::new())]),
            None => candidates(wanted, &bare, &of_plain),
        };
        let of = |(file_prefix, wanted_prefix): (String, String)| {
            let pairs = wanted.iter().filter_map(|(name, shape)| {
                let rest = bare[name].strip_prefix(wanted_prefix.as_str())?;
                let wrapped = [file_prefix.as_str(), rest].concat();
                let found = shapes.get_key_value(wrapped.as_str()).map(|(n, _)| *n);
                let found = found.or_else(|| of_plain.get(wrapped.as_str()).copied())?;
                fits(*shape, found).then(|| ((*name).to_owned(), found.to_owned()))
            });
            let of = pairs.collect::<BTreeMap<_, _>>();
            Self { of, file_prefix, wanted_prefix, also: None }
        };
        let tried: Vec<Self> = candidates.into_iter().map(of).collect();
        let most = tried.iter().max_by_key(|found| {
            let lengths = found.file_prefix.len() + found.wanted_prefix.len();
            (found.of.len(), std::cmp::Reverse(lengths))
        });
        let mut found = most.cloned().unwrap_or_default();
        let mut others =
            tried.iter().filter(|t| t.of.len() == found.of.len() && t.wanted_prefix == found.wanted_prefix);
        found.also = others.find(|t| t.file_prefix != found.file_prefix).map(|t| t.file_prefix.clone());
        found.of.retain(|wanted, file| wanted != file);
        found
    }
}

/// Pairs of prefixes (of the file, of what is asked for) that bring at least one name together: of every name asked for its
/// longest ends that the file has.
fn candidates(
    wanted: &[Wanted<'_>],
    bare: &HashMap<&str, String>,
    of_plain: &HashMap<&str, &str>,
) -> BTreeSet<(String, String)> {
    const LOOKED_AT: usize = 64;
    const MANY: usize = 32;
    let mut ends: HashMap<&str, Vec<&str>> = HashMap::new();
    for name in of_plain.keys() {
        for (prefix, end) in cuts(name) {
            ends.entry(end).or_default().push(prefix);
        }
    }
    let mut found = BTreeSet::from([(String::new(), String::new())]);
    let step = wanted.len().div_ceil(LOOKED_AT).max(1);
    for (name, _) in wanted.iter().step_by(step) {
        for (wanted_prefix, end) in cuts(&bare[name]) {
            let prefixes = ends.get(end).map_or(&[][..], Vec::as_slice);
            if prefixes.len() <= MANY {
                found.extend(prefixes.iter().map(|p| ((*p).to_owned(), wanted_prefix.to_owned())));
            }
        }
    }
    found
}

/// A name cut before every of its parts: what stands before, and the rest.
fn cuts(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let starts = name.char_indices().filter(|(_, c)| matches!(c, '.' | '/')).map(|(i, _)| i + 1);
    std::iter::once(0).chain(starts).map(|i| name.split_at(i))
}

/// Names without the parts that say how a module was wrapped; where two would be one, as they are.
fn unwrapped<'a>(names: &[Wanted<'a>]) -> HashMap<&'a str, String> {
    let plain = |name: &str| {
        let parts: Vec<&str> = name.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
        if parts.is_empty() { name.to_owned() } else { parts.join(".") }
    };
    let short: HashMap<&str, String> = names.iter().map(|(name, _)| (*name, plain(name))).collect();
    let distinct: BTreeSet<&String> = short.values().collect();
    if distinct.len() == short.len() { short } else { names.iter().map(|(n, _)| (*n, (*n).to_owned())).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET: [&str; 3] = ["fc1.weight", "fc1.bias", "fc2.weight"];

    fn all<'a>(names: &[&'a str]) -> Vec<Wanted<'a>> {
        names.iter().map(|n| (*n, None)).collect()
    }

    fn fitted(file: &[&str]) -> Vec<String> {
        let naming = Naming::fit(&all(&NET), &all(file), None);
        NET.iter().map(|n| naming.in_file(n).to_owned()).collect()
    }

    #[test]
    fn prefixes_of_any_order_and_depth_are_found() {
        for prefix in
            ["module.", "_orig_mod.", "model.", "_orig_mod.module.", "module._orig_mod.", "student.module.backbone."]
        {
            let file: Vec<String> = NET.iter().map(|n| format!("{prefix}{n}")).collect();
            let names: Vec<&str> = file.iter().map(String::as_str).chain(["loss.weight"]).collect();
            assert_eq!(fitted(&names), file, "{prefix}");
        }
    }

    #[test]
    fn wrappers_within_a_name_are_passed_over() {
        let file = ["model.module.fc1._orig_mod.weight", "model.module.fc1._orig_mod.bias", "model.module.fc2.weight"];
        assert_eq!(fitted(&file), file);
    }

    #[test]
    fn what_is_asked_for_may_have_the_prefix() {
        let naming = Naming::fit(&all(&["net.fc1.weight", "net.fc1.bias"]), &all(&["fc1.weight", "fc1.bias"]), None);
        assert_eq!(naming.in_file("net.fc1.bias"), "fc1.bias");
        assert_eq!((naming.file_prefix.as_str(), naming.wanted_prefix.as_str()), ("", "net."));
    }

    #[test]
    fn shapes_tell_a_student_from_a_teacher_of_another_size() {
        let (two, three) = ([2_usize], [3_usize]);
        let file = [("a.fc1.bias", Some(&two[..])), ("b.fc1.bias", Some(&three[..]))];
        let naming = Naming::fit(&[("fc1.bias", Some(&three[..]))], &file, None);
        assert_eq!(naming.in_file("fc1.bias"), "b.fc1.bias");
    }

    #[test]
    fn another_prefix_that_fits_as_well_is_an_error() {
        let file = NET.iter().flat_map(|n| [format!("student.{n}"), format!("teacher.{n}")]).collect::<Vec<_>>();
        let file: Vec<&str> = file.iter().map(String::as_str).collect();
        let error = Naming::fit(&all(&NET), &all(&file), None).only().unwrap_err().to_string();
        assert!(error.ends_with("`teacher.`, `student.`"), "{error}");
        assert!(Naming::fit(&all(&NET), &all(&file), Some("student.")).only().is_ok());
    }

    #[test]
    fn equal_names_stay() {
        assert!(Naming::fit(&all(&NET), &all(&NET), None).is_same());
    }

    #[test]
    fn a_prefix_that_was_said_is_the_only_one() {
        let file = ["student.fc1.weight", "teacher.fc1.weight"];
        let naming = Naming::fit(&all(&["fc1.weight"]), &all(&file), Some("teacher."));
        assert_eq!(naming.in_file("fc1.weight"), "teacher.fc1.weight");
    }
}
