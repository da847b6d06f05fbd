//! The table of operators, and those that work element by element.

use onebasin_core::graph::Op;
use onebasin_core::graph::op::{Binary, Unary};

use super::array::ElementKind;
use super::call::{EVALUATION, Made, NodeCall, broken, unknown};
use super::plan::PlanSlot;
use super::{attention, einsum, images, indexed, layout, linear, norm, picks, quantized, recurrent, slices};

/// The values that a node makes, as operators.
pub(super) fn convert(call: &mut NodeCall<'_, '_>) -> Made<Vec<PlanSlot>> {
    if !call.node.domain.is_empty() {
        return unknown(format!("operators of `{}` are not known", call.node.domain));
    }
    let one = |made: Made<PlanSlot>| made.map(|slot| vec![slot]);
    match call.node.op_type.as_str() {
        "Gemm" => one(linear::gemm(call)),
        "MatMul" => one(linear::matmul(call)),
        "Einsum" => one(einsum::einsum(call)),
        "Conv" => one(images::conv(call)),
        "ConvTranspose" => one(images::conv_transpose(call)),
        "MaxPool" | "AveragePool" => one(images::pool(call)),
        "GlobalAveragePool" | "GlobalMaxPool" => one(images::global_pool(call)),
        "Resize" | "Upsample" => one(images::resize(call)),
        "DepthToSpace" => one(layout::depth_to_space(call)),
        "SpaceToDepth" => one(layout::space_to_depth(call)),
        "BatchNormalization" => one(norm::batch(call)),
        "LayerNormalization" => one(norm::layer(call, true)),
        "RMSNormalization" | "SimplifiedLayerNormalization" => one(norm::layer(call, false)),
        "GroupNormalization" => one(norm::group(call)),
        "InstanceNormalization" => one(norm::instance(call)),
        "LpNormalization" => one(norm::lp(call)),
        "LRN" => one(norm::response(call)),
        "Softmax" => one(norm::softmax(call, false)),
        "LogSoftmax" => one(norm::softmax(call, true)),
        name if name.starts_with("Reduce") => one(norm::reduce(call)),
        "Reshape" => one(layout::reshape(call)),
        "Flatten" => one(layout::flatten(call)),
        "Squeeze" => one(layout::squeeze(call)),
        "Unsqueeze" => one(layout::unsqueeze(call)),
        "Transpose" => one(layout::transpose(call)),
        "Expand" => one(layout::expand(call)),
        "ConstantOfShape" => one(layout::constant_of_shape(call)),
        "Tile" => one(layout::tile(call)),
        "Concat" => one(slices::concat(call)),
        "Split" => slices::split(call),
        "Slice" => one(slices::slice(call)),
        "Gather" => one(slices::gather(call)),
        "Pad" => one(slices::pad(call)),
        "GatherElements" => one(indexed::gather_elements(call)),
        "GatherND" => one(indexed::gather_nd(call)),
        "ScatterElements" | "Scatter" => one(indexed::scatter_elements(call)),
        "ScatterND" => one(indexed::scatter_nd(call)),
        "TopK" => picks::top_k(call),
        "ArgMax" => one(picks::arg_extreme(call, true)),
        "ArgMin" => one(picks::arg_extreme(call, false)),
        "CumSum" => one(picks::cum_sum(call)),
        "NonZero" => one(picks::non_zero(call)),
        "OneHot" => one(picks::one_hot(call)),
        "Trilu" => one(picks::triangle(call)),
        "Range" => one(picks::range(call)),
        "Attention" => attention::attention(call),
        "LSTM" | "GRU" | "RNN" => recurrent::recurrent(call),
        "QuantizeLinear" => one(quantized::quantize(call)),
        "DequantizeLinear" => one(quantized::dequantize(call)),
        "DynamicQuantizeLinear" => quantized::quantize_all(call),
        "MatMulInteger" => one(quantized::matmul_integer(call)),
        "ConvInteger" => one(quantized::conv_integer(call)),
        "QLinearMatMul" => one(quantized::qlinear_matmul(call)),
        "QLinearConv" => one(quantized::qlinear_conv(call)),
        "Cast" => one(cast(call)),
        "CastLike" => one(cast_like(call)),
        "Swish" => one(swish(call)),
        "Celu" => one(celu(call)),
        "ThresholdedRelu" => one(thresholded(call)),
        "Mod" => one(rest(call)),
        "Xor" => one(exclusive(call)),
        "If" => unknown("an If whose branches cannot be read is not known"),
        "Constant" => unknown("a constant of this element type has no numbers here"),
        "RandomNormal" | "RandomNormalLike" | "RandomUniform" | "RandomUniformLike" | "Bernoulli" | "Multinomial" => {
            unknown(format!("{} draws random numbers, which is not known ({EVALUATION})", call.node.op_type))
        }
        "Dropout" => one(dropout(call)),
        "Where" => one(choose(call)),
        "Sum" => one(chain(call, Binary::Add)),
        "Max" => one(chain(call, Binary::Max)),
        "Min" => one(chain(call, Binary::Min)),
        "Mean" => {
            let count = call.node.inputs.len() as f64;
            let sum = chain(call, Binary::Add)?;
            let count = call.scalar(count)?;
            one(call.binary(Binary::Div, sum, count))
        }
        _ => match (unary(call)?, binary(call.node.op_type.as_str())) {
            (Some(Unary::Identity), _) => one(call.input(0)),
            (Some(function), _) => one(map(call, function)),
            (None, Some(function)) => one(zip(call, function)),
            (None, None) => unknown(format!("operator {} is not known", call.node.op_type)),
        },
    }
}

