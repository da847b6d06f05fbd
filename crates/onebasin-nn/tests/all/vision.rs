//! Kernels of vision and of the executor's own, against slow twins and against finite differences.

use onebasin_core::graph::op::{Binary, Conv, Op, Pool, PoolKind, Reduce, Unary};
use onebasin_core::graph::{Graph, ValueId};
use onebasin_core::stream::Stream;
use onebasin_nn::exec::{Flat, Program, Wants, Workspace};
use onebasin_nn::ops::Real;
use proptest::prelude::*;

/// A graph of one operator: its first input comes from outside, the others are parameters.
fn single(op: &Op, shapes: &[&[usize]]) -> Graph {
    let mut graph = Graph::new();
    let mut inputs = vec![graph.input("x", shapes[0]).unwrap()];
    for (k, shape) in shapes.iter().enumerate().skip(1) {
        inputs.push(graph.param(&format!("p{k}"), shape).unwrap());
    }
    let output = graph.push("node", op.clone(), &inputs).unwrap();
    graph.output(output);
    graph
}

fn normals(seed: u64, count: usize) -> Vec<f64> {
    let mut stream = Stream::new(seed, "kernels");
    (0..count).map(|_| stream.normal()).collect()
}

/// Output for the input and the parameters, which lie one after the other in the order of the graph.
fn run<T: Real>(graph: &Graph, x: &[f64], params: &[f64]) -> Vec<f64> {
    let program = Program::<T>::new(graph.clone()).unwrap();
    let flat = program.flatten(&tensors(graph, params)).unwrap();
    let input = graph.inputs().next().unwrap();
    let mut space = Workspace::inference(&program, graph.shape(input)[0]).unwrap();
    space.input(0).iter_mut().zip(x).for_each(|(to, x)| *to = T::of(*x));
    program.forward(&flat, &mut space);
    space.output().iter().map(|v| v.wide()).collect()
}

/// Parameters of a graph, in the order in which they were added.
fn tensors(graph: &Graph, params: &[f64]) -> onebasin_core::Params {
    let mut rest = params;
    let tensor = |value: &onebasin_core::graph::Value| {
        let (own, others) = rest.split_at(value.shape.iter().product());
        rest = others;
        (value.name.clone(), onebasin_core::Tensor::from_f64(&value.shape, own.to_vec()).unwrap())
    };
    graph.params().map(tensor).collect()
}

fn close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
    for (k, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance * scale, "{what}: entry {k} is {f}, expected {e}");
    }
}

/// Holds the backward pass against central differences of the forward pass, for the weights and the first input.
fn check_gradient(graph: &Graph, what: &str) {
    const STEP: f64 = 1e-5;
    let program = Program::<f64>::new(graph.clone()).unwrap();
    let input = graph.inputs().next().unwrap();
    let wants = Wants { gradients: true, input_gradients: true, values: Vec::new() };
    let mut space = Workspace::new(&program, graph.shape(input)[0], wants).unwrap();
    // Running variances must be positive.
    let statistics = normals(3, program.statistic_count()).iter().map(|v| v.abs() + 0.5).collect();
    let mut flat = Flat { weights: normals(2, program.weight_count()), statistics };
    let mut x = normals(1, space.input(0).len());
    let forward = |flat: &Flat<f64>, x: &[f64], space: &mut Workspace<f64>| {
        space.input(0).copy_from_slice(x);
        program.forward(flat, space);
    };
    forward(&flat, &x, &mut space);
    let seed = normals(4, space.output().len());
    program.backward_from(&flat, &[&seed], &mut space);
    let d_weights = space.d_weights.clone();
    let dx = space.input_gradient(0).unwrap().to_vec();
    let mut value = |flat: &Flat<f64>, x: &[f64]| {
        forward(flat, x, &mut space);
        space.output().iter().zip(&seed).map(|(y, s)| y * s).sum::<f64>()
    };
    let mut expected = Vec::new();
    for k in 0..d_weights.len() {
        let kept = flat.weights[k];
        let mut at = |w: f64| {
            flat.weights[k] = w;
            value(&flat, &x)
        };
        expected.push((at(kept + STEP) - at(kept - STEP)) / (2.0 * STEP));
        flat.weights[k] = kept;
    }
    close(&d_weights, &expected, 1e-6, &format!("{what}, weights"));
    let mut expected = Vec::new();
    for k in 0..x.len() {
        let kept = x[k];
        let mut at = |v: f64| {
            x[k] = v;
            value(&flat, &x)
        };
        expected.push((at(kept + STEP) - at(kept - STEP)) / (2.0 * STEP));
        x[k] = kept;
    }
    close(&dx, &expected, 1e-6, &format!("{what}, input"));
}

