//! A whole symmetry as text: patterns by tensor name, templates with indices, sizes that cannot be inferred.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::SymmetryError;
use super::pattern::{Pattern, Term, TermKind, visit_groups};
use super::stack;

/// Patterns by tensor name, as a person writes them: the text of a whole symmetry, before it has met a network.
///
/// A name with placeholders, `"layer.{l}.weight"`, or with `*`, is a template: one line for the tensors of all layers.
/// [`Symmetry::resolve`](super::Symmetry::resolve) fits it to tensors.
///
/// A name with `[0:8]`, or with `[3|5|9]`, is that of a *stack*: tensors of one shape that are looked at as one of one more
/// axis, the first. `"experts.[0:8].up.weight" = "expert up@expert ."` says that tensor `j` is unit `j` of `expert`.
///
/// ```
/// use onebasin_core::symmetry::SymmetrySpec;
/// let spec = SymmetrySpec::from_toml(r#"
///     [sizes]
///     "heads{l}" = 12
///     [tensors]
///     "q.{l}.weight" = "(heads{l} qk{l}@heads{l}) stream"
/// "#)?;
/// assert!(spec.to_toml().contains("\"heads{l}\" = 12"));
/// # Ok::<(), onebasin_core::symmetry::SymmetryError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SymmetrySpec {
    /// Sizes of groups that tensors alone do not determine (or that should be checked), or of all whose name fits a template.
    pub sizes: BTreeMap<String, usize>,
    /// Pattern of every tensor, or of every tensor whose name fits a template.
    pub tensors: BTreeMap<String, Pattern>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sizes: BTreeMap<String, usize>,
    tensors: BTreeMap<String, String>,
}

impl SymmetrySpec {
    /// Reads the TOML form: a table `[tensors]` of patterns, and optionally `[sizes]`.
    ///
    /// # Errors
    /// [`SymmetryError::File`] for text that is not such TOML, [`SymmetryError::Pattern`] for a pattern.
    ///
    /// ```
    /// use onebasin_core::symmetry::SymmetrySpec;
    /// let spec = SymmetrySpec::from_toml("[tensors]\n'fc1.weight' = 'h .'")?;
    /// assert_eq!(spec.tensors["fc1.weight"].to_string(), "h .");
    /// let error = SymmetrySpec::from_toml("[tensors]\n'fc1.weight' = 'h )'").unwrap_err();
    /// assert!(error.to_string().starts_with("tensor `fc1.weight`: pattern `h )`, column 3:"));
    /// # Ok::<(), onebasin_core::symmetry::SymmetryError>(())
    /// ```
    pub fn from_toml(text: &str) -> Result<Self, SymmetryError> {
        let file: File =
            toml::from_str(text).map_err(|e| SymmetryError::File { why: e.to_string().trim_end().to_owned() })?;
        Self::from_patterns(file.tensors.iter().map(|(n, p)| (n.as_str(), p.as_str())))
            .map(|spec| Self { sizes: file.sizes, ..spec })
    }

