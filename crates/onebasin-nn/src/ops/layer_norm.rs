//! LayerNorm and RMSNorm: `y = gain · (x − μ) / √(σ² + ε) + bias` over some axes, each position of the others on its own.
//!
//! The variance is computed in two passes. RMSNorm leaves `μ` out and takes the mean square for `σ²`.

use onebasin_core::linalg::vectorized;

use super::walk::sum;
use super::{Call, Kernel, Layout, Real};

/// Attributes, with axes as they lie in memory.
pub(super) struct LayerNorm {
    pub(super) axes: Vec<usize>,
    pub(super) epsilon: f64,
    pub(super) centred: bool,
}

/// Where the numbers lie that are normalised together.
struct Groups {
    /// First positions of the groups.
    starts: Vec<usize>,
    /// Positions of a group's members, from its first; none where they lie side by side.
    members: Option<Vec<usize>>,
    /// Members of a group.
    len: usize,
}

impl Groups {
    /// Of an array of this shape, normalised over these axes.
    fn of(shape: &[usize], axes: &[usize]) -> Self {
        let len = axes.iter().map(|a| shape[*a]).product();
        let last = shape.len() - axes.len();
        if axes.iter().copied().eq(last..shape.len()) {
            let count: usize = shape[..last].iter().product();
            return Self { starts: (0..count).map(|k| k * len).collect(), members: None, len };
        }
        // Positions along the chosen axes, the others at 0.
        let offsets = |chosen: &dyn Fn(usize) -> bool| {
            let mut all = vec![0];
            for axis in (0..shape.len()).filter(|a| chosen(*a)) {
                let stride: usize = shape[axis + 1..].iter().product();
                all = all.iter().flat_map(|o| (0..shape[axis]).map(move |k| o + k * stride)).collect();
            }
            all
        };
        let members = offsets(&|a| axes.contains(&a));
        Self { starts: offsets(&|a| !axes.contains(&a)), members: Some(members), len }
    }

    /// Copies a group to `row`.
    #[inline(always)]
    fn read<T: Copy>(&self, start: usize, x: &[T], row: &mut [T]) {
        match &self.members {
            None => row.copy_from_slice(&x[start..start + self.len]),
            Some(members) => row.iter_mut().zip(members).for_each(|(r, m)| *r = x[start + m]),
        }
    }
}

impl LayerNorm {
    /// Writes rows of `len` numbers normalised, and `μ` and `1 / √(σ² + ε)` of each.
    ///
    /// Some rows at a time, so that no row waits for the root of another.
    #[inline(always)]
    fn rows<T: Real>(&self, x: &[T], len: usize, affine: &[&[T]], y: &mut [T], statistics: &mut [T]) {
        const ROWS: usize = 32;
        let (count, epsilon) = (T::of(len as f64), T::of(self.epsilon));
        let blocks = x.chunks(ROWS * len).zip(y.chunks_mut(ROWS * len)).zip(statistics.chunks_mut(2 * ROWS));
        for ((x, y), statistics) in blocks {
            let (mut mean, mut inverse) = ([T::zero(); ROWS], [T::zero(); ROWS]);
            if self.centred {
                for (mean, row) in mean.iter_mut().zip(x.chunks_exact(len)) {
                    *mean = sum(row, row, |x, _| x) / count;
                }
            }
            for ((inverse, mean), row) in inverse.iter_mut().zip(&mean).zip(x.chunks_exact(len)) {
                *inverse = sum(row, row, |x, _| (x - *mean) * (x - *mean)) / count;
            }
            for variance in &mut inverse {
                *variance = (*variance + epsilon).sqrt().recip();
            }
            let rows = x.chunks_exact(len).zip(y.chunks_exact_mut(len)).zip(statistics.chunks_exact_mut(2));
            for (((x, y), found), (&mean, &inverse)) in rows.zip(mean.iter().zip(&inverse)) {
                found.copy_from_slice(&[mean, inverse]);
                let pairs = y.iter_mut().zip(x);
                match affine {
                    [gain, bias, ..] => {
                        for ((y, x), (gain, bias)) in pairs.zip(gain.iter().zip(*bias)) {
                            *y = (*x - mean) * inverse * *gain + *bias;
                        }
                    }
                    [gain] => {
                        for ((y, x), gain) in pairs.zip(*gain) {
                            *y = (*x - mean) * inverse * *gain;
                        }
                    }
                    [] => {
                        for (y, x) in pairs {
                            *y = (*x - mean) * inverse;
                        }
                    }
                }
            }
        }
    }

