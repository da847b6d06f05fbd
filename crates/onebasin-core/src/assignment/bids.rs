//! A partial assignment over lists of every row's best columns, and bids that raise prices.

use super::lists::Lists;
use super::similarity::Similarity;
use super::{FREE, POOL, Solved};

/// Bids of one ε of an auction at most, per row: a guard, since an auction ends by itself.
const AUCTION_BIDS: usize = 256;

/// A partial assignment in which every row that has a column could have no better one at the prices.
///
/// **Constant columns** cost every row the same, so they are one pool with one price, which takes as many rows as it has
/// columns; lists and searches do not see them. **Constant rows** are content with whatever is left: prices start equal
/// then, and rise only where a column is taken for good, so what is left is cheapest.
pub(super) struct Auction<'a> {
    pub(super) s: &'a Similarity,
    /// Infinite for the columns of the pool.
    pub(super) price: Vec<f64>,
    pub(super) of_row: Vec<u32>,
    pub(super) of_col: Vec<u32>,
    /// The similarity of a row with its column.
    pub(super) worth: Vec<f64>,
    pub(super) lists: Lists,
    pub(super) pool: ConstantPool,
    constant: Vec<bool>,
}

/// The constant columns.
pub(super) struct ConstantPool {
    columns: Vec<u32>,
    /// What any of them costs any row: its price less its value.
    pub(super) cost: f64,
    /// Rows that are to have one.
    pub(super) taken: usize,
}

impl ConstantPool {
    pub(super) fn has_room(&self) -> bool {
        self.taken < self.columns.len()
    }
}

/// The two cheapest columns of a row.
struct Cheapest {
    cost: f64,
    column: u32,
    worth: f64,
    /// The cost of every other column, or less.
    next: f64,
    /// Whether only the bound of the list says so.
    bounded: bool,
}

impl<'a> Auction<'a> {
    pub(super) fn new(s: &'a Similarity, mut price: Vec<f64>, constant: Vec<bool>) -> Self {
        let n = s.n();
        let mut columns: Vec<u32> = (0..n as u32).collect();
        for i in 1..n {
            let (first, row) = (s.row(0), s.row(i));
            columns.retain(|&j| row[j as usize] == first[j as usize]);
        }
        let over = |&j: &u32| price[j as usize] - s.at(0, j as usize);
        let cost = columns.iter().map(over).fold(f64::INFINITY, f64::min);
        for &j in &columns {
            price[j as usize] = f64::INFINITY;
        }
        Self {
            s,
            price,
            of_row: vec![FREE; n],
            of_col: vec![FREE; n],
            worth: vec![0.0; n],
            lists: Lists::new(n),
            pool: ConstantPool { columns, cost, taken: 0 },
            constant,
        }
    }

    /// Gives the rows of the pool its columns, and the constant rows what is left.
    pub(super) fn solved(mut self) -> Solved {
        let waiting = |of_row: &[u32], what: u32| (0..of_row.len()).filter(|&i| of_row[i] == what).collect::<Vec<_>>();
        for &j in &self.pool.columns {
            self.price[j as usize] = self.pool.cost + self.s.at(0, j as usize);
        }
        let columns = std::mem::take(&mut self.pool.columns);
        self.hand_out(&waiting(&self.of_row, POOL), &columns);
        let columns: Vec<u32> = (0..self.s.n() as u32).filter(|&j| self.of_col[j as usize] == FREE).collect();
        self.hand_out(&waiting(&self.of_row, FREE), &columns);
        Solved { of_row: self.of_row, prices: self.price }
    }

    /// Gives rows any of these columns: their own number where they can have it, else the first.
    fn hand_out(&mut self, rows: &[usize], columns: &[u32]) {
        let (own, others): (Vec<usize>, Vec<usize>) =
            rows.iter().partition(|&&i| columns.binary_search(&(i as u32)).is_ok());
        for i in own {
            (self.of_row[i], self.of_col[i]) = (i as u32, i as u32);
        }
        let mut left =
            columns.iter().filter(|&&j| self.of_col[j as usize] == FREE).copied().collect::<Vec<_>>().into_iter();
        for i in others {
            let j = left.next().expect("as many columns as rows");
            (self.of_row[i], self.of_col[j as usize]) = (j, i as u32);
        }
    }

    pub(super) fn free(&self) -> Vec<u32> {
        (0..self.s.n()).rev().filter(|&i| self.of_row[i] == FREE && !self.constant[i]).map(|i| i as u32).collect()
    }

    /// Gives a row a column of this similarity, which its holder loses, or a place in the pool.
    pub(super) fn give(&mut self, i: usize, j: u32, worth: f64) {
        self.of_row[i] = j;
        if j == POOL {
            self.pool.taken += 1;
            return;
        }
        let holder = std::mem::replace(&mut self.of_col[j as usize], i as u32);
        if holder != FREE {
            self.of_row[holder as usize] = FREE;
        }
        self.worth[i] = worth;
    }