fn unary(call: &mut NodeCall<'_, '_>) -> Made<Option<Unary>> {
    Ok(Some(match call.node.op_type.as_str() {
        "Identity" => Unary::Identity,
        "Relu" => Unary::Relu,
        "LeakyRelu" => Unary::LeakyRelu(call.float("alpha", 0.01)?),
        "Elu" => Unary::Elu(call.float("alpha", 1.0)?),
        "Selu" => Unary::Selu {
            alpha: call.float("alpha", 1.673_263_192_176_818_8)?,
            gamma: call.float("gamma", 1.050_700_902_938_842_8)?,
        },
        "Gelu" => match call.text("approximate", "none")? {
            "none" => Unary::Gelu,
            "tanh" => Unary::GeluTanh,
            other => return unknown(format!("Gelu approximated by `{other}` is not known")),
        },
        "HardSigmoid" => Unary::HardSigmoid { alpha: call.float("alpha", 0.2)?, beta: call.float("beta", 0.5)? },
        "HardSwish" => Unary::HardSwish,
        "Mish" => Unary::Mish,
        "Sigmoid" => Unary::Sigmoid,
        "Tanh" => Unary::Tanh,
        "Softplus" => Unary::Softplus,
        "Softsign" => Unary::Softsign,
        "Clip" => {
            let mut limit = |name: &str, k: usize, usual: f64| -> Made<f64> {
                Ok(call.number(k)?.unwrap_or(call.float(name, usual)?))
            };
            Unary::Clip { low: limit("min", 1, f64::NEG_INFINITY)?, high: limit("max", 2, f64::INFINITY)? }
        }
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
        "Tan" => Unary::Tan,
        "Asin" => Unary::Asin,
        "Acos" => Unary::Acos,
        "Atan" => Unary::Atan,
        "Sinh" => Unary::Sinh,
        "Cosh" => Unary::Cosh,
        "Asinh" => Unary::Asinh,
        "Acosh" => Unary::Acosh,
        "Atanh" => Unary::Atanh,
        "Cos" => Unary::Cos,
        "Not" => Unary::Not,
        "IsNaN" => Unary::IsNan,
        "IsInf" => Unary::IsInf {
            negative: call.flag("detect_negative", true)?,
            positive: call.flag("detect_positive", true)?,
        },
        _ => return Ok(None),
    }))
}

