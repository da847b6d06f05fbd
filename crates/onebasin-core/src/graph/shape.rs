//! How shapes follow from operators.
//!
//! Shapes are lists of lengths, outermost axis first. Every rule is one arm of [`infer`]; what does not fit is told in
//! words that name the shapes, and [`Graph::push`](super::Graph::push) adds the node.

use super::op::{Cell, Conv, Dim, Op, PadMode, Pool};

/// Shapes of an operator's outputs, from those of its inputs.
///
/// Nothing overflows: lengths too large for the machine do not fit.
///
/// # Errors
/// What does not fit, with the shapes in question: too many inputs or too few, axes that do not exist, lengths that
/// differ. An [`Op::Unknown`] has no shape.
///
/// ```
/// use onebasin_core::graph::{Op, op::Conv, shape::infer};
/// assert_eq!(infer(&Op::Conv(Conv::square(1, 1)), &[&[8, 3, 32, 32], &[16, 3, 3, 3]])?, [[8, 16, 32, 32]]);
/// let error = infer(&Op::Linear, &[&[8, 3], &[5, 4]]).unwrap_err();
/// assert_eq!(error, "a weight of shape [5, 4] does not fit an input of shape [8, 3]");
/// # Ok::<(), String>(())
/// ```
pub fn infer(op: &Op, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>, String> {
    let one = |shape: Vec<usize>| Ok(vec![shape]);
    match (op, inputs) {
        (Op::Linear, [x, w @ [out, features], bias @ ..]) if fits(bias, *out) => {
            let [batch @ .., last] = x else { return Err("a number has no features".to_owned()) };
            if last != features {
                return Err(format!("a weight of shape {w:?} does not fit an input of shape {x:?}"));
            }
            one([batch, &[*out]].concat())
        }
        (Op::MatMul, [a, b]) => matmul(a, b).and_then(one),
        (Op::Conv(conv), [x, w, bias @ ..]) if w.len() >= 3 && fits(bias, w[0]) => {
            convolution(conv, x, w).and_then(one)
        }
        (Op::ConvTranspose { conv, output_padding }, [x, w, bias @ ..])
            if w.len() >= 3 && fits(bias, w[1].saturating_mul(conv.groups)) =>
        {
            transposed(conv, output_padding, x, w).and_then(one)
        }
        (Op::Pool(pool), [x]) => pooled(pool, x).and_then(one),
        (Op::BatchNorm { .. }, [x, rest @ ..]) if rest.len() == 4 => per_channel(x, rest).and_then(one),
        (Op::GroupNorm { groups, .. }, [x, rest @ ..]) if rest.len() == 2 => {
            let shape = per_channel(x, rest)?;
            if *groups == 0 || shape[1] % groups != 0 {
                return Err(format!("{} channels do not fall into {groups} groups", shape[1]));
            }
            one(shape)
        }
        (Op::LayerNorm { axes, .. }, [x, rest @ ..]) if rest.len() <= 2 && ascending(axes) => {
            let normalised: Vec<usize> =
                axes.iter().map(|&a| x.get(a).copied()).collect::<Option<_>>().ok_or_else(|| no_axis(axes, x))?;
            match rest.iter().find(|r| **r != normalised) {
                Some(r) => Err(format!("gain and bias should have shape {normalised:?}, found {r:?}")),
                None => one(x.to_vec()),
            }
        }
        (Op::LocalResponseNorm { size: 1.., .. }, [x]) if x.len() >= 2 => one(x.to_vec()),
        (Op::Unary(_), [x]) => one(x.to_vec()),
        (Op::Binary(_), [a, b]) => broadcast(a, b).and_then(one),
        (Op::Where, [c, a, b]) => broadcast(&broadcast(c, a)?, b).and_then(one),
        (Op::Softmax { axis, .. } | Op::CumSum { axis, .. }, [x]) => {
            if *axis < x.len() {
                one(x.to_vec())
            } else {
                Err(no_axis(&[*axis], x))
            }
        }
        (Op::Reduce { axes, keep, .. }, [x]) if ascending(axes) => {
            if axes.iter().any(|a| *a >= x.len()) {
                return Err(no_axis(axes, x));
            }
            let shape = x.iter().enumerate().filter_map(|(a, &len)| match (axes.contains(&a), keep) {
                (false, _) => Some(len),
                (true, true) => Some(1),
                (true, false) => None,
            });
            one(shape.collect())
        }
        (Op::Reshape(dims), [x]) => reshaped(dims, x).and_then(one),
        (Op::Transpose(order), [x]) => {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            if sorted != (0..x.len()).collect::<Vec<_>>() {
                return Err(format!("{order:?} is no order of the axes of {x:?}"));
            }
            one(order.iter().map(|&a| x[a]).collect())
        }
        (Op::Concat { axis }, [first, ..]) => concatenated(*axis, first, inputs).and_then(one),
        (Op::Slice { axis, start, len, step }, [x]) => {
            let last = (*len as isize - 1).checked_mul(*step).and_then(|d| d.checked_add(*start as isize));
            let inside = |i: isize| x.get(*axis).is_some_and(|&n| (0..n as isize).contains(&i));
            if *len > 0 && !(inside(*start as isize) && last.is_some_and(inside)) {
                return Err(format!("{len} positions from {start} by {step} leave axis {axis} of {x:?}"));
            }
            let mut shape = x.to_vec();
            *shape.get_mut(*axis).ok_or_else(|| no_axis(&[*axis], x))? = *len;
            one(shape)
        }
        (Op::Pad { before, after, mode }, [x]) if before.len() == x.len() && after.len() == x.len() => {
            padded(*mode, before, after, x).and_then(one)
        }
        (Op::Expand(dims), [x, like @ ..]) if like.len() <= 1 => {
            expanded(dims, x, like.first().unwrap_or(x)).and_then(one)
        }
        (Op::Gather { axis }, [data, indices]) => {
            if *axis >= data.len() {
                return Err(no_axis(&[*axis], data));
            }
            one([&data[..*axis], indices, &data[axis + 1..]].concat())
        }
        (Op::GatherElements { axis }, [data, indices]) => {
            elementwise(*axis, data, indices)?;
            one(indices.to_vec())
        }
        (Op::ScatterElements { axis, .. }, [data, indices, updates]) => {
            elementwise(*axis, data, indices)?;
            if updates != indices {
                return Err(format!("updates of shape {updates:?} do not fit indices of shape {indices:?}"));
            }
            one(data.to_vec())
        }
        (Op::TopK { axis, count, .. }, [x]) => {
            let mut shape = x.to_vec();
            let len = shape.get_mut(*axis).ok_or_else(|| no_axis(&[*axis], x))?;
            if *count > *len {
                return Err(format!("axis {axis} of {x:?} has no {count} entries"));
            }
            *len = *count;
            Ok(vec![shape.clone(), shape])
        }
        (Op::NonZero, [x]) => {
            let count = x.iter().try_fold(1_usize, |p, n| p.checked_mul(*n));
            one(vec![x.len(), count.ok_or_else(|| format!("shape {x:?} has too many entries to count"))?])
        }
        (Op::Resize { size, .. }, [x]) if x.len() == size.len() + 2 => {
            if x[2..].contains(&0) && !size.contains(&0) {
                return Err(format!("an image of shape {x:?} has no pixels to make {size:?} of"));
            }
            one([&x[..2], size].concat())
        }
        (Op::Recurrent { cell, direction }, [x @ [time, batch, features], w, r, rest @ ..])
            if rest.len() <= 2 + usize::from(*cell == Cell::Lstm) =>
        {
            let (gates, directions) = (cell.gates(), direction.count());
            let hidden = r.last().copied().unwrap_or(0);
            let rows = gates.saturating_mul(hidden);
            if **w != [directions, rows, *features] || **r != [directions, rows, hidden] {
                return Err(format!("weights of shape {w:?} and {r:?} do not fit an input of shape {x:?}"));
            }
            let expected: [&[usize]; 3] =
                [&[directions, rows.saturating_mul(2)], &[directions, *batch, hidden], &[directions, *batch, hidden]];
            if let Some((found, wanted)) = rest.iter().zip(expected).find(|(f, e)| **f != *e) {
                return Err(format!("expected shape {wanted:?}, found {found:?}"));
            }
            let state = vec![directions, *batch, hidden];
            let mut outputs = vec![vec![*time, directions, *batch, hidden], state.clone()];
            outputs.extend((*cell == Cell::Lstm).then_some(state));
            Ok(outputs)
        }
        (Op::Unknown(name), _) => Err(format!("the shape of `{name}` is not known")),
        (
            Op::Linear
            | Op::MatMul
            | Op::Conv(_)
            | Op::ConvTranspose { .. }
            | Op::Pool(_)
            | Op::BatchNorm { .. }
            | Op::LayerNorm { .. }
            | Op::GroupNorm { .. }
            | Op::LocalResponseNorm { .. }
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Where
            | Op::Softmax { .. }
            | Op::Reduce { .. }
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Expand(_)
            | Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::ScatterElements { .. }
            | Op::TopK { .. }
            | Op::CumSum { .. }
            | Op::NonZero
            | Op::Resize { .. }
            | Op::Recurrent { .. },
            inputs,
        ) => Err(format!("{} does not take inputs of shapes {inputs:?}", op.name())),
    }
}

fn no_axis(axes: &[usize], shape: &[usize]) -> String {
    format!("there is no axis {axes:?} in shape {shape:?}")
}

/// Passes if every index along `axis` stands beside an entry of the data.
fn elementwise(axis: usize, data: &[usize], indices: &[usize]) -> Result<(), String> {
    if axis >= data.len() {
        return Err(no_axis(&[axis], data));
    }
    let beside = |(a, (n, m)): (usize, (&usize, &usize))| a == axis || m <= n;
    if data.len() != indices.len() || !data.iter().zip(indices).enumerate().all(beside) {
        return Err(format!("indices of shape {indices:?} do not fit data of shape {data:?}"));
    }
    Ok(())
}

fn ascending(axes: &[usize]) -> bool {
    axes.windows(2).all(|pair| pair[0] < pair[1])
}

/// Whether an optional bias has `len` entries.
fn fits(bias: &[&[usize]], len: usize) -> bool {
    match bias {
        [] => true,
        [b] => **b == [len],
        _ => false,
    }
}

/// The shape two shapes broadcast to: axes are aligned from the right, and a length of 1, or an axis that is missing,
/// takes the other's length.
///
/// # Errors
/// Where two lengths differ and neither is 1.
///
/// ```
/// use onebasin_core::graph::shape::broadcast;
/// assert_eq!(broadcast(&[8, 1, 3], &[5, 1])?, [8, 5, 3]);
/// assert_eq!(broadcast(&[2], &[3]).unwrap_err(), "shapes [2] and [3] do not broadcast");
/// # Ok::<(), String>(())
/// ```
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |k| shape[k]);
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(format!("shapes {a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

fn matmul(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let fail = || Err(format!("shapes {a:?} and {b:?} do not multiply"));
    match (a, b) {
        ([k], [l]) if k == l => Ok(vec![]),
        ([k], [batch @ .., l, n]) if k == l => Ok([batch, &[*n]].concat()),
        ([batch @ .., m, k], [l]) if k == l => Ok([batch, &[*m]].concat()),
        ([left @ .., m, k], [right @ .., l, n]) if k == l => {
            Ok([&broadcast(left, right).or_else(|_| fail())?[..], &[*m, *n]].concat())
        }
        _ => fail(),
    }
}

fn per_channel(x: &[usize], params: &[&[usize]]) -> Result<Vec<usize>, String> {
    let Some(&channels) = x.get(1) else { return Err(format!("shape {x:?} has no channels")) };
    match params.iter().find(|p| ***p != [channels]) {
        Some(p) => Err(format!("{channels} channels need parameters of shape [{channels}], found {p:?}")),
        None => Ok(x.to_vec()),
    }
}

/// Axes that a window slides along at most.
const WINDOW_AXES: usize = 3;

/// Length of a spatial axis after sliding a window of `kernel` taps over it.
fn slide(len: usize, kernel: usize, stride: usize, dilation: usize, padding: usize) -> Option<usize> {
    let span = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
    Some(len.checked_add(padding)?.checked_sub(span)? / stride + 1)
}

fn convolution(conv: &Conv, x: &[usize], w: &[usize]) -> Result<Vec<usize>, String> {
    let fail =
        || format!("a convolution with {conv:?} and a weight of shape {w:?} does not fit an input of shape {x:?}");
    let spatial = w.len() - 2;
    let whole = [&conv.strides, &conv.dilations, &conv.before, &conv.after].iter().all(|v| v.len() == spatial);
    if x.len() != w.len()
        || !whole
        || spatial > WINDOW_AXES
        || conv.groups == 0
        || [&conv.strides, &conv.dilations].iter().any(|steps| steps.contains(&0))
        || Some(x[1]) != w[1].checked_mul(conv.groups)
        || !w[0].is_multiple_of(conv.groups)
    {
        return Err(fail());
    }
    let mut shape = vec![x[0], w[0]];
    for s in 0..spatial {
        let len = conv.before[s]
            .checked_add(conv.after[s])
            .and_then(|padding| slide(x[s + 2], w[s + 2], conv.strides[s], conv.dilations[s], padding));
        shape.push(len.ok_or_else(fail)?);
    }
    Ok(shape)
}

fn transposed(conv: &Conv, output_padding: &[usize], x: &[usize], w: &[usize]) -> Result<Vec<usize>, String> {
    let fail = || format!("a transposed convolution with {conv:?} and a weight of shape {w:?} does not fit {x:?}");
    let spatial = w.len() - 2;
    let whole = [&conv.strides, &conv.dilations, &conv.before, &conv.after].iter().all(|v| v.len() == spatial);
    if x.len() != w.len()
        || !whole
        || output_padding.len() != spatial
        || spatial > WINDOW_AXES
        || x[1] != w[0]
        || conv.groups == 0
        || !w[0].is_multiple_of(conv.groups)
        || [&conv.strides, &conv.dilations].iter().any(|steps| steps.contains(&0))
    {
        return Err(fail());
    }
    let mut shape = vec![x[0], w[1].checked_mul(conv.groups).ok_or_else(fail)?];
    for s in 0..spatial {
        let len = || {
            let steps = (x[s + 2].max(1) - 1).checked_mul(conv.strides[s])?;
            let span = (w[s + 2].max(1) - 1).checked_mul(conv.dilations[s])?;
            let full = steps.checked_add(span)?.checked_add(1)?.checked_add(output_padding[s])?;
            full.checked_sub(conv.before[s].checked_add(conv.after[s])?)
        };
        shape.push(len().ok_or_else(fail)?);
    }
    Ok(shape)
}

fn padded(mode: PadMode, before: &[usize], after: &[usize], x: &[usize]) -> Result<Vec<usize>, String> {
    let fail = || format!("shape {x:?} cannot be padded by {before:?} before and {after:?} after");
    let axes = x.iter().zip(before).zip(after);
    let len = |((n, b), a): ((&usize, &usize), &usize)| {
        let sum = n.checked_add(*b)?.checked_add(*a)?;
        // An axis without positions has no edge and no mirror image.
        (matches!(mode, PadMode::Constant(_)) || *n > 0 || sum == 0).then_some(sum)
    };
    axes.map(len).collect::<Option<_>>().ok_or_else(fail)
}

fn pooled(pool: &Pool, x: &[usize]) -> Result<Vec<usize>, String> {
    let fail = || format!("pooling with {pool:?} does not fit an input of shape {x:?}");
    let spatial = pool.kernel.len();
    let whole = [&pool.strides, &pool.before, &pool.after].iter().all(|v| v.len() == spatial);
    if x.len() != spatial + 2 || !whole || spatial > WINDOW_AXES || pool.strides.contains(&0) {
        return Err(fail());
    }
    let mut shape = x[..2].to_vec();
    for s in 0..spatial {
        let (len, stride, before) = (x[s + 2], pool.strides[s], pool.before[s]);
        let padded = len.checked_add(before).and_then(|n| n.checked_add(pool.after[s]));
        let reach = padded.and_then(|n| n.checked_sub(pool.kernel[s])).ok_or_else(fail)?;
        let mut windows = if pool.ceil { reach.div_ceil(stride) } else { reach / stride } + 1;
        // A window that would start in the padding behind the image is dropped, as PyTorch and ONNX do.
        if pool.ceil && (windows - 1) * stride >= len + before {
            windows -= 1;
        }
        shape.push(windows);
    }
    Ok(shape)
}

fn reshaped(dims: &[Dim], x: &[usize]) -> Result<Vec<usize>, String> {
    let fail = || format!("shape {x:?} cannot become {dims:?}");
    let count = x.iter().try_fold(1_usize, |p, n| p.checked_mul(*n)).ok_or_else(fail)?;
    let known = dims.iter().map(|d| match d {
        Dim::Same(axis) => x.get(*axis).copied().map(Some),
        Dim::Size(n) => Some(Some(*n)),
        Dim::Rest => Some(None),
    });
    let known: Vec<Option<usize>> = known.collect::<Option<_>>().ok_or_else(fail)?;
    let rest = known.iter().filter(|d| d.is_none()).count();
    let product = known.iter().flatten().try_fold(1_usize, |p, n| p.checked_mul(*n)).ok_or_else(fail)?;
    let fits = if rest == 0 { product == count } else { rest == 1 && product > 0 && count.is_multiple_of(product) };
    if !fits {
        return Err(fail());
    }
    Ok(known.into_iter().map(|d| d.unwrap_or(count / product.max(1))).collect())
}

fn expanded(dims: &[Dim], x: &[usize], like: &[usize]) -> Result<Vec<usize>, String> {
    let length = |dim: &Dim| match dim {
        Dim::Same(axis) => like.get(*axis).copied().ok_or_else(|| no_axis(&[*axis], like)),
        Dim::Size(n) => Ok(*n),
        Dim::Rest => Err(format!("an expansion to {dims:?} has an axis of no length")),
    };
    let shape: Vec<usize> = dims.iter().map(length).collect::<Result<_, _>>()?;
    let found = broadcast(x, &shape)?;
    if found == shape { Ok(found) } else { Err(format!("shape {x:?} does not expand to {shape:?}")) }
}

fn concatenated(axis: usize, first: &[usize], inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let same =
        |x: &[usize]| x.len() == first.len() && x.iter().zip(first).enumerate().all(|(a, (n, m))| a == axis || n == m);
    if axis >= first.len() || !inputs.iter().all(|x| same(x)) {
        return Err(format!("shapes {inputs:?} do not join along axis {axis}"));
    }
    let mut shape = first.to_vec();
    let sum = inputs.iter().try_fold(0_usize, |sum, x| sum.checked_add(x[axis]));
    shape[axis] = sum.ok_or_else(|| format!("shapes {inputs:?} are too long to join along axis {axis}"))?;
    Ok(shape)
}
