//! What follows from tensors that are known: the arithmetic of shapes that exporters leave in a model.

use super::array::{Array, CAP, ElementKind, Elements, RANK};
use crate::onnx::model::{Attribute, Node};

/// A function of two whole numbers that fit.
type Whole = fn(i64, i64) -> Option<i64>;

/// The inputs of a node that are all known; those left out are none.
pub(super) struct Known<'a> {
    pub(super) node: &'a Node,
    pub(super) inputs: Vec<Option<&'a Array>>,
    pub(super) opset: i64,
}

/// The axis that a number counts from either end of `rank` axes.
pub(super) fn axis(number: i64, rank: usize) -> Option<usize> {
    let number = if number < 0 { number.checked_add(rank as i64)? } else { number };
    usize::try_from(number).ok().filter(|a| *a < rank)
}

/// Several axes, ascending and each once.
pub(super) fn axes(numbers: &[i64], rank: usize) -> Option<Vec<usize>> {
    if numbers.len() > RANK {
        return None;
    }
    let mut axes = numbers.iter().map(|&n| axis(n, rank)).collect::<Option<Vec<_>>>()?;
    axes.sort_unstable();
    axes.windows(2).all(|w| w[0] != w[1]).then_some(axes)
}

/// First position, number of positions and step of a slice of an axis of length `len`, as ONNX counts.
pub(super) fn slice(len: usize, start: i64, end: i64, step: i64) -> Option<(usize, usize, isize)> {
    let n = i64::try_from(len).ok()?;
    let from_end = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let (start, end) = (from_end(start).clamp(low.max(0), high.max(0)), from_end(end).clamp(low, high.max(low)));
    let span = match step {
        0 => return None,
        1.. => end - start,
        _ => start - end,
    };
    let count = if span <= 0 || n == 0 { 0 } else { (span - 1) / step.checked_abs()? + 1 };
    Some((usize::try_from(start).ok()?, usize::try_from(count).ok()?, isize::try_from(step).ok()?))
}

/// The output of a node whose inputs are known; none if it is not one of those that are followed.
pub(super) fn fold(known: &Known<'_>) -> Option<Array> {
    if !known.node.domain.is_empty() {
        return None;
    }
    let known_by = [Known::constant, Known::elementwise, Known::moved, Known::made, Known::picked];
    known_by.iter().find_map(|by| by(known))
}

