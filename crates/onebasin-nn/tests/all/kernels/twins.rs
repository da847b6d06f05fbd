//! Results against twins that go index by index, on random shapes.

use onebasin_core::graph::op::{Binary, Cell, Conv, Direction, PadMode, Reduce, ResizeMode};
use onebasin_core::graph::{Op, shape};
use onebasin_core::stream::Stream;
use proptest::prelude::*;

use super::support::{Array, Runner, indices};

fn random(seed: u64, shape: &[usize]) -> Array<f64> {
    let mut stream = Stream::new(seed, "twins");
    Array::from_fn(shape, |_| stream.range(-2.0, 2.0))
}

fn run(op: &Op, inputs: &[Array<f64>]) -> Array<f64> {
    Runner::new(op).forward(inputs).remove(0)
}

fn lens(rank: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![8 => 1_usize..5, 1 => Just(0_usize), 1 => 17_usize..20], rank)
}

/// A shape and `N` shapes that broadcast to it together.
fn broadcasting<const N: usize>() -> impl Strategy<Value = [Vec<usize>; N]> {
    (lens(0..=4), prop::collection::vec((0_usize..5, any::<u8>()), N)).prop_map(|(shape, cuts)| {
        std::array::from_fn(|k| {
            let (cut, ones) = cuts[k];
            let cut = if k == 0 { 0 } else { cut.min(shape.len()) };
            let kept = shape.iter().enumerate().skip(cut);
            kept.map(|(axis, len)| if k > 0 && ones >> axis & 1 == 1 { 1 } else { *len }).collect()
        })
    })
}

fn close(found: &Array<f64>, expected: &Array<f64>, terms: usize) -> Result<(), TestCaseError> {
    prop_assert_eq!(&found.shape, &expected.shape);
    let scale = expected.data.iter().fold(1.0_f64, |m, y| m.max(y.abs()));
    let tolerance = f64::EPSILON * scale * (terms + 4) as f64 * 4.0;
    for (f, e) in found.data.iter().zip(&expected.data) {
        prop_assert!((f - e).abs() <= tolerance || f == e || f.is_nan() && e.is_nan(), "{} is not {}", f, e);
    }
    Ok(())
}

#[test]
fn shapes_without_a_result_are_refused() {
    let many = usize::MAX / 2;
    let refused = |op: Op, inputs: &[&[usize]]| {
        assert!(shape::infer(&op, inputs).is_err(), "{op:?} of {inputs:?}");
    };
    for mode in [PadMode::Reflect, PadMode::Edge] {
        refused(Op::Pad { before: vec![1], after: vec![0], mode }, &[&[0]]);
    }
    refused(Op::Pad { before: vec![many, 0], after: vec![many, 0], mode: PadMode::Edge }, &[&[2, 1]]);
    refused(Op::Resize { size: vec![2], mode: ResizeMode::Nearest }, &[&[1, 1, 0]]);
    refused(Op::LocalResponseNorm { size: 0, alpha: 1.0, beta: 1.0, bias: 1.0 }, &[&[1, 1]]);
    refused(Op::Reduce { kind: Reduce::Mean, axes: vec![0, 0], keep: true }, &[&[2]]);
    refused(Op::Concat { axis: 1 }, &[&[0, many], &[0, many], &[0, many]]);
    let line = Conv { strides: vec![0], dilations: vec![1], before: vec![0], after: vec![0], groups: 1 };
    refused(Op::Conv(line.clone()), &[&[1, 1, 3], &[1, 1, 3]]);
    refused(Op::ConvTranspose { conv: line.clone(), output_padding: vec![0] }, &[&[1, 1, 3], &[1, 1, 3]]);
    let far = Conv { strides: vec![many], ..line };
    refused(Op::ConvTranspose { conv: far, output_padding: vec![0] }, &[&[1, 1, 9], &[1, 1, 3]]);
    let gru = Op::Recurrent { cell: Cell::Gru { reset_after: true }, direction: Direction::Forward };
    let state: &[usize] = &[1, 1, 1];
    refused(gru, &[&[1, 1, 1], &[1, 3, 1], &[1, 3, 1], &[1, 6], state, state]);
}

