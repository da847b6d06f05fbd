//! How a tensor of a model is made of tensors of a checkpoint.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use onebasin_core::graph::Op;
use onebasin_core::graph::op::Dim;
use onebasin_core::{DType, Params, Tensor, element_count};

use super::super::array::ElementKind;
use super::super::plan::{GraphPlan, PlanSlot};

/// Rearrangements of tensors, innermost first.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::onnx::graph) enum Recipe {
    /// A tensor of the checkpoint.
    Tensor { name: String, shape: Vec<usize> },
    /// Some positions of an axis, one after the other.
    Slice { of: Box<Recipe>, axis: usize, start: usize, len: usize },
    /// The same elements in another shape.
    Reshape { of: Box<Recipe>, shape: Vec<usize> },
    /// Axis `k` is axis `order[k]` of what it is made of.
    Transpose { of: Box<Recipe>, order: Vec<usize> },
    /// Parts one after the other along an axis.
    Concat { parts: Vec<Recipe>, axis: usize },
}

impl Recipe {
    pub(super) fn tensor(name: &str, tensor: &Tensor) -> Self {
        Self::Tensor { name: name.to_owned(), shape: tensor.shape().to_vec() }
    }

    pub(super) fn sliced(self, axis: usize, start: usize, len: usize) -> Self {
        if start == 0 && self.shape()[axis] == len {
            return self;
        }
        Self::Slice { of: Box::new(self), axis, start, len }
    }

    pub(super) fn reshaped(self, shape: &[usize]) -> Self {
        match self {
            same if same.shape() == shape => same,
            Self::Reshape { of, .. } => of.reshaped(shape),
            of => Self::Reshape { of: Box::new(of), shape: shape.to_vec() },
        }
    }

    pub(super) fn transposed(self, order: &[usize]) -> Self {
        if order.iter().enumerate().all(|(k, &o)| k == o) {
            return self;
        }
        Self::Transpose { of: Box::new(self), order: order.to_vec() }
    }

    /// Parts one after the other; where all are reordered alike, what is put together is reordered once.
    pub(super) fn joined(mut parts: Vec<Self>, axis: usize) -> Self {
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return only;
        }
        let order = |part: &Self| if let Self::Transpose { order, .. } = part { Some(order.clone()) } else { None };
        let first = parts.first().and_then(order);
        let Some(order) = first.filter(|first| parts.iter().all(|p| order(p).as_ref() == Some(first))) else {
            return Self::Concat { parts, axis };
        };
        let inner = parts.into_iter().map(|part| if let Self::Transpose { of, .. } = part { *of } else { part });
        Self::Concat { parts: inner.collect(), axis: order[axis] }.transposed(&order)
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        match self {
            Self::Tensor { shape, .. } | Self::Reshape { shape, .. } => shape.clone(),
            Self::Slice { of, axis, len, .. } => {
                let mut shape = of.shape();
                shape[*axis] = *len;
                shape
            }
            Self::Transpose { of, order } => {
                let shape = of.shape();
                order.iter().map(|&o| shape[o]).collect()
            }
            Self::Concat { parts, axis } => {
                let mut shape = parts[0].shape();
                shape[*axis] = parts.iter().map(|p| p.shape()[*axis]).sum();
                shape
            }
        }
    }

    /// The tensors it is made of, each as often as it is used.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Tensor { name, .. } => vec![name],
            Self::Slice { of, .. } | Self::Reshape { of, .. } | Self::Transpose { of, .. } => of.names(),
            Self::Concat { parts, .. } => parts.iter().flat_map(Self::names).collect(),
        }
    }

    /// The same of tensors of other names.
    pub(super) fn renamed(&mut self, to: &dyn Fn(&str) -> Option<String>) {
        match self {
            Self::Tensor { name, .. } => {
                if let Some(other) = to(name) {
                    *name = other;
                }
            }
            Self::Slice { of, .. } | Self::Reshape { of, .. } | Self::Transpose { of, .. } => of.renamed(to),
            Self::Concat { parts, .. } => parts.iter_mut().for_each(|p| p.renamed(to)),
        }
    }

    /// The tensor that it makes; none if one is missing or of another shape, or their element types differ.
    pub(super) fn evaluate<'p>(&self, params: &'p Params) -> Option<Cow<'p, Tensor>> {
        Some(match self {
            Self::Tensor { name, shape } => Cow::Borrowed(params.get(name).filter(|t| t.shape() == *shape)?),
            Self::Slice { of, axis, start, len } => {
                Cow::Owned(slice(of.evaluate(params)?.as_ref(), *axis, *start, *len)?)
            }
            Self::Reshape { of, shape } => {
                let of = of.evaluate(params)?;
                Cow::Owned(Tensor::new(of.dtype(), shape, of.bytes().clone()).ok()?)
            }
            Self::Transpose { of, order } => Cow::Owned(transpose(of.evaluate(params)?.as_ref(), order)?),
            Self::Concat { parts, axis } => {
                let parts = parts.iter().map(|p| p.evaluate(params)).collect::<Option<Vec<_>>>()?;
                Cow::Owned(concat(&parts, *axis)?)
            }
        })
    }

    /// The value in the graph that it makes, as operators on parameters.
    pub(in crate::onnx::graph) fn plan(&self, plan: &mut GraphPlan) -> Result<PlanSlot, String> {
        let push = |plan: &mut GraphPlan, op: Op, inputs: &[PlanSlot]| {
            plan.push(op, inputs, ElementKind::Float).map(|made| made[0])
        };
        Ok(match self {
            Self::Tensor { name, shape } => plan.param(name, ElementKind::Float, shape),
            Self::Slice { of, axis, start, len } => {
                let of = of.plan(plan)?;
                push(plan, Op::Slice { axis: *axis, start: *start, len: *len, step: 1 }, &[of])?
            }
            Self::Reshape { of, shape } => {
                let of = of.plan(plan)?;
                push(plan, Op::Reshape(shape.iter().map(|&n| Dim::Size(n)).collect()), &[of])?
            }
            Self::Transpose { of, order } => {
                let of = of.plan(plan)?;
                push(plan, Op::Transpose(order.clone()), &[of])?
            }
            Self::Concat { parts, axis } => {
                let parts = parts.iter().map(|p| p.plan(plan)).collect::<Result<Vec<_>, _>>()?;
                push(plan, Op::Concat { axis: *axis }, &parts)?
            }
        })
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor { name, .. } => write!(f, "`{name}`"),
            Self::Slice { of, axis, start, len } => write!(f, "{of}[{start}..{} of axis {axis}]", start + len),
            Self::Reshape { of, shape } => write!(f, "{of} as {shape:?}"),
            Self::Transpose { of, order } => write!(f, "{of} with axes {order:?}"),
            Self::Concat { parts, axis } => {
                let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
                write!(f, "[{}] along axis {axis}", parts.join(", "))
            }
        }
    }
}

