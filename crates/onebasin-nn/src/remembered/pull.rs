//! What pulls inputs towards what is remembered: the gradient of the distance with respect to what enters BatchNorms.

use onebasin_core::graph::Graph;

use crate::error::Result;
use crate::exec::Outcome;
use crate::samples::Samples;
use crate::task::Task;

/// Gradient of the distance at an output: `offset + slope · (x − mean)`, channel by channel.
pub(super) struct Slopes {
    pub(super) output: usize,
    /// Positions of a channel in one sample.
    pub(super) positions: usize,
    pub(super) mean: Vec<f32>,
    pub(super) offset: Vec<f32>,
    pub(super) slope: Vec<f32>,
}

/// Gradients of all outputs: the sums of these, and zero elsewhere.
pub(super) struct Pull(pub(super) Vec<Slopes>);

impl Task for Pull {
    fn check(&self, _graph: &Graph, _samples: &dyn Samples) -> Result<()> {
        Ok(())
    }

    fn outcome(&self, _outputs: &[&[f32]], _targets: &[f32], _samples: usize) -> Outcome {
        Outcome::default()
    }

    fn gradient(&self, outputs: &[&[f32]], _: &[f32], _: usize, scale: f32, gradients: &mut [&mut [f32]]) {
        for gradient in gradients.iter_mut() {
            gradient.fill(0.0);
        }
        for Slopes { output, positions, mean, offset, slope } in &self.0 {
            let rows = gradients[*output].chunks_exact_mut((*positions).max(1));
            let channels = mean.iter().zip(offset).zip(slope).cycle();
            for ((d, x), ((mean, offset), slope)) in
                rows.zip(outputs[*output].chunks_exact((*positions).max(1))).zip(channels)
            {
                d.iter_mut().zip(x).for_each(|(d, x)| *d += scale * (offset + slope * (x - mean)));
            }
        }
    }
}
