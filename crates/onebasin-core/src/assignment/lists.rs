//! The few best columns of every row: all that most of a solve looks at.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::similarity::Similarity;

/// Costs of a row are first compared in as many lanes, side by side.
const LANES: usize = 32;

/// Lane minima that a list takes in: about 30 columns of a row without ties.
const WANTED: f64 = 20.0;

/// Columns in a list at most; 768 bytes a row.
const CAPACITY: usize = 64;

/// Rows read by one task at least.
const TASK: usize = 64;

/// For every row, columns of low cost `price − similarity`, and a bound below which no other column lies.
///
/// Prices only rise, and costs with them: a bound once true stays true, however old the list is.
pub(super) struct Lists {
    column: Vec<u32>,
    similarity: Vec<f64>,
    len: Vec<u32>,
    bound: Vec<f64>,
    scratch: Scratch,
}

/// Scratch of a reading, reused by all.
#[derive(Default)]
struct Scratch {
    /// Places of vectors in which a cost is low.
    vectors: Vec<u32>,
    /// Columns whose cost is low.
    low: Vec<u32>,
    /// The same with their costs, where a list cannot hold them all.
    spilt: Vec<(f64, u32)>,
}

impl Lists {
    /// Lists that hold nothing, and exclude nothing.
    pub(super) fn new(n: usize) -> Self {
        Self {
            column: vec![0; n * CAPACITY],
            similarity: vec![0.0; n * CAPACITY],
            len: vec![0; n],
            bound: vec![f64::NEG_INFINITY; n],
            scratch: Scratch::default(),
        }
    }

    /// The columns of a list, with their similarities.
    pub(super) fn of(&self, i: usize) -> impl Iterator<Item = (usize, f64)> {
        let at = i * CAPACITY..i * CAPACITY + self.len[i] as usize;
        self.column[at.clone()].iter().map(|&j| j as usize).zip(self.similarity[at].iter().copied())
    }

    /// The two lowest costs of a list, and the place in it of the first that has the lowest: infinite where there are fewer.
    pub(super) fn lowest(&self, i: usize, price: &[f64]) -> (f64, f64, usize) {
        let mut costs = [f64::INFINITY; CAPACITY];
        for (cost, (j, s)) in costs.iter_mut().zip(self.of(i)) {
            *cost = price[j] - s;
        }
        Arch::new().dispatch(Lowest { costs: &costs[..(self.len[i] as usize).next_multiple_of(8).max(8)] })
    }

    /// The entry of a list at a place.
    pub(super) fn at(&self, i: usize, place: usize) -> (u32, f64) {
        (self.column[i * CAPACITY + place], self.similarity[i * CAPACITY + place])
    }

    /// No column outside the list costs less.
    pub(super) fn bound(&self, i: usize) -> f64 {
        self.bound[i]
    }

    /// Reads a row anew.
    pub(super) fn read(&mut self, i: usize, row: &[f64], price: &[f64]) {
        let at = i * CAPACITY..(i + 1) * CAPACITY;
        let list = (&mut self.column[at.clone()], &mut self.similarity[at]);
        (self.len[i], self.bound[i]) = read(i, row, price, list, &mut self.scratch);
    }

    /// Reads all rows anew but those left out.
    pub(super) fn read_all(&mut self, s: &Similarity, price: &[f64], left_out: &[bool]) {
        let columns = self.column.par_chunks_mut(CAPACITY);
        let similarities = self.similarity.par_chunks_mut(CAPACITY);
        let lists = columns.zip(similarities).zip(&mut self.len).zip(&mut self.bound).enumerate();
        lists.with_min_len(TASK).for_each_init(Scratch::default, |scratch, (i, ((list, len), bound))| {
            if !left_out[i] {
                (*len, *bound) = read(i, s.row(i), price, list, scratch);
            }
        });
    }
}

/// Fills a list with the low columns of a row; gives its length and its bound. Of more tied columns than it can hold, a
/// list takes those from the row's own number on.
fn read(
    i: usize,
    row: &[f64],
    price: &[f64],
    (column, similarity): (&mut [u32], &mut [f64]),
    scratch: &mut Scratch,
) -> (u32, f64) {
    if row.len() <= CAPACITY {
        for (j, s) in row.iter().enumerate() {
            (column[j], similarity[j]) = (j as u32, *s);
        }
        return (row.len() as u32, f64::INFINITY);
    }
    let Scratch { vectors, low, spilt } = scratch;
    vectors.resize(row.len() + 1, 0);
    low.resize(row.len() + 1, 0);
    let (count, limit) = Arch::new().dispatch(LowColumns { row, price, vectors, columns: low });
    let mut low = &mut low[..count];
    let mut bound = limit;
    if count > CAPACITY {
        spilt.clear();
        spilt.extend(low.iter().map(|&j| (price[j as usize] - row[j as usize], j)));
        let n = row.len();
        let after = |j: u32| (j as usize + n - i) % n;
        let by_cost = |a: &(f64, u32), b: &(f64, u32)| a.0.total_cmp(&b.0).then(after(a.1).cmp(&after(b.1)));
        let (least, next, _) = spilt.select_nth_unstable_by(CAPACITY / 2, by_cost);
        bound = next.0;
        low = &mut low[..CAPACITY / 2];
        low.iter_mut().zip(least).for_each(|(j, least)| *j = least.1);
        low.sort_unstable();
    }
    for (k, &j) in low.iter().enumerate() {
        (column[k], similarity[k]) = (j, row[j as usize]);
    }
    (low.len() as u32, bound)
}

