//! Images seen shifted and mirrored.

use onebasin_core::stream::Stream;

/// Which number of a sample is seen in the place of each.
pub(super) struct Shift(Vec<u32>);

impl Shift {
    /// Every number in its own place.
    pub(super) fn none(shape: &[usize]) -> Self {
        Self((0..shape.iter().product::<usize>() as u32).collect())
    }

    /// Of every input `[channels, height, width]`, shifted by up to 1/16 of the longer side, edges repeated, every second
    /// time mirrored; other inputs stay.
    pub(super) fn drawn(seed: u64, name: &str, shapes: &[Vec<usize>]) -> Vec<Self> {
        let mut stream = Stream::new(seed, name);
        let mut one = |shape: &Vec<usize>| {
            let &[channels, height, width] = &shape[..] else { return Self::none(shape) };
            let most = height.max(width) / 16;
            let mut by = || stream.below(2 * most + 1) as isize - most as isize;
            let (down, right) = (by(), by());
            let mirrored = stream.below(2) == 1;
            let near = |at: usize, by: isize, len: usize| (at as isize + by).clamp(0, len as isize - 1) as usize;
            let mut order = Vec::with_capacity(channels * height * width);
            for channel in 0..channels {
                for y in 0..height {
                    let row = (channel * height + near(y, down, height)) * width;
                    let seen = |x: usize| near(if mirrored { width - 1 - x } else { x }, right, width);
                    order.extend((0..width).map(|x| (row + seen(x)) as u32));
                }
            }
            Self(order)
        };
        shapes.iter().map(&mut one).collect()
    }

    /// Numbers in a sample.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes what is seen of samples.
    pub(super) fn see(&self, samples: &[f32], seen: &mut [f32]) {
        let len = self.len().max(1);
        for (sample, seen) in samples.chunks_exact(len).zip(seen.chunks_exact_mut(len)) {
            seen.iter_mut().zip(&self.0).for_each(|(seen, at)| *seen = sample[*at as usize]);
        }
    }

    /// Adds the gradient of what is seen to that of samples.
    pub(super) fn unsee(&self, seen: &[f32], samples: &mut [f32]) {
        let len = self.len().max(1);
        for (sample, seen) in samples.chunks_exact_mut(len).zip(seen.chunks_exact(len)) {
            seen.iter().zip(&self.0).for_each(|(seen, at)| sample[*at as usize] += seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gradient_goes_back_to_where_it_was_seen() {
        let shapes = [vec![2, 32, 20], vec![5]];
        for k in 0..8 {
            let shifts = Shift::drawn(3, &format!("shift/{k}"), &shapes);
            let [image, other] = &shifts[..] else { unreachable!("one an input") };
            assert_eq!(other.0, [0, 1, 2, 3, 4]);
            let mut stream = Stream::new(k, "numbers");
            let mut some = || (0..image.len()).map(|_| stream.normal() as f32).collect::<Vec<f32>>();
            let (x, d) = (some(), some());
            let (mut seen, mut back) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            image.see(&x, &mut seen);
            image.unsee(&d, &mut back);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            assert!((dot(&seen, &d) - dot(&x, &back)).abs() < 1e-3);
        }
    }
}
