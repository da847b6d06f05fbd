//! Stacks: tensors that together are one of one more axis, such as the weights of experts.
//!
//! The name of a stack says which tensors it is made of, and in which order: `experts.[0:8].up.weight` are `experts.0.up.weight`
//! to `experts.7.up.weight`, `MatMul_[57|60|63]` three tensors whose numbers do not follow each other. Tensor `j` is entry `j`
//! of the stack's first axis.

use std::borrow::Cow;

use bytes::Bytes;

use super::resolve::Symmetry;
use crate::error::Result;
use crate::params::Params;
use crate::tensor::{Storage, Tensor};

/// Tensors that one stack may be made of.
const MOST: usize = 1 << 16;

/// The tensors that a stack's name stands for, in order; none if the name is not that of a stack.
pub(super) fn members(name: &str) -> Option<Vec<String>> {
    let (prefix, inner, suffix) = parts(name)?;
    let whole = |entry: &str| format!("{prefix}{entry}{suffix}");
    if inner.contains('|') {
        return Some(inner.split('|').map(whole).collect());
    }
    let (first, end) = inner.split_once(':')?;
    let (first, end): (usize, usize) = (first.parse().ok()?, end.parse().ok()?);
    let fits = first < end && end - first >= 2 && end - first <= MOST;
    fits.then(|| (first..end).map(|n| whole(&n.to_string())).collect())
}

/// What stands before, in and behind the brackets of a stack's name.
pub(super) fn parts(name: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = name[from..].find('[').map(|at| from + at) {
        let close = open + name[open..].find(']')?;
        let inner = &name[open + 1..close];
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let numbers = inner.split_once(':').is_some_and(|(a, b)| digits(a) && digits(b));
        if numbers || (inner.contains('|') && !inner.contains('[')) {
            return Some((&name[..open], inner, &name[close + 1..]));
        }
        from = open + 1;
    }
    None
}

/// The name of the stack of these tensors, in this order; none if no name says it.
pub(super) fn named(tensors: &[&str]) -> Option<String> {
    let (first, rest) = tensors.split_first()?;
    let shared = |count: &dyn Fn(&str) -> usize| rest.iter().map(|name| count(name)).min();
    let mut start = shared(&|name| first.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count())?;
    while !first.is_char_boundary(start) || (start > 0 && first.as_bytes()[start - 1].is_ascii_digit()) {
        start -= 1;
    }
    let own = tensors.iter().map(|name| name.len()).min()? - start;
    let mut end = shared(&|name| first.bytes().rev().zip(name.bytes().rev()).take_while(|(a, b)| a == b).count())?;
    end = end.min(own);
    let at = |end: usize| first.len() - end;
    while end > 0 && (!first.is_char_boundary(at(end)) || first.as_bytes()[at(end)].is_ascii_digit()) {
        end -= 1;
    }
    let (prefix, suffix) = (&first[..start], &first[first.len() - end..]);
    let entries: Vec<&str> = tensors.iter().map(|name| &name[start..name.len() - end]).collect();
    let number = |entry: &&str| entry.parse().ok().filter(|n: &usize| n.to_string() == *entry);
    let numbers: Option<Vec<usize>> = entries.iter().map(number).collect();
    let inner = match numbers {
        Some(numbers) if numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]) => {
            format!("{}:{}", numbers[0], numbers[0] + numbers.len())
        }
        _ => entries.join("|"),
    };
    let name = format!("{prefix}[{inner}]{suffix}");
    let told = members(&name).is_some_and(|told| told.iter().map(String::as_str).eq(tensors.iter().copied()));
    told.then_some(name)
}

/// A stack's name with its entries left out, as a group can be called.
pub(super) fn without_entries(name: &str) -> String {
    parts(name).map_or_else(|| name.to_owned(), |(prefix, _, suffix)| format!("{prefix}_{suffix}"))
}

