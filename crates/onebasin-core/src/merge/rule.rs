//! What a merge makes of one tensor: the formula, for any range of its entries.

use std::collections::BTreeMap;

use bytes::Bytes;
use rayon::prelude::*;

use super::Products;
use crate::convert::{decode, encode};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::symmetry::{AxisLayout, GroupId, Symmetry};
use crate::tensor::Tensor;

/// Entries computed at a time, small enough that their f64 values stay in cache.
const BLOCK: usize = 512;
/// Entries that one task of [`TensorRule::apply`] computes.
const PIECE: usize = 1 << 18;

/// How counters of batches are called.
const COUNTER: &str = "num_batches_tracked";

/// What becomes of two aligned networks: the formula of a merge before it meets tensors.
///
/// The same rule serves networks in memory ([`merge`](super::merge), [`merge_by_group`](super::merge_by_group)) and
/// tensors that pass by in pieces.
///
/// ```
/// use onebasin_core::{DType, merge::MergeRule};
/// let rule = MergeRule::lerp(0.25)?.tensor("w", &[3], DType::F32, DType::F32);
/// let (a, b, mut merged) = ([1_f32, 2.].map(f32::to_le_bytes), [5_f32, 2.].map(f32::to_le_bytes), [0; 8]);
/// rule.fill(1, a.as_flattened(), b.as_flattened(), &mut merged); // the second and the third entry
/// assert_eq!(merged, [2_f32, 2.].map(f32::to_le_bytes).as_flattened());
/// # Ok::<(), onebasin_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MergeRule<'a> {
    lambda: f64,
    circle: Option<(f64, f64)>,
    symmetry: Option<&'a Symmetry>,
    groups: Option<&'a BTreeMap<GroupId, f64>>,
    dtype: Option<DType>,
}

