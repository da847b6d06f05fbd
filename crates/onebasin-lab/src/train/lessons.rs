//! What is learnt from.

use onebasin_nn::samples::Feeds;
use onebasin_nn::task::{Task, usual};
use onebasin_nn::{Arrays, Samples};

use crate::data::{Augment, Dataset};
use crate::error::Result;

/// Samples to learn from: images, which may be augmented, or others with a target.
#[derive(Clone, Copy)]
pub enum Lessons<'a> {
    /// Images with one label each.
    Images(&'a Dataset),
    /// Samples of any kind.
    Samples(&'a dyn Samples),
}

impl<'a> From<&'a Dataset> for Lessons<'a> {
    fn from(images: &'a Dataset) -> Self {
        Self::Images(images)
    }
}

impl<'a> From<&'a Arrays> for Lessons<'a> {
    fn from(samples: &'a Arrays) -> Self {
        Self::Samples(samples)
    }
}

impl<'a> Lessons<'a> {
    /// All of them, as they are.
    pub fn samples(&self) -> &'a dyn Samples {
        match *self {
            Self::Images(images) => images,
            Self::Samples(samples) => samples,
        }
    }

    /// What their target is judged by.
    pub fn task(&self) -> &'static dyn Task {
        usual(self.samples())
    }

    pub(super) fn are_images(&self) -> bool {
        matches!(self, Self::Images(_))
    }

    /// Writes chosen samples as an epoch sees them: images augmented, if that is asked for, by the seed and the epoch.
    pub(super) fn gather(
        &self,
        feeds: &Feeds,
        chosen: &[u32],
        seen: Option<(Augment, u64, usize)>,
        inputs: &mut [&mut [f32]],
        targets: &mut [f32],
    ) -> Result<()> {
        let samples = match (*self, seen) {
            (Self::Images(images), Some((augment, seed, epoch))) => {
                return images.gather_augmented(chosen, augment, (seed, epoch), inputs[0], targets);
            }
            (Self::Images(images), None) => return images.gather(chosen, inputs[0], targets),
            (Self::Samples(samples), _) => samples,
        };
        let lens: Vec<usize> = feeds.fields().map(|(_, len)| len).collect();
        let target = feeds.target();
        for (at, sample) in chosen.iter().map(|s| *s as usize).enumerate() {
            let mut one: Vec<&mut [f32]> =
                inputs.iter_mut().zip(&lens).map(|(input, len)| &mut input[at * len..][..*len]).collect();
            feeds.fill(samples, sample..sample + 1, &mut one)?;
            samples.fill_target(sample..sample + 1, &mut targets[at * target..][..target])?;
        }
        Ok(())
    }
}
