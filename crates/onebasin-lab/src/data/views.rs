//! Photographs in files, seen by networks in 224 × 224 pixels.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use onebasin_core::stream::Stream;

use super::jpeg::{self, Photograph};
use super::resample::resample;
use crate::error::Result;

/// Side of what networks see.
const SIDE: usize = 224;
/// The shorter side of a whole photograph, of which the centre is seen.
const SHORTER: usize = 256;
/// Shape of what networks see.
pub(super) const SHAPE: [usize; 3] = [3, SIDE, SIDE];

/// Files of a folder.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Photographs {
    folder: Arc<Path>,
    files: Vec<Arc<Path>>,
}

impl Photographs {
    /// These files, given from the folder on.
    pub(super) fn new(folder: &Path, files: Vec<Arc<Path>>) -> Self {
        Self { folder: folder.into(), files }
    }

    /// Chosen files.
    pub(super) fn pick(&self, samples: impl Iterator<Item = usize>) -> Self {
        Self { folder: self.folder.clone(), files: samples.map(|s| self.files[s].clone()).collect() }
    }

    /// The files, from the folder on, with their paths.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&Path, PathBuf)> {
        self.files.iter().map(|file| (&**file, self.folder.join(file)))
    }

    /// The centre of 224 × 224 pixels after the shorter side became 256.
    ///
    /// The longer side becomes `⌊256 longer / shorter⌋`; where as many pixels cannot be cut off on both sides, the cut is
    /// made at the even one of both places. Source: the evaluation of torchvision's ImageNet networks.
    pub(super) fn centre(&self, sample: usize) -> Result<Vec<u8>> {
        let whole = self.decoded(sample)?;
        let (height, width) = (whole.height, whole.width);
        let shorter = height.min(width);
        let to = [height, width].map(|side| SHORTER * side / shorter);
        let window = to.map(|side| {
            let start = ((side - SIDE) as f64 / 2.0).round_ties_even() as usize;
            start..start + SIDE
        });
        Ok(resample(whole.part([0, 0], [height, width]), to, window))
    }

    /// A random part in 224 × 224 pixels, mirrored left to right with probability 1/2.
    ///
    /// The part has a uniform share of the area in [0.08, 1] and the logarithm of its aspect (width by height) uniform in
    /// [log 3/4, log 4/3]; if it does not fit, another is drawn, and after ten the largest central part of an aspect in this
    /// range is taken. The stream gives for each attempt area and aspect, then where the part fits its top and left, and at
    /// last the mirror. Source: torchvision's `RandomResizedCrop`, after Szegedy et al. 2015.
    pub(super) fn augmented(&self, sample: usize, stream: &mut Stream) -> Result<Vec<u8>> {
        let whole = self.decoded(sample)?;
        let (corner, size) = random_part([whole.height, whole.width], stream);
        let mut seen = resample(whole.part(corner, size), [SIDE, SIDE], [0..SIDE, 0..SIDE]);
        if stream.bits() >> 63 == 1 {
            seen.chunks_exact_mut(SIDE).for_each(<[u8]>::reverse);
        }
        Ok(seen)
    }

    fn decoded(&self, sample: usize) -> Result<Photograph> {
        jpeg::read(&self.folder.join(&self.files[sample]))
    }
}

/// Top and left, height and width of a random part of an image of this height and width.
fn random_part([height, width]: [usize; 2], stream: &mut Stream) -> ([usize; 2], [usize; 2]) {
    const ATTEMPTS: usize = 10;
    const ASPECT: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];
    let [tall, wide] = [height as f64, width as f64];
    for _ in 0..ATTEMPTS {
        let area = tall * wide * stream.range(0.08, 1.0);
        let aspect = libm::exp(stream.range(libm::log(ASPECT[0]), libm::log(ASPECT[1])));
        let [h, w] = [area / aspect, area * aspect].map(|square| square.sqrt().round_ties_even() as usize);
        if (1..=height).contains(&h) && (1..=width).contains(&w) {
            return ([stream.below(height - h + 1), stream.below(width - w + 1)], [h, w]);
        }
    }
    let most = |side: f64| side.round_ties_even() as usize;
    let [h, w] = match wide / tall {
        aspect if aspect < ASPECT[0] => [most(wide / ASPECT[0]).min(height), width],
        aspect if aspect > ASPECT[1] => [height, most(tall * ASPECT[1]).min(width)],
        _ => [height, width],
    };
    ([(height - h) / 2, (width - w) / 2], [h, w])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_and_have_the_areas_and_aspects_they_should() {
        let mut largest = [0.0_f64; 2];
        let mut smallest = [f64::INFINITY; 2];
        for seed in 0..2000 {
            let (corner, size) = random_part([300, 400], &mut Stream::new(seed, "part"));
            assert!(corner[0] + size[0] <= 300 && corner[1] + size[1] <= 400 && size[0] * size[1] > 0);
            let found = [(size[0] * size[1]) as f64 / 120_000.0, size[1] as f64 / size[0] as f64];
            (0..2).for_each(|k| (largest[k], smallest[k]) = (largest[k].max(found[k]), smallest[k].min(found[k])));
        }
        // Sides are rounded to pixels: by half of one in 80 at least.
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.02;
        assert!(near(smallest[0], 0.08) && largest[0] > 0.97, "{smallest:?} {largest:?}");
        assert!(near(smallest[1], 0.75) && near(largest[1], 4.0 / 3.0), "{smallest:?} {largest:?}");
    }

    #[test]
    fn where_no_part_fits_the_centre_is_taken() {
        let of = |size| random_part(size, &mut Stream::new(0, "part"));
        assert_eq!(of([10_000, 30]), ([4980, 0], [40, 30]));
        assert_eq!(of([30, 10_000]), ([0, 4980], [30, 40]));
        assert_eq!(of([1, 1]), ([0, 0], [1, 1]));
    }
}
