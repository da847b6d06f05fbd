//! The few best columns of every row: all that most of a solve looks at.

/// Costs of a row are first compared in as many lanes, side by side.
const LANES: usize = 64;

/// Lane minima that a list takes in: about 30 columns of a row without ties.
const WANTED: usize = 24;

/// Columns in a list at most; 768 bytes a row.
const CAPACITY: usize = 64;

/// For every row, columns of low cost `price − similarity`, and a bound below which no other column lies.
///
/// Prices only rise, and costs with them: a bound once true stays true, however old the list is.
pub(super) struct Lists {
    column: Vec<u32>,
    similarity: Vec<f64>,
    len: Vec<u32>,
    bound: Vec<f64>,
    spill: Vec<(f64, u32)>,
}

impl Lists {
    /// Lists that hold nothing, and exclude nothing.
    pub(super) fn new(n: usize) -> Self {
        Self {
            column: vec![0; n * CAPACITY],
            similarity: vec![0.0; n * CAPACITY],
            len: vec![0; n],
            bound: vec![f64::NEG_INFINITY; n],
            spill: Vec::new(),
        }
    }

    /// The columns of a list, with their similarities.
    pub(super) fn of(&self, i: usize) -> impl Iterator<Item = (usize, f64)> {
        let at = i * CAPACITY..i * CAPACITY + self.len[i] as usize;
        self.column[at.clone()].iter().map(|&j| j as usize).zip(self.similarity[at].iter().copied())
    }

    /// No column outside the list costs less.
    pub(super) fn bound(&self, i: usize) -> f64 {
        self.bound[i]
    }

    /// Reads a row anew. Of more tied columns than it can hold, a list takes those from the row's own number on.
    pub(super) fn read(&mut self, i: usize, row: &[f64], price: &[f64]) {
        let limit = limit(row, price);
        let mut kept = 0;
        self.spill.clear();
        let at = i * CAPACITY;
        for (chunk, (s, p)) in row.chunks(LANES).zip(price.chunks(LANES)).enumerate() {
            let mut found = low(s, p, limit);
            while found != 0 {
                let k = found.trailing_zeros() as usize;
                found &= found - 1;
                let j = chunk * LANES + k;
                if kept < CAPACITY {
                    (self.column[at + kept], self.similarity[at + kept]) = (j as u32, s[k]);
                    kept += 1;
                } else {
                    self.spill.push((p[k] - s[k], j as u32));
                }
            }
        }
        self.bound[i] = if row.len() <= CAPACITY { f64::INFINITY } else { limit };
        if !self.spill.is_empty() {
            self.spill.extend(self.column[at..at + kept].iter().map(|&j| (price[j as usize] - row[j as usize], j)));
            kept = CAPACITY / 2;
            let n = row.len();
            let after = |j: u32| (j as usize + n - i) % n;
            let by_cost = |a: &(f64, u32), b: &(f64, u32)| a.0.total_cmp(&b.0).then(after(a.1).cmp(&after(b.1)));
            let (low, next, _) = self.spill.select_nth_unstable_by(kept, by_cost);
            self.bound[i] = next.0;
            low.sort_unstable_by_key(|&(_, j)| j);
            for (k, &(_, j)) in low.iter().enumerate() {
                (self.column[at + k], self.similarity[at + k]) = (j, row[j as usize]);
            }
        }
        self.len[i] = kept as u32;
    }
}

/// A cost that about 30 columns do not exceed.
fn limit(row: &[f64], price: &[f64]) -> f64 {
    if row.len() <= CAPACITY {
        return f64::INFINITY;
    }
    let mut least = [f64::INFINITY; LANES];
    for (s, p) in row.chunks(LANES).zip(price.chunks(LANES)) {
        for ((least, s), p) in least.iter_mut().zip(s).zip(p) {
            let cost = p - s;
            *least = if cost < *least { cost } else { *least };
        }
    }
    *least.select_nth_unstable_by(WANTED - 1, f64::total_cmp).1
}

/// The columns of a chunk whose cost does not exceed a limit, as bits.
#[allow(clippy::needless_bitwise_bool, reason = "without a branch the loop runs in lanes")]
fn low(row: &[f64], price: &[f64], limit: f64) -> u64 {
    let any = row.iter().zip(price).fold(false, |any, (s, p)| any | (p - s <= limit));
    if !any {
        return 0;
    }
    row.iter().zip(price).enumerate().fold(0, |bits, (k, (s, p))| bits | (u64::from(p - s <= limit) << k))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Stream;

    #[test]
    fn what_is_left_out_is_no_cheaper_than_the_bound() {
        for (n, ties) in [(1, 0), (63, 0), (64, 0), (65, 0), (300, 0), (300, 1), (300, 2), (1000, 7)] {
            let mut stream = Stream::new(n as u64, "lists");
            let mut draw = || if ties > 0 { stream.below(ties) as f64 } else { stream.normal() };
            let row: Vec<f64> = (0..n).map(|_| draw()).collect();
            let price: Vec<f64> = (0..n).map(|_| draw()).collect();
            let mut lists = Lists::new(2);
            lists.read(1, &row, &price);
            let listed: Vec<usize> = lists.of(1).map(|(j, _)| j).collect();
            assert!(!listed.is_empty() && lists.of(1).all(|(j, s)| s == row[j]));
            let bound = lists.bound(1);
            assert!((0..n).all(|j| listed.contains(&j) || price[j] - row[j] >= bound), "{n} {ties}");
            assert!(listed.iter().all(|&j| price[j] - row[j] <= bound), "{n} {ties}");
        }
    }
}
