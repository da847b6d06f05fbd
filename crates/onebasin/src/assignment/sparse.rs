//! Assignment over lists of every row's best columns: where prices start, and bids that raise them.

use super::lists::Lists;
use super::search::Search;
use super::similarity::Similarity;
use super::{FREE, Solved};

/// Bids of one round of row reduction, per row.
const BIDS: usize = 6;

/// Bids of one ε of an auction at most, per row: a guard, since an auction ends by itself.
const AUCTION_BIDS: usize = 256;

/// An auction is held if the first prices leave more than this share of the rows free.
const CROWDED: f64 = 0.6;

/// Solves from the column maxima.
pub(super) fn solve(similarity: &Similarity) -> Solved {
    let n = similarity.n();
    let (prices, of_col) = column_maxima(similarity);
    let mut solver = Solver::new(similarity, prices);
    for j in (0..n).rev() {
        let i = of_col[j] as usize;
        if solver.of_row[i] == FREE || i == j {
            solver.release(i);
            solver.give(i, j);
        }
    }
    let free = solver.free();
    if !free.is_empty() {
        solver.read_all();
        let crowded = free.len() as f64 > CROWDED * n as f64;
        solver.finish(free, crowded);
    }
    solver.solved()
}

/// Solves from any prices.
pub(super) fn solve_from(similarity: &Similarity, prices: Vec<f64>) -> Solved {
    let mut solver = Solver::new(similarity, prices);
    solver.read_all();
    for i in 0..similarity.n() {
        solver.place(i);
    }
    let free = solver.free();
    solver.finish(free, false);
    solver.solved()
}

/// The largest entry of every column and its row: the diagonal's if that ties, else the first.
fn column_maxima(similarity: &Similarity) -> (Vec<f64>, Vec<u32>) {
    let n = similarity.n();
    let (mut most, mut of_col) = (similarity.row(0).to_vec(), vec![0_u32; n]);
    for i in 1..n {
        for ((most, at), s) in most.iter_mut().zip(&mut of_col).zip(similarity.row(i)) {
            let more = s > most;
            *most = if more { *s } else { *most };
            *at = if more { i as u32 } else { *at };
        }
    }
    for j in 0..n {
        if similarity.at(j, j) == most[j] {
            of_col[j] = j as u32;
        }
    }
    (most, of_col)
}

/// A partial assignment in which every row that has a column could have no better one at the prices.
pub(super) struct Solver<'a> {
    pub(super) s: &'a Similarity,
    pub(super) price: Vec<f64>,
    pub(super) of_row: Vec<u32>,
    pub(super) of_col: Vec<u32>,
    /// The similarity of a row with its column.
    pub(super) worth: Vec<f64>,
    pub(super) lists: Lists,
    /// The one value of a row that has no other.
    pub(super) constant: Vec<Option<f64>>,
}

/// The two cheapest columns of a row.
struct Cheapest {
    cost: f64,
    column: usize,
    /// The cost of every other column, or less.
    next: f64,
}

impl<'a> Solver<'a> {
    fn new(s: &'a Similarity, price: Vec<f64>) -> Self {
        let n = s.n();
        Self {
            s,
            price,
            of_row: vec![FREE; n],
            of_col: vec![FREE; n],
            worth: vec![0.0; n],
            lists: Lists::new(n),
            constant: vec![None; n],
        }
    }

    fn solved(self) -> Solved {
        Solved { of_row: self.of_row, prices: self.price }
    }

    fn free(&self) -> Vec<u32> {
        (0..self.s.n() as u32).rev().filter(|&i| self.of_row[i as usize] == FREE).collect()
    }

    /// Gives a row a column, which its holder loses.
    pub(super) fn give(&mut self, i: usize, j: usize) {
        let holder = std::mem::replace(&mut self.of_col[j], i as u32);
        if holder != FREE {
            self.of_row[holder as usize] = FREE;
        }
        (self.of_row[i], self.worth[i]) = (j as u32, self.s.at(i, j));
    }

    fn release(&mut self, i: usize) {
        let j = std::mem::replace(&mut self.of_row[i], FREE);
        if j != FREE {
            self.of_col[j as usize] = FREE;
        }
    }

    fn read_all(&mut self) {
        for i in 0..self.s.n() {
            let row = self.s.row(i);
            if row.iter().all(|s| *s == row[0]) {
                self.constant[i] = Some(row[0]);
            } else {
                self.lists.read(i, row, &self.price);
            }
        }
    }

