//! Convolutions of stride 1 that keep an image's width, without patches.
//!
//! In an image with its zeros around it, `[height + kh − 1, width + kw − 1, channels]`, the taps of one line of the kernel
//! lie side by side for every position, and those of the next position one pixel further: a matrix whose rows overlap.
//! One product per line of the kernel adds up to the convolution; positions that straddle two lines of the image come out
//! as well and are left out. The gradient with respect to the image is the same with the kernel turned round.

use std::ops::Range;

use onebasin_core::linalg::{Mat, vectorized};

use super::window::Window;
use super::{Real, add, pieces};

/// Narrower images would spend too much on positions that are left out.
const NARROWEST: usize = 16;

/// Sizes of one image and its kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    samples: usize,
    height: usize,
    width: usize,
    /// Height of the result; its width is the image's.
    out_height: usize,
    kernel: [usize; 2],
    /// Zeros above and left of the image.
    before: [usize; 2],
    channels: usize,
    out: usize,
}

impl Lines {
    /// If this is such a convolution: of one group, with two spatial axes.
    pub(super) fn of(window: &Window, channels: usize, out: usize) -> Option<Self> {
        let flat = window.input[0] == 1 && window.kernel[0] == 1 && window.before[0] == 0;
        let [_, height, width] = window.input;
        let [_, kh, kw] = window.kernel;
        let (before, kernel) = ([window.before[1], window.before[2]], [kh, kw]);
        let fits = before[0] < kh && before[1] < kw && window.output[2] == width && width >= NARROWEST;
        let fits = fits && window.output[1] <= height + before[0];
        let plain = window.strides == [1; 3] && window.dilations == [1; 3] && kh * kw > 1 && channels * out > 0;
        let (samples, out_height) = (window.samples, window.output[1]);
        let found = Self { samples, height, width, out_height, kernel, before, channels, out };
        (flat && fits && plain).then_some(found)
    }

    /// The convolution that takes the gradient of the result to that of the image.
    fn back(self) -> Self {
        let [kh, kw] = self.kernel;
        let before = [kh - 1 - self.before[0], kw - 1 - self.before[1]];
        let (height, out_height) = (self.out_height, self.height);
        Self { height, out_height, before, channels: self.out, out: self.channels, ..self }
    }

    /// Pixels of a line with its zeros.
    fn stride(self) -> usize {
        self.width + self.kernel[1] - 1
    }

    /// Rows of the products: positions, and those that straddle two lines.
    fn rows(self) -> usize {
        (self.out_height * self.stride()).saturating_sub(self.kernel[1] - 1)
    }

    /// Numbers of an image with its zeros.
    fn padded(self) -> usize {
        (self.out_height + self.kernel[0] - 1) * self.stride() * self.channels
    }

    /// Where the image of a sample lies.
    fn image(self, sample: usize) -> Range<usize> {
        let len = self.height * self.width * self.channels;
        sample * len..(sample + 1) * len
    }

    /// Where the result of a sample lies.
    fn result(self, sample: usize) -> Range<usize> {
        let len = self.out_height * self.width * self.out;
        sample * len..(sample + 1) * len
    }

    /// Writes an image with its zeros.
    fn pad<T: Real>(self, x: &[T], padded: &mut [T]) {
        let (line, left) = (self.width * self.channels, self.before[1] * self.channels);
        for (k, to) in padded.chunks_exact_mut(self.stride() * self.channels).enumerate() {
            match k.checked_sub(self.before[0]).filter(|k| *k < self.height) {
                Some(k) => {
                    to[..left].fill(T::zero());
                    to[left..left + line].copy_from_slice(&x[k * line..][..line]);
                    to[left + line..].fill(T::zero());
                }
                None => to.fill(T::zero()),
            }
        }
    }

