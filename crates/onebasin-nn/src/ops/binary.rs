//! Functions of two numbers, shapes broadcast.
//!
//! Arrays are walked in runs in which each operand either advances or stands still, so equal shapes are one loop, a bias
//! over the last axis one loop a row, and a bias over channels one loop an image plane. Of two equal numbers, `Min` and
//! `Max` give the gradient to the first.

use onebasin_core::graph::op::Binary;

use super::walk::{Walk, sum};
use super::{Call, Kernel, Layout, Real};

impl<T: Real> Kernel<T> for Binary {
    /// Any, if both operands have the same rank; operands of different rank are matched from their last axes.
    fn layout(&self) -> Option<Layout> {
        None
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], _scratch: &mut Vec<T>) {
        let (zero, y) = (T::zero(), &mut *outputs[0]);
        let truth = |holds: bool| if holds { T::one() } else { zero };
        match self {
            Self::Add => map(call, y, |a, b| a + b),
            Self::Sub => map(call, y, |a, b| a - b),
            Self::Mul => map(call, y, |a, b| a * b),
            Self::Div => map(call, y, |a, b| a / b),
            Self::Pow => map(call, y, power),
            Self::Min => map(call, y, |a, b| if second_extreme(b < a, b) { b } else { a }),
            Self::Max => map(call, y, |a, b| if second_extreme(b > a, b) { b } else { a }),
            Self::PRelu => map(call, y, |a, b| if a > zero { a } else { a * b }),
            Self::Equal => map(call, y, |a, b| truth(a == b)),
            Self::Less => map(call, y, |a, b| truth(a < b)),
            Self::LessOrEqual => map(call, y, |a, b| truth(a <= b)),
            Self::Greater => map(call, y, |a, b| truth(a > b)),
            Self::GreaterOrEqual => map(call, y, |a, b| truth(a >= b)),
            Self::And => map(call, y, |a, b| truth(a != zero && b != zero)),
            Self::Or => map(call, y, |a, b| truth(a != zero || b != zero)),
        }
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        _scratch: &mut Vec<T>,
    ) {
        let (zero, one, dy) = (T::zero(), T::one(), d_outputs[0]);
        let [da, db] = d_inputs else { unreachable!("two operands") };
        let choose = |holds: bool| if holds { one } else { zero };
        if let Some(da) = da {
            match self {
                Self::Add | Self::Sub => add::<T, 0>(call, dy, da, |_, _| one),
                Self::Mul => add::<T, 0>(call, dy, da, |_, b| b),
                Self::Div => add::<T, 0>(call, dy, da, |_, b| b.recip()),
                Self::Pow => add::<T, 0>(call, dy, da, |a, b| if b == zero { zero } else { b * power(a, b - one) }),
                Self::Min => add::<T, 0>(call, dy, da, |a, b| choose(!second_extreme(b < a, b))),
                Self::Max => add::<T, 0>(call, dy, da, |a, b| choose(!second_extreme(b > a, b))),
                Self::PRelu => add::<T, 0>(call, dy, da, |a, b| if a > zero { one } else { b }),
                Self::Equal
                | Self::Less
                | Self::LessOrEqual
                | Self::Greater
                | Self::GreaterOrEqual
                | Self::And
                | Self::Or => {}
            }
        }
        if let Some(db) = db {
            match self {
                Self::Add => add::<T, 1>(call, dy, db, |_, _| one),
                Self::Sub => add::<T, 1>(call, dy, db, |_, _| -one),
                Self::Mul => add::<T, 1>(call, dy, db, |a, _| a),
                Self::Div => add::<T, 1>(call, dy, db, |a, b| -a / (b * b)),
                Self::Pow => add::<T, 1>(call, dy, db, |a, b| if a == zero { zero } else { a.powf(b) * a.ln() }),
                Self::Min => add::<T, 1>(call, dy, db, |a, b| choose(second_extreme(b < a, b))),
                Self::Max => add::<T, 1>(call, dy, db, |a, b| choose(second_extreme(b > a, b))),
                Self::PRelu => add::<T, 1>(call, dy, db, |a, _| if a > zero { zero } else { a }),
                Self::Equal
                | Self::Less
                | Self::LessOrEqual
                | Self::Greater
                | Self::GreaterOrEqual
                | Self::And
                | Self::Or => {}
            }
        }
    }
}

/// Whether the second number is taken: it is beyond the first, or NaN.
fn second_extreme<T: Real>(beyond: bool, b: T) -> bool {
    beyond || b.is_nan()
}

/// `a^b`, quickly for the squares that normalisations are written with.
fn power<T: Real>(a: T, b: T) -> T {
    if b == T::of(2.0) { a * a } else { a.powf(b) }
}

fn map<T: Real>(call: &Call<'_, T>, y: &mut [T], f: impl Fn(T, T) -> T) {
    let (a, b) = (call.inputs[0], call.inputs[1]);
    let walk = Walk::broadcast(call.output_shapes[0], [call.input_shapes[0], call.input_shapes[1]]);
    let n = walk.run;
    walk.each(|at, [i, j]| {
        let y = &mut y[at..at + n];
        match walk.inner {
            [0, _] => y.iter_mut().zip(&b[j..j + n]).for_each(|(y, b)| *y = f(a[i], *b)),
            [_, 0] => y.iter_mut().zip(&a[i..i + n]).for_each(|(y, a)| *y = f(*a, b[j])),
            _ => y.iter_mut().zip(&a[i..i + n]).zip(&b[j..j + n]).for_each(|((y, a), b)| *y = f(*a, *b)),
        }
    });
}

/// `d += dy · slope(a, b)` for operand `SIDE`, summed over the axes along which it was repeated.
fn add<T: Real, const SIDE: usize>(call: &Call<'_, T>, dy: &[T], d: &mut [T], slope: impl Fn(T, T) -> T) {
    let (a, b) = (call.inputs[0], call.inputs[1]);
    let walk = Walk::broadcast(call.output_shapes[0], [call.input_shapes[0], call.input_shapes[1]]);
    let n = walk.run;
    walk.each(|at, offsets| {
        let ([i, j], dy) = (offsets, &dy[at..at + n]);
        let here = offsets[SIDE];
        match (walk.inner, SIDE) {
            ([0, _], 0) => d[here] += sum(dy, &b[j..j + n], |dy, b| dy * slope(a[i], b)),
            ([_, 0], 1) => d[here] += sum(dy, &a[i..i + n], |dy, a| dy * slope(a, b[j])),
            ([0, _], _) => each(&mut d[here..here + n], dy, &b[j..j + n], |b| slope(a[i], b)),
            ([_, 0], _) => each(&mut d[here..here + n], dy, &a[i..i + n], |a| slope(a, b[j])),
            _ => {
                let (d, a, b) = (&mut d[here..here + n], &a[i..i + n], &b[j..j + n]);
                for (((d, dy), a), b) in d.iter_mut().zip(dy).zip(a).zip(b) {
                    *d += *dy * slope(*a, *b);
                }
            }
        }
    });
}

fn each<T: Real>(d: &mut [T], dy: &[T], v: &[T], slope: impl Fn(T) -> T) {
    for ((d, dy), v) in d.iter_mut().zip(dy).zip(v) {
        *d += *dy * slope(*v);
    }
}
