//! Windows that slide over images, and images of another size.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Conv, Dim, Pool, PoolKind, Reduce, ResizeMode};

use super::call::{LONGEST, Made, NodeCall, axis_of, broken, unknown};
use super::plan::PlanSlot;

/// How padding is asked for.
#[derive(Clone, Copy, PartialEq)]
enum AutoPad {
    Given,
    Upper,
    Lower,
    Valid,
}

fn auto_pad(call: &NodeCall<'_, '_>) -> Made<AutoPad> {
    match call.text("auto_pad", "NOTSET")? {
        "NOTSET" | "" => Ok(AutoPad::Given),
        "SAME_UPPER" => Ok(AutoPad::Upper),
        "SAME_LOWER" => Ok(AutoPad::Lower),
        "VALID" => Ok(AutoPad::Valid),
        other => broken(format!("auto_pad `{other}`")),
    }
}

/// Padding before and after, of `total` on each axis.
fn halves(total: &[usize], more_after: bool) -> [Vec<usize>; 2] {
    let (small, large) = (total.iter().map(|t| t / 2).collect(), total.iter().map(|t| t.div_ceil(2)).collect());
    if more_after { [small, large] } else { [large, small] }
}

fn given_pads(call: &NodeCall<'_, '_>, spatial: usize) -> Made<[Vec<usize>; 2]> {
    let mut before = call.lengths("pads", 2 * spatial, 0)?;
    let after = before.split_off(spatial);
    Ok([before, after])
}

/// Padding of a window that takes `spans` positions, over axes of these lengths.
fn pads(call: &NodeCall<'_, '_>, lengths: &[usize], spans: &[usize], strides: &[usize]) -> Made<[Vec<usize>; 2]> {
    let given = given_pads(call, spans.len())?;
    let auto = auto_pad(call)?;
    if strides.contains(&0) {
        return broken("it has a stride of 0");
    }
    match auto {
        AutoPad::Given => Ok(given),
        AutoPad::Valid => Ok([vec![0; spans.len()], vec![0; spans.len()]]),
        AutoPad::Upper | AutoPad::Lower => {
            let axes = lengths.iter().zip(spans).zip(strides);
            let total = axes.map(|((&n, &span), &stride)| {
                (n.div_ceil(stride).max(1) - 1).saturating_mul(stride).saturating_add(span).saturating_sub(n)
            });
            Ok(halves(&total.collect::<Vec<_>>(), auto == AutoPad::Upper))
        }
    }
}

/// Positions between the first and the last tap of a kernel, themselves included.
fn spans(kernel: &[usize], dilations: &[usize]) -> Made<Vec<usize>> {
    let span = |(k, d): (&usize, &usize)| k.checked_sub(1)?.checked_mul(*d)?.checked_add(1);
    let spans = kernel.iter().zip(dilations).map(span).collect::<Option<_>>();
    spans.map_or_else(|| broken(format!("a kernel of {kernel:?} with dilations {dilations:?}")), Ok)
}

/// Lengths of the spatial axes of an image, and of the kernel of a weight.
fn image_and_kernel(call: &NodeCall<'_, '_>, x: PlanSlot, w: PlanSlot) -> Made<(Vec<usize>, Vec<usize>)> {
    let (image, weight) = (call.shape(x), call.shape(w));
    if weight.len() < 3 || image.len() != weight.len() {
        return broken(format!("a weight of shape {weight:?} does not fit an input of shape {image:?}"));
    }
    let kernel = weight[2..].to_vec();
    match call.ints("kernel_shape")? {
        Some(given) if given.iter().map(|&k| usize::try_from(k).ok()).ne(kernel.iter().map(|&k| Some(k))) => {
            broken(format!("kernel_shape {given:?} is not that of a weight of shape {weight:?}"))
        }
        _ => Ok((image[2..].to_vec(), kernel)),
    }
}

fn groups(call: &NodeCall<'_, '_>) -> Made<usize> {
    let groups = call.int("group", 1)?;
    let count = usize::try_from(groups).ok().filter(|g| *g <= LONGEST);
    count.map_or_else(|| broken(format!("{groups} groups")), Ok)
}

pub(super) fn conv(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let inputs = call.inputs()?;
    conv_of(call, &inputs)
}

