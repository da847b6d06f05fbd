//! Backward passes against central finite differences, in `f64`.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::{
    Binary, Cell, Conv, Dim, Direction, PadMode, Pool, PoolKind, Reduce, ResizeMode, Scatter, Unary,
};
use onebasin_core::stream::Stream;

use super::support::{Array, Runner, away_from_kinks, expand};

/// Half the distance of the two points: its square and ε over it are both far below the tolerance.
const STEP: f64 = 1e-5;

/// Holds the gradients of `Σ c · y`, with random `c`, for the inputs that are `wanted`.
#[track_caller]
fn check(op: &Op, inputs: &[Array<f64>], wanted: &[bool]) {
    let runner = Runner::new(op);
    let mut stream = Stream::new(7, "cotangents");
    let outputs = runner.forward(inputs);
    let weights: Vec<Array<f64>> =
        outputs.iter().map(|y| Array::from_fn(&y.shape, |_| stream.range(-1.0, 1.0))).collect();
    let found = runner.backward(inputs, &weights, wanted);
    for k in (0..inputs.len()).filter(|k| wanted[*k]) {
        let mut moved = inputs.to_vec();
        let mut expected = vec![];
        for i in 0..inputs[k].data.len() {
            let x = inputs[k].data[i];
            let mut at = |x: f64| {
                moved[k].data[i] = x;
                runner.forward(&moved)
            };
            let (up, down) = (at(x + STEP), at(x - STEP));
            moved[k].data[i] = x;
            let entries = up.iter().zip(&down).zip(&weights);
            let entries = entries.flat_map(|((u, d), w)| u.data.iter().zip(&d.data).zip(&w.data));
            expected.push(entries.map(|((u, d), w)| w * (u - d)).sum::<f64>() / (2.0 * STEP));
        }
        let scale = found[k].data.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
        let tolerance = 1e-6 * if scale == 0.0 { 1.0 } else { scale };
        for (i, (g, e)) in found[k].data.iter().zip(&expected).enumerate() {
            assert!(
                (g - e).abs() <= tolerance,
                "{op:?}: gradient {i} of input {k} of shape {:?} is {g}, differences give {e}",
                inputs[k].shape
            );
        }
        let mut only = vec![false; inputs.len()];
        only[k] = true;
        assert_eq!(runner.backward(inputs, &weights, &only)[k], found[k], "{op:?}: input {k} alone");
    }
}

fn random(name: &str, shapes: &[&[usize]]) -> Vec<Array<f64>> {
    let mut stream = Stream::new(3, name);
    shapes.iter().map(|shape| Array::from_fn(shape, |_| stream.range(-1.0, 1.0))).collect()
}

/// Checks with random inputs of these shapes, all gradients wanted.
#[track_caller]
fn check_random(op: &Op, shapes: &[&[usize]]) {
    check(op, &random(op.name(), shapes), &vec![true; shapes.len()]);
}

const UNARY: [Unary; 36] = [
    Unary::Identity,
    Unary::Relu,
    Unary::LeakyRelu(0.1),
    Unary::Elu(0.7),
    Unary::Selu { alpha: 1.67, gamma: 1.05 },
    Unary::Gelu,
    Unary::GeluTanh,
    Unary::Silu,
    Unary::HardSigmoid { alpha: 0.25, beta: 0.5 },
    Unary::HardSwish,
    Unary::Mish,
    Unary::Sigmoid,
    Unary::Tanh,
    Unary::Softplus,
    Unary::Softsign,
    Unary::Clip { low: -1.5, high: 2.0 },
    Unary::Erf,
    Unary::Exp,
    Unary::Log,
    Unary::Sqrt,
    Unary::Reciprocal,
    Unary::Neg,
    Unary::Abs,
    Unary::Sign,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Sin,
    Unary::Cos,
    Unary::Atan,
    Unary::Sinh,
    Unary::Cosh,
    Unary::Asinh,
    Unary::Not,
    Unary::IsNan,
    Unary::HardSigmoid { alpha: 0.5, beta: 0.25 },
];