    /// Adds a row's gradients; `dx` is written over.
    #[inline(always)]
    fn row_back<T: Real>(&self, x: &[T], dy: &[T], [mean, inverse]: [T; 2], gain: Option<&[T]>, dx: &mut [T]) {
        let count = T::of(x.len() as f64);
        match gain {
            Some(gain) => dx.iter_mut().zip(dy.iter().zip(gain)).for_each(|(d, (dy, gain))| *d = *dy * *gain),
            None => dx.copy_from_slice(dy),
        }
        let slope = sum(dx, x, |t, x| t * ((x - mean) * inverse)) / count;
        let level = if self.centred { sum(dx, dx, |t, _| t) / count } else { T::zero() };
        for (d, x) in dx.iter_mut().zip(x) {
            *d = inverse * (*d - level - (*x - mean) * inverse * slope);
        }
    }
}

impl<T: Real> Kernel<T> for LayerNorm {
    fn layout(&self) -> Option<Layout> {
        None
    }

    /// The scratch keeps `μ` and `1/σ` of every group for the backward pass, then has room for rows.
    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], scratch: &mut Vec<T>) {
        let (x, y, affine) = (call.inputs[0], &mut *outputs[0], &call.inputs[1..]);
        let groups = Groups::of(call.input_shapes[0], &self.axes);
        let len = groups.len;
        scratch.resize(2 * groups.starts.len() + 3 * len, T::zero());
        if len == 0 {
            return;
        }
        let (statistics, rows) = scratch.split_at_mut(2 * groups.starts.len());
        vectorized(
            #[inline(always)]
            || {
                let Some(members) = &groups.members else { return self.rows(x, len, affine, y, statistics) };
                let (row, rest) = rows.split_at_mut(len);
                for (&start, found) in groups.starts.iter().zip(statistics.chunks_exact_mut(2)) {
                    groups.read(start, x, row);
                    self.rows(row, len, affine, &mut rest[..len], found);
                    members.iter().zip(&rest[..len]).for_each(|(m, v)| y[start + m] = *v);
                }
            },
        );
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        scratch: &mut Vec<T>,
    ) {
        let (x, dy, gain) = (call.inputs[0], d_outputs[0], call.inputs.get(1).copied());
        let groups = Groups::of(call.input_shapes[0], &self.axes);
        let len = groups.len;
        let (statistics, rows) = scratch.split_at_mut(2 * groups.starts.len());
        let (row, rest) = rows.split_at_mut(len);
        let (d_row, part) = rest.split_at_mut(len);
        let [dx, affine @ ..] = d_inputs else { return };
        vectorized(
            #[inline(always)]
            || {
                for (&start, found) in groups.starts.iter().zip(statistics.chunks_exact(2)) {
                    let [mean, inverse] = [found[0], found[1]];
                    let (x, dy) = if groups.members.is_none() {
                        (&x[start..start + len], &dy[start..start + len])
                    } else {
                        groups.read(start, x, row);
                        groups.read(start, dy, d_row);
                        (&*row, &*d_row)
                    };
                    if let Some(Some(d_gain)) = affine.first_mut() {
                        for (d, (dy, x)) in d_gain.iter_mut().zip(dy.iter().zip(x)) {
                            *d += *dy * ((*x - mean) * inverse);
                        }
                    }
                    if let Some(Some(d_bias)) = affine.get_mut(1) {
                        d_bias.iter_mut().zip(dy).for_each(|(d, dy)| *d += *dy);
                    }
                    if let Some(dx) = dx {
                        self.row_back(x, dy, [mean, inverse], gain, &mut part[..len]);
                        match &groups.members {
                            None => dx[start..start + len].iter_mut().zip(&*part).for_each(|(d, p)| *d += *p),
                            Some(members) => members.iter().zip(&*part).for_each(|(m, p)| dx[start + m] += *p),
                        }
                    }
                }
            },
        );
    }
}