/// The loops over a row, compiled for the vectors of every kind of processor.
struct LowColumns<'a> {
    row: &'a [f64],
    price: &'a [f64],
    vectors: &'a mut [u32],
    columns: &'a mut [u32],
}

impl WithSimd for LowColumns<'_> {
    type Output = (usize, f64);

    /// Lists the low columns in order, and gives how many there are and the limit.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self { row, price, vectors, columns } = self;
        let limit = match S::F64_LANES {
            8 => limit::<S, 4>(simd, row, price),
            4 => limit::<S, 8>(simd, row, price),
            2 => limit::<S, 16>(simd, row, price),
            _ => limit::<S, LANES>(simd, row, price),
        };
        (low_columns(simd, row, price, limit, vectors, columns), limit)
    }
}

/// Lists the columns whose cost does not exceed a limit. Nothing branches on what is found, since that cannot be predicted:
/// every column is written, and the next one over it unless it is low.
#[inline(always)]
fn low_columns<S: Simd>(
    simd: S,
    row: &[f64],
    price: &[f64],
    limit: f64,
    vectors: &mut [u32],
    columns: &mut [u32],
) -> usize {
    let most = simd.splat_f64s(limit);
    let ((rows, last), (prices, _)) = (S::as_simd_f64s(row), S::as_simd_f64s(price));
    let mut hits = 0;
    for (k, (s, p)) in rows.iter().zip(prices).enumerate() {
        let found = simd.less_than_or_equal_f64s(simd.sub_f64s(*p, *s), most);
        vectors[hits] = (k * S::F64_LANES) as u32;
        hits += usize::from(any(simd, found));
    }
    let mut count = 0;
    let mut look = |from: usize, row: &[f64], price: &[f64]| {
        for (k, (s, p)) in row.iter().zip(price).enumerate() {
            columns[count] = (from + k) as u32;
            count += usize::from(p - s <= limit);
        }
    };
    for &from in &vectors[..hits] {
        let at = from as usize..from as usize + S::F64_LANES;
        look(from as usize, &row[at.clone()], &price[at]);
    }
    let from = row.len() - last.len();
    look(from, last, &price[from..]);
    count
}

/// Whether a mask is set anywhere. Where it is set must not be asked of `pulp` 0.22, which counts 8-bit masks from the wrong
/// end.
#[inline(always)]
pub(super) fn any<S: Simd>(simd: S, mask: S::m64s) -> bool {
    simd.first_true_m64s(mask) < S::F64_LANES
}

/// A cost that about 30 columns do not exceed: the least of every lane, and of these the one of rank [`WANTED`].
///
/// `R` vectors hold the lanes, so that they stay in registers.
#[inline(always)]
fn limit<S: Simd, const R: usize>(simd: S, row: &[f64], price: &[f64]) -> f64 {
    let mut least = [simd.splat_f64s(f64::INFINITY); R];
    let ((rows, last), (prices, last_prices)) = (row.as_chunks::<LANES>(), price.as_chunks::<LANES>());
    for (s, p) in rows.iter().zip(prices) {
        take(simd, &mut least, s, p);
    }
    let (mut s, mut p) = ([0.0; LANES], [f64::INFINITY; LANES]);
    s[..last.len()].copy_from_slice(last);
    p[..last.len()].copy_from_slice(last_prices);
    take(simd, &mut least, &s, &p);

    let mut lanes = [0.0_f64; LANES];
    lanes.copy_from_slice(bytemuck::cast_slice(&least));
    let (zero, one) = (simd.splat_f64s(0.0), simd.splat_f64s(1.0));
    let mut not_above = [zero; R];
    for lane in lanes {
        let lane = simd.splat_f64s(lane);
        for k in 0..R {
            let counts = simd.less_than_or_equal_f64s(lane, least[k]);
            not_above[k] = simd.add_f64s(not_above[k], simd.select_f64s(counts, one, zero));
        }
    }
    let (wanted, none) = (simd.splat_f64s(WANTED), simd.splat_f64s(f64::INFINITY));
    let mut found = none;
    for k in 0..R {
        let enough = simd.greater_than_or_equal_f64s(not_above[k], wanted);
        found = simd.min_f64s(found, simd.select_f64s(enough, least[k], none));
    }
    simd.reduce_min_f64s(found)
}

/// The least costs of every lane, with those of a piece of a row.
#[inline(always)]
fn take<S: Simd, const R: usize>(simd: S, least: &mut [S::f64s; R], row: &[f64; LANES], price: &[f64; LANES]) {
    let (s, p) = (S::as_simd_f64s(row).0, S::as_simd_f64s(price).0);
    for k in 0..R {
        least[k] = simd.min_f64s(least[k], simd.sub_f64s(p[k], s[k]));
    }
}