impl Symmetry {
    /// Names of all tensors that it knows, those of stacks one by one, in order.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// let one = Tensor::from_f32(&[1], vec![0.])?;
    /// let net = Params::from_iter(["x.0.w", "x.1.w"].map(|name| (name.to_owned(), one.clone())));
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("x.[0:2].w", "x .")])?, &net)?;
    /// assert_eq!(symmetry.tensors().map(|(name, _)| name).collect::<Vec<_>>(), ["x.[0:2].w"]);
    /// assert_eq!(symmetry.names().collect::<Vec<_>>(), ["x.0.w", "x.1.w"]);
    /// assert_eq!(symmetry.members("x.[0:2].w").collect::<Vec<_>>(), ["x.0.w", "x.1.w"]);
    /// assert_eq!(symmetry.stack_of("x.1.w"), Some(("x.[0:2].w", 1)));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors().flat_map(|(name, _)| self.members(name))
    }

    /// The tensors that a name of [`tensors`](Self::tensors) stands for: those of a stack in their order, else the one of
    /// that name; see [`names`](Self::names) for an example.
    pub fn members<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let members = self.stacks.get(name);
        let own = if members.is_some() { None } else { Some(name) };
        members.into_iter().flatten().map(String::as_str).chain(own)
    }

    /// The stack that a tensor is part of, and its place there; see [`names`](Self::names) for an example.
    pub fn stack_of(&self, tensor: &str) -> Option<(&str, usize)> {
        self.stacked.get(tensor).map(|(stack, place)| (stack.as_str(), *place))
    }

    /// The name of [`tensors`](Self::tensors) under which a tensor stands: that of its stack, or its own.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// let one = Tensor::from_f32(&[1], vec![0.])?;
    /// let net = Params::from_iter(["x.0.w", "x.1.w"].map(|name| (name.to_owned(), one.clone())));
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("x.[0:2].w", "x .")])?, &net)?;
    /// assert_eq!(symmetry.standing("x.1.w"), "x.[0:2].w");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn standing<'a>(&'a self, tensor: &'a str) -> &'a str {
        self.stack_of(tensor).map_or(tensor, |(stack, _)| stack)
    }

    /// Whether it knows a tensor, alone or in a stack.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// let net = Params::from_iter([("w".to_owned(), Tensor::from_f32(&[1], vec![0.])?)]);
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", ".")])?, &net)?;
    /// assert!(symmetry.covers("w") && !symmetry.covers("v"));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn covers(&self, tensor: &str) -> bool {
        self.tensor(self.standing(tensor)).is_ok()
    }

    /// The tensors of a network as [`tensors`](Self::tensors) names them: each stack as one tensor. Matching compares
    /// networks in this form.
    ///
    /// Where there are no stacks, or they are stacked already, this is the network itself; else tensors that the symmetry does
    /// not know are left out. Cost: a stack is put together when it is first looked at, and then lies in memory beside its
    /// tensors.
    ///
    /// # Errors
    /// [`Error::NoTensor`](crate::Error::NoTensor) if a tensor of the symmetry is missing.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// let tensor = |value: f32| Tensor::from_f32(&[1], vec![value]);
    /// let net = Params::from_iter([("x.0.w".to_owned(), tensor(5.)?), ("x.1.w".to_owned(), tensor(7.)?)]);
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("x.[0:2].w", "x .")])?, &net)?;
    /// let stacked = symmetry.stacked(&net)?;
    /// assert_eq!(stacked.require("x.[0:2].w")?.to_f32()?[..], [5., 7.]);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn stacked<'p>(&self, params: &'p Params) -> Result<Cow<'p, Params>> {
        if self.stacks.keys().all(|name| params.get(name).is_some()) {
            return Ok(Cow::Borrowed(params));
        }
        let tensor = |(name, _): (&str, _)| {
            let Some(members) = self.stacks.get(name) else {
                return Ok((name.to_owned(), params.require(name)?.clone()));
            };
            let members = members.iter().map(|m| params.require(m).cloned()).collect::<Result<Vec<_>>>()?;
            let shape = [&[members.len()], members[0].shape()].concat();
            let dtype = members[0].dtype();
            Ok((name.to_owned(), Tensor::stored(dtype, &shape, std::sync::Arc::new(Together(members)), 0)?))
        };
        Ok(Cow::Owned(self.tensors().map(tensor).collect::<Result<_>>()?))
    }
}

/// Tensors one after the other.
struct Together(Vec<Tensor>);

impl Storage for Together {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> std::result::Result<(), String> {
        let (mut skipped, mut filled) = (offset as usize, 0);
        for tensor in &self.0 {
            let len = tensor.byte_len();
            if skipped >= len || filled == to.len() {
                skipped = skipped.saturating_sub(len);
                continue;
            }
            let bytes: &Bytes = tensor.read().map_err(|e| e.to_string())?;
            let part = &bytes[skipped..len.min(skipped + to.len() - filled)];
            to[filled..][..part.len()].copy_from_slice(part);
            filled += part.len();
            skipped = 0;
        }
        if filled == to.len() { Ok(()) } else { Err("the stack ends before what is asked of it".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_which_tensors_in_which_order() {
        let names = |pattern: &str, of: &[usize]| of.iter().map(|n| pattern.replace('#', &n.to_string())).collect();
        let cases: [(Vec<String>, &str); 6] = [
            (names("x.#.up.weight", &[0, 1, 2]), "x.[0:3].up.weight"),
            (names("x.#.up.weight", &[9, 10, 11]), "x.[9:12].up.weight"),
            (names("onnx::MatMul_#", &[57, 60, 63]), "onnx::MatMul_[57|60|63]"),
            (names("x.#.w2", &[2, 1]), "x.[2|1].w2"),
            (names("x.#.w.0", &[10, 11, 12]), "x.[10:13].w.0"),
            (vec!["left.w".to_owned(), "right.w".to_owned()], "[lef|righ]t.w"),
        ];
        for (tensors, name) in cases {
            let tensors: Vec<&str> = tensors.iter().map(String::as_str).collect();
            assert_eq!(named(&tensors).as_deref(), Some(name));
            assert_eq!(members(name).unwrap(), tensors);
        }
    }

    #[test]
    fn other_brackets_are_letters_of_a_name() {
        for name in
            ["blocks[0].w", "w[1:1]", "w[2:1]", "w[0:1]", "w[a:b]", "w[:3]", "w", "w[0:99999999999999999999]", "w[0:9"]
        {
            assert_eq!(members(name), None, "{name}");
        }
        assert_eq!(members("blocks[0].x[0:2]").unwrap(), ["blocks[0].x0", "blocks[0].x1"]);
        assert_eq!(named(&["a|b", "c"]), None);
        assert_eq!(named(&["w"]), None);
    }
}
