//! Small tensors that are known before the network runs: shapes, axes, paddings, indices.

use onebasin_core::graph::Numbers;
use onebasin_core::graph::shape::broadcast;
use onebasin_core::{DType, Tensor, element_count};

/// Most axes of a value.
pub(super) const RANK: usize = 64;

/// Largest number of elements that is followed.
pub(super) const CAP: usize = 1 << 16;

/// What kind of number a value holds; arithmetic on whole numbers rounds towards zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementKind {
    Float,
    Int,
    Bool,
}

impl ElementKind {
    pub(super) fn of(dtype: DType) -> Self {
        match dtype {
            dtype if dtype.is_float() => Self::Float,
            DType::Bool => Self::Bool,
            _ => Self::Int,
        }
    }

    /// The same for a graph.
    pub(super) fn numbers(self) -> Numbers {
        match self {
            Self::Float => Numbers::Real,
            Self::Int => Numbers::Whole,
            Self::Bool => Numbers::Truth,
        }
    }

    /// The kind of an element type's number in ONNX; none for those that have no [`DType`].
    pub(super) fn of_code(code: i64) -> Option<Self> {
        i32::try_from(code).ok().and_then(crate::onnx::tensor::dtype).map(Self::of)
    }
}

/// Elements, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Elements {
    Float(Vec<f64>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
}

impl Elements {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Float(v) => v.len(),
            Self::Int(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    fn floats(&self) -> Vec<f64> {
        match self {
            Self::Float(v) => v.clone(),
            Self::Int(v) => v.iter().map(|&i| i as f64).collect(),
            Self::Bool(v) => v.iter().map(|&b| f64::from(u8::from(b))).collect(),
        }
    }

    /// The elements at these positions, which exist.
    fn pick(&self, positions: &[usize]) -> Self {
        match self {
            Self::Float(v) => Self::Float(positions.iter().map(|&p| v[p]).collect()),
            Self::Int(v) => Self::Int(positions.iter().map(|&p| v[p]).collect()),
            Self::Bool(v) => Self::Bool(positions.iter().map(|&p| v[p]).collect()),
        }
    }
}

/// All elements of a tensor; none if one is too large for `i64`.
pub(super) fn elements(tensor: &Tensor) -> Option<Elements> {
    let bytes = tensor.bytes();
    Some(match tensor.dtype() {
        DType::Bool => Elements::Bool(bytes.iter().map(|b| *b != 0).collect()),
        DType::I64 => ints(bytes, i64::from_le_bytes),
        DType::I32 => ints(bytes, |b| i64::from(i32::from_le_bytes(b))),
        DType::I16 => ints(bytes, |b| i64::from(i16::from_le_bytes(b))),
        DType::I8 => ints(bytes, |b| i64::from(i8::from_le_bytes(b))),
        DType::U32 => ints(bytes, |b| i64::from(u32::from_le_bytes(b))),
        DType::U16 => ints(bytes, |b| i64::from(u16::from_le_bytes(b))),
        DType::U8 => ints(bytes, |b: [u8; 1]| i64::from(b[0])),
        DType::U64 => {
            let values = bytes.as_chunks().0.iter().map(|b| i64::try_from(u64::from_le_bytes(*b)).ok());
            Elements::Int(values.collect::<Option<_>>()?)
        }
        _ => Elements::Float(tensor.to_f64().ok()?.into_owned()),
    })
}

fn ints<const N: usize>(bytes: &[u8], from: impl Fn([u8; N]) -> i64) -> Elements {
    Elements::Int(bytes.as_chunks().0.iter().map(|b| from(*b)).collect())
}

/// Numbers as a constant of a graph: `f32`, or `f64` if a whole number needs it.
pub(super) fn constant(shape: &[usize], data: &Elements) -> onebasin_core::error::Result<Tensor> {
    let values = data.floats();
    let exact = matches!(data, Elements::Float(_)) || values.iter().all(|v| f64::from(*v as f32) == *v);
    Tensor::from_f64_as(if exact { DType::F32 } else { DType::F64 }, shape, &values)
}

/// A tensor of at most [`CAP`] elements.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) data: Elements,
}

/// The number of elements of a shape that is small enough to be followed.
fn small(shape: &[usize]) -> Option<usize> {
    element_count(shape).ok().filter(|n| *n <= CAP && bounded(shape))
}

/// Whether there are few axes, and products of any of these lengths, and of small factors, are numbers of this machine.
pub(super) fn bounded(shape: &[usize]) -> bool {
    let product = shape.iter().try_fold(1_usize, |p, n| p.checked_mul(*n.max(&1)));
    shape.len() <= RANK && product.is_some_and(|p| p <= 1 << 40)
}

impl Array {
    /// None if the elements do not fill the shape, or are too many.
    pub(super) fn new(shape: &[usize], data: Elements) -> Option<Self> {
        (small(shape)? == data.len()).then(|| Self { shape: shape.to_vec(), data })
    }

    pub(super) fn ints(values: Vec<i64>) -> Option<Self> {
        Self::new(&[values.len()], Elements::Int(values))
    }

    /// The elements of a tensor, if they are few.
    pub(super) fn of(tensor: &Tensor) -> Option<Self> {
        small(tensor.shape())?;
        Self::new(tensor.shape(), elements(tensor)?)
    }

    pub(super) fn kind(&self) -> ElementKind {
        match self.data {
            Elements::Float(_) => ElementKind::Float,
            Elements::Int(_) => ElementKind::Int,
            Elements::Bool(_) => ElementKind::Bool,
        }
    }

    /// As a constant of a graph.
    pub(super) fn tensor(&self) -> onebasin_core::error::Result<Tensor> {
        constant(&self.shape, &self.data)
    }