/// The convolution that the node's attributes describe, of these values.
pub(super) fn conv_of(call: &mut NodeCall<'_, '_>, inputs: &[PlanSlot]) -> Made<PlanSlot> {
    let [x, w, ..] = *inputs else { return broken("its weight is missing") };
    let (lengths, kernel) = image_and_kernel(call, x, w)?;
    let spatial = kernel.len();
    let (strides, dilations) = (call.lengths("strides", spatial, 1)?, call.lengths("dilations", spatial, 1)?);
    let [before, after] = pads(call, &lengths, &spans(&kernel, &dilations)?, &strides)?;
    call.push(Op::Conv(Conv { strides, dilations, before, after, groups: groups(call)? }), inputs)
}

pub(super) fn conv_transpose(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let inputs = call.inputs()?;
    let [x, w, ..] = inputs[..] else { return broken("its weight is missing") };
    let (lengths, kernel) = image_and_kernel(call, x, w)?;
    let spatial = kernel.len();
    let (strides, dilations) = (call.lengths("strides", spatial, 1)?, call.lengths("dilations", spatial, 1)?);
    let output_padding = call.lengths("output_padding", spatial, 0)?;
    let given = given_pads(call, spatial)?;
    let auto = auto_pad(call)?;
    let spans = spans(&kernel, &dilations)?;
    let wanted: Option<Vec<usize>> = match (call.attribute("output_shape").is_some(), auto) {
        (true, _) => {
            let shape = call.ints("output_shape")?.unwrap_or_default();
            let shape = shape.get(shape.len().saturating_sub(spatial)..).unwrap_or_default().iter();
            Some(shape.filter_map(|&n| usize::try_from(n).ok()).collect())
        }
        (false, AutoPad::Upper | AutoPad::Lower) => {
            Some(lengths.iter().zip(&strides).map(|(n, s)| n.saturating_mul(*s)).collect())
        }
        (false, _) => None,
    };
    let [before, after] = match wanted {
        None if auto == AutoPad::Valid => [vec![0; spatial], vec![0; spatial]],
        None => given,
        Some(wanted) => {
            let axis = |s: usize| {
                let full = lengths[s].checked_sub(1)?.checked_mul(strides[s])?.checked_add(spans[s])?;
                full.checked_add(output_padding[s])?.checked_sub(*wanted.get(s)?)
            };
            let Some(total) = (0..spatial).map(axis).collect::<Option<Vec<_>>>() else {
                return unknown(format!("an output of {wanted:?}, larger than the windows reach, is not known"));
            };
            halves(&total, auto == AutoPad::Upper)
        }
    };
    let conv = Conv { strides, dilations, before, after, groups: groups(call)? };
    call.push(Op::ConvTranspose { conv, output_padding }, &inputs)
}

pub(super) fn pool(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    call.ignore(&["storage_order"]);
    let x = call.input(0)?;
    let lengths = call.shape(x).get(2..).unwrap_or_default().to_vec();
    let spatial = lengths.len();
    if call.ints("kernel_shape")?.is_none() {
        return broken("its kernel_shape is missing");
    }
    let kernel = call.lengths("kernel_shape", spatial, 1)?;
    let strides = call.lengths("strides", spatial, 1)?;
    let dilations = call.lengths("dilations", spatial, 1)?;
    if dilations.iter().any(|d| *d != 1) {
        return unknown(format!("pooling with dilations {dilations:?} is not known"));
    }
    let counted = call.flag("count_include_pad", false)?;
    let [before, after] = pads(call, &lengths, &kernel, &strides)?;
    let kind = match call.node.op_type.as_str() {
        "MaxPool" => PoolKind::Max,
        _ if counted && before.iter().chain(&after).any(|p| *p > 0) => PoolKind::AverageWithPadding,
        _ => PoolKind::Average,
    };
    let ceil = call.flag("ceil_mode", false)?;
    let pool = Pool { kind, kernel, strides, before, after, ceil };
    if spatial > 3 { pool_of_many_axes(call, x, &pool) } else { call.push(Op::Pool(pool), &[x]) }
}