    /// Gives a row its best column if that is free: among ties its own, then the first.
    fn place(&mut self, i: usize) {
        let best = self.lists.of(i).map(|(j, s)| self.price[j] - s).fold(f64::INFINITY, f64::min);
        let tight = |j: usize, s: f64| self.price[j] - s == best && self.of_col[j] == FREE;
        let own = tight(i, self.s.at(i, i)).then_some(i);
        if let Some(j) = own.or_else(|| self.lists.of(i).find(|&(j, s)| tight(j, s)).map(|(j, _)| j)) {
            self.give(i, j);
        }
    }

    /// Places every row that is free.
    fn finish(&mut self, mut free: Vec<u32>, crowded: bool) {
        if crowded {
            free = self.auction(free);
        }
        for _ in 0..2 {
            free = self.bid(free, 0.0, BIDS * self.s.n());
            free.reverse();
        }
        let mut search = Search::new(self.s.n());
        for i in free {
            search.augment(self, i as usize);
        }
    }

    /// The cheapest columns of a row by its list, which is read again if it does not tell.
    fn cheapest(&mut self, i: usize) -> Cheapest {
        loop {
            let mut found = Cheapest { cost: f64::INFINITY, column: 0, next: f64::INFINITY };
            for (j, s) in self.lists.of(i) {
                let cost = self.price[j] - s;
                if cost < found.cost {
                    found = Cheapest { cost, column: j, next: found.cost };
                } else if cost < found.next {
                    found.next = cost;
                }
            }
            let bound = self.lists.bound(i);
            if found.cost <= bound {
                found.next = found.next.min(bound);
                return found;
            }
            self.lists.read(i, self.s.row(i), &self.price);
        }
    }

    /// Rows bid for their best column: its price rises until the second best costs no more, by ε beyond, and whoever held it
    /// is free again. Rows left free come back.
    fn bid(&mut self, mut free: Vec<u32>, epsilon: f64, most: usize) -> Vec<u32> {
        let mut left = Vec::new();
        let mut bids = 0;
        while let Some(row) = free.pop() {
            let i = row as usize;
            if bids == most || self.constant[i].is_some() {
                left.push(row);
                continue;
            }
            bids += 1;
            let mut best = self.cheapest(i);
            if best.next - best.cost <= epsilon && best.next == self.lists.bound(i) {
                self.lists.read(i, self.s.row(i), &self.price);
                best = self.cheapest(i);
            }
            let price = self.price[best.column] + (best.next - best.cost + epsilon);
            let rises = price > self.price[best.column] && price.is_finite();
            if rises {
                self.price[best.column] = price;
            } else if self.of_col[best.column] != FREE {
                let tied = |&(j, s): &(usize, f64)| self.of_col[j] == FREE && self.price[j] - s == best.cost;
                let Some((j, _)) = self.lists.of(i).find(tied) else {
                    left.push(row);
                    continue;
                };
                best.column = j;
            }
            let holder = self.of_col[best.column];
            self.give(i, best.column);
            if holder != FREE {
                free.push(holder);
            }
        }
        left
    }

    /// Bids with falling ε, which settle prices where many rows want the same columns. At the end only rows that could have
    /// no better column keep theirs.
    fn auction(&mut self, mut free: Vec<u32>) -> Vec<u32> {
        let n = self.s.n();
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for s in (0..n.min(64)).flat_map(|i| self.s.row(i)) {
            (least, most) = (least.min(*s), most.max(*s));
        }
        let range = most - least;
        let finest = (3e-5 * range).max(1e-12 * self.price.iter().fold(0.0, |m: f64, p| m.max(p.abs())));
        let mut epsilon = 0.1 * range;
        while epsilon > finest {
            free = self.bid(free, epsilon, AUCTION_BIDS * n);
            epsilon *= 0.1;
            let slack = if epsilon > finest { epsilon } else { 0.0 };
            for i in (0..n).rev() {
                let j = self.of_row[i];
                if j == FREE || self.constant[i].is_some() {
                    continue;
                }
                if self.price[j as usize] - self.worth[i] > self.cheapest(i).cost + slack {
                    self.release(i);
                    free.push(i as u32);
                }
            }
        }
        free
    }
}
