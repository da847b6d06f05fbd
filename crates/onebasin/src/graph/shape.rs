//! How shapes follow from operators.

use super::op::{Conv, Dim, Op, Pool};

/// Shapes of an operator's outputs; the error says what does not fit, with the shapes in question.
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
            if w.len() >= 3 && fits(bias, w[1] * conv.groups) =>
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
        (Op::LayerNorm { axes, .. }, [x, rest @ ..]) if rest.len() <= 2 => {
            let normalised: Vec<usize> =
                axes.iter().map(|&a| x.get(a).copied()).collect::<Option<_>>().ok_or_else(|| no_axis(axes, x))?;
            match rest.iter().find(|r| **r != normalised) {
                Some(r) => Err(format!("gain and bias should have shape {normalised:?}, found {r:?}")),
                None => one(x.to_vec()),
            }
        }
        (Op::LocalResponseNorm { .. }, [x]) if x.len() >= 2 => one(x.to_vec()),
        (Op::Unary(_), [x]) => one(x.to_vec()),
        (Op::Binary(_), [a, b]) => broadcast(a, b).and_then(one),
        (Op::Where, [c, a, b]) => broadcast(&broadcast(c, a)?, b).and_then(one),
        (Op::Softmax { axis, .. }, [x]) => {
            if *axis < x.len() {
                one(x.to_vec())
            } else {
                Err(no_axis(&[*axis], x))
            }
        }
        (Op::Reduce { axes, keep, .. }, [x]) => {
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
        (Op::Pad { before, after, .. }, [x]) if before.len() == x.len() && after.len() == x.len() => {
            one(x.iter().zip(before).zip(after).map(|((n, b), a)| n + b + a).collect())
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
        (Op::Resize { size, .. }, [x]) if x.len() == size.len() + 2 => one([&x[..2], size].concat()),
        (Op::Recurrent { cell, direction }, [x @ [time, batch, features], w, r, rest @ ..]) if rest.len() <= 3 => {
            let (gates, directions) = (cell.gates(), direction.count());
            let hidden = r.last().copied().unwrap_or(0);
            if **w != [directions, gates * hidden, *features] || **r != [directions, gates * hidden, hidden] {
                return Err(format!("weights of shape {w:?} and {r:?} do not fit an input of shape {x:?}"));
            }
            let expected: [&[usize]; 3] =
                [&[directions, 2 * gates * hidden], &[directions, *batch, hidden], &[directions, *batch, hidden]];
            if let Some((found, wanted)) = rest.iter().zip(expected).find(|(f, e)| **f != *e) {
                return Err(format!("expected shape {wanted:?}, found {found:?}"));
            }
            let state = vec![directions, *batch, hidden];
            let mut outputs = vec![vec![*time, directions, *batch, hidden], state.clone()];
            outputs.extend((gates == 4).then_some(state));
            Ok(outputs)
        }
        (Op::Unknown(name), _) => Err(format!("the shape of `{name}` is not known")),
        (op, inputs) => Err(format!("{} does not take inputs of shapes {inputs:?}", op.name())),
    }
}

fn no_axis(axes: &[usize], shape: &[usize]) -> String {
    format!("there is no axis {axes:?} in shape {shape:?}")
}

/// Whether an optional bias has `len` entries.
fn fits(bias: &[&[usize]], len: usize) -> bool {
    match bias {
        [] => true,
        [b] => **b == [len],
        _ => false,
    }
}

/// The shape two shapes broadcast to.
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

/// Length of a spatial axis after sliding a window of `kernel` taps over it.
fn slide(len: usize, kernel: usize, stride: usize, dilation: usize, padding: usize) -> Option<usize> {
    let span = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
    Some(len.checked_add(padding)?.checked_sub(span)? / stride.max(1) + 1)
}

fn convolution(conv: &Conv, x: &[usize], w: &[usize]) -> Result<Vec<usize>, String> {
    let fail =
        || format!("a convolution with {conv:?} and a weight of shape {w:?} does not fit an input of shape {x:?}");
    let spatial = w.len() - 2;
    let whole = [&conv.strides, &conv.dilations, &conv.before, &conv.after].iter().all(|v| v.len() == spatial);
    if x.len() != w.len()
        || !whole
        || conv.groups == 0
        || x[1] != w[1] * conv.groups
        || !w[0].is_multiple_of(conv.groups)
    {
        return Err(fail());
    }
    let mut shape = vec![x[0], w[0]];
    for s in 0..spatial {
        let padding = conv.before[s] + conv.after[s];
        shape.push(slide(x[s + 2], w[s + 2], conv.strides[s], conv.dilations[s], padding).ok_or_else(fail)?);
    }
    Ok(shape)
}

fn transposed(conv: &Conv, output_padding: &[usize], x: &[usize], w: &[usize]) -> Result<Vec<usize>, String> {
    let fail = || format!("a transposed convolution with {conv:?} and a weight of shape {w:?} does not fit {x:?}");
    let spatial = w.len() - 2;
    let whole = [&conv.strides, &conv.dilations, &conv.before, &conv.after].iter().all(|v| v.len() == spatial);
    if x.len() != w.len() || !whole || output_padding.len() != spatial || x[1] != w[0] || conv.groups == 0 {
        return Err(fail());
    }
    let mut shape = vec![x[0], w[1] * conv.groups];
    for s in 0..spatial {
        let full = (x[s + 2].max(1) - 1) * conv.strides[s] + conv.dilations[s] * (w[s + 2].max(1) - 1) + 1;
        let len = (full + output_padding[s]).checked_sub(conv.before[s] + conv.after[s]);
        shape.push(len.ok_or_else(fail)?);
    }
    Ok(shape)
}

fn pooled(pool: &Pool, x: &[usize]) -> Result<Vec<usize>, String> {
    let fail = || format!("pooling with {pool:?} does not fit an input of shape {x:?}");
    let spatial = pool.kernel.len();
    let whole = [&pool.strides, &pool.before, &pool.after].iter().all(|v| v.len() == spatial);
    if x.len() != spatial + 2 || !whole || pool.strides.contains(&0) {
        return Err(fail());
    }
    let mut shape = x[..2].to_vec();
    for s in 0..spatial {
        let (len, stride, before) = (x[s + 2], pool.strides[s], pool.before[s]);
        let reach = (len + before + pool.after[s]).checked_sub(pool.kernel[s]).ok_or_else(fail)?;
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
    let count: usize = x.iter().product();
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
    shape[axis] = inputs.iter().map(|x| x[axis]).sum();
    Ok(shape)
}