proptest! {
    #[test]
    fn binary([a, b] in broadcasting::<2>(), swap: bool, seed: u64) {
        let [a, b] = if swap { [b, a] } else { [a, b] };
        let (a, b) = (random(seed, &a), random(seed ^ 1, &b));
        let shape = shape::broadcast(&a.shape, &b.shape).unwrap();
        let expected = Array::from_fn(&shape, |i| a.broadcast_at(&i) - b.broadcast_at(&i));
        prop_assert_eq!(run(&Op::Binary(Binary::Sub), &[a, b]), expected);
    }

    #[test]
    fn where_([a, b, c] in broadcasting::<3>(), turn in 0_usize..3, seed: u64) {
        let mut shapes = [a, b, c];
        shapes.rotate_left(turn);
        let [mut c, a, b] = shapes.map(|s| random(seed ^ s.len() as u64, &s));
        c.data.iter_mut().for_each(|c| *c = c.max(0.0));
        let shape = shape::broadcast(&shape::broadcast(&a.shape, &b.shape).unwrap(), &c.shape).unwrap();
        let pick = |i: Vec<usize>| if c.broadcast_at(&i) == 0.0 { b.broadcast_at(&i) } else { a.broadcast_at(&i) };
        let expected = Array::from_fn(&shape, pick);
        prop_assert_eq!(run(&Op::Where, &[c, a, b]), expected);
    }

    #[test]
    fn expand([shape, x] in broadcasting::<2>(), seed: u64) {
        let x = random(seed, &x);
        let expected = Array::from_fn(&shape, |i| x.broadcast_at(&i));
        prop_assert_eq!(run(&super::support::expand(&shape), &[x]), expected);
    }

    #[test]
    fn reduce(shape in lens(0..=4), mask: u8, keep: bool, seed: u64) {
        let x = random(seed, &shape);
        let axes: Vec<usize> = (0..shape.len()).filter(|a| mask >> a & 1 == 1).collect();
        let count: usize = axes.iter().map(|a| shape[*a]).product();
        let short: Vec<usize> = (0..shape.len()).filter(|a| !axes.contains(a)).collect();
        let lens: Vec<usize> = short.iter().map(|a| shape[*a]).collect();
        let over = |f: &dyn Fn(&[f64]) -> f64| Array::from_fn(&lens, |i| {
            let here = |full: &Vec<usize>| short.iter().zip(&i).all(|(a, i)| full[*a] == *i);
            f(&indices(&shape).filter(here).map(|full| x.at(&full)).collect::<Vec<_>>())
        });
        for (kind, mut expected) in [
            (Reduce::Sum, over(&|v| v.iter().sum())),
            (Reduce::Mean, over(&|v| v.iter().sum::<f64>() / v.len() as f64)),
            (Reduce::Max, over(&|v| v.iter().copied().fold(f64::NEG_INFINITY, f64::max))),
            (Reduce::Min, over(&|v| v.iter().copied().fold(f64::INFINITY, f64::min))),
            (Reduce::SumSquare, over(&|v| v.iter().map(|x| x * x).sum())),
            (Reduce::L2, over(&|v| v.iter().map(|x| x * x).sum::<f64>().sqrt())),
            (Reduce::Prod, over(&|v| v.iter().product())),
        ] {
            if keep {
                expected.shape = (0..shape.len()).map(|a| if axes.contains(&a) { 1 } else { shape[a] }).collect();
            }
            close(&run(&Op::Reduce { kind, axes: axes.clone(), keep }, std::slice::from_ref(&x)), &expected, count)?;
        }
    }

    #[test]
    fn transpose(shape in lens(0..=5), seed: u64) {
        let mut order: Vec<usize> = (0..shape.len()).collect();
        Stream::new(seed, "order").shuffle(&mut order);
        let x = random(seed, &shape);
        let out: Vec<usize> = order.iter().map(|a| shape[*a]).collect();
        let expected = Array::from_fn(&out, |i| {
            let mut own = vec![0; i.len()];
            order.iter().zip(&i).for_each(|(a, i)| own[*a] = *i);
            x.at(&own)
        });
        prop_assert_eq!(run(&Op::Transpose(order), &[x]), expected);
    }

    #[test]
    fn concat(shape in lens(1..=4), lengths in prop::collection::vec(0_usize..4, 1..4), axis: usize, seed: u64) {
        let axis = axis % shape.len();
        let with = |len| { let mut s = shape.clone(); s[axis] = len; s };
        let inputs: Vec<Array<f64>> = lengths.iter().map(|len| random(seed ^ *len as u64, &with(*len))).collect();
        let expected = Array::from_fn(&with(lengths.iter().sum()), |mut i| {
            let k = inputs.iter().position(|x| {
                let inside = i[axis] < x.shape[axis];
                if !inside { i[axis] -= x.shape[axis]; }
                inside
            });
            inputs[k.unwrap()].at(&i)
        });
        prop_assert_eq!(run(&Op::Concat { axis }, &inputs), expected);
    }

    #[test]
    fn slice(shape in lens(1..=4), axis: usize, start: usize, step in -3_isize..4, len: usize, seed: u64) {
        let (axis, step) = (axis % shape.len(), if step == 0 { 1 } else { step });
        let start = start % shape[axis].max(1);
        let room = if shape[axis] == 0 { 0 } else if step > 0 { (shape[axis] - 1 - start) / step as usize + 1 }
            else { start / step.unsigned_abs() + 1 };
        let len = len % (room + 1);
        let x = random(seed, &shape);
        let mut out = shape.clone();
        out[axis] = len;
        let expected = Array::from_fn(&out, |mut i| {
            i[axis] = (start as isize + i[axis] as isize * step) as usize;
            x.at(&i)
        });
        prop_assert_eq!(run(&Op::Slice { axis, start, len, step }, &[x]), expected);
    }

    #[test]
    fn pad(shape in prop::collection::vec(1_usize..5, 0..4), pads in prop::collection::vec((0_usize..7, 0_usize..7), 4), seed: u64) {
        let x = random(seed, &shape);
        let (before, after): (Vec<usize>, Vec<usize>) = pads[..shape.len()].iter().copied().unzip();
        let out: Vec<usize> = (0..shape.len()).map(|a| shape[a] + before[a] + after[a]).collect();
        for mode in [PadMode::Constant(0.25), PadMode::Edge, PadMode::Reflect] {
            let expected = Array::from_fn(&out, |i| {
                let mut own = vec![];
                for a in 0..shape.len() {
                    let (len, mut k) = (shape[a] as isize, i[a] as isize - before[a] as isize);
                    while !(0..len).contains(&k) {
                        k = match mode {
                            PadMode::Constant(value) => return value,
                            PadMode::Edge => k.clamp(0, len - 1),
                            PadMode::Reflect if len == 1 => 0,
                            PadMode::Reflect if k < 0 => -k,
                            PadMode::Reflect => 2 * (len - 1) - k,
                        };
                    }
                    own.push(k as usize);
                }
                x.at(&own)
            });
            prop_assert_eq!(run(&Op::Pad { before: before.clone(), after: after.clone(), mode }, std::slice::from_ref(&x)), expected);
        }
    }

    #[test]
    fn gather(shape in prop::collection::vec(1_usize..5, 1..4), ids in lens(0..=2), axis: usize, seed: u64) {
        let axis = axis % shape.len();
        let data = random(seed, &shape);
        let mut stream = Stream::new(seed, "indices");
        let len = shape[axis];
        let ids = Array::from_fn(&ids, |_| stream.below(2 * len) as f64 - len as f64);
        let out = [&shape[..axis], &ids.shape, &shape[axis + 1..]].concat();
        let expected = Array::from_fn(&out, |i| {
            let k = ids.at(&i[axis..axis + ids.shape.len()]);
            let k = if k < 0.0 { k + len as f64 } else { k } as usize;
            data.at(&[&i[..axis], &[k], &i[axis + ids.shape.len()..]].concat())
        });
        prop_assert_eq!(run(&Op::Gather { axis }, &[data, ids]), expected);
    }

    #[test]
    fn matmul([a, b] in broadcasting::<2>(), swap: bool, m in 0_usize..4, k in 0_usize..4, n in 0_usize..4, seed: u64) {
        let [a, b] = if swap { [b, a] } else { [a, b] };
        let batch = shape::broadcast(&a, &b).unwrap();
        let (a, b) = (random(seed, &[&a[..], &[m, k]].concat()), random(seed ^ 1, &[&b[..], &[k, n]].concat()));
        let expected = Array::from_fn(&[&batch[..], &[m, n]].concat(), |i| {
            let (at, [r, c]) = i.split_at(batch.len()) else { unreachable!() };
            let term = |l: usize| {
                let (left, right) = ([at, &[*r, l]].concat(), [at, &[l, *c]].concat());
                let part = |x: &Array<f64>, i: &[usize]| {
                    let own = &i[i.len() - x.shape.len()..];
                    let last = own.len() - 2;
                    let own: Vec<usize> = own.iter().enumerate()
                        .map(|(axis, i)| if axis < last && x.shape[axis] == 1 { 0 } else { *i }).collect();
                    x.at(&own)
                };
                part(&a, &left) * part(&b, &right)
            };
            (0..k).map(term).sum()
        });
        close(&run(&Op::MatMul, &[a, b]), &expected, k)?;
    }

    #[test]
    fn local_response_norm(size in 1_usize..6, channels in 1_usize..7, seed: u64) {
        let x = random(seed, &[2, channels, 3]);
        let (alpha, beta, bias) = (0.4, 0.75, 1.25);
        let expected = Array::from_fn(&x.shape, |i| {
            let (back, ahead) = ((size - 1) / 2, size / 2);
            let window = (0..channels).filter(|c| c + back >= i[1] && *c <= i[1] + ahead);
            let squares: f64 = window.map(|c| x.at(&[i[0], c, i[2]]).powi(2)).sum();
            x.at(&i) / (bias + alpha / size as f64 * squares).powf(beta)
        });
        close(&run(&Op::LocalResponseNorm { size, alpha, beta, bias }, &[x]), &expected, size)?;
    }

    #[test]
    fn resize(shape in prop::collection::vec(1_usize..6, 1..4), size in prop::collection::vec(1_usize..9, 3), seed: u64) {
        let size = size[..shape.len()].to_vec();
        let x = random(seed, &[&[1, 2], &shape[..]].concat());
        for mode in [ResizeMode::Nearest, ResizeMode::LinearHalfPixel, ResizeMode::LinearAlignCorners, ResizeMode::LinearAsymmetric] {
            // The weight of position k for position i, axis by axis.
            let weight = |axis: usize, i: usize, k: usize| {
                let (len, out, i) = (shape[axis] as f64, size[axis] as f64, i as f64);
                let at = match mode {
                    ResizeMode::Nearest => return f64::from(u8::from(k == (i * len / out + 1e-9).floor() as usize)),
                    ResizeMode::LinearHalfPixel => (i + 0.5) * len / out - 0.5,
                    ResizeMode::LinearAlignCorners => if out == 1.0 { 0.0 } else { i * (len - 1.0) / (out - 1.0) },
                    ResizeMode::LinearAsymmetric => i * len / out,
                };
                (1.0 - (at.clamp(0.0, len - 1.0) - k as f64).abs()).max(0.0)
            };
            let expected = Array::from_fn(&[&[1, 2], &size[..]].concat(), |i| {
                indices(&shape).map(|k| {
                    let w: f64 = (0..shape.len()).map(|a| weight(a, i[a + 2], k[a])).product();
                    w * x.at(&[&i[..2], &k[..]].concat())
                }).sum()
            });
            close(&run(&Op::Resize { size: size.clone(), mode }, std::slice::from_ref(&x)), &expected, 64)?;
        }
    }
}
