//! Functions of one number.
//!
//! Where a function has a kink, its gradient there is the one of the flat side: 0 for Relu, Clip, HardSigmoid and Abs.
//! Steps (Sign, Floor, Ceil, Round, and what tests) have gradient 0 everywhere. NaN stays NaN, but where it is tested.

use onebasin_core::graph::op::Unary;

use super::{Call, Kernel, Layout, Real};

impl<T: Real> Kernel<T> for Unary {
    fn layout(&self) -> Option<Layout> {
        None
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        forward(*self, call.inputs[0], outputs[0]);
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        if let Some(dx) = &mut d_inputs[0] {
            backward(*self, call.inputs[0], outputs[0], d_outputs[0], dx);
        }
    }
}

fn forward<T: Real>(op: Unary, x: &[T], y: &mut [T]) {
    let (zero, one, half) = (T::zero(), T::one(), T::of(0.5));
    match op {
        Unary::Identity => y.copy_from_slice(x),
        Unary::Relu => map(x, y, |x| if zero > x { zero } else { x }),
        Unary::LeakyRelu(slope) => {
            let slope = T::of(slope);
            map(x, y, |x| if x > zero { x } else { slope * x });
        }
        Unary::Elu(alpha) => {
            let alpha = T::of(alpha);
            map(x, y, |x| if x > zero { x } else { alpha * x.exp_m1() });
        }
        Unary::Selu { alpha, gamma } => {
            let (gamma, below) = (T::of(gamma), T::of(gamma * alpha));
            map(x, y, |x| if x > zero { gamma * x } else { below * x.exp_m1() });
        }
        Unary::Gelu => map(x, y, |x| x * phi(x)),
        Unary::GeluTanh => map(x, y, |x| half * x * (one + gelu_inner(x).tanh())),
        Unary::Silu => map(x, y, |x| x * sigmoid(x)),
        Unary::HardSigmoid { alpha, beta } => {
            let (alpha, beta) = (T::of(alpha), T::of(beta));
            map(x, y, |x| clip(alpha * x + beta, zero, one));
        }
        Unary::HardSwish => {
            let sixth = T::of(1.0 / 6.0);
            map(x, y, |x| x * clip(x * sixth + half, zero, one));
        }
        Unary::Mish => map(x, y, |x| x * softplus(x).tanh()),
        Unary::Sigmoid => map(x, y, sigmoid),
        Unary::Tanh => map(x, y, T::tanh),
        Unary::Softplus => map(x, y, softplus),
        Unary::Softsign => map(x, y, |x| x / (one + x.abs())),
        Unary::Clip { low, high } => {
            let (low, high) = (T::of(low), T::of(high));
            map(x, y, |x| clip(x, low, high));
        }
        Unary::Erf => map(x, y, T::erf),
        Unary::Exp => map(x, y, T::exp),
        Unary::Log => map(x, y, T::ln),
        Unary::Sqrt => map(x, y, T::sqrt),
        Unary::Reciprocal => map(x, y, T::recip),
        Unary::Neg => map(x, y, |x| -x),
        Unary::Abs => map(x, y, T::abs),
        Unary::Sign => map(x, y, sign),
        Unary::Floor => map(x, y, T::floor),
        Unary::Ceil => map(x, y, T::ceil),
        Unary::Round => map(x, y, round_half_even),
        Unary::Sin => map(x, y, T::sin),
        Unary::Cos => map(x, y, T::cos),
        Unary::Tan => map(x, y, T::tan),
        Unary::Asin => map(x, y, T::asin),
        Unary::Acos => map(x, y, T::acos),
        Unary::Atan => map(x, y, T::atan),
        Unary::Sinh => map(x, y, T::sinh),
        Unary::Cosh => map(x, y, T::cosh),
        Unary::Asinh => map(x, y, T::asinh),
        Unary::Acosh => map(x, y, T::acosh),
        Unary::Atanh => map(x, y, T::atanh),
        Unary::Not => map(x, y, |x| truth(x == zero)),
        Unary::IsNan => map(x, y, |x| truth(x.is_nan())),
        Unary::IsInf { negative, positive } => {
            map(x, y, |x| truth(x.is_infinite() && if x > zero { positive } else { negative }));
        }
    }
}