/// The two lowest of a few costs, and where the first of the lowest stands; compiled for the vectors of every kind of
/// processor.
struct Lowest<'a> {
    costs: &'a [f64],
}

impl WithSimd for Lowest<'_> {
    type Output = (f64, f64, usize);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let costs = S::as_simd_f64s(self.costs).0;
        let none = simd.splat_f64s(f64::INFINITY);
        let lowest = simd.reduce_min_f64s(costs.iter().fold(none, |least, cost| simd.min_f64s(least, *cost)));
        let numbers: [f64; CAPACITY] = std::array::from_fn(|k| k as f64);
        let numbers = S::as_simd_f64s(&numbers).0;
        let (all, mut place) = (simd.splat_f64s(lowest), none);
        for (cost, number) in costs.iter().zip(numbers) {
            place = simd.min_f64s(place, simd.select_f64s(simd.equal_f64s(*cost, all), *number, none));
        }
        let place = simd.reduce_min_f64s(place);
        let (here, mut next) = (simd.splat_f64s(place), none);
        for (cost, number) in costs.iter().zip(numbers) {
            next = simd.min_f64s(next, simd.select_f64s(simd.equal_f64s(*number, here), none, *cost));
        }
        (lowest, simd.reduce_min_f64s(next), place as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Stream;

    /// A row and prices, of a few values each where there are ties.
    fn drawn(n: usize, ties: usize) -> [Vec<f64>; 2] {
        let mut stream = Stream::new(n as u64, "lists");
        [(); 2].map(|()| (0..n).map(|_| if ties > 0 { stream.below(ties) as f64 } else { stream.normal() }).collect())
    }

    #[test]
    fn the_lowest_of_a_list_are_found() {
        for (n, ties) in [(1, 0), (2, 0), (9, 0), (64, 0), (300, 0), (40, 3), (300, 2)] {
            let [row, price] = drawn(n, ties);
            let mut lists = Lists::new(1);
            lists.read(0, &row, &price);
            let costs: Vec<f64> = lists.of(0).map(|(j, s)| price[j] - s).collect();
            let mut sorted = costs.clone();
            sorted.sort_by(f64::total_cmp);
            let place = costs.iter().position(|c| *c == sorted[0]).unwrap();
            let next = sorted.get(1).copied().unwrap_or(f64::INFINITY);
            assert_eq!(lists.lowest(0, &price), (sorted[0], next, place), "{n} {ties}");
        }
    }

    #[test]
    fn what_is_left_out_is_no_cheaper_than_the_bound() {
        for (n, ties) in [(1, 0), (63, 0), (64, 0), (65, 0), (300, 0), (300, 1), (300, 2), (1000, 7)] {
            let [row, price] = drawn(n, ties);
            let mut lists = Lists::new(2);
            lists.read(1, &row, &price);
            let listed: Vec<usize> = lists.of(1).map(|(j, _)| j).collect();
            assert!(!listed.is_empty() && lists.of(1).all(|(j, s)| s == row[j]));
            let bound = lists.bound(1);
            assert!((0..n).all(|j| listed.contains(&j) || price[j] - row[j] >= bound), "{n} {ties}");
            assert!(listed.iter().all(|&j| price[j] - row[j] <= bound), "{n} {ties}");
        }
    }

    /// The low columns and the limit, then the two lowest costs and their place, with the vectors of one processor.
    fn seen<S: Simd>(simd: S, row: &[f64], price: &[f64]) -> (Vec<u32>, f64, (f64, f64, usize)) {
        let (mut vectors, mut columns) = (vec![0; row.len() + 1], vec![0; row.len() + 1]);
        let low = LowColumns { row, price, vectors: &mut vectors, columns: &mut columns };
        let (count, limit) = low.with_simd(simd);
        columns.truncate(count);
        let costs: Vec<f64> = row.iter().zip(price).take(CAPACITY).map(|(s, p)| p - s).collect();
        (columns, limit, Lowest { costs: &costs }.with_simd(simd))
    }

    struct Seen<'a>([&'a [f64]; 2]);

    impl WithSimd for Seen<'_> {
        type Output = (Vec<u32>, f64, (f64, f64, usize));

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            seen(simd, self.0[0], self.0[1])
        }
    }

    #[test]
    fn vectors_of_every_width_see_the_same() {
        for (n, ties) in [(65, 0), (96, 0), (300, 0), (300, 1), (300, 2), (1000, 7), (1001, 0)] {
            let [row, price] = drawn(n, ties);
            let plain = seen(pulp::Scalar, &row, &price);
            assert_eq!(Arch::new().dispatch(Seen([&row, &price])), plain, "{n} {ties}");
            #[cfg(target_arch = "x86_64")]
            if let Some(half) = pulp::x86::V3::try_new() {
                assert_eq!(Simd::vectorize(half, Seen([&row, &price])), plain, "{n} {ties}");
            }
        }
    }
}