/// Windows of one entry along all but three axes, as exporters of frameworks with channels last write them: the others stand where
/// samples and channels do.
fn pool_of_many_axes(call: &mut NodeCall<'_, '_>, x: PlanSlot, pool: &Pool) -> Made<PlanSlot> {
    let still =
        |s: &usize| pool.kernel[*s] == 1 && pool.strides[*s] == 1 && pool.before[*s] == 0 && pool.after[*s] == 0;
    let (stay, slide): (Vec<usize>, Vec<usize>) = (0..pool.kernel.len()).partition(still);
    let single = call.shape(x)[..2] == [1, 1];
    let &[samples, channels] = &stay[..] else {
        return unknown(format!("pooling along {} axes of {} is not known", slide.len(), pool.kernel.len()));
    };
    if !single || slide.len() > 3 {
        return unknown(format!("pooling along {} axes of {} is not known", slide.len(), pool.kernel.len()));
    }
    let of = |values: &[usize]| slide.iter().map(|s| values[*s]).collect::<Vec<_>>();
    let (kernel, strides) = (of(&pool.kernel), of(&pool.strides));
    let (before, after) = (of(&pool.before), of(&pool.after));
    let order: Vec<usize> = [samples, channels].iter().chain(&slide).map(|s| s + 2).collect();
    let whole = [0, 1].into_iter().chain(order.iter().copied()).collect();
    let x = call.transpose(x, whole)?;
    let x = call.reshape(x, (2..order.len() + 2).map(Dim::Same).collect())?;
    let y = call.push(Op::Pool(Pool { kind: pool.kind, kernel, strides, before, after, ceil: pool.ceil }), &[x])?;
    let one = [Dim::Size(1), Dim::Size(1)];
    let y = call.reshape(y, one.into_iter().chain((0..order.len()).map(Dim::Same)).collect())?;
    let mut back = vec![0, 1];
    back.extend((2..order.len() + 2).map(|axis| order.iter().position(|from| *from == axis).unwrap_or_default() + 2));
    call.transpose(y, back)
}

pub(super) fn global_pool(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let kind = if call.node.is("GlobalMaxPool") { Reduce::Max } else { Reduce::Mean };
    let x = call.input(0)?;
    call.push(Op::Reduce { kind, axes: (2..call.rank(x)).collect(), keep: true }, &[x])
}

/// What an image is resized to, and how.
struct Scaling<'a> {
    mode: &'a str,
    /// From a position of the result to one of the input.
    coordinates: &'a str,
    /// How a position between two becomes one of them.
    rounding: &'a str,
    /// Factor of every axis, if factors were given.
    factors: Option<Vec<f64>>,
    /// Length of every axis, if lengths were given.
    lengths: Option<[Vec<usize>; 2]>,
    axes: Option<Vec<i64>>,
}

fn scaling<'a>(call: &mut NodeCall<'_, 'a>) -> Made<Scaling<'a>> {
    let mode = call.text("mode", "nearest")?;
    let mut scaling =
        Scaling { mode, coordinates: "asymmetric", rounding: "floor", factors: None, lengths: None, axes: None };
    if call.node.is("Upsample") || call.opset() < 11 {
        scaling.factors = match call.attribute("scales") {
            Some(crate::onnx::Attribute::Floats(scales)) => Some(scales.iter().map(|s| f64::from(*s)).collect()),
            _ => call.fixed(1)?.map(|a| a.floats()),
        };
        return Ok(scaling);
    }
    call.ignore(&["cubic_coeff_a", "exclude_outside", "extrapolation_value"]);
    scaling.coordinates = call.text("coordinate_transformation_mode", "half_pixel")?;
    scaling.rounding = call.text("nearest_mode", "round_prefer_floor")?;
    scaling.axes = call.ints("axes")?;
    if call.flag("antialias", false)? || call.text("keep_aspect_ratio_policy", "stretch")? != "stretch" {
        return unknown("a Resize with antialiasing or kept proportions is not known");
    }
    // The region of interest matters to one way of counting only, which is refused.
    call.skip(1);
    scaling.factors = call.fixed(2)?.map(|a| a.floats()).filter(|f| !f.is_empty());
    if let Some(pair) = call.known(3)?.filter(|pair| pair[0].data.len() > 0) {
        scaling.lengths = pair[0].lengths().zip(pair[1].lengths()).map(|(a, b)| [a, b]);
    }
    Ok(scaling)
}

