//! Assignment over lists of every row's best columns: where prices start, and in which order rows are placed.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::bids::Auction;
use super::search::Search;
use super::similarity::Similarity;
use super::{FREE, Solved};

/// Bids of one round of row reduction, per row.
const BIDS: usize = 6;

/// Columns whose maxima stay in the nearest cache while rows pass by.
const STRIP: usize = 1024;

/// An auction is held if the first prices leave more than this share of the rows free.
const CROWDED: f64 = 0.6;

/// Solves from the column maxima; where there are constant rows, from prices that are all the same.
pub(super) fn solve(similarity: &Similarity) -> Solved {
    let n = similarity.n();
    let constant = constant_rows(similarity);
    let (mut prices, of_col) = column_maxima(similarity);
    if constant.contains(&true) {
        let most = prices.iter().fold(f64::NEG_INFINITY, |m: f64, p| m.max(*p));
        prices.fill(most);
        let mut solver = Auction::new(similarity, prices, constant);
        solver.place_all();
        return finish(solver, false);
    }
    let mut solver = Auction::new(similarity, prices, constant);
    for j in (0..n).rev() {
        let i = of_col[j] as usize;
        if solver.price[j].is_finite() && (solver.of_row[i] == FREE || i == j) {
            solver.release(i);
            solver.give(i, j as u32, similarity.at(i, j));
        }
    }
    if solver.free().is_empty() {
        return solver.solved();
    }
    solver.place_all();
    let crowded = solver.free().len() as f64 > CROWDED * n as f64;
    finish(solver, crowded)
}

/// Solves from any prices; where there are constant rows, as if there were none.
pub(super) fn solve_from(similarity: &Similarity, prices: Vec<f64>) -> Solved {
    let constant = constant_rows(similarity);
    if constant.contains(&true) {
        return solve(similarity);
    }
    let mut solver = Auction::new(similarity, prices, constant);
    solver.place_all();
    finish(solver, false)
}

/// Which rows hold one value only: dead units.
fn constant_rows(similarity: &Similarity) -> Vec<bool> {
    let constant = |i| similarity.row(i).iter().all(|s| *s == similarity.at(i, 0));
    (0..similarity.n()).map(constant).collect()
}

/// The largest entry of every column and its row: the diagonal's if that ties, else the first.
fn column_maxima(similarity: &Similarity) -> (Vec<f64>, Vec<u32>) {
    let n = similarity.n();
    let (mut most, mut of_col) = (similarity.row(0).to_vec(), vec![0_u32; n]);
    most.par_chunks_mut(STRIP).zip(of_col.par_chunks_mut(STRIP)).enumerate().for_each(|(strip, (most, at))| {
        let columns = strip * STRIP..strip * STRIP + most.len();
        Arch::new().dispatch(Maxima { similarity, columns, most, at });
    });
    for j in 0..n {
        if similarity.at(j, j) == most[j] {
            of_col[j] = j as u32;
        }
    }
    (most, of_col)
}

/// The loop over a strip of columns, compiled for the vectors of every kind of processor.
struct Maxima<'a> {
    similarity: &'a Similarity,
    columns: Range<usize>,
    most: &'a mut [f64],
    at: &'a mut [u32],
}

impl WithSimd for Maxima<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for i in 1..self.similarity.n() {
            let row = &self.similarity.row(i)[self.columns.clone()];
            for ((most, at), s) in self.most.iter_mut().zip(&mut *self.at).zip(row) {
                let more = s > most;
                *most = if more { *s } else { *most };
                *at = if more { i as u32 } else { *at };
            }
        }
    }
}

/// Places every row that is free: by bids, then by shortest paths.
fn finish(mut solver: Auction<'_>, crowded: bool) -> Solved {
    let mut free = solver.free();
    if crowded {
        free = solver.auction(free);
    }
    for _ in 0..2 {
        free = solver.bid(free, 0.0, BIDS * solver.s.n());
        free.reverse();
    }
    let mut search = Search::new(solver.s.n());
    for i in free {
        search.augment(&mut solver, i as usize);
    }
    solver.solved()
}
