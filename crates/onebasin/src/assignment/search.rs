//! Shortest augmenting paths over lists.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::bids::Solver;
use super::{FREE, POOL};

/// Columns looked at together when a row is read.
const LANES: usize = 64;

/// Scratch of a search, reused by all.
pub(super) struct Search {
    /// Distance of every column; −∞ once it is reached for good.
    distance: Vec<f64>,
    /// The row each column is reached from.
    from: Vec<u32>,
    touched: Vec<u32>,
    reached: Vec<(u32, f64)>,
    /// Distance at which a row is reached, less the cost of the column it holds.
    base: Vec<f64>,
    heap: BinaryHeap<Event>,
    /// Distance of the pool and the row it is reached from, and whether it is reached for good.
    pool: (f64, u32, bool),
    /// The nearest free column so far, and its distance.
    end: Option<u32>,
    limit: f64,
}

/// What happens at a distance.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Event {
    distance: f64,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// The pool of constant columns is reached.
    Pool,
    /// This column is reached.
    Column(u32),
    /// Columns outside the list of this row may be reached.
    Bound(u32),
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    /// The nearest is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        other.distance.total_cmp(&self.distance).then(other.what.cmp(&self.what))
    }
}

impl Search {
    pub(super) fn new(n: usize) -> Self {
        Self {
            distance: vec![f64::INFINITY; n],
            from: vec![FREE; n],
            touched: Vec::new(),
            reached: Vec::new(),
            base: vec![0.0; n],
            heap: BinaryHeap::new(),
            pool: (f64::INFINITY, FREE, false),
            end: None,
            limit: f64::INFINITY,
        }
    }

    /// Finds the cheapest chain of reassignments that gives row `start` a column, and makes it.
    pub(super) fn augment(&mut self, solver: &mut Solver<'_>, start: usize) {
        self.heap.clear();
        (self.end, self.limit, self.pool) = (None, f64::INFINITY, (f64::INFINITY, FREE, false));
        let least = solver.lists.of(start).map(|(j, s)| solver.price[j] - s).fold(solver.pool.cost, f64::min);
        self.base[start] = -least;
        self.scan(solver, start);
        while let Some(Event { distance, what }) = self.heap.pop() {
            if distance >= self.limit {
                break;
            }
            match what {
                What::Bound(i) => self.read(solver, i as usize),
                What::Pool => {
                    if self.pool.2 || distance != self.pool.0 {
                        continue;
                    }
                    self.pool.2 = true;
                    for i in 0..solver.of_row.len() {
                        if solver.of_row[i] == POOL {
                            self.base[i] = distance - solver.pool.cost;
                            self.scan(solver, i);
                        }
                    }
                }
                What::Column(j) => {
                    let j = j as usize;
                    if distance != self.distance[j] {
                        continue;
                    }
                    self.distance[j] = f64::NEG_INFINITY;
                    self.reached.push((j as u32, distance));
                    let i = solver.of_col[j] as usize;
                    self.base[i] = distance - solver.held(i);
                    self.scan(solver, i);
                }
            }
        }
        let end = self.end.expect("a column is free while a row is");
        for (j, distance) in self.reached.drain(..) {
            solver.price[j as usize] += self.limit - distance;
        }
        if self.pool.2 {
            solver.pool.cost += self.limit - self.pool.0;
        }
        let mut j = end;
        loop {
            let i = if j == POOL { self.pool.1 } else { self.from[j as usize] } as usize;
            let next = solver.of_row[i];
            solver.of_row[i] = j;
            if j == POOL {
                solver.pool.taken += 1;
            } else {
                (solver.of_col[j as usize], solver.worth[i]) = (i as u32, solver.s.at(i, j as usize));
            }
            if next == POOL {
                solver.pool.taken -= 1;
            }
            if i == start {
                break;
            }
            j = next;
        }
        for j in self.touched.drain(..) {
            self.distance[j as usize] = f64::INFINITY;
        }
    }

    /// Looks at the columns that a row leads to, as far as its list goes.
    fn scan(&mut self, solver: &Solver<'_>, i: usize) {
        let base = self.base[i];
        for (j, s) in solver.lists.of(i) {
            self.offer(solver, i, j, solver.price[j] - s + base);
        }
        let distance = solver.pool.cost + base;
        if distance < self.limit && distance < self.pool.0 && !self.pool.2 {
            (self.pool.0, self.pool.1) = (distance, i as u32);
            if solver.pool.has_room() {
                (self.end, self.limit) = (Some(POOL), distance);
            } else {
                self.heap.push(Event { distance, what: What::Pool });
            }
        }
        let distance = solver.lists.bound(i) + base;
        if distance < self.limit {
            self.heap.push(Event { distance, what: What::Bound(i as u32) });
        }
    }

    /// Reads a whole row, since its list is used up.
    #[allow(clippy::needless_bitwise_bool, reason = "without a branch the loop runs in lanes")]
    fn read(&mut self, solver: &mut Solver<'_>, i: usize) {
        let base = self.base[i];
        let (row, price) = (solver.s.row(i), &solver.price);
        for (chunk, (s, p)) in row.chunks(LANES).zip(price.chunks(LANES)).enumerate() {
            let at = chunk * LANES;
            let limit = self.limit;
            let known = &self.distance[at..at + s.len()];
            let near = |s: &f64, p: &f64, d: &f64| (p - s + base < limit) & (p - s + base < *d);
            if !s.iter().zip(p).zip(known).fold(false, |any, ((s, p), d)| any | near(s, p, d)) {
                continue;
            }
            for (k, (s, p)) in s.iter().zip(p).enumerate() {
                self.offer(solver, i, at + k, p - s + base);
            }
        }
        solver.lists.read(i, solver.s.row(i), &solver.price);
    }

    fn offer(&mut self, solver: &Solver<'_>, i: usize, j: usize, distance: f64) {
        if distance >= self.limit || distance >= self.distance[j] {
            return;
        }
        if self.distance[j] == f64::INFINITY {
            self.touched.push(j as u32);
        }
        (self.distance[j], self.from[j]) = (distance, i as u32);
        if solver.of_col[j] == FREE {
            (self.end, self.limit) = (Some(j as u32), distance);
        } else {
            self.heap.push(Event { distance, what: What::Column(j as u32) });
        }
    }
}
