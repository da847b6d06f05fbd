//! VGG16: as the paper trains it on small images, and as torchvision has it.

use onebasin_core::error::{Error, Result};
use onebasin_core::graph::op::{Conv, Pool, PoolKind, ResizeMode};
use onebasin_core::graph::{Graph, Op, ValueId};

use super::layers::{Norm, images};

/// Width, in multiples of the first, and number of convolutions of every stage; max pooling ends a stage.
const STAGES: [(usize, usize); 5] = [(1, 2), (2, 2), (4, 3), (8, 3), (8, 3)];

/// The paper's: every convolution normalised, two hidden linear layers as wide as the last stage.
///
/// `conv0` … `conv12`, each with `norm0` … `norm12`, then `fc1`, `fc2`, `fc3`.
pub(super) fn vgg(g: &mut Graph, x: ValueId, base: usize, norm: Norm, classes: usize) -> Result<ValueId> {
    let mut x = images(g, x)?;
    let mut layer = 0;
    for (stage, (factor, convs)) in STAGES.into_iter().enumerate() {
        for _ in 0..convs {
            x = g.conv(&format!("conv{layer}"), x, factor * base, 3, Conv::square(1, 1), true)?;
            x = norm.add(g, &format!("norm{layer}"), x)?;
            x = g.relu(x)?;
            layer += 1;
        }
        x = g.max_pool(&format!("pool{stage}"), x, Pool::square(PoolKind::Max, 2, 2))?;
    }
    x = g.flatten("flatten", x)?;
    for name in ["fc1", "fc2"] {
        x = g.linear(name, x, 8 * base)?;
        x = g.relu(x)?;
    }
    g.linear("fc3", x, classes)
}

/// OT-Fusion's VGG11: no biases, no normalisation, one linear layer.
///
/// `conv0` … `conv7`, then `fc`.
pub(super) fn vgg11_nobias(g: &mut Graph, x: ValueId, base: usize, classes: usize) -> Result<ValueId> {
    let mut x = images(g, x)?;
    let mut layer = 0;
    for (stage, (factor, convs)) in [(1, 1), (2, 1), (4, 2), (8, 2), (8, 2)].into_iter().enumerate() {
        for _ in 0..convs {
            x = g.conv(&format!("conv{layer}"), x, factor * base, 3, Conv::square(1, 1), false)?;
            x = g.relu(x)?;
            layer += 1;
        }
        x = g.max_pool(&format!("pool{stage}"), x, Pool::square(PoolKind::Max, 2, 2))?;
    }
    x = g.flatten("flatten", x)?;
    let features = g.shape(x).last().copied().unwrap_or(1);
    let weight = g.param("fc.weight", &[classes, features])?;
    g.push("fc", Op::Linear, &[x, weight])
}

/// torchvision's: `features.N` counts every module, then `classifier.0`, `.3`, `.6`.
pub(super) fn torch_vgg(g: &mut Graph, x: ValueId, norm: Option<Norm>, classes: usize) -> Result<ValueId> {
    let mut x = images(g, x)?;
    let mut modules = (0_usize..).map(|k| format!("features.{k}"));
    let mut module = || modules.next().unwrap_or_default();
    for (factor, convs) in STAGES {
        for _ in 0..convs {
            x = g.conv(&module(), x, 64 * factor, 3, Conv::square(1, 1), true)?;
            if let Some(norm) = norm {
                x = norm.add(g, &module(), x)?;
            }
            module();
            x = g.relu(x)?;
        }
        x = g.max_pool(&module(), x, Pool::square(PoolKind::Max, 2, 2))?;
    }
    x = seven_by_seven(g, x)?;
    x = g.flatten("flatten", x)?;
    for name in ["classifier.0", "classifier.3"] {
        x = g.linear(name, x, 4096)?;
        x = g.relu(x)?;
    }
    g.linear("classifier.6", x, classes)
}

/// Adaptive average pooling to 7 × 7 where its windows are all alike: multiples of 7 are averaged, one pixel is repeated.
fn seven_by_seven(g: &mut Graph, x: ValueId) -> Result<ValueId> {
    const SIDE: usize = 7;
    let sides = g.shape(x).get(2..).unwrap_or(&[]).to_vec();
    if sides.iter().all(|&s| s == SIDE) {
        Ok(x)
    } else if sides.iter().all(|&s| s == 1) {
        g.push("avgpool", Op::Resize { size: vec![SIDE; 2], mode: ResizeMode::Nearest }, &[x])
    } else if sides.iter().all(|s| s.is_multiple_of(SIDE)) {
        let kernel: Vec<usize> = sides.iter().map(|s| s / SIDE).collect();
        let pool = Pool { kernel: kernel.clone(), strides: kernel, ..Pool::square(PoolKind::Average, 1, 1) };
        g.push("avgpool", Op::Pool(pool), &[x])
    } else {
        let why = format!(
            "pooling {sides:?} pixels to [7, 7] needs windows of different sizes; use images of 32 × 32 or of a multiple of 224"
        );
        Err(Error::Graph { node: "avgpool".to_owned(), why })
    }
}