    pub(super) fn release(&mut self, i: usize) {
        match std::mem::replace(&mut self.of_row[i], FREE) {
            FREE => {}
            POOL => self.pool.taken -= 1,
            j => self.of_col[j as usize] = FREE,
        }
    }

    /// What its column costs a row.
    pub(super) fn held(&self, i: usize) -> f64 {
        match self.of_row[i] {
            POOL => self.pool.cost,
            j => self.price[j as usize] - self.worth[i],
        }
    }

    /// Reads every row that is not constant, and gives those that are free their best column if that is free: among ties
    /// its own, then the first from there on.
    pub(super) fn place_all(&mut self) {
        let n = self.s.n();
        self.lists.read_all(self.s, &self.price, &self.constant);
        for i in 0..n {
            if self.constant[i] || self.of_row[i] != FREE {
                continue;
            }
            let row = self.s.row(i);
            let best = self.cheapest(i).cost;
            let tight = |j: usize| self.price[j] - row[j] == best && self.of_col[j] == FREE;
            let many = best == self.lists.bound(i);
            let found = if tight(i) {
                Some(i)
            } else if many {
                (i..n).chain(0..i).find(|&j| tight(j))
            } else {
                self.lists.of(i).map(|(j, _)| j).find(|&j| tight(j))
            };
            if let Some(j) = found {
                self.give(i, j as u32, row[j]);
            } else if self.pool.cost == best && self.pool.has_room() {
                self.give(i, POOL, 0.0);
            }
        }
    }

    /// The cheapest columns of a row by its list, which is read again if it does not tell.
    fn cheapest(&mut self, i: usize) -> Cheapest {
        loop {
            let (lowest, second, place) = self.lists.lowest(i, &self.price);
            let pool = self.pool.cost;
            let mut found = if lowest < pool {
                let (column, worth) = self.lists.at(i, place);
                Cheapest { cost: lowest, column, worth, next: second.min(pool), bounded: false }
            } else {
                Cheapest { cost: pool, column: POOL, worth: 0.0, next: lowest, bounded: false }
            };
            let bound = self.lists.bound(i);
            if found.cost <= bound {
                found.bounded = found.next > bound;
                found.next = found.next.min(bound);
                return found;
            }
            self.lists.read(i, self.s.row(i), &self.price);
        }
    }

    /// Rows bid for their best column: its price rises until the second best costs no more, by ε beyond, and whoever held it
    /// is free again. The pool takes rows while it has room, and no bids. Rows left free come back.
    pub(super) fn bid(&mut self, mut free: Vec<u32>, epsilon: f64, most: usize) -> Vec<u32> {
        let mut left = Vec::new();
        let mut bids = 0;
        while let Some(row) = free.pop() {
            let i = row as usize;
            if bids == most {
                left.push(row);
                continue;
            }
            bids += 1;
            let mut best = self.cheapest(i);
            if best.bounded && best.next - best.cost <= epsilon {
                self.lists.read(i, self.s.row(i), &self.price);
                best = self.cheapest(i);
            }
            if best.column == POOL {
                if self.pool.has_room() {
                    self.give(i, POOL, 0.0);
                } else {
                    left.push(row);
                }
                continue;
            }
            let j = best.column as usize;
            let price = self.price[j] + (best.next - best.cost + epsilon);
            if price > self.price[j] && price.is_finite() {
                self.price[j] = price;
            } else if self.of_col[j] != FREE {
                let tied = |&(j, s): &(usize, f64)| self.of_col[j] == FREE && self.price[j] - s == best.cost;
                let other = self.lists.of(i).find(tied);
                if let Some((other, worth)) = other {
                    self.give(i, other as u32, worth);
                } else if self.pool.cost == best.cost && self.pool.has_room() {
                    self.give(i, POOL, 0.0);
                } else {
                    left.push(row);
                }
                continue;
            }
            let holder = self.of_col[j];
            self.give(i, best.column, best.worth);
            if holder != FREE {
                free.push(holder);
            }
        }
        left
    }

    /// Bids with falling ε, which settle prices where many rows want the same columns. At the end only rows that could have
    /// no better column keep theirs.
    pub(super) fn auction(&mut self, mut free: Vec<u32>) -> Vec<u32> {
        let n = self.s.n();
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for s in (0..n.min(64)).flat_map(|i| self.s.row(i)) {
            (least, most) = (least.min(*s), most.max(*s));
        }
        let range = most - least;
        let finest = (3e-5 * range)
            .max(1e-12 * self.price.iter().filter(|p| p.is_finite()).fold(0.0, |m: f64, p| m.max(p.abs())));
        let mut epsilon = 0.1 * range;
        while epsilon > finest {
            free = self.bid(free, epsilon, AUCTION_BIDS * n);
            epsilon *= 0.1;
            let slack = if epsilon > finest { epsilon } else { 0.0 };
            for i in (0..n).rev() {
                if self.of_row[i] != FREE && self.held(i) > self.cheapest(i).cost + slack {
                    self.release(i);
                    free.push(i as u32);
                }
            }
        }
        free
    }
}