fn backward<T: Real>(op: Unary, x: &[T], y: &[T], dy: &[T], dx: &mut [T]) {
    let (zero, one, half) = (T::zero(), T::one(), T::of(0.5));
    match op {
        Unary::Identity => dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += *dy),
        Unary::Relu => add(y, dy, dx, |y| if y > zero { one } else { zero }),
        Unary::LeakyRelu(slope) => {
            let slope = T::of(slope);
            add(x, dy, dx, |x| if x > zero { one } else { slope });
        }
        Unary::Elu(alpha) => {
            let alpha = T::of(alpha);
            add(x, dy, dx, |x| if x > zero { one } else { alpha * x.exp() });
        }
        Unary::Selu { alpha, gamma } => {
            let (gamma, below) = (T::of(gamma), T::of(gamma * alpha));
            add(x, dy, dx, |x| if x > zero { gamma } else { below * x.exp() });
        }
        Unary::Gelu => {
            let density = T::of(0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
            add(x, dy, dx, |x| phi(x) + x * density * (-half * x * x).exp());
        }
        Unary::GeluTanh => {
            let (scale, cubic) = (gelu_scale::<T>(), T::of(3.0 * CUBIC));
            add(x, dy, dx, |x| {
                let t = gelu_inner(x).tanh();
                half * (one + t) + half * x * (one - t * t) * scale * (one + cubic * x * x)
            });
        }
        Unary::Silu => add(x, dy, dx, |x| {
            let s = sigmoid(x);
            s * (one + x * (one - s))
        }),
        Unary::HardSigmoid { alpha, .. } => {
            let alpha = T::of(alpha);
            add(y, dy, dx, |y| if y > zero && y < one { alpha } else { zero });
        }
        Unary::HardSwish => {
            let (third, three) = (T::of(1.0 / 3.0), T::of(3.0));
            add(x, dy, dx, |x| {
                if x <= -three {
                    zero
                } else if x >= three {
                    one
                } else {
                    x * third + half
                }
            });
        }
        Unary::Mish => add(x, dy, dx, |x| {
            let t = softplus(x).tanh();
            t + x * (one - t * t) * sigmoid(x)
        }),
        Unary::Sigmoid => add(y, dy, dx, |y| y * (one - y)),
        Unary::Tanh => add(y, dy, dx, |y| one - y * y),
        Unary::Softplus => add(x, dy, dx, sigmoid),
        Unary::Softsign => add(x, dy, dx, |x| {
            let r = (one + x.abs()).recip();
            r * r
        }),
        Unary::Clip { low, high } => {
            let (low, high) = (T::of(low), T::of(high));
            add(x, dy, dx, |x| if x > low && x < high { one } else { zero });
        }
        Unary::Erf => {
            let scale = T::of(std::f64::consts::FRAC_2_SQRT_PI);
            add(x, dy, dx, |x| scale * (-x * x).exp());
        }
        Unary::Exp => add(y, dy, dx, |y| y),
        Unary::Log => add(x, dy, dx, T::recip),
        Unary::Sqrt => add(y, dy, dx, |y| half / y),
        Unary::Reciprocal => add(y, dy, dx, |y| -y * y),
        Unary::Neg => add(x, dy, dx, |_| -one),
        Unary::Abs => add(x, dy, dx, sign),
        Unary::Sin => add(x, dy, dx, T::cos),
        Unary::Cos => add(x, dy, dx, |x| -x.sin()),
        Unary::Tan => add(y, dy, dx, |y| one + y * y),
        Unary::Asin => add(x, dy, dx, |x| (one - x * x).sqrt().recip()),
        Unary::Acos => add(x, dy, dx, |x| -(one - x * x).sqrt().recip()),
        Unary::Atan => add(x, dy, dx, |x| (one + x * x).recip()),
        Unary::Sinh => add(x, dy, dx, T::cosh),
        Unary::Cosh => add(x, dy, dx, T::sinh),
        Unary::Asinh => add(x, dy, dx, |x| (one + x * x).sqrt().recip()),
        Unary::Acosh => add(x, dy, dx, |x| (x * x - one).sqrt().recip()),
        Unary::Atanh => add(x, dy, dx, |x| (one - x * x).recip()),
        Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Not | Unary::IsNan | Unary::IsInf { .. } => {}
    }
}

fn truth<T: Real>(holds: bool) -> T {
    if holds { T::one() } else { T::zero() }
}

fn map<T: Real>(x: &[T], y: &mut [T], f: impl Fn(T) -> T) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*x));
}

/// `dx += dy · slope(v)`, where `v` is the input or the output, whichever gives the slope more cheaply.
fn add<T: Real>(v: &[T], dy: &[T], dx: &mut [T], slope: impl Fn(T) -> T) {
    for ((dx, dy), v) in dx.iter_mut().zip(dy).zip(v) {
        *dx += *dy * slope(*v);
    }
}

const CUBIC: f64 = 0.044_715;

fn gelu_scale<T: Real>() -> T {
    T::of(std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2)
}

fn gelu_inner<T: Real>(x: T) -> T {
    gelu_scale::<T>() * (x + T::of(CUBIC) * x * x * x)
}

/// The normal distribution function.
fn phi<T: Real>(x: T) -> T {
    T::of(0.5) * (T::one() + (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).erf())
}

/// `1 / (1 + exp(−x))`; far out on the left the exponential is infinite and the result 0.
pub(super) fn sigmoid<T: Real>(x: T) -> T {
    (T::one() + (-x).exp()).recip()
}

/// `log(1 + exp x)` without overflow.
fn softplus<T: Real>(x: T) -> T {
    let above = if x > T::zero() { x } else { T::zero() };
    above + (-x.abs()).exp().ln_1p()
}

fn clip<T: Real>(x: T, low: T, high: T) -> T {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

fn sign<T: Real>(x: T) -> T {
    if x == T::zero() { T::zero() } else { x.signum() }
}

/// Halves go to the even neighbour, as ONNX asks.
fn round_half_even<T: Real>(x: T) -> T {
    let (half, two) = (T::of(0.5), T::of(2.0));
    if x.fract().abs() == half { (x * half).round() * two } else { x.round() }
}
