//! How two networks differ.

use crate::names::escaped;

/// How two networks differ in names and shapes: what [`Params::diff`](crate::Params::diff) finds.
///
/// Printed it has one line per difference, shapes first, at most 20 of them.
///
/// ```
/// use onebasin_core::{Params, Tensor};
/// let net = |shape: &[usize]| -> Result<Params, onebasin_core::Error> {
///     Ok(Params::from_iter([("fc1.weight".to_owned(), Tensor::from_f32(shape, vec![0.; 6])?)]))
/// };
/// let diff = net(&[2, 3])?.diff(&net(&[3, 2])?);
/// assert_eq!(diff.to_string(), "  `fc1.weight`: shape [2, 3] in A, [3, 2] in B");
/// assert!(!diff.is_empty());
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StructureDiff {
    /// Names only A has, each with the nearest name only B has.
    pub only_a: Vec<(String, Option<String>)>,
    /// Names only B has.
    pub only_b: Vec<String>,
    /// Names whose shapes differ: name, A's shape, B's shape.
    pub shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl StructureDiff {
    /// Whether the networks have the same structure.
    ///
    /// ```
    /// assert!(onebasin_core::StructureDiff::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.only_a.is_empty() && self.only_b.is_empty() && self.shapes.is_empty()
    }
}

impl std::fmt::Display for StructureDiff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 20;
        let mut lines = Vec::new();
        for (name, a, b) in &self.shapes {
            lines.push(format!("  `{}`: shape {a:?} in A, {b:?} in B", escaped(name)));
        }
        for (name, near) in &self.only_a {
            let hint = near.as_ref().map_or(String::new(), |n| format!(" (nearest name in B: `{}`)", escaped(n)));
            lines.push(format!("  `{}`: only in A{hint}", escaped(name)));
        }
        for name in &self.only_b {
            lines.push(format!("  `{}`: only in B", escaped(name)));
        }
        let more = lines.len().saturating_sub(SHOWN);
        lines.truncate(SHOWN);
        f.write_str(&lines.join("\n"))?;
        if more > 0 {
            write!(f, "\n  … and {more} more")?;
        }
        Ok(())
    }
}