impl<'a> MergeRule<'a> {
    /// The straight line `A + λ (B − A)`.
    ///
    /// # Errors
    /// [`Error::Option`] if λ lies outside [0, 1].
    ///
    /// ```
    /// use onebasin_core::merge::MergeRule;
    /// let error = MergeRule::lerp(1.5).unwrap_err();
    /// assert_eq!(error.to_string(), "λ must lie between 0 (network A) and 1 (network B), found 1.5");
    /// ```
    pub fn lerp(lambda: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&lambda) {
            let (expected, found) = ("lie between 0 (network A) and 1 (network B)", lambda.to_string());
            return Err(Error::Option { option: "λ", expected, found });
        }
        Ok(Self { lambda, circle: None, symmetry: None, groups: None, dtype: None })
    }

    /// The great circle between the two weight vectors; the straight line where they are (anti)parallel or zero, and at
    /// the ends.
    ///
    /// Formula: `cos ω = ⟨A, B⟩ / (‖A‖ ‖B‖)`; `w_A = sin((1 − λ) ω) / sin ω` and `w_B = sin(λ ω) / sin ω`.
    ///
    /// # Errors
    /// [`Error::Option`] if λ lies outside [0, 1].
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// use onebasin_core::DType;
    /// use onebasin_core::merge::{MergeRule, Products};
    /// let (a, b) = (net(&[3., 0.])?, net(&[0., 3.])?);
    /// let rule = MergeRule::slerp(0.5, Products::of(&a, &b)?)?.tensor("w", &[2], DType::F32, DType::F32);
    /// let mut merged = [0; 8];
    /// rule.fill(0, a.require("w")?.bytes(), b.require("w")?.bytes(), &mut merged);
    /// assert_eq!(merged, [4.5_f32.sqrt(); 2].map(f32::to_le_bytes).as_flattened());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn slerp(lambda: f64, products: Products) -> Result<Self> {
        let rule = Self::lerp(lambda)?;
        let [aa, bb, ab] = products.0;
        let omega = (ab / (aa * bb).sqrt()).clamp(-1.0, 1.0).acos();
        let sin = omega.sin();
        if sin.is_nan() || sin < 1e-8 || lambda == 0.0 || lambda == 1.0 {
            return Ok(rule);
        }
        Ok(Self { circle: Some((((1.0 - lambda) * omega).sin() / sin, (lambda * omega).sin() / sin)), ..rule })
    }

    /// The straight line with a λ of its own for some groups: see [`merge_by_group`](super::merge_by_group).
    ///
    /// # Errors
    /// [`Error::GroupLambda`] or [`Error::Option`] if a λ lies outside [0, 1].
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// # let net = |w: &[f32]| -> Result<Params, onebasin_core::Error> {
    /// #     Ok(Params::from_iter([("w".to_owned(), Tensor::from_f32(&[w.len()], w.to_vec())?)]))
    /// # };
    /// use onebasin_core::merge::MergeRule;
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net(&[1., 2.])?)?;
    /// let of_group = [(symmetry.group_named("h")?, 2.0)].into();
    /// let error = MergeRule::by_group(&symmetry, 0.5, &of_group).unwrap_err();
    /// assert_eq!(error.to_string(), "λ of group `h` must lie between 0 and 1, found 2");
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn by_group(symmetry: &'a Symmetry, lambda: f64, of_group: &'a BTreeMap<GroupId, f64>) -> Result<Self> {
        if let Some((id, l)) = of_group.iter().find(|(_, l)| !(0.0..=1.0).contains(*l)) {
            return Err(Error::GroupLambda { group: symmetry.group(*id).name.clone(), lambda: *l });
        }
        Ok(Self { groups: Some(of_group), ..Self::lerp(lambda)?.within(symmetry) })
    }

    /// The same for networks of this symmetry: whole numbers that it moves are weights, and have to be the same in both.
    ///
    /// ```
    /// # use onebasin_core::symmetry::{Symmetry, SymmetrySpec};
    /// # use onebasin_core::{Params, Tensor};
    /// use onebasin_core::{DType, merge::MergeRule};
    /// let net = Params::from_iter([("w".to_owned(), Tensor::from_u32(&[2], vec![1, 2])?)]);
    /// let symmetry = Symmetry::resolve(&SymmetrySpec::from_patterns([("w", "h")])?, &net)?;
    /// let bytes = [1_u32, 2].map(u32::to_le_bytes);
    /// let [a, b] = [bytes.as_flattened(), &bytes.map(|b| [b[0] + 1, 0, 0, 0]).as_flattened().to_vec()];
    /// let passes = |rule: MergeRule<'_>| rule.tensor("w", &[2], DType::U32, DType::U32).check("w", 0, a, b).is_ok();
    /// assert!(passes(MergeRule::lerp(0.5)?) && !passes(MergeRule::lerp(0.5)?.within(&symmetry)));
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    #[must_use]
    pub fn within(self, symmetry: &'a Symmetry) -> Self {
        Self { symmetry: Some(symmetry), ..self }
    }

    /// The same with floating-point results cast to `dtype`, after they were rounded to A's element type.
    ///
    /// # Errors
    /// [`Error::DType`] if `dtype` is not a float.
    ///
    /// ```
    /// use onebasin_core::{DType, merge::MergeRule};
    /// let rule = MergeRule::lerp(0.5)?.cast(DType::BF16)?;
    /// assert_eq!(rule.tensor("w", &[3], DType::F32, DType::F32).dtype(), DType::BF16);
    /// assert_eq!(rule.tensor("steps", &[1], DType::I64, DType::I64).dtype(), DType::I64);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn cast(self, dtype: DType) -> Result<Self> {
        if !dtype.is_float() {
            return Err(Error::DType { expected: "floating-point", found: dtype });
        }
        Ok(Self { dtype: Some(dtype), ..self })
    }

    /// The rule of the tensor called `name`, from its shape and its element types in A and in B.
    ///
    /// At λ = 0 and λ = 1 it copies that end. Integers and booleans have nothing between: counters are A's (a single number, or
    /// what is called `num_batches_tracked`), what the symmetry moves must be the same in both ([`TensorRule::check`]), and
    /// else the nearer end is copied.
    /// ```
    /// use onebasin_core::{DType, merge::MergeRule};
    /// let rule = MergeRule::lerp(0.5)?;
    /// assert_eq!(rule.tensor("w", &[2, 2], DType::F16, DType::F32).dtype(), DType::F16);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn tensor(&self, name: &str, shape: &[usize], a: DType, b: DType) -> TensorRule {
        let layout =
            self.symmetry.and_then(|symmetry| Some((symmetry, symmetry.tensor(symmetry.standing(name)).ok()?)));
        let place = self.symmetry.and_then(|symmetry| symmetry.stack_of(name)).map_or(0, |(_, place)| place);
        let named = layout.zip(self.groups).and_then(|((symmetry, layout), of_group)| {
            let by_axis: Vec<_> = layout.axes.iter().map(|axis| lambdas(symmetry, axis, of_group)).collect();
            by_axis.iter().flatten().any(|l| l.is_finite()).then_some(by_axis)
        });
        let moves = layout.is_some_and(|(_, layout)| layout.moves());
        let floats = a.is_float() && b.is_float();
        let entries = shape.iter().product::<usize>();
        let counts = !floats && (entries <= 1 || name.ends_with(COUNTER));
        let formula = match (named, self.circle) {
            (Some(by_axis), _) if floats => Formula::ByAxis(self.lambda, by_axis),
            (Some(by_axis), _) if a == b && !counts => Formula::EitherEnd(self.lambda, by_axis),
            (_, Some((wa, wb))) if floats => Formula::Circle(wa, wb),
            _ if self.lambda >= 1.0 => Formula::B,
            _ if self.lambda <= 0.0 || counts => Formula::A,
            _ if floats => Formula::Line(self.lambda),
            _ if moves => Formula::Same,
            _ if self.lambda <= 0.5 => Formula::A,
            _ => Formula::B,
        };
        let rounded = if matches!(formula, Formula::B) { b } else { a };
        let dtype = self.dtype.filter(|_| rounded.is_float()).unwrap_or(rounded);
        let own = shape.to_vec();
        let shape = layout.map_or_else(|| own.clone(), |(_, layout)| layout.laid_out());
        let first = place * entries;
        TensorRule { formula, own, shape, first, a, b, rounded, dtype }
    }
}