    /// Reads patterns given as pairs of tensor name and text, without sizes.
    ///
    /// # Errors
    /// [`SymmetryError::Pattern`] names the tensor and the column.
    ///
    /// ```
    /// use onebasin_core::symmetry::SymmetrySpec;
    /// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h ."), ("fc2.weight", ". h")])?;
    /// assert_eq!(spec.tensors.len(), 2);
    /// # Ok::<(), onebasin_core::symmetry::SymmetryError>(())
    /// ```
    pub fn from_patterns<'a>(patterns: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, SymmetryError> {
        let mut tensors = BTreeMap::new();
        for (name, text) in patterns {
            let pattern: Pattern = text.parse().map_err(|error| match error {
                SymmetryError::Pattern { pattern, column, why, .. } => {
                    SymmetryError::Pattern { tensor: Some(name.to_owned()), pattern, column, why }
                }
                other => other,
            })?;
            tensors.insert(name.to_owned(), pattern);
        }
        Ok(Self { sizes: BTreeMap::new(), tensors })
    }

    /// The TOML form; [`Self::from_toml`] reads it back to the same value.
    ///
    /// ```
    /// use onebasin_core::symmetry::SymmetrySpec;
    /// let spec = SymmetrySpec::from_patterns([("fc1.weight", "h .")])?;
    /// assert_eq!(SymmetrySpec::from_toml(&spec.to_toml())?, spec);
    /// # Ok::<(), onebasin_core::symmetry::SymmetryError>(())
    /// ```
    pub fn to_toml(&self) -> String {
        let tensors = self.tensors.iter().map(|(n, p)| (n.clone(), p.to_string())).collect();
        toml::to_string(&File { sizes: self.sizes.clone(), tensors }).expect("two tables of strings and numbers")
    }

    /// Names of the tensors that it has patterns for, those of a stack one by one.
    ///
    /// ```
    /// use onebasin_core::symmetry::SymmetrySpec;
    /// let spec = SymmetrySpec::from_patterns([("x.[0:2].w", "x ."), ("y", ".")])?;
    /// assert_eq!(spec.names().collect::<Vec<_>>(), ["x.0.w", "x.1.w", "y"]);
    /// # Ok::<(), onebasin_core::symmetry::SymmetryError>(())
    /// ```
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.tensors.keys().flat_map(|name| stack::members(name).unwrap_or_else(|| vec![name.clone()]))
    }

    /// The same for tensors of other names.
    ///
    /// # Errors
    /// [`SymmetryError::Stack`] if no name stands for the tensors of a stack, as they are then called.
    ///
    /// ```
    /// use onebasin_core::symmetry::SymmetrySpec;
    /// let spec = SymmetrySpec::from_patterns([("x.[0:2].w", "x ."), ("y", ".")])?;
    /// let spec = spec.renamed(&|name| format!("net.{name}"))?;
    /// assert_eq!(spec.tensors.keys().collect::<Vec<_>>(), ["net.x.[0:2].w", "net.y"]);
    /// # Ok::<(), onebasin_core::symmetry::SymmetryError>(())
    /// ```
    pub fn renamed(&self, new: &dyn Fn(&str) -> String) -> Result<Self, SymmetryError> {
        let name = |name: &String| {
            let Some(members) = stack::members(name) else { return Ok(new(name)) };
            let members: Vec<String> = members.iter().map(|member| new(member)).collect();
            let found = stack::named(&members.iter().map(String::as_str).collect::<Vec<_>>());
            found.ok_or_else(|| SymmetryError::Stack {
                stack: name.clone(),
                why: format!("no name stands for its tensors as they are called here: {}", members.join(", ")),
            })
        };
        let tensors = self.tensors.iter().map(|(n, pattern)| Ok((name(n)?, pattern.clone())));
        Ok(Self { sizes: self.sizes.clone(), tensors: tensors.collect::<Result<_, _>>()? })
    }

    /// The same without some tensors; a stack is left out if all its tensors are.
    ///
    /// ```
    /// use onebasin_core::symmetry::SymmetrySpec;
    /// let spec = SymmetrySpec::from_patterns([("x", "."), ("y", ".")])?;
    /// assert_eq!(spec.without(&|name| name == "x").names().collect::<Vec<_>>(), ["y"]);
    /// # Ok::<(), onebasin_core::symmetry::SymmetryError>(())
    /// ```
    #[must_use]
    pub fn without(mut self, left_out: &dyn Fn(&str) -> bool) -> Self {
        self.tensors.retain(|name, _| match stack::members(name) {
            Some(members) => !members.iter().all(|member| left_out(member)),
            None => !left_out(name),
        });
        self
    }

    /// Gives tensors the patterns of others, which they are copies of: by the name of each copy, its original.
    ///
    /// # Errors
    /// [`SymmetryError::Stack`] where some tensors of a stack have copies and others do not.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use onebasin_core::symmetry::SymmetrySpec;
    /// let mut spec = SymmetrySpec::from_patterns([("x.[0:2].w", "x ."), ("y", ".")])?;
    /// let copies = [("z.0", "x.0.w"), ("z.1", "x.1.w")].map(|(copy, of)| (copy.to_owned(), of.to_owned()));
    /// spec.copy(&BTreeMap::from(copies))?;
    /// assert_eq!(spec.tensors["z.[0:2]"].to_string(), "x .");
    /// # Ok::<(), onebasin_core::symmetry::SymmetryError>(())
    /// ```
    pub fn copy(&mut self, copies: &BTreeMap<String, String>) -> Result<(), SymmetryError> {
        let mut of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (copy, original) in copies {
            of.entry(original).or_default().push(copy);
        }
        let mut made = Vec::new();
        for (name, pattern) in &self.tensors {
            let Some(members) = stack::members(name) else {
                made.extend(
                    of.get(name.as_str()).into_iter().flatten().map(|copy| ((*copy).to_owned(), pattern.clone())),
                );
                continue;
            };
            let of_each: Vec<&[&str]> =
                members.iter().map(|member| of.get(member.as_str()).map_or(&[][..], Vec::as_slice)).collect();
            for k in 0..of_each.iter().map(|copies| copies.len()).max().unwrap_or(0) {
                let row: Option<Vec<&str>> = of_each.iter().map(|copies| copies.get(k).copied()).collect();
                let copy = row.and_then(|row| stack::named(&row)).ok_or_else(|| SymmetryError::Stack {
                    stack: name.clone(),
                    why: "some of its tensors are stored twice; all of them must be, or none".to_owned(),
                })?;
                made.push((copy, pattern.clone()));
            }
        }
        self.tensors.extend(made);
        Ok(())
    }

    /// Replaces templates (`"layer.{l}.weight" = "ffn{l} stream"`) by one pattern for every name they fit, and templates of
    /// sizes (`"heads{l}" = 12`) by one size for every group they fit.
    ///
    /// A placeholder fits a run of digits; the same placeholder twice in a name must fit the same digits. A `*` in the name of a
    /// tensor fits any text, also none; there may be two. A plain name goes before a template, and one without `*` before one
    /// with.
    ///
    /// Cost: every name is compared with every template.
    ///
    /// # Errors
    /// [`SymmetryError::Templates`] if two templates fit one tensor, [`SymmetryError::Unused`] if one fits nothing,
    /// [`SymmetryError::File`] if one has more than two `*`.
    ///
    /// ```
    /// use onebasin_core::symmetry::SymmetrySpec;
    /// let patterns = [("layer.{l}.weight", "(heads{l} 2) stream"), ("layer.0.weight", ". ."), ("*.scale", ".")];
    /// let mut spec = SymmetrySpec::from_patterns(patterns)?;
    /// spec.sizes.insert("heads{l}".to_owned(), 4);
    /// let expanded = spec.expand(["layer.0.weight", "layer.12.weight", "norm.scale"])?;
    /// assert_eq!(expanded.tensors["layer.12.weight"].to_string(), "(heads12 2) stream");
    /// assert_eq!(expanded.tensors["layer.0.weight"].to_string(), ". .");
    /// assert_eq!(expanded.tensors["norm.scale"].to_string(), ".");
    /// assert_eq!(expanded.sizes["heads12"], 4);
    /// assert!(spec.expand(["layer.0.weight"]).unwrap_err().to_string().contains("`*.scale` fits no tensor"));
    /// # Ok::<(), onebasin_core::symmetry::SymmetryError>(())
    /// ```
    pub fn expand<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Self, SymmetryError> {
        let names: BTreeSet<&str> = names.into_iter().collect();
        let is_template = |name: &str| name.contains(['{', '*']) && !names.contains(name);
        let (templates, mut tensors): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.tensors.clone().into_iter().partition(|(name, _)| is_template(name));
        if let Some(name) = templates.keys().find(|name| name.matches('*').count() > MOST_STARS) {
            return Err(SymmetryError::File { why: format!("`{name}` has more than {MOST_STARS} `*`") });
        }
        let mut used = BTreeSet::new();
        let mut made: BTreeMap<String, &String> = BTreeMap::new();
        for (template, pattern) in &templates {
            let Some(members) = stack::members(template) else { continue };
            if template.contains('*') {
                return Err(SymmetryError::File { why: format!("`{template}` is a stack, whose name has no `*`") });
            }
            for indices in names.iter().filter_map(|name| fit(&members[0], name)) {
                used.insert(template);
                let name = fill(template, &indices);
                if let Some(other) = made.insert(name.clone(), template) {
                    return Err(SymmetryError::Templates {
                        tensor: name,
                        templates: [other.clone(), template.clone()],
                    });
                }
                let axes = pattern.axes.iter().map(|term| fill_term(term, &indices)).collect();
                tensors.entry(name).or_insert(Pattern { axes });
            }
        }
        let stacks = tensors.keys().filter(|name| !names.contains(name.as_str()));
        let stacked: BTreeSet<String> = stacks.filter_map(|name| stack::members(name)).flatten().collect();
        for name in names {
            let single = templates.iter().filter(|(t, _)| stack::members(t).is_none());
            let fits = single.filter_map(|(t, pattern)| Some((t, pattern, fit(t, name)?)));
            let (mut exact, mut wild): (Vec<_>, Vec<_>) = fits.partition(|(t, _, _)| !t.contains('*'));
            used.extend(exact.iter().chain(&wild).map(|(t, _, _)| *t));
            if tensors.contains_key(name) || stacked.contains(name) {
                continue;
            }
            let fitting = if exact.is_empty() { &mut wild } else { &mut exact };
            if let [(one, _, _), (other, _, _), ..] = &fitting[..] {
                let templates = [(*one).clone(), (*other).clone()];
                return Err(SymmetryError::Templates { tensor: name.to_owned(), templates });
            }
            if let Some((_, pattern, indices)) = fitting.pop() {
                let axes = pattern.axes.iter().map(|term| fill_term(term, &indices)).collect();
                tensors.insert(name.to_owned(), Pattern { axes });
            }
        }
        if let Some(template) = templates.keys().find(|t| !used.contains(t)) {
            return Err(SymmetryError::Unused { template: template.clone(), what: "tensor" });
        }
        let sizes = self.expanded_sizes(&tensors)?;
        Ok(Self { sizes, tensors })
    }

    /// Sizes of groups, those of templates given to every group of these patterns that they fit.
    fn expanded_sizes(&self, tensors: &BTreeMap<String, Pattern>) -> Result<BTreeMap<String, usize>, SymmetryError> {
        let mut groups = BTreeSet::new();
        for term in tensors.values().flat_map(|pattern| &pattern.axes) {
            visit_groups(term, &mut |name, _, _| {
                groups.insert(name);
            });
        }
        let is_template = |name: &str| name.contains('{') && !groups.contains(name);
        let mut sizes = self.sizes.clone();
        sizes.retain(|name, _| !is_template(name));
        for (template, size) in self.sizes.iter().filter(|(name, _)| is_template(name)) {
            let fitting: Vec<&str> = groups.iter().copied().filter(|group| fit(template, group).is_some()).collect();
            if fitting.is_empty() {
                return Err(SymmetryError::Unused { template: template.clone(), what: "group" });
            }
            for group in fitting {
                sizes.entry(group.to_owned()).or_insert(*size);
            }
        }
        Ok(sizes)
    }
}

