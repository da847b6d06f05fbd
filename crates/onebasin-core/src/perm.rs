//! Permutations, and the one place that says which way they point.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A permutation of `n` units as a gather: `perm[i] = j` means *unit i of the result is unit j of the source*.
///
/// With serde it is its index vector; what is read is checked as by [`Perm::new`].
///
/// ```
/// use onebasin_core::Perm;
/// let p = Perm::new(vec![2, 0, 1])?;
/// assert_eq!(p.gather(&['a', 'b', 'c']), ['c', 'a', 'b']);
/// assert_eq!(p.inverse().gather(&p.gather(&[7, 8, 9])), [7, 8, 9]);
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u32>", into = "Vec<u32>")]
pub struct Perm(Vec<u32>);

impl Perm {
    /// Checks that `indices` names every unit of `0..n` once.
    ///
    /// # Errors
    /// [`Error::NotAPermutation`] with the first offence.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// assert!(Perm::new(vec![1, 0]).is_ok());
    /// let error = Perm::new(vec![0, 2, 0]).unwrap_err();
    /// assert_eq!(error.to_string(), "not a permutation of 0..3: 0 appears twice (again at entry 2)");
    /// ```
    pub fn new(indices: Vec<u32>) -> Result<Self> {
        let len = indices.len();
        let mut seen = vec![false; len];
        for (i, &j) in indices.iter().enumerate() {
            let offence = match seen.get_mut(j as usize) {
                None => Some(format!("entry {i} is {j}")),
                Some(true) => Some(format!("{j} appears twice (again at entry {i})")),
                Some(slot) => {
                    *slot = true;
                    None
                }
            };
            if let Some(why) = offence {
                return Err(Error::NotAPermutation { len, why });
            }
        }
        Ok(Self(indices))
    }

    /// The permutation of `n` units that moves nothing.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// assert_eq!(Perm::identity(3).as_slice(), [0, 1, 2]);
    /// ```
    pub fn identity(n: usize) -> Self {
        Self((0..n as u32).collect())
    }

    /// Number of units, moved or not.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// assert_eq!(Perm::identity(3).len(), 3);
    /// ```
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no unit.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// assert!(Perm::identity(0).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nothing moves.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// let p = Perm::new(vec![1, 2, 0])?;
    /// assert!(p.compose(&p).compose(&p).is_identity());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn is_identity(&self) -> bool {
        self.0.iter().enumerate().all(|(i, &j)| i == j as usize)
    }

    /// Number of units that stay where they are.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// assert_eq!(Perm::new(vec![0, 2, 1])?.fixed_points(), 1);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn fixed_points(&self) -> usize {
        self.0.iter().enumerate().filter(|&(i, &j)| i == j as usize).count()
    }

    /// The source unit of result unit `i`.
    ///
    /// # Panics
    /// If there is no unit `i`.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// assert_eq!(Perm::new(vec![2, 0, 1])?.at(0), 2);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn at(&self, i: usize) -> usize {
        self.0[i] as usize
    }

    /// The index vector: entry `i` is the source unit of result unit `i`. `Vec::from(perm)` takes it.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// let p = Perm::new(vec![2, 0, 1])?;
    /// assert_eq!(p.as_slice(), [2, 0, 1]);
    /// assert_eq!(Vec::from(p), [2, 0, 1]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }

    /// The permutation that undoes this one: `inverse[perm[i]] = i`.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// let p = Perm::new(vec![2, 0, 1])?;
    /// assert_eq!(p.inverse().as_slice(), [1, 2, 0]);
    /// assert!(p.compose(&p.inverse()).is_identity());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    #[must_use]
    pub fn inverse(&self) -> Self {
        let mut inverse = vec![0; self.len()];
        for (i, &j) in self.0.iter().enumerate() {
            inverse[j as usize] = i as u32;
        }
        Self(inverse)
    }

    /// `self ∘ first`: acting with the result equals acting with `first`, then with `self`.
    ///
    /// Formula: `result[i] = first[self[i]]`, since both gather.
    ///
    /// # Panics
    /// If they have different numbers of units.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// let (first, then) = (Perm::new(vec![1, 2, 0])?, Perm::new(vec![0, 2, 1])?);
    /// let units = ['a', 'b', 'c'];
    /// assert_eq!(then.compose(&first).gather(&units), then.gather(&first.gather(&units)));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    #[must_use]
    pub fn compose(&self, first: &Self) -> Self {
        assert_eq!(self.len(), first.len(), "permutations of different sizes do not compose");
        Self(self.0.iter().map(|&i| first.0[i as usize]).collect())
    }

    /// Acts on a list: `result[i] = source[self[i]]`.
    ///
    /// # Panics
    /// If the list is shorter than the permutation.
    ///
    /// ```
    /// use onebasin_core::Perm;
    /// assert_eq!(Perm::new(vec![2, 0, 1])?.gather(&['a', 'b', 'c']), ['c', 'a', 'b']);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn gather<T: Copy>(&self, source: &[T]) -> Vec<T> {
        self.0.iter().map(|&j| source[j as usize]).collect()
    }
}

impl TryFrom<Vec<u32>> for Perm {
    type Error = Error;

    fn try_from(indices: Vec<u32>) -> Result<Self> {
        Self::new(indices)
    }
}

impl From<Perm> for Vec<u32> {
    fn from(perm: Perm) -> Self {
        perm.0
    }
}