fn conv(rank: usize, stride: usize, dilation: usize, before: usize, after: usize, groups: usize) -> Conv {
    Conv {
        strides: vec![stride; rank],
        dilations: vec![dilation; rank],
        before: vec![before; rank],
        after: vec![after; rank],
        groups,
    }
}

fn pool(kind: PoolKind, kernel: usize, stride: usize, padding: usize, ceil: bool) -> Pool {
    Pool { ceil, ..Pool::square(kind, kernel, stride).padded(padding) }
}

#[test]
fn backward_agrees_with_central_differences() {
    let cases: Vec<(Op, Vec<&[usize]>)> = vec![
        (Op::Linear, vec![&[3, 4], &[5, 4], &[5]]),
        (Op::Linear, vec![&[2, 3, 4], &[5, 4]]),
        (Op::Conv(conv(2, 1, 1, 1, 1, 1)), vec![&[2, 3, 5, 4], &[4, 3, 3, 3], &[4]]),
        (Op::Conv(conv(2, 2, 1, 0, 1, 1)), vec![&[2, 2, 6, 6], &[3, 2, 3, 3]]),
        (Op::Conv(conv(2, 1, 2, 2, 1, 1)), vec![&[1, 2, 6, 7], &[2, 2, 3, 2]]),
        (Op::Conv(conv(2, 1, 1, 1, 1, 2)), vec![&[2, 4, 4, 4], &[6, 2, 3, 3], &[6]]),
        (Op::Conv(conv(2, 2, 1, 1, 1, 3)), vec![&[2, 3, 5, 5], &[3, 1, 3, 3], &[3]]),
        (Op::Conv(conv(2, 1, 1, 0, 0, 1)), vec![&[2, 3, 4, 4], &[5, 3, 1, 1], &[5]]),
        (Op::Conv(conv(1, 2, 1, 1, 0, 1)), vec![&[2, 3, 9], &[4, 3, 4]]),
        (Op::Conv(conv(3, 1, 1, 1, 0, 1)), vec![&[1, 2, 3, 4, 3], &[2, 2, 2, 2, 2], &[2]]),
        (Op::Pool(pool(PoolKind::Max, 2, 2, 0, false)), vec![&[2, 3, 5, 6]]),
        (Op::Pool(pool(PoolKind::Max, 3, 2, 1, true)), vec![&[2, 3, 6, 6]]),
        (Op::Pool(pool(PoolKind::Average, 3, 2, 1, true)), vec![&[2, 3, 6, 6]]),
        (Op::Pool(pool(PoolKind::AverageWithPadding, 3, 2, 1, true)), vec![&[2, 3, 6, 6]]),
        (Op::BatchNorm { epsilon: 1e-5 }, vec![&[3, 4, 3, 2], &[4], &[4], &[4], &[4]]),
        (Op::LayerNorm { axes: vec![1], epsilon: 1e-6, centred: true }, vec![&[2, 5, 3, 2], &[5], &[5]]),
        (
            Op::LayerNorm { axes: vec![1, 2, 3], epsilon: 1e-6, centred: true },
            vec![&[2, 3, 3, 2], &[3, 3, 2], &[3, 3, 2]],
        ),
        (Op::LayerNorm { axes: vec![2], epsilon: 1e-6, centred: false }, vec![&[2, 3, 7], &[7]]),
        (Op::LayerNorm { axes: vec![0, 2], epsilon: 1e-3, centred: true }, vec![&[2, 3, 4]]),
        (Op::GroupNorm { groups: 2, epsilon: 1e-5 }, vec![&[2, 6, 3, 2], &[6], &[6]]),
        (Op::GroupNorm { groups: 3, epsilon: 1e-5 }, vec![&[2, 3, 5], &[3], &[3]]),
        (Op::Reduce { kind: Reduce::Mean, axes: vec![2, 3], keep: false }, vec![&[2, 3, 3, 2]]),
    ];
    for (op, shapes) in cases {
        check_gradient(&single(&op, &shapes), &format!("{op:?} of {shapes:?}"));
    }
}