pub(super) fn resize(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let scaling = scaling(call)?;
    let x = call.input(0)?;
    let from = call.pair(x).clone();
    let rank = from[0].len();
    let axes = match &scaling.axes {
        Some(axes) => axes.iter().map(|&a| axis_of(a, rank)).collect::<Made<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    let mut result = from.clone();
    let mut exact = true;
    match (&scaling.factors, &scaling.lengths) {
        (Some(factors), None) if factors.len() == axes.len() => {
            for (&axis, factor) in axes.iter().zip(factors) {
                for k in 0..2 {
                    let len = from[k][axis] as f64 * factor;
                    exact &= len == len.floor();
                    result[k][axis] = len.floor() as usize;
                }
            }
        }
        (None, Some(lengths)) if lengths.iter().all(|l| l.len() == axes.len()) => {
            for (k, lengths) in lengths.iter().enumerate() {
                axes.iter().zip(lengths).for_each(|(&axis, &len)| result[k][axis] = len);
            }
        }
        _ => return broken("needs either as many scales or as many sizes as axes"),
    }
    if result == from {
        return Ok(x);
    }
    let spatial = result[0].get(2..).unwrap_or_default().to_vec();
    // Sizes of a model that was made for one batch hold its length; the operator does not.
    if rank < 3 || result[0][..2] != from[0][..2] || result[0][2..] != result[1][2..] {
        return unknown("a Resize of the batch or the channels is not known");
    }
    if spatial.iter().any(|n| *n == 0 || *n > LONGEST) || from[0][2..].contains(&0) {
        return broken(format!("shape {:?} cannot be resized to {:?}", from[0], result[0]));
    }
    let mode = mode(&scaling, &from[0][2..], &spatial, exact)?;
    call.push(Op::Resize { size: spatial, mode }, &[x])
}

fn mode(scaling: &Scaling<'_>, from: &[usize], to: &[usize], exact: bool) -> Made<ResizeMode> {
    let Scaling { mode, coordinates, rounding, .. } = scaling;
    let why = || unknown(format!("a Resize by `{mode}`, `{coordinates}`, `{rounding}` to {to:?} is not known"));
    match (*mode, *coordinates) {
        ("linear", "align_corners") => Ok(ResizeMode::LinearAlignCorners),
        // The factor as given and the ratio of lengths are then two things.
        _ if !exact => why(),
        ("linear", "half_pixel") => Ok(ResizeMode::LinearHalfPixel),
        ("linear", "pytorch_half_pixel") if to.iter().all(|n| *n > 1) => Ok(ResizeMode::LinearHalfPixel),
        ("linear", "asymmetric") => Ok(ResizeMode::LinearAsymmetric),
        ("nearest", _) => {
            let same = |(&n, &m): (&usize, &usize)| (0..m).all(|i| nearest(scaling, i, n, m) == Some(i * n / m));
            if from.iter().zip(to).all(same) { Ok(ResizeMode::Nearest) } else { why() }
        }
        _ => why(),
    }
}

/// The position of an axis of length `n` that position `i` of one of length `m` is taken from.
fn nearest(scaling: &Scaling<'_>, i: usize, n: usize, m: usize) -> Option<usize> {
    if (scaling.coordinates, scaling.rounding) == ("asymmetric", "floor") {
        return Some(i * n / m);
    }
    let (i, n, m) = (i as f64, n as f64, m as f64);
    let at = match scaling.coordinates {
        "half_pixel" => (i + 0.5) * n / m - 0.5,
        "pytorch_half_pixel" => {
            if m > 1.0 {
                (i + 0.5) * n / m - 0.5
            } else {
                0.0
            }
        }
        "asymmetric" => i * n / m,
        "align_corners" => {
            if m > 1.0 {
                i * (n - 1.0) / (m - 1.0)
            } else {
                0.0
            }
        }
        _ => return None,
    };
    let at = match scaling.rounding {
        "floor" => at.floor(),
        "ceil" => at.ceil(),
        "round_prefer_floor" => (at - 0.5).ceil(),
        "round_prefer_ceil" => (at + 0.5).floor(),
        _ => return None,
    };
    Some(at.clamp(0.0, n - 1.0) as usize)
}
