//! Recurrent layers, and backward through time.
//!
//! Gates are held one after the other, each `[T, N, H]`: one product per gate covers all times of the input, and every
//! elementwise step is a loop over `N · H` neighbours. The backward pass runs the layer again rather than keep its gates in
//! between; the products for the weights' gradients cover all times at once too.

use onebasin_core::graph::op::{Cell, Direction};
use onebasin_core::linalg::Mat;

use super::unary::sigmoid;
use super::{Call, Kernel, Real};

pub(super) struct Recurrent {
    pub(super) cell: Cell,
    pub(super) direction: Direction,
}

/// One direction of a layer: its sizes and its share of the parameters.
struct Layer<'a, T> {
    cell: Cell,
    reverse: bool,
    time: usize,
    batch: usize,
    features: usize,
    hidden: usize,
    x: &'a [T],
    w: &'a [T],
    r: &'a [T],
    bias: Option<&'a [T]>,
    h0: Option<&'a [T]>,
    c0: Option<&'a [T]>,
}

/// What a layer went through. States are `[T + 1, N, H]` with the initial state before the first or behind the last time.
struct Trace<'a, T> {
    /// `[G, T, N, H]`, after their activations.
    gates: &'a mut [T],
    h: &'a mut [T],
    /// LSTM: cell states. GRU: what the reset gate multiplies, or that product where it comes first.
    extra: &'a mut [T],
    /// Two blocks of `[N, H]`.
    spare: &'a mut [T],
}

impl<'a, T: Real> Layer<'a, T> {
    /// Direction `d` of a layer.
    fn new(recurrent: &Recurrent, call: &Call<'a, T>, d: usize) -> Self {
        let &[time, batch, features] = call.input_shapes[0] else { unreachable!("shapes are inferred before running") };
        let hidden = call.output_shapes[1][2];
        let share = |k: usize| {
            let len = call.input_shapes.get(k)?.iter().skip(1).product();
            call.inputs.get(k).map(|all| part(all, d, len))
        };
        let (w, r) = (share(1).unwrap_or_default(), share(2).unwrap_or_default());
        let reverse = recurrent.direction == Direction::Reverse || d == 1;
        let (bias, h0, c0) = (share(3), share(4), share(5));
        Self { cell: recurrent.cell, reverse, time, batch, features, hidden, x: call.inputs[0], w, r, bias, h0, c0 }
    }

    /// Numbers of a state.
    fn block(&self) -> usize {
        self.batch * self.hidden
    }