fn map(call: &mut NodeCall<'_, '_>, function: Unary) -> Made<PlanSlot> {
    let x = call.input(0)?;
    let kind = match function {
        Unary::Not | Unary::IsNan | Unary::IsInf { .. } => ElementKind::Bool,
        _ => call.kind(x),
    };
    call.push_as(kind, Op::Unary(function), &[x])
}

fn binary(op_type: &str) -> Option<Binary> {
    Some(match op_type {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Pow" => Binary::Pow,
        "PRelu" => Binary::PRelu,
        "Equal" => Binary::Equal,
        "Less" => Binary::Less,
        "LessOrEqual" => Binary::LessOrEqual,
        "Greater" => Binary::Greater,
        "GreaterOrEqual" => Binary::GreaterOrEqual,
        "And" => Binary::And,
        "Or" => Binary::Or,
        _ => return None,
    })
}

fn zip(call: &mut NodeCall<'_, '_>, function: Binary) -> Made<PlanSlot> {
    let a = call.input(0)?;
    if function == Binary::Pow {
        return power(call, a);
    }
    let b = call.input(1)?;
    let kind = match function {
        Binary::Equal
        | Binary::Less
        | Binary::LessOrEqual
        | Binary::Greater
        | Binary::GreaterOrEqual
        | Binary::And
        | Binary::Or => ElementKind::Bool,
        Binary::Div if call.kind(a) != ElementKind::Float => return quotient(call, a, b),
        _ => call.kind(a),
    };
    call.push_as(kind, Op::Binary(function), &[a, b])
}

/// A power. A whole exponent says how to compute, wherever the model keeps it: it is no weight.
fn power(call: &mut NodeCall<'_, '_>, base: PlanSlot) -> Made<PlanSlot> {
    let known = call.fixed(1).ok().flatten().filter(|exponent| exponent.shape.len() <= call.rank(base));
    let known = known.map(|exponent| exponent.floats());
    let exponent = match known.as_deref() {
        Some([whole]) if whole.fract() == 0.0 => call.scalar(*whole)?,
        _ => call.input(1)?,
    };
    call.push_as(call.kind(base), Op::Binary(Binary::Pow), &[base, exponent])
}

fn chain(call: &mut NodeCall<'_, '_>, function: Binary) -> Made<PlanSlot> {
    let inputs = call.inputs()?;
    let Some((first, rest)) = inputs.split_first() else { return broken("it has no input") };
    rest.iter().try_fold(*first, |all, next| call.binary(function, all, *next))
}

fn choose(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let (condition, a, b) = (call.input(0)?, call.input(1)?, call.input(2)?);
    call.push_as(call.kind(a), Op::Where, &[condition, a, b])
}

fn cast(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    call.ignore(&["saturate"]);
    let code = call.int("to", 0)?;
    let Some(to) = ElementKind::of_code(code) else {
        return unknown(format!("a Cast to element type {code} is not known"));
    };
    let x = call.input(0)?;
    cast_to(call, x, to)
}

fn cast_like(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    call.ignore(&["saturate"]);
    let to = call.kind_of(1)?;
    let x = call.input(0)?;
    cast_to(call, x, to)
}

/// The same numbers as numbers of another kind: whole ones are cut off towards zero, as ONNX does.
fn cast_to(call: &mut NodeCall<'_, '_>, x: PlanSlot, to: ElementKind) -> Made<PlanSlot> {
    match (call.kind(x), to) {
        (from, to) if from == to => Ok(x),
        (ElementKind::Bool, _) | (ElementKind::Int, ElementKind::Float) => {
            call.push_as(to, Op::Unary(Unary::Identity), &[x])
        }
        (_, ElementKind::Bool) => {
            let zero = call.unary(Unary::Not, x)?;
            call.push_as(ElementKind::Bool, Op::Unary(Unary::Not), &[zero])
        }
        (_, ElementKind::Int) => cut_off(call, x),
        (ElementKind::Float, ElementKind::Float) => Ok(x),
    }
}