/// A value used twice by one node, tied weights, a skip, a value broadcast over pixels, and an unused branch.
#[test]
fn gradients_add_up_wherever_a_value_is_used() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[2, 3, 4, 4]).unwrap();
    let y = graph.conv("conv", x, 3, 3, Conv::square(1, 1), true).unwrap();
    let y = graph.channel_norm("norm", y).unwrap();
    let doubled = graph.add_values("double", y, y).unwrap();
    let gate = graph.param("gate", &[3, 1, 1]).unwrap();
    let y = graph.push("gated", Op::Binary(Binary::Mul), &[doubled, gate]).unwrap();
    let y = graph.unary("tanh", Unary::Tanh, y).unwrap();
    let y = graph.conv("conv", y, 3, 3, Conv::square(1, 1), true).unwrap();
    let y = graph.add_values("skip", y, x).unwrap();
    graph.unary("relu", Unary::Relu, y).unwrap();
    let plane = graph.param("plane", &[3, 4, 4]).unwrap();
    let y = graph.push("plus", Op::Binary(Binary::Add), &[y, plane]).unwrap();
    let weight = graph.param("conv.weight", &[3, 3, 3, 3]).unwrap();
    let mean =
        graph.push("mean", Op::Reduce { kind: Reduce::Mean, axes: vec![0, 2, 3], keep: true }, &[weight]).unwrap();
    let y = graph.push("times", Op::Binary(Binary::Mul), &[y, mean]).unwrap();
    let y = graph.global_average("pool", y).unwrap();
    let y = graph.linear("fc", y, 4).unwrap();
    graph.output(y);
    check_gradient(&graph, "skips and tied weights");
}

/// A residual network with what a small ResNet has, LayerNorm in place of BatchNorm.
fn residual(batch: usize) -> (Graph, ValueId) {
    let mut g = Graph::new();
    let x = g.input("image", &[batch, 2, 8, 8]).unwrap();
    let mut y = g.conv("stem", x, 4, 3, Conv::square(1, 1), false).unwrap();
    y = g.channel_norm("stem.norm", y).unwrap();
    y = g.unary("silu", Unary::Silu, y).unwrap();
    let mut z = g.conv("block.conv1", y, 6, 3, Conv::square(2, 1), false).unwrap();
    z = g.channel_norm("block.norm1", z).unwrap();
    z = g.unary("silu", Unary::Silu, z).unwrap();
    z = g.conv("block.conv2", z, 6, 3, Conv::square(1, 1).grouped(2), true).unwrap();
    let short = g.conv("block.short", y, 6, 1, Conv::square(2, 0), false).unwrap();
    y = g.add_values("block.sum", z, short).unwrap();
    let seen = y;
    y = g.max_pool("pool", y, Pool::square(PoolKind::Max, 2, 2)).unwrap();
    y = g.flatten("flat", y).unwrap();
    y = g.linear("fc", y, 3).unwrap();
    g.output(y);
    (g, seen)
}