/// Wildcards of one template at most: each multiplies the ways in which it may fit by the length of a name.
const MOST_STARS: usize = 2;

/// The digits each placeholder of `template` stands for in `name`, if it fits.
fn fit(template: &str, name: &str) -> Option<BTreeMap<String, String>> {
    fit_rest(template, name, BTreeMap::new())
}

fn fit_rest(
    mut template: &str,
    mut name: &str,
    mut indices: BTreeMap<String, String>,
) -> Option<BTreeMap<String, String>> {
    while let Some(at) = template.find(['{', '*']) {
        name = name.strip_prefix(&template[..at])?;
        let rest = &template[at + 1..];
        if template[at..].starts_with('*') {
            let mut ends = name.char_indices().map(|(end, _)| end).chain([name.len()]);
            return ends.find_map(|end| fit_rest(rest, &name[end..], indices.clone()));
        }
        let (placeholder, rest) = rest.split_once('}')?;
        let digits = &name[..name.len() - name.trim_start_matches(|c: char| c.is_ascii_digit()).len()];
        if digits.is_empty()
            || indices.insert(placeholder.to_owned(), digits.to_owned()).is_some_and(|old| old != digits)
        {
            return None;
        }
        (template, name) = (rest, &name[digits.len()..]);
    }
    (template == name).then_some(indices)
}

fn fill(text: &str, indices: &BTreeMap<String, String>) -> String {
    indices.iter().fold(text.to_owned(), |text, (k, v)| text.replace(&format!("{{{k}}}"), v))
}

fn fill_term(term: &Term, indices: &BTreeMap<String, String>) -> Term {
    let fill = |text: &str| fill(text, indices);
    let all = |terms: &[Term]| terms.iter().map(|t| fill_term(t, indices)).collect();
    let kind = match &term.kind {
        TermKind::Group { name, parent, slice } => {
            TermKind::Group { name: fill(name), parent: parent.as_deref().map(fill), slice: *slice }
        }
        TermKind::Product(factors) => TermKind::Product(all(factors)),
        TermKind::Sum(parts) => TermKind::Sum(all(parts)),
        TermKind::Cases(cases) => TermKind::Cases(all(cases)),
        fixed => fixed.clone(),
    };
    Term { kind, column: term.column }
}