/// What a merge makes of one tensor; see [`MergeRule`] for an example.
#[derive(Debug, Clone)]
pub struct TensorRule {
    pub(super) formula: Formula,
    /// The tensor's own shape.
    pub(super) own: Vec<usize>,
    /// What it is laid out in.
    pub(super) shape: Vec<usize>,
    /// Where the tensor begins in its stack.
    pub(super) first: usize,
    pub(super) a: DType,
    pub(super) b: DType,
    /// The type that the formula's value is rounded to.
    rounded: DType,
    dtype: DType,
}

#[derive(Debug, Clone)]
pub(super) enum Formula {
    /// A's entries, bit for bit.
    A,
    /// B's entries, bit for bit.
    B,
    /// `a + λ (b − a)`.
    Line(f64),
    /// `w_a a + w_b b`.
    Circle(f64, f64),
    /// The line at the smallest λ of an entry's positions along the axes, or at the first λ where none has one.
    ByAxis(f64, Vec<Vec<f64>>),
    /// A's entries, which are those of B.
    Same,
    /// At λ by axis, an end bit for bit where it is 0 or 1, and elsewhere what both hold.
    EitherEnd(f64, Vec<Vec<f64>>),
}

impl TensorRule {
    /// Element type of the result: A's, or that of the cast; where B is copied, B's.
    /// ```
    /// use onebasin_core::{DType, merge::MergeRule};
    /// let dtype = |rule: MergeRule<'_>| rule.tensor("w", &[1], DType::F16, DType::F32).dtype();
    /// assert_eq!(dtype(MergeRule::lerp(0.5)?), DType::F16);
    /// assert_eq!(dtype(MergeRule::lerp(1.0)?), DType::F32);
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// λ of one entry, by its flat position.
    pub(super) fn lambda_at(&self, lambda: f64, by_axis: &[Vec<f64>], flat: usize) -> f64 {
        let found = smallest(&self.shape, by_axis, self.first + flat);
        if found.is_infinite() { lambda } else { found }
    }

    /// Fills `out` with the merged entries from `start` on. `a` and `b` hold the same entries of A and of the aligned B.
    ///
    /// Formula: that of the rule in f64, rounded to nearest even in A's element type, then in that of the cast.
    ///
    /// # Panics
    /// If `a`, `b` and `out` do not hold the same number of entries.
    /// ```
    /// use onebasin_core::{DType, merge::MergeRule};
    /// let rule = MergeRule::lerp(0.5)?.tensor("w", &[2], DType::F32, DType::F64);
    /// let (a, b, mut merged) = (1_f32.to_le_bytes(), 4_f64.to_le_bytes(), [0; 4]);
    /// rule.fill(1, &a, &b, &mut merged); // the second of two entries
    /// assert_eq!(merged, 2.5_f32.to_le_bytes());
    /// # Ok::<(), onebasin_core::Error>(())
    /// ```
    pub fn fill(&self, start: usize, a: &[u8], b: &[u8], out: &mut [u8]) {
        let entries = out.len() / self.dtype.size();
        let whole = out.len().is_multiple_of(self.dtype.size());
        assert!(whole && a.len() == entries * self.a.size() && b.len() == entries * self.b.size(), "the same entries");
        let blocks = a.chunks(BLOCK * self.a.size()).zip(b.chunks(BLOCK * self.b.size()));
        let blocks = blocks.zip(out.chunks_mut(BLOCK * self.dtype.size()));
        let (mut ends, mut rounded) = ([[0.0; BLOCK]; 2], [0; BLOCK * size_of::<f64>()]);
        for (k, ((a, b), out)) in blocks.enumerate() {
            self.fill_block(start + k * BLOCK, a, b, out, &mut ends, &mut rounded);
        }
    }