    /// Room for a run, all zeros.
    fn trace<'s>(&self, scratch: &'s mut Vec<T>) -> Trace<'s, T> {
        let (gates, states) = (self.cell.gates() * self.time * self.block(), (self.time + 1) * self.block());
        scratch.clear();
        scratch.resize(gates + 2 * states + 2 * self.block(), T::zero());
        let (gates, rest) = scratch.split_at_mut(gates);
        let (h, rest) = rest.split_at_mut(states);
        let (extra, spare) = rest.split_at_mut(states);
        Trace { gates, h, extra, spare }
    }

    /// The times in running order.
    fn times(&self) -> impl DoubleEndedIterator<Item = usize> + use<T> {
        let (reverse, time) = (self.reverse, self.time);
        (0..time).map(move |s| if reverse { time - 1 - s } else { s })
    }

    /// Indices of the states before and after a time.
    fn around(&self, t: usize) -> (usize, usize) {
        if self.reverse { (t + 1, t) } else { (t, t + 1) }
    }

    /// Indices of the initial and the final state.
    fn ends(&self) -> (usize, usize) {
        if self.reverse { (self.time, 0) } else { (0, self.time) }
    }

    /// Weight of a gate for the input `[H, I]`, and for the state `[H, H]`.
    fn weights(&self, gate: usize) -> (Mat<'a, T>, Mat<'a, T>) {
        let (hidden, features) = (self.hidden, self.features);
        let w = Mat::new(part(self.w, gate, hidden * features), hidden, features);
        (w, Mat::new(part(self.r, gate, hidden * hidden), hidden, hidden))
    }

    /// Biases of a gate for the input and for the state.
    fn biases(&self, gate: usize) -> Option<(&'a [T], &'a [T])> {
        let bias = self.bias?;
        Some((part(bias, gate, self.hidden), part(bias, self.cell.gates() + gate, self.hidden)))
    }

    /// Runs over all times: the products of the input at once, those of the state one time after the other.
    fn run(&self, trace: &mut Trace<'_, T>) {
        let (block, hidden, batch) = (self.block(), self.hidden, self.batch);
        if block == 0 {
            return;
        }
        let all = self.time * block;
        let input = Mat::new(self.x, self.time * batch, self.features);
        let reset_after = matches!(self.cell, Cell::Gru { reset_after: true });
        for gate in 0..self.cell.gates() {
            let out = part_mut(trace.gates, gate, all);
            T::matmul(out, input, self.weights(gate).0.t(), false);
            if let Some((wb, rb)) = self.biases(gate) {
                let within = reset_after && gate == 2;
                for row in out.chunks_exact_mut(hidden) {
                    for k in 0..hidden {
                        row[k] += if within { wb[k] } else { wb[k] + rb[k] };
                    }
                }
            }
        }
        let first = self.ends().0;
        if let Some(h0) = self.h0 {
            part_mut(trace.h, first, block).copy_from_slice(h0);
        }
        if let Some(c0) = self.c0 {
            part_mut(trace.extra, first, block).copy_from_slice(c0);
        }
        for t in self.times() {
            self.step(t, trace);
        }
    }

    /// Gates and states of one time, given the state before.
    fn step(&self, t: usize, trace: &mut Trace<'_, T>) {
        let (block, hidden, batch, time) = (self.block(), self.hidden, self.batch, self.time);
        let (before, after) = self.around(t);
        let [previous, next] = pair(trace.h, before, after, block);
        let state = Mat::new(previous, batch, hidden);
        let recur = |gates: &mut [T], gate: usize, state: Mat<'_, T>| {
            T::matmul(part_mut(gates, gate * time + t, block), state, self.weights(gate).1.t(), true);
        };
        let gates = &mut *trace.gates;
        match self.cell {
            Cell::Rnn => {
                recur(gates, 0, state);
                let a = part_mut(gates, t, block);
                for k in 0..block {
                    a[k] = a[k].tanh();
                    next[k] = a[k];
                }
            }
            Cell::Lstm => {
                (0..4).for_each(|gate| recur(gates, gate, state));
                let [i, o, f, g] = gates_at(gates, time, t, block);
                let [c_before, c] = pair(trace.extra, before, after, block);
                for k in 0..block {
                    (i[k], o[k], f[k], g[k]) = (sigmoid(i[k]), sigmoid(o[k]), sigmoid(f[k]), g[k].tanh());
                    c[k] = f[k] * c_before[k] + i[k] * g[k];
                    next[k] = o[k] * c[k].tanh();
                }
            }
            Cell::Gru { reset_after } => {
                recur(gates, 0, state);
                recur(gates, 1, state);
                let extra = part_mut(trace.extra, t, block);
                let [_, r, n] = gates_at(gates, time, t, block);
                for r in r.iter_mut() {
                    *r = sigmoid(*r);
                }
                if reset_after {
                    T::matmul(extra, state, self.weights(2).1.t(), false);
                    if let Some((_, rb)) = self.biases(2) {
                        for row in extra.chunks_exact_mut(hidden) {
                            row.iter_mut().zip(rb).for_each(|(q, b)| *q += *b);
                        }
                    }
                    (0..block).for_each(|k| n[k] += r[k] * extra[k]);
                } else {
                    (0..block).for_each(|k| extra[k] = r[k] * previous[k]);
                    recur(gates, 2, Mat::new(extra, batch, hidden));
                }
                let [z, _, n] = gates_at(gates, time, t, block);
                for k in 0..block {
                    (z[k], n[k]) = (sigmoid(z[k]), n[k].tanh());
                    next[k] = (T::one() - z[k]) * n[k] + z[k] * previous[k];
                }
            }
        }
    }

    /// Turns the gates of time `t` into the gradients of what goes into their activations, and the gradient of the state
    /// after it, in `trace.spare`, into that of the state before.
    fn step_back(&self, t: usize, trace: &mut Trace<'_, T>) {
        let (block, hidden, batch, time) = (self.block(), self.hidden, self.batch, self.time);
        let (before, after) = self.around(t);
        let (previous, next) = (part(trace.h, before, block), part(trace.h, after, block));
        let (dh, dc) = trace.spare.split_at_mut(block);
        let one = T::one();
        let recur = |dh: &mut [T], gate: usize, d: &[T], accumulate: bool| {
            T::matmul(dh, Mat::new(d, batch, hidden), self.weights(gate).1, accumulate);
        };
        match self.cell {
            Cell::Rnn => {
                let a = part_mut(trace.gates, t, block);
                (0..block).for_each(|k| a[k] = dh[k] * (one - next[k] * next[k]));
                recur(dh, 0, a, false);
            }
            Cell::Lstm => {
                let [i, o, f, g] = gates_at(trace.gates, time, t, block);
                let (c_before, c) = (part(trace.extra, before, block), part(trace.extra, after, block));
                for k in 0..block {
                    let tanh = c[k].tanh();
                    let d = dc[k] + dh[k] * o[k] * (one - tanh * tanh);
                    dc[k] = d * f[k];
                    o[k] = dh[k] * tanh * o[k] * (one - o[k]);
                    f[k] = d * c_before[k] * f[k] * (one - f[k]);
                    let (di, dg) = (d * g[k] * i[k] * (one - i[k]), d * i[k] * (one - g[k] * g[k]));
                    (i[k], g[k]) = (di, dg);
                }
                for (gate, d) in [i, o, f, g].into_iter().enumerate() {
                    recur(dh, gate, d, gate > 0);
                }
            }
            Cell::Gru { reset_after } => {
                let [z, r, n] = gates_at(trace.gates, time, t, block);
                let extra = part_mut(trace.extra, t, block);
                for k in 0..block {
                    let dn = dh[k] * (one - z[k]) * (one - n[k] * n[k]);
                    let dz = dh[k] * (previous[k] - n[k]) * z[k] * (one - z[k]);
                    dh[k] *= z[k];
                    (z[k], n[k]) = (dz, dn);
                }
                if reset_after {
                    for k in 0..block {
                        let dq = n[k] * r[k];
                        r[k] = n[k] * extra[k] * r[k] * (one - r[k]);
                        extra[k] = dq;
                    }
                    recur(dh, 2, extra, true);
                } else {
                    recur(dc, 2, n, false);
                    for k in 0..block {
                        dh[k] += dc[k] * r[k];
                        r[k] = dc[k] * previous[k] * r[k] * (one - r[k]);
                    }
                }
                recur(dh, 0, z, true);
                recur(dh, 1, r, true);
            }
        }
    }

    /// Adds the gradients of input and parameters, once all times are gone back through.
    fn collect(&self, trace: &Trace<'_, T>, d: usize, d_inputs: &mut [Option<&mut [T]>]) {
        let (block, hidden, features, count) = (self.block(), self.hidden, self.features, self.cell.gates());
        let (all, rows) = (self.time * block, self.time * self.batch);
        let states = &trace.h[if self.reverse { block } else { 0 }..][..all];
        let extra = &trace.extra[..all];
        for gate in 0..count {
            let dg = part(trace.gates, gate, all);
            let (d_state, state) = match self.cell {
                Cell::Gru { reset_after: true } if gate == 2 => (extra, states),
                Cell::Gru { reset_after: false } if gate == 2 => (dg, extra),
                Cell::Rnn | Cell::Lstm | Cell::Gru { .. } => (dg, states),
            };
            let at = d * count + gate;
            if let Some(dx) = &mut d_inputs[0] {
                T::matmul(dx, Mat::new(dg, rows, hidden), self.weights(gate).0, true);
            }
            if let Some(dw) = &mut d_inputs[1] {
                let dw = part_mut(dw, at, hidden * features);
                T::matmul(dw, Mat::new(dg, rows, hidden).t(), Mat::new(self.x, rows, features), true);
            }
            if let Some(dr) = &mut d_inputs[2] {
                let dr = part_mut(dr, at, hidden * hidden);
                T::matmul(dr, Mat::new(d_state, rows, hidden).t(), Mat::new(state, rows, hidden), true);
            }
            if let Some(Some(db)) = d_inputs.get_mut(3) {
                let at = 2 * d * count + gate;
                for (at, d) in [(at, dg), (at + count, d_state)] {
                    for row in d.chunks_exact(hidden) {
                        part_mut(db, at, hidden).iter_mut().zip(row).for_each(|(db, d)| *db += *d);
                    }
                }
            }
        }
    }
}

