//! The tensors of a network, by name, in one fixed order.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::structure::StructureDiff;
use crate::tensor::Tensor;

/// A network's tensors by name, always in the byte order of the names: the order of a file changes no result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params {
    tensors: BTreeMap<String, Tensor>,
}

impl Params {
    /// No tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`Error::NoTensor`] suggests the nearest name.
    pub fn require(&self, name: &str) -> Result<&Tensor> {
        self.get(name).ok_or_else(|| {
            let near = nearest(name, self.names()).map(str::to_owned);
            Error::NoTensor { tensor: name.to_owned(), near }
        })
    }

    /// Adds or replaces a tensor.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.tensors.insert(name.into(), tensor);
    }

    /// Names and tensors, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Number of scalars in all tensors.
    pub fn element_count(&self) -> usize {
        self.tensors.values().map(Tensor::len).sum()
    }

    /// Passes only if every floating-point value is finite.
    ///
    /// # Errors
    /// [`Error::NotFinite`] names the first tensor that holds a NaN or an infinity.
    pub fn check_finite(&self) -> Result<()> {
        self.iter().try_for_each(|(name, tensor)| tensor.check_finite(name))
    }

    /// Passes only if `other` has the same names and shapes. Element types may differ.
    ///
    /// # Errors
    /// [`Error::Structure`] lists every difference, with the nearest name for each missing one.
    pub fn check_same_structure(&self, other: &Self) -> Result<()> {
        let diff = self.diff(other);
        if diff.is_empty() { Ok(()) } else { Err(Error::Structure(diff)) }
    }

    /// How names and shapes of `other` (B) differ from these (A).
    pub fn diff(&self, other: &Self) -> StructureDiff {
        let (a, b) = (self, other);
        let only_b: Vec<String> = b.names().filter(|n| a.get(n).is_none()).map(str::to_owned).collect();
        let only_a = a
            .names()
            .filter(|n| b.get(n).is_none())
            .map(|n| (n.to_owned(), nearest(n, only_b.iter().map(String::as_str)).map(str::to_owned)))
            .collect();
        let shapes = a
            .iter()
            .filter_map(|(name, ta)| {
                let tb = b.get(name)?;
                (ta.shape() != tb.shape()).then(|| (name.to_owned(), ta.shape().to_vec(), tb.shape().to_vec()))
            })
            .collect();
        StructureDiff { only_a, only_b, shapes }
    }
}

impl FromIterator<(String, Tensor)> for Params {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(iter: I) -> Self {
        Self { tensors: iter.into_iter().collect() }
    }
}

/// The candidate most like `name`, if any is alike enough to be worth suggesting.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|c| (strsim::jaro_winkler(name, c), c))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, c)| c)
}
