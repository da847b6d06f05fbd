//! Residual networks: the paper's and option A's for small images, torchvision's for large ones.

use onebasin_core::error::Result;
use onebasin_core::graph::op::{PadMode, Pool, PoolKind};
use onebasin_core::graph::{Graph, Op, ValueId};

use super::layers::{Norm, Padding, SquareWindow, conv_norm, images};

/// Three groups of blocks with `base`, `2 base` and `4 base` channels, as the paper trains them.
///
/// `conv1`, `norm1`; `layer{1..3}.{block}.conv1`, `.norm1`, `.conv2`, `.norm2`, and where the stride is 2
/// `.shortcut.conv`, `.shortcut.norm`; `fc`. Convolutions are 3 × 3 without bias and padded as Flax's `SAME`: under a
/// stride of 2 an image of even side has its zero at the end only.
pub(super) fn resnet(
    g: &mut Graph,
    x: ValueId,
    base: usize,
    blocks: usize,
    norm: Norm,
    classes: usize,
) -> Result<ValueId> {
    let x = images(g, x)?;
    let x = conv_norm(g, ("conv1", "norm1"), x, base, SquareWindow::three_same(1), norm)?;
    let mut x = g.relu(x)?;
    for (group, block) in small_blocks(blocks) {
        let name = format!("layer{}.{block}", group + 1);
        let (out, stride) = (base << group, if group > 0 && block == 0 { 2 } else { 1 });
        let at = |part: &str| format!("{name}.{part}");
        let y = conv_norm(g, (&at("conv1"), &at("norm1")), x, out, SquareWindow::three_same(stride), norm)?;
        let y = g.relu(y)?;
        let y = conv_norm(g, (&at("conv2"), &at("norm2")), y, out, SquareWindow::three_same(1), norm)?;
        if stride == 2 {
            let names = (at("shortcut.conv"), at("shortcut.norm"));
            x = conv_norm(g, (&names.0, &names.1), x, out, SquareWindow::three_same(2), norm)?;
        }
        x = g.add_values(&at("add"), y, x)?;
        x = g.relu(x)?;
    }
    let x = g.global_average("pool", x)?;
    g.linear("fc", x, classes)
}

/// The same with BatchNorm and shortcuts without parameters: every second pixel, and channels of zeros on both sides.
///
/// `conv1`, `bn1`; `layer{1..3}.{block}.conv1`, `.bn1`, `.conv2`, `.bn2`; `linear`.
pub(super) fn option_a(g: &mut Graph, x: ValueId, blocks: usize, classes: usize) -> Result<ValueId> {
    const BASE: usize = 16;
    let x = images(g, x)?;
    let x = conv_norm(g, ("conv1", "bn1"), x, BASE, SquareWindow::three(1), Norm::Batch)?;
    let mut x = g.relu(x)?;
    for (group, block) in small_blocks(blocks) {
        let name = format!("layer{}.{block}", group + 1);
        let (out, stride) = (BASE << group, if group > 0 && block == 0 { 2 } else { 1 });
        let at = |part: &str| format!("{name}.{part}");
        let y = conv_norm(g, (&at("conv1"), &at("bn1")), x, out, SquareWindow::three(stride), Norm::Batch)?;
        let y = g.relu(y)?;
        let y = conv_norm(g, (&at("conv2"), &at("bn2")), y, out, SquareWindow::three(1), Norm::Batch)?;
        if stride == 2 {
            for axis in [2, 3] {
                let len = g.shape(x).get(axis).copied().unwrap_or(0).div_ceil(2);
                x = g.push(&at("shortcut"), Op::Slice { axis, start: 0, len, step: 2 }, &[x])?;
            }
            let around = vec![0, out / 4, 0, 0];
            let pad = Op::Pad { before: around.clone(), after: around, mode: PadMode::Constant(0.0) };
            x = g.push(&at("shortcut"), pad, &[x])?;
        }
        x = g.add_values(&at("add"), y, x)?;
        x = g.relu(x)?;
    }
    let x = g.global_average("pool", x)?;
    g.linear("linear", x, classes)
}

/// Group and block, in order.
fn small_blocks(blocks: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..3).flat_map(move |group| (0..blocks).map(move |block| (group, block)))
}

/// torchvision's layout, with its names whatever the normalisation is.
///
/// `conv1`, `bn1`; `layer{1..4}.{block}.conv1`, `.bn1`, … and in a block that changes the shape `.downsample.0`,
/// `.downsample.1`; `fc`. A bottleneck has its stride in the 3 × 3 convolution.
pub(super) fn torch_resnet(
    g: &mut Graph,
    x: ValueId,
    layers: [usize; 4],
    bottleneck: bool,
    norm: Norm,
    classes: usize,
) -> Result<ValueId> {
    let x = images(g, x)?;
    let stem = SquareWindow { kernel: 7, stride: 2, padding: Padding::Each(3) };
    let x = conv_norm(g, ("conv1", "bn1"), x, 64, stem, norm)?;
    let x = g.relu(x)?;
    let mut x = g.max_pool("maxpool", x, Pool::square(PoolKind::Max, 3, 2).padded(1))?;
    let blocks = layers.into_iter().enumerate().flat_map(|(layer, n)| (0..n).map(move |block| (layer, block)));
    for (layer, block) in blocks {
        let name = format!("layer{}.{block}", layer + 1);
        let (width, stride) = (64 << layer, if layer > 0 && block == 0 { 2 } else { 1 });
        let out = if bottleneck { 4 * width } else { width };
        let convs: &[(usize, SquareWindow)] = if bottleneck {
            &[(width, SquareWindow::one(1)), (width, SquareWindow::three(stride)), (out, SquareWindow::one(1))]
        } else {
            &[(width, SquareWindow::three(stride)), (out, SquareWindow::three(1))]
        };
        let mut y = x;
        for (k, &(out, window)) in convs.iter().enumerate() {
            if k > 0 {
                y = g.relu(y)?;
            }
            let names = (format!("{name}.conv{}", k + 1), format!("{name}.bn{}", k + 1));
            y = conv_norm(g, (&names.0, &names.1), y, out, window, norm)?;
        }
        if stride != 1 || g.shape(x).get(1) != Some(&out) {
            let names = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
            x = conv_norm(g, (&names.0, &names.1), x, out, SquareWindow::one(stride), norm)?;
        }
        x = g.add_values(&format!("{name}.add"), y, x)?;
        x = g.relu(x)?;
    }
    let x = g.global_average("avgpool", x)?;
    g.linear("fc", x, classes)
}
