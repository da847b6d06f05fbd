//! Matrix products over slices: the one place that calls the GEMM kernels.
//!
//! A matrix is a [`Mat`], a view of a slice; [`Scalar::matmul`] multiplies two of them into a third slice. Products run
//! on the calling thread: whoever has much to multiply cuts it into pieces of fixed size, so that results do not depend
//! on the number of threads.

use std::fmt::Debug;
use std::ops::{AddAssign, DivAssign, MulAssign, SubAssign};

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::linalg::matmul::matmul;
use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef, Par, Spec};

/// A view of a matrix inside a slice, or of its transpose: rows lie side by side, `stride` from one start to the next.
///
/// ```
/// use onebasin_core::linalg::{Mat, Scalar};
/// let (column, mut outer) = ([1.0_f32, 2.], [0.0; 4]);
/// let column = Mat::new(&column, 2, 1);
/// f32::matmul(&mut outer, column, column.t(), false);
/// assert_eq!(outer, [1., 2., 2., 4.]);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Mat<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    stride: usize,
    transposed: bool,
}

impl<'a, T> Mat<'a, T> {
    /// A dense row-major matrix: entry `(i, j)` is `data[i · cols + j]`.
    ///
    /// # Panics
    /// If the slice is not `rows × cols` long.
    ///
    /// ```
    /// use onebasin_core::linalg::{Mat, Scalar};
    /// let (a, mut sums) = ([1.0_f64, 2., 3., 4., 5., 6.], [0.0; 2]);
    /// f64::matmul(&mut sums, Mat::new(&a, 2, 3), Mat::new(&[1.; 3], 3, 1), false);
    /// assert_eq!(sums, [6., 15.]); // of its rows
    /// ```
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert_eq!(rows.checked_mul(cols), Some(data.len()), "a {rows} × {cols} matrix does not fit the slice");
        Self { data, rows, cols, stride: cols, transposed: false }
    }

    /// A row-major matrix whose rows start `stride` apart: with gaps between them, or overlapping.
    ///
    /// Entry `(i, j)` is `data[i · stride + j]`, so a stride of 1 makes the sliding windows of a sequence a matrix
    /// without copying.
    ///
    /// # Panics
    /// If its last entry lies outside the slice.
    ///
    /// ```
    /// use onebasin_core::linalg::{Mat, Scalar};
    /// let (sequence, mut sums) = ([1.0_f32, 2., 3., 4.], [0.0; 3]);
    /// let windows = Mat::strided(&sequence, 3, 2, 1);
    /// f32::matmul(&mut sums, windows, Mat::new(&[1., 1.], 2, 1), false);
    /// assert_eq!(sums, [3., 5., 7.]);
    /// ```
    pub fn strided(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        let end = rows.checked_sub(1).map_or(Some(0), |last| last.checked_mul(stride)?.checked_add(cols));
        assert!(
            end.is_some_and(|end| end <= data.len()),
            "a {rows} × {cols} matrix with stride {stride} does not fit the slice"
        );
        Self { data, rows, cols, stride, transposed: false }
    }

    /// The transpose, a view of the same data: `rows` and `cols` change places.
    ///
    /// ```
    /// use onebasin_core::linalg::{Mat, Scalar};
    /// let (a, mut gram) = ([1.0_f64, 2., 3., 4.], [0.0; 4]);
    /// let a = Mat::new(&a, 2, 2);
    /// f64::matmul(&mut gram, a.t(), a, false);
    /// assert_eq!(gram, [10., 14., 14., 20.]);
    /// ```
    #[must_use]
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, transposed: !self.transposed, ..self }
    }

    #[allow(unsafe_code)]
    fn view(self) -> MatRef<'a, T> {
        let (rows, cols, by_row, by_col) = if self.transposed {
            (self.rows, self.cols, 1, self.stride as isize)
        } else {
            (self.rows, self.cols, self.stride as isize, 1)
        };
        // SAFETY: both ways of making a `Mat` checked that all entries lie in the slice, and transposing exchanges rows with
        // columns and their strides alike; the view only reads, for as long as the slice is borrowed.
        unsafe { MatRef::from_raw_parts(self.data.as_ptr(), rows, cols, by_row, by_col) }
    }
}