impl Known<'_> {
    pub(super) fn input(&self, k: usize) -> Option<&Array> {
        self.inputs.get(k).copied().flatten()
    }

    pub(super) fn int(&self, name: &str, usual: i64) -> Option<i64> {
        match self.node.attribute(name) {
            None => Some(usual),
            Some(Attribute::Int(value)) => Some(*value),
            Some(_) => None,
        }
    }

    /// Whole numbers that are an attribute in some versions and an input in others.
    fn ints(&self, name: &str, k: usize) -> Option<Vec<i64>> {
        match (self.node.attribute(name), self.input(k)) {
            (Some(Attribute::Ints(values)), _) => Some(values.clone()),
            (_, input) => input?.whole(),
        }
    }

    fn constant(&self) -> Option<Array> {
        let node = self.node;
        match node.op_type.as_str() {
            "Constant" => match node.attributes.iter().next()? {
                (_, Attribute::Tensor(tensor)) => Array::of(tensor),
                (_, Attribute::Int(value)) => Array::new(&[], Elements::Int(vec![*value])),
                (_, Attribute::Ints(values)) => Array::ints(values.clone()),
                (_, Attribute::Float(value)) => Array::new(&[], Elements::Float(vec![f64::from(*value)])),
                (_, Attribute::Floats(v)) => {
                    Array::new(&[v.len()], Elements::Float(v.iter().map(|x| f64::from(*x)).collect()))
                }
                _ => None,
            },
            "ConstantOfShape" => {
                let value = match node.attribute("value") {
                    None => Array::new(&[1], Elements::Float(vec![0.0])),
                    Some(Attribute::Tensor(tensor)) => Array::of(tensor),
                    Some(_) => None,
                };
                value?.reshaped(&[])?.expanded(&self.input(0)?.lengths()?)
            }
            "Range" => {
                let [start, limit, delta] = [self.input(0)?, self.input(1)?, self.input(2)?];
                if start.kind() == ElementKind::Int {
                    let ends = [start, limit, delta].map(|a| a.whole().and_then(|v| v.first().copied()));
                    let [Some(start), Some(limit), Some(delta)] = ends else { return None };
                    let span = if delta > 0 { limit.checked_sub(start)? } else { start.checked_sub(limit)? }.max(0);
                    let count = usize::try_from(span.checked_add(delta.checked_abs()? - 1)?.checked_div(delta.abs())?);
                    let count = count.ok().filter(|c| *c <= CAP)?;
                    return Array::ints((0..count as i64).map(|i| start + i * delta).collect());
                }
                let ends = [start, limit, delta].map(|a| a.floats().first().copied());
                let [Some(start), Some(limit), Some(delta)] = ends else { return None };
                let count = ((limit - start) / delta).ceil().max(0.0);
                let count = Some(count).filter(|c| *c <= CAP as f64)? as usize;
                Array::new(&[count], Elements::Float((0..count).map(|i| start + i as f64 * delta).collect()))
            }
            _ => None,
        }
    }

    fn elementwise(&self) -> Option<Array> {
        let (op, a) = (self.node.op_type.as_str(), self.input(0)?);
        let unary = match op {
            "Identity" => Some(a.clone()),
            "Cast" => Some(a.cast(ElementKind::of_code(self.int("to", 0)?)?)),
            "Neg" => a.map(i64::checked_neg, |x| -x),
            "Abs" => a.map(i64::checked_abs, f64::abs),
            "Floor" => a.map(Some, f64::floor),
            "Ceil" => a.map(Some, f64::ceil),
            "Round" => a.map(Some, f64::round_ties_even),
            "Sqrt" => a.map(|_| None, f64::sqrt),
            "Exp" => a.map(|_| None, f64::exp),
            "Log" => a.map(|_| None, f64::ln),
            "Reciprocal" => a.map(|_| None, f64::recip),
            "Sign" => a.map(|x| Some(x.signum()), |x| if x == 0.0 { 0.0 } else { x.signum() }),
            "IsNaN" => a.map(|_| Some(0), |x| f64::from(u8::from(x.is_nan()))).map(|a| a.cast(ElementKind::Bool)),
            "Clip" => self.clipped(a),
            "Not" => a.map(|x| Some(i64::from(x == 0)), f64::from).map(|a| a.cast(ElementKind::Bool)),
            _ => None,
        };
        if unary.is_some() {
            return unary;
        }
        let b = self.input(1)?;
        let many = |ints: fn(i64, i64) -> i64, floats: fn(f64, f64) -> f64| {
            let rest = &mut self.inputs[1..].iter().copied();
            rest.try_fold(a.clone(), |all, next| all.zip(next?, |x, y| Some(ints(x, y)), floats))
        };
        let test = |ints: fn(&i64, &i64) -> bool, floats: fn(&f64, &f64) -> bool| {
            let found = a.zip(b, |x, y| Some(i64::from(ints(&x, &y))), |x, y| f64::from(u8::from(floats(&x, &y))));
            Some(found?.cast(ElementKind::Bool))
        };
        match op {
            "Add" => a.zip(b, i64::checked_add, |x, y| x + y),
            "Sub" => a.zip(b, i64::checked_sub, |x, y| x - y),
            "Mul" => a.zip(b, i64::checked_mul, |x, y| x * y),
            "Div" => a.zip(b, i64::checked_div, |x, y| x / y),
            "Pow" => a.zip(b, |x, y| x.checked_pow(u32::try_from(y).ok()?), f64::powf),
            "Mod" if self.int("fmod", 0)? == 0 && a.kind() == ElementKind::Int => a.zip(b, floor_mod, |x, _| x),
            "Min" => many(i64::min, f64::min),
            "Max" => many(i64::max, f64::max),
            "Equal" => test(i64::eq, f64::eq),
            "Less" => test(i64::lt, f64::lt),
            "LessOrEqual" => test(i64::le, f64::le),
            "Greater" => test(i64::gt, f64::gt),
            "GreaterOrEqual" => test(i64::ge, f64::ge),
            "And" => Some(a.zip(b, |x, y| Some(x & y), f64::min)?.cast(ElementKind::Bool)),
            "Or" => Some(a.zip(b, |x, y| Some(x | y), f64::max)?.cast(ElementKind::Bool)),
            "Xor" => Some(a.zip(b, |x, y| Some(x ^ y), |x, y| (x - y).abs())?.cast(ElementKind::Bool)),
            "Where" => {
                let (x, y) = (b, self.input(2)?);
                let shape = onebasin_core::graph::shape::broadcast(&x.shape, &y.shape).ok()?;
                let shape = onebasin_core::graph::shape::broadcast(&a.shape, &shape).ok()?;
                // Joined along an axis of their own, so that the condition chooses a position.
                let layers = [y.expanded(&shape)?, x.expanded(&shape)?];
                let stacked = [&[1][..], &shape].concat();
                let layers = [layers[0].reshaped(&stacked)?, layers[1].reshaped(&stacked)?];
                let (both, choice) = (Array::concat(&[&layers[0], &layers[1]], 0)?, a.expanded(&shape)?.whole()?);
                let at = |index: &[usize]| index.iter().zip(&shape).fold(0, |p, (i, n)| p * n + i);
                both.gathered(&shape, |index, to| {
                    to.push(usize::from(choice[at(index)] != 0));
                    to.extend_from_slice(index);
                })
            }
            _ => None,
        }
    }

    /// Numbers within limits, which are attributes in old versions.
    fn clipped(&self, a: &Array) -> Option<Array> {
        let limit = |name: &str, k: usize, usual: f64| match (self.node.attribute(name), self.input(k)) {
            (Some(Attribute::Float(value)), _) => Some(f64::from(*value)),
            (Some(_), _) => None,
            (None, Some(value)) => value.floats().first().copied(),
            (None, None) => Some(usual),
        };
        let (low, high) = (limit("min", 1, f64::NEG_INFINITY)?, limit("max", 2, f64::INFINITY)?);
        a.map(|x| Some((x as f64).max(low).min(high) as i64).filter(|_| x.abs() < 1 << 53), |x| x.max(low).min(high))
    }

    /// The same numbers elsewhere.
    fn moved(&self) -> Option<Array> {
        let (op, a) = (self.node.op_type.as_str(), self.input(0)?);
        let rank = a.shape.len();
        match op {
            "Concat" => {
                let arrays = self.inputs.iter().copied().collect::<Option<Vec<_>>>()?;
                Array::concat(&arrays, axis(self.int("axis", 0)?, rank)?)
            }
            "Unsqueeze" => a.reshaped(&unsqueezed(&a.shape, &self.ints("axes", 1)?)?),
            "Squeeze" => a.reshaped(&squeezed(&a.shape, self.ints("axes", 1).as_deref())?),
            "Reshape" => {
                a.reshaped(&reshape_target(&a.shape, &self.input(1)?.whole()?, self.int("allowzero", 0)? != 0)?)
            }
            "Flatten" => {
                let split = self.int("axis", 1)?;
                let split = if split == rank as i64 { rank } else { axis(split, rank)? };
                a.reshaped(&[a.shape[..split].iter().product(), a.shape[split..].iter().product()])
            }
            "Transpose" => {
                let order = match self.node.attribute("perm") {
                    None => (0..rank).rev().collect(),
                    Some(Attribute::Ints(order)) => order.iter().map(|&o| axis(o, rank)).collect::<Option<Vec<_>>>()?,
                    Some(_) => return None,
                };
                axes(&order.iter().map(|&o| o as i64).collect::<Vec<_>>(), rank).filter(|o| o.len() == rank)?;
                let shape: Vec<usize> = order.iter().map(|&o| a.shape[o]).collect();
                a.gathered(&shape, |index, at| {
                    at.resize(index.len(), 0);
                    order.iter().zip(index).for_each(|(&o, &i)| at[o] = i);
                })
            }
            "Expand" => a.expanded(&self.input(1)?.lengths()?),
            "Tile" => {
                let repeats = self.input(1)?.lengths().filter(|r| r.len() == rank)?;
                let shape = a.shape.iter().zip(repeats).map(|(n, r)| n.checked_mul(r)).collect::<Option<Vec<_>>>()?;
                a.gathered(&shape, |index, at| at.extend(index.iter().zip(&a.shape).map(|(i, n)| i % n)))
            }
            "Gather" => {
                let (axis, indices) = (axis(self.int("axis", 0)?, rank)?, self.input(1)?);
                let len = a.shape[axis];
                let chosen = indices.whole()?.into_iter().map(|i| self::axis(i, len)).collect::<Option<Vec<_>>>()?;
                let (shape, inner) = (indices.shape.clone(), indices.shape.len());
                let result = [&a.shape[..axis], &shape, &a.shape[axis + 1..]].concat();
                a.gathered(&result, |index, at| {
                    let place = index[axis..axis + inner].iter().zip(&shape).fold(0, |p, (i, n)| p * n + i);
                    at.extend_from_slice(&index[..axis]);
                    at.push(chosen[place]);
                    at.extend_from_slice(&index[axis + inner..]);
                })
            }
            "Slice" => {
                let [starts, ends] = [self.ints("starts", 1)?, self.ints("ends", 2)?];
                let axes = self.ints("axes", 3).unwrap_or_else(|| (0..starts.len() as i64).collect());
                let steps = self.ints("steps", 4).unwrap_or_else(|| vec![1; starts.len()]);
                if [ends.len(), axes.len(), steps.len()].iter().any(|n| *n != starts.len()) {
                    return None;
                }
                let mut found = a.clone();
                for k in 0..starts.len() {
                    let axis = axis(axes[k], rank)?;
                    let (start, len, step) = slice(found.shape[axis], starts[k], ends[k], steps[k])?;
                    let mut shape = found.shape.clone();
                    shape[axis] = len;
                    found = found.gathered(&shape, |index, at| {
                        at.extend_from_slice(index);
                        at[axis] = start.wrapping_add_signed(index[axis] as isize * step);
                    })?;
                }
                Some(found)
            }
            _ => None,
        }
    }

    /// Numbers made of several.
    fn made(&self) -> Option<Array> {
        let (op, a) = (self.node.op_type.as_str(), self.input(0)?);
        let rank = a.shape.len();
        let (ints, floats): (Whole, fn(f64, f64) -> f64) = match op {
            "ReduceSum" => (i64::checked_add, |x, y| x + y),
            "ReduceProd" => (i64::checked_mul, |x, y| x * y),
            "ReduceMin" => (|x, y| Some(x.min(y)), f64::min),
            "ReduceMax" => (|x, y| Some(x.max(y)), f64::max),
            "Trilu" => {
                let k = self.input(1).map_or(Some(0), |k| k.whole()?.first().copied())?;
                let upper = self.int("upper", 1)? != 0;
                let (Some([rows, columns]), true) = (a.shape.last_chunk::<2>(), self.opset >= 14) else { return None };
                let cell = |i: usize| ((i / columns % rows) as i64, (i % columns) as i64);
                let kept = |i: usize| {
                    let (r, c) = cell(i);
                    if upper { c - r >= k } else { c - r <= k }
                };
                let data = match &a.data {
                    Elements::Float(v) => {
                        Elements::Float(v.iter().enumerate().map(|(i, &x)| if kept(i) { x } else { 0.0 }).collect())
                    }
                    Elements::Int(v) => {
                        Elements::Int(v.iter().enumerate().map(|(i, &x)| if kept(i) { x } else { 0 }).collect())
                    }
                    Elements::Bool(v) => Elements::Bool(v.iter().enumerate().map(|(i, &x)| x && kept(i)).collect()),
                };
                return Array::new(&a.shape, data);
            }
            _ => return None,
        };
        let all = || (0..rank).collect();
        let axes = match self.ints("axes", 1) {
            Some(numbers) if numbers.is_empty() => all(),
            Some(numbers) => axes(&numbers, rank)?,
            None => all(),
        };
        if self.int("noop_with_empty_axes", 0)? != 0 || a.data.len() == 0 {
            return None;
        }
        let keep = self.int("keepdims", 1)? != 0;
        let kept = |axis: usize| if axes.contains(&axis) { 1 } else { a.shape[axis] };
        let within: Vec<usize> = (0..rank).map(kept).collect();
        let shape = (0..rank).filter(|axis| keep || !axes.contains(axis)).map(kept).collect::<Vec<_>>();
        // To which result every element goes.
        let count: usize = within.iter().product();
        let places = Array::new(&within, Elements::Int((0..count as i64).collect()))?.expanded(&a.shape)?.whole()?;
        let data = match &a.data {
            Elements::Float(v) => {
                let mut made: Vec<Option<f64>> = vec![None; count];
                for (&x, place) in v.iter().zip(places) {
                    let all = &mut made[place as usize];
                    *all = Some(all.map_or(x, |all| floats(all, x)));
                }
                Elements::Float(made.into_iter().collect::<Option<_>>()?)
            }
            Elements::Int(_) | Elements::Bool(_) => {
                let mut made: Vec<Option<i64>> = vec![None; count];
                for (x, place) in a.whole()?.into_iter().zip(places) {
                    let all = &mut made[place as usize];
                    *all = Some(match *all {
                        None => x,
                        Some(all) => ints(all, x)?,
                    });
                }
                Elements::Int(made.into_iter().collect::<Option<_>>()?)
            }
        };
        Array::new(&shape, data)
    }
}

