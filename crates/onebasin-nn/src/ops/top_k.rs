//! The first entries along an axis, once they are sorted, and where they stood.

use std::cmp::Ordering;

use super::walk::around;
use super::{Call, Kernel, Real};

pub(super) struct TopK {
    pub(super) axis: usize,
    pub(super) count: usize,
    pub(super) largest: bool,
}

impl TopK {
    /// The first of two entries of a row: the further one, and of equal ones the one at the lower position.
    fn order<T: Real>(&self, row: &[T], a: usize, b: usize) -> Ordering {
        let (x, y) = (row[a], row[b]);
        let rising = x.partial_cmp(&y).unwrap_or_else(|| x.is_nan().cmp(&y.is_nan()));
        if self.largest { rising.reverse() } else { rising }.then(a.cmp(&b))
    }
}

impl<T: Real> Kernel<T> for TopK {
    fn shares_scratch(&self) -> bool {
        true
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], scratch: &mut Vec<T>) {
        let (x, (outer, axis, inner)) = (call.inputs[0], around(call.input_shapes[0], self.axis));
        let [values, positions] = outputs else { unreachable!("values and positions") };
        let mut places: Vec<usize> = Vec::with_capacity(axis);
        for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            let row = &mut *scratch;
            row.clear();
            row.extend((0..axis).map(|k| x[(o * axis + k) * inner + i]));
            places.clear();
            places.extend(0..axis);
            if (1..axis).contains(&self.count) {
                places.select_nth_unstable_by(self.count - 1, |a, b| self.order(row, *a, *b));
            }
            places.truncate(self.count);
            places.sort_unstable_by(|a, b| self.order(row, *a, *b));
            for (k, place) in places.iter().enumerate() {
                let to = (o * self.count + k) * inner + i;
                values[to] = row[*place];
                positions[to] = T::of(*place as f64);
            }
        }
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        let Some(dx) = &mut d_inputs[0] else { return };
        let (outer, axis, inner) = around(call.input_shapes[0], self.axis);
        for o in 0..outer {
            for k in 0..self.count {
                for i in 0..inner {
                    let from = (o * self.count + k) * inner + i;
                    dx[(o * axis + outputs[1][from].wide() as usize) * inner + i] += d_outputs[0][from];
                }
            }
        }
    }
}
