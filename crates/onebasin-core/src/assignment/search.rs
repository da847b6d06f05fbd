//! Shortest augmenting paths over lists.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use pulp::{Arch, Simd, WithSimd};

use super::bids::Auction;
use super::lists::any;
use super::{FREE, POOL};

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
    heap: BinaryHeap<Reach>,
    /// Columns found by the reading of a row.
    near: Vec<(u32, f64)>,
    /// Distance of the pool and the row it is reached from, and whether it is reached for good.
    pool: (f64, u32, bool),
    /// The nearest free column so far, and its distance.
    end: Option<u32>,
    limit: f64,
}

/// What happens at a distance.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reach {
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

impl Eq for Reach {}

impl PartialOrd for Reach {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Reach {
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
            heap: BinaryHeap::with_capacity(3 * n),
            near: Vec::new(),
            pool: (f64::INFINITY, FREE, false),
            end: None,
            limit: f64::INFINITY,
        }
    }

    /// Finds the cheapest chain of reassignments that gives row `start` a column, and makes it.
    pub(super) fn augment(&mut self, solver: &mut Auction<'_>, start: usize) {
        self.heap.clear();
        (self.end, self.limit, self.pool) = (None, f64::INFINITY, (f64::INFINITY, FREE, false));
        let least = solver.lists.of(start).map(|(j, s)| solver.price[j] - s).fold(solver.pool.cost, f64::min);
        self.base[start] = -least;
        self.scan(solver, start);
        while let Some(Reach { distance, what }) = self.heap.pop() {
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
    fn scan(&mut self, solver: &Auction<'_>, i: usize) {
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
                self.push(Reach { distance, what: What::Pool });
            }
        }
        let distance = solver.lists.bound(i) + base;
        if distance < self.limit {
            self.push(Reach { distance, what: What::Bound(i as u32) });
        }
    }

    /// Remembers an event. Those that a nearer one overtook are forgotten when there is no room: at most two for every column
    /// are left.
    fn push(&mut self, event: Reach) {
        if self.heap.len() == self.heap.capacity() {
            let (distance, pool) = (&self.distance, &self.pool);
            self.heap.retain(|event| match event.what {
                What::Bound(_) => true,
                What::Column(j) => event.distance == distance[j as usize],
                What::Pool => event.distance == pool.0 && !pool.2,
            });
        }
        self.heap.push(event);
    }

    /// Reads a whole row, since its list is used up.
    fn read(&mut self, solver: &mut Auction<'_>, i: usize) {
        let row = solver.s.row(i);
        let mut near = std::mem::take(&mut self.near);
        let (distance, base, limit) = (&self.distance, self.base[i], self.limit);
        Arch::new().dispatch(Near { row, price: &solver.price, distance, base, limit, found: &mut near });
        for (j, distance) in near.drain(..) {
            self.offer(solver, i, j as usize, distance);
        }
        self.near = near;
        solver.lists.read(i, row, &solver.price);
    }

    fn offer(&mut self, solver: &Auction<'_>, i: usize, j: usize, distance: f64) {
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
            self.push(Reach { distance, what: What::Column(j as u32) });
        }
    }
}

/// The loop over a row, compiled for the vectors of every kind of processor: the columns that are nearer over this row than
/// they were, and than a limit.
struct Near<'a> {
    row: &'a [f64],
    price: &'a [f64],
    distance: &'a [f64],
    base: f64,
    limit: f64,
    found: &'a mut Vec<(u32, f64)>,
}

impl WithSimd for Near<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { row, price, distance, base, limit, found } = self;
        let mut look = |from: usize, to: usize| {
            for j in from..to {
                let over = price[j] - row[j] + base;
                if over < limit && over < distance[j] {
                    found.push((j as u32, over));
                }
            }
        };
        let (bases, limits) = (simd.splat_f64s(base), simd.splat_f64s(limit));
        let [rows, prices, distances] = [row, price, distance].map(|v| S::as_simd_f64s(v).0);
        for (k, ((s, p), d)) in rows.iter().zip(prices).zip(distances).enumerate() {
            let over = simd.add_f64s(simd.sub_f64s(*p, *s), bases);
            let near = simd.and_m64s(simd.less_than_f64s(over, limits), simd.less_than_f64s(over, *d));
            if any(simd, near) {
                look(k * S::F64_LANES, (k + 1) * S::F64_LANES);
            }
        }
        look(rows.len() * S::F64_LANES, row.len());
    }
}