#[test]
fn a_residual_network_agrees_with_central_differences_and_shows_its_values() {
    let (graph, seen) = residual(2);
    check_gradient(&graph, "residual network");
    let program = Program::<f64>::new(graph.clone()).unwrap();
    let flat = Flat { weights: normals(5, program.weight_count()), statistics: Vec::new() };
    let mut space = Workspace::new(&program, 3, Wants { values: vec![seen], ..Wants::default() }).unwrap();
    let x = normals(6, space.input(0).len());
    space.input(0).copy_from_slice(&x);
    program.forward(&flat, &mut space);
    let (inner, shape) = space.value(seen).unwrap();
    assert_eq!(shape, [3, 6, 4, 4]);
    // The rest of the network from the value seen: pooled and multiplied out.
    let params = program.unflatten(&flat).unwrap();
    let (w, b) = (params.get("fc.weight").unwrap().to_f64().unwrap(), params.get("fc.bias").unwrap().to_f64().unwrap());
    let at = |n: usize, c: usize, i: usize, j: usize| inner[((n * 6 + c) * 4 + i) * 4 + j];
    for n in 0..3 {
        for class in 0..3 {
            let mut sum = b[class];
            for (k, w) in w[class * 24..][..24].iter().enumerate() {
                let (c, i, j) = (k / 4, 2 * (k / 2 % 2), 2 * (k % 2));
                sum += w * at(n, c, i, j).max(at(n, c, i + 1, j)).max(at(n, c, i, j + 1)).max(at(n, c, i + 1, j + 1));
            }
            assert!((space.output()[n * 3 + class] - sum).abs() < 1e-12);
        }
    }
}

#[test]
fn single_precision_agrees_with_double() {
    let (graph, _) = residual(4);
    let count = graph.params().map(|p| p.shape.iter().product::<usize>()).sum();
    let (x, params) = (normals(1, 4 * 2 * 64), normals(2, count));
    // Both see the same numbers: those that f32 holds.
    let round = |v: Vec<f64>| -> Vec<f64> { v.into_iter().map(|v| f64::from(v as f32)).collect() };
    let (x, params) = (round(x), round(params));
    let exact = run::<f64>(&graph, &x, &params);
    close(&run::<f32>(&graph, &x, &params), &exact, 64.0 * f64::from(f32::EPSILON), "f32 against f64");
}

#[test]
fn what_cannot_run_is_named() {
    let mut graph = Graph::new();
    let x = graph.input("x", &[1, 4]).unwrap();
    let y = graph.push_unknown("detector", "NonMaxSuppression", &[x], &[vec![1, 4]]).unwrap()[0];
    graph.output(y);
    let error = Program::<f32>::new(graph).err().unwrap().to_string();
    assert!(error.contains("detector") && error.contains("NonMaxSuppression"), "{error}");
    let (graph, _) = residual(1);
    let program = Program::<f32>::new(graph).unwrap();
    let mut params =
        program.unflatten(&Flat { weights: vec![0.0; program.weight_count()], statistics: vec![] }).unwrap();
    params.insert("fc.bias", onebasin_core::Tensor::from_f32(&[2], vec![0.0; 2]).unwrap());
    let error = program.flatten(&params).unwrap_err().to_string();
    assert!(error.contains("fc.bias") && error.contains("[3]") && error.contains("[2]"), "{error}");
}

/// Visits every index of a shape.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &len in shape {
        all = all.iter().flat_map(|i| (0..len).map(move |k| [&i[..], &[k]].concat())).collect();
    }
    all
}

fn offset(shape: &[usize], index: &[usize]) -> usize {
    shape.iter().zip(index).fold(0, |at, (n, i)| at * n + i)
}

/// The pixel a tap sees, where it lies inside the image.
fn pixel(
    o: &[usize],
    tap: &[usize],
    strides: &[usize],
    dilations: &[usize],
    before: &[usize],
    len: &[usize],
) -> Option<Vec<usize>> {
    let at = |s: usize| (o[s] * strides[s] + tap[s] * dilations[s]).checked_sub(before[s]).filter(|i| *i < len[s]);
    (0..o.len()).map(at).collect()
}