/// Numbers that networks and similarities are computed in: `f32` and `f64`.
///
/// ```
/// use onebasin_core::linalg::{Mat, Scalar};
/// fn dot<T: Scalar>(a: &[T], b: &[T]) -> T {
///     let mut sum = [T::default()];
///     T::matmul(&mut sum, Mat::new(a, 1, a.len()), Mat::new(b, b.len(), 1), false);
///     sum[0]
/// }
/// assert_eq!((dot(&[1.0_f32, 2.], &[3., 4.]), dot(&[1.0_f64], &[0.5])), (11., 0.5));
/// ```
pub trait Scalar:
    Debug + Copy + Default + PartialEq + AddAssign + SubAssign + MulAssign + DivAssign + Send + Sync + 'static
{
    /// `c = a · b`, or `c += a · b` where `accumulate`; `c` is dense row-major. Runs on the calling thread.
    ///
    /// Shapes: `a` is `m × k`, `b` is `k × n`, `c` holds `m × n` numbers.
    ///
    /// Cost: `m · n · k` multiply-adds.
    ///
    /// # Panics
    /// If the sizes do not fit.
    ///
    /// ```
    /// use onebasin_core::linalg::{Mat, Scalar};
    /// let (a, mut c) = ([1.0_f64, 2., 3., 4.], [0.0; 4]);
    /// f64::matmul(&mut c, Mat::new(&a, 2, 2), Mat::new(&a, 2, 2).t(), false);
    /// assert_eq!(c, [5., 11., 11., 25.]);
    /// f64::matmul(&mut c, Mat::new(&a, 2, 2), Mat::new(&a, 2, 2).t(), true);
    /// assert_eq!(c, [10., 22., 22., 50.]);
    /// ```
    fn matmul(c: &mut [Self], a: Mat<'_, Self>, b: Mat<'_, Self>, accumulate: bool);
}

impl Scalar for f32 {
    fn matmul(c: &mut [Self], a: Mat<'_, Self>, b: Mat<'_, Self>, accumulate: bool) {
        multiply(c, a, b, 1.0, accumulate);
    }
}

impl Scalar for f64 {
    fn matmul(c: &mut [Self], a: Mat<'_, Self>, b: Mat<'_, Self>, accumulate: bool) {
        multiply(c, a, b, 1.0, accumulate);
    }
}

fn multiply<T: ComplexField>(c: &mut [T], a: Mat<'_, T>, b: Mat<'_, T>, one: T, accumulate: bool) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner sizes differ: {m} × {k} times {} × {n}", b.rows);
    assert_eq!(c.len(), m * n, "the result needs {m} × {n} entries");
    let how = if accumulate { Accum::Add } else { Accum::Replace };
    matmul(MatMut::from_row_major_slice_mut(c, m, n), how, a.view(), b.view(), one, Par::Seq);
    clear_upper_halves();
}

/// A symmetric, positive definite matrix as the product of a lower triangle with its transpose.
///
/// ```
/// use onebasin_core::linalg::Cholesky;
/// let factor = Cholesky::new(vec![4.0, f64::NAN, 2.0, 5.0], 2).unwrap(); // only the lower triangle is read
/// let mut x = [8.0, 18.0];
/// factor.solve(&mut x, 1);
/// assert_eq!(x, [0.25, 3.5]);
/// assert!(Cholesky::new(vec![1.0, 0.0, 1.0, -1.0], 2).is_none());
/// ```
#[derive(Debug, Clone)]
pub struct Cholesky {
    /// Row-major; what lies above the diagonal is arbitrary.
    lower: Vec<f64>,
    size: usize,
}

impl Cholesky {
    /// Factors a row-major matrix of which the lower triangle is given; none if it is not positive definite, within
    /// rounding.
    ///
    /// Cost: `size³ / 3` multiply-adds, on the calling thread, in place.
    ///
    /// # Panics
    /// If there are not `size²` numbers.
    pub fn new(mut matrix: Vec<f64>, size: usize) -> Option<Self> {
        assert_eq!(matrix.len(), size * size, "a {size} × {size} matrix does not fit the slice");
        let mut memory = MemBuffer::new(llt::factor::cholesky_in_place_scratch::<f64>(size, Par::Seq, Spec::default()));
        let factored = llt::factor::cholesky_in_place(
            MatMut::from_row_major_slice_mut(&mut matrix, size, size),
            llt::factor::LltRegularization::default(),
            Par::Seq,
            MemStack::new(&mut memory),
            Spec::default(),
        );
        clear_upper_halves();
        let is_factor = factored.is_ok() && (0..size).all(|at| matrix[at * size + at].is_finite());
        is_factor.then_some(Self { lower: matrix, size })
    }

