//! Walking several arrays together: the index arithmetic behind broadcasting, reduction and expansion.

/// Runs over an array of some shape and over `N` others whose strides along its axes are known.
///
/// Axes of length 1 are dropped and axes that lie behind each other in every array are joined, so that a walk over
/// arrays of one shape is a single run, and one with a bias is as many runs as rows.
pub(super) struct Walk<const N: usize> {
    lens: Vec<usize>,
    strides: Vec<[usize; N]>,
    /// Length of a run. The walked array has its runs one behind the other.
    pub(super) run: usize,
    /// Stride of every other array within a run: 1 or 0 for broadcast arrays.
    pub(super) inner: [usize; N],
}

impl<const N: usize> Walk<N> {
    /// Walks an array of `shape`, and dense arrays that broadcast to it.
    pub(super) fn broadcast(shape: &[usize], operands: [&[usize]; N]) -> Self {
        Self::new(shape, &operands.map(|operand| strides_within(operand, shape.len())))
    }

    /// Walks an array of `shape`, and arrays with these strides, one per axis.
    pub(super) fn new(shape: &[usize], strides: &[Vec<usize>; N]) -> Self {
        let (mut lens, mut joined): (Vec<usize>, Vec<[usize; N]>) = (vec![], vec![]);
        for (axis, &len) in shape.iter().enumerate().filter(|(_, len)| **len != 1) {
            let here: [usize; N] = std::array::from_fn(|k| strides[k][axis]);
            match (lens.last_mut(), joined.last_mut()) {
                (Some(last), Some(outer)) if (0..N).all(|k| outer[k] == here[k] * len) => {
                    *last *= len;
                    *outer = here;
                }
                _ => {
                    lens.push(len);
                    joined.push(here);
                }
            }
        }
        let (run, inner) = (lens.pop().unwrap_or(1), joined.pop().unwrap_or([1; N]));
        Self { lens, strides: joined, run, inner }
    }

    /// Calls `f` at the start of every run, in order, with the offset in the walked array and in the others.
    pub(super) fn each(&self, mut f: impl FnMut(usize, [usize; N])) {
        if self.run == 0 || self.lens.contains(&0) {
            return;
        }
        let mut index = vec![0; self.lens.len()];
        let (mut offset, mut offsets) = (0, [0; N]);
        loop {
            f(offset, offsets);
            offset += self.run;
            let mut axis = self.lens.len();
            loop {
                let Some(next) = axis.checked_sub(1) else { return };
                axis = next;
                index[axis] += 1;
                if index[axis] < self.lens[axis] {
                    (0..N).for_each(|k| offsets[k] += self.strides[axis][k]);
                    break;
                }
                (0..N).for_each(|k| offsets[k] -= self.strides[axis][k] * (self.lens[axis] - 1));
                index[axis] = 0;
            }
        }
    }
}

/// Strides of a dense array along the last of `rank` axes it broadcasts to; 0 where it is repeated.
fn strides_within(shape: &[usize], rank: usize) -> Vec<usize> {
    let mut strides = vec![0; rank];
    let mut stride = 1;
    for (axis, &len) in shape.iter().enumerate().rev() {
        strides[axis + rank - shape.len()] = if len == 1 { 0 } else { stride };
        stride *= len;
    }
    strides
}

/// The lengths before an axis, of it, and behind it: an array as `[outer, axis, inner]`.
pub(super) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

/// Sum of `term(u[k], v[k])` in eight interleaved parts: the compiler may use vectors, and the rounding error grows an
/// eighth as fast.
#[inline(always)]
pub(super) fn sum<T: super::Real>(u: &[T], v: &[T], term: impl Fn(T, T) -> T) -> T {
    let mut parts = [T::zero(); 8];
    let (us, vs) = (u.chunks_exact(8), v.chunks_exact(8));
    let rest: T = us.remainder().iter().zip(vs.remainder()).map(|(u, v)| term(*u, *v)).sum();
    for (u, v) in us.zip(vs) {
        for lane in 0..8 {
            parts[lane] += term(u[lane], v[lane]);
        }
    }
    parts.into_iter().sum::<T>() + rest
}

/// Sums of `terms(position, column)` over the rows of a matrix of `len` entries, for every one of `cols` columns.
///
/// Rows are added several at once, so that narrow ones fill vectors too.
pub(super) fn columns<A, const N: usize>(
    cols: usize,
    len: usize,
    mut terms: impl FnMut(usize, usize) -> [A; N],
) -> [Vec<A>; N]
where
    A: Copy + Default + std::ops::AddAssign,
{
    /// Sums kept side by side, at least.
    const WIDTH: usize = 64;
    let width = cols * WIDTH.div_ceil(cols.max(1));
    let mut wide: [Vec<A>; N] = std::array::from_fn(|_| vec![A::default(); width]);
    for start in (0..len).step_by(width.max(1)) {
        for at in (0..width.min(len - start)).step_by(cols) {
            let mut parts = wide.each_mut().map(|w| &mut w[at..at + cols]);
            for c in 0..cols {
                for (part, term) in parts.iter_mut().zip(terms(start + at + c, c)) {
                    part[c] += term;
                }
            }
        }
    }
    wide.map(|mut wide| {
        let (sums, rest) = wide.split_at_mut(cols);
        for row in rest.chunks_exact(cols.max(1)) {
            sums.iter_mut().zip(row).for_each(|(s, r)| *s += *r);
        }
        wide.truncate(cols);
        wide
    })
}