#[test]
fn unary() {
    for op in UNARY {
        let low = if matches!(op, Unary::Log | Unary::Sqrt) { 0 } else { -5 };
        for shape in [&[][..], &[0], &[1, 1], &[67], &[3, 1, 5]] {
            let x = away_from_kinks(&mut Stream::new(1, "x"), shape, low, 5);
            check(&Op::Unary(op), &[x], &[true]);
        }
    }
}

#[test]
fn kinks_have_the_gradient_of_the_flat_side() {
    let at = |op, x: f64| {
        let runner = Runner::<f64>::new(&Op::Unary(op));
        let array = |v| Array { shape: vec![1], data: vec![v] };
        runner.backward(&[array(x)], &[array(1.0)], &[true])[0].data[0]
    };
    assert_eq!(at(Unary::Relu, 0.0), 0.0);
    assert_eq!(at(Unary::Relu, -0.0), 0.0);
    assert_eq!(at(Unary::Abs, 0.0), 0.0);
    assert_eq!(at(Unary::Clip { low: 0.0, high: 6.0 }, 0.0), 0.0);
    assert_eq!(at(Unary::Clip { low: 0.0, high: 6.0 }, 6.0), 0.0);
    assert_eq!(at(Unary::HardSigmoid { alpha: 0.25, beta: 0.5 }, 2.0), 0.0);
}

#[test]
fn binary() {
    use Binary::{
        Add, And, Div, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Max, Min, Mul, Or, PRelu, Pow, Sub,
    };
    let shapes: [[&[usize]; 2]; 11] = [
        [&[], &[]],
        [&[2, 19], &[2, 19]],
        [&[2, 3], &[3]],
        [&[3], &[2, 3]],
        [&[2, 9], &[]],
        [&[], &[2, 9]],
        [&[4, 1, 3], &[2, 1]],
        [&[2, 3, 2, 5], &[1, 3, 1, 1]],
        [&[2, 3, 2, 5], &[2, 1, 1, 5]],
        [&[0, 3], &[3]],
        [&[1], &[17]],
    ];
    for op in [Add, Sub, Mul, Div, Pow, Min, Max, PRelu, Equal, Less, LessOrEqual, Greater, GreaterOrEqual, And, Or] {
        for [a, b] in shapes {
            let mut stream = Stream::new(2, "operands");
            let a = away_from_kinks(&mut stream, a, if op == Pow { 0 } else { -3 }, 3);
            let b = away_from_kinks(&mut stream, b, -3, 3);
            check(&Op::Binary(op), &[a, b], &[true, true]);
        }
    }
    let two = Array { shape: vec![], data: vec![2.0] };
    check(&Op::Binary(Pow), &[random("squares", &[&[7]]).remove(0), two], &[true, false]);
}

#[test]
fn where_() {
    let shapes: [[&[usize]; 3]; 4] =
        [[&[2, 9], &[2, 9], &[2, 9]], [&[2, 1], &[3], &[]], [&[1, 1, 4, 4], &[2, 3, 4, 4], &[1]], [&[3], &[0, 1], &[]]];
    for [c, a, b] in shapes {
        let mut inputs = random("where", &[c, a, b]);
        inputs[0].data.iter_mut().enumerate().for_each(|(i, c)| *c = f64::from(u8::from(i % 3 != 0)));
        check(&Op::Where, &inputs, &[false, true, true]);
    }
}

#[test]
fn reduce() {
    use Reduce::{L2, Max, Mean, Min, Prod, Sum, SumSquare};
    let cases: [(&[usize], &[usize]); 9] = [
        (&[], &[]),
        (&[4], &[0]),
        (&[3, 21], &[1]),
        (&[3, 5], &[0]),
        (&[2, 3, 4], &[1]),
        (&[2, 3, 4, 5], &[2, 3]),
        (&[2, 3, 4, 2], &[0, 2]),
        (&[2, 1, 3], &[1]),
        (&[0, 3], &[1]),
    ];
    for kind in [Sum, Mean, Max, Min, Prod, SumSquare, L2] {
        for (shape, axes) in cases {
            for keep in [false, true] {
                check_random(&Op::Reduce { kind, axes: axes.to_vec(), keep }, &[shape]);
            }
        }
    }
    for zeros in 1..3 {
        let mut x = random("zeros", &[&[2, 4]]);
        (0..zeros).for_each(|i| x[0].data[i] = 0.0);
        check(&Op::Reduce { kind: Prod, axes: vec![1], keep: true }, &x, &[true]);
    }
}

