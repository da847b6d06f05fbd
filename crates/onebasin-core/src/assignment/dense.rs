//! Shortest augmenting paths over whole rows.

use super::similarity::Similarity;
use super::{FREE, Solved};

/// Solves from given column prices, looking at whole rows: the twin of [`super::sparse`], and faster where rows are short.
///
/// Cost: `O(n²)` for every row that the prices do not place at once; memory `O(n)` beyond the matrix.
pub(super) fn solve(similarity: &Similarity, prices: Vec<f64>) -> Solved {
    let n = similarity.n();
    let mut solver =
        WholeRows { s: similarity, row: vec![0.0; n], col: prices, of_row: vec![FREE; n], of_col: vec![FREE; n] };
    solver.place();
    let mut path = Path::new(n);
    for i in 0..n {
        if solver.of_row[i] == FREE {
            solver.augment(i, &mut path);
        }
    }
    Solved { of_row: solver.of_row, prices: solver.col }
}

/// `max_j (s_j − p_j)`.
fn best(row: &[f64], prices: &[f64]) -> f64 {
    row.iter().zip(prices).fold(f64::NEG_INFINITY, |m, (s, p)| m.max(s - p))
}

struct WholeRows<'a> {
    s: &'a Similarity,
    row: Vec<f64>,
    col: Vec<f64>,
    of_row: Vec<u32>,
    of_col: Vec<u32>,
}

/// Scratch of one search, reused by all.
struct Path {
    /// Distance of every column not yet reached for good; infinite for those that are.
    open: Vec<f64>,
    /// Price of the same columns; infinite for those reached.
    price: Vec<f64>,
    from: Vec<u32>,
    reached: Vec<(u32, f64)>,
}

impl Path {
    fn new(n: usize) -> Self {
        Self { open: vec![0.0; n], price: vec![0.0; n], from: vec![0; n], reached: Vec::new() }
    }
}

impl WholeRows<'_> {
    /// Gives every row one of its best columns that is still free.
    fn place(&mut self) {
        for i in 0..self.s.n() {
            let s = self.s.row(i);
            self.row[i] = best(s, &self.col);
            let tight = |j: usize| s[j] - self.col[j] == self.row[i] && self.of_col[j] == FREE;
            let free = if tight(i) { Some(i) } else { (0..s.len()).find(|&j| tight(j)) };
            if let Some(j) = free {
                (self.of_row[i], self.of_col[j]) = (j as u32, i as u32);
            }
        }
    }

    /// Finds the cheapest chain of reassignments that gives row `start` a column, and makes it.
    fn augment(&mut self, start: usize, path: &mut Path) {
        path.open.fill(f64::INFINITY);
        path.price.copy_from_slice(&self.col);
        path.reached.clear();
        let mut i = start;
        let mut distance = 0.0;
        let end = loop {
            let base = distance + self.row[i];
            let columns = path.open.iter_mut().zip(&mut path.from).zip(path.price.iter().zip(self.s.row(i)));
            for ((open, from), (price, s)) in columns {
                let candidate = base + (price - s);
                let closer = candidate < *open;
                *open = if closer { candidate } else { *open };
                *from = if closer { i as u32 } else { *from };
            }
            distance = path.open.iter().fold(f64::INFINITY, |m, &d| if d < m { d } else { m });
            let nearest = || (0..path.open.len()).filter(|&j| path.open[j] == distance);
            let j = nearest().find(|&j| self.of_col[j] == FREE).or_else(|| nearest().next());
            let j = j.expect("some column is unreached while a row is free");
            if self.of_col[j] == FREE {
                break j;
            }
            path.reached.push((j as u32, distance));
            (path.open[j], path.price[j]) = (f64::INFINITY, f64::INFINITY);
            i = self.of_col[j] as usize;
        };
        for &(j, reached) in &path.reached {
            let raise = distance - reached;
            self.col[j as usize] += raise;
            self.row[self.of_col[j as usize] as usize] -= raise;
        }
        self.row[start] -= distance;
        let mut j = end;
        loop {
            let i = path.from[j] as usize;
            let next = std::mem::replace(&mut self.of_row[i], j as u32);
            self.of_col[j] = i as u32;
            if i == start {
                break;
            }
            j = next as usize;
        }
    }
}
