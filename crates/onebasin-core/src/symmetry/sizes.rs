//! Sizes of groups, inferred from the lengths of axes.

use std::collections::BTreeMap;

use super::error::SymmetryError;
use super::group::GroupId;
use super::layout::expand;
use super::pattern::{Pattern, Term, visit_groups};
use super::spec::SymmetrySpec;

/// Name, pattern and shape of every tensor, those of a stack as one.
pub(super) type Coverage<'a> = Vec<(&'a str, &'a Pattern, Vec<usize>)>;

/// Sizes of groups, each with the place it came from.
#[derive(Clone)]
pub(super) struct GroupSizes {
    /// Size, and where it came from, by name.
    pub(super) known: BTreeMap<String, (usize, String)>,
}

impl GroupSizes {
    /// Solves axis by axis until nothing more follows; a group seen only in slices ends where its last slice ends.
    pub(super) fn infer(
        spec: &SymmetrySpec,
        parents: &BTreeMap<String, Option<String>>,
        patterns: &Coverage<'_>,
    ) -> Result<Self, SymmetryError> {
        let mut sizes = Self { known: BTreeMap::new() };
        for (name, &size) in &spec.sizes {
            if !parents.contains_key(name) {
                return Err(group_error(name, "a size is given, but no pattern mentions it"));
            }
            sizes.known.insert(name.clone(), (size, "given".to_owned()));
        }
        let mut progress = true;
        while progress {
            progress = false;
            for (tensor, pattern, shape) in patterns {
                for (axis, (term, &len)) in pattern.axes.iter().zip(shape).enumerate() {
                    progress |= sizes.solve_axis(tensor, axis, pattern, term, len)?;
                }
            }
        }
        for name in parents.keys() {
            if !sizes.known.contains_key(name) {
                let mut end = None;
                let mut look = |n: &str, _: Option<&str>, slice: Option<(usize, usize)>| {
                    if n == name {
                        end = end.max(slice.map(|s| s.1));
                    }
                };
                patterns.iter().flat_map(|(_, p, _)| &p.axes).for_each(|term| visit_groups(term, &mut look));
                let Some(end) = end else {
                    let why = format!("the tensors do not determine its size; give it: [sizes] {name} = …");
                    return Err(group_error(name, why));
                };
                sizes.known.insert(name.clone(), (end, "the end of its last slice".to_owned()));
            }
        }
        Ok(sizes)
    }

    /// Finds the one unknown size of an axis, if exactly one is unknown and the length determines it.
    fn solve_axis(
        &mut self,
        tensor: &str,
        axis: usize,
        pattern: &Pattern,
        term: &Term,
        len: usize,
    ) -> Result<bool, SymmetryError> {
        let mut unknown: Vec<&str> = Vec::new();
        visit_groups(term, &mut |name, _, slice| {
            if slice.is_none() && !self.known.contains_key(name) && !unknown.contains(&name) {
                unknown.push(name);
            }
        });
        let [name] = unknown[..] else { return Ok(false) };
        let extent =
            |size: usize| expand(term, len, &|n| (GroupId(0), self.known.get(n).map_or(size, |known| known.0))).0;
        // The extent grows with the size, so the smallest size that reaches the length is the only candidate.
        let (mut low, mut high) = (0, len);
        while low < high {
            let middle = low + (high - low) / 2;
            if extent(middle) < len { low = middle + 1 } else { high = middle }
        }
        if extent(low) != len {
            return Err(SymmetryError::Axis {
                tensor: tensor.to_owned(),
                axis,
                pattern: pattern.to_string(),
                column: term.column,
                term: term.to_string(),
                expected: format!("{} or {}", extent(low.saturating_sub(1)), extent(low)),
                found: len,
                why: format!(": no size of `{name}` fits{}", self.sources(term)),
            });
        }
        if extent(low + 1) == len {
            return Ok(false);
        }
        self.known.insert(name.to_owned(), (low, format!("from `{tensor}`, axis {axis}")));
        Ok(true)
    }

    fn sources(&self, term: &Term) -> String {
        let mut text = String::new();
        visit_groups(term, &mut |name, _, _| {
            if let Some((size, source)) = self.known.get(name) {
                let part = format!("; `{name}` = {size} ({source})");
                if !text.contains(&part) {
                    text.push_str(&part);
                }
            }
        });
        text
    }

    /// The error of an axis whose term adds up to another length.
    pub(super) fn mismatch(
        &self,
        tensor: &str,
        axis: usize,
        pattern: &Pattern,
        expected: usize,
        found: usize,
    ) -> SymmetryError {
        let term = &pattern.axes[axis];
        SymmetryError::Axis {
            tensor: tensor.to_owned(),
            axis,
            pattern: pattern.to_string(),
            column: term.column,
            term: term.to_string(),
            expected: expected.to_string(),
            found,
            why: self.sources(term),
        }
    }
}

pub(super) fn group_error(group: &str, why: impl Into<String>) -> SymmetryError {
    SymmetryError::Group { group: group.to_owned(), why: why.into() }
}