    pub(super) fn floats(&self) -> Vec<f64> {
        self.data.floats()
    }

    /// Whole numbers; none for floats.
    pub(super) fn whole(&self) -> Option<Vec<i64>> {
        match &self.data {
            Elements::Float(_) => None,
            Elements::Int(v) => Some(v.clone()),
            Elements::Bool(v) => Some(v.iter().map(|&b| i64::from(b)).collect()),
        }
    }

    /// Lengths: whole numbers that are not negative.
    pub(super) fn lengths(&self) -> Option<Vec<usize>> {
        self.whole()?.into_iter().map(|v| usize::try_from(v).ok()).collect()
    }

    pub(super) fn cast(&self, kind: ElementKind) -> Self {
        let data = match (kind, &self.data) {
            (ElementKind::Float, _) => Elements::Float(self.floats()),
            (ElementKind::Int, Elements::Float(v)) => Elements::Int(v.iter().map(|&x| x as i64).collect()),
            (ElementKind::Int, _) => Elements::Int(self.whole().unwrap_or_default()),
            (ElementKind::Bool, _) => Elements::Bool(self.floats().iter().map(|&x| x != 0.0).collect()),
        };
        Self { shape: self.shape.clone(), data }
    }

    pub(super) fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        Self::new(shape, self.data.clone())
    }

    /// The tensor of this shape whose element at `index` is the one at the index that `from` makes of it.
    pub(super) fn gathered(&self, shape: &[usize], from: impl Fn(&[usize], &mut Vec<usize>)) -> Option<Self> {
        let count = small(shape)?;
        let (mut positions, mut at) = (Vec::with_capacity(count), Vec::new());
        let mut index = vec![0; shape.len()];
        for _ in 0..count {
            at.clear();
            from(&index, &mut at);
            if at.len() != self.shape.len() || at.iter().zip(&self.shape).any(|(i, n)| i >= n) {
                return None;
            }
            positions.push(at.iter().zip(&self.shape).fold(0, |p, (i, n)| p * n + i));
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Some(Self { shape: shape.to_vec(), data: self.data.pick(&positions) })
    }

    /// Repeated along axes of length 1 and axes added in front.
    pub(super) fn expanded(&self, shape: &[usize]) -> Option<Self> {
        let shape = broadcast(&self.shape, shape).ok()?;
        let skip = shape.len() - self.shape.len();
        self.gathered(&shape, |index, at| {
            at.extend(index[skip..].iter().zip(&self.shape).map(|(&i, &n)| if n == 1 { 0 } else { i }));
        })
    }

    /// Every element made of the elements of two tensors.
    pub(super) fn zip(
        &self,
        other: &Self,
        ints: impl Fn(i64, i64) -> Option<i64>,
        floats: impl Fn(f64, f64) -> f64,
    ) -> Option<Self> {
        let shape = broadcast(&self.shape, &other.shape).ok()?;
        let (a, b) = (self.expanded(&shape)?, other.expanded(&shape)?);
        let data = if self.kind() == ElementKind::Float || other.kind() == ElementKind::Float {
            Elements::Float(a.floats().into_iter().zip(b.floats()).map(|(x, y)| floats(x, y)).collect())
        } else {
            let values = a.whole()?.into_iter().zip(b.whole()?).map(|(x, y)| ints(x, y));
            Elements::Int(values.collect::<Option<_>>()?)
        };
        Some(Self { shape, data })
    }

    pub(super) fn map(&self, ints: impl Fn(i64) -> Option<i64>, floats: impl Fn(f64) -> f64) -> Option<Self> {
        let data = match &self.data {
            Elements::Float(v) => Elements::Float(v.iter().map(|&x| floats(x)).collect()),
            _ => Elements::Int(self.whole()?.into_iter().map(ints).collect::<Option<_>>()?),
        };
        Some(Self { shape: self.shape.clone(), data })
    }

    /// Arrays one after the other along an axis.
    pub(super) fn concat(arrays: &[&Self], axis: usize) -> Option<Self> {
        let first = arrays.first()?;
        let fits = |a: &&&Self| {
            a.kind() == first.kind()
                && a.shape.len() == first.shape.len()
                && (0..a.shape.len()).all(|k| k == axis || a.shape[k] == first.shape[k])
        };
        if axis >= first.shape.len() || !arrays.iter().all(|a| fits(&a)) {
            return None;
        }
        let mut shape = first.shape.clone();
        shape[axis] = arrays.iter().try_fold(0_usize, |n, a| n.checked_add(a.shape[axis]))?;
        let count = small(&shape)?;
        if count == 0 {
            return first.gathered(&shape, |_, _| {});
        }
        let (outer, inner) = (element_count(&shape[..axis]).ok()?, element_count(&shape[axis + 1..]).ok()?);
        let mut all = match first.kind() {
            ElementKind::Float => Elements::Float(Vec::with_capacity(count)),
            ElementKind::Int => Elements::Int(Vec::with_capacity(count)),
            ElementKind::Bool => Elements::Bool(Vec::with_capacity(count)),
        };
        for block in 0..outer {
            for array in arrays {
                let len = array.shape[axis] * inner;
                let range = block * len..(block + 1) * len;
                match (&mut all, &array.data) {
                    (Elements::Float(to), Elements::Float(from)) => to.extend_from_slice(&from[range]),
                    (Elements::Int(to), Elements::Int(from)) => to.extend_from_slice(&from[range]),
                    (Elements::Bool(to), Elements::Bool(from)) => to.extend_from_slice(&from[range]),
                    _ => return None,
                }
            }
        }
        Self::new(&shape, all)
    }
}