/// Numbers cut off towards zero.
fn cut_off(call: &mut NodeCall<'_, '_>, x: PlanSlot) -> Made<PlanSlot> {
    let sign = call.unary(Unary::Sign, x)?;
    let size = call.unary(Unary::Abs, x)?;
    let size = call.unary(Unary::Floor, size)?;
    call.push_as(ElementKind::Int, Op::Binary(Binary::Mul), &[sign, size])
}

/// The quotient of whole numbers, cut off towards zero. Of numbers that `f32` holds exactly no quotient rounds to a whole
/// one that it is not.
fn quotient(call: &mut NodeCall<'_, '_>, a: PlanSlot, b: PlanSlot) -> Made<PlanSlot> {
    let quotient = call.push_as(ElementKind::Float, Op::Binary(Binary::Div), &[a, b])?;
    cut_off(call, quotient)
}

/// The rest of a division of whole numbers, of the divisor's sign, or of the dividend's with `fmod`.
fn rest(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let dividends = call.flag("fmod", false)?;
    let (a, b) = (call.input(0)?, call.input(1)?);
    if call.kind(a) == ElementKind::Float {
        return unknown("Mod of floats is not known");
    }
    let times = if dividends {
        quotient(call, a, b)?
    } else {
        let quotient = call.push_as(ElementKind::Float, Op::Binary(Binary::Div), &[a, b])?;
        call.push_as(ElementKind::Int, Op::Unary(Unary::Floor), &[quotient])?
    };
    let whole = call.binary(Binary::Mul, times, b)?;
    call.binary(Binary::Sub, a, whole)
}

/// Whether one of two is true, but not both.
fn exclusive(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let same = call.push_as(ElementKind::Bool, Op::Binary(Binary::Equal), &[a, b])?;
    call.unary(Unary::Not, same)
}

/// `max(x, 0) + min(alpha (exp(x / alpha) − 1), 0)`.
fn celu(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let alpha = call.float("alpha", 1.0)?;
    let x = call.input(0)?;
    let alpha = call.scalar(alpha)?;
    let scaled = call.binary(Binary::Div, x, alpha)?;
    let bent = call.unary(Unary::Elu(1.0), scaled)?;
    call.binary(Binary::Mul, bent, alpha)
}

/// `x` above `alpha`, 0 below.
fn thresholded(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let alpha = call.float("alpha", 1.0)?;
    let x = call.input(0)?;
    let (alpha, zero) = (call.scalar(alpha)?, call.scalar(0.0)?);
    let above = call.push_as(ElementKind::Bool, Op::Binary(Binary::Greater), &[x, alpha])?;
    call.push_as(ElementKind::Float, Op::Where, &[above, x, zero])
}

/// `x σ(alpha x)`.
fn swish(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    let alpha = call.float("alpha", 1.0)?;
    let x = call.input(0)?;
    if alpha == 1.0 {
        return call.unary(Unary::Silu, x);
    }
    let alpha = call.scalar(alpha)?;
    let scaled = call.binary(Binary::Mul, x, alpha)?;
    let gate = call.unary(Unary::Sigmoid, scaled)?;
    call.binary(Binary::Mul, x, gate)
}

fn dropout(call: &mut NodeCall<'_, '_>) -> Made<PlanSlot> {
    call.ignore(&["ratio", "seed"]);
    let training = call.number(2)?.unwrap_or(0.0);
    let ratio = if call.has(1) { call.number(1)? } else { None };
    // What is left out with probability 0 is left out never.
    if training != 0.0 && ratio != Some(0.0) {
        return unknown(format!("Dropout in training is not known ({EVALUATION})"));
    }
    call.input(0)
}
