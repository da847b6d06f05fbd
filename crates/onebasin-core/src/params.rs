//! The tensors of a network, by name, in one fixed order.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::structure::StructureDiff;
use crate::tensor::Tensor;

/// A network's tensors by name, always in the byte order of the names: the order of a file changes no result.
///
/// Cloning copies the names and shares the bytes of the tensors.
///
/// ```
/// use onebasin_core::{Params, Tensor};
/// let mut net = Params::new();
/// net.insert("fc2.weight", Tensor::from_f32(&[1, 2], vec![5., 6.])?);
/// net.insert("fc1.weight", Tensor::from_f32(&[2, 1], vec![1., 2.])?);
/// assert_eq!(net.names().collect::<Vec<_>>(), ["fc1.weight", "fc2.weight"]);
/// assert_eq!(net.require("fc1.weight")?.to_f32()?[..], [1., 2.]);
/// let same: Params = net.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
/// assert_eq!(same, net);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params {
    tensors: BTreeMap<String, Tensor>,
}

impl Params {
    /// No tensors.
    ///
    /// ```
    /// assert!(onebasin_core::Params::new().is_empty());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The tensor called `name`, if there is one; [`require`](Self::require) gives an error that suggests a name.
    ///
    /// Cost: one look into a map.
    ///
    /// ```
    /// use onebasin_core::{Params, Tensor};
    /// let net = Params::from_iter([("bias".to_owned(), Tensor::from_f32(&[2], vec![1., 2.])?)]);
    /// assert_eq!(net.get("bias").map(Tensor::len), Some(2));
    /// assert!(net.get("weight").is_none());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The tensor called `name`, which must be there.
    ///
    /// # Errors
    /// [`Error::NoTensor`] suggests the nearest name.
    ///
    /// ```
    /// use onebasin_core::{Params, Tensor};
    /// let net = Params::from_iter([("fc1.bias".to_owned(), Tensor::from_f32(&[2], vec![1., 2.])?)]);
    /// assert_eq!(net.require("fc1.bias")?.shape(), [2]);
    /// assert!(net.require("fc1.bais").unwrap_err().to_string().ends_with("did you mean `fc1.bias`?"));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn require(&self, name: &str) -> Result<&Tensor> {
        self.get(name).ok_or_else(|| {
            let near = nearest(name, self.names()).map(str::to_owned);
            Error::NoTensor { tensor: name.to_owned(), near }
        })
    }

    /// Adds a tensor, or replaces the one of this name.
    ///
    /// ```
    /// use onebasin_core::{Params, Tensor};
    /// let mut net = Params::new();
    /// net.insert("bias", Tensor::from_f32(&[1], vec![1.])?);
    /// net.insert("bias", Tensor::from_f32(&[2], vec![3., 4.])?);
    /// assert_eq!((net.len(), net.element_count()), (1, 2));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.tensors.insert(name.into(), tensor);
    }

    /// Names and tensors, in order of name.
    ///
    /// ```
    /// use onebasin_core::{DType, Params, Tensor};
    /// let mut net = Params::new();
    /// net.insert("steps", Tensor::from_u32(&[1], vec![100])?);
    /// net.insert("bias", Tensor::from_f32(&[2], vec![1., 2.])?);
    /// let floats: Vec<_> = net.iter().filter(|(_, t)| t.dtype() == DType::F32).map(|(name, _)| name).collect();
    /// assert_eq!(floats, ["bias"]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The names, in byte order: upper case before lower case, `10` before `9`.
    ///
    /// ```
    /// use onebasin_core::{Params, Tensor};
    /// let one = || Tensor::from_f32(&[1], vec![1.]);
    /// let net = Params::from_iter([("layer.9".to_owned(), one()?), ("layer.10".to_owned(), one()?)]);
    /// assert_eq!(net.names().collect::<Vec<_>>(), ["layer.10", "layer.9"]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Number of tensors; [`element_count`](Self::element_count) is that of their scalars.
    ///
    /// ```
    /// use onebasin_core::{Params, Tensor};
    /// let net = Params::from_iter([("bias".to_owned(), Tensor::from_f32(&[2], vec![1., 2.])?)]);
    /// assert_eq!((net.len(), net.is_empty()), (1, false));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Number of scalars in all tensors, whatever their types.
    ///
    /// ```
    /// use onebasin_core::{Params, Tensor};
    /// let mut net = Params::new();
    /// net.insert("weight", Tensor::from_f32(&[2, 3], vec![0.; 6])?);
    /// net.insert("steps", Tensor::from_u32(&[], vec![100])?);
    /// assert_eq!(net.element_count(), 7);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn element_count(&self) -> usize {
        self.tensors.values().map(Tensor::len).sum()
    }

    /// Passes only if every floating-point value is finite.
    ///
    /// Cost: one pass over the bytes.
    ///
    /// # Errors
    /// [`Error::NotFinite`] names the first tensor that holds a NaN or an infinity.
    ///
    /// ```
    /// use onebasin_core::{Params, Tensor};
    /// let net = Params::from_iter([("bias".to_owned(), Tensor::from_f32(&[2], vec![1., f32::NAN])?)]);
    /// assert!(net.check_finite().unwrap_err().to_string().contains("`bias` holds 1 value(s)"));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn check_finite(&self) -> Result<()> {
        self.iter().try_for_each(|(name, tensor)| tensor.check_finite(name))
    }

    /// Passes only if no floating-point value is a NaN, and every infinity may have its like in `other`: a tensor of the same
    /// name there holds as many of either sign.
    ///
    /// Infinities are no weights, but networks hold some as constants, such as masks; [`merge`](fn@crate::merge::merge) keeps
    /// those that are the same in both.
    ///
    /// Cost: one pass over the bytes.
    ///
    /// # Errors
    /// [`Error::NotFinite`] names the first tensor that does not pass.
    ///
    /// ```
    /// use onebasin_core::{Params, Tensor};
    /// let net = |v: [f32; 2]| Ok::<_, onebasin_core::Error>(Params::from_iter([("mask".to_owned(), Tensor::from_f32(&[2], v.to_vec())?)]));
    /// let mask = net([0., f32::NEG_INFINITY])?;
    /// assert!(mask.check_finite().is_err() && mask.check_finite_beside(&mask).is_ok());
    /// assert!(mask.check_finite_beside(&net([0., 1.])?).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn check_finite_beside(&self, other: &Self) -> Result<()> {
        let infinities = |tensor: &Tensor| -> Result<Option<[usize; 2]>> {
            let values = tensor.to_f64()?;
            let count = |sought: f64| values.iter().filter(|v| **v == sought).count();
            let nan = values.iter().any(|v| v.is_nan());
            Ok((!nan).then(|| [f64::INFINITY, f64::NEG_INFINITY].map(count)))
        };
        self.iter().try_for_each(|(name, tensor)| {
            let failed = match tensor.check_finite(name) {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let own = infinities(tensor)?;
            let like = other.get(name).filter(|t| t.dtype().is_float()).map(infinities).transpose()?.flatten();
            if own.is_some() && own == like { Ok(()) } else { Err(failed) }
        })
    }

    /// Passes only if `other` has the same names and shapes. Element types may differ.
    ///
    /// # Errors
    /// [`Error::Structure`] lists every difference, with the nearest name for each missing one.
    ///
    /// ```
    /// use onebasin_core::{DType, Params, Tensor};
    /// let net = |t: Tensor| Params::from_iter([("w".to_owned(), t)]);
    /// let a = Tensor::from_f32(&[2], vec![1., 2.])?;
    /// net(a.clone()).check_same_structure(&net(a.cast(DType::BF16)?))?;
    /// assert!(net(a).check_same_structure(&net(Tensor::from_f32(&[1, 2], vec![1., 2.])?)).is_err());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn check_same_structure(&self, other: &Self) -> Result<()> {
        let diff = self.diff(other);
        if diff.is_empty() { Ok(()) } else { Err(Error::Structure(diff)) }
    }

    /// How names and shapes of `other` (B) differ from these (A).
    ///
    /// Cost: linear in the number of tensors, but for names that only one network has: each of A's is compared with all
    /// of B's.
    ///
    /// ```
    /// use onebasin_core::{Params, Tensor};
    /// let one = Tensor::from_f32(&[1], vec![1.])?;
    /// let net = |name: &str| Params::from_iter([(name.to_owned(), one.clone())]);
    /// let diff = net("fc1.weight").diff(&net("fc1.weights"));
    /// assert_eq!(diff.only_a, [("fc1.weight".to_owned(), Some("fc1.weights".to_owned()))]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
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

impl IntoIterator for Params {
    type Item = (String, Tensor);
    type IntoIter = std::collections::btree_map::IntoIter<String, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.tensors.into_iter()
    }
}

impl Extend<(String, Tensor)> for Params {
    fn extend<I: IntoIterator<Item = (String, Tensor)>>(&mut self, iter: I) {
        self.tensors.extend(iter);
    }
}

/// The candidate most like `name`, if any is alike enough to be worth suggesting.
///
/// Alike is a Jaro–Winkler similarity above 0.8, which weighs a common beginning; of equally near ones the first in
/// byte order.
///
/// Cost: one comparison per candidate, each `O(length²)`.
///
/// Source: Winkler 1990, as the crate `strsim` has it.
///
/// ```
/// use onebasin_core::nearest;
/// assert_eq!(nearest("fc1.wieght", ["fc1.bias", "fc1.weight"]), Some("fc1.weight"));
/// assert_eq!(nearest("conv", ["fc1.bias", "fc1.weight"]), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|c| (strsim::jaro_winkler(name, c), c))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, c)| c)
}
