//! What numbers go into a network.

use std::collections::BTreeMap;

use super::{Graph, ValueId, ValueSource};

/// What the numbers of an input or a parameter are.
///
/// ```
/// use onebasin_core::graph::{Graph, Numbers};
/// let mut g = Graph::new();
/// let (image, mask) = (g.input("image", &[1, 3, 8, 8])?, g.input("mask", &[1, 8])?);
/// g.set_numbers(mask, Numbers::Truth);
/// assert_eq!((g.numbers(image), g.numbers(mask)), (Numbers::Real, Numbers::Truth));
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbers {
    /// Any numbers.
    #[default]
    Real,
    /// Whole numbers: indices, counts, quantised weights.
    Whole,
    /// 0 and 1.
    Truth,
}

impl Graph {
    /// Says what the numbers of an input or a parameter are; if nothing is said they are real.
    ///
    /// ```
    /// use onebasin_core::graph::{Graph, Numbers};
    /// let mut g = Graph::new();
    /// let tokens = g.input("tokens", &[1, 16])?;
    /// g.set_numbers(tokens, Numbers::Whole);
    /// assert_eq!(g.with_batch(8)?.numbers(tokens), Numbers::Whole);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn set_numbers(&mut self, value: ValueId, numbers: Numbers) {
        match numbers {
            Numbers::Real => self.numbers.remove(&value),
            Numbers::Whole | Numbers::Truth => self.numbers.insert(value, numbers),
        };
    }

    /// What the numbers of an input or a parameter are.
    ///
    /// ```
    /// use onebasin_core::graph::{Graph, Numbers};
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// assert_eq!(g.numbers(x), Numbers::Real);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn numbers(&self, value: ValueId) -> Numbers {
        self.numbers.get(&value).copied().unwrap_or_default()
    }

    /// Parameters that are whole numbers, each with the name of a node that reads it: quantised weights. Their units may be
    /// exchanged like any others; averages of them mean nothing.
    ///
    /// Cost: one pass over the nodes, if there are any.
    ///
    /// ```
    /// use onebasin_core::graph::op::Binary;
    /// use onebasin_core::graph::{Graph, Numbers, Op};
    /// let mut g = Graph::new();
    /// let x = g.input("x", &[1, 4])?;
    /// let (q, scale) = (g.param("q", &[3, 4])?, g.param("scale", &[])?);
    /// g.set_numbers(q, Numbers::Whole);
    /// let weight = g.push("weight", Op::Binary(Binary::Mul), &[q, scale])?;
    /// let y = g.push("fc", Op::Linear, &[x, weight])?;
    /// g.output(y);
    /// assert_eq!(g.quantized().collect::<Vec<_>>(), [("q", "weight")]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn quantized(&self) -> impl Iterator<Item = (&str, &str)> {
        let whole = self.numbers.keys().filter(|v| self.value(**v).source == ValueSource::Param);
        let mut readers: BTreeMap<ValueId, &str> = whole.map(|v| (*v, "")).collect();
        if !readers.is_empty() {
            for node in self.nodes.iter().rev() {
                for input in &node.inputs {
                    readers.entry(*input).and_modify(|reader| *reader = &node.name);
                }
            }
        }
        readers.into_iter().map(|(v, reader)| (self.value(v).name.as_str(), reader))
    }
}