/// Convolution by its definition.
fn conv_twin(conv: &Conv, x: &[f64], xs: &[usize], w: &[f64], ws: &[usize], ys: &[usize]) -> Vec<f64> {
    let (group_out, group_in) = (ws[0] / conv.groups, ws[1]);
    let entry = |y: Vec<usize>| -> f64 {
        let first = y[1] / group_out * group_in;
        let term = |k: Vec<usize>| {
            let Some(p) = pixel(&y[2..], &k[1..], &conv.strides, &conv.dilations, &conv.before, &xs[2..]) else {
                return 0.0;
            };
            w[offset(ws, &[&[y[1]], &k[..]].concat())] * x[offset(xs, &[&[y[0], first + k[0]], &p[..]].concat())]
        };
        indices(&ws[1..]).into_iter().map(term).sum()
    };
    indices(ys).into_iter().map(entry).collect()
}

/// Pooling by its definition.
fn pool_twin(pool: &Pool, x: &[f64], xs: &[usize], ys: &[usize]) -> Vec<f64> {
    let ones = vec![1; pool.kernel.len()];
    let entry = |y: Vec<usize>| {
        let taps = indices(&pool.kernel);
        let seen = taps.iter().filter_map(|k| pixel(&y[2..], k, &pool.strides, &ones, &pool.before, &xs[2..]));
        let values: Vec<f64> = seen.map(|p| x[offset(xs, &[&y[..2], &p[..]].concat())]).collect();
        let padded: Vec<usize> = (0..ones.len()).map(|s| xs[s + 2] + pool.before[s] + pool.after[s]).collect();
        let count =
            taps.iter().filter(|k| pixel(&y[2..], k, &pool.strides, &ones, &vec![0; ones.len()], &padded).is_some());
        match pool.kind {
            PoolKind::Max => values.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v)),
            PoolKind::Average => values.iter().sum::<f64>() / values.len().max(1) as f64,
            PoolKind::AverageWithPadding => values.iter().sum::<f64>() / count.count() as f64,
        }
    };
    indices(ys).into_iter().map(entry).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn convolution_agrees_with_its_definition(
        rank in 1_usize..=3, batch in 1_usize..=2, groups in 1_usize..=3, per_in in 1_usize..=3, per_out in 1_usize..=3,
        size in prop::collection::vec(1_usize..=7, 3), kernel in prop::collection::vec(1_usize..=3, 3),
        strides in prop::collection::vec(1_usize..=3, 3), dilations in prop::collection::vec(1_usize..=3, 3),
        before in prop::collection::vec(0_usize..=4, 3), after in prop::collection::vec(0_usize..=4, 3), biased: bool,
    ) {
        let cut = |v: &[usize]| v[..rank].to_vec();
        let conv = Conv { strides: cut(&strides), dilations: cut(&dilations), before: cut(&before), after: cut(&after), groups };
        let xs = [&[batch, groups * per_in], &size[..rank]].concat();
        let ws = [&[groups * per_out, per_in], &kernel[..rank]].concat();
        let bias = [ws[0]];
        let shapes: Vec<&[usize]> = if biased { vec![&xs, &ws, &bias] } else { vec![&xs, &ws] };
        let Ok(ys) = onebasin_core::graph::shape::infer(&Op::Conv(conv.clone()), &shapes) else { return Ok(()) };
        let graph = single(&Op::Conv(conv.clone()), &shapes);
        let (x, w, b) = (normals(1, xs.iter().product()), normals(2, ws.iter().product()), normals(3, ws[0]));
        let mut expected = conv_twin(&conv, &x, &xs, &w, &ws, &ys[0]);
        if biased {
            for (at, y) in indices(&ys[0]).iter().zip(&mut expected) {
                *y += b[at[1]];
            }
        }
        let params = if biased { [&w[..], &b].concat() } else { w };
        close(&run::<f64>(&graph, &x, &params), &expected, 1e-13, "f64");
        close(&run::<f32>(&graph, &x, &params), &expected, 64.0 * f64::from(f32::EPSILON), "f32");
    }

    #[test]
    fn pooling_agrees_with_its_definition(
        rank in 1_usize..=3, channels in 1_usize..=3, size in prop::collection::vec(1_usize..=7, 3),
        kernel in prop::collection::vec(1_usize..=3, 3), strides in prop::collection::vec(1_usize..=3, 3),
        padding in prop::collection::vec(0_usize..=1, 6), kind in 0_usize..3, ceil: bool,
    ) {
        let kind = [PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPadding][kind];
        // As everywhere, padding is smaller than the window.
        let fit = |p: &[usize]| -> Vec<usize> { (0..rank).map(|s| p[s].min(kernel[s] - 1)).collect() };
        let pool = Pool {
            kind, kernel: kernel[..rank].to_vec(), strides: strides[..rank].to_vec(),
            before: fit(&padding[..3]), after: fit(&padding[3..]), ceil,
        };
        let xs = [&[2, channels], &size[..rank]].concat();
        let Ok(ys) = onebasin_core::graph::shape::infer(&Op::Pool(pool.clone()), &[&xs]) else { return Ok(()) };
        let x = normals(1, xs.iter().product());
        let graph = single(&Op::Pool(pool.clone()), &[&xs]);
        close(&run::<f64>(&graph, &x, &[]), &pool_twin(&pool, &x, &xs, &ys[0]), 1e-14, "pool");
    }

    #[test]
    fn norms_agree_with_their_definition(
        shape in prop::collection::vec(1_usize..=5, 3), mask in 1_usize..8, centred: bool, groups in 1_usize..=3,
    ) {
        let normalise = |x: &[f64], centred: bool| -> Vec<f64> {
            let n = x.len() as f64;
            let mean = if centred { x.iter().sum::<f64>() / n } else { 0.0 };
            let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            x.iter().map(|v| (v - mean) / (variance + 1e-3).sqrt()).collect()
        };
        // Groups of positions that are normalised together, by what they have in common.
        let twin = |x: &[f64], shape: &[usize], key: &dyn Fn(&[usize]) -> Vec<usize>, centred: bool| {
            let mut members = std::collections::BTreeMap::<Vec<usize>, Vec<usize>>::new();
            for (k, index) in indices(shape).iter().enumerate() {
                members.entry(key(index)).or_default().push(k);
            }
            let mut y = vec![0.0; x.len()];
            for group in members.values() {
                let found = normalise(&group.iter().map(|k| x[*k]).collect::<Vec<_>>(), centred);
                group.iter().zip(found).for_each(|(k, v)| y[*k] = v);
            }
            y
        };
        let axes: Vec<usize> = (0..3).filter(|a| mask >> a & 1 == 1).collect();
        let count = shape.iter().product();
        let x = normals(1, count);
        let others = |index: &[usize]| (0..3).filter(|a| !axes.contains(a)).map(|a| index[a]).collect();
        let op = Op::LayerNorm { axes: axes.clone(), epsilon: 1e-3, centred };
        close(&run::<f64>(&single(&op, &[&shape]), &x, &[]), &twin(&x, &shape, &others, centred), 1e-13, "LayerNorm");

        let shape = [shape[0], groups * shape[1], shape[2]];
        let x = normals(1, count * groups);
        let channels = shape[1];
        let gain = normals(2, 2 * channels);
        let op = Op::GroupNorm { groups, epsilon: 1e-3 };
        let graph = single(&op, &[&shape, &[channels], &[channels]]);
        let mut expected = twin(&x, &shape, &|i| vec![i[0], i[1] / (channels / groups)], true);
        for (index, y) in indices(&shape).iter().zip(&mut expected) {
            *y = *y * gain[index[1]] + gain[channels + index[1]];
        }
        close(&run::<f64>(&graph, &x, &gain), &expected, 1e-13, "GroupNorm");
    }
}
