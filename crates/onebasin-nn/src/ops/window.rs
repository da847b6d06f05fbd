//! Windows that slide over the pixels of channels-last images.

use std::ops::Range;

/// Sizes of a sliding window, filled up with axes of length 1 to three spatial axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) samples: usize,
    pub(super) input: [usize; 3],
    pub(super) output: [usize; 3],
    pub(super) kernel: [usize; 3],
    pub(super) strides: [usize; 3],
    pub(super) dilations: [usize; 3],
    pub(super) before: [usize; 3],
}

/// Where a window stands: its sample, and the coordinates of its first tap, which may lie before the image.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowStart {
    pub(super) sample: usize,
    pub(super) at: [isize; 3],
}

impl Window {
    /// For channels-last shapes `x` and `y`.
    pub(super) fn new(
        x: &[usize],
        y: &[usize],
        kernel: &[usize],
        strides: &[usize],
        dilations: &[usize],
        before: &[usize],
    ) -> Self {
        let last = x.len() - 1;
        Self {
            samples: x[0],
            input: three(&x[1..last], 1),
            output: three(&y[1..last], 1),
            kernel: three(kernel, 1),
            strides: three(strides, 1),
            dilations: three(dilations, 1),
            before: three(before, 0),
        }
    }

    /// Number of windows in all samples.
    pub(super) fn positions(&self) -> usize {
        self.samples * self.output.iter().product::<usize>()
    }

    /// Whether window number `p` is pixel number `p`.
    pub(super) fn is_identity(&self) -> bool {
        self.kernel == [1; 3] && self.strides == [1; 3] && self.before == [0; 3] && self.input == self.output
    }

    /// The windows in this range: where each starts, and which taps of the last axis lie inside the image.
    #[inline(always)]
    pub(super) fn taps(&self, range: Range<usize>) -> impl Iterator<Item = (WindowStart, Range<usize>)> {
        let window = *self;
        let [depth, height, width] = window.output;
        let mut next = range.start;
        let mut line = (usize::MAX, WindowStart { sample: 0, at: [0; 3] });
        std::iter::from_fn(move || {
            let p = next;
            if p >= range.end {
                return None;
            }
            next += 1;
            let (row, ox) = (p / width, p % width);
            if row != line.0 {
                let start = |axis: usize, o: usize| (o * window.strides[axis]) as isize - window.before[axis] as isize;
                let (oz, oy) = (row / height % depth, row % height);
                line = (row, WindowStart { sample: row / height / depth, at: [start(0, oz), start(1, oy), 0] });
            }
            let mut start = line.1;
            start.at[2] = (ox * window.strides[2]) as isize - window.before[2] as isize;
            Some((start, window.inside(2, start.at[2])))
        })
    }

    /// Window number `p`: where it starts, and which taps of the last axis lie inside the image.
    pub(super) fn tap(&self, p: usize) -> (WindowStart, Range<usize>) {
        let [depth, height, width] = self.output;
        let (row, ox) = (p / width, p % width);
        let start = |axis: usize, o: usize| (o * self.strides[axis]) as isize - self.before[axis] as isize;
        let at = [start(0, row / height % depth), start(1, row % height), start(2, ox)];
        (WindowStart { sample: row / height / depth, at }, self.inside(2, at[2]))
    }

    /// Taps of an axis that lie inside the image, for a window that starts at `at`.
    #[inline(always)]
    pub(super) fn inside(&self, axis: usize, at: isize) -> Range<usize> {
        let (len, kernel) = (self.input[axis] as isize, self.kernel[axis]);
        let dilation = self.dilations[axis] as isize;
        if dilation == 1 {
            let first = (-at).clamp(0, kernel as isize) as usize;
            return first..((len - at).clamp(0, kernel as isize) as usize).max(first);
        }
        let up = |pixels: isize| (pixels.max(0) as usize).div_ceil(dilation as usize).min(kernel);
        let first = up(-at);
        first..up(len - at).max(first)
    }

    /// Pixel number of tap 0 of the last axis on the line of taps (`kz`, `ky`); none if the line lies outside the image.
    /// Only taps inside the image make it a pixel that is there.
    #[inline(always)]
    pub(super) fn line(&self, start: WindowStart, kz: usize, ky: usize) -> Option<isize> {
        let [depth, height, width] = self.input.map(|n| n as isize);
        let z = start.at[0] + (kz * self.dilations[0]) as isize;
        let y = start.at[1] + (ky * self.dilations[1]) as isize;
        ((0..depth).contains(&z) && (0..height).contains(&y))
            .then(|| ((start.sample as isize * depth + z) * height + y) * width + start.at[2])
    }
}

/// Numbers for three axes: those given for the last ones, `fill` before.
fn three(values: &[usize], fill: usize) -> [usize; 3] {
    let mut all = [fill; 3];
    all[3 - values.len()..].copy_from_slice(values);
    all
}