    /// The overlapping rows that line `ky` of the kernel multiplies.
    fn view<T>(self, padded: &[T], ky: usize) -> Mat<'_, T> {
        let start = ky * self.stride() * self.channels;
        Mat::strided(&padded[start..], self.rows(), self.kernel[1] * self.channels, self.channels)
    }

    /// Line `ky` of a kernel `[out, kh, kw, channels]`.
    fn weight<T>(self, w: &[T], ky: usize) -> Mat<'_, T> {
        let line = self.kernel[1] * self.channels;
        Mat::strided(&w[ky * line..], self.out, line, self.kernel[0] * line)
    }

    /// One image's result, with what straddles lines.
    fn multiply<T: Real>(self, padded: &[T], w: &[T], rows: &mut [T]) {
        for ky in 0..self.kernel[0] {
            T::matmul(rows, self.view(padded, ky), self.weight(w, ky).t(), ky > 0);
        }
    }

    /// Hands over the lines of a result, one by one, without what straddles them.
    #[inline(always)]
    fn each_line<T>(self, rows: &[T], result: &mut [T], mut take: impl FnMut(&mut [T], &[T])) {
        let line = self.width * self.out;
        for (to, from) in result.chunks_exact_mut(line).zip(rows.chunks(self.stride() * self.out)) {
            take(to, &from[..line]);
        }
    }

    /// The result, added to `y` or written over it; `w` is `[out, kh, kw, channels]`.
    pub(super) fn forward<T: Real>(self, x: &[T], w: &[T], onto: bool, y: &mut [T], scratch: &mut Vec<T>) {
        let [padded, rows] = pieces(scratch, [self.padded(), self.rows() * self.out]);
        self.over_images(x, w, onto, y, padded, rows);
    }

    /// Image after image: padded, multiplied, and its lines picked out of the rows.
    fn over_images<T: Real>(self, x: &[T], w: &[T], onto: bool, y: &mut [T], padded: &mut [T], rows: &mut [T]) {
        for sample in 0..self.samples {
            self.pad(&x[self.image(sample)], padded);
            self.multiply(padded, w, rows);
            let y = &mut y[self.result(sample)];
            if onto {
                vectorized(
                    #[inline(always)]
                    || self.each_line(rows, y, add),
                );
            } else {
                self.each_line(rows, y, <[T]>::copy_from_slice);
            }
        }
    }

    /// Adds the gradients of the image and of the weight that are wanted.
    pub(super) fn backward<T: Real>(
        self,
        [x, w, dy]: [&[T]; 3],
        dx: Option<&mut [T]>,
        dw: Option<&mut [T]>,
        scratch: &mut Vec<T>,
    ) {
        let ([kh, kw], back) = (self.kernel, self.back());
        let line = kw * self.channels;
        let sizes = [self.padded(), back.padded(), back.rows() * back.out, w.len(), w.len()];
        let [padded, d_padded, rows, turned, sum] = pieces(scratch, sizes);
        if let Some(dw) = dw {
            sum.fill(T::zero());
            // Between two lines of results lie the zeros that keep what straddles them out of the sum.
            let first = (back.before[0] * back.stride() + back.before[1]) * self.out;
            for sample in 0..self.samples {
                self.pad(&x[self.image(sample)], padded);
                back.pad(&dy[self.result(sample)], d_padded);
                let d_rows = Mat::new(&d_padded[first..][..self.rows() * self.out], self.rows(), self.out);
                for (ky, sum) in sum.chunks_exact_mut(self.out * line).enumerate() {
                    T::matmul(sum, d_rows.t(), self.view(padded, ky), true);
                }
            }
            for (ky, sum) in sum.chunks_exact(self.out * line).enumerate() {
                for (o, sum) in sum.chunks_exact(line).enumerate() {
                    add(&mut dw[(o * kh + ky) * line..][..line], sum);
                }
            }
        }
        if let Some(dx) = dx {
            for (at, to) in turned.iter_mut().enumerate() {
                let (o, rest) = (at % self.out, at / self.out);
                let (tap, c) = (rest % (kh * kw), rest / (kh * kw));
                *to = w[(o * kh * kw + kh * kw - 1 - tap) * self.channels + c];
            }
            back.over_images(dy, turned, true, dx, d_padded, rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onebasin_core::stream::Stream;
    use onebasin_core::symmetry::for_each_index;

    #[test]
    fn lines_are_the_sum_over_taps() {
        let mut stream = Stream::new(0, "lines");
        let mut seen = 0;
        for _ in 0..400 {
            let mut draw = |low: usize, high: usize| low + stream.below(high - low + 1);
            let [samples, height, width] = [draw(1, 3), draw(1, 5), draw(NARROWEST, NARROWEST + 3)];
            let [kh, kw, channels, out] = [draw(1, 4), draw(1, 4), draw(1, 3), draw(1, 3)];
            let [top, left, bottom] = [draw(0, kh), draw(0, kw), draw(0, kh)];
            let Some(out_height) = (height + top + bottom + 1).checked_sub(kh).filter(|h| *h > 0) else { continue };
            let shape = |h, c| [samples, h, width, c];
            let (x, y) = (shape(height, channels), shape(out_height, out));
            let window = Window::new(&x, &y, &[kh, kw], &[1, 1], &[1, 1], &[top, left]);
            let Some(lines) = Lines::of(&window, channels, out) else { continue };
            seen += 1;
            let numbers = |shape: [usize; 4]| shape.iter().product::<usize>();
            let mut normal = |len: usize| (0..len).map(|_| stream.normal()).collect::<Vec<f64>>();
            let weight = [out, kh, kw, channels];
            let (image, w, dy, before) = (normal(numbers(x)), normal(numbers(weight)), normal(numbers(y)), normal(9));
            let mut expected = [vec![0.0; dy.len()], vec![before[0]; image.len()], vec![before[1]; w.len()]];
            for_each_index(&[samples, out_height, width, out, kh, kw, channels], |at| {
                let [s, oy, ox, o, ky, kx, c] = at.try_into().unwrap();
                let (Some(iy), Some(ix)) = ((oy + ky).checked_sub(top), (ox + kx).checked_sub(left)) else { return };
                if iy < height && ix < width {
                    let [xi, yi, wi] = [
                        ((s * height + iy) * width + ix) * channels + c,
                        ((s * out_height + oy) * width + ox) * out + o,
                        ((o * kh + ky) * kw + kx) * channels + c,
                    ];
                    expected[0][yi] += image[xi] * w[wi];
                    expected[1][xi] += dy[yi] * w[wi];
                    expected[2][wi] += dy[yi] * image[xi];
                }
            });
            let mut scratch = Vec::new();
            let mut found = [vec![f64::NAN; dy.len()], vec![before[0]; image.len()], vec![before[1]; w.len()]];
            lines.forward(&image, &w, false, &mut found[0], &mut scratch);
            let [_, dx, dw] = &mut found;
            lines.backward([&image, &w, &dy], Some(dx), Some(dw), &mut scratch);
            for (found, expected) in found.iter().zip(&expected) {
                for (f, e) in found.iter().zip(expected) {
                    assert!((f - e).abs() < 1e-11, "found {f}, expected {e}: {lines:?}");
                }
            }
            lines.forward(&image, &w, true, &mut found[0], &mut scratch);
            found[0].iter().zip(&expected[0]).for_each(|(f, e)| assert!((f - 2.0 * e).abs() < 1e-11));
        }
        assert!(seen > 50, "only {seen} of 400 shapes fit");
    }
}