fn floor_mod(x: i64, y: i64) -> Option<i64> {
    let r = x.checked_rem(y)?;
    Some(if r != 0 && (r < 0) != (y < 0) { r + y } else { r })
}

pub(super) fn unsqueezed(shape: &[usize], numbers: &[i64]) -> Option<Vec<usize>> {
    let rank = shape.len().checked_add(numbers.len())?;
    let added = axes(numbers, rank)?;
    let mut rest = shape.iter();
    (0..rank).map(|a| if added.contains(&a) { Some(1) } else { rest.next().copied() }).collect()
}

/// The shape without these axes of length 1, or without all of them.
pub(super) fn squeezed(shape: &[usize], numbers: Option<&[i64]>) -> Option<Vec<usize>> {
    let kept = kept(shape, numbers)?;
    Some(kept.into_iter().map(|a| shape[a]).collect())
}

/// The axes that squeezing leaves.
pub(super) fn kept(shape: &[usize], numbers: Option<&[i64]>) -> Option<Vec<usize>> {
    let gone = match numbers {
        Some(numbers) => axes(numbers, shape.len())?,
        None => (0..shape.len()).filter(|&a| shape[a] == 1).collect(),
    };
    gone.iter().all(|&a| shape[a] == 1).then(|| (0..shape.len()).filter(|a| !gone.contains(a)).collect())
}

/// The shape that a reshape's target stands for: −1 is the rest, 0 the input's own length.
pub(super) fn reshape_target(shape: &[usize], target: &[i64], zero_is_zero: bool) -> Option<Vec<usize>> {
    let known = |(axis, &t): (usize, &i64)| match t {
        -1 => Some(None),
        0 if !zero_is_zero => shape.get(axis).map(|&n| Some(n)),
        t => usize::try_from(t).ok().map(Some),
    };
    let dims = target.iter().enumerate().map(known).collect::<Option<Vec<_>>>()?;
    let count = shape.iter().try_fold(1_usize, |p, n| p.checked_mul(*n))?;
    let product = dims.iter().flatten().try_fold(1_usize, |p, n| p.checked_mul(*n))?;
    match dims.iter().filter(|d| d.is_none()).count() {
        0 if product == count => dims.into_iter().collect(),
        1 if product > 0 && count.is_multiple_of(product) => {
            Some(dims.into_iter().map(|d| d.unwrap_or(count / product)).collect())
        }
        _ => None,
    }
}