    /// Solves for `columns` right-hand sides at once, in place: row-major `[size, columns]`.
    ///
    /// Cost: `size² · columns` multiply-adds.
    ///
    /// # Panics
    /// If there are not `size · columns` numbers.
    pub fn solve(&self, sides: &mut [f64], columns: usize) {
        let lower = MatRef::from_row_major_slice(&self.lower, self.size, self.size);
        let sides = MatMut::from_row_major_slice_mut(sides, self.size, columns);
        llt::solve::solve_in_place(lower, sides, Par::Seq, MemStack::new(&mut []));
        clear_upper_halves();
    }
}

/// Eigenvalues, ascending, and eigenvectors of a symmetric matrix, row-major, of which the lower triangle is given: column `k`
/// of the vectors belongs to value `k`. None if no solver finds them.
///
/// Cost: `O(size³)`, on the calling thread.
///
/// # Panics
/// If there are not `size²` numbers.
///
/// ```
/// use onebasin_core::linalg::symmetric_eigen;
/// let (values, vectors) = symmetric_eigen(&[2.0, f64::NAN, 1.0, 2.0], 2).unwrap(); // only the lower triangle is read
/// assert!((values[0] - 1.0).abs() < 1e-12 && (values[1] - 3.0).abs() < 1e-12);
/// assert!((vectors[1] - vectors[3]).abs() < 1e-12); // (1, 1) / √2
/// ```
pub fn symmetric_eigen(matrix: &[f64], size: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    assert_eq!(matrix.len(), size * size, "a {size} × {size} matrix does not fit the slice");
    let at = |i: usize, j: usize| matrix[i.max(j) * size + i.min(j)];
    let found = faer::Mat::from_fn(size, size, at).self_adjoint_eigen(faer::Side::Lower).ok();
    clear_upper_halves();
    let found = found?;
    let values: Vec<f64> = (0..size).map(|k| found.S()[k]).collect();
    let vectors = (0..size * size).map(|at| found.U()[(at / size, at % size)]).collect();
    values.iter().all(|value| value.is_finite()).then_some((values, vectors))
}

/// The orthogonal matrix nearest to a square one, row-major, and the inner product of the two: with `matrix = U Σ Vᵀ`, `U Vᵀ` and the
/// nuclear norm `Σ σ`. None if no solver finds them.
///
/// Cost: one singular value decomposition, `O(size³)`, on the calling thread.
///
/// # Panics
/// If there are not `size²` numbers.
///
/// ```
/// use onebasin_core::linalg::polar;
/// let (turned, worth) = polar(&[0.0, -2.0, 3.0, 0.0], 2).unwrap();
/// assert!((worth - 5.0).abs() < 1e-12 && (turned[1] + 1.0).abs() < 1e-12 && (turned[2] - 1.0).abs() < 1e-12);
/// ```
pub fn polar(matrix: &[f64], size: usize) -> Option<(Vec<f64>, f64)> {
    assert_eq!(matrix.len(), size * size, "a {size} × {size} matrix does not fit the slice");
    let found = MatRef::from_row_major_slice(matrix, size, size).svd();
    clear_upper_halves();
    let found = found.ok()?;
    let factor = found.U() * found.V().transpose();
    clear_upper_halves();
    let worth = (0..size).map(|k| found.S()[k]).sum();
    let factor: Vec<f64> = (0..size * size).map(|at| factor[(at / size, at % size)]).collect();
    factor.iter().all(|value| value.is_finite()).then_some((factor, worth))
}

/// Runs a loop compiled for the vectors this processor has, whatever the program was compiled for. Results are the same bits:
/// the loop is the same, and nothing is reordered or fused.
///
/// Only what is inlined is compiled again: `run` itself (`#[inline(always)] || …`) and the functions that it calls.
/// ```
/// use onebasin_core::linalg::vectorized;
/// let (x, mut y) = ([1.0_f32, 2., 3.], [10.0_f32; 3]);
/// vectorized(
///     #[inline(always)]
///     || y.iter_mut().zip(&x).for_each(|(y, x)| *y += 2.0 * x),
/// );
/// assert_eq!(y, [12., 14., 16.]);
/// ```
#[inline]
pub fn vectorized<R>(run: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(run)
}

/// Clears the upper halves of vector registers, which the kernels leave in use: code for older instruction sets, such as
/// every plain loop compiled for baseline x86-64, is several times slower until they are.
#[allow(unsafe_code)]
fn clear_upper_halves() {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the processor has the instruction; upper halves hold nothing that compiled code expects to be kept.
        unsafe { zero_upper() }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
#[allow(unsafe_code)]
unsafe fn zero_upper() {
    std::arch::x86_64::_mm256_zeroupper();
}
