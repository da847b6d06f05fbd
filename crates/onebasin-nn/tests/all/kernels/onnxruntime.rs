//! Results against ONNX Runtime's, in `f32`: `goldens/operators.py` wrote them.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::{
    Binary, Cell, Conv, Dim, Direction, PadMode, Pool, PoolKind, Reduce, ResizeMode, Scatter, Unary,
};
use safetensors::SafeTensors;
use serde_json::Value;

use super::support::{Array, Runner, expand};

const CASES: &str = include_str!("../../goldens/operators.json");
const TENSORS: &[u8] = include_bytes!("../../goldens/operators.safetensors");

/// `max |x − y| / max |y|` of numbers that went through different orders of summation and other exponentials.
const TOLERANCE: f32 = 1e-4;

#[test]
#[allow(clippy::print_stdout, reason = "the worst agreement is a figure worth reading")]
fn agrees_with_onnx_runtime() {
    let cases: Value = serde_json::from_str(CASES).unwrap();
    let tensors = SafeTensors::deserialize(TENSORS).unwrap();
    let read = |names: &Value| -> Vec<Array<f32>> { list(names, |n| array(&tensors, n.as_str().unwrap())) };
    let (mut worst, mut where_worst, mut bad) = (0.0_f32, String::new(), vec![]);
    let cases = cases["cases"].as_array().unwrap();
    for case in cases {
        let (name, op) = (case["name"].as_str().unwrap(), operator(&case["op"]));
        let runner = Runner::<f32>::new(&op);
        let (found, expected) = (runner.forward(&read(&case["inputs"])), read(&case["outputs"]));
        assert_eq!(found.len(), expected.len(), "{name}: outputs");
        for (found, expected) in found.iter().zip(&expected) {
            let found = &if op == Op::NonZero { without_nan(found) } else { found.clone() };
            assert_eq!(found.shape, expected.shape, "{name}: shape");
            let far = |x: &f32, y: &f32| if x == y { 0.0 } else { (x - y).abs() };
            let error = found.data.iter().zip(&expected.data).map(|(x, y)| far(x, y)).fold(0.0, larger);
            let scale = expected.data.iter().map(|y| y.abs()).fold(0.0, larger);
            let error = if error == 0.0 { 0.0 } else { error / scale };
            if error.is_nan() || error > TOLERANCE {
                bad.push(format!("{name}: {error:e}\n  found {:?}\n  expected {:?}", found.data, expected.data));
            }
            if error > worst {
                (worst, where_worst) = (error, name.to_owned());
            }
        }
    }
    println!("worst of {} cases: {worst:e} at {where_worst}", cases.len());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// The larger of two, or NaN if either is.
/// A matrix without the columns of NaN.
fn without_nan(x: &Array<f32>) -> Array<f32> {
    let columns = (0..x.shape[1]).filter(|c| !x.at(&[0, *c]).is_nan()).count();
    Array::from_fn(&[x.shape[0], columns], |index| x.at(&index))
}

fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

fn array(tensors: &SafeTensors<'_>, name: &str) -> Array<f32> {
    let view = tensors.tensor(name).unwrap();
    let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    Array { shape: view.shape().to_vec(), data }
}

fn list<T>(value: &Value, f: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(f).collect()
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<usize> {
    list(value, number)
}

/// The operator that the golden file describes.
fn operator(v: &Value) -> Op {
    let real = |key: &str| v[key].as_f64().unwrap_or_else(|| panic!("{key} in {v}"));
    let truth = |key: &str| v[key].as_bool().unwrap_or_else(|| panic!("{key} in {v}"));
    let (epsilon, axis) = (|| real("epsilon"), || number(&v["axis"]));
    let conv = || Conv {
        strides: numbers(&v["strides"]),
        dilations: numbers(&v["dilations"]),
        before: numbers(&v["before"]),
        after: numbers(&v["after"]),
        groups: number(&v["groups"]),
    };
    match v["op"].as_str().unwrap() {
        "Linear" => Op::Linear,
        "MatMul" => Op::MatMul,
        "Conv" => Op::Conv(conv()),
        "ConvTranspose" => Op::ConvTranspose { conv: conv(), output_padding: numbers(&v["output_padding"]) },
        "Pool" => Op::Pool(Pool {
            kind: match v["kind"].as_str().unwrap() {
                "Max" => PoolKind::Max,
                "Average" => PoolKind::Average,
                "AverageWithPadding" => PoolKind::AverageWithPadding,
                other => panic!("pool {other}"),
            },
            kernel: numbers(&v["kernel"]),
            strides: numbers(&v["strides"]),
            before: numbers(&v["before"]),
            after: numbers(&v["after"]),
            ceil: v["ceil"].as_bool().unwrap(),
        }),
        "BatchNorm" => Op::BatchNorm { epsilon: epsilon() },
        "LayerNorm" => {
            Op::LayerNorm { axes: numbers(&v["axes"]), epsilon: epsilon(), centred: v["centred"].as_bool().unwrap() }
        }
        "GroupNorm" => Op::GroupNorm { groups: number(&v["groups"]), epsilon: epsilon() },
        "LocalResponseNorm" => Op::LocalResponseNorm {
            size: number(&v["size"]),
            alpha: real("alpha"),
            beta: real("beta"),
            bias: real("bias"),
        },
        "Unary" => match v["unary"].as_str().unwrap() {
            "IsInf" => Op::Unary(Unary::IsInf { negative: truth("negative"), positive: truth("positive") }),
            name => Op::Unary(unary(name, real)),
        },
        "Binary" => Op::Binary(binary(v["binary"].as_str().unwrap())),
        "Where" => Op::Where,
        "Softmax" => Op::Softmax { axis: axis(), log: v["log"].as_bool().unwrap() },
        "Reduce" => Op::Reduce {
            kind: reduce(v["kind"].as_str().unwrap()),
            axes: numbers(&v["axes"]),
            keep: v["keep"].as_bool().unwrap(),
        },
        "Reshape" => Op::Reshape(list(&v["dims"], |d| match d.as_str() {
            None => Dim::Size(number(d)),
            Some("rest") => Dim::Rest,
            Some(same) => Dim::Same(same.strip_prefix("same ").unwrap().parse().unwrap()),
        })),
        "Transpose" => Op::Transpose(numbers(&v["order"])),
        "Concat" => Op::Concat { axis: axis() },
        "Slice" => Op::Slice {
            axis: axis(),
            start: number(&v["start"]),
            len: number(&v["len"]),
            step: isize::try_from(v["step"].as_i64().unwrap()).unwrap(),
        },
        "Pad" => Op::Pad {
            before: numbers(&v["before"]),
            after: numbers(&v["after"]),
            mode: match v["mode"].as_str().unwrap() {
                "constant" => PadMode::Constant(real("value")),
                "reflect" => PadMode::Reflect,
                "edge" => PadMode::Edge,
                other => panic!("padding {other}"),
            },
        },
        "Expand" => expand(&numbers(&v["shape"])),
        "Gather" => Op::Gather { axis: axis() },
        "GatherElements" => Op::GatherElements { axis: axis() },
        "ScatterElements" => {
            let function = match v["function"].as_str().unwrap() {
                "none" => Scatter::Set,
                "add" => Scatter::Add,
                "mul" => Scatter::Mul,
                "min" => Scatter::Min,
                "max" => Scatter::Max,
                other => panic!("function {other}"),
            };
            Op::ScatterElements { axis: axis(), function }
        }
        "TopK" => Op::TopK { axis: axis(), count: number(&v["count"]), largest: truth("largest") },
        "CumSum" => Op::CumSum { axis: axis(), exclusive: truth("exclusive"), reverse: truth("reverse") },
        "NonZero" => Op::NonZero,
        "Resize" => Op::Resize {
            size: numbers(&v["size"]),
            mode: match v["mode"].as_str().unwrap() {
                "Nearest" => ResizeMode::Nearest,
                "LinearHalfPixel" => ResizeMode::LinearHalfPixel,
                "LinearAlignCorners" => ResizeMode::LinearAlignCorners,
                "LinearAsymmetric" => ResizeMode::LinearAsymmetric,
                other => panic!("resizing {other}"),
            },
        },
        "Recurrent" => Op::Recurrent {
            cell: match v["cell"].as_str().unwrap() {
                "Rnn" => Cell::Rnn,
                "Lstm" => Cell::Lstm,
                "Gru" => Cell::Gru { reset_after: false },
                "GruResetAfter" => Cell::Gru { reset_after: true },
                other => panic!("cell {other}"),
            },
            direction: match v["direction"].as_str().unwrap() {
                "forward" => Direction::Forward,
                "reverse" => Direction::Reverse,
                "bidirectional" => Direction::Both,
                other => panic!("direction {other}"),
            },
        },
        other => panic!("operator {other}"),
    }
}

fn unary(name: &str, real: impl Fn(&str) -> f64) -> Unary {
    match name {
        "Identity" => Unary::Identity,
        "Relu" => Unary::Relu,
        "LeakyRelu" => Unary::LeakyRelu(real("slope")),
        "Elu" => Unary::Elu(real("alpha")),
        "Selu" => Unary::Selu { alpha: real("alpha"), gamma: real("gamma") },
        "Gelu" => Unary::Gelu,
        "GeluTanh" => Unary::GeluTanh,
        "Silu" => Unary::Silu,
        "HardSigmoid" => Unary::HardSigmoid { alpha: real("alpha"), beta: real("beta") },
        "HardSwish" => Unary::HardSwish,
        "Mish" => Unary::Mish,
        "Sigmoid" => Unary::Sigmoid,
        "Tanh" => Unary::Tanh,
        "Softplus" => Unary::Softplus,
        "Softsign" => Unary::Softsign,
        "Clip" => Unary::Clip { low: real("low"), high: real("high") },
        "Erf" => Unary::Erf,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Reciprocal" => Unary::Reciprocal,
        "Neg" => Unary::Neg,
        "Abs" => Unary::Abs,
        "Sign" => Unary::Sign,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        "Round" => Unary::Round,
        "Sin" => Unary::Sin,
        "Cos" => Unary::Cos,
        "Tan" => Unary::Tan,
        "Asin" => Unary::Asin,
        "Acos" => Unary::Acos,
        "Atan" => Unary::Atan,
        "Sinh" => Unary::Sinh,
        "Cosh" => Unary::Cosh,
        "Asinh" => Unary::Asinh,
        "Acosh" => Unary::Acosh,
        "Atanh" => Unary::Atanh,
        "Not" => Unary::Not,
        "IsNaN" => Unary::IsNan,
        other => panic!("function {other}"),
    }
}

fn binary(name: &str) -> Binary {
    match name {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Pow" => Binary::Pow,
        "Min" => Binary::Min,
        "Max" => Binary::Max,
        "PRelu" => Binary::PRelu,
        "Equal" => Binary::Equal,
        "Less" => Binary::Less,
        "LessOrEqual" => Binary::LessOrEqual,
        "Greater" => Binary::Greater,
        "GreaterOrEqual" => Binary::GreaterOrEqual,
        "And" => Binary::And,
        "Or" => Binary::Or,
        other => panic!("function {other}"),
    }
}

fn reduce(name: &str) -> Reduce {
    match name {
        "Sum" => Reduce::Sum,
        "Mean" => Reduce::Mean,
        "Max" => Reduce::Max,
        "Min" => Reduce::Min,
        "Prod" => Reduce::Prod,
        "SumSquare" => Reduce::SumSquare,
        "L2" => Reduce::L2,
        other => panic!("function {other}"),
    }
}