impl<T: Real> Kernel<T> for Recurrent {
    fn shares_scratch(&self) -> bool {
        true
    }

    fn forward(&self, call: &Call<'_, T>, outputs: &mut [&mut [T]], scratch: &mut Vec<T>) {
        let directions = self.direction.count();
        for d in 0..directions {
            let layer = Layer::new(self, call, d);
            let mut trace = layer.trace(scratch);
            layer.run(&mut trace);
            let (block, last) = (layer.block(), layer.ends().1);
            for t in 0..layer.time {
                let after = layer.around(t).1;
                part_mut(outputs[0], t * directions + d, block).copy_from_slice(part(trace.h, after, block));
            }
            part_mut(outputs[1], d, block).copy_from_slice(part(trace.h, last, block));
            if self.cell == Cell::Lstm {
                part_mut(outputs[2], d, block).copy_from_slice(part(trace.extra, last, block));
            }
        }
    }

    fn backward(
        &self,
        call: &Call<'_, T>,
        _outputs: &[&[T]],
        d_outputs: &[&[T]],
        d_inputs: &mut [Option<&mut [T]>],
        scratch: &mut Vec<T>,
    ) {
        let directions = self.direction.count();
        for d in 0..directions {
            let layer = Layer::new(self, call, d);
            let block = layer.block();
            if block == 0 {
                return;
            }
            let mut trace = layer.trace(scratch);
            layer.run(&mut trace);
            let (dh, dc) = trace.spare.split_at_mut(block);
            dh.copy_from_slice(part(d_outputs[1], d, block));
            if self.cell == Cell::Lstm {
                dc.copy_from_slice(part(d_outputs[2], d, block));
            }
            for t in layer.times().rev() {
                let dy = part(d_outputs[0], t * directions + d, block);
                trace.spare.iter_mut().zip(dy).for_each(|(dh, dy)| *dh += *dy);
                layer.step_back(t, &mut trace);
            }
            layer.collect(&trace, d, d_inputs);
            for (k, gradient) in trace.spare.chunks_exact(block).enumerate() {
                if let Some(Some(initial)) = d_inputs.get_mut(4 + k) {
                    part_mut(initial, d, block).iter_mut().zip(gradient).for_each(|(i, g)| *i += *g);
                }
            }
        }
    }
}

fn part<T>(data: &[T], index: usize, len: usize) -> &[T] {
    &data[index * len..][..len]
}

fn part_mut<T>(data: &mut [T], index: usize, len: usize) -> &mut [T] {
    &mut data[index * len..][..len]
}

/// Two different blocks of states, neighbours in time.
fn pair<T>(data: &mut [T], before: usize, after: usize, block: usize) -> [&mut [T]; 2] {
    let (low, high) = data.split_at_mut(before.max(after) * block);
    let (low, high) = (part_mut(low, before.min(after), block), &mut high[..block]);
    if before < after { [low, high] } else { [high, low] }
}

/// The blocks of every gate at one time.
fn gates_at<T, const G: usize>(gates: &mut [T], time: usize, t: usize, block: usize) -> [&mut [T]; G] {
    let mut all = gates.chunks_exact_mut(time * block);
    std::array::from_fn(|_| part_mut(all.next().expect("one chunk a gate"), t, block))
}
