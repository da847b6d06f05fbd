//! Transposed convolution: the map that a convolution's gradient is, over any number of spatial axes.
//!
//! Position `i` of the input adds `W[k] · x[i]` to position `i · stride + k · dilation − before` of the output. One
//! product makes all `W[k] · x[i]` of a sample and a group, in `O / groups · taps` rows; the rows are then added where
//! they belong.

use onebasin_core::graph::op::Conv;
use onebasin_core::linalg::Mat;

use super::walk::sum;
use super::{Call, Kernel, Real};

/// The transpose of a convolution with these attributes.
pub(super) struct ConvTranspose(pub(super) Conv);

/// Neighbouring positions of the input's last axis that one tap sends into the image.
struct TapRun {
    /// First position, in `[taps, input positions]`.
    column: usize,
    /// Where it goes in the image; the next goes a stride further.
    image: usize,
    count: usize,
}

/// Sizes of one sample and group.
struct ConvTransposeSizes {
    groups: usize,
    /// Channels of the input.
    inputs: usize,
    /// Channels of the output.
    outputs: usize,
    taps: usize,
    /// Positions of the input.
    grid: usize,
    /// Positions of the output.
    image: usize,
    runs: Vec<TapRun>,
    stride: usize,
}

impl ConvTranspose {
    /// Sizes of a call, and where every tap sends its runs.
    fn sizes<T>(&self, call: &Call<'_, T>) -> ConvTransposeSizes {
        let (x, w, y) = (call.input_shapes[0], call.input_shapes[1], call.output_shapes[0]);
        let (grid, kernel, image) = (&x[2..], &w[2..], &y[2..]);
        let taps: usize = kernel.iter().product();
        let (grid_len, image_len) = (grid.iter().product(), image.iter().product());
        let mut runs = vec![];
        for tap in 0..taps {
            let mut rest = tap;
            let mut shifts = vec![0; kernel.len()];
            for axis in (0..kernel.len()).rev() {
                let k = rest % kernel[axis];
                rest /= kernel[axis];
                shifts[axis] = (k * self.0.dilations[axis]) as isize - self.0.before[axis] as isize;
            }
            self.descend(grid, image, &shifts, 0, (tap, 0), &mut runs);
        }
        let stride = self.0.strides.last().copied().unwrap_or(1);
        let groups = self.0.groups;
        ConvTransposeSizes {
            groups,
            inputs: x[1] / groups,
            outputs: w[1],
            taps,
            grid: grid_len,
            image: image_len,
            runs,
            stride,
        }
    }

    /// Appends the runs of one tap, from `axis` on, for the positions before it.
    fn descend(
        &self,
        grid: &[usize],
        image: &[usize],
        shifts: &[isize],
        axis: usize,
        (column, at): (usize, usize),
        runs: &mut Vec<TapRun>,
    ) {
        let (stride, shift) = (self.0.strides[axis], shifts[axis]);
        let first = (-shift).max(0) as usize;
        let low = first.div_ceil(stride);
        let high = (image[axis] as isize - shift).max(0) as usize;
        let high = high.div_ceil(stride).min(grid[axis]);
        let to = |i: usize| at * image[axis] + (i * stride).wrapping_add_signed(shift);
        if low >= high {
            return;
        }
        if axis + 1 == grid.len() {
            return runs.push(TapRun { column: column * grid[axis] + low, image: to(low), count: high - low });
        }
        for i in low..high {
            self.descend(grid, image, shifts, axis + 1, (column * grid[axis] + i, to(i)), runs);
        }
    }
}

impl<T: Real> Kernel<T> for ConvTranspose {
    fn shares_scratch(&self) -> bool {
        true
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], scratch: &mut Vec<T>) {
        let sizes = self.sizes(call);
        let ConvTransposeSizes { groups, inputs, outputs: channels, taps, grid, image, .. } = sizes;
        let (x, w, y) = (call.inputs[0], call.inputs[1], &mut *outputs[0]);
        if y.is_empty() {
            return;
        }
        match call.inputs.get(2) {
            Some(bias) => y.chunks_exact_mut(image).zip(bias.iter().cycle()).for_each(|(y, b)| y.fill(*b)),
            None => y.fill(T::zero()),
        }
        scratch.clear();
        scratch.resize(channels * taps * grid, T::zero());
        for n in 0..call.input_shapes[0][0] {
            for g in 0..groups {
                let x = Mat::new(&x[(n * groups + g) * inputs * grid..][..inputs * grid], inputs, grid);
                let w = &w[g * inputs * channels * taps..][..inputs * channels * taps];
                T::matmul(scratch, Mat::new(w, inputs, channels * taps).t(), x, false);
                let y = &mut y[(n * groups + g) * channels * image..][..channels * image];
                for (y, columns) in y.chunks_exact_mut(image).zip(scratch.chunks_exact((taps * grid).max(1))) {
                    for run in &sizes.runs {
                        let column = &columns[run.column..run.column + run.count];
                        let y = y[run.image..].iter_mut().step_by(sizes.stride);
                        y.zip(column).for_each(|(y, c)| *y += *c);
                    }
                }
            }
        }
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        scratch: &mut Vec<T>,
    ) {
        let sizes = self.sizes(call);
        let ConvTransposeSizes { groups, inputs, outputs: channels, taps, grid, image, .. } = sizes;
        let (x, w, dy) = (call.inputs[0], call.inputs[1], d_outputs[0]);
        if dy.is_empty() {
            return;
        }
        if let Some(Some(d_bias)) = d_inputs.get_mut(2) {
            for (plane, dy) in dy.chunks_exact(image).enumerate() {
                d_bias[plane % (groups * channels)] += sum(dy, dy, |dy, _| dy);
            }
        }
        // Positions that fall outside the image stay 0 for all samples: the runs are the same.
        scratch.clear();
        scratch.resize(channels * taps * grid, T::zero());
        for n in 0..call.input_shapes[0][0] {
            for g in 0..groups {
                let dy = &dy[(n * groups + g) * channels * image..][..channels * image];
                for (dy, columns) in dy.chunks_exact(image).zip(scratch.chunks_exact_mut((taps * grid).max(1))) {
                    for run in &sizes.runs {
                        let column = &mut columns[run.column..run.column + run.count];
                        let dy = dy[run.image..].iter().step_by(sizes.stride);
                        column.iter_mut().zip(dy).for_each(|(c, dy)| *c = *dy);
                    }
                }
                let columns = Mat::new(scratch, channels * taps, grid);
                let here = (n * groups + g) * inputs * grid..(n * groups + g + 1) * inputs * grid;
                let weight = g * inputs * channels * taps..(g + 1) * inputs * channels * taps;
                if let Some(dx) = &mut d_inputs[0] {
                    let w = Mat::new(&w[weight.clone()], inputs, channels * taps);
                    T::matmul(&mut dx[here.clone()], w, columns, true);
                }
                if let Some(dw) = &mut d_inputs[1] {
                    T::matmul(&mut dw[weight], Mat::new(&x[here], inputs, grid), columns.t(), true);
                }
            }
        }
    }
}