    /// The merged tensor, called `name` in errors, of A's and the aligned B's.
    pub(super) fn apply(&self, name: &str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.check(name, 0, a.bytes(), b.bytes())?;
        match &self.formula {
            Formula::A | Formula::Same => return a.cast(self.dtype),
            Formula::B => return b.cast(self.dtype),
            Formula::Line(_) | Formula::Circle(..) | Formula::ByAxis(..) | Formula::EitherEnd(..) => {}
        }
        let mut merged = vec![0; a.len() * self.dtype.size()];
        let ends = a.bytes().par_chunks(PIECE * self.a.size()).zip(b.bytes().par_chunks(PIECE * self.b.size()));
        let pieces = merged.par_chunks_mut(PIECE * self.dtype.size()).zip(ends).enumerate();
        pieces.for_each(|(k, (out, (a, b)))| self.fill(k * PIECE, a, b, out));
        Tensor::new(self.dtype, a.shape(), Bytes::from(merged))
    }

    /// `ends` and `rounded` are room for values.
    fn fill_block(
        &self,
        start: usize,
        a: &[u8],
        b: &[u8],
        out: &mut [u8],
        [x, y]: &mut [[f64; BLOCK]; 2],
        rounded: &mut [u8; BLOCK * size_of::<f64>()],
    ) {
        let entries = out.len() / self.dtype.size();
        let (x, y) = (&mut x[..entries], &mut y[..entries]);
        let rounded = match &self.formula {
            Formula::A | Formula::Same => a,
            Formula::B => b,
            Formula::EitherEnd(lambda, by_axis) => {
                let size = self.rounded.size();
                for (k, out) in out.chunks_exact_mut(size).enumerate() {
                    let end = if self.lambda_at(*lambda, by_axis, start + k) == 1.0 { b } else { a };
                    out.copy_from_slice(&end[k * size..][..size]);
                }
                return;
            }
            Formula::Line(_) | Formula::Circle(..) | Formula::ByAxis(..) => {
                decode(self.a, a, x);
                decode(self.b, b, y);
                self.combine(start, x, y);
                if self.dtype == self.rounded {
                    return encode(self.dtype, x, out);
                }
                let rounded = &mut rounded[..entries * self.rounded.size()];
                encode(self.rounded, x, rounded);
                rounded
            }
        };
        if self.dtype == self.rounded {
            return out.copy_from_slice(rounded);
        }
        decode(self.rounded, rounded, x);
        encode(self.dtype, x, out);
    }

    /// Replaces values of A by merged ones.
    fn combine(&self, start: usize, a: &mut [f64], b: &[f64]) {
        let pairs = a.iter_mut().zip(b);
        match &self.formula {
            Formula::A | Formula::B | Formula::Same | Formula::EitherEnd(..) => unreachable!("ends are copied"),
            Formula::Line(lambda) => pairs.for_each(|(x, y)| *x = between(*x, *y, *lambda)),
            Formula::Circle(wa, wb) => pairs.for_each(|(x, y)| *x = wa * *x + wb * y),
            Formula::ByAxis(lambda, by_axis) => {
                for (k, (x, y)) in pairs.enumerate() {
                    let l = self.lambda_at(*lambda, by_axis, start + k);
                    *x = if l == 0.0 {
                        *x
                    } else if l == 1.0 {
                        *y
                    } else {
                        between(*x, *y, l)
                    };
                }
            }
        }
    }
}

/// `x + λ (y − x)`; infinities that are the same at both ends stay.
fn between(x: f64, y: f64, lambda: f64) -> f64 {
    if x.is_infinite() && x == y { x } else { x + lambda * (y - x) }
}

/// The smallest λ at the positions of one entry, by its flat position.
fn smallest(shape: &[usize], by_axis: &[Vec<f64>], flat: usize) -> f64 {
    let mut rest = flat;
    let mut found = f64::INFINITY;
    for (len, lambdas) in shape.iter().zip(by_axis).rev() {
        found = found.min(lambdas[rest % len]);
        rest /= len;
    }
    found
}

/// The smallest λ that a group names at every position of an axis; infinite where none does.
fn lambdas(symmetry: &Symmetry, axis: &AxisLayout, of_group: &BTreeMap<GroupId, f64>) -> Vec<f64> {
    let mut found = vec![f64::INFINITY; axis.len];
    for occurrence in &axis.occurrences {
        let groups = occurrence.digits.iter().filter_map(|d| d.group);
        let named = groups.filter_map(|g| of_group.get(&symmetry.root(g)));
        let smallest = named.fold(f64::INFINITY, |m, l| m.min(*l));
        occurrence.for_each(|values| found[occurrence.position(values)] = smallest);
    }
    found
}