/// Positions `start..start + len` of an axis.
pub(super) fn slice(tensor: &Tensor, axis: usize, start: usize, len: usize) -> Option<Tensor> {
    let mut shape = tensor.shape().to_vec();
    let (whole, size) = (*shape.get(axis)?, tensor.dtype().size());
    if start.checked_add(len)? > whole {
        return None;
    }
    shape[axis] = len;
    let inner = element_count(&shape[axis + 1..]).ok()? * size;
    if axis == 0 {
        return Tensor::new(tensor.dtype(), &shape, tensor.bytes().slice(start * inner..(start + len) * inner)).ok();
    }
    let mut bytes = Vec::with_capacity(element_count(&shape).ok()? * size);
    for block in tensor.bytes().chunks_exact((whole * inner).max(1)) {
        bytes.extend_from_slice(&block[start * inner..(start + len) * inner]);
    }
    Tensor::new(tensor.dtype(), &shape, Bytes::from(bytes)).ok()
}

/// Where each element of the reordered tensor lies in the tensor, in elements, row by row; one call a run of the last
/// axis with its first position and their distance.
pub(super) fn runs(shape: &[usize], order: &[usize], mut run: impl FnMut(usize, usize, usize) -> bool) -> bool {
    let Some((last, outer)) = order.split_last() else { return run(0, 1, 1) };
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let (strides, lengths): (Vec<usize>, Vec<usize>) = outer.iter().map(|&o| (stride(o), shape[o])).unzip();
    let count: usize = lengths.iter().product();
    let mut index = vec![0; outer.len()];
    for _ in 0..count {
        let at = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        if !run(at, shape[*last], stride(*last)) {
            return false;
        }
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            if index[axis] < lengths[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    true
}

/// The tensor with its axes in another order.
pub(super) fn transpose(tensor: &Tensor, order: &[usize]) -> Option<Tensor> {
    let shape: Vec<usize> = order.iter().map(|&o| tensor.shape().get(o).copied()).collect::<Option<_>>()?;
    let (from, size) = (tensor.bytes(), tensor.dtype().size());
    let mut bytes = Vec::with_capacity(from.len());
    runs(tensor.shape(), order, |at, len, stride| {
        (0..len).for_each(|k| bytes.extend_from_slice(&from[(at + k * stride) * size..][..size]));
        true
    });
    Tensor::new(tensor.dtype(), &shape, Bytes::from(bytes)).ok()
}

fn concat(parts: &[Cow<'_, Tensor>], axis: usize) -> Option<Tensor> {
    let first = parts.first()?;
    let dtype: DType = first.dtype();
    let mut shape = first.shape().to_vec();
    let alike = |t: &Tensor| {
        let others = |s: &[usize]| [s.get(..axis), s.get(axis + 1..)].map(|s| s.map(<[usize]>::to_vec));
        t.dtype() == dtype && others(t.shape()) == others(&shape)
    };
    if !parts.iter().all(|t| alike(t)) {
        return None;
    }
    let outer = element_count(&shape[..axis]).ok()?;
    shape[axis] = parts.iter().map(|t| t.shape()[axis]).sum();
    let mut bytes = Vec::with_capacity(element_count(&shape).ok()?.checked_mul(dtype.size())?);
    for block in 0..outer {
        for part in parts {
            let len = part.bytes().len() / outer;
            bytes.extend_from_slice(&part.bytes()[block * len..(block + 1) * len]);
        }
    }
    Tensor::new(dtype, &shape, Bytes::from(bytes)).ok()
}