#[test]
fn first_extreme_takes_the_gradient() {
    for (kind, axes, expected) in [
        (Reduce::Max, vec![1], [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]),
        (Reduce::Min, vec![1], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        (Reduce::Max, vec![0, 1], [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
    ] {
        let runner = Runner::new(&Op::Reduce { kind, axes: axes.clone(), keep: false });
        let x = Array { shape: vec![2, 3], data: vec![1.0, 2.0, 2.0, 3.0, 1.0, 1.0] };
        let d = if axes.len() == 1 {
            Array { shape: vec![2], data: vec![1.0; 2] }
        } else {
            Array { shape: vec![], data: vec![1.0] }
        };
        assert_eq!(runner.backward(&[x], &[d], &[true])[0].data, expected);
    }
}

#[test]
fn shapes() {
    check_random(&Op::Reshape(vec![Dim::Same(0), Dim::Rest]), &[&[2, 3, 4]]);
    check_random(&Op::Reshape(vec![Dim::Size(0)]), &[&[2, 0]]);
    check_random(&expand(&[2, 3, 4]), &[&[3, 1]]);
    check_random(&expand(&[4, 3]), &[&[3]]);
    check_random(&expand(&[2]), &[&[]]);
    check_random(&Op::Transpose(vec![2, 0, 3, 1]), &[&[2, 3, 1, 5]]);
    check_random(&Op::Transpose(vec![0, 2, 3, 1]), &[&[2, 17, 3, 19]]);
    check_random(&Op::Transpose(vec![0, 2, 1, 3]), &[&[2, 3, 4, 5]]);
    check_random(&Op::Concat { axis: 1 }, &[&[2, 3, 2], &[2, 1, 2], &[2, 0, 2]]);
    check_random(&Op::Slice { axis: 1, start: 4, len: 3, step: -2 }, &[&[2, 5, 2]]);
    check_random(&Op::Slice { axis: 0, start: 1, len: 2, step: 1 }, &[&[4, 3]]);
    check_random(&Op::Slice { axis: 1, start: 2, len: 0, step: 1 }, &[&[4, 3]]);
    for mode in [PadMode::Constant(0.5), PadMode::Reflect, PadMode::Edge] {
        check_random(&Op::Pad { before: vec![0, 2, 1], after: vec![0, 1, 3], mode }, &[&[2, 3, 4]]);
        check_random(&Op::Pad { before: vec![1, 0], after: vec![2, 0], mode }, &[&[2, 3]]);
        check_random(&Op::Pad { before: vec![5], after: vec![7], mode }, &[&[3]]);
        check_random(&Op::Pad { before: vec![2], after: vec![1], mode }, &[&[1]]);
    }
}

#[test]
fn matmul() {
    let cases: [[&[usize]; 2]; 10] = [
        [&[3], &[3]],
        [&[3], &[3, 2]],
        [&[2, 3], &[3]],
        [&[4, 2, 3], &[3]],
        [&[3], &[4, 3, 2]],
        [&[2, 3], &[3, 4]],
        [&[2, 5, 2, 3], &[3, 4]],
        [&[2, 1, 2, 3], &[4, 3, 2]],
        [&[2, 3], &[5, 3, 1]],
        [&[2, 0], &[0, 3]],
    ];
    for [a, b] in cases {
        check_random(&Op::MatMul, &[a, b]);
    }
}

#[test]
fn softmax() {
    for log in [false, true] {
        for (shape, axis) in [(&[3, 7][..], 1), (&[3, 7], 0), (&[2, 3, 5], 1), (&[4, 1], 1), (&[0, 3], 1)] {
            check_random(&Op::Softmax { axis, log }, &[shape]);
        }
    }
}

#[test]
fn gather() {
    for (data, indices, axis) in
        [(&[5, 3][..], &[2, 4][..], 0), (&[2, 5, 2], &[3], 1), (&[4], &[], 0), (&[2, 3], &[0], 1)]
    {
        let mut inputs = random("gather", &[data, indices]);
        let len = data[axis] as f64;
        inputs[1].data.iter_mut().enumerate().for_each(|(i, k)| *k = (i * 3) as f64 % (2.0 * len) - len);
        check(&Op::Gather { axis }, &inputs, &[true, false]);
    }
}

#[test]
fn inverse_functions() {
    for (op, low, high) in [
        (Unary::Tan, -1.2, 1.2),
        (Unary::Asin, -0.9, 0.9),
        (Unary::Acos, -0.9, 0.9),
        (Unary::Atanh, -0.9, 0.9),
        (Unary::Acosh, 1.2, 5.0),
    ] {
        let mut stream = Stream::new(5, "inverse");
        check(&Op::Unary(op), &[Array::from_fn(&[3, 7], |_| stream.range(low, high))], &[true]);
    }
}

#[test]
fn running_sums() {
    for (shape, axis) in [(&[4][..], 0), (&[2, 5, 3], 1), (&[2, 0], 1)] {
        for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
            check_random(&Op::CumSum { axis, exclusive, reverse }, &[shape]);
        }
    }
}

#[test]
fn first_in_order() {
    for (shape, axis, count) in [(&[7][..], 0, 3), (&[2, 5, 3], 1, 5), (&[2, 3], 1, 0), (&[4, 2], 0, 1)] {
        for largest in [true, false] {
            check_random(&Op::TopK { axis, count, largest }, &[shape]);
        }
    }
}

#[test]
fn entry_by_entry() {
    let shapes: [(&[usize], &[usize], usize); 4] =
        [(&[5], &[8], 0), (&[3, 4, 2], &[3, 6, 2], 1), (&[3, 4], &[2, 4], 1), (&[2, 3], &[2, 0], 1)];
    for (data, picked, axis) in shapes {
        // Some indices stand twice, some are negative, and some lie outside.
        let place = |i: usize| (i * 3) as f64 % (2.0 * data[axis] as f64 + 1.0) - data[axis] as f64;
        let indexed = |shapes: &[&[usize]]| {
            let mut inputs = random("elements", shapes);
            inputs[1].data.iter_mut().enumerate().for_each(|(i, k)| *k = place(i));
            inputs
        };
        for function in [Scatter::Set, Scatter::Add, Scatter::Mul, Scatter::Min, Scatter::Max] {
            let op = Op::ScatterElements { axis, function };
            check(&op, &indexed(&[data, picked, picked]), &[true, false, true]);
        }
    }
    for zeros in 1..4 {
        let mut inputs = random("zeros", &[&[2], &[3], &[3]]);
        inputs[1].data = vec![0.0, 1.0, 0.0];
        inputs[2].data[..zeros].fill(0.0);
        check(&Op::ScatterElements { axis: 0, function: Scatter::Mul }, &inputs, &[true, false, true]);
    }
    let mut inputs = random("gather elements", &[&[3, 4, 2], &[3, 6, 1]]);
    inputs[1].data.iter_mut().enumerate().for_each(|(i, k)| *k = (i * 3) as f64 % 8.0 - 4.0);
    check(&Op::GatherElements { axis: 1 }, &inputs, &[true, false]);
}

#[test]
fn an_update_outside_is_dropped_and_an_entry_outside_is_nan() {
    let array = |data: Vec<f32>| Array { shape: vec![data.len()], data };
    let outside = array(vec![2.0, -3.0, 0.5, f32::NAN, -1.0]);
    let set = Runner::<f32>::new(&Op::ScatterElements { axis: 0, function: Scatter::Set });
    let y = set.forward(&[array(vec![1.0, 2.0]), outside.clone(), array(vec![5.0, 6.0, 7.0, 8.0, 9.0])]);
    assert_eq!(y[0].data, [1.0, 9.0]);
    let y = Runner::<f32>::new(&Op::GatherElements { axis: 0 }).forward(&[array(vec![1.0, 2.0]), outside]);
    assert!(y[0].data[..4].iter().all(|y| y.is_nan()) && y[0].data[4] == 2.0);
}

#[test]
fn nan_comes_first_among_the_largest() {
    let x = Array { shape: vec![4], data: vec![1.0, f32::NAN, 3.0, f32::INFINITY] };
    let order = |largest| {
        Runner::<f32>::new(&Op::TopK { axis: 0, count: 4, largest }).forward(std::slice::from_ref(&x)).remove(1).data
    };
    assert_eq!(order(true), [1.0, 3.0, 2.0, 0.0]);
    assert_eq!(order(false), [0.0, 2.0, 3.0, 1.0]);
}

#[test]
fn an_index_outside_gives_nan() {
    let runner = Runner::<f32>::new(&Op::Gather { axis: 0 });
    let data = Array { shape: vec![2, 2], data: vec![1.0, 2.0, 3.0, 4.0] };
    for bad in [2.0, -3.0, 0.5, f32::NAN, f32::INFINITY, -1e30] {
        let y = runner.forward(&[data.clone(), Array { shape: vec![2], data: vec![-1.0, bad] }]);
        assert_eq!(y[0].data[..2], [3.0, 4.0]);
        assert!(y[0].data[2..].iter().all(|y| y.is_nan()), "{bad}");
    }
}

#[test]
fn resize() {
    use ResizeMode::{LinearAlignCorners, LinearAsymmetric, LinearHalfPixel, Nearest};
    for mode in [Nearest, LinearHalfPixel, LinearAlignCorners, LinearAsymmetric] {
        for (x, size) in [
            (&[2, 3, 4, 5][..], &[8, 10][..]),
            (&[1, 2, 5, 4], &[3, 4]),
            (&[1, 1, 3], &[1]),
            (&[1, 2, 1, 2, 3], &[2, 3, 2]),
        ] {
            check_random(&Op::Resize { size: size.to_vec(), mode }, &[x]);
        }
    }
}

#[test]
fn recurrent() {
    let cells = [Cell::Rnn, Cell::Lstm, Cell::Gru { reset_after: false }, Cell::Gru { reset_after: true }];
    for cell in cells {
        for direction in [Direction::Forward, Direction::Reverse, Direction::Both] {
            let (d, g) = (direction.count(), cell.gates());
            for (t, n, i, h) in [(3, 2, 4, 3), (1, 1, 1, 1), (4, 1, 2, 2)] {
                let shapes = [
                    vec![t, n, i],
                    vec![d, g * h, i],
                    vec![d, g * h, h],
                    vec![d, 2 * g * h],
                    vec![d, n, h],
                    vec![d, n, h],
                ];
                let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
                for given in 3..=5 + usize::from(g == 4) {
                    check_random(&Op::Recurrent { cell, direction }, &shapes[..given]);
                }
            }
        }
    }
}

#[test]
fn conv_transpose() {
    let conv = |strides: &[usize], dilations: &[usize], before: &[usize], after: &[usize], groups| Conv {
        strides: strides.to_vec(),
        dilations: dilations.to_vec(),
        before: before.to_vec(),
        after: after.to_vec(),
        groups,
    };
    let cases = [
        (conv(&[1, 1], &[1, 1], &[0, 0], &[0, 0], 1), vec![0, 0], vec![2, 3, 4, 3], vec![3, 2, 3, 3]),
        (conv(&[2, 3], &[1, 2], &[1, 0], &[0, 2], 2), vec![1, 0], vec![2, 4, 3, 3], vec![4, 3, 3, 2]),
        (conv(&[2], &[3], &[2], &[1], 1), vec![1], vec![1, 2, 4], vec![2, 3, 2]),
        (conv(&[1, 2, 1], &[1; 3], &[0, 1, 0], &[1, 0, 0], 3), vec![0; 3], vec![1, 3, 2, 2, 2], vec![3, 1, 2, 3, 1]),
        (conv(&[1, 1], &[1, 1], &[2, 2], &[2, 2], 1), vec![0, 0], vec![1, 1, 5, 5], vec![1, 1, 2, 2]),
    ];
    for (conv, output_padding, x, w) in cases {
        let bias = [w[1] * conv.groups];
        let op = Op::ConvTranspose { conv, output_padding };
        check_random(&op, &[&x, &w]);
        check_random(&op, &[&x, &w, &bias]);
    }
}

#[test]
fn local_response_norm() {
    for size in [1, 2, 3, 5] {
        let op = Op::LocalResponseNorm { size, alpha: 0.3, beta: 0.75, bias: 1.5 };
        check_random(&op, &[&[2, 4, 3, 2]]);
        check_random(&op, &[&[2, 1]]);
    }
}

#[test]
fn linear() {
    check_random(&Op::Linear, &[&[5, 3], &[4, 3], &[4]]);
    check_random(&Op::Linear, &[&[2, 5, 3], &[4, 3]]);
    check_random(&Op::Linear, &[&[3], &[1, 3], &[1]]);
}

#[test]
fn conv() {
    let one = Conv::square(1, 1);
    check_random(&Op::Conv(one.clone()), &[&[2, 3, 5, 4], &[4, 3, 3, 3], &[4]]);
    check_random(&Op::Conv(Conv::square(2, 0)), &[&[2, 3, 5, 4], &[4, 3, 1, 1]]);
    check_random(&Op::Conv(one.clone().grouped(2)), &[&[1, 4, 4, 4], &[6, 2, 3, 3], &[6]]);
    check_random(&Op::Conv(one.grouped(4)), &[&[2, 4, 4, 4], &[4, 1, 3, 3], &[4]]);
    let odd = Conv { strides: vec![2, 1], dilations: vec![1, 2], before: vec![0, 2], after: vec![1, 1], groups: 1 };
    check_random(&Op::Conv(odd), &[&[1, 2, 4, 6], &[3, 2, 2, 3]]);
    let line = Conv { strides: vec![2], dilations: vec![1], before: vec![1], after: vec![0], groups: 1 };
    check_random(&Op::Conv(line), &[&[2, 2, 7], &[3, 2, 3], &[3]]);
}

#[test]
fn pool() {
    for kind in [PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPadding] {
        let square = Pool::square(kind, 3, 2);
        check_random(&Op::Pool(square.clone()), &[&[2, 3, 7, 7]]);
        check_random(&Op::Pool(square.clone().padded(1)), &[&[1, 2, 6, 5]]);
        check_random(&Op::Pool(Pool { ceil: true, ..square.padded(1) }), &[&[1, 2, 6, 5]]);
        check_random(&Op::Pool(Pool::square(kind, 4, 4)), &[&[2, 3, 4, 4]]);
    }
}

#[test]
fn normalisations() {
    let statistics = |shape: &[usize], c: usize| {
        let mut inputs = random("BatchNorm", &[shape, &[c], &[c], &[c], &[c]]);
        inputs[4].data.iter_mut().for_each(|v| *v = v.abs() + 0.5);
        inputs
    };
    let wanted = [true, true, true, false, false];
    check(&Op::BatchNorm { epsilon: 1e-3 }, &statistics(&[3, 4, 2, 2], 4), &wanted);
    check(&Op::BatchNorm { epsilon: 1e-3 }, &statistics(&[5, 3], 3), &wanted);
    for centred in [true, false] {
        let norm = |axes: &[usize]| Op::LayerNorm { axes: axes.to_vec(), epsilon: 1e-3, centred };
        check_random(&norm(&[2]), &[&[2, 3, 7], &[7], &[7]]);
        check_random(&norm(&[1, 2]), &[&[2, 3, 7], &[3, 7]]);
        check_random(&norm(&[1]), &[&[2, 9]]);
    }
    for groups in [1, 2, 4] {
        check_random(&Op::GroupNorm { groups, epsilon: 1e-3 }, &[&[2, 4, 3, 2], &[4], &[4]]);
    }
}
