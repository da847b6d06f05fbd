//! A network's tensors in flat vectors, and where each lies in them.

use std::collections::HashSet;
use std::ops::Range;

use onebasin_core::graph::{Graph, Numbers, Op, Value, ValueId, ValueSource};
use onebasin_core::{DType, Params, Tensor};

use super::layout::transpose;
use crate::error::{Error, Result};
use crate::ops::{Layout, Real};

/// A network's numbers, parameter after parameter in the order of [`Graph::params`].
///
/// Weights of convolutions `[O, C, kernel…]` lie as `[O, kernel…, C]`.
/// [`Program::flatten`](super::Program::flatten) makes it of tensors, [`Program::unflatten`](super::Program::unflatten)
/// tensors of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Flat<T = f32> {
    /// What is trained: every parameter but the running statistics.
    pub weights: Vec<T>,
    /// Running means and variances of BatchNorms.
    pub statistics: Vec<T>,
}

/// Where a parameter lies: in the weights if it is trained, else in the statistics.
#[derive(Debug, Clone)]
pub(super) struct ParamPlace {
    pub trained: bool,
    pub range: Range<usize>,
    pub layout: Layout,
    /// Whether its tensor holds whole numbers.
    pub whole: bool,
}

impl<T> Flat<T> {
    /// The numbers of one parameter.
    pub(super) fn of(&self, place: &ParamPlace) -> &[T] {
        let all = if place.trained { &self.weights } else { &self.statistics };
        &all[place.range.clone()]
    }
}

/// Lays the parameters out. What a convolution takes as its weight lies channels-last.
pub(super) fn places(graph: &Graph) -> Vec<ParamPlace> {
    let statistics: HashSet<ValueId> = graph.statistics().collect();
    let convolutions = graph.nodes().iter().filter(|n| matches!(n.op, Op::Conv(_) | Op::ConvTranspose { .. }));
    let kernels: HashSet<ValueId> = convolutions.map(|n| n.inputs[1]).collect();
    let mut ends = [0, 0];
    let place = |id: ValueId| {
        let trained = !statistics.contains(&id);
        let end = &mut ends[usize::from(trained)];
        let start = *end;
        *end += graph.shape(id).iter().product::<usize>();
        let layout = if kernels.contains(&id) { Layout::ChannelsLast } else { Layout::Plain };
        let whole = graph.numbers(id) == Numbers::Whole;
        ParamPlace { trained, range: start..*end, layout, whole }
    };
    graph.ids().filter(|v| graph.value(*v).source == ValueSource::Param).map(place).collect()
}

/// Copies a parameter's tensor to its place.
pub(super) fn copy<T: Real>(value: &Value, place: &ParamPlace, params: &Params, to: &mut [T]) -> Result<()> {
    let tensor = params.require(&value.name)?;
    if tensor.shape() != value.shape {
        return Err(Error::Weights {
            network: "graph".to_owned(),
            tensor: value.name.clone(),
            expected: value.shape.clone(),
            found: format!("{:?}", tensor.shape()),
        });
    }
    let values = if place.whole { numbers(tensor)?.into() } else { T::values(tensor)? };
    if let ([o, c, kernel @ ..], Layout::ChannelsLast) = (&value.shape[..], place.layout) {
        transpose([*o, *c, kernel.iter().product()], &values, to, |y, x| *y = x);
    } else {
        to.copy_from_slice(&values);
    }
    Ok(())
}

/// A parameter's name and tensor.
pub(super) fn tensor<T: Real>(value: &Value, place: &ParamPlace, numbers: &[T]) -> Result<(String, Tensor)> {
    let mut numbers = numbers.to_vec();
    if let ([o, c, kernel @ ..], Layout::ChannelsLast) = (&value.shape[..], place.layout) {
        let source = numbers.clone();
        transpose([*o, kernel.iter().product(), *c], &source, &mut numbers, |y, x| *y = x);
    }
    Ok((value.name.clone(), T::tensor(&value.shape, numbers)?))
}

/// The values of a constant of any type; integers above 2⁵³ are rounded.
pub(crate) fn numbers<T: Real>(tensor: &Tensor) -> Result<Vec<T>> {
    fn decode<T: Real, const N: usize>(tensor: &Tensor, read: impl Fn([u8; N]) -> f64) -> Vec<T> {
        let (numbers, _) = tensor.bytes().as_chunks();
        numbers.iter().map(|bytes| T::of(read(*bytes))).collect()
    }
    Ok(match tensor.dtype() {
        DType::F64 | DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => {
            T::values(tensor)?.into_owned()
        }
        DType::I64 => decode(tensor, |b| i64::from_le_bytes(b) as f64),
        DType::I32 => decode(tensor, |b| f64::from(i32::from_le_bytes(b))),
        DType::I16 => decode(tensor, |b| f64::from(i16::from_le_bytes(b))),
        DType::I8 => decode(tensor, |b| f64::from(i8::from_le_bytes(b))),
        DType::U64 => decode(tensor, |b| u64::from_le_bytes(b) as f64),
        DType::U32 => decode(tensor, |b| f64::from(u32::from_le_bytes(b))),
        DType::U16 => decode(tensor, |b| f64::from(u16::from_le_bytes(b))),
        DType::U8 | DType::Bool => decode(tensor, |[b]| f64::from(b)),
    })
}
