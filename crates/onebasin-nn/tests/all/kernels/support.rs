//! Running one operator on arrays.

use onebasin_core::graph::op::Dim;
use onebasin_core::graph::{Op, shape};
use onebasin_core::stream::Stream;
use onebasin_nn::ops::{Call, Kernel, Layout, Real, kernel};

/// A dense array, last axis fastest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array<T> {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<T>,
}

impl<T: Real> Array<T> {
    /// Entries by index.
    pub(crate) fn from_fn(shape: &[usize], f: impl FnMut(Vec<usize>) -> T) -> Self {
        Self { shape: shape.to_vec(), data: indices(shape).map(f).collect() }
    }

    pub(crate) fn at(&self, index: &[usize]) -> T {
        self.data[index.iter().zip(&self.shape).fold(0, |at, (i, len)| at * len + i)]
    }

    /// The entry that broadcasting puts at `index` of a larger array.
    pub(crate) fn broadcast_at(&self, index: &[usize]) -> T {
        let own = &index[index.len() - self.shape.len()..];
        let own: Vec<usize> = own.iter().zip(&self.shape).map(|(i, len)| if *len == 1 { 0 } else { *i }).collect();
        self.at(&own)
    }

    fn filled(shape: &[usize], value: T) -> Self {
        Self::from_fn(shape, |_| value)
    }

    /// Axis `from` becomes axis `to`, if the array is image-like.
    fn moved(&self, from: usize, to: usize) -> Self {
        if self.shape.len() < 3 {
            return self.clone();
        }
        let mut order: Vec<usize> = (0..self.shape.len()).collect();
        let axis = order.remove(from);
        order.insert(to, axis);
        let shape: Vec<usize> = order.iter().map(|a| self.shape[*a]).collect();
        Self::from_fn(&shape, |index| {
            let mut own = vec![0; index.len()];
            order.iter().zip(&index).for_each(|(a, i)| own[*a] = *i);
            self.at(&own)
        })
    }
}

/// All indices of a shape, last axis fastest.
pub(crate) fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let shape = shape.to_vec();
    (0..shape.iter().product()).map(move |mut at: usize| {
        let mut index = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            index[axis] = at % shape[axis];
            at /= shape[axis];
        }
        index
    })
}

/// An operator that has a kernel, with arrays as the graph sees them.
pub(crate) struct Runner<T: Real> {
    op: Op,
    kernel: Box<dyn Kernel<T>>,
}

impl<T: Real> Runner<T> {
    pub(crate) fn new(op: &Op) -> Self {
        Self { op: op.clone(), kernel: kernel(op).expect("a known operator") }
    }

    fn channels_last(&self) -> bool {
        self.kernel.layout() == Some(Layout::ChannelsLast)
    }

    fn to_memory(&self, arrays: &[Array<T>]) -> Vec<Array<T>> {
        arrays.iter().map(|a| if self.channels_last() { a.moved(1, a.shape.len() - 1) } else { a.clone() }).collect()
    }

    fn to_graph(&self, arrays: Vec<Array<T>>) -> Vec<Array<T>> {
        if !self.channels_last() {
            return arrays;
        }
        arrays.iter().map(|a| a.moved(a.shape.len() - 1, 1)).collect()
    }

    /// Outputs are made from buffers full of NaN.
    fn forward_in_memory(&self, inputs: &[Array<T>], original: &[Array<T>], scratch: &mut Vec<T>) -> Vec<Array<T>> {
        let shapes: Vec<&[usize]> = original.iter().map(|a| a.shape.as_slice()).collect();
        let shapes = shape::infer(&self.op, &shapes).expect("the operator fits its inputs");
        let blank: Vec<Array<T>> = shapes.iter().map(|s| Array::filled(s, T::nan())).collect();
        let mut outputs = self.to_memory(&blank);
        let shapes: Vec<Vec<usize>> = outputs.iter().map(|a| a.shape.clone()).collect();
        let mut slices: Vec<&mut [T]> = outputs.iter_mut().map(|a| a.data.as_mut_slice()).collect();
        with_call(inputs, &shapes, |call| self.kernel.forward(call, &mut slices, scratch));
        outputs
    }

    pub(crate) fn forward(&self, inputs: &[Array<T>]) -> Vec<Array<T>> {
        self.to_graph(self.forward_in_memory(&self.to_memory(inputs), inputs, &mut foreign()))
    }

    /// What the backward pass adds to the gradients of the inputs that are `wanted`.
    pub(crate) fn backward(&self, inputs: &[Array<T>], d_outputs: &[Array<T>], wanted: &[bool]) -> Vec<Array<T>> {
        let (inputs, originals) = (self.to_memory(inputs), inputs);
        let mut scratch = foreign();
        let outputs = self.forward_in_memory(&inputs, originals, &mut scratch);
        if self.kernel.shares_scratch() {
            scratch = foreign();
        }
        let d_outputs = self.to_memory(d_outputs);
        let shapes: Vec<Vec<usize>> = outputs.iter().map(|a| a.shape.clone()).collect();
        // Gradients start from 1, to see that they are added to.
        let mut gradients: Vec<Array<T>> = inputs.iter().map(|a| Array::filled(&a.shape, T::one())).collect();
        let mut slices: Vec<Option<&mut [T]>> =
            gradients.iter_mut().zip(wanted).map(|(a, wanted)| wanted.then_some(a.data.as_mut_slice())).collect();
        let (outputs, d_outputs): (Vec<&[T]>, Vec<&[T]>) =
            outputs.iter().zip(&d_outputs).map(|(y, dy)| (y.data.as_slice(), dy.data.as_slice())).unzip();
        with_call(&inputs, &shapes, |call| {
            self.kernel.backward(call, &outputs, &d_outputs, &mut slices, &mut scratch);
        });
        gradients.iter_mut().flat_map(|a| &mut a.data).for_each(|g| *g -= T::one());
        self.to_graph(gradients)
    }
}

/// Scratch as another kernel left it.
fn foreign<T: Real>() -> Vec<T> {
    vec![T::nan(); 3]
}

fn with_call<T: Real>(inputs: &[Array<T>], output_shapes: &[Vec<usize>], f: impl FnOnce(&Call<'_, T>)) {
    let data: Vec<&[T]> = inputs.iter().map(|a| a.data.as_slice()).collect();
    let input_shapes: Vec<&[usize]> = inputs.iter().map(|a| a.shape.as_slice()).collect();
    let output_shapes: Vec<&[usize]> = output_shapes.iter().map(Vec::as_slice).collect();
    f(&Call { inputs: &data, input_shapes: &input_shapes, output_shapes: &output_shapes });
}

/// Random entries that keep a distance of 0.02 from every multiple of ½, where functions here have their kinks.
pub(crate) fn away_from_kinks(stream: &mut Stream, shape: &[usize], low: i32, high: i32) -> Array<f64> {
    let halves = (high - low) as usize * 2;
    Array::from_fn(shape, |_| f64::from(low) + 0.5 * stream.below(halves) as f64 + stream.range(0.02, 0.48))
}

/// Expansion to lengths that are given.
pub(crate) fn expand(shape: &[usize]) -> Op {
    Op::Expand(shape.iter().map(|n| Dim::Size(*n)).collect())
}
