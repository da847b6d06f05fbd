//! Matrix products over the last two axes.
//!
//! The axes before are broadcast. A vector on the left is a row, one on the right a column, and its axis vanishes.

use onebasin_core::linalg::Mat;

use super::walk::Walk;
use super::{Call, Kernel, Real};

/// `a b`, matrix by matrix.
pub(super) struct MatMul;

/// One product of a batch is `[m, k] · [k, n]`.
struct ProductSizes {
    m: usize,
    k: usize,
    n: usize,
    /// Which matrix of `a` and of `b` each matrix of the result is made of.
    pairs: Vec<[usize; 2]>,
}

impl ProductSizes {
    /// Of a call; where only one matrix stands on the right, all on the left are one.
    fn new<T>(call: &Call<'_, T>) -> Self {
        let (a, b) = (call.input_shapes[0], call.input_shapes[1]);
        let (left, m, k) = match a {
            [batch @ .., m, k] => (batch, *m, *k),
            [k] => (a.split_at(0).0, 1, *k),
            [] => unreachable!("shapes are inferred before running"),
        };
        let (right, n) = match b {
            [batch @ .., _, n] => (batch, *n),
            _ => (b.split_at(0).0, 1),
        };
        let matrix_axes = usize::from(a.len() > 1) + usize::from(b.len() > 1);
        let batch = &call.output_shapes[0][..call.output_shapes[0].len() - matrix_axes];
        let count: usize = batch.iter().product();
        if right.iter().product::<usize>() == 1 && left.iter().product::<usize>() == count {
            return Self { m: m * count, k, n, pairs: vec![[0, 0]] };
        }
        let walk = Walk::broadcast(batch, [left, right]);
        let mut pairs = Vec::with_capacity(count);
        walk.each(|_, [i, j]| pairs.extend((0..walk.run).map(|s| [i + s * walk.inner[0], j + s * walk.inner[1]])));
        Self { m, k, n, pairs }
    }
}

/// Matrix number `index` of those of `len` numbers.
fn part<T>(data: &[T], index: usize, len: usize) -> &[T] {
    &data[index * len..][..len]
}

/// The same, to be written.
fn part_mut<T>(data: &mut [T], index: usize, len: usize) -> &mut [T] {
    &mut data[index * len..][..len]
}

impl<T: Real> Kernel<T> for MatMul {
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let ProductSizes { m, k, n, pairs } = ProductSizes::new(call);
        for (s, [i, j]) in pairs.into_iter().enumerate() {
            let a = Mat::new(part(call.inputs[0], i, m * k), m, k);
            let b = Mat::new(part(call.inputs[1], j, k * n), k, n);
            T::matmul(part_mut(outputs[0], s, m * n), a, b, false);
        }
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        let ProductSizes { m, k, n, pairs } = ProductSizes::new(call);
        let [da, db] = d_inputs else { unreachable!("two operands") };
        for (s, [i, j]) in pairs.into_iter().enumerate() {
            let dy = Mat::new(part(d_outputs[0], s, m * n), m, n);
            if let Some(da) = da {
                let b = Mat::new(part(call.inputs[1], j, k * n), k, n);
                T::matmul(part_mut(da, i, m * k), dy, b.t(), true);
            }
            if let Some(db) = db {
                let a = Mat::new(part(call.inputs[0], i, m * k), m, k);
                T::matmul(part_mut(db, j, k * n), a.t(), dy, true);
            }
        }
    }
}
